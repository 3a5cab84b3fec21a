"""``/airyd/status``: notices to clients, which keep their connections at a gap."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock

from airyd.errors import Fault, SourceUnavailable
from airyd.events import AIRY_DESTINATIONS, CHANNEL_CONNECTED, MESSAGE, STATUS, UNREAD_COUNT
from airyd.hub.replay import PROBE_SECONDS
from airyd.limits import SOURCE_PATIENCE
from airyd.metrics import REPLAY_LOST, REPLAY_RECOVERED, REPLAY_UNRECOVERED
from tests.client.frames import send, subscribe, unsubscribe
from tests.doubles import EVENT, Channel, ClientTestCase, frame
from tests.integration.wire import StompFrame
from tests.model.world import Reactor

UP = {"type": "source", "state": "up"}
DOWN = {"type": "source", "state": "down", "destinations": list(AIRY_DESTINATIONS)}


class StatusCase(ClientTestCase):
    """Clients that subscribe to ``/airyd/status``."""

    def make_clock(self) -> Clock:
        """Return a clock on which what is asked for within a turn comes with the next."""
        return Reactor()

    def listening(self, version: str = "1.2") -> Channel:
        """Return the channel of a client that has been told how things are."""
        channel = self.connected(version)
        channel.client.received(subscribe("s", STATUS))
        self.assertEqual(self.told(channel, version), [UP])
        return channel

    def told(self, channel: Channel, version: str = "1.2") -> list[Any]:
        """Return the bodies of what came to ``/airyd/status`` since the last call; nothing else may have come."""
        frames = [each for each in channel.frames(version) if each.command != "RECEIPT"]
        self.assertEqual({each.headers.get("destination", each.command) for each in frames} - {STATUS}, set())
        return [json.loads(each.body) for each in frames]

    def gap(self, *destinations: str) -> None:
        """Let the source report a gap."""
        self.context.hub.gap(destinations, "the test says so")

    def turn(self) -> None:
        """Let a turn of the reactor pass."""
        self.clock.advance(0)


class SubscribeTests(StatusCase):
    """``/airyd/status`` can be subscribed to, although it isn't in the catalogue."""

    def test_present_state(self) -> None:
        """The present state is the first MESSAGE, after the RECEIPT."""
        channel = self.connected()
        channel.client.received(subscribe("s", STATUS))
        receipt, message = channel.frames()
        self.assertEqual((receipt.command, receipt.headers["receipt-id"]), ("RECEIPT", "+s"))
        self.assertIn("last-message-id", receipt.headers)
        self.assertEqual((message.command, json.loads(message.body)), ("MESSAGE", UP))
        self.assertEqual(
            set(message.headers), {"subscription", "destination", "content-type", "message-id", "content-length"}
        )
        self.troubles.append("no connection")
        channel.client.received(subscribe("t", STATUS))
        self.assertEqual(self.told(channel), [DOWN])

    def test_versions(self) -> None:
        """Notices have ids in all versions, and each id is unique."""
        for version in ("1.0", "1.1", "1.2"):
            channel = self.connected(version)
            named = {} if version == "1.0" else {"id": "7"}
            channel.client.received(frame("SUBSCRIBE", b"", destination=STATUS, **named))
            (first,) = channel.frames(version)
            self.assertEqual(first.headers.get("subscription"), None if version == "1.0" else "7")
            self.troubles.append("no connection")
            self.clock.pump([1] * 2)
            (second,) = channel.frames(version)
            self.assertEqual(json.loads(second.body), DOWN)
            self.assertNotEqual(first.headers["message-id"], second.headers["message-id"])
            leave = {"destination": STATUS} if version == "1.0" else {"id": "7"}
            channel.client.received(frame("UNSUBSCRIBE", b"", receipt="r", **leave))
            self.troubles.clear()
            self.clock.pump([1] * 5)
            self.assertEqual(channel.commands(version), ["RECEIPT r"])

    def test_everybody_may(self) -> None:
        self.door.principal.forbidden.add(STATUS)
        self.listening()

    def test_nothing_is_replayed(self) -> None:
        """A SUBSCRIBE with a position, as clients send when they reconnect, gets ``recovered:false``."""
        first = self.listening()
        self.gap(MESSAGE)
        for last in ("nonsense", f"{self.status.state().id}"):
            first.client.received(subscribe(last, STATUS, last_message_id=last))
        self.assertEqual([each.headers.get("recovered") for each in first.frames()[::2]], ["false", "false"])
        channel = self.connected()
        channel.client.received(subscribe("s", STATUS))
        position = channel.frames()[0].headers["last-message-id"]
        channel.client.received(subscribe("t", STATUS, last_message_id=position))
        receipt, message = channel.frames()
        self.assertEqual((receipt.headers["recovered"], json.loads(message.body)), ("false", UP))

    def test_no_acknowledgement(self) -> None:
        """An ack mode other than auto gets an ERROR, because a client would wait in vain for ``ack`` headers."""
        for ack in ("client", "client-individual"):
            channel = self.connected()
            channel.client.received(subscribe("s", STATUS, ack=ack))
            error = self.assert_failed(channel, Fault.INVALID_HEADER)
            self.assertEqual(error.headers["receipt-id"], "+s")
            self.assertIn(b"ack:auto", error.body)

    def test_nobody_may_send(self) -> None:
        for command in (
            send("1", STATUS),
            frame("BEGIN", transaction="t") + send("1", STATUS, transaction="t"),
        ):
            channel = self.listening()
            channel.client.received(command)
            self.assert_failed(channel, Fault.FORBIDDEN)
        self.assertEqual(self.feed.taken, [])
        published = self.context.hub.publish(STATUS, EVENT, "admin")
        self.assertNotIn(STATUS, str(self.failureResultOf(published).value).partition("there are")[2])

    def test_is_not_in_the_catalogue(self) -> None:
        self.assertEqual(self.context.hub.catalogue, AIRY_DESTINATIONS)
        channel = self.connected()
        channel.client.received(subscribe("s", "/airyd/other"))
        self.assertNotIn(b"status", self.assert_failed(channel, Fault.UNKNOWN_DESTINATION).body)

    def test_it_counts(self) -> None:
        channel = self.listening()
        self.troubles.append("no connection")
        self.clock.pump([1] * 2)
        self.assertEqual((self.metrics.subscriptions[STATUS], self.metrics.deliveries[STATUS]), (1, 2))
        channel.client.received(unsubscribe("s"))
        self.assertEqual((self.metrics.subscriptions[STATUS], self.metrics.deliveries[STATUS]), (0, 2))

    def test_no_timer_without_a_listener(self) -> None:
        channel = self.connected(heart_beat="0,0")
        channel.client.received(subscribe("a"))
        waiting = len(self.clock.getDelayedCalls())
        channel.client.received(subscribe("s", STATUS) + unsubscribe("s"))
        self.turn()
        self.assertLessEqual(len(self.clock.getDelayedCalls()), waiting)


class SourceTests(StatusCase):
    """Notices about the state of the source."""

    def test_down_and_up(self) -> None:
        """Every subscription is notified of a change, and only of a change, within a second."""
        channels = [self.listening(), self.listening()]
        others = self.connected()
        self.clock.pump([1] * 5)
        self.troubles.append("no connection")
        self.clock.pump([1] * 5)
        self.troubles.append("not that one either")
        self.clock.pump([1] * 5)
        self.troubles.clear()
        self.clock.pump([1] * 5)
        for channel in channels:
            self.assertEqual(self.told(channel), [DOWN, UP])
        self.assertEqual([each for each in others.commands() if each != "beat"], [])

    def test_not_twice(self) -> None:
        """A client that subscribes while the source is unreachable is not notified of it again."""
        self.troubles.append("no connection")
        channel = self.connected()
        channel.client.received(subscribe("s", STATUS))
        self.clock.pump([1] * 3)
        self.assertEqual(self.told(channel), [DOWN])


class GapTests(StatusCase):
    """At a gap, clients that can be notified stay connected."""

    def since(self, channel: Channel, name: str = "a", destination: str = MESSAGE, **headers: str) -> str:
        """Subscribe, and return the position of the RECEIPT."""
        channel.client.received(subscribe(name, destination, **headers))
        (receipt,) = [each for each in channel.frames() if each.command == "RECEIPT"]
        return receipt.headers["last-message-id"]

    def gap_of(self, since: str, destination: str = MESSAGE) -> dict[str, Any]:
        """Return the body of the notice of a gap."""
        return {"type": "gap", "destinations": [destination], "since": since}

    def test_listener_stays(self) -> None:
        listener, other = self.listening(), self.connected()
        for channel in (listener, other):
            self.since(channel)
        last = self.publish(MESSAGE)
        listener.frames()
        self.gap(MESSAGE)
        self.assertEqual(self.told(listener), [self.gap_of(last)])
        self.assert_failed(other, Fault.HISTORY_LOST)
        self.publish(MESSAGE)
        (message,) = listener.frames()
        self.assertEqual(message.headers["subscription"], "a")
        self.assertEqual((listener.closed, self.metrics.gaps[MESSAGE]), ([], 1))

    def test_what_was_published_before_comes_before(self) -> None:
        listener = self.listening()
        self.since(listener)
        before = self.successResultOf(self.context.hub.publish(MESSAGE, EVENT, "admin"))
        self.gap(MESSAGE)
        after = self.successResultOf(self.context.hub.publish(MESSAGE, EVENT, "admin"))
        self.turn()
        first, gap, second = listener.frames()
        self.assertEqual((first.headers["message-id"], second.headers["message-id"]), (before, after))
        self.assertEqual(json.loads(gap.body), self.gap_of(before))

    def test_others_are_not_concerned(self) -> None:
        """The gap does not affect subscriptions to other destinations."""
        listener, other = self.listening(), self.connected()
        self.since(listener)
        self.since(listener, "b", UNREAD_COUNT)
        self.since(other, "b", UNREAD_COUNT)
        self.gap(MESSAGE, CHANNEL_CONNECTED)
        self.assertEqual((len(self.told(listener)), other.closed), (1, []))
        self.publish(UNREAD_COUNT)
        for channel in (listener, other):
            self.assertEqual([each.headers["subscription"] for each in channel.frames()], ["b"])

    def test_told_when_it_goes_on(self) -> None:
        """The notice is sent when the source watches again: events before that are missing, too."""
        listener = self.listening()
        position = self.since(listener)
        self.feed.watches.holding = True
        self.gap(MESSAGE)
        self.publish(MESSAGE)
        self.assertEqual(self.told(listener), [])
        self.feed.watches.answer()
        self.turn()
        self.assertEqual(self.told(listener), [self.gap_of(position)])
        self.publish(MESSAGE)
        self.assertEqual([each.headers["subscription"] for each in listener.frames()], ["a"])

    def test_another_gap_meanwhile(self) -> None:
        """A second gap before the notice is part of the first."""
        listener = self.listening()
        position = self.since(listener)
        self.feed.watches.holding = True
        self.gap(MESSAGE)
        self.gap(MESSAGE)
        self.feed.watches.answer()
        self.assertEqual(self.told(listener), [self.gap_of(position)])
        self.assertEqual(len(self.feed.watches), 0)

    def test_it_does_not_go_on(self) -> None:
        """If the source can't watch again, the client is ended like others, and can resume."""
        listener = self.listening()
        self.since(listener)
        self.feed.watches.fault = SourceUnavailable("unreachable")
        self.gap(MESSAGE)
        self.assert_failed(listener, Fault.SOURCE_UNAVAILABLE)

    def test_who_leaves_meanwhile(self) -> None:
        listener = self.listening()
        self.since(listener)
        self.feed.watches.holding = True
        self.gap(MESSAGE)
        listener.client.received(unsubscribe("a"))
        self.feed.watches.answer()
        self.publish(MESSAGE)
        self.assertEqual(listener.commands(), ["RECEIPT -a"])

    def test_who_listens_no_more(self) -> None:
        """A client that unsubscribes from the status before the notice is ended."""
        listener = self.listening()
        self.since(listener)
        self.feed.watches.holding = True
        self.gap(MESSAGE)
        listener.client.received(unsubscribe("s"))
        self.feed.watches.answer()
        self.assert_failed(listener, Fault.HISTORY_LOST)

    def test_who_has_not_begun(self) -> None:
        """A subscription that has not started yet misses nothing."""
        listener = self.listening()
        self.feed.watches.holding = True
        listener.client.received(subscribe("a"))
        self.gap(MESSAGE)
        self.feed.watches.answer()
        self.publish(MESSAGE)
        self.assertEqual(listener.commands(), ["RECEIPT +a", "MESSAGE"])

    def test_who_comes_meanwhile(self) -> None:
        """A new subscription starts at the position after the gap, without a notice."""
        listener, other = self.listening(), self.connected()
        self.since(listener)
        self.feed.watches.holding = True
        self.gap(MESSAGE)
        other.client.received(subscribe("a"))
        self.feed.watches.answer()
        (receipt,) = other.frames()
        after = self.publish(MESSAGE)
        (message,) = other.frames()
        self.assertEqual((receipt.command, message.headers["message-id"]), ("RECEIPT", after))
        self.assertEqual(len(listener.commands()), 2)

    def test_catching_up_goes_on_where_it_can(self) -> None:
        """A replay continues where the history proves that nothing is missing."""
        keeper = self.listening()
        position = self.since(keeper)
        ids = [self.publish(MESSAGE) for _ in range(3)]
        keeper.frames()
        listener = self.listening()
        self.feed.replays.holding = True
        listener.client.received(subscribe("a", last_message_id=position))
        self.gap(MESSAGE)
        self.assertEqual(self.told(keeper), [self.gap_of(ids[-1])])
        self.turn()
        self.feed.replays.answer()  # of before
        self.assertEqual(listener.commands(), [])
        self.feed.replays.answer()
        receipt, *messages = listener.frames()
        self.assertEqual(receipt.headers["recovered"], "true")
        self.assertEqual([each.headers["message-id"] for each in messages], ids)
        after = self.publish(MESSAGE)
        self.assertEqual(listener.frames()[-1].headers["message-id"], after)
        self.assertEqual(self.metrics.replays[REPLAY_RECOVERED], 1)

    def test_catching_up_without_a_history(self) -> None:
        """A resume without a history gets ``recovered:false`` in its RECEIPT."""
        keeper = self.connected()
        self.since(keeper)
        listener = self.listening()
        self.feed.replays.holding = True
        listener.client.received(subscribe("a", last_message_id="c102d7ca-1-1"))
        self.gap(MESSAGE)
        self.turn()
        self.feed.replays.answer()
        self.feed.replays.answer()
        (receipt,) = listener.frames()
        self.assertEqual(receipt.headers["recovered"], "false")
        self.assertEqual(self.metrics.replays[REPLAY_UNRECOVERED], 1)

    def test_it_can_take_no_longer_than_a_subscribe(self) -> None:
        """A SUBSCRIBE that waits meanwhile still has its timeout."""
        listener = self.listening()
        position = self.since(listener)
        self.feed.replays.holding = True
        listener.client.received(subscribe("b", last_message_id=position))
        self.feed.watches.holding = True
        self.gap(MESSAGE)
        self.clock.advance(SOURCE_PATIENCE)
        self.assert_failed(listener, Fault.SOURCE_UNAVAILABLE)

    def full_window(self) -> tuple[Channel, list[StompFrame]]:
        """Return a listener that has not acknowledged two messages, and these; three more are in the history."""
        listener = self.listening()
        self.since(listener, ack="client", prefetch_count="2")
        for _ in range(5):
            self.publish(MESSAGE)
        return listener, listener.frames()

    def test_a_full_window(self) -> None:
        """Unacknowledged messages can still be acknowledged, and events in the history are sent."""
        listener, messages = self.full_window()
        self.gap(MESSAGE)
        self.turn()
        self.assertEqual(listener.commands(), [])
        listener.client.received(frame("ACK", id=messages[-1].headers["ack"]))
        self.turn()
        self.assertEqual(listener.commands(), ["MESSAGE", "MESSAGE"])

    def test_a_full_window_whose_history_is_gone(self) -> None:
        listener, messages = self.full_window()
        for _ in range(1100):  # more than the history keeps
            self.successResultOf(self.context.hub.publish(MESSAGE, EVENT, "admin"))
        self.clock.advance(PROBE_SECONDS)
        self.publish(MESSAGE)
        self.turn()
        (gap,) = listener.frames()
        self.assertEqual(json.loads(gap.body), self.gap_of(messages[-1].headers["message-id"]))
        self.assertEqual(self.metrics.replays[REPLAY_LOST], 1)
        self.turn()
        for _ in range(2):
            self.publish(MESSAGE)
        self.assertEqual(listener.frames(), [])
        listener.client.received(frame("ACK", id=messages[-1].headers["ack"]))
        self.turn()
        first, second = [int(each.headers["message-id"].rpartition("-")[2]) for each in listener.frames()]
        self.assertEqual(second, first + 1)
        self.assertGreater(first, 1000)  # no earlier than where the history was lost

    def test_two_subscriptions_to_the_status(self) -> None:
        """Each subscription gets the notice."""
        listener = self.listening()
        listener.client.received(subscribe("t", STATUS))
        listener.frames()
        self.since(listener)
        self.gap(MESSAGE)
        self.assertEqual({each.headers["subscription"] for each in listener.frames()}, {"s", "t"})


class DrainingTests(StatusCase):
    """The server stops."""

    def test_told(self) -> None:
        listener = self.listening()
        self.status.drain(1.23456)
        self.turn()
        self.assertEqual(self.told(listener), [{"type": "draining", "within": 1.235}])

    def test_nobody_listens(self) -> None:
        self.status.drain(1)
        self.turn()
        self.assertEqual(self.metrics.events_in[STATUS], 0)

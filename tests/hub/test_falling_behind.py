"""A client for which too many bytes wait reads from the history, and joins its group again when it is level."""

from __future__ import annotations

from unittest.mock import patch

from airyd.errors import Fault
from airyd.hub.replay import RETRY_SECONDS
from airyd.hub.subscription import SubscriptionState
from airyd.stomp.spec import AckMode, Version
from tests.model.twin import Prompt, event_id
from tests.peer import NAME, DestinationCase, Hides, Peer, flush, request

#: Bytes that may wait for a client.
MARK = 1000
BODY = b'"%s"' % (b"x" * 600)


def body(number: int) -> bytes:
    """Return the body of an event, of some 600 bytes."""
    return BODY.replace(b"x", b"%d" % number, 1)


class FallingBehindTests(DestinationCase):
    """One slow client, and another one that is not."""

    def setUp(self) -> None:
        super().setUp()
        self.twin.prompt = Prompt(watch=True, replay=True)
        self.slow, self.other = Peer(bound=4000, mark=MARK), Peer(bound=4000, mark=MARK)
        self.bodies: list[bytes] = []

    def publish(self, count: int) -> None:
        """Publish events one by one; let some turns of the reactor pass after each."""
        for _ in range(count):
            self.bodies.append(body(len(self.bodies)))
            self.bring(self.bodies[-1])
            self.clock.pump([0] * 3)

    def read(self, peer: Peer) -> None:
        """Let a client read all that comes."""
        for _ in range(100):
            peer.channel.drain(None)
            self.clock.pump([0] * 3)

    def test_it_is_not_closed_and_joins_again(self) -> None:
        for peer in (self.slow, self.other):
            self.subscribe(peer)
        self.slow.channel.drain(0)
        self.publish(30)
        (subscription,) = self.slow.subscriptions
        self.assertEqual((subscription.state, subscription.is_behind), (SubscriptionState.UNICAST, True))
        self.assertLess(self.slow.channel.buffered, MARK + 2 * len(BODY) + 200)
        self.read(self.slow)
        self.assertEqual((self.slow.bodies, self.slow.faults), (self.bodies, []))
        self.assertIs(subscription.state, SubscriptionState.GROUPED)
        self.publish(1)
        self.assertEqual(self.slow.bodies, self.bodies)
        self.assertEqual(self.other.bodies, self.bodies)

    def test_the_write_under_way_does_not_count(self) -> None:
        """One large event is no reason to read from the history."""
        self.subscribe(self.slow)
        self.slow.channel.drain(0)
        self.bring(b'"%s"' % (b"x" * 2 * MARK))
        self.assertIs(self.slow.subscriptions[0].state, SubscriptionState.GROUPED)

    def test_each_subscription(self) -> None:
        """All subscriptions of a connection read from the history, with a filter and with acknowledgements, too."""
        self.subscribe(self.slow)
        self.subscribe(self.slow, request(NAME, "sub-1"), Hides(body(3)))
        self.subscribe(self.slow, request(NAME, "sub-2", ack=AckMode.CLIENT, ordinal=3))
        self.slow.channel.drain(0)
        self.publish(30)
        self.assertEqual([each.is_behind for each in self.slow.subscriptions], [True] * 3)
        self.read(self.slow)
        for name, hidden in (("sub-0", None), ("sub-1", body(3)), ("sub-2", None)):
            frames = [each for each in self.slow.channel.frames if each.headers.get("subscription") == name]
            self.assertEqual([each.body for each in frames], [each for each in self.bodies if each != hidden], name)

    def test_in_the_middle_of_a_batch(self) -> None:
        """It reads on after the last event that it was sent, also if others were sent more of the batch."""
        for peer in (self.slow, self.other):
            self.subscribe(peer)
        self.slow.channel.drain(0)
        with patch("airyd.hub.batches.BATCH_BYTES", 700):
            events = [self.twin.append(NAME, body(number)) for number in range(12)]
            self.twin.cursor[NAME] += len(events)
            self.destination.deliver(events)
            (audience,) = self.dirty
            flush(audience)
        self.dirty.clear()
        self.assertLess(len(self.slow.bodies), 5)
        self.read(self.slow)
        self.assertEqual(self.slow.bodies, [event.body for event in events])
        self.assertEqual(self.other.bodies, self.slow.bodies)

    def test_the_history_is_lost(self) -> None:
        """It gets what it was sent, and is closed: it has not got the later events."""
        self.subscribe(self.slow)
        self.slow.channel.drain(0)
        self.publish(10)
        sent = len(self.slow.bodies)
        self.twin.evict(NAME, sent + 1)
        self.read(self.slow)
        self.assertEqual((self.slow.faults, self.slow.bodies), ([Fault.HISTORY_LOST], self.bodies[:sent]))

    def test_the_source_is_away(self) -> None:
        """It waits for the source for as long as it takes."""
        self.subscribe(self.slow)
        self.slow.channel.drain(0)
        self.publish(10)
        self.twin.prompt = Prompt(watch=True)
        self.slow.channel.drain(None)
        for _ in range(20):
            self.clock.advance(RETRY_SECONDS)
            for reading in tuple(self.twin.readings):
                self.twin.answer_reading(reading, fails=True)
        self.assertEqual((self.slow.faults, self.slow.bodies == self.bodies), ([], False))
        self.twin.prompt = Prompt(watch=True, replay=True)
        self.clock.advance(RETRY_SECONDS)
        self.read(self.slow)
        self.assertEqual((self.slow.faults, self.slow.bodies), ([], self.bodies))

    def test_without_a_history(self) -> None:
        """A source that keeps no events cannot help: the client is closed when too many bytes wait."""
        self.destination.has_history = False
        self.subscribe(self.slow)
        self.slow.channel.drain(0)
        self.publish(10)
        self.assertEqual(self.slow.faults, [Fault.SLOW_CONSUMER])

    def test_it_leaves_while_it_is_behind(self) -> None:
        """Nothing is left of it, and nothing is sent."""
        self.subscribe(self.slow)
        self.subscribe(self.other)
        self.slow.channel.drain(0)
        self.publish(10)
        sent = len(self.slow.channel.wire)
        self.slow.leave()
        self.read(self.slow)
        self.publish(1)
        self.assertEqual(len(self.slow.channel.wire), sent)
        self.assertEqual(self.destination.replays, [])

    def test_its_position(self) -> None:
        """What operators see of it: the last event that it was sent, and the newest when it is level."""
        self.subscribe(self.slow)
        self.slow.channel.drain(0)
        self.publish(10)
        self.assertEqual(self.slow.subscriptions[0].last_event, event_id(len(self.slow.bodies)))
        self.read(self.slow)
        self.assertEqual(self.slow.subscriptions[0].last_event, event_id(10))

    def test_version_1_0(self) -> None:
        """A subscription without an id reads on without one."""
        old = Peer(Version.V1_0, bound=4000, mark=MARK)
        self.subscribe(old, request(NAME, NAME, echo_id=False))
        old.channel.drain(0)
        self.publish(10)
        self.read(old)
        self.assertEqual(old.bodies, self.bodies)
        self.assertFalse([each for each in old.channel.frames if "subscription" in each.headers])

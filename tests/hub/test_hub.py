"""The hub: events from the feed to all destinations, flushed once per turn, and from publishers to the feed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from unittest.mock import patch

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import airyd.hub.hub
from airyd.errors import Fault, PayloadFault, PayloadRefused, SourceUnavailable, StompError, UnknownDestination
from airyd.events import AIRY_DESTINATIONS, MESSAGE, Event, Row, destination_tag, message_id
from airyd.hub.fanout import Group
from airyd.hub.hub import FOLLOWERS_PER_TURN, Hub
from airyd.hub.subscription import Subscription
from airyd.interfaces import IEventSink
from airyd.limits import SOURCE_PATIENCE
from airyd.metrics import ORIGIN_ADMIN, ORIGIN_SEND, Metrics
from airyd.stomp.spec import AckMode
from tests.doubles import record_log
from tests.model.twin import Prompt, Twin, event_id
from tests.model.world import Reactor
from tests.peer import Peer, request

_NAMES = ("/a", "/b", *AIRY_DESTINATIONS)


class HubCase(SynchronousTestCase):
    """A hub over a fake feed that watches and replays at once."""

    def setUp(self) -> None:
        self.clock = Reactor()
        self.twin = Twin(kept=100, prompt=Prompt(watch=True, replay=True, publish=True))
        self.metrics = Metrics(_NAMES)
        self.hub = Hub(self.twin, _NAMES, self.clock, self.metrics, 1000)
        self.twin.start(self.hub)

    def peer(self, *names: str, ack: AckMode = AckMode.AUTO) -> Peer:
        """Return a peer that is subscribed to these."""
        peer = Peer()
        for number, name in enumerate(names):
            subscription = self.hub.make_subscription(peer, request(name, f"sub-{number}", ack=ack), None)
            peer.subscriptions.append(subscription)
            self.assertIsNone(subscription.open())
        return peer

    def bring(self, **bodies: int) -> None:
        """Let the feed deliver this many new events of ``/a`` and ``/b`` as one batch."""
        for name, count in bodies.items():
            for _ in range(count):
                self.twin.append(f"/{name}", b'{"%b":%d}' % (name.encode(), len(self.twin.ledger[f"/{name}"]) + 1))
        self.twin.feed({f"/{name}": count for name, count in bodies.items()})


class TurnTests(HubCase):
    """Events of one turn of the reactor are sent together."""

    def test_one_send_per_turn(self) -> None:
        peer = self.peer("/a")
        del peer.channel.sends[:]
        self.bring(a=2)
        self.bring(a=1)
        self.assertEqual(peer.channel.sends, [])
        self.clock.advance(0)
        self.assertEqual((len(peer.channel.sends), peer.bodies), (1, [b'{"a":1}', b'{"a":2}', b'{"a":3}']))
        self.bring(a=1)
        self.clock.advance(0)
        self.assertEqual(len(peer.channel.sends), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_timer_per_turn(self) -> None:
        self.peer("/a", "/b")
        for _ in range(3):
            self.bring(a=1, b=1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_a_long_fanout_lets_the_reactor_look_at_everything_else(self) -> None:
        """Events that arrive meanwhile follow, in order and joined."""
        self.patch(airyd.hub.hub, "SENDS_PER_TURN", 2)
        peers = [self.peer("/a") for _ in range(5)]
        for peer in peers:
            del peer.channel.sends[:]
        self.bring(a=1)
        sends = []
        for _ in range(6):
            self.clock.advance(0)
            sends.append(sum(len(peer.channel.sends) for peer in peers))
            self.bring(a=int(len(sends) < 3))
        self.assertEqual(sends, [2, 4, 6, 8, 10, 10])
        self.assertEqual([peer.bodies for peer in peers], [[b'{"a":1}', b'{"a":2}', b'{"a":3}']] * 5)
        self.assertTrue(self.clock.is_idle)

    def test_a_bug_in_one_group_holds_up_no_other(self) -> None:
        class Broken(Group[Subscription]):
            def advance(self, tails: Sequence[bytes], most: int) -> int:
                raise ZeroDivisionError

        with patch("airyd.hub.fanout.Group", Broken):
            self.peer("/a")
        other = self.peer("/b")
        self.bring(a=1, b=1)
        self.assertRaises(ZeroDivisionError, self.clock.advance, 0)
        self.assertEqual(other.bodies, [])
        self.clock.advance(0)
        self.assertEqual(other.bodies, [b'{"b":1}'])
        self.bring(a=1)
        self.assertRaises(ZeroDivisionError, self.clock.advance, 0)
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_filter_that_fails(self) -> None:
        """Its client is ended, so that it does not miss an event unknowingly; others get every event."""

        class Failing:
            key: None = None

            def matches(self, row: Row) -> bool:
                if row.event.body == b'{"a":1}':
                    raise ZeroDivisionError
                return True

        plain, filtered, acknowledging = self.peer("/a"), Peer(), Peer()
        for peer, ack in ((filtered, AckMode.AUTO), (acknowledging, AckMode.CLIENT)):
            subscription = self.hub.make_subscription(peer, request("/a", "sub-0", ack=ack), Failing())
            peer.subscriptions.append(subscription)
            subscription.open()
        self.bring(a=1)
        self.bring(a=2)
        self.clock.advance(0)
        self.assertEqual(plain.bodies, [b'{"a":1}', b'{"a":2}', b'{"a":3}'])
        for peer in (filtered, acknowledging):
            self.assertEqual((peer.bodies, peer.faults), ([], [Fault.INTERNAL]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_no_timer_for_who_needs_none(self) -> None:
        """Acknowledging clients are sent to at once; events without a subscription need no flush."""
        peer = self.peer("/a", ack=AckMode.CLIENT)
        self.bring(a=1, b=1)
        self.assertEqual((peer.bodies, self.clock.getDelayedCalls()), ([b'{"a":1}'], []))

    def test_each_destination_in_order(self) -> None:
        both, only = self.peer("/a", "/b"), self.peer("/b")
        self.bring(a=2, b=3)
        self.clock.advance(0)
        self.assertEqual(only.bodies, [b'{"b":1}', b'{"b":2}', b'{"b":3}'])
        self.assertEqual([body for body in both.bodies if b"b" in body], only.bodies)
        self.assertEqual([body for body in both.bodies if b"a" in body], [b'{"a":1}', b'{"a":2}'])

    def test_counts(self) -> None:
        self.peer("/a")
        self.peer("/a")
        self.bring(a=3, b=1)
        self.clock.advance(0)
        self.assertEqual((self.metrics.events_in["/a"], self.metrics.events_in["/b"]), (3, 1))
        self.assertEqual((self.metrics.deliveries["/a"], self.metrics.deliveries["/b"]), (6, 0))
        self.assertEqual((self.metrics.subscriptions["/a"], self.metrics.subscriptions["/b"]), (2, 0))

    def test_all_leave_before_the_turn(self) -> None:
        peer = self.peer("/a")
        self.bring(a=1)
        peer.leave()
        self.clock.advance(0)
        self.assertEqual((peer.bodies, self.clock.getDelayedCalls()), ([], []))


class GapTests(HubCase):
    """A client always learns that an event may be missing."""

    def test_subscribers_are_closed(self) -> None:
        subscribed = [self.peer("/a"), self.peer("/b", "/a"), self.peer("/a", ack=AckMode.CLIENT)]
        other = self.peer("/b")
        self.bring(a=1)
        self.clock.advance(0)
        self.hub.gap(["/a"], "the twin says so")
        for peer in subscribed:
            self.assertEqual((peer.faults, peer.bodies), ([Fault.HISTORY_LOST], [b'{"a":1}']))
        self.assertEqual(other.faults, [])
        self.assertEqual((self.metrics.gaps["/a"], self.metrics.gaps["/b"]), (1, 0))
        self.assertEqual(self.twin.watched, {"/b"})

    def test_life_goes_on(self) -> None:
        self.peer("/a")
        self.hub.gap(["/a", "/b"], "the twin says so")
        peer = self.peer("/a")
        self.bring(a=1)
        self.clock.advance(0)
        self.assertEqual(peer.bodies, [b'{"a":1}'])


class CatalogueTests(HubCase):
    """Only the destinations of the catalogue exist."""

    def test_names(self) -> None:
        self.assertEqual(self.hub.catalogue, _NAMES)
        verifyObject(IEventSink, self.hub)

    def test_subscribing_to_what_is_not_there(self) -> None:
        asked = request("/else", "sub-7")
        error = self.assertRaises(StompError, self.hub.make_subscription, Peer(), asked, None)
        self.assertEqual((error.fault, error.receipt), (Fault.UNKNOWN_DESTINATION, "sub-7"))
        self.assertIn("'/else'", error.detail)
        self.assertIn("/a, /b, /queue/message", error.detail)

    def test_a_long_name_is_not_repeated_in_full(self) -> None:
        error = self.assertRaises(StompError, self.hub.make_subscription, Peer(), request("/" + "x" * 9000), None)
        self.assertLess(len(error.detail), 1000)

    def test_followers_are_told(self) -> None:
        """Many followers are called in several turns; one that is removed meanwhile is not called."""
        told: list[tuple[int, list[str]]] = []

        @dataclass(frozen=True)
        class Curious:
            number: int

            def added(self, names: Sequence[str]) -> None:
                told.append((self.number, list(names)))

        everybody = [Curious(number) for number in range(FOLLOWERS_PER_TURN + 2)]
        self.hub.followers.update(dict.fromkeys(everybody))
        self.hub.extend(["/new"])
        self.assertEqual(self.hub.catalogue, (*_NAMES, "/new"))
        self.assertEqual(told, [(number, ["/new"]) for number in range(FOLLOWERS_PER_TURN)])
        del self.hub.followers[everybody[-2]]
        self.clock.advance(0)
        self.assertEqual(told[FOLLOWERS_PER_TURN:], [(FOLLOWERS_PER_TURN + 1, ["/new"])])

    def test_two_with_one_tag(self) -> None:
        """Two destinations with the same tag are refused, since their message ids could be confused."""
        with patch("airyd.events.destination_tag", lambda name: destination_tag(name)[:0]):
            self.assertRaises(ValueError, Hub, self.twin, ["/a", "/b"], self.clock, self.metrics, 1000)


class PublishTests(HubCase):
    """Publishing by clients."""

    def publish(self, body: bytes = b"{}", destination: str = "/a") -> Deferred[str]:
        """Publish as a client does."""
        publishing: Deferred[str] = self.hub.publish(destination, body, ORIGIN_SEND)
        return publishing

    def test_its_id_is_the_message_id(self) -> None:
        peer = self.peer("/a")
        body = b' {"text": "Gr\xc3\xbc\xc3\x9fe"}\n'
        published = self.successResultOf(self.publish(body))
        self.assertEqual(published, message_id("/a", event_id(1)))
        self.twin.feed({"/a": 1})
        self.clock.advance(0)
        self.assertEqual(peer.channel.frames[-1].headers["message-id"], published)
        self.assertEqual(peer.bodies, [body])
        self.assertEqual(self.metrics.published[ORIGIN_SEND], 1)

    def test_what_is_not_there(self) -> None:
        failure = self.failureResultOf(self.publish(destination="/else"), UnknownDestination)
        self.assertIn("'/else'", failure.getErrorMessage())

    def test_refused(self) -> None:
        """A refused event is counted, logged without its body, and delivered to no client."""
        logged = record_log(self)
        peer = self.peer(MESSAGE)
        for body, fault in (
            (b'{"conversation_id":"SECRET"}', PayloadFault.BAD_FIELD),
            (b'["SECRET"]', PayloadFault.NOT_JSON_OBJECT),
            (b'{"SECRET":"\xff"}', PayloadFault.NOT_UTF8),
            (b'{"SECRET":"%b"}' % (b"x" * 1000), PayloadFault.TOO_BIG),
        ):
            failure = self.failureResultOf(self.hub.publish(MESSAGE, body, ORIGIN_ADMIN), PayloadRefused)
            self.assertEqual(failure.value.fault, fault)
            self.assertEqual(self.metrics.payloads_refused[ORIGIN_ADMIN, fault.value], 1)
        self.assertEqual((self.twin.ledger[MESSAGE], peer.bodies), ([], []))
        self.assertEqual(len([event for event in logged if event.get("origin") == ORIGIN_ADMIN]), 4)
        self.assertNotIn("SECRET", "".join(map(str, logged)))
        self.assertEqual(self.metrics.published[ORIGIN_ADMIN], 0)

    def test_the_source_is_away(self) -> None:
        self.twin.prompt = Prompt()
        publishing = self.publish()
        self.twin.answer_publishing(self.twin.publishings[0], fails=True)
        self.failureResultOf(publishing, SourceUnavailable)
        self.assertEqual(self.metrics.published[ORIGIN_SEND], 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_source_is_late(self) -> None:
        """The publisher gets an error in time, but the event may still arrive."""
        peer = self.peer("/a")
        self.twin.prompt = Prompt(feed=True)
        publishing = self.publish()
        self.clock.advance(SOURCE_PATIENCE - 0.1)
        self.assertNoResult(publishing)
        self.clock.advance(0.1)
        failure = self.failureResultOf(publishing, SourceUnavailable)
        self.assertEqual(failure.getErrorMessage(), "The event source did not take the event within 10 seconds.")
        self.twin.answer_publishing(self.twin.publishings[0])
        self.clock.advance(0)
        self.assertEqual(peer.bodies, [b"{}"])

    def test_the_source_waits_for_something_else(self) -> None:
        """The timeout is the same when the source's Deferred waits for another one."""
        with patch.object(self.twin, "publish", lambda *_: succeed(None).addCallback(lambda _: Deferred())):
            publishing = self.publish()
        self.clock.advance(SOURCE_PATIENCE)
        self.failureResultOf(publishing, SourceUnavailable)

    def test_in_time(self) -> None:
        """No timer is left."""
        self.twin.prompt = Prompt()
        publishing = self.publish()
        self.twin.answer_publishing(self.twin.publishings[0])
        self.assertEqual(self.successResultOf(publishing), message_id("/a", event_id(1)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_source_breaks(self) -> None:
        """The caller gets the source's exception."""
        with patch.object(self.twin, "publish", side_effect=ZeroDivisionError):
            self.assertRaises(ZeroDivisionError, self.publish)


class StrayTests(HubCase):
    """Events in flight when the source stopped watching are dropped."""

    def test_nobody_is_there(self) -> None:
        self.hub.deliver([Event("/a", event_id(1), b"{}")])
        self.assertEqual((self.clock.getDelayedCalls(), self.metrics.events_in["/a"]), ([], 1))

"""Work spread over turns of the reactor: gap notices to thousands, in order, and the turn queue."""

from __future__ import annotations

import json
from itertools import pairwise
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import Fault
from airyd.events import STATUS, message_id
from airyd.hub import hub
from airyd.hub.fanout import Group
from airyd.hub.hub import Hub
from airyd.hub.pacing import NOTICES_PER_TURN, VALUES_PER_TURN, LateRemovals, TurnQueue
from airyd.hub.subscription import Subscription
from airyd.limits import SPREAD_PER_CLIENT
from airyd.metrics import Metrics
from airyd.sources.status import SourceState, StatusSource
from airyd.stomp.spec import AckMode
from tests.model.twin import Prompt, Twin, event_id
from tests.model.world import Reactor
from tests.peer import Peer, request

NAME = "/a"
#: More than two turns take.
MANY = 2 * NOTICES_PER_TURN + 50


class GapNoticeTests(SynchronousTestCase):
    """The order of events and gap notices, and the turn of the reactor in which they are sent."""

    def setUp(self) -> None:
        self.clock = Reactor()
        self.twin = Twin(kept=100, prompt=Prompt(watch=True, replay=True))
        self.metrics = Metrics([NAME])
        status = StatusSource([SourceState([NAME], lambda: ())], self.clock, lambda: 0.0)
        self.hub = Hub(self.twin, [NAME], self.clock, self.metrics, 1000, status)
        self.twin.start(self.hub)

    def peers(self, count: int, listens: bool = True, own_ids: bool = False) -> list[Peer]:
        """Connect clients."""
        peers = [Peer() for _ in range(count)]
        for number, peer in enumerate(peers):
            for name in (STATUS, NAME) if listens else (NAME,):
                self.subscribe(peer, name, id=f"{name}-{number if own_ids else 0}")
        return peers

    def subscribe(self, peer: Peer, name: str, id: str = "0", ack: AckMode = AckMode.AUTO) -> None:
        """Let a client subscribe once more."""
        subscription = self.hub.make_subscription(peer, request(name, id, ack=ack), None)
        peer.subscriptions.append(subscription)
        self.assertIsNone(subscription.open())

    def bring(self, number: int) -> None:
        """Let the feed deliver its n-th event."""
        self.twin.append(NAME, b"%d" % number)
        self.twin.feed({NAME: 1})

    def gap(self) -> None:
        """Let the source report a gap."""
        self.hub.gap([NAME], "the twin says so")

    def turn(self, count: int = 1) -> None:
        """Let turns of the reactor pass within the same second."""
        for _ in range(count):
            self.clock.advance(0)

    def told(self, peer: Peer) -> list[int | str]:
        """Return the events that a client got, and after which one there was a gap."""
        found: list[int | str] = []
        for body in map(json.loads, peer.bodies):
            if isinstance(body, int):
                found.append(body)
            elif body["type"] == "gap":
                self.assertEqual(body["destinations"], [NAME])
                found.append(body["since"])
        return found

    def assert_told(self, peers: list[Peer], *wanted: int | str) -> None:
        """Check that all clients got exactly this."""
        self.assertEqual({str(self.told(peer)) for peer in peers}, {str(list(wanted))})

    def test_order_for_all(self) -> None:
        """Every client gets earlier events, the notice, later events, also during a fan-out, and with its own ids."""
        for own_ids in (False, True):
            with self.subTest(own_ids=own_ids), patch.object(hub, "SENDS_PER_TURN", 150):
                first = len(self.twin.ledger[NAME])
                peers = self.peers(MANY, own_ids=own_ids)
                self.bring(first + 1)
                self.turn()
                self.bring(first + 2)
                self.gap()
                self.bring(first + 3)
                self.turn()
                self.bring(first + 4)
                self.turn(20)
                self.assert_told(peers, first + 1, first + 2, since(first + 2), first + 3, first + 4)
                for peer in peers:
                    peer.leave()

    def test_pieces(self) -> None:
        """Live events wait for all notices; other destinations and new subscriptions don't."""
        peers = self.peers(MANY)
        self.gap()
        counts = []
        for _ in range(4):
            counts.append(sum(map(bool, map(self.told, peers))))
            self.bring(len(counts))
            self.turn()
        # At first those are sought whose connection must end.
        self.assertEqual(counts, [0, NOTICES_PER_TURN, 2 * NOTICES_PER_TURN, MANY])
        self.turn()
        self.assert_told(peers, since(0), 1, 2, 3, 4)

    def test_many_destinations(self) -> None:
        """After an outage each destination has a gap: the limit of notices per turn applies to all together."""
        names = [f"/{number}" for number in range(9)]
        self.metrics.extend(names)
        self.hub.extend(names)
        peers = [Peer() for _ in range(NOTICES_PER_TURN)]
        for peer in peers:
            for name in (STATUS, *names):
                self.subscribe(peer, name, id=name)
        self.hub.gap(names, "the twin says so")
        told = [sum(len(peer.bodies) for peer in peers)]
        while not self.clock.is_idle:
            self.turn()
            told.append(sum(len(peer.bodies) for peer in peers))
        self.assertEqual(max(after - before for before, after in pairwise([NOTICES_PER_TURN, *told])), NOTICES_PER_TURN)
        self.assertEqual(told[-1], NOTICES_PER_TURN * (1 + len(names)))  # each began with the state

    def test_newcomers(self) -> None:
        """New subscriptions start at the others' position, with or without a window."""
        peers = self.peers(MANY)
        self.gap()
        self.bring(1)
        new = self.peers(1)
        self.subscribe(new[0], NAME, id="windowed", ack=AckMode.CLIENT)
        self.turn(5)
        self.bring(2)
        self.turn()
        self.assert_told(peers, since(0), 1, 2)
        self.assertEqual(sorted(map(str, self.told(new[0]))), ["1", "1", "2", "2"])
        self.assertEqual({position for _, position, _ in new[0].answers[1:]}, {event_id(0)})

    def test_those_who_cannot_be_told(self) -> None:
        """They are ended spread over some time, so that they don't reconnect at once, and get no later event."""
        peers, others = self.peers(MANY, listens=False), self.peers(1)
        self.bring(1)
        self.gap()
        for number in range(2, 5):
            self.bring(number)
            self.turn()
        self.turn(3)
        self.assert_told(others, 1, since(1), 2, 3, 4)
        self.assertEqual({tuple(peer.bodies) for peer in peers}, {(b"1",)})
        left = []
        for _ in range(10):
            left.append(sum(not peer.faults for peer in peers))
            self.clock.advance(MANY * SPREAD_PER_CLIENT / 10)
        self.assertGreater(left[5], MANY / 4)
        self.assertLess(left[5], 3 * MANY / 4)
        self.clock.advance(1)
        self.assertEqual({(*peer.faults, *peer.bodies) for peer in peers}, {(Fault.HISTORY_LOST, b"1")})

    def test_a_client_leaves_before_it_is_closed(self) -> None:
        """After an UNSUBSCRIBE or a lost connection, nothing is left of it."""
        peers = self.peers(MANY, listens=False)
        self.gap()
        self.turn(5)
        left = [peer for peer in peers if not peer.faults]
        self.assertGreater(len(left), MANY / 2)
        for peer in left:
            peer.leave()
        self.clock.advance(5)
        self.assertEqual([peer.faults for peer in left if peer.faults], [])
        self.assertEqual(self.metrics.subscriptions[NAME], 0)

    def test_nobody_is_left_who_can_be_told(self) -> None:
        self.peers(MANY, listens=False)
        self.twin.prompt = Prompt(replay=True)
        self.gap()
        self.turn(5)
        self.assertEqual(self.metrics.subscriptions[NAME], 0)
        self.twin.answer_watch(self.twin.watches[0])
        self.assertEqual(self.twin.watched, set())

    def test_another_gap_meanwhile(self) -> None:
        """A client still queued for the first gap hears only of that one, and the held events are missing, too."""
        peers = self.peers(MANY)
        self.bring(1)
        self.twin.append(NAME, b"2")  # which the source never brings
        self.gap()
        self.turn()
        self.bring(3)
        self.gap()
        self.bring(4)
        self.turn(10)
        found = [self.told(peer) for peer in peers]
        self.assertEqual({str(each) for each in found}, {str([1, since(1), 4]), str([1, since(1), since(2), 4])})
        self.assertEqual(sum(len(each) == 3 for each in found), MANY - NOTICES_PER_TURN)

    def test_all_leave_meanwhile(self) -> None:
        """A later subscription gets none of the events that were held for them."""
        peers = self.peers(MANY)
        self.gap()
        self.bring(1)
        for peer in peers:
            peer.leave()
        new = self.peers(1)
        self.turn(5)
        self.bring(2)
        self.turn()
        self.assert_told(new, 2)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)  # the status looks around

    def test_the_source_is_asked_to_go_on(self) -> None:
        """It continues for subscriptions that stay; one that comes after all have left gets a new watch."""
        (peer,) = self.peers(1)
        self.twin.prompt = Prompt(replay=True)
        self.gap()
        (renewed,) = self.twin.watches
        self.twin.answer_watch(renewed)
        peer.leave()
        self.hub.make_subscription(Peer(), request(NAME, "0"), None).open()
        (new,) = self.twin.watches
        self.assertEqual((renewed.after_gap, new.after_gap), (True, False))

    def test_the_source_is_called_within_the_report(self) -> None:
        """``gap()`` calls ``unwatch``, then ``watch``, before it returns; ``watch`` only for those that are left."""
        self.assertEqual(self.calls_of_a_gap(), [])
        (peer,) = self.peers(1)
        self.assertEqual(self.calls_of_a_gap(), ["unwatch", "watch after a gap"])
        peer.leave()
        self.peers(1, listens=False)
        self.assertEqual(self.calls_of_a_gap(), ["unwatch"])

    def test_the_source_is_not_called_while_it_begins_to_watch(self) -> None:
        self.twin.prompt = Prompt()
        self.hub.make_subscription(Peer(), request(NAME, "0"), None).open()
        self.assertEqual(self.calls_of_a_gap(), [])

    def calls_of_a_gap(self) -> list[str]:
        """Let the source report a gap; return what the hub calls before the report returns."""
        calls: list[str] = []
        watch, unwatch = self.twin.watch, self.twin.unwatch

        def record_watch(destination: str, after_gap: bool = False) -> Deferred[str]:
            calls.append("watch after a gap" if after_gap else "watch")
            return watch(destination, after_gap)

        def record_unwatch(destination: str) -> None:
            calls.append("unwatch")
            unwatch(destination)

        with patch.object(self.twin, "watch", record_watch), patch.object(self.twin, "unwatch", record_unwatch):
            self.gap()
        return calls

    def test_a_client_that_has_left_takes_no_turn(self) -> None:
        """The remaining clients get their notice sooner."""
        peers = self.peers(MANY)
        self.gap()
        for peer in peers[NOTICES_PER_TURN:]:
            peer.leave()
        self.turn()
        self.assert_told(peers[:NOTICES_PER_TURN], since(0))

    def test_a_bug_with_one(self) -> None:
        """The other clients get the notice and the held events."""
        peers = self.peers(MANY)
        broken = peers.pop(0).subscriptions[1]
        original = Subscription.report_gap

        def report_gap(subscription: Subscription, since: str | None) -> None:
            if subscription is broken:
                raise ZeroDivisionError
            original(subscription, since)

        self.patch(Subscription, "report_gap", report_gap)
        self.gap()
        self.bring(1)
        self.assertRaises(ZeroDivisionError, self.turn, 5)
        self.turn(5)
        self.assert_told(peers, since(0), 1)

    def test_who_has_everything_keeps_its_place(self) -> None:
        """A notice makes no newcomers of its receivers: the next event would be sent to each alone."""
        self.peers(3)
        self.bring(1)
        self.turn()
        added: list[Subscription] = []
        self.patch(Group, "add", lambda group, member: added.append(member))
        self.gap()
        self.bring(2)
        self.turn()
        self.assertEqual(added, [])


class PlainReactor(Clock):
    """A clock that, like a real reactor, runs calls added by a timed call in the next turn."""

    def turn(self) -> None:
        """Run the timed calls that are due now."""
        waiting, self.calls = self.calls, []
        for call in waiting:
            call.called = 1
            call.func(*call.args, **call.kw)


class TurnQueueTests(SynchronousTestCase):
    """When pieces of work run."""

    def setUp(self) -> None:
        self.clock = PlainReactor()
        self.turns = TurnQueue(self.clock)
        self.done: list[str] = []

    def submit(self, name: str, *then: str) -> None:
        """Submit a piece of work, which submits more."""

        def piece() -> None:
            self.done.append(name)
            for other in then:
                self.submit(other)

        self.turns.submit(piece)

    def test_alone(self) -> None:
        """A single piece of work runs at once."""
        self.submit("a")
        self.assertEqual(self.done, ["a"])
        self.clock.turn()
        self.submit("b")
        self.assertEqual(self.done, ["a", "b"])

    def test_one_after_the_other(self) -> None:
        for name in "abc":
            self.submit(name)
        for done in ("a", "ab", "abc"):
            self.assertEqual("".join(self.done), done)
            self.clock.turn()

    def test_who_has_more_comes_after_the_others(self) -> None:
        self.submit("a", "a2")
        self.submit("b", "b2")
        for done in ("a", "aa2", "aa2b", "aa2bb2"):
            self.assertEqual("".join(self.done), done)
            self.clock.turn()

    def test_idle(self) -> None:
        """Without work there is no timer."""
        self.submit("a", "b")
        self.clock.turn()
        self.clock.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class LateRemovalsTests(SynchronousTestCase):
    """Large row filters leave their indexes in later turns of the reactor."""

    def setUp(self) -> None:
        self.clock = PlainReactor()
        self.removals = LateRemovals(self.clock)
        self.removed = 0

    def remove(self) -> int:
        """Remove a filter that takes 40 percent of a turn."""
        self.removed += 1
        return VALUES_PER_TURN * 2 // 5

    def turns(self) -> list[int]:
        """Return how many are removed in each turn, until nothing is left to do."""
        found = []
        while self.clock.getDelayedCalls():
            before = self.removed
            self.clock.turn()
            found.append(self.removed - before)
        return found

    def test_some_in_each_turn(self) -> None:
        for _ in range(7):
            self.removals.add(self.remove)
        self.assertEqual(self.removed, 0)
        self.assertEqual(self.turns(), [3, 3, 1])
        self.removals.add(self.remove)
        self.assertEqual(self.turns(), [1])

    def test_what_has_members_again_takes_no_time(self) -> None:
        for _ in range(5):
            self.removals.add(self.remove)
            self.removals.add(lambda: 0)
        self.assertEqual(self.turns(), [3, 2])

    def test_a_bug_with_one(self) -> None:
        """It stops no other."""
        self.removals.add(self.remove)
        self.removals.add(lambda: 1 // 0)
        self.assertRaises(ZeroDivisionError, self.turns)
        self.assertEqual(self.turns(), [1])


def since(number: int) -> str:
    """Return the message-id of the n-th event."""
    return message_id(NAME, event_id(number))

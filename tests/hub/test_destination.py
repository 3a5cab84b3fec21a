"""Which subscriptions get a destination's events: from which watch of the source, and in which group."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from unittest.mock import patch
from weakref import ref

from twisted.internet.defer import fail

from airyd.errors import Fault
from airyd.hub import destination
from airyd.limits import SOURCE_PATIENCE
from airyd.stomp.message import message_tail
from airyd.stomp.spec import AckMode, Version
from airyd.websocket.frames import websocket_framing
from tests.model.twin import Prompt, event_id
from tests.peer import NAME, DestinationCase, Hides, Peer, flush, request


class WatchTests(DestinationCase):
    """The source watches while there are subscriptions, once for all of them."""

    def test_one_watch_for_all(self) -> None:
        first, second = Peer(), Peer()
        opened = [self.subscribe(first), self.subscribe(second)]
        self.assertEqual(len(self.twin.watches), 1)
        self.assertNoResult(opened[0])
        self.twin.answer_watch(self.twin.watches[0])
        for each in opened:
            self.successResultOf(each)
        self.assertEqual(first.answers + second.answers, [("sub-0", event_id(0), None)] * 2)
        (third,) = self.live(1)
        self.bring(b"{}")
        self.assertEqual([peer.bodies for peer in (first, second, third)], [[b"{}"]] * 3)

    def test_answered_in_their_order(self) -> None:
        """The order holds if some clients leave meanwhile, and others have several subscriptions."""
        order: list[tuple[int, str]] = []
        peers = [Peer() for _ in range(6)]

        def tell(_: None, number: int, name: str) -> None:
            order.append((number, name))

        for number, peer in enumerate(peers):
            for name in ("sub-0", "sub-1"):
                self.subscribe(peer, request(NAME, name)).addCallback(tell, number, name)
        peers[2].leave()
        order.clear()
        self.twin.answer_watch(self.twin.watches[0])
        self.assertEqual(order, [(number, name) for number in (0, 1, 3, 4, 5) for name in ("sub-0", "sub-1")])

    def test_thousands_leave_and_come_back_as_they_are_established(self) -> None:
        """Each sends SUBSCRIBE, UNSUBSCRIBE and SUBSCRIBE before the source answers."""
        order: list[int] = []
        peers = [Peer() for _ in range(2000)]

        def come_back(_: None, number: int, peer: Peer) -> None:
            peer.leave()
            self.subscribe(peer).addCallback(lambda _: order.append(number))

        for number, peer in enumerate(peers):
            self.subscribe(peer).addCallback(come_back, number, peer)
        self.twin.answer_watch(self.twin.watches[0])
        self.assertEqual({len(peer.answers) for peer in peers}, {2})
        self.assertEqual(order, list(range(2000)))

    def test_until_the_last_has_left(self) -> None:
        first, second = self.live(2)
        first.leave()
        self.assertEqual(self.twin.watched, {NAME})
        second.leave()
        self.assertEqual(self.twin.watched, set())
        self.assertEqual(self.metrics.subscriptions[NAME], 0)

    def test_again(self) -> None:
        """Events that the old watch still delivers are dropped; the new watch's position counts."""
        (first,) = self.live(1)
        first.leave()
        self.bring(b'{"old":1}')
        second = Peer()
        self.subscribe(second)
        self.bring(b'{"old":2}')
        self.twin.answer_watch(self.twin.watches[0])
        self.bring(b"{}")
        self.assertEqual(second.answers, [("sub-0", event_id(2), None)])
        self.assertEqual((first.bodies, second.bodies), ([], [b"{}"]))

    def test_all_left_meanwhile(self) -> None:
        peer = Peer()
        opened = self.subscribe(peer)
        peer.leave()
        self.successResultOf(opened)
        self.twin.answer_watch(self.twin.watches[0])
        self.assertEqual((self.twin.watched, peer.answers, self.clock.getDelayedCalls()), (set(), [], []))

    def test_all_left_and_another_came_meanwhile(self) -> None:
        first, second = Peer(), Peer()
        self.subscribe(first)
        first.leave()
        self.subscribe(second)
        self.assertEqual(len(self.twin.watches), 1)
        self.twin.answer_watch(self.twin.watches[0])
        self.assertEqual((first.answers, len(second.answers)), ([], 1))

    def test_the_last_leaves_and_comes_back_as_it_is_established(self) -> None:
        """A client sends SUBSCRIBE, UNSUBSCRIBE and SUBSCRIBE before the source answers."""
        peer = Peer()

        def come_back(_: None) -> None:
            peer.leave()
            self.subscribe(peer)

        self.subscribe(peer).addCallback(come_back)
        self.twin.answer_watch(self.twin.watches[0])
        self.assertEqual((len(peer.answers), self.twin.watched), (1, set()))
        self.twin.answer_watch(self.twin.watches[0])
        self.bring(b"{}")
        self.assertEqual((len(peer.answers), peer.bodies), (2, [b"{}"]))

    def test_fails(self) -> None:
        """All waiting clients are failed; the next SUBSCRIBE asks the source again."""
        peers = [Peer(), Peer()]
        opened = [self.subscribe(peer) for peer in peers]
        self.subscribe(peers[0], request(NAME, "sub-1"))
        self.twin.answer_watch(self.twin.watches[0], fails=True)
        self.assertEqual([peer.faults for peer in peers], [[Fault.SOURCE_UNAVAILABLE]] * 2)
        for each in opened:
            self.successResultOf(each)
        self.assertEqual(self.metrics.subscriptions[NAME], 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        (third,) = self.live(1)
        self.assertEqual(len(third.answers), 1)

    def test_breaks(self) -> None:
        peer = Peer()
        with patch.object(self.twin, "watch", lambda *_: fail(ZeroDivisionError())):
            self.subscribe(peer)
        self.assertEqual(peer.faults, [Fault.INTERNAL])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_breaks_at_once(self) -> None:
        """A source that raises is asked again by the next SUBSCRIBE."""

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        peer = Peer()
        with patch.object(self.twin, "watch", broken):
            self.subscribe(peer)
        self.assertEqual(peer.faults, [Fault.INTERNAL])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        (other,) = self.live(1)
        self.assertEqual(len(other.answers), 1)

    def test_is_late(self) -> None:
        """A client that waits too long is failed, and not established when the answer arrives after all."""
        first, second = Peer(), Peer()
        self.subscribe(first)
        self.clock.advance(SOURCE_PATIENCE / 2)
        self.subscribe(second)
        self.clock.advance(SOURCE_PATIENCE / 2)
        self.assertEqual((first.faults, second.faults), ([Fault.SOURCE_UNAVAILABLE], []))
        self.twin.answer_watch(self.twin.watches[0])
        self.assertEqual((first.answers, len(second.answers)), ([], 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_history_is_late(self) -> None:
        self.twin.prompt = Prompt(watch=True)
        peer = Peer()
        self.subscribe(peer, request(NAME, last=event_id(0)))
        self.clock.advance(SOURCE_PATIENCE)
        self.assertEqual(peer.faults, [Fault.SOURCE_UNAVAILABLE])
        self.twin.answer_reading(self.twin.readings[0])
        self.assertEqual((peer.answers, self.twin.watched), ([], set()))


class GroupTests(DestinationCase):
    """Subscriptions whose bytes are equal share them."""

    def setUp(self) -> None:
        super().setUp()
        self.framed = 0
        patched = patch.object(Peer, "framing", self.count)
        patched.start()
        self.addCleanup(patched.stop)

    def count(self, frames: Sequence[bytes], receivers: int) -> bytes:
        """Frame, and count the calls."""
        self.framed += 1
        return websocket_framing(frames, receivers)

    def framings(self) -> int:
        """Return how often one event is framed now."""
        self.framed = 0
        self.bring(b"{}")
        return self.framed

    def test_equal_bytes(self) -> None:
        """STOMP versions share bytes where they don't differ."""
        for version in Version:
            self.subscribe(Peer(version), request(NAME, "sub-0"))
        self.twin.answer_watch(self.twin.watches[0])
        self.assertEqual(self.framings(), 1)

    def test_different_bytes(self) -> None:
        self.twin.prompt = Prompt(watch=True)
        self.subscribe(Peer(Version.V1_2), request(NAME, "a:b"))
        self.subscribe(Peer(Version.V1_0), request(NAME, "a:b"))
        self.subscribe(Peer(Version.V1_0), request(NAME, "a:b", echo_id=False))
        self.subscribe(Peer(Version.V1_2), request(NAME, "c"))
        self.assertEqual(self.framings(), 4)

    def test_equal_filters_are_asked_once(self) -> None:
        """The number of clients and groups makes no difference; clients that see no event cost nothing."""
        self.twin.prompt = Prompt(watch=True)
        filters = [Hides(b'{"n":1}') for _ in range(4)] + [Hides(b'{"n":2}')]
        peers = [Peer() for _ in filters]
        for number, (peer, row_filter) in enumerate(zip(peers, filters, strict=True)):
            self.subscribe(peer, request(NAME, f"sub-{number // 2}"), row_filter)
        self.bring(b'{"n":1}')
        self.assertEqual(sum(each.asked for each in filters), 2)
        self.bring(b'{"n":2}', b'{"n":3}')
        self.assertEqual(sum(each.asked for each in filters), 6)
        for peer in peers[:4]:
            self.assertEqual(peer.bodies, [b'{"n":2}', b'{"n":3}'])
        self.assertEqual(peers[4].bodies, [b'{"n":1}', b'{"n":3}'])

    def test_only_what_somebody_gets_is_encoded(self) -> None:
        """A worker of private streams reads all events, and sends few of them."""
        (seen, hidden) = (b'{"n":1}', b'{"n":2}')
        self.twin.prompt = Prompt(watch=True)
        with patch.object(destination, "message_tail", wraps=message_tail) as encode:
            peer = Peer()
            self.subscribe(peer, row_filter=Hides(hidden))
            self.bring(hidden, seen, hidden, seen)
            self.assertEqual((peer.bodies, encode.call_count), ([seen, seen], 2))
            self.live(1)
            self.bring(hidden, seen)
        self.assertEqual((peer.bodies, encode.call_count), ([seen, seen, seen], 4))

    def test_what_is_pending_when_somebody_joins(self) -> None:
        (first,) = self.live(1)
        events = [self.twin.append(NAME, b"{}")]
        self.twin.cursor[NAME] = 1
        self.destination.deliver(events)
        (audience,) = self.dirty
        (second,) = self.live(1)
        flush(audience)
        self.assertEqual((first.bodies, second.bodies), ([b"{}"], []))
        self.assertEqual(second.answers, [("sub-0", event_id(1), None)])

    def test_the_only_member_is_too_slow_when_another_joins(self) -> None:
        """The group's new member must not stay in a group that ends with the slow one."""
        slow = Peer(bound=70, tls=True)
        self.subscribe(slow)
        self.twin.answer_watch(self.twin.watches[0])
        self.destination.deliver([self.twin.append(NAME, b"{}")])
        (audience,) = self.dirty
        (second,) = self.live(1)
        flush(audience)
        self.bring(b'{"n":2}')
        self.assertEqual((slow.faults, slow.bodies), ([Fault.SLOW_CONSUMER], []))
        self.assertEqual(second.bodies, [b'{"n":2}'])
        second.leave()
        self.assertEqual(self.twin.watched, set())

    def test_all_members_are_too_slow(self) -> None:
        slow = [Peer(bound=70, tls=True) for _ in range(3)]
        for peer in slow:
            self.subscribe(peer)
        self.twin.answer_watch(self.twin.watches[0])
        self.bring(b"{}", b"{}")
        self.assertEqual([peer.faults for peer in slow], [[Fault.SLOW_CONSUMER]] * 3)
        self.assertEqual((self.twin.watched, self.metrics.subscriptions[NAME]), (set(), 0))

    def test_nothing_is_kept_of_who_has_left(self) -> None:
        """The subscription, its group and its filter are all freed."""
        self.twin.prompt = Prompt(watch=True, replay=True)
        stays = Peer()
        self.subscribe(stays)
        for asked in (
            request(NAME, "own"),
            request(NAME, "own", last=event_id(0)),
            request(NAME, "own", ack=AckMode.CLIENT),
        ):
            peer, row_filter = Peer(), Hides(b"own")
            self.subscribe(peer, asked, row_filter)
            self.bring(b"{}")
            kept: list[ref[object]] = [ref(peer), ref(row_filter), ref(peer.channel)]
            peer.leave()
            del peer, row_filter
            gc.collect()
            self.assertEqual([each() for each in kept], [None] * 3, asked)
        self.assertEqual(len(self.destination.subscriptions), 1)

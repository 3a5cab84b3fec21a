"""Fan-out: MESSAGEs are sent to the sockets of all members of an audience."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import StompError
from airyd.events import MESSAGE, Event
from airyd.hub.batches import BATCH_BYTES
from airyd.hub.fanout import Audience, Counter
from airyd.hub.recipients import MemberGroup, Recipients
from airyd.metrics import Metrics
from airyd.stomp.message import message_head, message_tail
from airyd.stomp.spec import Version
from airyd.websocket.frames import websocket_framing
from tests.model.channel import Idle, MemoryChannel

_HEAD = message_head(Version.V1_2, MESSAGE, "sub-0")
_OTHER_HEAD = message_head(Version.V1_2, MESSAGE, "sub-1")


def tail(number: int, size: int = 0) -> bytes:
    """Return the tail of an event with a body of about this size."""
    return message_tail(Event(MESSAGE, f"1-{number}", body(number, size)))


def body(number: int, size: int = 0) -> bytes:
    """Return an event's body."""
    return b'{"n":%d,"x":"%b"}' % (number, b"x" * size)


class Member:
    """A member of a group, with a channel of its own (``airyd.hub.recipients.Member``)."""

    def __init__(self, channel: MemoryChannel) -> None:
        self.channel = channel
        self.group: MemberGroup | None = None
        self.recipients: Recipients[Member] | None = None
        self.index = 0
        self.events = 0

    def count_events(self, count: int) -> None:
        """See ``airyd.hub.recipients.Member``."""
        self.events += count


class Leaver(Idle):
    """An owner whose subscription ends, or moves in its group, when the channel calls."""

    def __init__(self, audience: Audience[Member]) -> None:
        super().__init__()
        self.audience = audience
        self.member: Member | None = None
        self.is_closing = False

    def direct_changed(self) -> None:
        """Refresh the member, as a client does, but not one that it is just closing."""
        super().direct_changed()
        if self.member is not None and self.member.group is not None and not self.is_closing:
            self.member.group.refresh(self.member)

    def fail(self, error: StompError) -> None:
        """Leave."""
        super().fail(error)
        assert self.member is not None
        leave(self.member)


def leave(member: Member) -> None:
    """Remove a member."""
    assert member.group is not None
    member.group.leave(member)


def ahead(member: Member) -> None:
    """Flush one member."""
    assert member.group is not None
    member.group.flush(member)


class FanoutCase(SynchronousTestCase):
    """An audience, and members with channels."""

    def setUp(self) -> None:
        self.metrics = Metrics([MESSAGE])
        self.audience: Audience[Member] = Audience(None, Counter(MESSAGE, self.metrics))

    def join(self, bound: int = 1 << 21, tls: bool = False, head: bytes = _HEAD) -> tuple[Member, MemoryChannel]:
        """Add a member with a channel of its own."""
        owner = Leaver(self.audience)
        channel = MemoryChannel(owner, bound, tls)
        member = owner.member = Member(channel)
        self.audience.join(member, websocket_framing, head)
        return member, channel

    def append(self, *numbers: int, size: int = 0) -> None:
        """Add events to the pending ones."""
        for number in numbers:
            self.audience.append([tail(number, size)], 0, f"{number - 1}")

    def flush(self) -> None:
        """Send the pending events to all members."""
        self.audience.start_batch()
        while self.audience.is_in_flight:
            self.audience.advance(1000)


class FlushTests(FanoutCase):
    """Pending events are sent at once, the same bytes to all."""

    def test_one_send_per_member(self) -> None:
        channels = [self.join()[1] for _ in range(3)]
        self.append(1, 2, 3)
        self.assertEqual([channel.sends for channel in channels], [[], [], []])
        self.flush()
        for channel in channels:
            self.assertEqual(channel.bodies, [body(1), body(2), body(3)])
            self.assertEqual(channel.sends, [len(channel.wire)])

    def test_a_bug_with_one(self) -> None:
        """Members that were not sent the event yet get it in the next flush, and all members get later events."""
        members = [self.join() for _ in range(3)]
        broken, channel = self.join(tls=True)
        self.patch(channel, "send", lambda wire: 1 // 0)
        assert broken.group is not None
        broken.group.refresh(broken)  # it takes the way that is broken
        self.append(1)
        self.assertRaises(ZeroDivisionError, self.flush)
        while self.audience.is_in_flight:
            self.audience.advance(1000)
        leave(broken)
        self.append(2)
        self.flush()
        self.assertEqual([each.bodies for _, each in members], [[body(1), body(2)]] * 3)

    def test_nothing_pending(self) -> None:
        _, channel = self.join()
        self.append(1)
        self.flush()
        self.flush()
        self.assertEqual(channel.bodies, [body(1)])

    def test_the_first_of_a_batch_is_told(self) -> None:
        """The time of the first event counts as the time of the flush."""
        self.join()
        self.assertEqual([self.audience.append([tail(now)], now, "") for now in (7, 8, 9)], [True, False, False])
        self.flush()
        self.assertEqual(self.audience.flushed_at, 7)
        self.assertTrue(self.audience.append([tail(10)], 10, ""))

    def test_counts(self) -> None:
        channels = [self.join()[1], self.join()[1], self.join(tls=True)[1]]
        self.append(1, 2)
        self.flush()
        self.append(3)
        self.flush()
        self.assertEqual(self.metrics.deliveries[MESSAGE], 9)
        self.assertEqual(self.metrics.bytes_out, sum(len(channel.wire) for channel in channels))

    def test_long_batches_are_cut_between_frames(self) -> None:
        """No batch is longer than 64 KiB, unless a single frame is; no byte is lost at the cuts."""
        _, channel = self.join()
        sizes = [20_000, 20_000, 20_000, 20_000, 10, 150_000, 10, 65_000]
        for number, size in enumerate(sizes):
            self.append(number, size=size)
        self.flush()
        self.assertEqual(channel.bodies, [body(number, size) for number, size in enumerate(sizes)])
        self.assertEqual([round(sent, -4) for sent in channel.sends], [60_000, 20_000, 150_000, 70_000])
        self.assertLessEqual(channel.sends[-1], BATCH_BYTES)

    def test_a_batch_of_just_the_bound_is_not_cut(self) -> None:
        """The limit applies to the STOMP frames, without the 4 bytes of each WebSocket header."""
        _, channel = self.join()
        self.append(1, size=10_000)
        self.flush()
        rest = len(channel.wire) - 4 - 10_000
        half = BATCH_BYTES // 2
        self.append(2, 3, size=half - rest)
        self.flush()
        self.append(4, size=half - rest)
        self.append(5, size=half - rest + 1)
        self.flush()
        self.assertEqual(channel.sends[1:], [BATCH_BYTES + 8, half + 4, half + 5])

    def test_without_members(self) -> None:
        self.append(1)
        self.flush()
        _, channel = self.join()
        self.flush()
        self.assertEqual((channel.wire, len(self.audience.members)), (b"", 1))


class SocketTests(FanoutCase):
    """Bytes that a socket does not take are queued in order, and delay no other member."""

    def test_a_full_socket_in_the_middle(self) -> None:
        channels = [self.join()[1] for _ in range(5)]
        channels[2].room = 0
        for number in range(4):
            self.append(number)
            self.flush()
        for index in (0, 1, 3, 4):
            self.assertEqual(len(channels[index].sends), 4)
        self.assertEqual((channels[2].sends, channels[2].stalls), ([len(channels[2].wire) // 4], 1))
        for channel in channels:
            self.assertEqual(channel.bodies, [body(number) for number in range(4)])
        self.assertEqual(channels[2].taken, 0)

    def test_a_socket_that_takes_a_part(self) -> None:
        channels = [self.join()[1] for _ in range(3)]
        channels[0].room = channels[2].room = 17
        self.append(1)
        self.flush()
        self.append(2)
        self.flush()
        for channel in channels:
            self.assertEqual(channel.bodies, [body(1), body(2)])
        self.assertEqual([channel.taken for channel in channels], [17, len(channels[1].wire), 17])

    def test_a_socket_that_is_gone(self) -> None:
        """The transport finds out later; until then the bytes are dropped."""
        (_, gone), (_, other) = self.join(), self.join()
        gone.is_closed = True
        self.append(1)
        self.flush()
        self.append(2)
        self.flush()
        self.assertEqual((gone.wire, other.bodies), (b"", [body(1), body(2)]))

    def test_no_direct_way(self) -> None:
        _, channel = self.join(tls=True)
        self.append(1)
        self.flush()
        self.assertEqual((channel.bodies, channel.sends), ([body(1)], []))

    def test_back_on_the_direct_way(self) -> None:
        """A member changes from fast to slow and back, whatever the order of the others."""
        channels = [self.join()[1] for _ in range(4)]
        expected = []
        for number, (stalled, read) in enumerate([(0, None), (3, 0), (1, 3), (0, 1), (2, 0), (3, 2), (None, 3)]):
            if stalled is not None:
                channels[stalled].room = 5
            if read is not None:
                channels[read].drain()
            self.append(number)
            self.flush()
            expected.append(body(number))
            for channel in channels:
                self.assertEqual(channel.bodies, expected)
        for channel in channels:
            self.assertIsNotNone(channel.direct)
            self.assertEqual((channel.buffered, channel.stalls > 0), (0, True))

    def test_more_batches_after_a_part_was_taken(self) -> None:
        """The second batch must not overtake the rest of the first, even if the socket has room again."""
        member, channel = self.join()
        channel.room = 100
        self.append(1, 2, 3, size=40_000)
        ahead(member)
        self.assertEqual(channel.bodies, [body(number, 40_000) for number in (1, 2, 3)])
        self.assertEqual(len(channel.sends), 1)

    def test_more_batches_for_who_is_just_closing_a_subscription(self) -> None:
        """The client does not refresh that subscription, so the group itself must notice that ``direct`` is gone."""
        member, channel = self.join()
        owner = channel.owner
        assert isinstance(owner, Leaver)
        owner.is_closing = True
        channel.room = 100
        self.append(1, 2, 3, size=40_000)
        ahead(member)
        self.assertEqual(channel.bodies, [body(number, 40_000) for number in (1, 2, 3)])
        self.assertEqual((len(channel.sends), channel.stalls), (1, 1))


class CountTests(FanoutCase):
    """Events are counted per group, and each member knows how many it was sent."""

    def test_at_random(self) -> None:
        for seed in range(30):
            self.setUp()
            choice = random.Random(seed)
            self.join()  # an audience without members does not exist
            present: list[tuple[Member, MemoryChannel]] = []
            for number in range(80):
                step = choice.choice(("join", "append", "append", "flush", "ahead", "leave"))
                if step == "join":
                    present.append(self.join(tls=choice.random() < 0.5, head=choice.choice((_HEAD, _OTHER_HEAD))))
                elif step == "append" and present:
                    self.append(number)
                elif step == "flush":
                    self.flush()
                elif present and step == "ahead":
                    ahead(choice.choice(present)[0])
                elif present and step == "leave":
                    member, channel = present.pop(choice.randrange(len(present)))
                    ahead(member)
                    leave(member)
                    self.assertEqual(member.events, len(channel.bodies), seed)


class MembershipTests(FanoutCase):
    """Which members get pending events when others join or leave."""

    def test_a_new_member_gets_only_later_events(self) -> None:
        _, first = self.join()
        self.append(1)
        _, second = self.join()
        self.append(2)
        self.flush()
        self.assertEqual(first.bodies, [body(1), body(2)])
        self.assertEqual(second.bodies, [body(2)])

    def test_a_member_that_left_gets_no_more_events(self) -> None:
        (member, first), (_, second) = self.join(), self.join()
        self.append(1)
        leave(member)
        self.append(2)
        self.flush()
        self.assertEqual((first.bodies, second.bodies), ([], [body(1), body(2)]))
        self.assertIsNone(member.group)

    def test_a_flushed_member_is_ahead_of_the_others(self) -> None:
        """Events that were sent ahead are not sent again in a later batch."""
        (member, first), (_, second) = self.join(), self.join()
        self.append(1)
        ahead(member)
        self.assertEqual((first.bodies, second.bodies), ([body(1)], []))
        self.append(2)
        ahead(member)
        self.assertEqual((first.bodies, second.bodies), ([body(1), body(2)], []))
        self.flush()
        self.append(3)
        self.flush()
        for channel in (first, second):
            self.assertEqual(channel.bodies, [body(1), body(2), body(3)])
        self.assertEqual(self.metrics.deliveries[MESSAGE], 6)

    def test_every_order_of_leaving(self) -> None:
        """The remaining members stay correct, fast or slow."""
        for order in ((0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (2, 0, 4, 1, 5, 3), (3, 5, 0, 2, 1, 4)):
            joined = [self.join(tls=index % 2 == 1) for index in range(6)]
            stay = list(range(6))
            for number, index in enumerate(order):
                self.append(number)
                self.flush()
                leave(joined[index][0])
                stay.remove(index)
                self.assertCountEqual(self.audience.members, [joined[each][0] for each in stay])
            for number, index in enumerate(order):
                self.assertEqual(joined[index][1].bodies, [body(each) for each in range(number + 1)])
            self.assertEqual(len(self.audience.members), 0)

    def test_a_laggard_leaves_within_the_flush(self) -> None:
        """It gets nothing more; the others, before and after it, get everything."""
        channels = [self.join(bound=bound, tls=True)[1] for bound in (10**6, 150, 10**6)]
        fast = self.join()[1]
        self.append(1)
        self.flush()
        self.append(2)
        self.flush()
        owner = channels[1].owner
        assert isinstance(owner, Leaver)
        self.assertEqual(owner.heard, ["slow_consumer"])
        self.assertEqual(channels[1].bodies, [body(1)])
        for channel in (channels[0], channels[2], fast):
            self.assertEqual(channel.bodies, [body(1), body(2)])
        self.assertEqual(len(self.audience.members), 3)

    def test_a_laggard_leaves_between_two_batches(self) -> None:
        (_, slow), (_, other) = self.join(bound=50_000, tls=True), self.join()
        self.append(1, 2, 3, size=40_000)
        self.flush()
        self.assertEqual((slow.bodies, len(other.bodies), len(self.audience.members)), ([body(1, 40_000)], 3, 1))

    def test_a_laggard_is_found_by_the_flush_of_its_own_leaving(self) -> None:
        member, channel = self.join(bound=10, tls=True)
        self.join()
        self.append(1)
        ahead(member)
        self.assertEqual((channel.wire, len(self.audience.members), member.group), (b"", 1, None))

    def test_a_member_leaves_within_the_first_of_its_own_batches(self) -> None:
        """Its further batches are not sent: an UNSUBSCRIBE may have been answered already."""
        member, channel = self.join()
        self.append(1, 2, size=BATCH_BYTES)

        def reenter() -> None:
            if member.group is not None:
                leave(member)

        channel.reenter = reenter
        ahead(member)
        self.assertEqual(channel.bodies, [body(1, BATCH_BYTES)])
        self.assertEqual(self.metrics.deliveries[MESSAGE], 1)

    def test_the_only_member_leaves_while_another_joins(self) -> None:
        self.join(bound=10, tls=True)
        self.append(1)
        _, channel = self.join()
        self.append(2)
        self.flush()
        self.assertEqual((channel.bodies, len(self.audience.members)), ([body(2)], 1))


class UnderWayTests(FanoutCase):
    """Members join and leave during a fan-out over several turns of the reactor."""

    def begin(self, *numbers: int, most: int, size: int = 0) -> None:
        """Send events to this many members only."""
        self.append(*numbers, size=size)
        self.audience.start_batch()
        self.assertEqual(self.audience.advance(most), most)
        self.assertTrue(self.audience.is_in_flight)

    def finish(self) -> None:
        """Send the batch in flight to all other members."""
        while self.audience.is_in_flight:
            self.audience.advance(1)

    def test_each_once_and_in_order(self) -> None:
        """Each member gets each event once and in order, whatever the parts, the heads, and fast or slow sends."""
        heads = [message_head(Version.V1_2, MESSAGE, name) for name in ("sub-0", "sub-0", "sub-0", "own", "other")]
        channels = [self.join(head=head, tls=tls)[1] for head in heads for tls in (False, True)]
        for most in range(1, 12):
            self.append(2 * most)
            self.append(2 * most + 1, size=40_000)
            self.append(2 * most + 2, size=40_000)
            self.audience.start_batch()
            sent = []
            while self.audience.is_in_flight:
                sent.append(self.audience.advance(most))
            self.assertLessEqual(max(sent), most)
            self.assertEqual(sum(sent), 2 * len(channels))
            for channel in channels:
                self.assertEqual(
                    channel.bodies[-3:], [body(2 * most), body(2 * most + 1, 40_000), body(2 * most + 2, 40_000)]
                )
        self.assertEqual({len(channel.bodies) for channel in channels}, {33})

    def test_who_has_it_and_who_does_not_leave(self) -> None:
        for leaver in range(5):
            joined = [self.join() for _ in range(5)]
            self.begin(1, most=2)
            had = [channel.bodies for _, channel in joined]
            self.assertEqual(sorted(had), [[], [], [], [body(1)], [body(1)]])
            leave(joined[leaver][0])
            self.finish()
            self.append(2)
            self.flush()
            for index, (member, channel) in enumerate(joined):
                expected = had[leaver] if index == leaver else [body(1), body(2)]
                self.assertEqual(channel.bodies, expected)
                if index != leaver:
                    leave(member)

    def test_who_has_it_and_who_does_not_change_their_way(self) -> None:
        """Another subscription's send stalls, and is read again."""
        joined = [self.join() for _ in range(5)]
        self.begin(1, most=2)
        for _, channel in joined:
            channel.room = 0
            channel.send(b"")
            channel.send_rest(b"", 0)
        self.assertEqual([channel.bodies for _, channel in joined], [[body(1)]] * 5)
        for _, channel in joined[1:4]:
            channel.drain()
        self.finish()
        self.append(2)
        self.flush()
        self.assertEqual([channel.bodies for _, channel in joined], [[body(1), body(2)]] * 5)
        self.assertEqual(self.metrics.deliveries[MESSAGE], 10)

    def test_a_new_member_gets_only_later_events(self) -> None:
        """What counts is when it joined, not when the batch began."""
        first = [self.join()[1] for _ in range(3)]
        self.begin(1, most=1)
        _, second = self.join()
        self.append(2)
        third, tls = self.join(), self.join(tls=True)
        self.finish()
        self.append(3)
        self.assertEqual((second.bodies, third[1].bodies), ([], []))
        self.flush()
        self.assertEqual([channel.bodies for channel in first], [[body(1), body(2), body(3)]] * 3)
        self.assertEqual(second.bodies, [body(2), body(3)])
        self.assertEqual((third[1].bodies, tls[1].bodies), ([body(3)], [body(3)]))
        leave(third[0])
        self.append(4)
        self.flush()
        self.assertEqual((second.bodies[-1], third[1].bodies[-1], tls[1].bodies[-1]), (body(4), body(3), body(4)))

    def test_a_new_member_leaves_before_it_has_a_place(self) -> None:
        _, channel = self.join()
        self.append(1)
        for _ in range(2):
            member, other = self.join(head=message_head(Version.V1_2, MESSAGE, "own"))
            self.append(2)
            leave(member)
            self.assertEqual((other.bodies, self.audience.members), ([], self.audience.members[:1]))
        self.flush()
        self.assertEqual(channel.bodies, [body(1), body(2), body(2)])

    def test_a_flushed_member_is_ahead_of_the_others(self) -> None:
        """It is flushed whether it has the batch, waits for it, or for its group's turn, with the pending events."""
        own = message_head(Version.V1_2, MESSAGE, "own")
        joined = [self.join(), self.join(), self.join(), self.join(head=own)]
        self.begin(1, 2, most=1, size=40_000)
        self.append(3)
        bodies = [body(1, 40_000), body(2, 40_000), body(3)]
        for member, channel in joined:
            ahead(member)
            self.assertEqual(channel.bodies, bodies)
        self.finish()
        self.flush()
        self.append(4)
        self.flush()
        for _, channel in joined:
            self.assertEqual(channel.bodies, [*bodies, body(4)])
        self.assertEqual(self.metrics.deliveries[MESSAGE], 16)

    def test_all_leave(self) -> None:
        members = [self.join()[0] for _ in range(3)]
        self.begin(1, most=1)
        for member in members:
            leave(member)
        self.finish()
        self.assertEqual(self.audience.members, [])

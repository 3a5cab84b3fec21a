"""One group's MESSAGEs on their way into the sockets of its members."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.encoding import message_head, message_tail, websocket_framing
from airyd.errors import StompError
from airyd.events import MESSAGE, Event
from airyd.fanout import BATCH_BYTES, Group, Member
from airyd.metrics import Metrics
from airyd.stomp.spec import Version
from tests.model.channel import Idle, MemoryChannel

_HEAD = message_head(Version.V1_2, MESSAGE, "sub-0")


def tail(number: int, size: int = 0) -> bytes:
    """Return the tail of an event with a body of about this size."""
    return message_tail(Event(MESSAGE, f"1-{number}", body(number, size)))


def body(number: int, size: int = 0) -> bytes:
    """Return an event's body."""
    return b'{"n":%d,"x":"%b"}' % (number, b"x" * size)


class Leaver(Idle):
    """An owner whose subscription ends, or moves in its group, when the channel calls."""

    def __init__(self, group: Group[Member]) -> None:
        super().__init__()
        self.group = group
        self.member: Member | None = None
        self.is_closing = False

    def direct_changed(self) -> None:
        """Do what a client does, but for a subscription that it is just closing."""
        super().direct_changed()
        if self.member is not None and not self.is_closing:
            self.group.refresh(self.member)

    def fail(self, error: StompError) -> None:
        """Leave."""
        super().fail(error)
        assert self.member is not None
        self.group.discard(self.member, 0)


class GroupCase(SynchronousTestCase):
    """A group, and members with channels."""

    def setUp(self) -> None:
        self.metrics = Metrics([MESSAGE])
        self.group: Group[Member] = Group(MESSAGE, websocket_framing, _HEAD, None, self.metrics)

    def join(self, bound: int = 1 << 21, tls: bool = False) -> tuple[Member, MemoryChannel]:
        """Add a member with a channel of its own."""
        owner = Leaver(self.group)
        channel = MemoryChannel(owner, bound, tls)
        member = owner.member = Member(channel)
        self.group.add(member, 0)
        return member, channel

    def append(self, *numbers: int, size: int = 0) -> None:
        """Add events to what is pending."""
        for number in numbers:
            self.group.append(tail(number, size))


class FlushTests(GroupCase):
    """What is pending leaves at once, the same for all."""

    def test_one_send_per_member(self) -> None:
        channels = [self.join()[1] for _ in range(3)]
        self.append(1, 2, 3)
        self.assertEqual([channel.sends for channel in channels], [[], [], []])
        self.group.flush(7.5)
        for channel in channels:
            self.assertEqual(channel.bodies, [body(1), body(2), body(3)])
            self.assertEqual(channel.sends, [len(channel.wire)])
        self.assertEqual(self.group.flushed_at, 7.5)

    def test_nothing_pending(self) -> None:
        _, channel = self.join()
        self.append(1)
        self.group.flush(1)
        self.group.flush(2)
        self.assertEqual(channel.bodies, [body(1)])
        self.assertEqual((self.group.flushed_at, self.metrics.flushes), (1, 1))

    def test_the_first_of_a_batch_is_told(self) -> None:
        self.join()
        self.assertEqual([self.group.append(tail(number)) for number in range(3)], [True, False, False])
        self.group.flush(0)
        self.assertTrue(self.group.append(tail(3)))

    def test_counts(self) -> None:
        channels = [self.join()[1], self.join()[1], self.join(tls=True)[1]]
        self.append(1, 2)
        self.group.flush(0)
        self.append(3)
        self.group.flush(0)
        self.assertEqual(self.metrics.deliveries[MESSAGE], 9)
        self.assertEqual(self.metrics.bytes_out, sum(len(channel.wire) for channel in channels))
        self.assertEqual(self.metrics.flushes, 2)

    def test_long_batches_are_cut_between_frames(self) -> None:
        """None is longer than 64 KiB, unless one frame alone is; nothing is lost at the cuts."""
        _, channel = self.join()
        sizes = [20_000, 20_000, 20_000, 20_000, 10, 150_000, 10, 65_000]
        for number, size in enumerate(sizes):
            self.append(number, size=size)
        self.group.flush(0)
        self.assertEqual(channel.bodies, [body(number, size) for number, size in enumerate(sizes)])
        self.assertEqual([round(sent, -4) for sent in channel.sends], [60_000, 20_000, 150_000, 70_000])
        self.assertLessEqual(channel.sends[-1], BATCH_BYTES)

    def test_a_batch_of_just_the_bound_is_not_cut(self) -> None:
        _, channel = self.join()
        self.append(1)
        self.group.flush(0)
        head = len(channel.wire) + 3  # a longer frame says its length with three more digits
        half = BATCH_BYTES // 2
        self.append(2, 3, size=half - head)
        self.group.flush(0)
        self.append(4, size=half - head)
        self.append(5, size=half - head + 1)
        self.group.flush(0)
        self.assertEqual(channel.sends[1:], [BATCH_BYTES, half, half + 1])

    def test_without_members(self) -> None:
        self.append(1)
        self.group.flush(0)
        _, channel = self.join()
        self.group.flush(0)
        self.assertEqual((channel.wire, len(self.group)), (b"", 1))


class SocketTests(GroupCase):
    """What a socket does not take waits for it, in order, and hurts nobody else."""

    def test_a_full_socket_in_the_middle(self) -> None:
        channels = [self.join()[1] for _ in range(5)]
        channels[2].room = 0
        for number in range(4):
            self.append(number)
            self.group.flush(0)
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
        self.group.flush(0)
        self.append(2)
        self.group.flush(0)
        for channel in channels:
            self.assertEqual(channel.bodies, [body(1), body(2)])
        self.assertEqual([channel.taken for channel in channels], [17, len(channels[1].wire), 17])

    def test_a_socket_that_is_gone(self) -> None:
        """Its transport will tell; until then the bytes go nowhere."""
        (_, gone), (_, other) = self.join(), self.join()
        gone.is_closed = True
        self.append(1)
        self.group.flush(0)
        self.append(2)
        self.group.flush(0)
        self.assertEqual((gone.wire, other.bodies), (b"", [body(1), body(2)]))

    def test_no_direct_way(self) -> None:
        _, channel = self.join(tls=True)
        self.append(1)
        self.group.flush(0)
        self.assertEqual((channel.bodies, channel.sends), ([body(1)], []))

    def test_back_on_the_direct_way(self) -> None:
        """Between fast and slow and back, whichever place the others have then."""
        channels = [self.join()[1] for _ in range(4)]
        expected = []
        for number, (stalled, read) in enumerate([(0, None), (3, 0), (1, 3), (0, 1), (2, 0), (3, 2), (None, 3)]):
            if stalled is not None:
                channels[stalled].room = 5
            if read is not None:
                channels[read].drain()
            self.append(number)
            self.group.flush(0)
            expected.append(body(number))
            for channel in channels:
                self.assertEqual(channel.bodies, expected)
        for channel in channels:
            self.assertIsNotNone(channel.direct)
            self.assertEqual((channel.buffered, channel.stalls > 0), (0, True))

    def test_more_batches_after_a_part_was_taken(self) -> None:
        """The second must not overtake the rest of the first, even if the socket has room again."""
        member, channel = self.join()
        channel.room = 100
        self.append(1, 2, 3, size=40_000)
        self.group.discard(member, 0)
        self.assertEqual(channel.bodies, [body(number, 40_000) for number in (1, 2, 3)])
        self.assertEqual(len(channel.sends), 1)

    def test_more_batches_for_who_is_just_closing_a_subscription(self) -> None:
        """A client does not refresh that one, so the group itself must see that the direct way is gone."""
        member, channel = self.join()
        owner = channel.owner
        assert isinstance(owner, Leaver)
        owner.is_closing = True
        channel.room = 100
        self.append(1, 2, 3, size=40_000)
        self.group.discard(member, 0)
        self.assertEqual(channel.bodies, [body(number, 40_000) for number in (1, 2, 3)])
        self.assertEqual((len(channel.sends), channel.stalls), (1, 1))


class MembershipTests(GroupCase):
    """Who gets what is pending when somebody comes or goes."""

    def test_whoever_joins_gets_only_what_comes_later(self) -> None:
        _, first = self.join()
        self.append(1)
        _, second = self.join()
        self.append(2)
        self.group.flush(0)
        self.assertEqual(first.bodies, [body(1), body(2)])
        self.assertEqual(second.bodies, [body(2)])

    def test_whoever_leaves_gets_what_was_pending(self) -> None:
        (member, first), (_, second) = self.join(), self.join()
        self.append(1)
        self.group.discard(member, 0)
        self.append(2)
        self.group.flush(0)
        self.assertEqual((first.bodies, second.bodies), ([body(1)], [body(1), body(2)]))
        self.assertIsNone(member.group)

    def test_every_order_of_leaving(self) -> None:
        """The places of those who stay are kept, fast or slow."""
        for order in ((0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (2, 0, 4, 1, 5, 3), (3, 5, 0, 2, 1, 4)):
            joined = [self.join(tls=index % 2 == 1) for index in range(6)]
            stay = list(range(6))
            for number, index in enumerate(order):
                self.append(number)
                self.group.flush(0)
                self.group.discard(joined[index][0], 0)
                stay.remove(index)
                self.assertCountEqual(self.group.members, [joined[each][0] for each in stay])
            for number, index in enumerate(order):
                self.assertEqual(joined[index][1].bodies, [body(each) for each in range(number + 1)])
            self.assertEqual(len(self.group), 0)

    def test_a_laggard_leaves_within_the_flush(self) -> None:
        """It gets no more; the others, before and behind it, get everything."""
        channels = [self.join(bound=bound, tls=True)[1] for bound in (10**6, 150, 10**6)]
        fast = self.join()[1]
        self.append(1)
        self.group.flush(0)
        self.append(2)
        self.group.flush(0)
        owner = channels[1].owner
        assert isinstance(owner, Leaver)
        self.assertEqual(owner.heard, ["slow_consumer"])
        self.assertEqual(channels[1].bodies, [body(1)])
        for channel in (channels[0], channels[2], fast):
            self.assertEqual(channel.bodies, [body(1), body(2)])
        self.assertEqual(len(self.group), 3)

    def test_a_laggard_leaves_between_two_batches(self) -> None:
        (_, slow), (_, other) = self.join(bound=50_000, tls=True), self.join()
        self.append(1, 2, 3, size=40_000)
        self.group.flush(0)
        self.assertEqual((slow.bodies, len(other.bodies), len(self.group)), ([body(1, 40_000)], 3, 1))

    def test_a_laggard_is_found_by_the_flush_of_its_own_leaving(self) -> None:
        member, channel = self.join(bound=10, tls=True)
        self.join()
        self.append(1)
        self.group.discard(member, 0)
        self.assertEqual((channel.wire, len(self.group), member.group), (b"", 1, None))

    def test_the_only_member_leaves_while_another_joins(self) -> None:
        self.join(bound=10, tls=True)
        self.append(1)
        _, channel = self.join()
        self.append(2)
        self.group.flush(0)
        self.assertEqual((channel.bodies, len(self.group)), ([body(2)], 1))

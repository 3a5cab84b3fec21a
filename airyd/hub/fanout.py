"""The hot path: what a turn of the reactor brought, to every member's socket, one send each.

An *audience* is who may see the same events of a destination. It has a *group* for each way in
which its subscriptions' MESSAGEs are written: what is pending is framed once per group, joined, and
handed to each member's socket. Members whose socket is full, or who are on TLS, take the slower way
through their transport.

A fan-out to thousands is spread over turns of the reactor. Until it is over, a group knows who has
the batch and who does not yet, and keeps that true while members come, go, and change their way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from airyd.events import Event, RowFilter
from airyd.hub.rank import Placed, Rank
from airyd.hub.row_filter import Rows
from airyd.interfaces import IChannel
from airyd.metrics import Metrics
from airyd.stomp.message import Framing

#: STOMP bytes of a batch at most, unless one frame alone has more. To join them takes 1 µs, a quarter of a send's time;
#: much more than this a socket on a real network does not take at once, and its rest would go the slow way.
BATCH_BYTES: Final = 64 * 1024


class Member(Placed):
    """A subscription's place in a group.

    :ivar channel: the client's connection
    :ivar group: the group it is in, or None
    """

    __slots__ = ("channel", "group")

    def __init__(self, channel: IChannel) -> None:
        super().__init__()
        self.channel = channel
        self.group: Group[Any] | None = None


M = TypeVar("M", bound=Member)


class Group(Generic[M]):
    """Subscriptions that get the same bytes.

    :ivar audience: those who see the same events
    :ivar head: the start of each MESSAGE (``airyd.stomp.message.message_head``)
    :ivar round: the last round of the audience that has come to it
    :ivar size: how many members it has, with those that have no place yet
    """

    __slots__ = ("_batches", "_fast", "_slow", "audience", "framing", "head", "round", "size")

    def __init__(self, audience: Audience[M], framing: Framing, head: bytes) -> None:
        self.audience = audience
        self.framing = framing
        self.head = head
        self.round = 0
        self.size = 0
        self._fast: Rank[M] = Rank()  # a send is the socket's, and may take less
        self._slow: Rank[M] | None = None  # a send is the channel's, and takes all
        self._batches: list[tuple[bytes, int]] = []  # wire bytes, and how many events they are

    @property
    def members(self) -> list[M]:
        """Those that have a place, in a new list."""
        return self._fast.members + (self._slow.members if self._slow else [])

    @property
    def is_under_way(self) -> bool:
        """Whether a batch is on its way: some have it, others don't."""
        return bool(self._batches)

    def add(self, member: M) -> None:
        """Let a member in, who is to have nothing of what is under way."""
        member.group = self
        direct = member.channel.direct
        if direct is not None:
            self._fast.add(member, direct)
            return
        if self._slow is None:
            self._slow = Rank()
        self._slow.add(member, member.channel.send)

    def discard(self, member: M) -> list[tuple[bytes, int]]:
        """Take a member's place away; return what of the batches under way it doesn't have."""
        is_done = member.rank is None or member.rank.remove(member)
        return self._batches[1 if is_done else 0 :]

    def refresh(self, member: M) -> None:
        """Take notice that a member's ``channel.direct`` has changed."""
        if member.rank is None:
            return  # it has no place yet
        is_done = member.rank.remove(member)
        self.add(member)
        if not is_done:
            wire, events = self._batches[0]
            member.channel.send(wire)
            self.audience.deliveries += events
            self.audience.bytes_out += len(wire)

    def advance(self, tails: Sequence[bytes], most: int) -> int:
        """Send events, or go on with it, to ``most`` members or fewer; return to how many."""
        batches, fast, slow = self._batches, self._fast, self._slow
        if not batches:
            batches += self.write(tails, self.size)
            fast.done = 0
            if slow is not None:
                slow.done = 0
        wire, events = batches[0]
        count = 0
        if slow is not None:
            sends, _ = slow.take(most)
            count = len(sends)
            for send in sends:
                send(wire)
        if count < most:
            sends, members = fast.take(most - count)
            count += len(sends)
            self._send(wire, sends, members)
        audience = self.audience
        audience.deliveries += events * count
        audience.bytes_out += len(wire) * count
        slow = self._slow  # whose socket took a part may be the first there
        if fast.done == len(fast.members) and (slow is None or slow.done == len(slow.members)):
            del batches[0]
            if batches:
                fast.done = 0
                if slow is not None:
                    slow.done = 0
        return count

    def _send(self, wire: bytes, sends: Sequence[Callable[[bytes], Any]], members: Sequence[M]) -> None:
        size = len(wire)
        short: list[tuple[M, int]] = []
        # Nothing in this loop can call back into airyd: that is why nobody's way changes while it runs.
        for send, member in zip(sends, members, strict=True):
            try:
                taken = send(wire)
            except OSError:  # full (EAGAIN) or gone: the transport tells which
                taken = 0
            if taken != size:
                short.append((member, taken))
        # From here on a channel may find its client too slow, which takes members out of this group.
        for member, taken in short:
            member.channel.sent(wire, taken)
            # The client does so too, but not for a subscription that it is just closing; more batches may follow.
            if member.group is self:
                self.refresh(member)

    def write(self, tails: Sequence[bytes], receivers: int) -> list[tuple[bytes, int]]:
        """Write MESSAGEs, in order, into buffers of about ``BATCH_BYTES``; each with the number of them."""
        head, framing = self.head, self.framing
        if len(tails) == 1:
            return [(framing((head + tails[0],), receivers), 1)]
        batches = []
        frames: list[bytes] = []
        size = 0
        for tail in tails:
            frame = head + tail
            if frames and size + len(frame) > BATCH_BYTES:
                batches.append((framing(frames, receivers), len(frames)))
                frames, size = [], 0
            frames.append(frame)
            size += len(frame)
        batches.append((framing(frames, receivers), len(frames)))
        return batches


class Audience(Generic[M]):
    """Those who may see the same events of a destination.

    :ivar flushed_at: when the first of the events was published that all who had a place were sent last; seconds
    :ivar round: how often it has begun
    :ivar deliveries: MESSAGEs that were sent, and
    :ivar bytes_out: their bytes, since the metrics were told
    """

    __slots__ = (
        "_destination",
        "_groups",
        "_metrics",
        "_newcomers",
        "_pending",
        "_rest",
        "_since",
        "_tails",
        "bytes_out",
        "deliveries",
        "flushed_at",
        "round",
        "row_filter",
    )

    def __init__(self, destination: str, row_filter: RowFilter | None, metrics: Metrics) -> None:
        self.row_filter = row_filter
        self.flushed_at = float("-inf")
        self.round = 0
        self.deliveries = self.bytes_out = 0
        self._destination = destination
        self._metrics = metrics
        self._groups: dict[tuple[Framing, bytes], Group[M]] = {}
        self._pending: list[bytes] = []
        self._since = 0.0
        self._newcomers: dict[M, int] = {}  # who waits for a place, and how many pending events it is not to have
        self._tails: Sequence[bytes] = ()
        self._rest: list[Group[M]] = []  # those that wait for _tails, or for a part of their members to have it

    @property
    def members(self) -> list[M]:
        """All members, in a new list."""
        return [*self._newcomers, *(member for group in self._groups.values() for member in group.members)]

    @property
    def is_under_way(self) -> bool:
        """Whether there is something to :meth:`advance`."""
        return bool(self._rest)

    def join(self, member: M, framing: Framing, head: bytes) -> None:
        """Let a member in; what was published before goes to the others alone."""
        group = self._groups.get((framing, head))
        if group is None:
            group = self._groups[framing, head] = Group(self, framing, head)
        group.size += 1
        if self._pending or self._rest:
            member.group = group
            self._newcomers[member] = len(self._pending)
        else:
            group.add(member)

    def leave(self, member: M, group: Group[M]) -> bool:
        """Let a member out; what it wasn't sent yet, it won't be. Return whether nobody is left."""
        group.discard(member)
        self._newcomers.pop(member, None)
        member.group = None
        group.size -= 1
        if not group.size:
            del self._groups[group.framing, group.head]
        return not self._groups

    def flush(self, member: M, group: Group[M], more: Sequence[bytes] = ()) -> None:
        """Send a member at once what was published for it, ahead of the others, and then what is for it alone."""
        if not self._pending and not self._rest:  # it has all that there was
            self._send_alone(member, group.write(more, 1) if more else ())
            self._count()
            return
        skipped = self._newcomers.get(member)
        is_waiting = skipped is None and group.round != self.round
        tails = [*(self._tails if is_waiting else ()), *self._pending[skipped:], *more]
        batches = group.discard(member) if skipped is None else []
        if tails:
            batches += group.write(tails, 1)
        self._newcomers[member] = len(self._pending)
        self._send_alone(member, batches)
        self._count()

    def seen(self, events: Sequence[Event], tails: Sequence[bytes], rows: Rows) -> Sequence[bytes]:
        """Return the tails of those events that the filter lets pass."""
        row_filter = self.row_filter
        if row_filter is None:
            return tails
        return [tail for event, tail in zip(events, tails, strict=True) if rows.passes(event, row_filter)]

    def append(self, tails: Sequence[bytes], now: float) -> bool:
        """Let events wait for :meth:`begin`; return whether none did before."""
        is_first = not self._pending
        if is_first:
            self._since = now
        self._pending += tails
        return is_first

    def begin(self) -> None:
        """Take what is pending for :meth:`advance`; call it when nothing is under way."""
        if not self._pending:
            return
        newcomers = self._newcomers
        self._newcomers = {member: 0 for member, skipped in newcomers.items() if skipped}
        for member, skipped in newcomers.items():
            if not skipped and member.group is not None:
                member.group.add(member)
        self._rest = list(self._groups.values())
        self.round += 1
        self._tails, self._pending = self._pending, []
        self.flushed_at = self._since
        for member, skipped in newcomers.items():
            rest = self._tails[skipped:]
            # A send before may have found a client too slow, which ends all its subscriptions: then it has no group.
            if skipped and rest and member.group is not None:
                self._send_alone(member, member.group.write(rest, 1))

    def _send_alone(self, member: M, batches: Sequence[tuple[bytes, int]]) -> None:
        for wire, events in batches:
            if member.group is None:  # it left within the send before
                return
            member.channel.send(wire)
            self.deliveries += events
            self.bytes_out += len(wire)

    def advance(self, most: int) -> int:
        """Send on, to ``most`` members or fewer; return to how many."""
        rest, tails = self._rest, self._tails
        count = 0
        while rest and count < most:
            group = rest.pop()
            group.round = self.round
            try:
                count += group.advance(tails, most - count)
            finally:  # also if a member met a bug: else the group would take the rest of this batch for the next one
                if group.is_under_way:
                    rest.append(group)
        if not rest:
            self._tails = ()
        self._count()
        return count

    def _count(self) -> None:
        self._metrics.deliveries[self._destination] += self.deliveries
        self._metrics.bytes_out += self.bytes_out
        self.deliveries = self.bytes_out = 0

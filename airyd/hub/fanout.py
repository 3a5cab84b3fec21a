"""The hot path: what a turn of the reactor brought, to every member's socket, one send each.

An *audience* is the subscriptions that see the same events of a destination. It has a *group* for each
way in which their MESSAGEs are written: what is pending is framed once per group, joined, and handed to
each member's socket. Members whose socket is full, or that are on TLS, take the slower way through their
transport.

A fan-out to thousands is spread over turns of the reactor. Until it is over, a group knows which members
are served and which are not yet, and keeps that true while members come, go, and change their way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from airyd.events import Event, RowFilter
from airyd.hub.row_filter import Rows
from airyd.interfaces import IChannel
from airyd.metrics import Metrics
from airyd.stomp.message import Framing

#: STOMP bytes of a batch at most, unless one frame alone has more. To join them takes 1 µs, a quarter of a send's time;
#: much more than this a socket on a real network does not take at once, and its rest would go the slow way.
BATCH_BYTES: Final = 64 * 1024


class Member(Protocol):
    """A subscription, as its group sees it.

    :ivar group: the group it is in, or None
    :ivar recipients: those of the group's that it is among; None while it waits for a place
    :ivar index: its index among them
    """

    group: Group[Any] | None
    recipients: Recipients[Any] | None
    index: int

    @property
    def channel(self) -> IChannel:
        """The client's connection."""


M = TypeVar("M", bound=Member)


class Recipients(Generic[M]):
    """Members in no order, and side by side what sends to them: the loop looks nothing up (22 ns a turn, not 29).

    :ivar served: how many of them, the first ones, have the batch in flight; all of them while none is
    """

    __slots__ = ("members", "sends", "served")

    def __init__(self) -> None:
        self.members: list[M] = []
        self.sends: list[Callable[[bytes], Any]] = []
        self.served = 0

    def add(self, member: M, send: Callable[[bytes], Any]) -> None:
        """Add a member to the part already served."""
        member.recipients = self
        self.members.append(member)
        self.sends.append(send)
        self._move(self.served, len(self.members) - 1)  # the first of those not served makes room
        self.members[self.served], self.sends[self.served] = member, send
        member.index = self.served
        self.served += 1

    def remove(self, member: M) -> bool:
        """Remove a member; return whether it was served."""
        gap = member.index
        is_served = gap < self.served
        if is_served:  # the last of those served fills the gap, and leaves one among the others
            self.served -= 1
            self._move(self.served, gap)
            gap = self.served
        last = len(self.members) - 1
        if gap != last:
            self._move(last, gap)
        self.members.pop()
        self.sends.pop()
        member.recipients = None
        return is_served

    def serve(self, most: int) -> tuple[list[Callable[[bytes], Any]], list[M]]:
        """Return ``most`` of those not served, or fewer: they count as served from now on."""
        start = self.served
        self.served = end = min(start + most, len(self.members))
        return self.sends[start:end], self.members[start:end]

    def _move(self, source: int, target: int) -> None:
        member = self.members[source]
        self.members[target], self.sends[target] = member, self.sends[source]
        member.index = target


class Group(Generic[M]):
    """Subscriptions that get the same bytes.

    :ivar audience: those that see the same events
    :ivar head: the start of each MESSAGE (``airyd.stomp.message.message_head``)
    :ivar round: the last round of the audience that has come to it
    :ivar size: how many members it has, with those that wait for a place
    """

    __slots__ = ("_batches", "_fast", "_slow", "audience", "framing", "head", "round", "size")

    def __init__(self, audience: Audience[M], framing: Framing, head: bytes) -> None:
        self.audience = audience
        self.framing = framing
        self.head = head
        self.round = 0
        self.size = 0
        self._fast: Recipients[M] = Recipients()  # a send is the socket's, and may take less
        self._slow: Recipients[M] | None = None  # a send is the channel's, and takes all
        self._batches: list[tuple[bytes, int]] = []  # wire bytes, and how many events they are

    @property
    def members(self) -> list[M]:
        """Those that have a place, in a new list."""
        return self._fast.members + (self._slow.members if self._slow else [])

    @property
    def is_in_flight(self) -> bool:
        """Whether a batch is in flight: some members are served, others are not."""
        return bool(self._batches)

    def add(self, member: M) -> None:
        """Add a member that must not get the batch in flight."""
        member.group = self
        direct = member.channel.direct
        if direct is not None:
            self._fast.add(member, direct)
            return
        if self._slow is None:
            self._slow = Recipients()
        self._slow.add(member, member.channel.send)

    def discard(self, member: M) -> list[tuple[bytes, int]]:
        """Take a member's place away; return those of the batches in flight that it doesn't have."""
        is_served = member.recipients is None or member.recipients.remove(member)
        return self._batches[1 if is_served else 0 :]

    def refresh(self, member: M) -> None:
        """Move a member whose ``channel.direct`` has changed to the fast or the slow recipients."""
        if member.recipients is None:
            return  # it waits for a place
        is_served = member.recipients.remove(member)
        self.add(member)
        if not is_served:
            wire, events = self._batches[0]
            member.channel.send(wire)
            self.audience.deliveries += events
            self.audience.bytes_out += len(wire)

    def advance(self, tails: Sequence[bytes], most: int) -> int:
        """Send events, or go on with it, to ``most`` members or fewer; return to how many."""
        batches, fast, slow = self._batches, self._fast, self._slow
        if not batches:
            batches += self.write(tails, self.size)
            fast.served = 0
            if slow is not None:
                slow.served = 0
        wire, events = batches[0]
        count = 0
        if slow is not None:
            sends, _ = slow.serve(most)
            count = len(sends)
            for send in sends:
                send(wire)
        if count < most:
            sends, members = fast.serve(most - count)
            count += len(sends)
            self._send(wire, sends, members)
        audience = self.audience
        audience.deliveries += events * count
        audience.bytes_out += len(wire) * count
        slow = self._slow  # a member whose socket took a part may be the first there
        if fast.served == len(fast.members) and (slow is None or slow.served == len(slow.members)):
            del batches[0]
            if batches:
                fast.served = 0
                if slow is not None:
                    slow.served = 0
        return count

    def _send(self, wire: bytes, sends: Sequence[Callable[[bytes], Any]], members: Sequence[M]) -> None:
        size = len(wire)
        short: list[tuple[M, int]] = []
        # Nothing in this loop can call back into airyd, so no member moves while it runs.
        for send, member in zip(sends, members, strict=True):
            try:
                taken = send(wire)
            except OSError:  # full (EAGAIN) or gone: the transport tells which
                taken = 0
            if taken != size:
                short.append((member, taken))
        # From here on a channel may find its client too slow, which takes members out of this group.
        for member, taken in short:
            member.channel.send_rest(wire, taken)
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
    """The subscriptions that see the same events of a destination.

    :ivar flushed_at: seconds; when the first event of the last batch was published that went to all with a place
    :ivar round: how many batches it has started
    :ivar deliveries: MESSAGEs that were sent and are not counted in the metrics yet
    :ivar bytes_out: their bytes
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
        self._newcomers: dict[M, int] = {}  # those that wait for a place, and how many pending events each must not get
        self._tails: Sequence[bytes] = ()
        self._rest: list[Group[M]] = []  # those that wait for _tails, or for a part of their members to have it

    @property
    def members(self) -> list[M]:
        """All members, in a new list."""
        return [*self._newcomers, *(member for group in self._groups.values() for member in group.members)]

    @property
    def is_in_flight(self) -> bool:
        """Whether there is something to :meth:`advance`."""
        return bool(self._rest)

    def join(self, member: M, framing: Framing, head: bytes) -> None:
        """Add a member; what was published before goes to the others alone."""
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
        """Remove a member, which is sent nothing more; return whether no member is left."""
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

    def visible(self, events: Sequence[Event], tails: Sequence[bytes], rows: Rows) -> Sequence[bytes]:
        """Return the tails of those events that the filter lets pass."""
        row_filter = self.row_filter
        if row_filter is None:
            return tails
        return [tail for event, tail in zip(events, tails, strict=True) if rows.passes(event, row_filter)]

    def append(self, tails: Sequence[bytes], now: float) -> bool:
        """Let events wait for :meth:`start_batch`; return whether none did before."""
        is_first = not self._pending
        if is_first:
            self._since = now
        self._pending += tails
        return is_first

    def start_batch(self) -> None:
        """Take what is pending for :meth:`advance`; call it when nothing is in flight."""
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
                if group.is_in_flight:
                    rest.append(group)
        if not rest:
            self._tails = ()
        self._count()
        return count

    def _count(self) -> None:
        self._metrics.deliveries[self._destination] += self.deliveries
        self._metrics.bytes_out += self.bytes_out
        self.deliveries = self.bytes_out = 0

"""Fan-out, the hot path: each subscription gets the events of a reactor turn in one send.

An *audience* is all subscriptions of a destination with the same row filter; so they see the same events.
An audience keeps *groups*: the members of a group get the same bytes. Events are *pending* until the next flush. A
flush encodes them once per group and joins them to a *batch*, or to several of ``BATCH_BYTES``. A batch is *in flight*
until all members have been sent it.

A member has one of two ways to send. The fast one is the ``send`` of its socket. The slow one is its channel, for a
socket that is full or uses TLS.

A batch for thousands of members takes several turns of the reactor. Until it is complete, the group knows which
members have been sent it (*served*), even if members join, leave, or change their way to send.

A member that joins while events are pending or in flight is a *newcomer*. It must not get the earlier events of the
batch, so it is in no group's list of recipients until the next batch begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic

from airyd.events import RowFilter
from airyd.hub.batches import event_id, write
from airyd.hub.recipients import M, Recipients
from airyd.metrics import Metrics
from airyd.stomp.message import Framing


class Counter:
    """Counts what the audiences of one destination send.

    :ivar groups: how many groups they have now
    """

    __slots__ = ("_destination", "_metrics", "groups")

    def __init__(self, destination: str, metrics: Metrics) -> None:
        self.groups = 0
        self._destination = destination
        self._metrics = metrics

    def count(self, deliveries: int, size: int) -> None:
        """Add deliveries, and their bytes on the wire, to the metrics."""
        self._metrics.deliveries[self._destination] += deliveries
        self._metrics.bytes_out += size


class Group(Generic[M]):
    """Subscriptions that get the same bytes.

    :ivar audience: the audience that it is a part of
    :ivar framing: encodes STOMP frames for the members' transport (``airyd.stomp.message.Framing``)
    :ivar head: the start of each MESSAGE (``airyd.stomp.message.message_head``)
    :ivar round: the audience's ``round`` when this group last began to send a batch
    :ivar size: how many members it has, newcomers included
    """

    __slots__ = ("_batches", "_fast", "_slow", "audience", "framing", "head", "round", "size")

    def __init__(self, audience: Audience[M], framing: Framing, head: bytes) -> None:
        self.audience = audience
        self.framing = framing
        self.head = head
        self.round = 0
        self.size = 0
        self._fast: Recipients[M] = Recipients()  # the socket may take only a part of the bytes
        self._slow: Recipients[M] | None = None  # the channel takes all, and queues them
        self._batches: list[tuple[bytes, int]] = []  # those in flight: wire bytes, and how many events they hold

    @property
    def row_filter(self) -> RowFilter | None:
        """See ``MemberGroup``."""
        return self.audience.row_filter

    @property
    def flushed_at(self) -> float:
        """See ``MemberGroup``."""
        return self.audience.flushed_at

    @property
    def counted(self) -> int:
        """See ``MemberGroup``."""
        return self.audience.appended

    def holds(self, event_id: str) -> bool:
        """See ``MemberGroup``."""
        return self.audience.holds(event_id)

    def sent_up_to(self, member: M) -> str | None:
        """See ``MemberGroup``."""
        return self.audience.sent_up_to(member, self)

    def flush(self, member: M, more: Sequence[bytes] = ()) -> None:
        """See ``MemberGroup``."""
        self.audience.flush(member, self, more)

    def leave(self, member: M) -> bool:
        """See ``MemberGroup``."""
        return self.audience.leave(member, self)

    @property
    def members(self) -> list[M]:
        """All members but newcomers, as a new list."""
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

    def unsent(self, member: M) -> int:
        """Return how many events of the batches in flight a member has not been sent yet."""
        recipients = member.recipients
        is_served = recipients is None or member.index < recipients.served
        return sum([events for _, events in self._batches[1 if is_served else 0 :]])

    def discard(self, member: M) -> list[tuple[bytes, int]]:
        """Remove a member from the recipients; return the batches in flight that it has not been sent yet."""
        is_served = member.recipients is None or member.recipients.remove(member)
        return self._batches[1 if is_served else 0 :]

    def refresh(self, member: M) -> None:
        """Move a member to the fast or the slow recipients, after its ``channel.direct`` has changed.

        If it has not been sent the batch in flight, it gets that at once.
        """
        if member.recipients is None:
            return  # a newcomer
        is_served = member.recipients.remove(member)
        self.add(member)
        if not is_served:
            wire, events = self._batches[0]
            member.channel.send(wire)
            self.audience.deliveries += events
            self.audience.bytes_out += len(wire)

    def advance(self, tails: Sequence[bytes], most: int) -> int:
        """Start a batch, or continue it: send it to up to ``most`` members; return how many that were.

        :param tails: the events; ignored while a batch is in flight
        """
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
        slow = self._slow  # the sends may have created it, for a member whose socket took only a part
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
            except OSError:  # full (EAGAIN) or gone: the transport finds out which
                taken = 0
            if taken != size:
                short.append((member, taken))
        # From here on a channel may end a client that is too slow, which removes members from this group.
        for member, taken in short:
            member.channel.send_rest(wire, taken)
            # send_rest() has refreshed the open subscriptions of the client (Client.direct_changed). One that is being
            # closed right now is not among these, and may still be sent more batches.
            if member.group is self:
                self.refresh(member)

    def write(self, tails: Sequence[bytes], receivers: int) -> list[tuple[bytes, int]]:
        """See the function of this name."""
        return write(self.framing, self.head, tails, receivers)


class Audience(Generic[M]):
    """The subscriptions of a destination that have the same row filter.

    :ivar row_filter: the filter; None lets all events pass
    :ivar flushed_at: when the first event of the latest batch arrived, in seconds of the reactor; a newcomer may not
        have been sent that batch
    :ivar round: how many flushes it has started
    :ivar deliveries: MESSAGEs that were sent and are not counted in the metrics yet
    :ivar bytes_out: the bytes of these MESSAGEs
    :ivar appended: how many events :meth:`append` has been given
    """

    __slots__ = (
        "_alone",
        "_before",
        "_before_tails",
        "_counter",
        "_groups",
        "_newcomers",
        "_pending",
        "_rest",
        "_since",
        "_tails",
        "appended",
        "bytes_out",
        "deliveries",
        "flushed_at",
        "round",
        "row_filter",
    )

    def __init__(self, row_filter: RowFilter | None, counter: Counter) -> None:
        self.row_filter = row_filter
        self.flushed_at = float("-inf")
        self.round = 0
        self.deliveries = self.bytes_out = self.appended = 0
        self._counter = counter
        self._groups: dict[tuple[Framing, bytes], Group[M]] = {}
        self._pending: list[bytes] = []
        self._since = 0.0  # when the first pending event arrived
        self._before = self._before_tails = ""  # the feed's position before the first of _pending, and of _tails
        # Who is being sent events alone, these events, and how many of them it has been sent.
        self._alone: tuple[M, Sequence[bytes], int] | None = None
        # Each with its group, and the number of pending events that it must not get.
        self._newcomers: dict[M, tuple[Group[M], int]] = {}
        self._tails: Sequence[bytes] = ()
        self._rest: list[Group[M]] = []  # groups of which not all members have been sent _tails

    @property
    def members(self) -> list[M]:
        """All members, as a new list."""
        return [*self._newcomers, *(member for group in self._groups.values() for member in group.members)]

    @property
    def is_in_flight(self) -> bool:
        """Whether :meth:`advance` must be called again to complete a batch."""
        return bool(self._rest)

    def join(self, member: M, framing: Framing, head: bytes) -> None:
        """Add a member, which gets only events that are published from now on."""
        group = self._groups.get((framing, head))
        if group is None:
            group = self._groups[framing, head] = Group(self, framing, head)
            self._counter.groups += 1
        group.size += 1
        member.count_events(-self.appended)
        if self._pending or self._rest:
            member.group = group
            self._newcomers[member] = group, len(self._pending)
        else:
            group.add(member)

    def leave(self, member: M, group: Group[M]) -> bool:
        """Remove a member, which gets nothing more; return whether no member is left."""
        group.discard(member)
        self._newcomers.pop(member, None)
        member.group = None
        member.count_events(self.appended)
        group.size -= 1
        if not group.size:
            del self._groups[group.framing, group.head]
            self._counter.groups -= 1
        return not self._groups

    def flush(self, member: M, group: Group[M], more: Sequence[bytes] = ()) -> None:
        """Send a member all that it has not been sent yet, ahead of the others; then ``more``, for it alone."""
        member.count_events(len(more))
        if not self._pending and not self._rest:  # it has all events
            self._send_alone(member, group.write(more, 1) if more else (), more)
            self._count()
            return
        _, skipped = self._newcomers.get(member, (group, None))
        is_waiting = skipped is None and group.round != self.round  # its group has not begun the batch in flight
        tails = [*(self._tails if is_waiting else ()), *self._pending[skipped:], *more]
        batches = group.discard(member) if skipped is None else []
        begun = sum([events for _, events in batches])
        if tails:
            batches += group.write(tails, 1)
        self._newcomers[member] = group, len(self._pending)
        self._send_alone(member, batches, [*self._tails[len(self._tails) - begun :], *tails])
        self._count()

    def holds(self, event_id: str) -> bool:
        """See ``MemberGroup``."""
        start = b"%b\n" % event_id.encode()  # of the event's tail
        return any(tail.startswith(start) for tail in (*self._tails, *self._pending))

    def sent_up_to(self, member: M, group: Group[M]) -> str | None:
        """See ``MemberGroup``."""
        if self._alone is not None and self._alone[0] is member:
            _, tails, sent = self._alone
            if sent < len(tails):
                return event_id(tails[sent - 1])
        pending, (_, skipped) = self._pending, self._newcomers.get(member, (group, None))
        if skipped is None and self._tails:  # not _rest: while a group sends, it is not in there
            sent = len(self._tails) - group.unsent(member) if group.round == self.round else 0
            if sent < len(self._tails):
                return event_id(self._tails[sent - 1]) if sent else self._before_tails
        if len(pending) <= (skipped or 0):
            return None
        return event_id(pending[skipped - 1]) if skipped else self._before

    def append(self, tails: Sequence[bytes], now: float, before: str) -> bool:
        """Add events to the pending ones; return whether there were none before.

        :param before: the feed's position before these events
        """
        is_first = not self._pending
        if is_first:
            self._since = now
            self._before = before
        self._pending += tails
        self.appended += len(tails)
        return is_first

    def start_batch(self) -> None:
        """Start a batch with all pending events; :meth:`advance` sends it. Call this only if none is in flight.

        Newcomers that may get the whole batch join their groups. The others are sent their part of it here.
        """
        if not self._pending:
            return
        newcomers = self._newcomers
        self._newcomers = {member: (group, 0) for member, (group, skipped) in newcomers.items() if skipped}
        for member, (group, skipped) in newcomers.items():
            if not skipped:
                group.add(member)
        self._rest = list(self._groups.values())
        self.round += 1
        self._tails, self._pending = self._pending, []
        self._before_tails = self._before
        self.flushed_at = self._since
        for member, (group, skipped) in newcomers.items():
            rest = self._tails[skipped:]
            # An earlier send may have ended a client that is too slow: then its subscriptions have no group.
            if skipped and rest and member.group is not None:
                self._send_alone(member, group.write(rest, 1), rest)

    def _send_alone(self, member: M, batches: Sequence[tuple[bytes, int]], tails: Sequence[bytes]) -> None:
        """Send these events to one member, in batches."""
        sent = 0
        try:
            for wire, events in batches:
                if member.group is None:  # it left during the previous send
                    break
                sent += events
                self._alone = member, tails, sent
                member.channel.send(wire)
                self.deliveries += events
                self.bytes_out += len(wire)
        finally:
            self._alone = None

    def advance(self, most: int) -> int:
        """Continue the batch: send it to up to ``most`` members; return how many that were."""
        rest, tails = self._rest, self._tails
        count = 0
        while rest and count < most:
            group = rest.pop()
            group.round = self.round
            try:
                count += group.advance(tails, most - count)
            finally:  # also after an exception: else the group would take the rest of this batch for the next one
                if group.is_in_flight:
                    rest.append(group)
        if not rest:
            self._tails = ()
        self._count()
        return count

    def _count(self) -> None:
        self._counter.count(self.deliveries, self.bytes_out)
        self.deliveries = self.bytes_out = 0

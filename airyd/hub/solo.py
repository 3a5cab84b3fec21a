"""An audience with a single member: the usual one if each user has a row filter of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Generic

from airyd.events import RowFilter
from airyd.hub.batches import event_id, write
from airyd.hub.fanout import Counter
from airyd.hub.recipients import M
from airyd.stomp.message import Framing


class SoloAudience(Generic[M]):
    """An audience and a group at once (``airyd.hub.fanout``), for one member.

    It takes 100 bytes; an ``Audience`` with a ``Group`` takes 900. It always sends through its member's channel, so it
    needs no fast and slow recipients, and a batch is never in flight for longer than one call.

    :param member: the subscription, which joins at once
    :ivar member: the subscription; None after it has left, and until it, or another, joins
    :ivar row_filter: the filter, which no other audience of the destination has
    :ivar before: the feed's position before the first pending event
    :ivar flushed_at: when the latest event arrived, in seconds of the reactor
    """

    __slots__ = ("_counter", "_pending", "before", "flushed_at", "framing", "head", "member", "row_filter")

    is_in_flight: ClassVar = False
    #: See ``MemberGroup``; it counts each send.
    counted: ClassVar[int] = 0

    def __init__(self, member: M, framing: Framing, head: bytes, row_filter: RowFilter, counter: Counter) -> None:
        self.row_filter = row_filter
        self._counter = counter
        self.join(member, framing, head)

    @property
    def members(self) -> list[M]:
        """The member, as a new list."""
        return [] if self.member is None else [self.member]

    def join(self, member: M, framing: Framing, head: bytes) -> None:
        """Add the member, which gets only events that are published from now on; there must be none."""
        self.member: M | None = member
        self.framing = framing
        self.head = head
        self.flushed_at = _NEVER
        self._pending: list[bytes] | None = None
        self.before = ""
        member.group = self
        self._counter.groups += 1

    def refresh(self, member: M) -> None:
        """See ``MemberGroup``; the member's channel is looked up at each send."""

    def leave(self, member: M) -> bool:
        """See ``MemberGroup``."""
        self.member = member.group = self._pending = None
        self._counter.groups -= 1
        return True

    def take_pending(self) -> list[bytes]:
        """Return the pending events, which are pending no longer."""
        pending, self._pending = self._pending, None
        return pending or []

    def holds(self, event_id: str) -> bool:
        """See ``MemberGroup``."""
        start = b"%b\n" % event_id.encode()  # of the event's tail
        return any(tail.startswith(start) for tail in self._pending or ())

    def sent_up_to(self, member: M) -> str | None:
        """See ``MemberGroup``."""
        return self.before if self._pending else None

    def flush(self, member: M, more: Sequence[bytes] = ()) -> None:
        """See ``MemberGroup``."""
        self._send([*self.take_pending(), *more])

    def append(self, tails: Sequence[bytes], now: float, before: str) -> bool:
        """See ``Audience``."""
        is_first = self._pending is None
        if is_first:
            self.before = before
        self._pending = [*(self._pending or ()), *tails]
        self.flushed_at = now
        return is_first

    def start_batch(self) -> None:
        """See ``Audience``; :meth:`advance` does it all."""

    def advance(self, most: int) -> int:
        """Send the pending events; return the number of members that they were sent to, 0 or 1."""
        pending = self.take_pending()
        self._send(pending)
        return bool(pending)

    def _send(self, tails: Sequence[bytes]) -> None:
        if not tails:
            return
        sent = 0
        for wire, events in write(self.framing, self.head, tails, 1):
            if self.member is None:  # it left during the previous send
                return
            sent += events
            self.before = event_id(tails[sent - 1])
            self._pending = list(tails[sent:]) or None  # in case it leaves, to read the rest from the history
            self.member.count_events(events)
            self.member.channel.send(wire)
            self._counter.count(events, len(wire))


_NEVER = float("-inf")

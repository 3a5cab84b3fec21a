"""The hot path: one group's pending MESSAGEs to each of its members, one send each.

A group holds the subscriptions of one destination whose MESSAGE bytes are equal. What one turn of
the reactor brings is framed once per group, joined, and handed to every member's socket; members
whose socket is full, or who are on TLS, take the slower way through their transport.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

from airyd.encoding import Framing
from airyd.events import RowFilter
from airyd.interfaces import IChannel
from airyd.metrics import Metrics

#: A join of more than this costs more in copying than the system call that it saves.
BATCH_BYTES: Final = 64 * 1024


class Member:
    """A subscription's place in a group.

    :ivar channel: the client's connection
    :ivar group: the group it is in, or None
    :ivar place: its index in the group's fast or slow list
    :ivar is_fast: which of the two
    """

    __slots__ = ("channel", "group", "is_fast", "place")

    def __init__(self, channel: IChannel) -> None:
        self.channel = channel
        self.group: Group[Any] | None = None
        self.place = 0
        self.is_fast = False


M = TypeVar("M", bound=Member)


class Group(Generic[M]):
    """Subscriptions that get the same bytes.

    :ivar head: the start of each MESSAGE (``airyd.encoding.message_head``)
    :ivar flushed_at: when the last batch was sent, by the clock of whoever flushes; seconds
    """

    __slots__ = (
        "_fast",
        "_metrics",
        "_pending",
        "_sends",
        "_slow",
        "destination",
        "flushed_at",
        "framing",
        "head",
        "row_filter",
    )

    def __init__(
        self, destination: str, framing: Framing, head: bytes, row_filter: RowFilter | None, metrics: Metrics
    ) -> None:
        self.destination = destination
        self.framing = framing
        self.head = head
        self.row_filter = row_filter
        self.flushed_at = float("-inf")
        self._metrics = metrics
        self._pending: list[bytes] = []
        self._fast: list[M] = []
        self._sends: list[object] = []  # _fast's channel.direct, side by side: the loop looks nothing up
        self._slow: list[M] = []

    def __len__(self) -> int:
        return len(self._fast) + len(self._slow)

    @property
    def members(self) -> list[M]:
        """All members, in a new list."""
        return self._fast + self._slow

    def append(self, tail: bytes) -> bool:
        """Add an event to the next batch; say whether it is the first of it."""
        self._pending.append(self.framing((self.head + tail,), len(self)))
        return len(self._pending) == 1

    def add(self, member: M, now: float) -> None:
        """Let a member in; what is pending was published before and goes to the others alone."""
        self.flush(now)
        member.group = self
        self._place(member)

    def discard(self, member: M, now: float) -> None:
        """Let a member out, after what is pending."""
        self.flush(now)
        # A flush may have found the client too slow, and that may have ended this subscription.
        if member.group is self:
            self._displace(member)
            member.group = None

    def refresh(self, member: M) -> None:
        """Move a member between the fast and the slow list after its ``channel.direct`` changed."""
        self._displace(member)
        self._place(member)

    def _place(self, member: M) -> None:
        send = member.channel.direct
        member.is_fast = send is not None
        if send is not None:
            self._sends.append(send)
        members = self._fast if member.is_fast else self._slow
        member.place = len(members)
        members.append(member)

    def _displace(self, member: M) -> None:
        members = self._fast if member.is_fast else self._slow
        last = members.pop()
        if member.is_fast:
            send = self._sends.pop()
            if last is not member:
                self._sends[member.place] = send
        if last is not member:
            members[member.place] = last
            last.place = member.place

    def flush(self, now: float) -> None:
        """Send what is pending to every member."""
        pending = self._pending
        if not pending:
            return
        self._pending = []
        self.flushed_at = now
        self._metrics.flushes += 1
        self._metrics.deliveries[self.destination] += len(pending) * len(self)
        for batch in _batches(pending):
            self._metrics.bytes_out += len(batch) * len(self)
            self._send(batch)

    def _send(self, batch: bytes) -> None:
        size = len(batch)
        slow = self._slow.copy()
        short: list[tuple[M, int]] = []
        # Nothing in this loop can call back into airyd: that is why the lists may be walked bare.
        for send, member in zip(self._sends, self._fast, strict=True):
            try:
                count = send(batch)  # type: ignore[operator]  # the attribute of a zope interface has no type
            except OSError:  # full (EAGAIN) or gone: the transport tells which
                count = 0
            if count != size:
                short.append((member, count))
        # From here on a channel may find its client too slow, which takes members out of this group.
        for member, count in short:
            member.channel.sent(batch, count)
            # The client does so too, but not for a subscription that it is just closing; more batches may follow.
            if member.group is self:
                self.refresh(member)
        for member in slow:
            member.channel.send(batch)


def _batches(frames: list[bytes]) -> list[bytes]:
    """Join frames, in order, into buffers of about ``BATCH_BYTES``."""
    if len(frames) == 1:
        return frames
    batches: list[bytes] = []
    size = start = 0
    for end, frame in enumerate(frames):
        if size and size + len(frame) > BATCH_BYTES:
            batches.append(b"".join(frames[start:end]))
            start, size = end, 0
        size += len(frame)
    batches.append(b"".join(frames[start:]))
    return batches

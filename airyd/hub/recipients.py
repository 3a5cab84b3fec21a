"""The members of a group, and how far a batch has been sent to them (``airyd.hub.fanout``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from airyd.events import RowFilter
from airyd.interfaces import IChannel
from airyd.stomp.message import Framing


class MemberGroup(Protocol):
    """What others need from the group of a subscription: a ``Group``, or a ``SoloAudience``.

    :ivar framing: how its MESSAGEs are encoded
    :ivar head: the start of each MESSAGE (``airyd.stomp.message.message_head``)
    """

    framing: Framing
    head: bytes

    @property
    def row_filter(self) -> RowFilter | None:
        """The filter of its audience."""

    @property
    def flushed_at(self) -> float:
        """When the events of its latest flush arrived, in seconds of the reactor; -inf before the first."""

    @property
    def counted(self) -> int:
        """How many events it has counted for all members, rather than by ``Member.count_events``."""

    def holds(self, event_id: str) -> bool:
        """Return whether an event waits to be sent to a member."""

    def sent_up_to(self, member: Any) -> str | None:
        """Return the source's id after which events wait for a member; None if it was sent all events."""

    def flush(self, member: Any, more: Sequence[bytes] = ()) -> None:
        """Send a member all that it has not been sent yet, ahead of the others; then ``more``, for it alone."""

    def refresh(self, member: Any) -> None:
        """Take note that the member's ``channel.direct`` has changed."""

    def leave(self, member: Any) -> bool:
        """Remove a member, which gets nothing more; return whether its audience has no member left."""


class Member(Protocol):
    """What a group needs from a subscription.

    :ivar group: the group that it is in, or None
    :ivar recipients: the fast or the slow recipients of its group; None for a newcomer
    :ivar index: its index in ``recipients.members``
    """

    group: MemberGroup | None
    recipients: Recipients[Any] | None
    index: int

    @property
    def channel(self) -> IChannel:
        """The client's connection."""

    def count_events(self, count: int) -> None:
        """Count events that it was sent; see ``airyd.hub.interfaces.Subscriber``."""


M = TypeVar("M", bound=Member)


class Recipients(Generic[M]):
    """Members in no particular order, and a parallel list of their send functions.

    With two lists the loop needs no attribute lookup: it takes 22 ns per member instead of 29.

    :ivar served: the first ``served`` members have been sent the batch in flight; with none in flight, it counts all
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
        self._move(self.served, len(self.members) - 1)  # the first unserved member moves to the end
        self.members[self.served], self.sends[self.served] = member, send
        member.index = self.served
        self.served += 1

    def remove(self, member: M) -> bool:
        """Remove a member; return whether it was served."""
        gap = member.index
        is_served = gap < self.served
        if is_served:  # the last served member fills the gap; now the gap is among the unserved ones
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
        """Return the sends and the members of up to ``most`` unserved members, and mark them as served."""
        start = self.served
        self.served = end = min(start + most, len(self.members))
        return self.sends[start:end], self.members[start:end]

    def _move(self, source: int, target: int) -> None:
        member = self.members[source]
        self.members[target], self.sends[target] = member, self.sends[source]
        member.index = target

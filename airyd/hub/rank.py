"""Who gets the same bytes: the members of a group, and which of them have the batch that is under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar


class Placed:
    """Who has a place in a rank.

    :ivar rank: which, or None
    :ivar place: its index there
    """

    __slots__ = ("place", "rank")

    def __init__(self) -> None:
        self.rank: Rank[Any] | None = None
        self.place = 0


P = TypeVar("P", bound=Placed)


class Rank(Generic[P]):
    """Members in no order, and side by side what sends to them: the loop looks nothing up (22 ns a turn, not 29).

    :ivar done: how many of them, the first ones, have the batch that is under way; all of them while none is
    """

    __slots__ = ("done", "members", "sends")

    def __init__(self) -> None:
        self.members: list[P] = []
        self.sends: list[Callable[[bytes], Any]] = []
        self.done = 0

    def add(self, member: P, send: Callable[[bytes], Any]) -> None:
        """Let a member in who has the batch, or is not to have it."""
        member.rank = self
        self.members.append(member)
        self.sends.append(send)
        self._move(self.done, len(self.members) - 1)  # the first of those who don't have it makes room
        self.members[self.done], self.sends[self.done] = member, send
        member.place = self.done
        self.done += 1

    def remove(self, member: P) -> bool:
        """Let a member out; return whether it has the batch."""
        gap = member.place
        is_done = gap < self.done
        if is_done:  # the last of those who have it fills the gap, and leaves one among those who don't
            self.done -= 1
            self._move(self.done, gap)
            gap = self.done
        last = len(self.members) - 1
        if gap != last:
            self._move(last, gap)
        self.members.pop()
        self.sends.pop()
        member.rank = None
        return is_done

    def take(self, most: int) -> tuple[list[Callable[[bytes], Any]], list[P]]:
        """Return as many as ``most`` of those who don't have the batch: they have it now."""
        start = self.done
        self.done = end = min(start + most, len(self.members))
        return self.sends[start:end], self.members[start:end]

    def _move(self, source: int, target: int) -> None:
        member = self.members[source]
        self.members[target], self.sends[target] = member, self.sends[source]
        member.place = target

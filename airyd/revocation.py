"""Revocations: which tokens are revoked, from when on, and how long a revocation is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final, NamedTuple, TypeGuard

#: Characters of a ``jti`` or a subject: both appear in logs, and each connection keeps them.
LONGEST_NAME: Final = 255
#: The default of ``--token-max-age``, in seconds. A revocation is kept longer than any token lives.
TOKEN_MAX_AGE: Final = 86_400
#: The largest ``--token-max-age``: a hundred years.
MOST_TOKEN_MAX_AGE: Final = 100 * 366 * 86_400
#: Seconds for which a revocation is kept beyond that, and the largest ``leeway=``, because clocks differ.
MOST_LEEWAY: Final = 600
#: Up to so many revocations, expired ones are not removed.
_FEW: Final = 1000


class RevocationKind(Enum):
    """What a revocation applies to, as commands, streams and logs name it."""

    #: One token, by its claim ``jti``.
    JTI = "jti"
    #: All tokens of a user that were issued before the revocation.
    SUBJECT = "subject"


class Revocation(NamedTuple):
    """A revocation. Times are wall-clock seconds since 1970.

    :ivar name: the ``jti``, or the subject
    :ivar at: when it was made; of a subject's tokens, it revokes those issued until then
    :ivar until: when it expires; by then, all tokens that it revokes have expired
    """

    kind: RevocationKind
    name: str
    at: float
    until: float


def new_revocation(kind: RevocationKind, name: str, now: float, max_age: float) -> Revocation:
    """Return a revocation of tokens that were issued until ``now``.

    :param max_age: the longest lifetime of a token, in seconds
    """
    return Revocation(kind, name, round(now, 3), round(now + retention(max_age), 3))


def retention(max_age: float) -> float:
    """Return the seconds for which a revocation is kept if tokens live at most ``max_age`` seconds."""
    return max_age + MOST_LEEWAY


def is_name(value: object) -> TypeGuard[str]:
    """Return whether a claim, or an argument of a command, is a valid ``jti`` or subject."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


class RevocationTable:
    """The revocations in force, by kind and name; expired ones are removed.

    :param wall: returns the wall-clock time in seconds since 1970
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._known: dict[tuple[RevocationKind, str], Revocation] = {}
        self._enough = _FEW

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Revocation]:
        now = self._wall()
        return iter([each for each in self._known.values() if each.until > now])

    def add(self, revocation: Revocation) -> bool:
        """Add a revocation; return whether it revokes more tokens, or for longer, than those already known."""
        before = self.find(revocation.kind, revocation.name)
        joined = revocation if before is None else _joined(before, revocation)
        if joined == before or joined.until <= self._wall():
            return False
        self._known[joined.kind, joined.name] = joined
        if len(self._known) > self._enough:
            self._known = {(each.kind, each.name): each for each in self}
            self._enough = max(_FEW, 2 * len(self._known))
        return True

    def find(self, kind: RevocationKind, name: str) -> Revocation | None:
        """Return the revocation in force for this name, or None."""
        known = self._known.get((kind, name))
        return None if known is None or known.until <= self._wall() else known


def _joined(one: Revocation, other: Revocation) -> Revocation:
    """Return one revocation that applies to the tokens of both, for as long as either."""
    return one._replace(at=max(one.at, other.at), until=max(one.until, other.until))

"""What a revocation says: which tokens are revoked, from when on, and until when that has to be known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final, NamedTuple, TypeGuard

#: Characters of a ``jti`` or a subject: both stand in logs, and are kept for each connection.
LONGEST_NAME: Final = 255
#: Seconds for which a revocation is kept unless it is said otherwise: at least the longest life of a token.
TOKEN_MAX_AGE: Final = 86_400
#: The most that this may be: a hundred years.
MOST_TOKEN_MAX_AGE: Final = 100 * 366 * 86_400
#: Seconds for which it is kept beyond that, and the most that ``leeway=`` may be: clocks differ.
MOST_LEEWAY: Final = 600
#: With fewer revocations nobody looks for those that are over.
_FEW: Final = 1000


class RevocationKind(Enum):
    """What is revoked; the value names it in commands, streams and logs."""

    #: One token, by its claim ``jti``.
    JTI = "jti"
    #: All tokens of a user that were issued until then.
    SUBJECT = "subject"


class Revocation(NamedTuple):
    """A revocation. Times are wall-clock seconds since 1970.

    :ivar name: the ``jti``, or the subject
    :ivar at: when it was revoked: of a subject's tokens those are meant that were issued until then
    :ivar until: when it is over, since all tokens that it means have expired
    """

    kind: RevocationKind
    name: str
    at: float
    until: float


def new_revocation(kind: RevocationKind, name: str, now: float, max_age: float) -> Revocation:
    """Return the revocation of what has been issued until now.

    :param max_age: seconds that a token lives at most
    """
    return Revocation(kind, name, round(now, 3), round(now + retention(max_age), 3))


def retention(max_age: float) -> float:
    """Return for how many seconds a revocation is kept where tokens live for ``max_age`` seconds at most."""
    return max_age + MOST_LEEWAY


def is_name(value: object) -> TypeGuard[str]:
    """Say whether a claim, or a word of a command, can name a token or a user."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


class RevocationList:
    """Revocations by what they mean; those that are over are forgotten.

    :param wall: the wall-clock time, seconds since 1970
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
        """Take one more; return whether tokens are out now that were not before, or are for longer."""
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
        """Return what is in force of this name."""
        known = self._known.get((kind, name))
        return None if known is None or known.until <= self._wall() else known


def _joined(one: Revocation, other: Revocation) -> Revocation:
    """Return what means the tokens of both, for as long as either."""
    return one._replace(at=max(one.at, other.at), until=max(one.until, other.until))

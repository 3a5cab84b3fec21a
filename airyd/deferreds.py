"""Helpers on Deferreds: shortcuts that cost no time where nothing has to be waited for, and waiting for several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

_T = TypeVar("_T")


def result_of(deferred: Deferred[_T]) -> _T | None:
    """Return what a Deferred has brought; None if it has not fired, waits for another one, or failed.

    A look takes 0.1 µs; a callback, which does the same and can wait, 1.4.
    """
    if not deferred.called or deferred.paused:
        return None
    result: Any = deferred.result
    return None if isinstance(result, Failure) else result


class Caught(Generic[_T]):
    """Runs what is in its ``with``, and tells of an exception instead of raising it.

    Like ``maybeDeferred`` with an errback, for a tenth of its time where nothing has to be waited for.

    :param tell: called with the failure and ``about``
    """

    __slots__ = ("_about", "_tell")

    def __init__(self, tell: Callable[[Failure, _T], None], about: _T) -> None:
        self._tell = tell
        self._about = about

    def __enter__(self) -> None:
        """See the class."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """See the class."""
        if not isinstance(error, Exception):
            return False
        self._tell(Failure(error), self._about)
        return True


async def all_of(deferreds: Sequence[Deferred[_T]]) -> list[_T]:
    """Wait for all, and return their results in order; raise what the first of them failed with."""
    results: list[_T] = []
    for _, result in await DeferredList(deferreds, consumeErrors=True):
        if isinstance(result, Failure):
            result.raiseException()
        results.append(result)
    return results

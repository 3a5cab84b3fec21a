"""Runs long work in pieces, one in each turn of the reactor, so that events are sent in between."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

#: Units of work in one turn; a unit takes about a microsecond, and three on a slow machine.
UNITS_PER_TURN: Final = 2000
#: Items that are handled together: looking whether a turn is over takes as long as one.
_PART: Final = 100

T = TypeVar("T")


def parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the items in parts, for steps of :func:`run_in_turns`."""
    return (items[start : start + _PART] for start in range(0, len(items), _PART))


def run_in_turns(clock: IReactorTime, steps: Generator[int, None, T]) -> Deferred[T]:
    """Run a generator; the first piece runs at once, and the Deferred fires with what the generator returns.

    :param steps: yields after each step how many units it took
    """
    result: Deferred[T] = Deferred()

    def run_piece() -> None:
        left = UNITS_PER_TURN
        try:
            while left > 0:
                left -= next(steps)
        except StopIteration as stop:
            result.callback(stop.value)
        except BaseException:  # noqa: BLE001  # the caller gets it
            result.errback(Failure())
        else:
            clock.callLater(0, run_piece)

    run_piece()
    return result

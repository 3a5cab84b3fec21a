"""What is written to the log: lines of the level that was asked for, and few of those that clients cause.

A line that a client can cause is logged with ``once_a_minute``, which names its kind: of each kind one line a minute is
written, all of them only at the level debug.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
)
from zope.interface import implementer

#: The levels, the first of which shows all. What Twisted calls critical, such as a traceback, counts as error.
LEVELS: Final = ("debug", "info", "warn", "error")
DEFAULT_LEVEL: Final = "info"
#: Where Twisted says things that tell an operator nothing: the start and stop of each factory and port.
_QUIET: Final = ("log_legacy", "twisted.internet.protocol", "twisted.web")
#: Seconds between two lines of one kind.
_PAUSE: Final = 60.0
_MORE: Final = " ({more} more of these since the last one; --log-level debug shows all)"


def begin_at(level: str) -> None:
    """Let the log that twistd is about to begin have only what is of this level or above it.

    It holds for all of twistd's ways (``--logfile``, ``--syslog``, ``--logger``): each of them ends here.
    """
    beginner = cast(Any, globalLogBeginner)
    begin = beginner.beginLoggingTo

    def begin_with_less(observers: Iterable[ILogObserver], **options: Any) -> None:
        beginner.beginLoggingTo = begin
        begin([at_level(observer, level) for observer in observers], **options)

    beginner.beginLoggingTo = begin_with_less


def at_level(observer: ILogObserver, level: str) -> ILogObserver:
    """Return an observer that passes on what is of this level or above it."""
    lowest = LogLevel.levelWithName(level)
    predicate = LogLevelFilterPredicate(lowest)
    if level != LEVELS[0]:
        observer = cast(ILogObserver, OnceAMinute(observer))
        for namespace in _QUIET:
            predicate.setLogLevelForNamespace(namespace, max(lowest, LogLevel.warn))
    return cast(ILogObserver, FilteringLogObserver(observer, [predicate]))


@implementer(ILogObserver)
class OnceAMinute:
    """Passes on one line a minute of each kind that ``once_a_minute`` names, and all other lines."""

    def __init__(self, observer: ILogObserver) -> None:
        self._observer = observer
        self._last: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def __call__(self, event: LogEvent) -> None:
        """See ``ILogObserver``."""
        kind = event.get("once_a_minute")
        if kind is not None:
            now = event["log_time"]
            # The wall clock may have been set back.
            if 0 <= now - self._last.get(kind, -_PAUSE) < _PAUSE:
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return
            self._last[kind] = now
            more = self._left_out.pop(kind, 0)
            if more:
                event = {**event, "log_format": event["log_format"] + _MORE, "more": more}
        self._observer(event)

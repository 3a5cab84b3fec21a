"""Log filters: the level of ``--log-level``, and a rate limit on lines that clients can cause.

A line that a client can cause is logged with the field ``once_a_minute``, which names its kind. One line a minute
of each kind is written; at the level debug, all are. Clients cause all of Autobahn's lines, too. Those have no such
field: their kind is their namespace and level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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

#: The levels; the first one shows all lines. Twisted logs tracebacks as critical, which each of these levels shows.
LEVELS: Final = ("debug", "info", "warn", "error")
DEFAULT_LEVEL: Final = "info"
#: Twisted's loggers of the start and stop of each factory and port, which operators need not see.
_QUIET: Final = ("log_legacy", "twisted.internet.protocol", "twisted.web")
_AUTOBAHN: Final = "autobahn."
#: Seconds between two lines of one kind.
_PAUSE: Final = 60.0
_MORE: Final = " ({more} more of these since the last one; --log-level debug shows all)"


def begin_at(level: str) -> Callable[[str], None]:
    """Drop lines below this level from the log; call it before twistd begins to log.

    It works for each of twistd's logs (``--logfile``, ``--syslog``, ``--logger``). Return a function that changes the
    level.
    """
    filters: list[LevelFilter] = []
    beginner = cast(Any, globalLogBeginner)
    begin = beginner.beginLoggingTo

    def begin_with_less(observers: Iterable[ILogObserver], **options: Any) -> None:
        beginner.beginLoggingTo = begin
        filters.extend(LevelFilter(observer, level) for observer in observers)
        begin(cast(list[ILogObserver], filters), **options)

    def change(level: str) -> None:
        for each in filters:
            each.change(level)

    beginner.beginLoggingTo = begin_with_less
    return change


@implementer(ILogObserver)
class LevelFilter:
    """Passes on lines of at least one level, which may change."""

    def __init__(self, observer: ILogObserver, level: str) -> None:
        self._all = observer
        self._limited = cast(ILogObserver, OnceAMinute(observer))
        self.change(level)

    def change(self, level: str) -> None:
        """Pass on lines of at least this level from now on."""
        lowest = LogLevel.levelWithName(level)
        predicate = LogLevelFilterPredicate(lowest)
        observer = self._all
        if level != LEVELS[0]:
            observer = self._limited
            for namespace in _QUIET:
                predicate.setLogLevelForNamespace(namespace, max(lowest, LogLevel.warn))
        self._observer = FilteringLogObserver(observer, [predicate])

    def __call__(self, event: LogEvent) -> None:
        """See ``ILogObserver``."""
        self._observer(event)


@implementer(ILogObserver)
class OnceAMinute:
    """Limits lines that clients can cause to one a minute of each kind; passes on all other lines."""

    def __init__(self, observer: ILogObserver) -> None:
        self._observer = observer
        self._last: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def __call__(self, event: LogEvent) -> None:
        """See ``ILogObserver``."""
        kind = event.get("once_a_minute")
        if kind is None and event.get("log_namespace", "").startswith(_AUTOBAHN):
            kind = f"{event['log_namespace']} {event['log_level'].name}"
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

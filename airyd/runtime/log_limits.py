"""Limits of the log: a number of lines of each kind in a minute, and a count of those left out.

Lines are of one kind if they have the same namespace, level and format, whatever their fields. A line that a client can
cause has the field ``once_a_minute``, which names its kind; one such line a minute is written. Clients also cause all
of Autobahn's lines, which have no such field: their kind is their namespace and level. ``TRACEBACKS`` lines of a kind
with a traceback are written in a minute, and ``MOST`` of each other kind. Where the level is debug, the limit is
``MOST``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from airyd.runtime.log_levels import LogLevels

#: Seconds for which the lines of a kind are counted.
PERIOD: Final = 60.0
#: Lines of a kind in that time.
MOST: Final = 1000
#: Lines with a traceback, each of some 2 KB: a client may have found a bug.
TRACEBACKS: Final = 10
#: The field of a line to which a worker has already applied the limits.
LIMITED: Final = "log_limited"
#: Kinds that are remembered. airyd has some 100; a plugin might make a new one for each line.
_MOST_KINDS: Final = 1000
#: Fields of a line that refer to objects.
_OBJECTS: Final = ("log_failure", "log_logger", "log_source")
_AUTOBAHN: Final = "autobahn."
_MORE: Final = " ({more} more of these since the last one)"
_MORE_AT_DEBUG: Final = " ({more} more of these since the last one; --log-level debug shows more)"


class _Kind:
    """The lines of one kind in the present minute.

    :ivar most: how many lines may be written
    :ivar since: when the minute began, by the wall clock
    :ivar written: how many lines were written
    :ivar left_out: how many were not
    :ivar last: the last of those
    :ivar timer: ends the minute, if lines were left out
    """

    __slots__ = ("last", "left_out", "most", "since", "timer", "written")

    def __init__(self, most: int, since: float) -> None:
        self.most = most
        self.since = since
        self.written = 0
        self.left_out = 0
        self.last: LogEvent = {}
        self.timer: IDelayedCall | None = None

    def with_count(self, event: LogEvent, more: int) -> LogEvent:
        """Return a line with the number of those left out before it."""
        if not more:
            return event
        text = event.get("log_format") or ""
        return {**event, "log_format": f"{text}{_MORE if self.most == MOST else _MORE_AT_DEBUG}", "more": more}


@implementer(ILogObserver)
class LogLimit:
    """Passes on as many lines of each kind as are allowed.

    The next line of the kind says how many were left out. If none comes until the minute is over, the last line that
    was left out is written then.

    :param levels: returns the levels of the log
    :param clock: ends the minutes; None if only further lines do
    """

    def __init__(
        self, observer: ILogObserver, levels: Callable[[], LogLevels], clock: IReactorTime | None = None
    ) -> None:
        self._observer = observer
        self._levels = levels
        self._clock = clock
        self._kinds: dict[object, _Kind] = {}

    def __call__(self, event: LogEvent) -> None:
        """See ``ILogObserver``."""
        if LIMITED in event:
            self._observer(event)
            return
        name, most = self._name(event)
        kind, now = self._kinds.get(name), event["log_time"]
        # The difference is negative if the wall clock was set back.
        if kind is None or not 0 <= now - kind.since < PERIOD:
            left_out = self._end(name)
            kind = self._begin(name, most, now)
            event = kind.with_count(event, left_out)
        elif kind.written >= kind.most:
            self._leave_out(kind, name, event)
            return
        kind.written += 1
        self._observer(event)

    def _name(self, event: LogEvent) -> tuple[object, int]:
        """Return the kind of a line, and how many of them may be written in a minute."""
        namespace, level = event.get("log_namespace", ""), event.get("log_level")
        name: object = event.get("once_a_minute")
        most = 1
        if name is None and namespace.startswith(_AUTOBAHN):
            name = namespace, level
        elif name is None:
            name = namespace, level, event.get("log_format")
            most = TRACEBACKS if "log_failure" in event else MOST
        return name, MOST if self._levels().is_debug(namespace) else most

    def _begin(self, name: object, most: int, now: float) -> _Kind:
        if len(self._kinds) >= _MOST_KINDS:
            over = [each for each, kind in self._kinds.items() if now - kind.since >= PERIOD]
            for each in over or list(self._kinds)[:1]:
                self._end(each)
        kind = self._kinds[name] = _Kind(most, now)
        return kind

    def _end(self, name: object) -> int:
        """Forget a kind; return how many of its lines were left out."""
        kind = self._kinds.pop(name, None)
        if kind is None:
            return 0
        if kind.timer is not None and kind.timer.active():
            kind.timer.cancel()
        return kind.left_out

    def _leave_out(self, kind: _Kind, name: object, event: LogEvent) -> None:
        kind.left_out += 1
        # Without the client that the line is about, which may end before the minute.
        kind.last = {key: value for key, value in event.items() if key not in _OBJECTS}
        if "log_failure" in event:
            kind.last["log_format"] = f"{event.get('log_format') or ''}: {{error}}"
            kind.last["error"] = event["log_failure"].getErrorMessage()
        if kind.timer is None and self._clock is not None:
            wait = PERIOD - (event["log_time"] - kind.since)
            kind.timer = self._clock.callLater(wait, self._write_last, name)

    def _write_last(self, name: object) -> None:
        """Write the last line of a kind that was left out: its minute is over, and no other line has come."""
        kind = self._kinds[name]
        left_out = self._end(name)
        self._begin(name, kind.most, kind.since + PERIOD).written = 1
        self._observer(kind.with_count(kind.last, left_out - 1))

    def flush(self) -> None:
        """Write the last lines that were left out, with their counts, before the process ends."""
        for name, kind in list(self._kinds.items()):
            if kind.left_out:
                self._write_last(name)

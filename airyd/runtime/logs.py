"""The log of a process: its levels, limits and format, in front of the observers that write it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from zope.interface import implementer

from airyd.runtime.log_format import TEXT, use_format
from airyd.runtime.log_levels import LogLevels
from airyd.runtime.log_limits import LogLimit


class LogPolicy:
    """Which lines are written, and how.

    :param levels: the value of ``--log-level``
    :param clock: ends the minutes of lines that were left out; None if only further lines do
    :param form: one of ``airyd.runtime.log_format.FORMATS``

    :ivar levels: may be replaced at any time
    """

    def __init__(self, levels: str, clock: IReactorTime | None = None, form: str = TEXT) -> None:
        self.levels = LogLevels(levels)
        self._clock = clock
        self._form = form
        self._limits: list[LogLimit] = []

    def begin(self) -> None:
        """Apply it to the log that twistd is about to begin.

        It works for each of twistd's logs (``--logfile``, ``--syslog``, ``--logger``).
        """
        beginner = cast(Any, globalLogBeginner)
        begin = beginner.beginLoggingTo

        def begin_with_less(observers: Iterable[ILogObserver], **options: Any) -> None:
            beginner.beginLoggingTo = begin
            begin([self.observe(observer) for observer in observers], **options)

        beginner.beginLoggingTo = begin_with_less

    def observe(self, observer: ILogObserver) -> ILogObserver:
        """Return an observer that passes on the lines that are to be written."""
        use_format(observer, self._form)
        limit = LogLimit(observer, lambda: self.levels, self._clock)
        self._limits.append(limit)
        return cast(ILogObserver, LevelFilter(cast(ILogObserver, limit), self))

    def flush(self) -> None:
        """Write the counts of lines that were left out: the process ends."""
        for limit in self._limits:
            limit.flush()


@implementer(ILogObserver)
class LevelFilter:
    """Passes on lines of at least the level of their namespace."""

    def __init__(self, observer: ILogObserver, policy: LogPolicy) -> None:
        self._observer = observer
        self._policy = policy

    def __call__(self, event: LogEvent) -> None:
        """See ``ILogObserver``."""
        level = event.get("log_level")
        if level is not None and level >= self._policy.levels.level_of(event.get("log_namespace", "")):
            self._observer(event)

"""Which lines are written to the log."""

from __future__ import annotations

from typing import Any, cast

from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogPublisher,
    eventAsText,
    globalLogBeginner,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from airyd.runtime.log_levels import LEVELS, LogLevels
from airyd.runtime.logs import LogPolicy


class LogCase(SynchronousTestCase):
    """A log of its own."""

    def setUp(self) -> None:
        self.written: list[LogEvent] = []
        self.publisher = LogPublisher()
        self.log = Logger(namespace="airyd.x", observer=cast(ILogObserver, self.publisher))

    def begin(self, level: str) -> None:
        """Return the lines that are written at this level."""
        self.publisher.addObserver(LogPolicy(level).observe(cast(ILogObserver, self.written.append)))

    @property
    def lines(self) -> list[str]:
        """What is written, as text."""
        return [eventAsText(event, includeTimestamp=False, includeSystem=False) for event in self.written]


class LevelTests(LogCase):
    """``--log-level``."""

    def emit_all(self) -> None:
        """Log one line of each level, named after it, and a traceback."""
        for level in ("debug", "info", "warn", "error"):
            self.log.emit(LogLevel.levelWithName(level), level)
        self.log.failure("traceback", Failure(ValueError("a bug")))

    def test_levels(self) -> None:
        for place, level in enumerate(LEVELS):
            self.setUp()
            self.begin(level)
            self.emit_all()
            self.assertEqual(self.lines[:-1], list(LEVELS[place:]))
            self.assertIn("a bug", self.lines[-1])

    def test_changed(self) -> None:
        """A reload may change the level."""
        policy = LogPolicy("warn")
        self.publisher.addObserver(policy.observe(cast(ILogObserver, self.written.append)))
        for name, wanted in (("debug", LEVELS), ("error", LEVELS[3:]), ("info", LEVELS[1:])):
            self.written.clear()
            policy.levels = LogLevels(name)
            self.emit_all()
            self.assertEqual(self.lines[:-1], list(wanted))

    def test_what_twisted_says_of_its_ports(self) -> None:
        """Twisted's own lines are hidden, except warnings and errors."""
        for level, wanted in (("info", ["warn"]), ("error", []), ("debug", ["info", "warn"])):
            for namespace in (
                "log_legacy",
                "twisted.internet.protocol.Factory",
                "twisted.web.client._HTTP11ClientFactory",
            ):
                self.setUp()
                self.begin(level)
                log = Logger(namespace=namespace, observer=cast(ILogObserver, self.publisher))
                log.info("info")
                log.warn("warn")
                self.assertEqual(self.lines, wanted, (level, namespace))

    def test_what_others_say(self) -> None:
        """A source of another package is heard, and so is what is printed."""
        self.begin("info")
        for namespace in ("other.source", "stdout", "twisted.scripts._twistd_unix.UnixAppLogger"):
            Logger(namespace=namespace, observer=cast(ILogObserver, self.publisher)).info("info")
        self.assertEqual(self.lines, ["info"] * 3)


class ClientsTests(LogCase):
    """Lines that clients cause are limited."""

    def refuse(self, kind: str, at: float, level: LogLevel = LogLevel.info) -> None:
        """Log what a client has caused, at this time."""
        self.publisher(
            {
                "log_format": "{once_a_minute} {log_time:g}",
                "log_level": level,
                "log_namespace": "airyd.x",
                "log_time": at,
                "once_a_minute": kind,
            }
        )

    def test_once_a_minute(self) -> None:
        self.begin("info")
        for second in range(150):
            self.refuse("431", float(second))
            self.refuse("403", second + 0.5)
        more = "(59 more of these since the last one; --log-level debug shows more)"
        self.assertEqual(
            self.lines,
            ["431 0", "403 0.5", f"431 60 {more}", f"403 60.5 {more}", f"431 120 {more}", f"403 120.5 {more}"],
        )

    def test_autobahn(self) -> None:
        """Clients cause all lines of Autobahn, which have no kinds: one of each level is written per minute."""
        self.begin("info")
        for level in (LogLevel.warn, LogLevel.info, LogLevel.warn, LogLevel.warn):
            self.publisher(
                {
                    "log_format": "{log_level.name}: the client broke RFC 6455",
                    "log_level": level,
                    "log_namespace": "autobahn.twisted.websocket.WebSocketServerProtocol",
                    "log_time": 0.0,
                }
            )
        text = "the client broke RFC 6455"
        self.assertEqual(self.lines, [f"warn: {text}", f"info: {text}"])

    def test_a_rare_one(self) -> None:
        """The count is not written if no line was left out."""
        self.begin("info")
        self.refuse("431", 0.0)
        self.refuse("431", 60.0)
        self.assertEqual(self.lines, ["431 0", "431 60"])

    def test_other_lines(self) -> None:
        self.begin("info")
        for _ in range(3):
            self.log.info("connected")
        self.assertEqual(self.lines, ["connected"] * 3)

    def test_the_clock_is_set_back(self) -> None:
        self.begin("info")
        self.refuse("431", 1000.0)
        self.refuse("431", 10.0)
        self.assertEqual(self.lines, ["431 1000", "431 10"])

    def test_all_of_them(self) -> None:
        self.begin("debug")
        for second in range(5):
            self.refuse("431", float(second))
        self.assertEqual(len(self.lines), 5)

    def test_none_of_them(self) -> None:
        self.begin("warn")
        self.refuse("431", 0.0)
        self.refuse("login", 1.0, LogLevel.warn)
        self.assertEqual(self.lines, ["login 1"])


class BeginningTests(LogCase):
    """twistd begins the log once, with an observer that nobody else gets hold of."""

    def test_begin(self) -> None:
        begun: list[Any] = []
        before = lambda observers, **options: begun.append((observers, options))  # noqa: E731
        self.patch(globalLogBeginner, "beginLoggingTo", before)
        LogPolicy("warn").begin()
        globalLogBeginner.beginLoggingTo([cast(ILogObserver, self.written.append)], redirectStandardIO=False)
        ((observers, options),) = begun
        self.assertEqual(options, {"redirectStandardIO": False})
        for observer in observers:
            self.publisher.addObserver(observer)
        self.log.info("info")
        self.log.warn("warn")
        self.assertEqual(self.lines, ["warn"])
        self.assertIs(globalLogBeginner.beginLoggingTo, before)

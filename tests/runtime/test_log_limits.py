"""The same line is written at most so often, and the log says how many were left out."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from airyd.runtime import log_limits
from airyd.runtime.log_levels import LogLevels
from airyd.runtime.log_limits import MOST, TRACEBACKS, LogLimit


class LimitTests(SynchronousTestCase):
    """With a clock that ends the minutes."""

    def setUp(self) -> None:
        self.written: list[LogEvent] = []
        self.clock = Clock()
        self.levels = LogLevels("info,other.loud=debug")
        self.limit = LogLimit(cast(ILogObserver, self.written.append), lambda: self.levels, self.clock)

    def say(self, text: str, namespace: str = "airyd.x", **fields: Any) -> None:
        """Log a line now."""
        self.limit(
            {
                "log_format": text,
                "log_level": LogLevel.info,
                "log_namespace": namespace,
                "log_time": 1.7e9 + self.clock.seconds(),
                **fields,
            }
        )

    @property
    def lines(self) -> list[str]:
        """What was written, as text."""
        return [eventAsText(event, includeTimestamp=False, includeSystem=False) for event in self.written]

    def test_a_flood_that_ends(self) -> None:
        """When the minute is over, the last line that was left out is written, with the number of the others."""
        for number in range(10):
            self.say("refused {number}", number=number, once_a_minute="refused")
            self.clock.advance(1)
        self.assertEqual(self.lines, ["refused 0"])
        self.clock.advance(50)
        more = "(8 more of these since the last one; --log-level debug shows more)"
        self.assertEqual(self.lines, ["refused 0", f"refused 9 {more}"])
        self.clock.advance(1000)
        self.assertEqual(len(self.lines), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_left_out(self) -> None:
        """It is written later, as it is."""
        self.say("one", once_a_minute="x")
        self.say("two", once_a_minute="x")
        self.clock.advance(60)
        self.assertEqual(self.lines, ["one", "two"])

    def test_a_flood_that_goes_on(self) -> None:
        """One line a minute is written, with the number of those left out; all are accounted for."""
        for _ in range(600):
            self.say("refused", once_a_minute="refused")
            self.clock.advance(1)
        self.limit.flush()
        self.assertLessEqual(len(self.written), 12)
        self.assertEqual(len(self.written) + sum(event.get("more", 0) for event in self.written), 600)

    def test_other_lines(self) -> None:
        """A thousand of one format, whatever their fields."""
        for number in range(MOST + 7):
            self.say("connected {peer}", peer=number)
            self.say("another")
        self.assertEqual(len(self.lines), 2 * MOST)
        self.clock.advance(60)
        more = "(6 more of these since the last one)"
        self.assertEqual(self.lines[2 * MOST :], [f"connected {MOST + 6} {more}", f"another {more}"])

    def test_at_debug(self) -> None:
        """A thousand lines of each kind that clients cause."""
        for namespace in ("other.loud", "airyd.x"):
            for _ in range(MOST + 7):
                self.say("refused", namespace, once_a_minute=f"refused {namespace}")
        self.assertEqual(len(self.lines), MOST + 1)

    def test_levels_change(self) -> None:
        self.levels = LogLevels("debug")
        for _ in range(5):
            self.say("refused", once_a_minute="refused")
        self.assertEqual(len(self.lines), 5)

    def test_tracebacks(self) -> None:
        """A traceback that was left out becomes one line; nothing keeps its frames."""
        for number in range(TRACEBACKS + 3):
            self.say("a command failed", log_failure=Failure(ValueError(f"bug {number}")))
        self.clock.advance(60)
        self.assertEqual(len(self.lines), TRACEBACKS + 1)
        more = "(2 more of these since the last one; --log-level debug shows more)"
        self.assertEqual(self.lines[-1], f"a command failed: bug {TRACEBACKS + 2} {more}")
        self.assertNotIn("log_failure", self.written[-1])

    def test_lines_that_a_worker_has_limited(self) -> None:
        for _ in range(MOST + 5):
            self.say("worker 1: x", once_a_minute="x", log_limited=True)
        self.assertEqual(len(self.lines), MOST + 5)

    def test_kinds_without_number(self) -> None:
        """A plugin that makes up a format for each line does not fill the memory, nor hides other lines."""
        for number in range(3 * log_limits._MOST_KINDS):
            self.say(f"line {number}")
        self.assertEqual(len(self.lines), 3 * log_limits._MOST_KINDS)
        self.assertLessEqual(len(self.limit._kinds), log_limits._MOST_KINDS)
        self.say("the last")
        self.assertEqual(self.lines[-1], "the last")

    def test_the_end(self) -> None:
        """The counts are written when the process ends."""
        for _ in range(3):
            self.say("refused", once_a_minute="x")
        self.limit.flush()
        self.limit.flush()
        self.assertEqual(len(self.lines), 2)
        self.assertIn("(1 more of these", self.lines[-1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

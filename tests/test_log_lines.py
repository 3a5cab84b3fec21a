"""Every line of the code is bounded: whoever causes it, the log grows by so many lines a minute."""

from __future__ import annotations

import re
from typing import cast

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from airyd.runtime.log_limits import MOST
from airyd.runtime.logs import LogPolicy
from tests.log_lines import BUGS, ROOT, STRANGERS, lines


class InventoryTests(SynchronousTestCase):
    """tests/log_lines.py and the code agree."""

    def test_each_line_exists(self) -> None:
        known = {text for text, _ in lines()}
        self.assertEqual(set(STRANGERS) - known, set())
        self.assertEqual(set(BUGS) - known, set())

    def test_lines_with_a_client_are_listed(self) -> None:
        """A line that names a peer is one that a stranger can cause."""
        named = {text for text, _ in lines() if re.search(r"\{(peer|host|origin)\}", text)}
        self.assertEqual(named - {*STRANGERS, *BUGS}, set())

    def test_each_is_flooded(self) -> None:
        """The test of the flood names every line that a stranger can cause, since it causes them."""
        source = (ROOT / "tests/integration/test_log_flood.py").read_text()
        self.assertEqual([text for text in STRANGERS if f'"{text}"' not in source], [])


class BoundTests(SynchronousTestCase):
    """A flood of every line of the code, of strangers' and all others."""

    def test_flood(self) -> None:
        for level in ("info", "debug"):
            written: list[LogEvent] = []
            clock = Clock()
            observer = LogPolicy(level, clock).observe(cast(ILogObserver, written.append))
            known = {text for text, _ in lines()}
            for text in known:
                for _ in range(MOST + 10):
                    observer(
                        {
                            "log_format": text,
                            "log_level": LogLevel.error,
                            "log_namespace": "airyd.x",
                            "log_time": 1.7e9 + clock.seconds(),
                        }
                    )
            self.assertEqual(len(written), MOST * len(known))
            clock.advance(60)
            self.assertEqual(len(written), (MOST + 1) * len(known))
            self.assertEqual(written[-1]["more"], 9)

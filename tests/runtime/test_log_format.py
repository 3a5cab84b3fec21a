"""A line of the log as a JSON object."""

from __future__ import annotations

import io
import json
from typing import Any, cast

from twisted.logger import ILogObserver, Logger, LogLevel, textFileLogObserver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from airyd.runtime.log_format import JSON, TEXT, WORKER_FIELDS, json_line, use_format


class JsonTests(SynchronousTestCase):
    """Each line is one object."""

    def line(self, **event: Any) -> dict[str, Any]:
        """Return the object of a line."""
        line = json_line(
            {
                "log_level": LogLevel.warn,
                "log_namespace": "airyd.x",
                "log_time": 1.7e9 + 0.25,
                "log_format": "",
                **event,
            }
        )
        self.assertTrue(line.endswith("\n"))
        self.assertEqual(line.count("\n"), 1)
        found: dict[str, Any] = json.loads(line)
        return found

    def test_members(self) -> None:
        found = self.line(log_format="{peer} gets {count}", peer="tcp4:192.0.2.1:1", count=3, once_a_minute="x")
        self.assertEqual(
            found,
            {
                "time": "2023-11-14T22:13:20.250Z",
                "level": "warn",
                "event": "tcp4:192.0.2.1:1 gets 3",
                "namespace": "airyd.x",
                "peer": "tcp4:192.0.2.1:1",
                "count": 3,
            },
        )
        self.assertEqual(list(found)[:4], ["time", "level", "event", "namespace"])

    def test_values(self) -> None:
        """What JSON can't hold becomes text."""

        class Odd:
            def __str__(self) -> str:
                raise ValueError

        found = self.line(
            names=["a", "b"],
            pair=(1, None),
            table={1: 2.5},
            huge=float("inf"),
            level_=ValueError("x"),
            odd=Odd(),
            text="line\nend\ud83d\x1b",
            raw=b"\xff",
        )
        self.assertEqual((found["names"], found["pair"], found["table"]), (["a", "b"], [1, None], {"1": 2.5}))
        self.assertEqual((found["huge"], found["level_"], found["odd"]), ("inf", "x", "<Odd>"))
        self.assertEqual((found["text"], found["raw"]), ("line\nend\ud83d\x1b", "b'\\xff'"))

    def test_names_of_members(self) -> None:
        found = self.line(time=5, level="high")
        self.assertEqual((found["time_"], found["level_"], found["level"]), (5, "high", "warn"))

    def test_traceback(self) -> None:
        found = self.line(log_format="it failed", log_failure=Failure(ValueError("a bug")))
        self.assertEqual(found["event"], "it failed")
        self.assertIn("ValueError: a bug", found["traceback"])

    def test_old_lines_of_twisted(self) -> None:
        found = self.line(
            log_format="{log_text}",
            log_text="Starting",
            log_namespace="log_legacy",
            message=("Starting",),
            time=1.0,
            system="-",
            isError=0,
        )
        self.assertEqual(set(found), {"time", "level", "event", "namespace"})
        self.assertEqual(found["event"], "Starting")

    def test_worker(self) -> None:
        found = self.line(
            log_format="worker {number}: {text}", number=2, text="hello", **{WORKER_FIELDS: {"worker": 2, "peer": "x"}}
        )
        self.assertEqual((found["event"], found["worker"], found["peer"]), ("hello", 2, "x"))
        self.assertNotIn("number", found)

    def test_use(self) -> None:
        """It changes what twistd's observer writes; text stays Twisted's own."""
        for form, begin in ((JSON, '{"time": '), (TEXT, "20")):
            file = io.StringIO()
            observer = textFileLogObserver(file)
            use_format(cast(ILogObserver, observer), form)
            Logger(namespace="airyd.x", observer=cast(ILogObserver, observer)).info("hello")
            self.assertTrue(file.getvalue().startswith(begin), file.getvalue())

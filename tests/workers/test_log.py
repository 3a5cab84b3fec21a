"""A worker's log on its way to the parent."""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from twisted.logger import ILogObserver, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from airyd.metrics import LogMetrics
from airyd.workers.messages import LogLine, Report
from airyd.workers.worker import LogSender


class LogSenderTests(SynchronousTestCase):
    """While the parent reads, and while it does not."""

    def setUp(self) -> None:
        self.reports: list[Report] = []
        self.metrics = LogMetrics()
        self.sender = LogSender(self.reports.append, self.metrics)

    def say(self, text: str) -> None:
        """Log something."""
        self.sender({"log_level": LogLevel.info, "log_namespace": "airyd.x", "log_format": "{text}", "text": text})

    def test_interfaces(self) -> None:
        verifyObject(ILogObserver, self.sender)
        verifyObject(IPushProducer, self.sender)

    def test_sent(self) -> None:
        self.say("one\ntwo")
        self.assertEqual(self.reports, [LogLine("info", "airyd.x", "one\ntwo")])

    def test_dropped_and_told(self) -> None:
        globalLogPublisher.addObserver(self.sender)
        self.addCleanup(globalLogPublisher.removeObserver, self.sender)
        self.sender.pauseProducing()
        for _ in range(3):
            self.say("dropped")
        self.assertEqual((self.reports, self.metrics.dropped), ([], 3))
        self.sender.resumeProducing()
        (told,) = self.reports
        assert isinstance(told, LogLine)
        self.assertEqual((told.level, told.text.split()[0]), ("warn", "3"))
        self.say("next")
        self.sender.pauseProducing()
        self.sender.resumeProducing()
        self.assertEqual(len(self.reports), 2, "nothing was dropped this time")

    def test_fields(self) -> None:
        """With ``--log-format json`` the parent gets the fields, and a traceback apart from the text."""
        sender = LogSender(self.reports.append, self.metrics, has_fields=True)
        sender(
            {
                "log_level": LogLevel.critical,
                "log_namespace": "airyd.x",
                "log_format": "{what} failed",
                "log_time": 5.0,
                "log_failure": Failure(ValueError("a bug")),
                "what": "it",
            }
        )
        (line,) = self.reports
        assert isinstance(line, LogLine)
        assert line.fields is not None
        self.assertEqual((line.text, line.time, line.fields["what"]), ("it failed", 5.0, "it"))
        self.assertIn("a bug", line.fields["traceback"])

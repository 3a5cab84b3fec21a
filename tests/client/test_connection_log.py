"""The log of connections, without a network."""

from __future__ import annotations

from twisted.logger import LogLevel, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from airyd.client.connection_log import CONNECTIONS, ConnectionLog
from tests.doubles import Somebody, record_log

PEER = "tcp4:192.0.2.1:5000"


class ConnectionLogTests(SynchronousTestCase):
    """Three lines of each connection."""

    def setUp(self) -> None:
        self.events = record_log(self)
        self.log = ConnectionLog(LogLevel.info)

    @property
    def lines(self) -> list[str]:
        """What was logged, as text."""
        return [eventAsText(event, includeTimestamp=False, includeSystem=False) for event in self.events]

    def test_all(self) -> None:
        record = self.log.opened(PEER)
        assert record is not None
        self.log.logged_in(record, PEER, Somebody())
        record.sent, record.received = 1000, 20
        self.log.closed(record, PEER, "lost", 12.3456, 3)
        self.assertEqual(
            self.lines,
            [
                f"{PEER} connected",
                f"{PEER} logged in as somebody",
                f"{PEER} disconnected: lost, after 12.346 s, 3 events, 1000 bytes sent, 20 received",
            ],
        )
        self.assertEqual({event["log_namespace"] for event in self.events}, {CONNECTIONS})
        self.assertEqual(self.events[-1]["subject"], "somebody")

    def test_off(self) -> None:
        self.log.level = None
        self.assertIsNone(self.log.opened(PEER))
        self.assertEqual(self.lines, [])

    def test_names(self) -> None:
        """A name can't begin a line of its own, nor fill the log."""
        record = self.log.opened(PEER)
        assert record is not None
        somebody = Somebody()
        somebody.name = "ann\n\x1b[2J\u202e" + "x" * 1000
        self.log.logged_in(record, PEER, somebody)
        self.assertEqual(record.subject, "ann??[2J?" + "x" * 191)

    def test_no_copy(self) -> None:
        """The records of a user's connections share the name, since there may be tens of thousands."""
        somebody = Somebody()
        somebody.name = "".join(("an", "n"))
        for _ in range(2):
            record = self.log.opened(PEER)
            assert record is not None
            self.log.logged_in(record, PEER, somebody)
            self.assertIs(record.subject, somebody.name)

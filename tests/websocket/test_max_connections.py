"""More connections than there may be."""

from __future__ import annotations

from tests.doubles import record_log, text_of
from tests.loop import Peer
from tests.websocket.case import WebSocketTestCase


class MostTests(WebSocketTestCase):
    """They are dropped, and those that are there notice nothing."""

    def come(self) -> Peer:
        """Return a new connection, some time later."""
        peer = self.reach()
        self.loop.turn()
        return peer

    def test_most(self) -> None:
        self.factory.max_connections = 2
        events = record_log(self)
        peers = [self.connected_peer("/queue/message") for _ in range(2)]
        self.assertEqual([self.come().socket.closed for _ in range(3)], [True] * 3)
        self.assertEqual(self.kinds(), {})
        self.assertEqual(text_of(events).count("there are 2 connections"), 1)
        peers[0].lose()
        self.assertFalse(self.come().socket.closed)
        self.assertTrue(self.come().socket.closed)
        self.assertEqual(text_of(events).count("there are 2 connections"), 2)
        self.publish("/queue/message")
        self.assertIn(b"MESSAGE", peers[1].got())

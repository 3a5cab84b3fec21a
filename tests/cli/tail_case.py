"""What the tests of ``airyd tail`` share: a tail on a server in memory."""

from __future__ import annotations

import json

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.cli.render import json_line
from airyd.cli.stomp_client import Received
from airyd.cli.tail import Tail
from airyd.cli.token import Tokens
from airyd.events import MESSAGE, UNREAD_COUNT
from tests.cli.fakes import Peer, Screen, Server, pass_time

URL = "ws://airy.example:8080/ws.communication"


class TailTestCase(SynchronousTestCase):
    """A tail of two destinations that waits a second between attempts."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Server()
        self.screen = Screen("airyd tail")

    def start(
        self,
        count: int | None = None,
        destinations: tuple[str, ...] = (MESSAGE, UNREAD_COUNT),
        token: Tokens = lambda: None,
    ) -> Deferred[int]:
        def print_event(event: Received) -> None:
            self.screen.console.write(json_line(event.destination, event.message_id, event.body))

        console = self.screen.console
        tail = Tail(
            self.clock, self.server, URL, destinations, console, print_event, count, lambda failures: 1.0, token
        )
        running = Deferred.fromCoroutine(tail.run())
        self.addCleanup(self.end, running)
        return running

    def end(self, running: Deferred[int]) -> None:
        """Check that no timer is left."""
        if not running.called:
            running.cancel()
            pass_time(self.clock, 5)
            self.failureResultOf(running, CancelledError)
        self.assertEqual([], self.clock.getDelayedCalls())

    def live(self, **receipt: str) -> Peer:
        """Make the latest connection live: CONNECTED and all RECEIPTs."""
        peer = self.server.peer
        peer.open()
        peer.connect()
        peer.confirm_all(**receipt)
        return peer

    def printed(self) -> list[object]:
        """Return what standard output holds, parsed."""
        return [json.loads(line) for line in self.screen.out.text.splitlines()]

    def said(self) -> str:
        """Return what standard error holds since the last look."""
        text = self.screen.err.text
        self.screen.err.seek(0)
        self.screen.err.truncate()
        return text


def positions(peer: Peer) -> dict[str, str | None]:
    """Return the positions from which a connection resumes."""
    return {name: frame.headers.get("last-message-id") for name, frame in peer.subscriptions().items()}

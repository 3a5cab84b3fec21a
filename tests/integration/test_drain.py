"""The end of a daemon: ``--drain-notice``, a second SIGTERM, and the rolling restart of the workers by SIGUSR2."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from typing import Final

from airyd.runtime.process import REPEATED_AFTER
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import TWISTD, Daemon
from tests.integration.payloads import MESSAGE, body, number_of
from tests.integration.raw import RawClient
from tests.integration.test_workers import WorkersCase, wait_for_end, workers_of
from tests.patience import PATIENCE
from tests.sources.redis.server import own_prefix, shared_server

STATUS: Final = "/airyd/status"
_NOTICE: Final = re.compile(r"airyd closes its connections in ([\d.]+) s")
AT_ONCE: Final = "airyd ends at once, because it got SIGTERM again"
_COMPLETE: Final = re.compile(r"the rolling restart is complete")
_NO_WORKERS: Final = re.compile(r"SIGUSR2 restarts workers, but there are none")
#: Seconds that no test waits for.
LONG: Final = 250
#: Clients of the rolling restart.
CLIENTS: Final = 60


def terminate_again(daemon: Daemon) -> None:
    """Send a second SIGTERM, a second after the first one has taken effect."""
    due = time.monotonic() + REPEATED_AFTER
    while time.monotonic() <= due:
        daemon.request("GET", "/healthz")
    daemon.terminate()


class NoticeTests(DaemonTestCase):
    """One process that is stopped."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def test_notice(self) -> None:
        """Before the first close, ``/readyz`` answers 503 and ``/airyd/status`` says so, and clients are accepted.

        A second SIGTERM after a second or more ends the process, whatever it waits for.
        """
        daemon = self.own_daemon("--auth=anonymous:send", f"--drain-notice={LONG}")
        client = self.connect(daemon=daemon)
        client.subscribe(STATUS, "s")
        client.message("s")
        daemon.terminate()
        self.assertEqual(json.loads(client.message("s").body), {"type": "draining", "within": LONG + 3})
        status, answer = daemon.request("GET", "/readyz")
        self.assertEqual((status, json.loads(answer)), (503, {"ready": False, "reasons": ["stopping"]}))
        late = self.connect(daemon=daemon)
        late.subscribe(MESSAGE, "m")
        daemon.publish(MESSAGE, body(MESSAGE, 1))
        self.assertEqual(number_of(late.message("m").body), 1)
        terminate_again(daemon)
        self.assertEqual(daemon.wait(), 0)
        self.assertIn(AT_ONCE, daemon.log)
        client.expect_end()

    def test_at_once(self) -> None:
        """Threads that wait, or work for ever, delay the end no more than clients do."""
        busy = "reactor.callWhenRunning(reactor.callInThread, threading.Event().wait)"
        options = (
            f"--drain-notice={LONG}",
            f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}",
        )
        for program in (TWISTD, f"import threading; from twisted.internet import reactor; {busy}; {TWISTD}"):
            daemon = self.own_daemon(*options, program=program)
            daemon.terminate()
            daemon.wait_for_log(_NOTICE)
            terminate_again(daemon)
            self.assertEqual(daemon.wait(), 0)
            self.assertIn(AT_ONCE, daemon.log)
        # The last program has such a thread also when it is stopped once.
        self.assertEqual(self.own_daemon(program=program).stop(), 0)

    def test_without_workers(self) -> None:
        """SIGUSR2 does not end a process without workers."""
        daemon = self.own_daemon()
        client = self.connect(daemon=daemon)
        os.kill(daemon.pid, signal.SIGUSR2)
        daemon.wait_for_log(_NO_WORKERS)
        client.subscribe(MESSAGE, "m")


class Follower:
    """A client that resumes on a new connection whenever its connection is closed.

    :ivar numbers: those of the events that it got
    :ivar closed: how often it was closed
    """

    def __init__(self, connect: Callable[[], RawClient]) -> None:
        self._connect = connect
        self.numbers: list[int] = []
        self.closed = 0
        self.recovered: list[str] = []
        self._client = connect()
        self._position = self._client.subscribe(MESSAGE, "0").headers["last-message-id"]

    def follow(self) -> None:
        """Take what has arrived; return on another connection if this one was closed."""
        while self._client.has_data(0.001):
            message = self._client.receive()
            if message.command == "ERROR":
                self._client.abort()
                self.closed += 1
                self._client = self._connect()
                receipt = self._client.subscribe(MESSAGE, "0", last_message_id=self._position)
                self.recovered.append(receipt.headers["recovered"])
            else:
                self.numbers.append(number_of(message.body))
                self._position = message.headers["message-id"]


class RollingRestartTests(WorkersCase):
    """The workers are replaced one after the other."""

    def test_nobody_misses_an_event(self) -> None:
        """Every client whose worker is replaced resumes at another one and misses nothing."""
        daemon = self.workers("--drain-notice=100", "--drain-seconds=1")
        before = workers_of(daemon)
        followers = [Follower(lambda: self.connect(daemon=daemon)) for _ in range(CLIENTS)]
        count = 0
        os.kill(daemon.pid, signal.SIGUSR2)
        deadline = time.monotonic() + PATIENCE
        while _COMPLETE.search(daemon.log) is None:
            self.assertLess(time.monotonic(), deadline, daemon.log[-3000:])
            daemon.publish(MESSAGE, body(MESSAGE, count))
            count += 1
            self.assertEqual(daemon.request("GET", "/readyz")[0], 200)
            for each in followers:
                each.follow()
        daemon.publish(MESSAGE, body(MESSAGE, count))
        while any(len(each.numbers) <= count for each in followers):
            self.assertLess(time.monotonic(), deadline + PATIENCE)
            for each in followers:
                each.follow()
        for each in followers:
            self.assertEqual(each.numbers, list(range(count + 1)))
            self.assertEqual(each.recovered, ["true"] * each.closed)
        self.assertGreaterEqual(sum(each.closed for each in followers), CLIENTS)
        wait_for_end(*before)
        self.assertTrue(set(before).isdisjoint(workers_of(daemon)))
        daemon.wait_for_metrics(workers=2, worker_restarts_total=0, connections=CLIENTS)

    def test_second_sigterm(self) -> None:
        """It ends the parent and its workers, which ignore repeats themselves."""
        daemon = self.workers(f"--drain-notice={LONG}")
        pids = workers_of(daemon)
        client = self.connect(daemon=daemon)
        daemon.terminate()
        daemon.wait_for_log(_NOTICE)
        for pid in pids * 3:
            os.kill(pid, signal.SIGTERM)
        client.subscribe(MESSAGE, "0")
        terminate_again(daemon)
        self.assertEqual(daemon.wait(), 0)
        self.assertIn(AT_ONCE, daemon.log)
        wait_for_end(*pids)

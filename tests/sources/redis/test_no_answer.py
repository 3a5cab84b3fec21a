"""A Redis that is there, but answers nothing of what it is asked: it loads its data, or a script keeps it busy."""

from __future__ import annotations

import re
from threading import Thread

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon
from tests.integration.payloads import MESSAGE, body
from tests.integration.raw import RawClient
from tests.sources.redis.cluster import wait_until
from tests.sources.redis.server import RedisServer

#: Loading takes a tenth of a second for each key, and each KiB it looks for somebody who asks.
LOADS_SLOWLY = (
    "--key-load-delay",
    "100000",
    "--loading-process-events-interval-bytes",
    "1024",
    "--rdbcompression",
    "no",
)
#: Milliseconds after which a script makes it say BUSY.
SOON_BUSY = ("--busy-reply-threshold", "50")


class NoAnswerTests(DaemonTestCase):
    """No entry is missing, and no gap is reported."""

    def begin(self, *options: str) -> tuple[RedisServer, Daemon, RawClient]:
        """Start Redis and airyd; return them, and a client that has got the first event."""
        server = RedisServer(*options)
        self.addCleanup(server.close)
        daemon = self.own_daemon(f"--source=redis://127.0.0.1:{server.port}/0")
        client = self.connect(daemon=daemon)
        client.subscribe(MESSAGE, "0")
        daemon.publish(MESSAGE, body(MESSAGE, 1))
        self.assertEqual(client.message().body, body(MESSAGE, 1))
        return server, daemon, client

    def check_goes_on(self, server: RedisServer, daemon: Daemon, client: RawClient) -> None:
        """The next event comes, and no gap was said."""
        redis = server.connect()
        self.addCleanup(redis.close)
        redis.call("XADD", f"airyd:{MESSAGE}", "*", "payload", body(MESSAGE, 2))
        self.assertEqual(client.message().body, body(MESSAGE, 2))
        daemon.wait_for_metrics(gaps_total=0)

    def test_loading(self) -> None:
        server, daemon, client = self.begin(*LOADS_SLOWLY)
        redis = server.connect()
        self.addCleanup(redis.close)
        redis.pipeline([("SET", f"filler-{number}", "x" * 1024) for number in range(1000)])
        redis.call("SAVE")
        server.kill()
        server.begin()
        daemon.wait_for_log(re.compile(r"\bLOADING\b"))
        operator = server.connect()
        self.addCleanup(operator.close)
        operator.call("CONFIG", "SET", "key-load-delay", "0")
        wait_until(lambda: operator.call("PING"))
        self.check_goes_on(server, daemon, client)

    def test_busy(self) -> None:
        """The looks for gaps, each 1.5 seconds, get an error: that says nothing of the streams."""
        server, daemon, client = self.begin(*SOON_BUSY)
        scripting, redis = server.connect(), server.connect()
        self.addCleanup(scripting.close)
        self.addCleanup(redis.close)
        script = Thread(target=scripting.pipeline, args=([("EVAL", "while true do end", "0")],))
        script.start()
        quiet = not client.has_data(within=2.0)
        redis.call("SCRIPT", "KILL")
        script.join()
        self.assertTrue(quiet)
        self.check_goes_on(server, daemon, client)

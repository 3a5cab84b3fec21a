"""The log of connections (``--log-connections``), as text and as JSON, with and without workers."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.integration.daemon import Daemon, command, environment
from tests.integration.payloads import MESSAGE, body
from tests.integration.raw import RawClient
from tests.integration.test_tls import endpoint
from tests.integration.test_tokens import TokenCase
from tests.integration.wire import StompFrame
from tests.patience import PATIENCE
from tests.sources.redis.server import own_prefix, shared_server

_SECURE: Final = re.compile(r"airyd serves wss://127\.0\.0\.1:(\d+)/")
_ENDED: Final = re.compile(
    r"(\S+) disconnected: (\w+), after ([0-9.]+) s, (\d+) events(?:, (\d+) bytes sent, (\d+) received)?$", re.MULTILINE
)


class ConnectionsCase(TokenCase):
    """Daemons at the level info, unless the test says otherwise."""

    def events(self, daemon: Daemon, client: RawClient, count: int) -> list[StompFrame]:
        """Subscribe, and return as many events, which are published one by one."""
        client.subscribe(MESSAGE, "0")
        got = []
        for number in range(count):
            daemon.publish(MESSAGE, body(MESSAGE, number))
            got.append(client.message())
        return got


class TextTests(ConnectionsCase):
    """Connect, login and disconnect."""

    def ended(self, daemon: Daemon, start: int = 0) -> tuple[str, str, float, int, int, int]:
        """Wait until the log says that a client has gone; return what it says."""
        peer, why, seconds, *counts = daemon.wait_for_log(_ENDED, start).groups()
        events, sent, received = (-1 if count is None else int(count) for count in counts)
        return peer, why, float(seconds), events, sent, received

    def test_a_client(self) -> None:
        """Who it is, why and when it went, and how much it got, by each way to get events."""
        daemon = self.with_secret("", "--log-level=info", "--log-connections")
        client = self.open(daemon)
        client.connect(passcode=self.token(sub="ann"))
        self.events(daemon, client, 3)
        client.send("UNSUBSCRIBE", id="0", receipt="u")
        client.receipt("u")
        client.send("SUBSCRIBE", id="1", destination=MESSAGE, ack="client-individual", receipt="s")
        client.receipt("s")
        daemon.publish(MESSAGE, body(MESSAGE, 9))
        client.message()
        client.send("DISCONNECT", receipt="bye")
        client.receipt("bye")
        self.assertEqual(client.close_code(), 1000)
        peer, why, seconds, events, sent, received = self.ended(daemon)
        self.assertEqual((why, events), ("normal", 4))
        self.assertGreaterEqual(seconds, 0)
        self.assertGreater(sent, 1000)
        self.assertGreater(received, 400)
        self.assertRegex(daemon.log, rf"{peer} connected\n(?:.*\n)*.*{peer} logged in as ann\n")

    def test_why(self) -> None:
        """The reason is the one that the metrics count."""
        daemon = self.with_secret("", "--log-level=info", "--log-connections")
        for frames, code, why in (
            ([], None, "lost"),
            (["NONSENSE"], 1002, "unknown_command"),
            (["CONNECT"], 1008, "unauthorized"),
        ):
            start = len(daemon.log)
            client = self.open(daemon)
            for name in frames:
                client.send(name, {"accept-version": "1.2"})
            if code is None:
                client.abort()
            else:
                self.assertEqual(client.error()[1], code)
                client.abort()
            self.assertEqual(self.ended(daemon, start)[1], why)
        self.assertEqual(daemon.sums("connections_closed_total")["connections_closed_total"], 3)

    def test_handshakes_and_scans(self) -> None:
        """What never was a WebSocket neither connects nor disconnects."""
        daemon = self.own_daemon("--log-level=info", "--log-connections")
        for path in ("/nothing", None):
            client = RawClient(daemon.port, path=path or "/")
            if path is not None:
                client.ask()
            client.abort()
        daemon.wait_for_metrics(connections_opened_total=2, connections=0)
        self.assertNotIn("connected", daemon.log)

    def test_by_default(self) -> None:
        """Without the option, the lines are written at debug, also if only theirs is debug."""
        for level, is_written in (("info", False), ("debug", True), ("info,airyd.connections=debug", True)):
            daemon = self.own_daemon(f"--log-level={level}")
            self.connect(daemon=daemon).abort()
            daemon.wait_for_metrics(connections_opened_total=1, connections=0)
            self.assertEqual(daemon.log.count(" logged in as anonymous"), is_written, level)
            self.assertEqual(daemon.log.count(" disconnected: lost"), is_written, level)

    def test_level(self) -> None:
        """At warn, the option alone writes none of the lines."""
        daemon = self.own_daemon("--log-level=debug,airyd.connections=warn", "--log-connections")
        self.connect(daemon=daemon).abort()
        daemon.wait_for_metrics(connections_opened_total=1, connections=0)
        self.assertNotIn("logged in", daemon.log)

    def test_unix(self) -> None:
        """The kernel counts no bytes of unix sockets; the events are counted."""
        with tempfile.TemporaryDirectory() as directory:
            place = Path(directory, "clients")
            daemon = self.own_daemon("--log-level=info", "--log-connections", f"--listen=unix:{place}")
            client = RawClient(place)
            client.handshake()
            client.connect()
            self.events(daemon, client, 2)
            client.abort()
            self.assertEqual(self.ended(daemon)[3:], (2, -1, -1))

    def test_tls(self) -> None:
        """Bytes are those on the wire."""
        daemon = self.own_daemon("--log-level=info", "--log-connections", f"--listen={endpoint()}")
        client = RawClient(int(daemon.wait_for_log(_SECURE)[1]))
        client.start_tls()
        client.handshake()
        client.connect()
        self.events(daemon, client, 2)
        client.abort()
        _, why, _, events, sent, _ = self.ended(daemon)
        self.assertEqual((why, events), ("lost", 2))
        self.assertGreater(sent, 1000)

    def test_wildcards_and_history(self) -> None:
        """Events by a pattern count, those of the history, and those of the state of the server."""
        daemon = self.own_daemon("--log-level=info", "--log-connections")
        first = daemon.publish(MESSAGE, body(MESSAGE, 1))
        daemon.publish(MESSAGE, body(MESSAGE, 2))
        client = self.connect(daemon=daemon)
        client.subscribe("/queue/*", "0")
        daemon.publish(MESSAGE, body(MESSAGE, 3))
        client.message()
        client.send("SUBSCRIBE", {"id": "1", "destination": MESSAGE, "last-message-id": first, "receipt": "h"})
        client.receipt("h")
        for _ in range(2):
            client.message()
        client.subscribe("/airyd/status", "2")
        client.message()
        client.abort()
        self.assertEqual(self.ended(daemon)[3], 4)


class JsonTests(ConnectionsCase):
    """``--log-format json``."""

    def lines(self, daemon: Daemon) -> list[dict[str, Any]]:
        """Return the log so far: each line must be a JSON object."""
        found = [json.loads(line) for line in daemon.log.splitlines()]
        for each in found:
            self.assertLessEqual({"time", "level", "event", "namespace"}, each.keys())
            self.assertRegex(each["time"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        return found

    def check(self, *options: str) -> list[dict[str, Any]]:
        """Check the lines about a client; return all lines."""
        daemon = self.with_secret("", "--log-level=info", "--log-format=json", "--log-connections", *options)
        client = self.open(daemon)
        client.connect(passcode=self.token(sub='ann "ä"'))
        self.events(daemon, client, 2)
        client.abort()
        daemon.wait_for_log(re.compile(r"disconnected: .*\n"))
        refused = RawClient(daemon.port, path="/nothing")
        refused.ask()
        refused.abort()
        daemon.wait_for_log(re.compile(r"refused with 404.*\n"))
        lines = self.lines(daemon)
        connected, login, ended = [each for each in lines if each["namespace"] == "airyd.connections"]
        self.assertEqual({each["peer"] for each in (connected, login, ended)}, {connected["peer"]})
        self.assertEqual((login["subject"], login["level"]), ('ann "ä"', "info"))
        self.assertEqual((ended["reason"], ended["events"], ended["subject"]), ("lost", 2, 'ann "ä"'))
        self.assertIsInstance(ended["seconds"], float)
        self.assertGreater(ended["sent"], 500)
        (handshake,) = [each for each in lines if each.get("code") == 404]
        self.assertIn("opening handshake refused with 404", handshake["event"])
        return lines

    def test_one_process(self) -> None:
        (serves,) = [each for each in self.check() if each["event"].startswith("airyd serves ")]
        self.assertEqual(
            (serves["namespace"], serves["event"]), ("airyd.service.Airyd", f"airyd serves {serves['url']}")
        )

    def test_workers(self) -> None:
        """A line of a worker has its number, and its own fields."""
        lines = self.check("--workers=2", f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}")
        clients = [each for each in lines if each["namespace"] == "airyd.connections"]
        self.assertIn({each["worker"] for each in clients}, ({1}, {2}))
        self.assertFalse(any(each["event"].startswith("worker 1: ") for each in lines))

    def test_logs_of_others(self) -> None:
        """twistd's other logs have their own format."""
        with tempfile.TemporaryDirectory() as directory:
            arguments = command("--log-format=json", "--admin=none")
            place = arguments.index("--nodaemon")
            for option in ("--syslog", "--logger=tests.integration.test_log.printing"):
                done = subprocess.run(
                    [*arguments[:place], option, *arguments[place:]],
                    env=environment(),
                    cwd=directory,
                    capture_output=True,
                    text=True,
                    timeout=PATIENCE,
                )
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn(f"--log-format json: not with twistd's {option.partition('=')[0]}", done.stderr)

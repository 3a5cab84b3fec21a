"""Traces, the history and explanations over the API of the admin page: with two workers and a real Redis, and TLS."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from tests.doubles import frame, stomp_frames
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon
from tests.integration.payloads import MESSAGE, body
from tests.integration.test_tls import certificates
from tests.integration.test_workers import WorkersCase, wait_for_end, workers_of
from tests.patience import PATIENCE
from tests.sources.redis.server import own_prefix, shared_server
from tests.websocket.case import CONNECT, request, text

TOKEN: Final = "0123456789abcdef0123"
_SECURE: Final = re.compile(r"airyd serves wss://127\.0\.0\.1:(\d+)/")


class TraceReader:
    """Reads a trace: server-sent events of one request."""

    def __init__(self, daemon: Daemon, **parameters: object) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", daemon.admin_port, timeout=PATIENCE)
        self._connection.request("GET", f"/api/v1/trace?{urlencode(parameters)}", headers=daemon.headers)
        self._response = self._connection.getresponse()
        if self._response.status != 200:
            raise AssertionError(f"{self._response.status}: {self._response.read()!r}")

    def event(self) -> tuple[str, Any]:
        """Return the name and the data of the next event."""
        name = ""
        while True:
            line = self._response.readline().decode().rstrip("\n")
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                return name, json.loads(line.removeprefix("data: "))

    def line(self, *commands: str) -> dict[str, Any]:
        """Return the next line with one of these commands."""
        while True:
            name, data = self.event()
            if name == "line" and data["command"] in commands:
                found: dict[str, Any] = data
                return found

    def close(self) -> None:
        """Leave."""
        self._response.close()
        self._connection.close()


class TracingTests(WorkersCase):
    """Has a node of two workers, and the full token."""

    def setUp(self) -> None:
        super().setUp()
        path = Path(self.mktemp())
        path.write_text(TOKEN)
        self.prefix = own_prefix()
        source = f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={self.prefix}"
        self.daemon = self.own_daemon("--workers=2", source, f"--admin-token-file={path.absolute()}")
        self.daemon.headers = {"Authorization": f"Bearer {TOKEN}"}
        self.redis = shared_server().connect()
        self.addCleanup(self.redis.close)

    def api(self, path: str, **parameters: object) -> Any:
        """Return the answer of the API."""
        status, answer = self.daemon.request("GET", f"/api/v1/{path}?{urlencode(parameters)}")
        self.assertEqual(status, 200, answer)
        return json.loads(answer)

    def trace(self, **parameters: object) -> TraceReader:
        """Begin a trace."""
        reader = TraceReader(self.daemon, **parameters)
        self.addCleanup(reader.close)
        return reader

    def connection_id(self) -> str:
        """Return the id of the only connection."""
        (row,) = self.api("connections")["connections"]
        return str(row["id"])

    def test_a_destination(self) -> None:
        """Each event comes once, frames come from both workers; when the one with the events is killed, it goes on."""
        reader = self.trace(destination=MESSAGE, bodies="true")
        self.assertIn("last-message-id", dict(reader.line("subscribed")["headers"]))
        self.subscribed(self.daemon, 20)
        connections = {reader.line("SUBSCRIBE")["connection"] for _ in range(20)}
        rows = self.api("connections", limit=100)["connections"]
        self.assertEqual(connections, {row["id"] for row in rows})
        self.assertEqual({row["process"] for row in rows}, {"worker-1", "worker-2"})
        ids = [self.daemon.publish(MESSAGE, body(MESSAGE, number)) for number in range(3)]
        lines = [reader.line("MESSAGE") for _ in range(3)]
        self.assertEqual([dict(line["headers"])["message-id"] for line in lines], ids)
        self.assertEqual([line["body"].encode() for line in lines], [body(MESSAGE, number) for number in range(3)])
        killed, _ = workers_of(self.daemon)
        os.kill(killed, signal.SIGKILL)
        wait_for_end(killed)
        reader.line("worker-ended")
        reader.line("subscribed")
        published = self.daemon.publish(MESSAGE, body(MESSAGE, 4))
        self.assertEqual(dict(reader.line("MESSAGE")["headers"])["message-id"], published)

    def test_a_connection(self) -> None:
        """The worker that has it reports its frames; the trace ends with it."""
        (client,) = self.subscribed(self.daemon, 1)
        reader = self.trace(connection=self.connection_id())
        published = self.daemon.publish(MESSAGE, body(MESSAGE, 1))
        client.message()
        line = reader.line("MESSAGE")
        self.assertEqual((line["direction"], line["body"]), ("out", None))
        self.assertEqual(dict(line["headers"])["message-id"], published)
        client.send("UNSUBSCRIBE", {"id": "0"})
        self.assertEqual(reader.line("UNSUBSCRIBE")["direction"], "in")
        client.disconnect()
        self.assertEqual(reader.line("DISCONNECT")["direction"], "in")
        while (event := reader.event())[0] != "end":
            pass
        self.assertEqual(event[1], {"reason": "the connection has ended"})

    def test_an_unknown_connection(self) -> None:
        event = self.trace(connection="x-1").event()
        self.assertEqual(event, ("end", {"reason": "there is no connection with this id"}))

    def test_explain_and_history(self) -> None:
        """What happened to entries that a publisher has added to Redis."""
        key = f"{self.prefix}{MESSAGE}"

        def add(payload: bytes) -> str:
            return str(self.redis.call("XADD", key, "*", "payload", payload).decode())

        early = add(body(MESSAGE, 0))
        (client,) = self.subscribed(self.daemon, 1)
        sent = add(body(MESSAGE, 1))
        message_id = client.message().headers["message-id"]
        refused = add(b"[]")
        last = add(body(MESSAGE, 2))
        client.message()
        connection = self.connection_id()

        def outcome(event: str, **more: str) -> str:
            return str(self.api("explain", connection=connection, event=event, **more)["outcome"])

        self.assertEqual(outcome(message_id), "sent")
        self.assertEqual(outcome(early, destination=MESSAGE), "before-position")
        self.assertEqual(outcome(sent, destination=MESSAGE), "sent")
        self.assertEqual(outcome("1-1", destination=MESSAGE), "unknown")
        self.assertEqual(outcome(early, destination="/queue/unread-count"), "not-subscribed")
        reply = self.api("explain", connection=connection, event=refused, destination=MESSAGE)
        self.assertEqual(reply["outcome"], "refused")
        self.assertIn("JSON object", reply["text"])
        self.redis.call("XDEL", key, refused)  # its dead letter is left
        self.wait_for_dead_letter()
        self.assertEqual(outcome(refused, destination=MESSAGE), "refused")
        self.assertEqual(self.api("explain", connection="x-1", event=message_id)["outcome"], "no-connection")

        page = self.api("events", destination=MESSAGE, limit=2)
        self.assertEqual([row["id"].partition("-")[2] for row in page["events"]], [sent, last])
        self.assertAlmostEqual(page["events"][0]["time"], int(sent.partition("-")[0]) / 1000, places=1)
        page = self.api("events", destination=MESSAGE, filter="conversation_id:nobody")
        self.assertEqual((page["events"], page["skipped"]), ([], 3))

    def wait_for_dead_letter(self) -> None:
        """Wait until the refused entry was copied."""
        deadline = time.monotonic() + PATIENCE
        while not self.redis.call("XLEN", f"{self.prefix}dead-letter"):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)


class SecureTests(DaemonTestCase):
    """A connection with TLS, where nothing is sent directly."""

    def test_a_twin(self) -> None:
        """The clients of a traced connection and of another one get the same bytes; the trace has all frames."""
        files = certificates()
        listen = f"--listen=ssl:0:interface=127.0.0.1:privateKey={files.server_key}:certKey={files.server}"
        daemon = self.own_daemon(listen)
        port = int(daemon.wait_for_log(_SECURE)[1])
        twins = [self.subscriber(port, files.ca) for _ in range(2)]
        _, answer = daemon.request("GET", "/api/v1/connections")
        first, *_ = json.loads(answer)["connections"]
        reader = TraceReader(daemon, connection=first["id"])
        self.addCleanup(reader.close)
        for number in range(20):
            daemon.publish(MESSAGE, body(MESSAGE, number))
        ids = [dict(reader.line("MESSAGE")["headers"])["message-id"] for _ in range(20)]
        got = [self.read(twin, 20) for twin in twins]
        self.assertEqual(got[0], got[1])
        self.assertEqual([frame.headers["message-id"] for frame in stomp_frames(got[0])], ids)

    def subscriber(self, port: int, authority: str) -> ssl.SSLSocket:
        """Return a connection with a subscription."""
        context = ssl.create_default_context(cafile=authority)
        secure = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
        self.addCleanup(secure.close)
        secure.settimeout(PATIENCE)
        secure.sendall(request())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += secure.recv(4096)
        self.assertTrue(answer.startswith(b"HTTP/1.1 101 "), answer)
        secure.sendall(CONNECT + text(frame("SUBSCRIBE", id="0", destination=MESSAGE, receipt="r")))
        self.read(secure, 2)
        return secure

    def read(self, secure: ssl.SSLSocket, frames: int) -> bytes:
        """Return the bytes of so many STOMP frames."""
        wire = b""
        while wire.count(b"\0") < frames:
            more = secure.recv(65536)
            self.assertTrue(more, "the server closed the connection")
            wire += more
        return wire

"""``/airyd/status`` with a real Redis: notices when Redis dies or loses a stream, and when the daemon stops."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.case import DaemonTestCase
from tests.integration.node import NodeClient, body_of
from tests.integration.payloads import MESSAGE, UNREAD_COUNT, body, number_of
from tests.integration.raw import RawClient
from tests.sources.redis.server import DURABLE, RedisServer

STATUS = "/airyd/status"


class StatusTests(DaemonTestCase):
    """A daemon on a Redis of its own."""

    def setUp(self) -> None:
        self.redis = RedisServer(*DURABLE)
        self.addCleanup(self.redis.close)
        self.daemon = self.own_daemon(f"--source=redis://127.0.0.1:{self.redis.port}/0")

    def call(self, *words: str | bytes) -> Any:
        """Let Redis carry out a command."""
        connection = self.redis.connect()
        try:
            return connection.call(*words)
        finally:
            connection.close()

    def add(self, number: int, destination: str = MESSAGE) -> None:
        """Publish by XADD."""
        self.call("XADD", f"airyd:{destination}", "*", "payload", body(destination, number))

    def listening(self) -> RawClient:
        """Return a client that is subscribed to ``/airyd/status`` and to messages."""
        client = self.connect()
        client.subscribe(STATUS, "s")
        self.assertEqual(json.loads(client.message("s").body), {"type": "source", "state": "up"})
        client.subscribe(MESSAGE, "0")
        return client

    def lose(self) -> None:
        """Let the stream of messages lose an event before anybody can read it."""
        connection = self.redis.connect()
        key = f"airyd:{MESSAGE}"
        connection.transaction(("XADD", key, "*", "payload", body(MESSAGE, 0)), ("DEL", key))
        connection.close()

    def test_gap(self) -> None:
        """After a gap a client with ``/airyd/status`` stays and gets later events; another is closed."""
        listener, other = self.listening(), self.connect()
        other.subscribe(MESSAGE, "0")
        self.add(1)
        last = listener.message("0").headers["message-id"]
        self.lose()
        told = json.loads(listener.message("s").body)
        self.assertEqual(told, {"type": "gap", "destinations": [MESSAGE], "since": last})
        other.message("0")
        error, code = other.error()
        self.assertEqual((error.headers["message"], code), ("history lost", 1013))
        for number in range(2, 50):
            self.add(number)
            self.assertEqual(number_of(listener.message("0").body), number)
        self.daemon.wait_for_metrics(connections=1, gaps_total=1)

    def test_what_is_left_after_a_gap(self) -> None:
        """After the notice of a gap the client gets all that Redis still has, also with an ack window."""
        listener, window = self.listening(), self.listening()
        window.send("UNSUBSCRIBE", {"id": "0"})
        window.subscribe(MESSAGE, "0", ack="client-individual")
        self.add(1)
        for client in (listener, window):
            self.assertEqual(number_of(client.message("0").body), 1)
        connection = self.redis.connect()
        key = f"airyd:{MESSAGE}"
        additions = [("XADD", key, "*", "payload", body(MESSAGE, number)) for number in range(2, 12)]
        connection.transaction(*additions[:5], ("XTRIM", key, "MAXLEN", 2))
        connection.pipeline(additions[5:])
        connection.close()
        for client in (listener, window):
            self.assertEqual(json.loads(client.message("s").body)["type"], "gap")
            self.assertEqual([number_of(client.message("0").body) for _ in range(7)], list(range(5, 12)))
        self.daemon.wait_for_metrics(connections=2, gaps_total=1)

    def test_redis_dies(self) -> None:
        listener = self.listening()
        self.redis.kill()
        told = json.loads(listener.message("s").body)
        self.assertEqual((told["type"], told["state"]), ("source", "down"))
        self.assertIn(MESSAGE, told["destinations"])
        self.redis.start()
        self.assertEqual(json.loads(listener.message("s").body), {"type": "source", "state": "up"})
        self.add(1)
        self.assertEqual(number_of(listener.message("0").body), 1)

    def test_pubsub_is_interrupted(self) -> None:
        """Events during the interruption are lost; the client is notified of a gap when Redis is subscribed again."""
        self.daemon = self.own_daemon(f"--source=redis://127.0.0.1:{self.redis.port}/0?mode=pubsub")
        listener = self.listening()
        self.assertEqual(self.call("CLIENT", "KILL", "TYPE", "pubsub"), 1)
        told = json.loads(listener.message("s").body)
        while told["type"] == "source":  # notices that the source was unreachable may come
            told = json.loads(listener.message("s").body)
        self.assertEqual((told["type"], told["destinations"]), ("gap", [MESSAGE]))
        self.call("PUBLISH", f"airyd:{MESSAGE}", body(MESSAGE, 1))
        self.assertEqual(number_of(listener.message("0").body), 1)

    def test_the_daemon_stops(self) -> None:
        listener = self.listening()
        self.daemon.terminate()
        self.assertEqual(json.loads(listener.message("s").body)["type"], "draining")
        self.assertEqual(listener.error()[1], 1012)
        self.assertEqual(self.daemon.wait(), 0)

    def test_of_the_document(self) -> None:
        """The example of docs/clients.rst, with each @stomp/stompjs, shows the states and misses no event."""
        for version in ("5", "6", "7"):
            client = NodeClient(
                "follow.mjs",
                url=f"ws://127.0.0.1:{self.daemon.port}/ws.communication",
                destinations=[MESSAGE, UNREAD_COUNT],
                stompjs=version,
                reconnectDelay=100,
                heeds=True,
            )
            self.addCleanup(client.close)
            self.wait_for_states(client, "connecting", "catching up", "live")
            while len(client.told("reload")) < 2:
                client.wait("reload")
            self.assertEqual({each["destination"] for each in client.told("reload")}, {MESSAGE, UNREAD_COUNT})
            self.lose()
            self.assertEqual(client.wait("reload")["destination"], MESSAGE)
            self.redis.kill()
            self.wait_for_states(client, "catching up")
            self.redis.start()
            self.wait_for_states(client, "live")
            self.add(int(version))
            self.assertEqual(number_of(body_of(client.wait("message"))), int(version))
            client.tell("disconnect")
            self.wait_for_states(client, "connecting")

    def wait_for_states(self, client: NodeClient, *states: str) -> None:
        """Wait until the program has shown exactly these states, in order."""
        for state in states:
            self.assertEqual(client.wait("state")["state"], state)

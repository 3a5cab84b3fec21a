"""One daemon with two Redis and a memory feed: a failure of one does not affect the others."""

from __future__ import annotations

import json
import time

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon
from tests.integration.payloads import CHANNEL_CONNECTED, MESSAGE, UNREAD_COUNT, body, number_of
from tests.patience import PATIENCE
from tests.sources.redis.server import DURABLE, RedisServer


class RoutingTests(DaemonTestCase):
    """Messages are in one Redis, counts in another, the rest in memory."""

    def setUp(self) -> None:
        """Start both Redis and the daemon."""
        self.redis = {MESSAGE: RedisServer(*DURABLE), UNREAD_COUNT: RedisServer(*DURABLE)}
        for server in self.redis.values():
            self.addCleanup(server.close)
        self.sources = (
            *(f"--source=redis://127.0.0.1:{at.port}/0?destinations={name}" for name, at in self.redis.items()),
            "--source=memory:?destinations=/queue/channel/*",
            "--auth=anonymous:send",
        )
        self.daemon = self.own_daemon(*self.sources)

    def add(self, destination: str, number: int) -> str:
        """Publish by XADD to the Redis of a destination."""
        connection = self.redis[destination].connect()
        try:
            entry: bytes = connection.call("XADD", f"airyd:{destination}", "*", "payload", body(destination, number))
        finally:
            connection.close()
        return entry.decode()

    def ready(self, daemon: Daemon) -> list[str]:
        """Return the reasons why the daemon is not ready."""
        return list(json.loads(daemon.request("GET", "/readyz")[1])["reasons"])

    def test_each_destination_has_its_own(self) -> None:
        client = self.connect()
        for number, name in enumerate((MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED)):
            client.subscribe(name, f"{number}")
        self.add(MESSAGE, 1)
        self.assertEqual(number_of(client.message("0").body), 1)
        self.add(UNREAD_COUNT, 2)
        self.assertEqual(number_of(client.message("1").body), 2)
        self.daemon.publish(CHANNEL_CONNECTED, body(CHANNEL_CONNECTED, 3))
        self.assertEqual(number_of(client.message("2").body), 3)
        client.send("SEND", {"destination": UNREAD_COUNT}, body(UNREAD_COUNT, 4))
        self.assertEqual(number_of(client.message("1").body), 4)
        connection = self.redis[MESSAGE].connect()
        self.addCleanup(connection.close)
        self.assertEqual(connection.call("KEYS", "airyd:*"), [f"airyd:{MESSAGE}".encode()])

    def test_one_is_killed(self) -> None:
        """When one Redis is killed, the other delivers, no client is closed, and events after its restart arrive."""
        client = self.connect()
        for number, name in enumerate((MESSAGE, UNREAD_COUNT)):
            client.subscribe(name, f"{number}")
        self.add(MESSAGE, 1)
        client.message("0")
        self.redis[MESSAGE].kill()
        deadline = time.monotonic() + PATIENCE
        while not (reasons := self.ready(self.daemon)) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertNotEqual(reasons, [])
        self.assertTrue(all(reason.startswith(f"{MESSAGE}: redis://127.0.0.1:") for reason in reasons), reasons)
        self.add(UNREAD_COUNT, 2)
        self.assertEqual(number_of(client.message("1").body), 2)
        self.redis[MESSAGE].start()
        self.add(MESSAGE, 3)
        self.assertEqual(number_of(client.message("0").body), 3)

    def test_resume_is_by_destination(self) -> None:
        """Equal ids of two Redis are not confused, and another node can resume from them, too."""
        position = {}
        client = self.connect()
        for number, name in enumerate((MESSAGE, UNREAD_COUNT)):
            client.subscribe(name, f"{number}")
            connection = self.redis[name].connect()
            self.addCleanup(connection.close)
            for milliseconds in (1, 2):
                connection.call("XADD", f"airyd:{name}", f"90000000000000-{milliseconds}", "payload", body(name, 1))
            position[name] = client.message(f"{number}").headers["message-id"]
            client.message(f"{number}")
        other = self.connect(daemon=self.own_daemon(*self.sources))
        swapped = {MESSAGE: position[UNREAD_COUNT], UNREAD_COUNT: position[MESSAGE]}
        for number, name in enumerate((MESSAGE, UNREAD_COUNT)):
            receipt = other.subscribe(name, f"swapped-{number}", last_message_id=swapped[name])
            self.assertEqual(receipt.headers["recovered"], "false")
            receipt = other.subscribe(name, f"{number}", last_message_id=position[name])
            self.assertEqual(receipt.headers["recovered"], "true")
            self.assertEqual(other.message(f"{number}").headers["message-id"], f"{position[name][:-1]}2")

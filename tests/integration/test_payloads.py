"""Invalid payloads are refused and reach no client; unusual ones arrive byte for byte."""

from __future__ import annotations

import json

from tests.integration.case import DaemonTestCase
from tests.integration.payloads import BAD, CHANNEL_CONNECTED, DESTINATIONS, MESSAGE, ODD, body
from tests.integration.raw import RawClient
from tests.integration.wire import BINARY, encode


class PayloadTests(DaemonTestCase):
    """Ten clients subscribe to all four destinations."""

    def setUp(self) -> None:
        super().setUp()
        self.clients = [self.connect(version) for version in ["1.0", "1.1", "1.2", "1.2", "1.2"] * 2]
        for client in self.clients:
            for n, destination in enumerate(DESTINATIONS):
                client.subscribe(destination, f"sub-{n}")

    def publish(self, how: str, destination: str, data: bytes) -> None:
        """Publish a valid event by POST or SEND."""
        if how == "POST":
            self.daemon.publish(destination, data)
        else:
            client = self.connect()
            client.send("SEND", {"destination": destination, "receipt": "r"}, data)
            client.receipt("r")
            client.disconnect()

    def everybody_gets(self, destination: str, data: bytes, name: str) -> None:
        """Check that the next frame of each client is this event."""
        for client in self.clients:
            message = client.message(f"sub-{DESTINATIONS.index(destination)}")
            self.assertEqual(message.body, data, name)

    def post_is_refused(self, name: str, destination: str, data: bytes) -> None:
        """Check that POST returns 400 (413 if too large) with a reason that does not repeat the content."""
        status, answer = self.daemon.post(destination, data)
        self.assertEqual(status, 413 if name == "too large" else 400, (name, answer[:200]))
        self.assertTrue(answer.strip(), name)

    def send_is_refused(self, name: str, destination: str, data: bytes, in_transaction: bool) -> None:
        """Check that SEND gets an ERROR and its close code; in a transaction, at the SEND or at the COMMIT."""
        client: RawClient = self.connect()
        headers = {"destination": destination, "content-length": str(len(data)), "receipt": "guilty"}
        if in_transaction:
            client.send("BEGIN", {"transaction": "t"})
            headers["transaction"] = "t"
        client.send_frame(BINARY, encode("SEND", headers, data))
        if in_transaction:
            client.send("COMMIT", {"transaction": "t"})
        frame = client.receive()
        if in_transaction and frame.command == "RECEIPT":
            frame = client.receive()
        self.assertEqual(frame.command, "ERROR", name)
        allowed = {"invalid payload": 1008, "frame too big": 1009} if name == "too large" else {"invalid payload": 1008}
        self.assertIn(frame.headers["message"], allowed, name)
        self.assertEqual(client.close_code(), allowed[frame.headers["message"]], name)

    def test_bad_by_post(self) -> None:
        for number, (name, destination, data) in enumerate(BAD):
            self.post_is_refused(name, destination, data)
            good = body(CHANNEL_CONNECTED, number, name)
            self.publish("POST", CHANNEL_CONNECTED, good)
            self.everybody_gets(CHANNEL_CONNECTED, good, name)

    def test_bad_by_send(self) -> None:
        for in_transaction in [False, True]:
            for number, (name, destination, data) in enumerate(BAD):
                self.send_is_refused(name, destination, data, in_transaction)
                good = body(CHANNEL_CONNECTED, number, name)
                self.publish("SEND", CHANNEL_CONNECTED, good)
                self.everybody_gets(CHANNEL_CONNECTED, good, name)

    def test_odd(self) -> None:
        for how in ["POST", "SEND"]:
            for name, destination, data in ODD:
                self.publish(how, destination, data)
                self.everybody_gets(destination, data, name)

    def test_contents_are_not_logged(self) -> None:
        """The log has no content of valid or invalid payloads, only the reasons of refusals."""
        start = len(self.daemon.log)
        self.daemon.post(MESSAGE, b'{"conversation_id": 7, "secret": "sesame-in-the-body"}')
        self.daemon.post(MESSAGE, body(MESSAGE, 1, "sesame-in-the-text"))
        client = self.connect()
        client.send("SEND", {"destination": MESSAGE}, b'{"sesame": "sesame"}')
        client.error()
        self.assertNotIn("sesame", self.daemon.log[start:])
        self.assertIn("the payload does not fit its destination: ", self.daemon.log[start:])

    def test_post_answers(self) -> None:
        """POST checks media type, destination and method, and returns the ``message-id`` that clients get."""
        good = body(MESSAGE, 1)
        for media, status in [("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("", 415)]:
            refused = self.daemon.request("POST", "/publish/queue/message", good, {"Content-Type": media})
            self.assertEqual(refused[0], status, (media, refused))
        self.assertEqual(self.daemon.post("/queue/nothing", good)[0], 404)
        self.assertEqual(self.daemon.post("/", good)[0], 404)
        self.assertEqual(self.daemon.request("GET", "/publish/queue/message")[0], 405)
        status, answer = self.daemon.request(
            "POST", "/publish/queue/message", good, {"Content-Type": "application/json; charset=utf-8"}
        )
        self.assertEqual(status, 200)
        self.assertEqual(self.clients[0].message().headers["message-id"], json.loads(answer)["id"])

    def test_foreign_host(self) -> None:
        """Against DNS rebinding, all but the health paths require a loopback name or the own address as ``Host``."""
        for host in ["evil.example", "evil.example:8081", "127.0.0.1.evil.example"]:
            self.assertEqual(self.daemon.request("GET", "/metrics", headers={"Host": host})[0], 421, host)
            self.assertEqual(self.daemon.request("GET", "/healthz", headers={"Host": host})[0], 200, host)
        self.assertEqual(self.daemon.request("GET", "/metrics", headers={"Host": "localhost"})[0], 200)

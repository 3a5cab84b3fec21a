"""One daemon serves the clients of all Airy releases: two paths, Airy's four destinations, and ``/events``."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any, ClassVar

from tests.integration.case import DaemonTestCase
from tests.integration.node import NodeClient, body_of
from tests.integration.payloads import CHANNEL_CONNECTED, DESTINATIONS, DIFFICULT_TEXT, MESSAGE, body, event
from tests.patience import PATIENCE

EVENTS = "/events"
COMMUNICATION = "/ws.communication"
WS_EVENTS = "/ws.events"
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def typed(kind: str, destination: str, **more: object) -> bytes:
    """Return an event of ``/events``."""
    payload = {"type": kind, "payload": event(destination, 1, DIFFICULT_TEXT), **more}
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


class ReleasesTests(DaemonTestCase):
    """docs/clients.rst, "Airy's clients"."""

    options: ClassVar[tuple[str, ...]] = (
        f"--path={COMMUNICATION}",
        f"--path={WS_EVENTS}",
        f"--destination={EVENTS}",
        "--auth=anonymous:send",
    )

    def client(self, program: str, path: str, **config: Any) -> NodeClient:
        """Start one of Airy's clients."""
        client = NodeClient(program, url=f"ws://127.0.0.1:{self.daemon.port}{path}", **config)
        self.addCleanup(client.close)
        return client

    def four(self, version: int) -> NodeClient:
        """Start the client of releases up to 0.9."""
        client = self.client("airy.mjs", COMMUNICATION, stompjs=version, destinations=DESTINATIONS)
        client.wait_all("receipt", len(DESTINATIONS))
        return client

    def one(self, version: int, path: str) -> NodeClient:
        """Start the client of later releases."""
        client = self.client("airy_events.mjs", path, stompjs=version)
        client.wait("live")
        return client

    def check(self, version: int) -> None:
        """Check that each client gets exactly its own events, byte for byte, and disconnects without an error."""
        old = self.four(version)
        new = [self.one(version, path) for path in (WS_EVENTS, COMMUNICATION)]
        for kind, destination in (
            ("message", MESSAGE),  # 0.8.1 to 0.28
            ("message.created", MESSAGE),
            ("channel.updated", CHANNEL_CONNECTED),
        ):
            data = typed(kind, destination, timestamp=None)
            wire_id = self.daemon.publish(EVENTS, data)
            for client in new:
                message = client.wait("message")
                self.assertEqual((message["type"], body_of(message)), (kind, data))
                self.assertEqual(message["headers"]["message-id"], wire_id)
                self.assertEqual(message["headers"]["destination"], EVENTS)
        for number, destination in enumerate(DESTINATIONS):
            data = body(destination, number)
            self.daemon.publish(destination, data)
            message = old.wait("message")
            self.assertEqual((message["headers"]["destination"], body_of(message)), (destination, data))
        for client in (old, *new):
            client.tell("disconnect")
            client.wait("disconnected")
            self.assertEqual(client.told("error") + client.told("unknown") + client.told("unhandled"), [])
        self.assertEqual([len(client.told("message")) for client in (old, *new)], [4, 3, 3])

    def test_stompjs_6(self) -> None:
        """@stomp/stompjs 6 is in Airy 0.2 to 0.53."""
        self.check(6)

    def test_stompjs_7(self) -> None:
        """@stomp/stompjs 7 is in Airy 0.54 and later."""
        self.check(7)

    def test_another_path(self) -> None:
        """The answer to an unknown path names both paths."""
        connection = HTTPConnection("127.0.0.1", self.daemon.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", "/ws", headers=UPGRADE)
        response = connection.getresponse()
        self.assertEqual(response.status, 404)
        self.assertIn(f"connect to {COMMUNICATION} or {WS_EVENTS}\n", response.read().decode())
        client = self.client("airy_events.mjs", "/ws", stompjs=7)
        self.assertIn("404", client.wait("trouble")["message"])

    def test_both_are_in_the_log(self) -> None:
        for path in (COMMUNICATION, WS_EVENTS):
            self.assertIn(f"airyd serves ws://127.0.0.1:{self.daemon.port}{path}\n", self.daemon.log)

    def test_invalid_events_are_refused(self) -> None:
        """The answer to POST and SEND has the reason."""
        for data in (body(MESSAGE, 1), b'{"type":7,"payload":{}}', b'{"type":"message.created","payload":[]}'):
            status, answer = self.daemon.post(EVENTS, data)
            self.assertEqual(status, 400)
            self.assertIn("the payload does not fit its destination", json.loads(answer)["error"])
            client = self.connect()
            client.send("SEND", {"destination": EVENTS}, data)
            self.assertEqual(client.receive().headers["message"], "invalid payload")


class SampleTests(DaemonTestCase):
    """``sample:`` has events for both kinds of clients."""

    def setUp(self) -> None:
        """Start no daemon yet: the test needs its own, whose feed begins with the first client."""

    def test_both(self) -> None:
        daemon = self.own_daemon(f"--destination={EVENTS}", "--source=sample:?rate=50")
        new = NodeClient("airy_events.mjs", url=daemon.url, stompjs=7)
        self.addCleanup(new.close)
        types = {message["type"] for message in new.wait_all("message", 100)}
        self.assertEqual(types, {"message.created", "message.updated", "metadata.updated", "channel.updated"})
        self.assertEqual(new.told("unknown"), [])
        old = NodeClient("airy.mjs", url=daemon.url, stompjs=6, destinations=DESTINATIONS)
        self.addCleanup(old.close)
        old.wait("message")

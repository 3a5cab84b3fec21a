"""The STOMP client of airyd's own pages (``stomp.js``), in node."""

from __future__ import annotations

from typing import Any

from tests.integration.case import DaemonTestCase
from tests.integration.node import NodeClient
from tests.integration.payloads import MESSAGE, body


class OwnStompTests(DaemonTestCase):
    """It resumes, sends heart-beats, and notices when the server is silent."""

    options = ("--auth=anonymous:send", "--heart-beat=30000,30000")

    def client(self, *destinations: str, factor: float = 1) -> NodeClient:
        """Start the client."""
        client = NodeClient("own_stomp.mjs", url=self.daemon.url, destinations=destinations, factor=factor)
        self.addCleanup(client.close)
        return client

    def publish(self, *numbers: int) -> list[str]:
        """Publish messages; return their bodies."""
        bodies = [body(MESSAGE, number) for number in numbers]
        for each in bodies:
            self.daemon.publish(MESSAGE, each)
        return [each.decode() for each in bodies]

    def received(self, client: NodeClient, count: int) -> list[Any]:
        """Return the next bodies."""
        return [each["body"] for each in client.wait_all("message", count)]

    def test_resumes(self) -> None:
        client = self.client(MESSAGE)
        self.assertNotIn("recovered", client.wait("live"))
        first = self.publish(1, 2)
        self.assertEqual(self.received(client, 2), first)
        client.tell("close", wait=600_000)
        self.assertEqual(client.wait("state")["name"], "lost")
        missed = self.publish(3, 4, 5)
        client.tell("close", wait=0)
        self.assertEqual(client.wait("live")["recovered"], "true")
        self.assertEqual(self.received(client, 3), missed)
        self.assertEqual(self.received(client, 0), [])

    def test_resumes_before_the_first_event(self) -> None:
        client = self.client(MESSAGE)
        client.wait("live")
        client.tell("close", wait=600_000)
        client.wait("state")
        missed = self.publish(1)
        client.tell("close", wait=0)
        self.assertEqual(client.wait("live")["recovered"], "true")
        self.assertEqual(self.received(client, 1), missed)

    def test_heart_beats(self) -> None:
        client = self.client(MESSAGE, factor=300)
        client.wait("live")
        client.wait("beat", lambda event: event["way"] == "out")
        client.wait("beat", lambda event: event["way"] == "out")

    def test_silence(self) -> None:
        """Without a heart-beat for twice the interval it connects again."""
        client = self.client(MESSAGE, factor=100)
        client.wait("live")
        client.tell("sleep", seconds=30)
        client.wait("beat", lambda event: event["way"] == "out")
        client.tell("sleep", seconds=40)
        self.assertEqual(client.wait("state", lambda event: event["name"] == "lost")["reason"], "no heart-beat in time")
        self.assertEqual(client.wait("live")["recovered"], "true")

    def test_error(self) -> None:
        client = self.client("/nowhere")
        self.assertEqual(client.wait("error")["message"], "unknown destination")
        self.assertEqual(client.wait("state", lambda event: event["name"] == "lost")["name"], "lost")

    def test_escapes(self) -> None:
        client = self.client(MESSAGE)
        headers = {"a:b": "x\\c\r\n:y", "c": "Grüße"}
        client.tell("code", command="SEND", headers=headers)
        coded = client.wait("coded")
        self.assertEqual(coded["text"], "SEND\na\\cb:x\\\\c\\r\\n\\cy\nc:Grüße\n\n\0")
        self.assertEqual(coded["frame"], {"command": "SEND", "headers": headers, "body": ""})

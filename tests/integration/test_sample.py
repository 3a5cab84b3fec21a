"""The sample source in the real daemon: recorded and made-up events."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon
from tests.integration.node import NodeClient, body_of
from tests.integration.payloads import DESTINATIONS, event
from tests.integration.raw import RawClient
from tests.integration.wire import TEXT, encode


def subscribe_to_all(client: RawClient) -> None:
    """Subscribe to all destinations in one message, because the first SUBSCRIBE starts the events."""
    frames = [encode("SUBSCRIBE", {"id": f"sub-{n}", "destination": name}) for n, name in enumerate(DESTINATIONS)]
    client.send_frame(TEXT, b"".join(frames))


class RecordingTests(DaemonTestCase):
    """``sample:?file=…`` plays lines of ``destination``, ``payload`` and ``at`` from the first SUBSCRIBE on."""

    def setUp(self) -> None:
        """Write a recording; each test starts its own daemon."""
        directory = tempfile.TemporaryDirectory(prefix="airyd-test-")
        self.addCleanup(directory.cleanup)
        self.payloads = {name: event(name, n, "Grüße 🎉") for n, name in enumerate(DESTINATIONS)}
        self.file = Path(directory.name) / "events.jsonl"
        self.file.write_text(
            "".join(
                json.dumps({"destination": name, "payload": payload, "at": 0.5 + n / 10}, ensure_ascii=False) + "\n"
                for n, (name, payload) in enumerate(self.payloads.items())
            ),
            "utf-8",
        )

    def play(self, more: str = "") -> Daemon:
        """Start a daemon that plays the recording."""
        return self.own_daemon(f"--source=sample:?file={self.file}{more}")

    def test_raw(self) -> None:
        client = self.connect(daemon=self.play())
        subscribe_to_all(client)
        for n, name in enumerate(DESTINATIONS):
            self.assertEqual(json.loads(client.message(f"sub-{n}").body), self.payloads[name])

    def test_loop(self) -> None:
        client = self.connect(daemon=self.play("&loop=1"))
        client.subscribe(DESTINATIONS[0], "0")
        for _ in range(3):
            self.assertEqual(json.loads(client.message("0").body), self.payloads[DESTINATIONS[0]])

    def test_stompjs(self) -> None:
        client = NodeClient("airy.mjs", url=self.play().url, stompjs=7, destinations=DESTINATIONS)
        self.addCleanup(client.close)
        for name in DESTINATIONS:
            message = client.wait("message")
            self.assertEqual(message["headers"]["destination"], name)
            self.assertEqual(json.loads(body_of(message)), self.payloads[name])


class ConversationTests(DaemonTestCase):
    """``sample:?rate=R&seed=S`` makes up valid events."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def first(self) -> list[tuple[str, bytes]]:
        """Return the destinations and bodies of the first events that a client gets."""
        client = self.connect(daemon=self.own_daemon("--source=sample:?rate=200&seed=7"))
        subscribe_to_all(client)
        return [(m.headers["destination"], m.body) for m in (client.message() for _ in range(100))]

    def test_over_all_destinations(self) -> None:
        """The first hundred events have messages and counts; each is valid, so that it can be published."""
        events = self.first()
        self.assertLessEqual({DESTINATIONS[0], DESTINATIONS[1]}, {name for name, _ in events})
        daemon = self.own_daemon()
        for name, body in events:
            daemon.publish(name, body)

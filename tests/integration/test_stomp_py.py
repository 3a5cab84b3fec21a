"""The real stomp.py over its WebSocket transport, in all three versions."""

from __future__ import annotations

import queue
from typing import Any

import stomp  # type: ignore[import-untyped]  # stomp.py has no types
from stomp.adapter.ws import WSTransport  # type: ignore[import-untyped]  # likewise
from stomp.connect import (  # type: ignore[import-untyped]  # likewise
    BaseConnection,
    StompConnection10,
    StompConnection11,
)
from stomp.protocol import Protocol10, Protocol11  # type: ignore[import-untyped]  # likewise

from tests.integration.case import DaemonTestCase
from tests.integration.payloads import DESTINATIONS, DIFFICULT_TEXT, MESSAGE, UNREAD_COUNT, body, number_of
from tests.patience import PATIENCE

PATH = "/ws.communication"


class WebSocket10(StompConnection10):  # type: ignore[misc]  # likewise
    """stomp.py has a WebSocket connection only for 1.2; this is the same for 1.0."""

    def __init__(self, host_and_ports: list[tuple[str, int]], **options: Any) -> None:
        transport = WSTransport(host_and_ports, ws_path=PATH)
        BaseConnection.__init__(self, transport)
        Protocol10.__init__(self, transport, **options)


class WebSocket11(StompConnection11):  # type: ignore[misc]  # likewise
    """The same for 1.1."""

    def __init__(self, host_and_ports: list[tuple[str, int]], **options: Any) -> None:
        transport = WSTransport(host_and_ports, ws_path=PATH)
        BaseConnection.__init__(self, transport)
        Protocol11.__init__(self, transport, **options)


class WebSocket12(stomp.WSStompConnection):  # type: ignore[misc]  # likewise
    """stomp.py's own WebSocket connection."""

    def __init__(self, host_and_ports: list[tuple[str, int]], **options: Any) -> None:
        super().__init__(host_and_ports, ws_path=PATH, **options)


CONNECTIONS: dict[str, Any] = {"1.0": WebSocket10, "1.1": WebSocket11, "1.2": WebSocket12}


class Listener(stomp.ConnectionListener):  # type: ignore[misc]  # likewise
    """Puts stomp.py's events into a queue."""

    def __init__(self) -> None:
        self._events: queue.Queue[tuple[str, Any]] = queue.Queue()

    def on_connected(self, frame: Any) -> None:
        """Queue a CONNECTED."""
        self._events.put(("connected", frame))

    def on_message(self, frame: Any) -> None:
        """Queue a MESSAGE."""
        self._events.put(("message", frame))

    def on_receipt(self, frame: Any) -> None:
        """Queue a RECEIPT."""
        self._events.put(("receipt", frame))

    def on_error(self, frame: Any) -> None:
        """Queue an ERROR."""
        self._events.put(("error", frame))

    def on_heartbeat_timeout(self) -> None:
        """Queue that no heart-beat came in time."""
        self._events.put(("heartbeat-timeout", None))

    def on_heartbeat(self) -> None:
        """Queue a heart-beat of the server."""
        self._events.put(("heartbeat", None))

    def on_disconnected(self) -> None:
        """Queue the end of the connection."""
        self._events.put(("disconnected", None))

    def wait(self, kind: str) -> Any:
        """Return the frame of the next event, which must be of this kind; other heart-beats are skipped."""
        while True:
            try:
                event, frame = self._events.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"no {kind}") from None
            if event == kind:
                return frame
            if event != "heartbeat":
                raise AssertionError(f"wanted {kind}, got {event}: {frame and frame.headers}")


class StompPyCase(DaemonTestCase):
    """Makes stomp.py connections."""

    def connection(self, version: str, **options: Any) -> tuple[Any, Listener]:
        """Connect with this version; wait until CONNECTED."""
        connection = CONNECTIONS[version]([("127.0.0.1", self.daemon.port)], **options)
        listener = Listener()
        connection.set_listener("", listener)
        connection.connect(wait=True)
        self.addCleanup(self._end, connection)
        connected = listener.wait("connected")
        self.assertEqual(connected.headers["version"], version)
        return connection, listener

    @staticmethod
    def _end(connection: Any) -> None:
        if connection.is_connected():
            connection.transport.disconnect_socket()

    def subscribe(self, pair: tuple[Any, Listener], destination: str, subscription: str, **headers: str) -> None:
        """Subscribe and wait for the RECEIPT."""
        connection, listener = pair
        connection.subscribe(destination, id=subscription, receipt=f"r-{subscription}", **headers)
        self.assertEqual(listener.wait("receipt").headers["receipt-id"], f"r-{subscription}")

    def leave(self, pair: tuple[Any, Listener]) -> None:
        """Send DISCONNECT and wait for its RECEIPT; stomp.py reports the end of the connection before the RECEIPT."""
        connection, listener = pair
        connection.disconnect(receipt="bye")
        listener.wait("disconnected")
        self.assertEqual(listener.wait("receipt").headers["receipt-id"], "bye")


class StompPyTests(StompPyCase):
    """What applications do with stomp.py."""

    def test_four_destinations(self) -> None:
        for version in CONNECTIONS:
            pair = _, listener = self.connection(version)
            for n, destination in enumerate(DESTINATIONS):
                self.subscribe(pair, destination, f"sub-{n}")
            for text in ["plain", DIFFICULT_TEXT, "é🎉x" * (200 * 1024 // 7)]:
                for n, destination in enumerate(DESTINATIONS):
                    data = body(destination, n, text)
                    wire_id = self.daemon.publish(destination, data)
                    frame = listener.wait("message")
                    self.assertEqual(frame.body.encode(), data)
                    self.assertEqual(frame.headers["subscription"], f"sub-{n}")
                    self.assertEqual(frame.headers["message-id"], wire_id)
            self.leave(pair)

    def test_acknowledge(self) -> None:
        for version in CONNECTIONS:
            for mode in ["client", "client-individual"]:
                pair = connection, listener = self.connection(version)
                self.subscribe(pair, MESSAGE, "0", ack=mode, **{"prefetch-count": "2"})
                for n in range(6):
                    self.daemon.publish(MESSAGE, body(MESSAGE, n))
                window = [listener.wait("message") for _ in range(2)]
                for n in range(2, 6):
                    self.settle(connection, version, "ack" if n % 2 or version == "1.0" else "nack", window.pop(0))
                    window.append(listener.wait("message"))
                    self.assertEqual(number_of(window[-1].body.encode()), n)
                self.leave(pair)

    def settle(self, connection: Any, version: str, how: str, frame: Any) -> None:
        """Send ACK or NACK in the form of the version."""
        method = getattr(connection, how)
        if version == "1.2":
            method(frame.headers["ack"])
        elif version == "1.1":
            method(frame.headers["message-id"], frame.headers["subscription"])
        else:
            method(frame.headers["message-id"])

    def test_transactions(self) -> None:
        other = self.connect()
        other.subscribe(UNREAD_COUNT, "0")
        for version in CONNECTIONS:
            pair = connection, listener = self.connection(version)
            connection.begin(transaction="t")
            connection.send(UNREAD_COUNT, body(UNREAD_COUNT, 100).decode(), transaction="t")
            connection.abort(transaction="t")
            connection.begin(transaction="t")
            for n in range(1, 4):
                connection.send(UNREAD_COUNT, body(UNREAD_COUNT, n, DIFFICULT_TEXT).decode(), transaction="t")
            connection.commit(transaction="t")
            connection.send(UNREAD_COUNT, body(UNREAD_COUNT, 4).decode(), receipt="taken")
            listener.wait("receipt")
            self.assertEqual([number_of(other.message().body) for _ in range(4)], [1, 2, 3, 4])
            self.leave(pair)

    def test_unsubscribe(self) -> None:
        for version in CONNECTIONS:
            pair = connection, listener = self.connection(version)
            self.subscribe(pair, MESSAGE, "gone")
            self.subscribe(pair, MESSAGE, "stays")
            connection.unsubscribe(id="gone", receipt="u")
            listener.wait("receipt")
            for n in range(5):
                self.daemon.publish(MESSAGE, body(MESSAGE, n))
                self.assertEqual(listener.wait("message").headers["subscription"], "stays")
            self.leave(pair)

    def test_error(self) -> None:
        connection, listener = self.connection("1.2")
        connection.subscribe("/queue/secret", id="0")
        self.assertEqual(listener.wait("error").headers["message"], "unknown destination")
        listener.wait("disconnected")


class StompPyBeatTests(StompPyCase):
    """Heart-beats, for longer than the server's grace. The intervals are so long that a busy machine keeps them."""

    options = ("--heart-beat=2500,2500", "--heart-beat-grace=5")

    def test_both_ways(self) -> None:
        pairs = [self.connection(version, heartbeats=(2500, 2500)) for version in ("1.1", "1.2")]
        for pair in pairs:
            _, listener = pair
            for _ in range(3):
                listener.wait("heartbeat")
            self.subscribe(pair, MESSAGE, "0")
            self.daemon.publish(MESSAGE, body(MESSAGE, 7))
            self.assertEqual(number_of(listener.wait("message").body.encode()), 7)
            self.leave(pair)

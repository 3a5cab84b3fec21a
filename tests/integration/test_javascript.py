"""The real JavaScript clients in node: @stomp/stompjs 5, 6 and 7 set up as Airy's client is, and webstomp-client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon
from tests.integration.node import NodeClient, as_field, body_of
from tests.integration.payloads import DESTINATIONS, DIFFICULT_TEXT, MESSAGE, UNREAD_COUNT, body, number_of
from tests.integration.proxy import Proxy

#: A body of about 200 KiB without characters outside the BMP: stompjs and webstomp cut between UTF-16 units.
LARGE = body(MESSAGE, 1, "é€x" * (200 * 1024 // 6))

if TYPE_CHECKING:
    _Base = DaemonTestCase
else:
    _Base = object


class ClientScenarios(_Base):
    """Tests of features that every JavaScript client has."""

    program: ClassVar[str]
    config: ClassVar[dict[str, Any]]

    def client(self, daemon: Daemon | None = None, port: int | None = None, **config: Any) -> NodeClient:
        """Start the program with a daemon, and wait for the RECEIPTs of its four subscriptions."""
        settings = {"destinations": DESTINATIONS, **self.config, **config}
        port = port or (daemon or self.daemon).port
        client = NodeClient(self.program, url=f"ws://127.0.0.1:{port}/ws.communication", **settings)
        self.addCleanup(client.close)
        if settings["destinations"]:
            client.wait_all("receipt", len(settings["destinations"]))
        return client

    def check_quiet_end(self, client: NodeClient) -> None:
        """Check that the client got no ERROR, no logout and no unhandled frame."""
        for event in ["error", "logout", "unhandled"]:
            self.assertEqual(client.told(event), [])

    def test_four_destinations(self) -> None:
        """In each version all events arrive, byte for byte, at the right subscription."""
        for version in ["1.0", "1.1", "1.2"]:
            client = self.client(versions=[version])
            self.assertEqual(client.told("connected")[0]["headers"]["version"], version)
            self.assertEqual(client.told("open")[0]["subprotocol"], f"v{version.replace('.', '')}.stomp")
            self.assertEqual(client.told("open")[0]["extensions"], "permessage-deflate")
            for text in ["plain", DIFFICULT_TEXT, "é🎉x" * (200 * 1024 // 7)]:
                for n, destination in enumerate(DESTINATIONS):
                    data = body(destination, n, text)
                    wire_id = self.daemon.publish(destination, data)
                    message = client.wait("message")
                    self.assertEqual(body_of(message), data)
                    self.assertEqual(message["text"], message["body"])
                    self.assertEqual(message["headers"]["subscription"], f"sub-{n}")
                    self.assertEqual(message["headers"]["destination"], destination)
                    self.assertEqual(message["headers"]["message-id"], wire_id)
                    self.assertEqual(message["headers"]["content-type"], "application/json")
            self.check_quiet_end(client)
            client.close()

    def test_origin_of_a_page(self) -> None:
        """A page of the server's own origin may connect by default."""
        client = self.client(origin=f"http://127.0.0.1:{self.daemon.port}")
        self.assertEqual(client.told("open")[0]["subprotocol"], "v12.stomp")

    def test_burst(self) -> None:
        """Many events at once arrive once and in order."""
        client, publisher = self.client(), self.connect()
        for n in range(300):
            publisher.send("SEND", {"destination": DESTINATIONS[n % 4]}, body(DESTINATIONS[n % 4], n))
        got = client.wait_all("message", 300)
        for destination in DESTINATIONS:
            numbers = [number_of(body_of(m)) for m in got if m["headers"]["destination"] == destination]
            self.assertEqual(numbers, list(range(DESTINATIONS.index(destination), 300, 4)))

    def test_send_large(self) -> None:
        """A SEND that the client splits over many WebSocket messages arrives whole."""
        other = self.connect()
        other.subscribe(MESSAGE, "0")
        client = self.client(destinations=[], splitLargeFrames=True)
        client.wait("connected")
        client.tell("send", destination=MESSAGE, body=as_field(LARGE), receipt="taken")
        client.wait("receipt")
        self.assertEqual(other.message().body, LARGE)

    def test_acknowledge(self) -> None:
        """ACK and NACK move a window of two on, in both client modes, in 1.1 and 1.2."""
        for version in ["1.1", "1.2"]:
            for mode in ["client", "client-individual"]:
                client = self.client(
                    versions=[version], destinations=[MESSAGE], subscribeHeaders={"ack": mode, "prefetch-count": "2"}
                )
                for n in range(6):
                    self.daemon.publish(MESSAGE, body(MESSAGE, n))
                window = client.wait_all("message", 2)
                for n in range(2, 6):
                    client.tell("ack" if n % 2 else "nack", id=window.pop(0)["headers"]["message-id"])
                    window.append(client.wait("message"))
                    self.assertEqual(number_of(body_of(window[-1])), n)
                self.check_quiet_end(client)
                client.close()

    def test_transactions(self) -> None:
        other = self.connect()
        other.subscribe(UNREAD_COUNT, "0")
        client = self.client(destinations=[])
        client.wait("connected")
        client.tell("begin")
        client.tell("send", destination=UNREAD_COUNT, body=as_field(body(UNREAD_COUNT, 100)))
        client.tell("abort")
        client.tell("begin")
        for n in range(1, 4):
            client.tell("send", destination=UNREAD_COUNT, body=as_field(body(UNREAD_COUNT, n)))
        client.tell("commit")
        client.tell("send", destination=UNREAD_COUNT, body=as_field(body(UNREAD_COUNT, 4)), receipt="taken")
        client.wait("receipt")
        self.assertEqual([number_of(other.message().body) for _ in range(4)], [1, 2, 3, 4])
        self.check_quiet_end(client)

    def test_error_is_seen(self) -> None:
        """The client gets the ERROR before the close, and does not log its user out."""
        client = self.client()
        client.tell("subscribe", destination="/queue/secret")
        self.assertEqual(client.wait("error")["headers"]["message"], "unknown destination")
        self.assertEqual(client.wait("closed")["code"], 1008)
        self.assertEqual(client.told("logout"), [])


class StompJsScenarios(ClientScenarios):
    """Tests of @stomp/stompjs alone: reconnecting, and Airy's way of disconnecting."""

    program = "airy.mjs"

    def test_airy_negotiation(self) -> None:
        """Airy's client offers all three versions and heart-beats of 30 s."""
        headers = self.client().told("connected")[0]["headers"]
        self.assertEqual((headers["version"], headers["heart-beat"]), ("1.2", "30000,30000"))

    def test_leave(self) -> None:
        """The client sends UNSUBSCRIBE after DISCONNECT; it gets its RECEIPT, no ERROR, and does not reconnect."""
        client = self.client(reconnectDelay=50)
        client.tell("disconnect")
        client.wait("disconnected")
        closed = client.told("closed") or [client.wait("closed")]
        self.assertIn(closed[0]["code"], (1000, 1005))
        self.check_quiet_end(client)
        self.assertEqual(len(client.told("open")), 1)

    def test_reconnects_after_an_error(self) -> None:
        client = self.client(reconnectDelay=100)
        client.tell("subscribe", destination="/queue/secret")
        client.wait("closed")
        client.wait_all("receipt", 4)
        self.daemon.publish(MESSAGE, body(MESSAGE, 9))
        self.assertEqual(number_of(body_of(client.wait("message"))), 9)

    def test_restart(self) -> None:
        """The server closes with 1012 and restarts on the same port; the client reconnects."""
        daemon = self.own_daemon()
        client = self.client(daemon, reconnectDelay=100)
        daemon.publish(MESSAGE, body(MESSAGE, 1))
        client.wait("message")
        daemon.terminate()
        self.assertEqual(client.wait("closed")["code"], 1012)
        self.assertEqual(daemon.wait(), 0)
        again = self.own_daemon(port=daemon.port)
        client.wait_all("receipt", 4)
        again.publish(MESSAGE, body(MESSAGE, 2))
        self.assertEqual(number_of(body_of(client.wait("message"))), 2)
        self.assertEqual(client.told("logout"), [])

    def follower(self, port: int) -> NodeClient:
        """Start the documentation's example, and wait until all its subscriptions have their RECEIPT."""
        client = NodeClient(
            "follow.mjs",
            url=f"ws://127.0.0.1:{port}/ws.communication",
            destinations=DESTINATIONS,
            reconnectDelay=100,
            **self.config,
        )
        self.addCleanup(client.close)
        self.assertEqual([e["destination"] for e in client.wait_all("reload", 4)], list(DESTINATIONS))
        return client

    def numbers(self, client: NodeClient) -> dict[str, list[int]]:
        """Return the numbers of all events so far, by destination."""
        return {
            destination: [number_of(body_of(m)) for m in client.told("message") if m["destination"] == destination]
            for destination in DESTINATIONS
        }

    def test_resume_after_a_cut(self) -> None:
        """The documentation's example misses and repeats no event, whenever its connection is cut."""
        proxy = Proxy(self.daemon.port)
        self.addCleanup(proxy.close)
        client = self.follower(proxy.port)
        sent = 0
        for taken_before_the_cut in [0, 5, 40]:
            for n in range(sent, sent + 10):
                for destination in DESTINATIONS:
                    self.daemon.publish(destination, body(destination, n, DIFFICULT_TEXT))
            client.wait_all("message", taken_before_the_cut)
            proxy.down()
            client.wait("closed")
            for n in range(sent + 10, sent + 20):
                for destination in DESTINATIONS:
                    self.daemon.publish(destination, body(destination, n, DIFFICULT_TEXT))
            sent += 20
            proxy.up()
            while len(client.told("message")) < sent * 4:
                client.wait("message")
        self.assertEqual(self.numbers(client), {destination: list(range(sent)) for destination in DESTINATIONS})
        self.assertEqual(len(client.told("reload")), 4)
        client.tell("disconnect")
        client.wait("disconnected")
        self.assertEqual(len(client.told("message")), sent * 4)

    def test_resume_after_a_restart(self) -> None:
        """The memory feed's history is lost with the process: the example is notified and reloads."""
        daemon = self.own_daemon()
        client = self.follower(daemon.port)
        daemon.publish(MESSAGE, body(MESSAGE, 1))
        client.wait("message")
        self.assertEqual(daemon.stop(), 0)
        again = self.own_daemon(port=daemon.port)
        reloads = client.wait_all("reload", 4)
        self.assertEqual([e["destination"] for e in reloads], list(DESTINATIONS))
        again.publish(MESSAGE, body(MESSAGE, 2))
        self.assertEqual(number_of(body_of(client.wait("message"))), 2)


class StompJs5Tests(StompJsScenarios, DaemonTestCase):
    """@stomp/stompjs 5."""

    config: ClassVar[dict[str, Any]] = {"stompjs": 5}


class StompJs6Tests(StompJsScenarios, DaemonTestCase):
    """@stomp/stompjs 6."""

    config: ClassVar[dict[str, Any]] = {"stompjs": 6}


class StompJs7Tests(StompJsScenarios, DaemonTestCase):
    """@stomp/stompjs 7."""

    config: ClassVar[dict[str, Any]] = {"stompjs": 7}


class WebstompTests(ClientScenarios, DaemonTestCase):
    """webstomp-client, in text and in binary messages."""

    program = "webstomp.mjs"
    config: ClassVar[dict[str, Any]] = {}

    def test_binary(self) -> None:
        other = self.connect()
        other.subscribe(MESSAGE, "0")
        client = self.client(binary=True)
        data = body(MESSAGE, 1, DIFFICULT_TEXT)
        client.tell("send", destination=MESSAGE, body=as_field(data), receipt="taken")
        client.wait("receipt", lambda e: e["name"] == "taken")
        self.assertEqual(other.message().body, data)

    def test_leave(self) -> None:
        """The client unsubscribes, sends DISCONNECT and closes without waiting for the RECEIPT."""
        client = self.client()
        client.tell("disconnect")
        client.wait("disconnected")
        client.wait("closed")
        self.check_quiet_end(client)


class BeatTests(DaemonTestCase):
    """Heart-beats, for longer than the server's grace. The intervals are so long that a busy machine keeps them."""

    options = ("--heart-beat=2500,2500", "--heart-beat-grace=5")

    def check(self, program: str, **config: Any) -> None:
        """Check that heart-beats go both ways and that the session outlasts the grace."""
        client = NodeClient(program, url=self.daemon.url, destinations=[MESSAGE], heartbeat=2500, **config)
        self.addCleanup(client.close)
        client.wait("receipt")
        self.assertEqual(client.told("connected")[0]["headers"]["heart-beat"], "2500,2500")
        ways = {"in": 0, "out": 0}
        while min(ways.values()) < 3:
            ways[client.wait("beat")["way"]] += 1
        self.assertEqual(client.told("closed"), [])
        self.daemon.publish(MESSAGE, body(MESSAGE, 7))
        self.assertEqual(number_of(body_of(client.wait("message"))), 7)

    def test_stompjs_5(self) -> None:
        self.check("airy.mjs", stompjs=5)

    def test_stompjs_6(self) -> None:
        self.check("airy.mjs", stompjs=6)

    def test_stompjs_7(self) -> None:
        self.check("airy.mjs", stompjs=7)

    def test_webstomp(self) -> None:
        self.check("webstomp.mjs")

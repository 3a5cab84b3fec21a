"""Every kind of ERROR, with the close code that follows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.integration.case import DaemonTestCase
from tests.integration.payloads import CHANNEL_CONNECTED, MESSAGE, body
from tests.integration.wire import BINARY, TEXT, encode

R = {"receipt": "guilty"}


class Case(NamedTuple):
    """The frames of a connected client, and the ERROR that ends the connection.

    :ivar version: the version of the session; None if the frames come in place of CONNECT
    :ivar frames: what the client sends; the last frame is wrong, with ``receipt:guilty`` where it can have one
    :ivar message: the ERROR's ``message``; several texts if the specification leaves the choice
    :ivar receipt: whether the ERROR must have it; False if the fault may be noticed before that header is read
    """

    name: str
    version: str | None
    frames: Sequence[bytes]
    message: str | tuple[str, ...]
    code: int
    receipt: bool = True


def subscribe(subscription: str, destination: str = MESSAGE, **more: str) -> bytes:
    """Return a SUBSCRIBE."""
    return encode("SUBSCRIBE", {"id": subscription, "destination": destination, **more})


def begin(name: str, **more: str) -> bytes:
    """Return a BEGIN."""
    return encode("BEGIN", {"transaction": name, **more})


BAD_FRAME = ("malformed frame", "invalid header")
BIG = "x" * 9000
LONG = "x" * 250_000
EVENT = body(CHANNEL_CONNECTED, 1)

CASES = (
    Case("SEND before CONNECT", None, [encode("SEND", {"destination": MESSAGE, **R})],
         "command not allowed now", 1002),
    Case("SUBSCRIBE before CONNECT", None, [subscribe("0", **R)], "command not allowed now", 1002),
    Case("nonsense before CONNECT", None, [encode("GET / HTTP/1.1", R)],
         ("unknown command", "malformed frame"), 1002, False),
    Case("a heart-beat of words", None, [encode("CONNECT", {"accept-version": "1.2", "heart-beat": "often,1"})],
         "invalid header", 1002, False),
    Case("half a heart-beat", None, [encode("CONNECT", {"accept-version": "1.1", "heart-beat": "100"})],
         "invalid header", 1002, False),
    Case("a negative heart-beat", None, [encode("CONNECT", {"accept-version": "1.2", "heart-beat": "-1,0"})],
         "invalid header", 1002, False),
    Case("a large CONNECT", None, [encode("CONNECT", [(f"h{n}", "x" * 5000) for n in range(4)])],
         "frame too big", 1009, False),
    Case("a second CONNECT", "1.2", [encode("CONNECT", {"accept-version": "1.2", **R})],
         "command not allowed now", 1002),
    Case("a server's command", "1.2", [encode("MESSAGE", R)],
         ("unknown command", "command not allowed now"), 1002, False),
    Case("an unknown command", "1.2", [encode("SUBSCRIB", R)], "unknown command", 1002),
    Case("a command in lower case", "1.2", [encode("subscribe", R)], "unknown command", 1002),
    Case("no colon", "1.2", [b"SUBSCRIBE\nreceipt:guilty\nid0\n\n\0"], BAD_FRAME, 1002, False),
    Case("an empty name", "1.2", [b"SUBSCRIBE\nreceipt:guilty\n:x\n\n\0"], BAD_FRAME, 1002, False),
    Case("an escape of nobody", "1.2", [encode("BEGIN", {**R, "transaction": "a\\tb"})], BAD_FRAME, 1002, False),
    Case("an escape at the end", "1.2", [encode("BEGIN", {**R, "transaction": "a\\"})], BAD_FRAME, 1002, False),
    Case("1.2's escape in 1.1", "1.1", [encode("BEGIN", {**R, "transaction": "a\\r"})], BAD_FRAME, 1002, False),
    Case("a bare CR in 1.2", "1.2", [encode("BEGIN", {**R, "transaction": "a\rb"})], "malformed frame", 1002),
    Case("a bare CR in a CONNECT", None, [encode("CONNECT", {"accept-version": "1.2", "login": "a\rb"})],
         "malformed frame", 1002, False),
    Case("broken UTF-8 in a head", "1.2", [b"BEGIN\ntransaction:\xff\xfe\n\n\0"], BAD_FRAME, 1002, False),
    Case("a body on SUBSCRIBE", "1.2", [encode("SUBSCRIBE", {"id": "0", "destination": MESSAGE, **R}, b"body")],
         BAD_FRAME, 1002, False),
    Case("content-length of words", "1.2", [encode("SEND", {**R, "destination": MESSAGE, "content-length": "long"})],
         BAD_FRAME, 1002, False),
    Case("a negative content-length", "1.2", [encode("SEND", {**R, "destination": MESSAGE, "content-length": "-1"})],
         BAD_FRAME, 1002, False),
    Case("a body longer than content-length", "1.2",
         [encode("SEND", {**R, "destination": CHANNEL_CONNECTED, "content-length": "3"}, EVENT)],
         BAD_FRAME, 1002, False),
    Case("a large content-length", "1.2",
         [encode("SEND", {**R, "destination": MESSAGE, "content-length": "400000"})[:-1]],
         "frame too big", 1009, False),
    Case("an endless body", "1.2", [b"SEND\ndestination:/queue/message\n\n" + b"x" * 330_000],
         "frame too big", 1009, False),
    Case("an endless command", "1.2", [b"S" * 400_000], ("frame too big", "unknown command", "malformed frame"),
         0, False),
    Case("a long header line", "1.2", [b"SEND\nlong:" + BIG.encode()], "frame too big", 1009, False),
    Case("101 headers", "1.2", [encode("SEND", [(f"h{n}", "x") for n in range(101)])], "too many headers", 1009, False),
    Case("no id", "1.2", [encode("SUBSCRIBE", {"destination": MESSAGE, **R})], "missing header", 1002),
    Case("no id in 1.1", "1.1", [encode("SUBSCRIBE", {"destination": MESSAGE, **R})], "missing header", 1002),
    Case("no destination", "1.2", [encode("SUBSCRIBE", {"id": "0", **R})], "missing header", 1002),
    Case("SEND to nowhere", "1.2", [encode("SEND", R)], "missing header", 1002),
    Case("a repeated id", "1.2", [subscribe("0"), subscribe("0", **R)], "subscription id in use", 1002),
    Case("an odd ack mode", "1.2", [subscribe("0", ack="sometimes", **R)], "invalid header", 1002),
    Case("an odd prefetch-count", "1.2", [encode("SUBSCRIBE", {"id": "0", "destination": MESSAGE, "ack": "client",
         "prefetch-count": "many", **R})], "invalid header", 1002),
    Case("an unknown destination", "1.2", [subscribe("0", "/queue/secret", **R)], "unknown destination", 1008),
    Case("SEND to an unknown destination", "1.2", [encode("SEND", {"destination": "/topic/x", **R}, EVENT)],
         "unknown destination", 1008),
    Case("a bad payload", "1.2", [encode("SEND", {"destination": MESSAGE, **R}, b"{}")], "invalid payload", 1008),
    Case("UNSUBSCRIBE of an unknown id", "1.2", [encode("UNSUBSCRIBE", {"id": "7", **R})],
         "unknown subscription", 1002),
    Case("UNSUBSCRIBE of nothing", "1.2", [encode("UNSUBSCRIBE", R)], "missing header", 1002),
    Case("ACK of the unknown", "1.2", [encode("ACK", {"id": "7", **R})], "unknown message id", 1002),
    Case("ACK of the unknown in 1.1", "1.1",
         [subscribe("0", ack="client"), encode("ACK", {"message-id": "7", "subscription": "0", **R})],
         "unknown message id", 1002),
    Case("ACK of nothing", "1.2", [encode("ACK", R)], "missing header", 1002),
    Case("ACK on auto", "1.1", [subscribe("0"), encode("ACK", {"message-id": "7", "subscription": "0", **R})],
         "subscription takes no acknowledgement", 1002),
    Case("NACK in 1.0", "1.0", [encode("NACK", {"message-id": "7", **R})],
         ("unknown command", "command not allowed now"), 1002),
    Case("COMMIT of the unknown", "1.2", [encode("COMMIT", {"transaction": "t", **R})], "unknown transaction", 1002),
    Case("ABORT of the unknown", "1.2", [encode("ABORT", {"transaction": "t", **R})], "unknown transaction", 1002),
    Case("SEND in the unknown", "1.2", [encode("SEND", {"destination": MESSAGE, "transaction": "t", **R}, EVENT)],
         "unknown transaction", 1002),
    Case("BEGIN twice", "1.2", [begin("t"), begin("t", **R)], "transaction in use", 1002),
    Case("17 transactions", "1.2", [*(begin(f"t{n}") for n in range(16)), begin("t16", **R)],
         "too many open transactions", 1008),
    Case("large transactions", "1.2",
         [begin("t"), *(encode("SEND", {"destination": MESSAGE, "transaction": "t", **more}, body(MESSAGE, 1, LONG))
                        for more in [{}, {}, {}, {}, R])], "transactions too big", 1009),
    Case("257 subscriptions", "1.2", [*(subscribe(str(n)) for n in range(256)), subscribe("256", **R)],
         "too many subscriptions", 1008),
)  # fmt: skip


class ErrorTests(DaemonTestCase):
    """An ERROR says what is wrong; a close with the right code follows."""

    def check(self, case: Case) -> None:
        """Send the frames of one case, and check the ERROR and the close."""
        client = self.open() if case.version is None else self.connect(case.version)
        for frame in case.frames:
            client.send_frame(BINARY if b"\xff" in frame else TEXT, frame)
        error, code = client.error()
        wanted = (case.message,) if isinstance(case.message, str) else case.message
        self.assertIn(error.headers["message"], wanted, case.name)
        self.assertNotIn("401", error.headers["message"])
        if case.code:
            self.assertEqual(code, case.code, case.name)
        self.assertEqual(error.headers["content-type"], "text/plain")
        self.assertTrue(error.body.decode().strip(), case.name)
        if case.receipt:
            self.assertEqual(error.headers.get("receipt-id"), "guilty", case.name)

    def test_all(self) -> None:
        """All cases, one after the other; another session must not be affected."""
        witness = self.connect()
        witness.subscribe(CHANNEL_CONNECTED, "0")
        failures = []
        for case in CASES:
            try:
                self.check(case)
            except AssertionError as failure:
                failures.append(f"{case.name}: {failure}")
        self.assertEqual([], failures, "\n".join(failures))
        self.daemon.publish(CHANNEL_CONNECTED, EVENT)
        self.assertEqual(witness.message("0").body, EVENT)
        witness.disconnect()

    def test_requests_before_the_fault_are_done(self) -> None:
        """Frames before the wrong one in the same message are carried out."""
        other = self.connect()
        other.subscribe(CHANNEL_CONNECTED, "0")
        client = self.connect()
        send = encode("SEND", {"destination": CHANNEL_CONNECTED, "receipt": "done"}, EVENT)
        client.send_frame(TEXT, send + encode("NONSENSE", R))
        client.receipt("done")
        error, code = client.error()
        self.assertEqual((error.headers["message"], code), ("unknown command", 1002))
        self.assertEqual(other.message("0").body, EVENT)

    def test_errors_are_counted(self) -> None:
        before = self.daemon.metrics()
        client = self.connect()
        client.send("NONSENSE")
        client.error()
        changed = set(self.daemon.metrics().splitlines()) - set(before.splitlines())
        self.assertTrue([line for line in changed if "unknown_command" in line], changed)


class ForbiddenTests(DaemonTestCase):
    """Clients of ``anonymous`` without ``send`` may not SEND."""

    options = ()

    def test_send(self) -> None:
        client = self.connect()
        client.send("SEND", {"destination": CHANNEL_CONNECTED, **R}, EVENT)
        error, code = client.error()
        self.assertEqual((error.headers["message"], code), ("403 Forbidden", 1008))
        self.assertEqual(error.headers["receipt-id"], "guilty")

    def test_send_in_a_transaction(self) -> None:
        client = self.connect()
        client.send("BEGIN", {"transaction": "t"})
        client.send("SEND", {"destination": CHANNEL_CONNECTED, "transaction": "t", **R}, EVENT)
        error, code = client.error()
        self.assertEqual((error.headers["message"], code), ("403 Forbidden", 1008))

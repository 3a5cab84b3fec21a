"""The short way to accept an opening handshake gives the results of the ordinary way."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import RequestRefused
from airyd.limits import Limits
from airyd.websocket.handshake import HandshakeAccepted, HandshakePolicy, OpeningHandshake
from airyd.websocket.origin import OriginPolicy
from airyd.websocket.usual_heads import LONGEST_HEAD, MOST_HEADS, UsualHeads
from tests.websocket.case import CONNECT, PATH, WebSocketTestCase

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
OTHER_KEY = b"AQIDBAUGBwgJCgsMDQ4PEC=="
ORIGIN = "https://app.example.com"

CHROME = (
    f"GET {PATH} HTTP/1.1\r\nHost: airy.example.com\r\nConnection: Upgrade\r\nPragma: no-cache\r\n"
    "Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    f"Chrome/142.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\nOrigin: {ORIGIN}\r\nSec-WebSocket-Version: 13\r\n"
    f"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: de,en;q=0.9\r\nSec-WebSocket-Key: {KEY.decode()}\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    "Sec-WebSocket-Protocol: v10.stomp, v11.stomp, v12.stomp\r\n\r\n"
).encode()
FIREFOX = (
    f"GET {PATH} HTTP/1.1\r\nHost: airy.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) "
    "Gecko/20100101 Firefox/145.0\r\nAccept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, "
    f"br, zstd\r\nSec-WebSocket-Version: 13\r\nOrigin: {ORIGIN}\r\nSec-WebSocket-Protocol: v12.stomp\r\n"
    f"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: {KEY.decode()}\r\nDNT: 1\r\nSec-GPC: 1\r\n"
    "Connection: keep-alive, Upgrade\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: websocket\r\n"
    "Sec-Fetch-Site: same-origin\r\nPragma: no-cache\r\nCache-Control: no-cache\r\nUpgrade: websocket\r\n\r\n"
).encode()
WS = (
    f"GET {PATH} HTTP/1.1\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY.decode()}\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    "Sec-WebSocket-Protocol: v12.stomp,v11.stomp\r\nHost: 127.0.0.1:8080\r\n\r\n"
).encode()
STOMP_PY = (
    f"GET {PATH} HTTP/1.1\r\nUpgrade: websocket\r\nHost: 127.0.0.1:8080\r\nOrigin: http://127.0.0.1:8080\r\n"
    f"Sec-WebSocket-Key: {KEY.decode()}\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Protocol: v12.stomp\r\n\r\n"
).encode()
#: What is sent by those for which the short way is made.
USUAL = (CHROME, FIREFOX, WS, STOMP_PY, STOMP_PY.replace(b"Sec-WebSocket-Key", b"sec-websocket-key"))

_more = [
    b"Cookie: token=secret",
    b"Authorization: Bearer secret",
    b"X-Forwarded-For: 192.0.2.1",
    b"X-Token: secret",
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"Sec-WebSocket-Key: " + KEY,
    b"sec-websocket-key: " + OTHER_KEY,
    b"Sec-WebSocket-Key: short==",
    b"Sec-WebSocket-Version: 12",
    b"Origin: https://evil.example",
    b"Host: other",
    b"no colon",
    b" folded",
    b"Accept : x",
    b"DNT:\x00",
    b"DNT: \xe4\x85\x1c",
    b"DNT: a\nSec-WebSocket-Key: " + KEY,
    b"DNT: a\rSec-WebSocket-Key: " + KEY,
    b"Accept: " + b"x" * 9000,
]
#: Good and broken heads that differ from the usual ones in one place.
CHANGED = (
    *(head.replace(b"Upgrade: ", more + b"\r\nUpgrade: ", 1) for head in USUAL for more in _more),
    *(head.replace(one, other, 1) for head in USUAL for one, other in (
        (b"GET", b"POST"),
        (b"GET ", b"GET  "),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (PATH.encode(), b"/elsewhere"),
        (PATH.encode(), PATH.encode() + b"?access_token=secret"),
        (PATH.encode(), b"http://other.example" + PATH.encode()),
        (b"\r\n", b"\n"),
        (b"\r\n\r\n", b"\r\n\r\n\x81"),
        (b"\r\n\r\n", b"\r\n\r\n" + CONNECT),
        (b"GET", b"\r\nGET"),
        (b"GET", b"\r\n\r\nGET"),
        (b"v12.stomp", b"v12.stomp,v12.stomp"),
        (b"v12.stomp", b"mqtt"),
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"Connection: ", b"Connection:"),
        (b"deflate", b"deflate; server_max_window_bits=10"),
        (b"deflate", b"deflate; no_such_parameter"),
        (KEY, KEY[:-1]),
        (KEY, b" " + KEY),
        (KEY, KEY + b" "),
        (KEY, KEY.replace(b"=", b"A")),
        (KEY, b""),
    )),
)  # fmt: skip
ALL = (*USUAL, *CHANGED)

_limits = Limits()


def policy(origins: Sequence[str] = (ORIGIN, "http://127.0.0.1:8080")) -> HandshakePolicy:
    """Return a policy with airyd's own limits."""
    return HandshakePolicy(
        (PATH,), OriginPolicy(origins), True, _limits.request_head, _limits.headers, 4096, ("authorization", "cookie")
    )


POLICY = policy()


def with_key(data: bytes, key: bytes) -> bytes:
    """Return the bytes with another key, wherever the usual one is."""
    return data.replace(KEY, key)


def ordinary(data: bytes, how: HandshakePolicy = POLICY) -> HandshakeAccepted | str | None:
    """Return the result of the ordinary way, or why it refuses."""
    try:
        return OpeningHandshake(how).read(data)
    except RequestRefused as refused:
        return refused.reason


def learned(*heads: bytes) -> UsualHeads:
    """Return what is remembered after these opening handshakes came, each in one piece."""
    usual = UsualHeads(POLICY)
    for head in heads:
        accepted = ordinary(head)
        if isinstance(accepted, HandshakeAccepted):
            usual.remember(head, accepted)
    return usual


class ShortWayTests(SynchronousTestCase):
    """``UsualHeads`` returns what the ordinary way returns, or None."""

    def check(self, usual: UsualHeads, data: bytes) -> bool:
        """Compare both ways for these bytes, with several keys; return whether the short way was taken."""
        taken = False
        for key in (KEY, OTHER_KEY, b"+/+/+/+/+/+/+/+/+/+/+g==", b"not a key", b"A" * 24, b"A" * 21 + b"===", b"\r\n"):
            sent = with_key(data, key)
            found = usual.accept(sent)
            if found is not None:
                taken = True
                self.assertEqual(found, ordinary(sent), sent)
        return taken

    def test_usual_heads_take_it(self) -> None:
        for head in USUAL:
            self.assertIsNone(UsualHeads(POLICY).accept(head))
            self.assertTrue(self.check(learned(with_key(head, OTHER_KEY)), head), head)

    def test_equal_results(self) -> None:
        """With every head learned from which anything is, in either order."""
        for order in (ALL, ALL[::-1]):
            for begin in range(0, len(order), MOST_HEADS):
                usual = learned(*order[begin : begin + MOST_HEADS])
                for data in ALL:
                    self.check(usual, data)

    def test_every_beginning(self) -> None:
        """A piece of a head is never taken for a whole one."""
        usual = learned(*USUAL)
        for head in USUAL:
            for end in range(len(head)):
                self.assertIsNone(usual.accept(head[:end]))
                self.assertIsNone(usual.accept(head[end:]) if end else None)

    @given(
        st.sampled_from(ALL),
        st.sampled_from(ALL),
        st.floats(0, 1),
        st.floats(0, 1),
        st.binary(max_size=12) | st.sampled_from([b"\r\n", b"\r\n\r\n", KEY, b": ", b"\r\nSec-WebSocket-Key: " + KEY]),
    )
    @example(STOMP_PY, STOMP_PY, 0.0, 0.0, b"\r\n")
    def test_changed_bytes(self, data: bytes, other: bytes, begin: float, end: float, more: bytes) -> None:
        """Any bytes in place of any part, learned and then sent, with another key."""
        first, last = sorted((int(begin * len(data)), int(end * len(data))))
        changed = data[:first] + more + data[last:]
        self.check(learned(changed, other), changed)
        self.check(learned(data, other), changed)
        self.check(learned(changed), data)

    def test_secrets_are_not_remembered(self) -> None:
        usual = learned(*CHANGED)
        for head in usual._accepted:
            self.assertNotIn(b"secret", head)
            self.assertNotIn(b"192.0.2.1", head)
        self.assertNotIn(KEY, b"".join(usual._accepted))

    def test_few_heads_are_remembered(self) -> None:
        """The oldest is forgotten first, and none is longer than allowed."""
        heads = [STOMP_PY.replace(b"8080\r\nOrigin", b"%d\r\nOrigin" % port) for port in range(8000, 8000 + MOST_HEADS)]
        long = STOMP_PY.replace(b"Upgrade: ", b"Accept: %b\r\nUpgrade: " % (b"x" * LONGEST_HEAD), 1)
        usual = learned(STOMP_PY, long, *heads)
        self.assertEqual(len(usual._accepted), MOST_HEADS)
        self.assertIsNone(usual.accept(STOMP_PY))
        self.assertIsNone(usual.accept(long))
        self.assertIsNotNone(usual.accept(heads[0]))


class ConnectionTests(WebSocketTestCase):
    """Connections whose heads are remembered, or not, behave alike."""

    origins = (ORIGIN, "http://127.0.0.1:8080")

    def result(self, *pieces: bytes) -> tuple[bytes, bool]:
        """Return what a new connection gets for these reads, and whether it is open afterwards."""
        peer = self.reach()
        for piece in pieces:
            peer.say(piece)
            self.loop.turn()
        head, _, rest = peer.got().partition(b"\r\n\r\n")
        is_open = bool(self.metrics.connections)
        peer.lose()
        return head + (b" CONNECTED" if b"CONNECTED" in rest else rest), is_open

    def test_split_at_every_byte(self) -> None:
        """With a CONNECT behind it, in two reads, before and after the head is remembered."""
        for head in USUAL:
            for end in range(len(head)):
                self.factory.policy = self.factory.policy  # forgets all heads
                data = head + CONNECT
                first = self.result(data[:end], data[end:])
                self.assertIn(b"CONNECTED", first[0])
                self.assertEqual(self.result(head, CONNECT), first)
                self.assertEqual(self.result(head, CONNECT), first)
                self.assertEqual(self.result(data[:end], data[end:]), first)

    def test_good_and_broken_heads(self) -> None:
        fresh = {}
        for data in ALL:
            self.factory.policy = self.factory.policy
            fresh[data] = self.result(data, CONNECT)
        for _ in range(2):
            for data in ALL:
                self.assertEqual(self.result(data, CONNECT), fresh[data], data)

    def test_what_is_known_of_the_client(self) -> None:
        for _ in range(2):
            peer = self.reach()
            peer.say(FIREFOX)
            (channel,) = self.factory.channels.values()
            self.assertIn("Firefox/145.0", str(channel.client.agent))
            peer.lose()
        self.assertEqual(self.metrics.handshake_time.count, 2)

    def test_another_policy(self) -> None:
        """A reload that forbids an origin holds for the next connection, also if its request has begun."""
        self.assertIn(b" 101 ", self.result(CHROME)[0])
        begun = self.reach()
        begun.say(b"\r\n")
        allowed = self.factory.policy
        self.factory.policy = allowed._replace(origins=OriginPolicy(["https://other.example"]))
        begun.say(CHROME)  # it was let in under the first policy, and must not be remembered under the second
        for _ in range(2):
            self.assertIn(b" 403 ", self.result(CHROME)[0])
        self.factory.policy = allowed
        self.assertIn(b" 101 ", self.result(CHROME)[0])
        begun.lose()

    def test_refusal_of_all(self) -> None:
        """A process that ends refuses remembered heads, too."""
        self.assertIn(b" 101 ", self.result(CHROME)[0])
        self.factory.refusal = RequestRefused("closing", HTTPStatus.SERVICE_UNAVAILABLE)
        self.assertIn(b" 503 ", self.result(CHROME)[0])

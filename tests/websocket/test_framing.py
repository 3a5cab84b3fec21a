"""How a client puts its STOMP frames into WebSocket messages, and these into packets, makes no difference."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.doubles import EVENT, frame
from tests.inflating import RSV1, Inflating, deflated
from tests.integration.wire import BINARY, CONTINUATION, PING, PONG, TEXT, websocket_frame, whole_frames
from tests.websocket.case import WebSocketTestCase, request

QUEUE: Final = "/queue/message"
_SESSION: Final = re.compile(rb"session:[0-9a-f]+")
#: Headers and bodies that the short way of ``stomp.plain`` takes, or leaves, or must not be led astray by.
_headers = st.lists(
    st.sampled_from(["a:b", "a:b:c", "ä:ö", "a:b\r", "x:" + "y" * 300, "content-length:{}", "content-length:0{}"]),
    max_size=3,
)
_receipts = st.sampled_from(["r", "s", "t", "\\c", "\\n\\\\", "ä"])
_ends = st.sampled_from(["", "\n", "\r\n", "\n\n\r\n"])
_bodies = st.sampled_from([EVENT, EVENT, EVENT + b" " * 3000, b'{"ids":["\xc3\xa4"]}', b"not JSON", b""])
_bad = st.sampled_from(
    [
        *(b"SEND\ndestination:/queue/message\ncontent-length:3\n\nabcd\0", b"SEND\n\n\0", b"HELLO\nreceipt:r\n\n\0"),
        *(b"BEGIN\ntransaction:a\nreceipt:\\t\n\n\0", b"BEGIN\ntransaction:a\n\nbody\0", b"BEGIN\nreceipt:r\0\n\n\0"),
        *(b"CONNECT\naccept-version:1.2\n\n\0", b"DISCONNECT\nreceipt:bye\n\n\0", b"\0", b"SUBSCRIBE\nno colon\n\n\0"),
    ]
)


@dataclass(frozen=True)
class Part:
    """What a client says before the reactor turns.

    :ivar stomp: its bytes
    :ivar answered: whether the source takes, behind it, what was published
    """

    stomp: bytes
    answered: bool


@st.composite
def _frames(draw: st.DrawFn) -> bytes:
    command = draw(st.sampled_from(["SEND", "SEND", "SEND", "BEGIN", "COMMIT", "SUBSCRIBE", "UNSUBSCRIBE"]))
    body = draw(_bodies) if command == "SEND" else b""
    name = draw(st.sampled_from("ab"))
    lines = {
        "SEND": [f"destination:{QUEUE}", *draw(st.sampled_from([[], [], [f"transaction:{name}"]]))],
        "SUBSCRIBE": [f"destination:{QUEUE}", f"id:{name}"],
        "UNSUBSCRIBE": [f"id:{name}"],
    }.get(command, [f"transaction:{name}"])
    lines = [*lines, f"receipt:{draw(_receipts)}", *draw(_headers)]
    head = "\n".join([command, *lines, "", ""]).replace("{}", str(len(body)))
    head = draw(st.sampled_from([head, head, head.replace("\n", "\r\n")]))
    return head.encode() + body + b"\0" + draw(_ends).encode()


_parts = st.lists(
    st.builds(Part, st.lists(st.one_of(*[_frames()] * 12, _bad), max_size=8).map(b"".join), st.booleans()), max_size=4
)


def framed(stomp: bytes, random: Random, offered: bool) -> list[bytes]:
    """Return packets that carry these bytes, cut and framed at random, with pings between."""
    wire = b""
    for piece in _cut(stomp, random, random.choice((1, 3, 30, 1000))):
        rsv, payload = 0, piece
        if offered and random.random() < 0.3:
            rsv, payload = RSV1, deflated(piece)
        opcode = TEXT if _is_text(piece) and random.random() < 0.8 else BINARY
        fragments = list(_cut(payload, random, random.choice((0, 0, 0, 2))))
        for number, fragment in enumerate(fragments):
            if random.random() < 0.1:
                wire += websocket_frame(PING, fragment[:125])
            fin = number == len(fragments) - 1
            wire += websocket_frame(CONTINUATION if number else opcode, fragment, fin=fin, rsv=0 if number else rsv)
    return list(_cut(wire, random, random.choice((0, 3, 100))))


def one_by_one(stomp: bytes) -> list[bytes]:
    """Return packets that carry these bytes in one message, which no short way takes."""
    bytewise = [websocket_frame(CONTINUATION, stomp[at : at + 1], fin=False) for at in range(len(stomp))]
    return [websocket_frame(BINARY, fin=False), *bytewise, websocket_frame(CONTINUATION)]


def _cut(data: bytes, random: Random, most: int) -> Iterator[bytes]:
    places = sorted(random.randrange(len(data) + 1) for _ in range(random.randint(0, most)))
    for start, end in pairwise([0, *places, len(data)]):
        yield data[start:end]


def _is_text(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


def messages(wire: bytes) -> list[tuple[int, bytes]]:
    """Return the opcode and the payload, inflated, of the frames that came; without pongs, and a session's id."""
    found: list[tuple[int, bytes]] = []
    inflating = Inflating()
    frames = list(whole_frames(wire))
    assert (frames[-1][2] if frames else 0) == len(wire)
    for first, payload, _ in frames:
        opcode, rsv = first & 15, first >> 4 & 7
        if opcode != PONG:
            text = inflating.message(rsv, payload) if opcode == TEXT else payload
            found.append((opcode, _SESSION.sub(b"", text)))
    return found


class FramingTests(WebSocketTestCase):
    """One client that frames at random, and one whose bytes come one by one, each a fragment of its own."""

    def talk(self, parts: Sequence[Part], offered: bool, random: Random | None) -> list[object]:
        """Return what the client gets, what another one gets who only listens, and what is counted.

        :param random: None: byte by byte
        """
        self.setUp()
        self.feed.publishes.holding = True
        listener = self.connected_peer(QUEUE)
        _, _, _, peer = self.ask(request(Sec_WebSocket_Extensions="permessage-deflate" if offered else None))
        for part in (Part(frame("CONNECT", accept_version="1.2"), True), *parts):
            for packet in one_by_one(part.stomp) if random is None else framed(part.stomp, random, offered):
                peer.say(packet)
            self.loop.turn()
            while part.answered and len(self.feed.publishes):
                self.feed.publishes.answer()
            self.loop.turn()
        counted = self.metrics.errors, self.metrics.published, self.metrics.payloads_refused, self.metrics.subscriptions
        return [messages(peer.got()), messages(listener.got()), self.feed.taken, *counted]

    @settings(max_examples=50)
    @given(_parts, st.booleans(), st.integers(0, 1 << 32))
    def test_any(self, parts: list[Part], offered: bool, seed: int) -> None:
        self.assertEqual(self.talk(parts, offered, Random(seed)), self.talk(parts, offered, None))

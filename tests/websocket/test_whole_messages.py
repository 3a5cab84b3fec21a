"""Messages that are here as a whole are read past Autobahn: whatever comes, the client gets the same answers."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st

from airyd.websocket import connection
from airyd.websocket.frames import whole_messages
from tests.doubles import frame
from tests.inflating import RSV1, deflated
from tests.integration.wire import BINARY, CONTINUATION, PING, TEXT, websocket_frame
from tests.loop import Peer
from tests.stomp.wire import cut, cuts
from tests.websocket.case import WebSocketTestCase, close_frame, request
from tests.websocket.test_rfc6455 import HELLO, VIOLATIONS

OFFERS = (None, "permessage-deflate")

#: Payloads that are answered, one by one and in their order, so that what is lost, doubled or moved is seen.
_payloads = st.one_of(
    st.integers(1, 99).map(lambda number: frame("BEGIN", transaction="t", receipt=f"r{number}")),
    st.integers(1, 99).map(lambda number: frame("ABORT", transaction="t", receipt=f"ä{number}")),
    st.sampled_from([0, 3, 69, 70, 200]).map(lambda size: frame("BEGIN", transaction="t", receipt="x" * size)),
    st.sampled_from([b"", b"\n", b"BEGIN\ntransact", b"ion:t\nreceipt:cut\n\n\0", b"\xff", b"\xc3", b"\xed\xa0\x80"]),
    st.sampled_from([frame("DISCONNECT", receipt="bye"), b"HELLO\n\n\0"]),
)
_keys = st.sampled_from([b"\1\2\3\4", b"\0\0\0\0", b"\xff\x80\x7f\1"])


def _wires(payload: bytes, key: bytes) -> st.SearchStrategy[bytes]:
    """Return frames that carry a payload, most of them whole messages."""
    whole = [websocket_frame(TEXT, payload, key=key)] * 4 + [websocket_frame(BINARY, payload, key=key)]
    others = [
        websocket_frame(TEXT, payload[:5], fin=False, key=key) + websocket_frame(CONTINUATION, payload[5:], key=key),
        websocket_frame(TEXT, payload[:5], fin=False, key=key),
        websocket_frame(TEXT, deflated(payload), rsv=RSV1, key=key),
        websocket_frame(PING, payload[:100], key=key),
        websocket_frame(TEXT, payload, masked=False),
        bytes((0x81, 0xFE)) + len(payload).to_bytes(2, "big") + websocket_frame(TEXT, payload, key=key)[2:],
    ]
    return st.sampled_from(whole + others)


_faults = st.sampled_from([wire for _, wire, code in VIOLATIONS if code != 1009] + [close_frame(1000)])
_frames = st.one_of(*[st.tuples(_payloads, _keys).flatmap(lambda drawn: _wires(*drawn))] * 4, _faults)
_streams = st.lists(_frames, max_size=10).map(b"".join)
_changes = st.lists(st.tuples(st.integers(0, 9999), st.binary(max_size=2)), max_size=2)


class SameAnswersTests(WebSocketTestCase):
    """With the short way and without it."""

    def connect(self, offer: str | None) -> Peer:
        """Return a connection with a session."""
        _, _, _, peer = self.ask(request(Sec_WebSocket_Extensions=offer))
        peer.say(websocket_frame(TEXT, HELLO))
        peer.got()
        return peer

    def answers(self, offer: str | None, chunks: Sequence[bytes]) -> tuple[bytes, bool, bool]:
        """Return what a client gets for these bytes, whether its connection is closed, and whether it is read."""
        peer = self.connect(offer)
        for chunk in chunks:
            peer.say(chunk)
            self.loop.turn()
        found = peer.got(), peer.socket.closed, peer.is_read
        if not peer.socket.closed:
            peer.lose()
        return found

    @given(st.sampled_from(OFFERS), _streams, _changes, cuts)
    @example(None, websocket_frame(TEXT, b"\n\xff", key=b"abcd"), [], [])
    @example(None, websocket_frame(PING, websocket_frame(TEXT, b"HELLO\n\n\0"), key=bytes(4)), [], [6])
    def test_any_bytes(self, offer: str | None, stream: bytes, changes: list[tuple[int, bytes]], at: list[int]) -> None:
        """Those of clients, with and without changes, cut anywhere."""
        for place, piece in changes:
            place %= len(stream) + 1
            stream = stream[:place] + piece + stream[place + 1 :]
        chunks = cut(stream, at)
        short = self.answers(offer, chunks)
        with patch.object(connection, "whole_messages", lambda data: ([], 0)):
            self.assertEqual(self.answers(offer, chunks), short)

    def test_it_is_taken(self) -> None:
        """Many messages of one read, with a ping between and the beginning of another behind, go on in two pieces."""
        taken: list[tuple[list[bytes], int]] = []

        def watched(data: bytes) -> tuple[list[bytes], int]:
            taken.append(whole_messages(data))
            return taken[-1]

        messages = websocket_frame(TEXT, b"\n") * 9
        peer = self.connect(None)
        with patch.object(connection, "whole_messages", watched):
            peer.say(messages + websocket_frame(PING) + messages + websocket_frame(TEXT, b"\n\n")[:-1])
        self.assertEqual([len(found) for found, _ in taken if found], [9, 9])
        self.assertEqual(peer.got(), b"\x8a\x00")

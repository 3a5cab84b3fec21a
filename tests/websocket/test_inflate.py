"""Compressed messages from clients (RFC 7692) are read and limited like uncompressed ones."""

from __future__ import annotations

import zlib
from typing import Any

from airyd.errors import Fault
from airyd.events import MESSAGE
from airyd.limits import MOST_UNDER_WAY, WEBSOCKET_MESSAGE
from airyd.websocket.transport import READ_BYTES
from tests.doubles import EVENT, frame, stomp_frames, websocket_frames
from tests.inflating import FLUSH_END, RSV1, deflated
from tests.integration.wire import CONTINUATION, PING, PONG, TEXT, websocket_frame
from tests.loop import Loop, Peer
from tests.websocket.case import CONNECT, WebSocketTestCase, close_frame, request, text

HELLO = frame("CONNECT", accept_version="1.2")
BYE = frame("DISCONNECT", receipt="bye")
SEND = frame("SEND", EVENT, destination=MESSAGE)


def compressed(payload: bytes) -> bytes:
    """Return a client's whole text message, compressed."""
    return websocket_frame(TEXT, deflated(payload), rsv=RSV1)


def fragments(payload: bytes) -> bytes:
    """Return a compressed message of a byte in each frame; only the first says that it is compressed."""
    first, *others = (bytes([byte]) for byte in payload)
    wire = websocket_frame(TEXT, first, rsv=RSV1, fin=False)
    for byte in others:
        wire += websocket_frame(CONTINUATION, byte, fin=False)
    return wire + websocket_frame(CONTINUATION, b"")


def finished(payload: bytes) -> bytes:
    """Return a payload as a final block, or several blocks of which the last is final."""
    finisher = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return finisher.compress(payload) + finisher.flush(zlib.Z_FINISH)


class InflateTestCase(WebSocketTestCase):
    """Clients that offer compression."""

    def agreed(self) -> Peer:
        """Return a connection on which compression was agreed on."""
        status, headers, _, peer = self.ask(request(Sec_WebSocket_Extensions="permessage-deflate"))
        self.assertEqual(status, 101)
        self.assertEqual(headers["sec-websocket-extensions"], "permessage-deflate; client_no_context_takeover")
        return peer

    def session(self) -> Peer:
        """Return such a connection with a STOMP session."""
        peer = self.agreed()
        peer.say(compressed(HELLO))
        self.assertEqual([sent.command for sent in stomp_frames(peer.got())], ["CONNECTED"])
        return peer

    def make_clock(self) -> Loop:
        """Return a clock that counts what is put off to another turn: as ``put_off``."""
        loop = super().make_clock()
        self.put_off = 0
        call_later = loop.callLater

        def counting(delay: float, *arguments: Any) -> Any:
            self.put_off += not delay
            return call_later(delay, *arguments)

        self.patch(loop, "callLater", counting)
        return loop

    def turns_until_read(self, peer: Peer) -> int:
        """Let turns pass until the server reads from this client again, or never; return how many it took."""
        before = self.put_off - (not peer.is_read)  # the first one is put off already
        for _ in range(5):  # one of these makes all calls that are put off, also those that are put off meanwhile
            if not peer.is_read:
                self.loop.turn()
        return self.put_off - before


class MessageTests(InflateTestCase):
    """Valid messages are accepted."""

    def test_message(self) -> None:
        peer = self.session()
        peer.say(compressed(SEND) + text(SEND) + compressed(SEND))
        self.assertEqual(self.feed.taken, [(MESSAGE, EVENT)] * 3)

    def test_single_bytes(self) -> None:
        peer = self.agreed()
        for byte in compressed(HELLO) + fragments(deflated(SEND)) + compressed(BYE):
            peer.say(bytes([byte]))
        self.assertEqual([sent.command for sent in self.stomp(peer)], ["CONNECTED", "RECEIPT"])
        self.assertEqual(self.feed.taken, [(MESSAGE, EVENT)])

    def test_fragments_in_one_chunk(self) -> None:
        peer = self.session()
        peer.say(fragments(deflated(SEND)) + compressed(SEND))
        self.assertEqual(self.feed.taken, [(MESSAGE, EVENT)] * 2)

    def test_ping_between_fragments(self) -> None:
        peer = self.session()
        data = deflated(SEND)
        peer.say(websocket_frame(TEXT, data[:10], rsv=RSV1, fin=False) + websocket_frame(PING, b"between"))
        self.assertEqual(websocket_frames(peer.got()), [(PONG, b"between")])
        peer.say(websocket_frame(CONTINUATION, data[10:]))
        self.assertEqual(self.feed.taken, [(MESSAGE, EVENT)])

    def test_blocks_of_all_kinds(self) -> None:
        """RFC 7692, section 7.2.3: several blocks, stored ones, a final one, an empty message."""
        deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        several = deflater.compress(SEND[:30]) + deflater.flush(zlib.Z_FULL_FLUSH)
        several += deflater.compress(SEND[30:]) + deflater.flush(zlib.Z_SYNC_FLUSH)
        final = finished(SEND) + b"\x00"
        peer = self.session()
        for payload in (several.removesuffix(FLUSH_END), deflated(SEND, level=0), final):
            peer.say(websocket_frame(TEXT, payload, rsv=RSV1))
        peer.say(websocket_frame(TEXT, b"\x00", rsv=RSV1) + fragments(final))
        self.assertEqual(self.feed.taken, [(MESSAGE, EVENT)] * 4)

    def test_blocks_behind_a_final_one(self) -> None:
        """RFC 7692, section 7.2.1: final blocks may stand anywhere, and the next block follows."""
        for pieces, end in (
            ([SEND, SEND], b"\x00"),
            ([SEND[:7], SEND[7:], b"", b"", SEND], b"\x00"),
            ([SEND, b""], b""),
            ([SEND[:30]], deflated(SEND[30:])),
            ([SEND[:30]], deflated(SEND[30:], level=0)),
        ):
            payload = b"".join(map(finished, pieces)) + end
            for wire in (websocket_frame(TEXT, payload, rsv=RSV1), fragments(payload)):
                peer = self.session()
                before = len(self.feed.taken)
                peer.say(wire + compressed(BYE))
                self.assertEqual(self.closed(peer), (["RECEIPT"], 1000))
                self.assertEqual(self.feed.taken[before:], [(MESSAGE, EVENT)] * (b"".join(pieces).count(b"SEND") or 1))

    def test_large(self) -> None:
        """A body of the largest size takes as many turns as its bytes would need reads uncompressed."""
        body = EVENT.removesuffix(b"}") + b',"text":"' + b"0123456789" * 20_000 + b'"}'
        peer = self.session()
        peer.say(compressed(frame("SEND", body, destination=MESSAGE)) + compressed(BYE))
        self.assertFalse(peer.is_read)
        self.assertEqual(self.turns_until_read(peer), len(body) // READ_BYTES)
        self.assertEqual(self.feed.taken, [(MESSAGE, body)])
        self.assertEqual([sent.command for sent in self.stomp(peer)], ["RECEIPT"])

    def test_in_small_fragments(self) -> None:
        """A turn may end where zlib has consumed all input, and still has output."""
        peer = self.session()
        peer.say(fragments(deflated(b"\n" * (10 * READ_BYTES + 1) + SEND)))
        self.assertEqual(self.turns_until_read(peer), 10)
        self.assertEqual(self.feed.taken, [(MESSAGE, EVENT)])

    def test_many_small_ones(self) -> None:
        """The budget of a turn applies to all messages of a read together."""
        peer = self.session()
        size = 4 * READ_BYTES // 5
        peer.say(compressed(b"\n" * size) * 10)
        self.assertEqual(self.turns_until_read(peer), 7)

    def test_heart_beats(self) -> None:
        peer = self.session()
        peer.say(compressed(b"\n") * 3)
        self.assertTrue(peer.is_read)
        self.assertEqual(peer.got(), b"")


class ViolationTests(InflateTestCase):
    """Each ends the connection with its close code."""

    def test_each(self) -> None:
        shared = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        shared.compress(SEND)
        shared.flush(zlib.Z_SYNC_FLUSH)
        second = (shared.compress(SEND) + shared.flush(zlib.Z_SYNC_FLUSH)).removesuffix(FLUSH_END)
        final = finished(b"\n" * 500)
        stored = deflated(b"\n" * 9, level=0)
        for name, wire, wanted in (
            ("RSV1 on a control frame", websocket_frame(PING, b"\x00", rsv=RSV1), 1002),
            ("RSV2", websocket_frame(TEXT, b"\x00", rsv=2), 1002),
            ("RSV1 and RSV3", websocket_frame(TEXT, b"\x00", rsv=RSV1 | 1), 1002),
            (
                "RSV1 on a continuation",
                websocket_frame(TEXT, b"", rsv=RSV1, fin=False) + websocket_frame(CONTINUATION, b"\x00", rsv=RSV1),
                1002,
            ),
            ("not deflated", websocket_frame(TEXT, b"\xff\xff\xff", rsv=RSV1), 1007),
            ("refers to the last message", compressed(b"\n" * 100) + websocket_frame(TEXT, second, rsv=RSV1), 1007),
            ("cut off", websocket_frame(TEXT, deflated(b"\n" * 9, level=0)[:-3], rsv=RSV1), 1007),
            ("not deflated after a final block", websocket_frame(TEXT, final + b"\xff\xff", rsv=RSV1), 1007),
            ("refers to what is before a final block", websocket_frame(TEXT, final + second, rsv=RSV1), 1007),
            ("cut off after a final block", websocket_frame(TEXT, final + stored[:-3], rsv=RSV1), 1007),
            ("broken UTF-8", compressed(b"\n\xff\n"), 1007),
            ("UTF-8 cut off", compressed(b"\n\xc3"), 1007),
        ):
            peer = self.session()
            peer.say(wire + compressed(SEND))
            peer.say(compressed(SEND))
            self.assertEqual(self.closed(peer), ([], wanted), name)
            peer.say(close_frame(wanted))
            self.loop.turn()
            self.assertTrue(peer.socket.closed, name)
        self.assertEqual(self.feed.taken, [])

    def test_not_agreed(self) -> None:
        peer = self.opened()
        peer.say(compressed(HELLO))
        self.assertEqual(self.closed(peer), ([], 1002))


class BombTests(InflateTestCase):
    """A few bytes that would inflate to very many."""

    def test_too_big_a_message(self) -> None:
        """The limit applies to the inflated size, beyond which nothing is inflated; the close frame is read."""
        peer = self.session()
        bomb = compressed(b"\n" * (3 * WEBSOCKET_MESSAGE))
        for start in range(0, len(bomb), READ_BYTES):
            peer.say(bomb[start : start + READ_BYTES])
            self.turns_until_read(peer)
        self.assertEqual(self.closed(peer), ([], 1009))
        self.loop.turn()
        self.assertTrue(peer.is_read)
        peer.say(close_frame(1009))
        self.loop.turn()
        self.assertTrue(peer.socket.closed)

    def test_as_big_as_may_be(self) -> None:
        peer = self.session()
        for half in (b"\n" * (WEBSOCKET_MESSAGE // 2),) * 2:
            peer.say(websocket_frame(TEXT, b"", rsv=RSV1, fin=False))
            peer.say(websocket_frame(CONTINUATION, deflated(half)))
            self.turns_until_read(peer)
        peer.say(compressed(BYE))
        self.assertEqual(self.closed(peer), (["RECEIPT"], 1000))

    def test_empty_final_blocks(self) -> None:
        """Empty final blocks have no output but cost time: a read of them takes many turns, and the next read waits."""
        peer = self.session()
        blocks = finished(b"") * (READ_BYTES // 2)
        self.assertEqual(len(blocks), READ_BYTES)
        peer.say(websocket_frame(TEXT, blocks, rsv=RSV1, fin=False))
        self.assertFalse(peer.is_read)
        self.assertEqual(self.turns_until_read(peer), READ_BYTES // 2 * 64 // READ_BYTES)
        peer.say(websocket_frame(CONTINUATION, deflated(SEND)))
        self.assertEqual(self.feed.taken, [(MESSAGE, EVENT)])

    def test_final_blocks_that_become_too_much(self) -> None:
        """The limit of a message applies to all its blocks together."""
        peer = self.session()
        bomb = websocket_frame(TEXT, finished(b"\n" * (WEBSOCKET_MESSAGE // 2)) * 3, rsv=RSV1)
        for start in range(0, len(bomb), READ_BYTES):
            peer.say(bomb[start : start + READ_BYTES])
            self.turns_until_read(peer)
        self.assertEqual(self.closed(peer), ([], 1009))

    def test_too_big_a_frame(self) -> None:
        """STOMP's limits apply while a message is inflated."""
        peer = self.session()
        peer.say(compressed(frame("SEND", b"x" * (8 * self.limits.frame), destination=MESSAGE)) + close_frame(1000))
        self.assertLess(self.turns_until_read(peer), 2 * self.limits.frame / READ_BYTES)
        sent = self.stomp(peer)
        self.assertEqual([error.headers["message"] for error in sent], [Fault.FRAME_TOO_BIG.message])
        self.loop.turn()
        self.assertTrue(peer.socket.closed)

    def test_requests_wait(self) -> None:
        """While a client is paused because the source doesn't answer, inflating pauses, too."""
        self.feed.publishes.holding = True
        peer = self.session()
        peer.say(compressed(SEND * 2000))
        for _ in range(100):
            self.loop.turn()
        waiting = len(self.feed.publishes)
        self.assertLess(waiting, MOST_UNDER_WAY + READ_BYTES / len(SEND) + 1)
        self.assertFalse(peer.is_read)
        self.feed.publishes.holding = False
        while self.feed.publishes:
            self.feed.publishes.answer()
        self.turns_until_read(peer)
        self.assertEqual(len(self.feed.taken), 2000)

    def test_requests_wait_at_the_end(self) -> None:
        """Bytes after the message aren't read either."""
        self.feed.publishes.holding = True
        peer = self.session()
        peer.say(compressed(SEND * (MOST_UNDER_WAY + 1)) + compressed(SEND))
        for _ in range(5):
            self.loop.turn()
        self.assertFalse(peer.is_read)
        while self.feed.publishes:
            self.feed.publishes.answer()
        self.assertTrue(peer.is_read)
        self.assertEqual(len(self.feed.taken), MOST_UNDER_WAY + 2)

    def test_paused_meanwhile(self) -> None:
        """Repeated pausing does not increase the output of a turn."""
        peer = self.session()
        peer.say(compressed(b"\n" * (10 * READ_BYTES + 1)))
        (channel,) = self.factory.channels.values()
        before = self.put_off
        for _ in range(5):
            channel.pause()
            channel.resume()
        self.assertEqual(self.put_off, before)
        self.assertEqual(self.turns_until_read(peer), 10)

    def test_lost_meanwhile(self) -> None:
        for reason in ("lost", "closed"):
            peer = self.session()
            peer.say(compressed(b"\n" * 100_000))
            if reason == "lost":
                peer.lose()
            else:
                for channel in tuple(self.factory.channels.values()):
                    channel.close(Fault.RESTARTING)
                self.loop.turn()
                self.assertTrue(peer.is_read)
                peer.say(close_frame(1012))
            self.loop.turn()
            self.assertTrue(peer.socket.closed, reason)

    def test_more_came_meanwhile(self) -> None:
        """Bytes that TLS delivers after reading was paused are handled later, in order."""
        peer = self.session()
        data = deflated(b"\n" * 20_000 + SEND)
        peer.say(websocket_frame(TEXT, data, rsv=RSV1) + CONNECT[:5])
        for byte in CONNECT[5:]:
            peer.transport.protocol.dataReceived(bytes([byte]))
        self.assertEqual(self.feed.taken, [])
        self.turns_until_read(peer)
        self.assertEqual(self.feed.taken, [(MESSAGE, EVENT)])
        self.assertEqual([sent.command for sent in self.stomp(peer)], ["ERROR"])  # for the second CONNECT

"""permessage-deflate (RFC 7692) with real clients and with an attacker."""

from __future__ import annotations

import zlib

from airyd.limits import WEBSOCKET_MESSAGE
from airyd.websocket.deflate import FEWEST_RECEIVERS
from tests.inflating import RSV1, Inflating, deflated
from tests.integration.case import DaemonTestCase
from tests.integration.chromium import Chromium
from tests.integration.node import NodeClient, body_of
from tests.integration.payloads import DIFFICULT_TEXT, MESSAGE, body
from tests.integration.raw import RawClient
from tests.integration.wire import TEXT, decode, encode, websocket_frame

#: The extension as browsers and node's ``ws`` offer it.
OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
#: The events of a batch; several batches are published.
BATCHES = (
    [body(MESSAGE, number, f"message {number} of a batch") for number in range(6)],
    [body(MESSAGE, 6, DIFFICULT_TEXT)],
    [body(MESSAGE, number, DIFFICULT_TEXT * number) for number in range(7, 12)],
    [body(MESSAGE, 12, "é🎉x" * 20_000), body(MESSAGE, 13, "short"), body(MESSAGE, 14, "abc" * 50_000)],
    [body(MESSAGE, number, "the last ones") for number in range(15, 20)],
)
BODIES = [each for batch in BATCHES for each in batch]


class ClientTests(DaemonTestCase):
    """Real clients that get the same bytes as many others."""

    options = ("--auth=anonymous:send", "--origin=*")

    def crowd(self) -> RawClient:
        """Subscribe enough clients to share compressed messages, like stompjs; return one of them."""
        for _ in range(FEWEST_RECEIVERS):
            member = self.open(headers=OFFER)
            member.connect()
            member.subscribe(MESSAGE, "sub-0")
        return member

    def publish(self) -> None:
        """Publish the batches, each in one turn of the reactor."""
        publisher = self.connect()
        for number, batch in enumerate(BATCHES):
            frames = [encode("SEND", {"destination": MESSAGE, "receipt": f"{number}"}, each) for each in batch]
            publisher.send_bytes(b"".join(websocket_frame(TEXT, frame) for frame in frames))
            for _ in frames:
                publisher.receipt(f"{number}")

    def check(self, member: RawClient) -> None:
        """Check that a client got all messages compressed, and that later ones of a batch refer to earlier ones."""
        inflating = Inflating()
        sizes = []
        for wanted in BODIES:
            frame = member.frame()
            message = decode(inflating.message(frame.rsv, frame.payload), frame.opcode, "1.2")
            self.assertEqual(message.body, wanted)
            sizes.append(len(frame.payload))
        self.assertEqual(inflating.compressed, len(BODIES))
        self.assertLess(sizes[1], sizes[0] / 2)

    def test_stompjs_in_node(self) -> None:
        member = self.crowd()
        clients = [
            NodeClient("airy.mjs", url=self.daemon.url, destinations=[MESSAGE], stompjs=version)
            for version in ("5", "6", "7")
        ]
        for client in clients:
            self.addCleanup(client.close)
            client.wait("receipt")
            (opened,) = client.told("open")
            self.assertEqual(opened["extensions"], "permessage-deflate")
        self.publish()
        for client in clients:
            self.assertEqual([body_of(message) for message in client.wait_all("message", len(BODIES))], BODIES)
            client.tell("disconnect")
            self.assertEqual(client.wait("closed")["code"], 1000)
            self.assertEqual(client.told("trouble"), [])
        self.check(member)

    def test_chromium(self) -> None:
        member = self.crowd()
        browser = Chromium(self.daemon.url, MESSAGE)
        self.addCleanup(browser.close)
        opened = browser.wait("open")
        agreed = "permessage-deflate; client_no_context_takeover"
        self.assertEqual((opened["extensions"], opened["protocol"]), (agreed, "v12.stomp"))
        browser.wait("live")
        self.publish()
        for wanted in BODIES:
            message = browser.wait("message")
            self.assertEqual(message["body"].encode(), wanted)
            self.assertEqual(message["headers"]["subscription"], "sub-0")
        self.check(member)


class FinalBlockTests(DaemonTestCase):
    """DEFLATE blocks with BFINAL set (RFC 7692, section 7.2.1)."""

    def test_the_next_block_follows(self) -> None:
        client = self.open(headers=OFFER)
        client.connect()
        frames = [encode("BEGIN", {"transaction": "t", "receipt": "b"}), encode("ABORT", {"transaction": "t"})]
        finishers = [zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS) for _ in frames]
        blocks = [each.compress(frame) + each.flush() for each, frame in zip(finishers, frames, strict=True)]
        client.send_bytes(websocket_frame(TEXT, b"".join(blocks) + b"\x00", rsv=RSV1))
        client.receipt("b")
        client.disconnect()


class BombTests(DaemonTestCase):
    """Few bytes that would inflate to very many."""

    def test_bomb(self) -> None:
        """Ten bombs at a time get 1009; other clients notice nothing (``bench.check`` limits the memory)."""
        witness = self.connect()
        bomb = websocket_frame(TEXT, deflated(b"\n" * (4 * WEBSOCKET_MESSAGE), level=9), rsv=RSV1)
        self.assertLess(len(bomb), 100_000)
        clients = [self.open(headers=OFFER) for _ in range(10)]
        for client in clients:
            client.connect()
        for client in clients:
            client.send_bytes(bomb)
        witness.subscribe(MESSAGE, "0")
        for client in clients:
            self.assertEqual(client.close_code(), 1009)
        witness.disconnect()

"""What a connection does in place of Autobahn, with the same results."""

from __future__ import annotations

import random
import socket
from typing import Any, cast

from autobahn.twisted.util import peer2str
from autobahn.websocket.utf8validator import Utf8Validator as AutobahnsValidator
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from airyd.websocket.connection import WebSocketConnection
from airyd.websocket.transport import DirectServer
from airyd.websocket.utf8_validator import Utf8Validator

#: Bytes at every border of UTF-8 (RFC 3629, section 4): what may begin, follow or be neither.
BORDERS = b"\0Aa\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff"


class Utf8Tests(SynchronousTestCase):
    """The UTF-8 validator agrees with Autobahn's."""

    def check(self, pieces: list[bytes]) -> None:
        """Check that both return the same for each piece, up to the first invalid one."""
        ours, theirs = Utf8Validator(), AutobahnsValidator()
        for number, piece in enumerate(pieces):
            said, wanted = ours.validate(piece), theirs.validate(piece)
            self.assertEqual(said[0], wanted[0], pieces[: number + 1])
            if not said[0]:
                return
            self.assertEqual(said[1], wanted[1], pieces[: number + 1])

    def test_borders(self) -> None:
        """An invalid byte is found at once: all pairs and thousands of fours, in one piece and byte by byte."""
        choice = random.Random(1)
        texts = [bytes((a, b)) for a in BORDERS for b in BORDERS]
        texts += [bytes(choice.choices(BORDERS, k=4)) for _ in range(20_000)]
        for text in texts:
            self.check([text])
            self.check([text[place : place + 1] for place in range(len(text))])

    @given(st.lists(st.text(max_size=20).map(str.encode)), st.integers(1, 5))
    def test_texts(self, texts: list[bytes], size: int) -> None:
        wire = b"".join(texts)
        self.check([wire[start : start + size] for start in range(0, len(wire), size)])

    def test_reset(self) -> None:
        """A new message keeps nothing of the old one, after a fault or in the middle of a character."""
        validator = Utf8Validator()
        self.assertEqual(validator.validate(b"ab\xc3"), (True, False, 2, 2))
        self.assertEqual(validator.validate(b"("), (False, False, 2, 2))
        validator.reset()
        self.assertEqual(validator.validate("ä".encode()), (True, True, 2, 2))


class PeerTests(SynchronousTestCase):
    """The peer's address, in Autobahn's form."""

    def test_tcp(self) -> None:
        for host, name in (("127.0.0.1", "tcp4:127.0.0.1"), ("::1", "tcp6:::1")):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.create_server((host, 0), family=family) as server:
                client = socket.create_connection(server.getsockname()[:2])
                self.addCleanup(client.close)
                accepted, address = server.accept()
            protocol = WebSocketConnection()
            cast(Any, protocol)._forwarded = None  # as no proxy has passed on another address
            loop = cast(Any, MemoryReactor())
            protocol.transport = DirectServer(accepted, cast(Any, protocol), address, cast(Any, None), 1, loop)
            self.addCleanup(accepted.close)
            self.assertEqual(protocol.peer, f"{name}:{client.getsockname()[1]}")
            self.assertEqual(protocol.peer, peer2str(protocol.transport))

"""Responses of a server to the opening handshake, and the reasons shown for them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.cli.connection import OpeningAnswer

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 21\r\n\r\n"


class OpeningAnswerTests(SynchronousTestCase):
    """Responses by their bytes."""

    def answer(self, *pieces: bytes) -> OpeningAnswer:
        answer = OpeningAnswer("wss://")
        for piece in pieces:
            answer.receive(piece)
        return answer

    def test_websocket(self) -> None:
        """What follows the head belongs to the WebSocket."""
        data = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x01x"
        for cut in range(1, len(data)):
            answer = self.answer(data[:cut], data[cut:])
            self.assertEqual((answer.refusal, answer.is_complete, answer.data), (None, True, data), cut)

    def test_refusals(self) -> None:
        for answer, said, permanent in [
            (NOT_FOUND + b"Connect to /ws.other.\n", "404 Not Found: Connect to /ws.other", True),
            (b"HTTP/1.1 404 Not Found\r\n\r\n<html><title>Nothing\nhere</title>", "404 Not Found: Nothing here", True),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n<html>", "400 Bad Request", True),
            (b'HTTP/1.0 403 Forbidden\r\n\r\n{"error": "no"}\n', "403 Forbidden: no", True),
            (b"HTTP/1.1 400\r\n\r\nfirst\r\nsecond", "400: first", True),
            (b"HTTP/1.1 400 No\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nwrong\r\n0\r\n\r\n", "400 No: wrong", True),
            (b"HTTP/1.1 301 Moved\r\nLOCATION: wss://h/x\r\n\r\n", "301 Moved: it redirects to wss://h/x", True),
            (b"HTTP/1.1 200 OK\r\n\r\nWelcome", "200 OK: Welcome", True),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\nsoon", "503 Service Unavailable: soon", False),
            (b"HTTP/1.1 429 Too Many Requests\r\n\r\n", "429 Too Many Requests", False),
            (b"HTTP/1.1 404 N\xf8\r\n\r\n\xff\xfe", "404 N\xf8: \ufffd\ufffd", True),
            (b"HTTP/1.1 404 No\r\n\r\n" + b"x" * 9999, "404 No: " + "x" * 300, True),
        ]:
            for pieces in ([answer], [answer[n : n + 1] for n in range(len(answer))]):
                found = self.answer(*pieces)
                self.assertEqual(found.refusal, f"the server opens no WebSocket: {said}")
                self.assertEqual(found.is_permanent, permanent)

    def test_the_whole_body(self) -> None:
        """The body is read up to its length if that is known, and at most up to the limit."""
        self.assertFalse(self.answer(NOT_FOUND).is_complete)
        self.assertFalse(self.answer(NOT_FOUND, b"x" * 20).is_complete)
        self.assertTrue(self.answer(NOT_FOUND, b"x" * 21).is_complete)
        self.assertTrue(self.answer(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").is_complete)
        for length in ("9" * 5000, "9" * 12, "-5", "x"):
            answer = self.answer(f"HTTP/1.1 404 No\r\nContent-Length: {length}\r\n\r\n".encode())
            self.assertFalse(answer.is_complete)
            answer.receive(b"x" * 4096)
            self.assertTrue(answer.is_complete)

    def test_not_http(self) -> None:
        for data, said in [
            (b"SSH-2.0-x \x1b[2J\r\nmore", r"it says 'SSH-2.0-x \x1b[2J'"),
            (b"-ERR wrong\r\n", "it says '-ERR wrong'"),
            (b"HTTP/2 x", "it says 'HTTP/2 x'"),
            (b"HTTP/1.1 abc\r\n\r\n", "it says 'HTTP/1.1 abc'"),
            (b"\n", "it says ''"),
        ]:
            answer = self.answer(data)
            self.assertEqual(answer.refusal, f"the server does not speak HTTP on this port: {said}")
            self.assertTrue(answer.is_complete and answer.is_permanent)

    def test_tls(self) -> None:
        answer = self.answer(b"\x15\x03\x01\x00\x02\x02\x46")
        self.assertEqual(answer.refusal, "the server speaks TLS on this port: use wss://")

    def test_endless_head(self) -> None:
        answer = self.answer(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 12_000)
        self.assertTrue(answer.is_complete)
        self.assertIsNotNone(answer.refusal)

    def test_websocket_that_is_no_text(self) -> None:
        self.assertIn("not UTF-8", self.answer(b"HTTP/1.1 101 \xff\r\n\r\n").refusal or "")

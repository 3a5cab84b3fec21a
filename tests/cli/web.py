"""A web server on loopback that does what a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, bytes]


class Web:
    """Answers every request as the test says, and keeps it.

    :ivar answers: the answers to some methods and paths without their queries, such as ``GET /api/v1/overview``
    :ivar requests: the methods and paths of all requests, with their queries
    :ivar answer: gives to all others the status and body for an event's body; None: no answer, and the connection ends
        once :attr:`over` is set
    :ivar keeps_open: whether a connection stays open after an answer
    :ivar refusal: sent in place of an answer, as soon as a request's head is there
    :ivar connections: how many were made
    """

    def __init__(self) -> None:
        self.answer: Callable[[bytes], Answer | None] = lambda body: (200, b'{"id": "ab-%d"}' % len(self.bodies))
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []
        self.bodies: list[bytes] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.keeps_open = True
        self.refusal = b""
        self.connections = 0
        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Stop the server; all clients are gone."""
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(web) -> type[BaseHTTPRequestHandler]:  # two selves
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                web.connections += 1
                super().setup()

            def do_GET(self) -> None:
                self.do_POST()

            def do_DELETE(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                web.requests.append(f"{self.command} {self.path}")
                if web.refusal:
                    self.wfile.write(web.refusal)
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                web.bodies.append(body)
                web.paths.append(self.path)
                web.headers.append({name.lower(): value for name, value in self.headers.items()})
                answer = web.answers.get(f"{self.command} {self.path.partition('?')[0]}") or web.answer(body)
                if answer is None:
                    web.over.wait()
                    self.close_connection = True
                    return
                self.send_response(answer[0])
                self.send_header("Content-Length", str(len(answer[1])))
                self.end_headers()
                self.wfile.write(answer[1])
                self.close_connection = not web.keeps_open

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Handler

"""Keys for tokens that cannot be used or fetched."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

from cryptography.hazmat.primitives.asymmetric import ec

from airyd.doctor.findings import Level
from tests.auth.case import jwk
from tests.doctor.case import LocalCase
from tests.leaks import MARK


class KeyTests(LocalCase):
    """Each ``--auth``."""

    async def test_anonymous(self) -> None:
        report = await self.examine("--auth=anonymous")
        self.has(report, Level.OK, "token-keys", "--auth anonymous: needs no keys")

    async def test_secret(self) -> None:
        long, short = self.file("long", MARK * 8), self.file("short", MARK)
        self.all_well(await self.examine(f"--auth=jwt:secret-file={long}"), "token-keys")
        report = await self.examine(f"--auth=jwt:secret-file={short}")
        self.has(report, Level.FAILURE, "token-keys", "HS256 needs at least 32", "--help-auth")
        report = await self.examine("--auth=jwt:secret-env=AIRYD_TEST_NONE")
        self.has(report, Level.FAILURE, "token-keys", "AIRYD_TEST_NONE: the environment variable is not set", "--help")
        report = await self.examine("--auth=jwt:secret-env=S", environ={"S": MARK * 8})
        self.all_well(report, "token-keys")

    async def test_several(self) -> None:
        report = await self.examine("--auth=anonymous", f"--auth=jwt:secret-file={self.folder}/none")
        self.has(report, Level.OK, "token-keys", "--auth anonymous (1)")
        self.has(report, Level.FAILURE, "token-keys", "--auth jwt (2): ", "--help-auth")

    async def test_unknown(self) -> None:
        report = await self.examine("--auth=jtw:secret-file=x")
        self.has(report, Level.FAILURE, "token-keys", "did you mean jwt?", "--help-auth")

    async def test_set_in_a_file(self) -> None:
        """A JWK Set in a file, which the daemon would read again and again."""
        key = jwk(ec.generate_private_key(ec.SECP256R1()), "k1")
        good = self.file("good", json.dumps({"keys": [key]}))
        self.all_well(await self.examine(f"--auth=jwt:jwks={good}"), "token-keys")
        for content, reason in [("{}", "it is not a JWK Set"), ("x", "it is not JSON")]:
            bad = self.file("bad", content)
            report = await self.examine(f"--auth=jwt:jwks={bad}")
            self.has(report, Level.FAILURE, "token-keys", reason, "nobody can log in")
        report = await self.examine(f"--auth=jwt:jwks={self.folder}/none")
        self.has(report, Level.FAILURE, "token-keys", "there is no such file", "nobody can log in")

    async def test_set_of_a_server(self) -> None:
        """A JWK Set that a server gives, refuses, or does not give because nothing is there."""
        document = json.dumps({"keys": [jwk(ec.generate_private_key(ec.SECP256R1()), "k1")]}).encode()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(document) + document
        web = WebServer(answer)
        self.addCleanup(web.close)
        spec = f"--auth=jwt:jwks=http\\://127.0.0.1:{web.port}/keys"
        self.all_well(await self.examine(spec), "token-keys")
        web.answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        report = await self.examine(spec)
        self.has(report, Level.FAILURE, "token-keys", "the server answers with 404", "nobody can log in")
        web.close()
        report = await self.examine(spec)
        self.has(report, Level.FAILURE, "token-keys", "cannot connect: connection refused", "nobody can log in")

    async def test_name_of_a_server(self) -> None:
        report = await self.examine("--auth=jwt:jwks=https\\://nowhere.invalid/keys")
        self.has(report, Level.FAILURE, "name", "nowhere.invalid cannot be resolved", "resolv.conf")
        self.has(report, Level.FAILURE, "token-keys", "nowhere.invalid cannot be resolved", "nobody can log in")


class WebServer:
    """A server that gives each request the same answer.

    :ivar answer: the answer
    :ivar port: its port
    """

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client:
                    client.recv(1 << 16)
                    client.sendall(self.answer)

    def close(self) -> None:
        """End it; harmless when repeated."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

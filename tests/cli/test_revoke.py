"""``airyd revoke`` against a web server on loopback, and a real Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from airyd.cli import admin_client, revoke
from airyd.cli.admin_client import AdminClient
from airyd.cli.revoke import RevokeFailed, keeper_of, print_revocation, revoke_by_admin, revoke_in_source
from airyd.errors import ConfigurationError
from airyd.revocation import Revocation, RevocationKind
from tests.cli.fakes import Screen
from tests.cli.web import Web
from tests.sources.redis.case import RedisCase
from tests.sources.redis.server import RedisServer

ANN = Revocation(RevocationKind.SUBJECT, "ann", 1_795_000_000.25, 1_795_090_000.0)
UNSURE = "it may be revoked or not: revoking it again is safe"
ANSWER = (200, b'{"subject": "ann", "at": 1795000000.25, "until": 1795090000}')


class AdminTests(SynchronousTestCase):
    """Revoking through the admin page."""

    def setUp(self) -> None:
        self.web = Web()
        self.addCleanup(self.web.close)
        self.web.answer = lambda body: ANSWER

    def revoke(self, token: str | None = None) -> Revocation:
        """Revoke Ann's tokens."""
        client = AdminClient(self.web.url, lambda: 0, token)
        self.addCleanup(client.close)
        return revoke_by_admin(client, RevocationKind.SUBJECT, "ann")

    def failed(self) -> str:
        """Return why it failed."""
        return str(self.assertRaises(RevokeFailed, self.revoke))

    def test_revoked(self) -> None:
        self.assertEqual(self.revoke("secret"), ANN)
        self.assertEqual(self.web.paths, ["/revoke"])
        self.assertEqual([json.loads(body) for body in self.web.bodies], [{"subject": "ann"}])
        self.assertEqual([each["authorization"] for each in self.web.headers], ["Bearer secret"])

    def test_refused(self) -> None:
        self.web.answer = lambda body: (503, b'{"error": "It is revoked here, but not kept"}')
        self.assertEqual(self.failed(), f"It is revoked here, but not kept; {UNSURE}")
        self.web.answer = lambda body: (404, b'{"error": "no such page"}')
        self.assertEqual(self.failed(), "no such page")

    def test_token_is_missing(self) -> None:
        """The message names the option, not an HTTP header; a wrong token is the node's to explain."""
        self.web.answer = lambda body: (401, b'{"error": "send Authorization"}')
        self.assertIn("--token-file", self.failed())
        self.assertEqual(str(self.assertRaises(RevokeFailed, self.revoke, "secret")), "send Authorization")

    def test_no_airyd(self) -> None:
        for answer in (b"{}", b"<html>", b'{"at": "x", "until": 1}', b'{"at": 1, "until": Infinity}'):
            self.web.answer = _answering(200, answer)
            self.assertIn("is this airyd's admin page?", self.failed())

    def test_no_answer(self) -> None:
        """The message says that the outcome is unknown and that repeating is safe."""
        self.patch(admin_client, "_ANSWER_PATIENCE", 0.2)
        self.web.answer = lambda body: None
        self.assertEqual(self.failed(), f"no answer within 0 s; {UNSURE}")


class TellTests(SynchronousTestCase):
    """The output after a revocation."""

    def said(self, done: Revocation, terminal: bool) -> str:
        """Return what stands on standard output."""
        screen = Screen("airyd revoke", terminal=terminal)
        print_revocation(done, screen.console)
        return screen.out.text

    def test_to_a_person(self) -> None:
        self.assertEqual(
            self.said(ANN, terminal=True),
            "revoked until 2026-11-19T12:06:40Z: all tokens of ann that were issued until 2026-11-18T11:06:40Z\n",
        )
        one = ANN._replace(kind=RevocationKind.JTI, name="j\u202e")
        self.assertEqual(self.said(one, terminal=True), "revoked until 2026-11-19T12:06:40Z: the token j\\u202e\n")

    def test_to_a_program(self) -> None:
        told = {"subject": "ann", "at": 1_795_000_000.25, "until": 1_795_090_000.0}
        self.assertEqual(json.loads(self.said(ANN, terminal=False)), told)


class SourceTests(RedisCase):
    """Revoking in the source itself."""

    def make_server(self) -> RedisServer:
        """Return one that may be broken."""
        return self.own_server()

    def entries(self) -> list[list[bytes]]:
        """Return what Redis keeps."""
        return [fields for _, fields in self.redis.call("XRANGE", f"{self.prefix}revocations", "-", "+")]

    async def test_kept(self) -> None:
        """Whatever the mode, and with the URL that the servers have, patterns and all."""
        done = ANN._replace(until=time.time() + 60)
        for more in ("", "&mode=pubsub", "&destinations=/queue/*"):
            source = keeper_of(self.url(more=more), self.reactor, time.time, {})
            self.assertEqual(await revoke_in_source(source, done, self.reactor), done)
        self.assertEqual([fields[1::2][:2] for fields in self.entries()], [[b"subject", b"ann"]] * 3)

    async def test_unreachable(self) -> None:
        """It says where it could not connect, without a password."""
        self.patch(revoke, "SOURCE_PATIENCE", 0.3)
        self.server.kill()
        source = keeper_of(self.url("user:s3cret@"), self.reactor, time.time, {})
        failure = await self.assertFailure(
            Deferred.fromCoroutine(revoke_in_source(source, ANN, self.reactor)), RevokeFailed
        )
        self.assertIn(f"redis://127.0.0.1:{self.server.port}/0 (commands)", str(failure))
        self.assertNotIn("s3cret", str(failure))
        self.assertIn(UNSURE, str(failure))

    async def test_refused(self) -> None:
        self.redis.call("SET", f"{self.prefix}revocations", "x")
        source = keeper_of(self.url(), self.reactor, time.time, {})
        failure = await self.assertFailure(
            Deferred.fromCoroutine(revoke_in_source(source, ANN, self.reactor)), RevokeFailed
        )
        self.assertIn("WRONGTYPE", str(failure))

    async def test_sources_that_keep_nothing(self) -> None:
        await succeed(None)
        for url in ("memory:", "sample:"):
            error = self.assertRaises(ConfigurationError, keeper_of, url, self.reactor, time.time, {})
            self.assertIn("admin page", str(error))


def _answering(status: int, body: bytes) -> Callable[[bytes], tuple[int, bytes]]:
    return lambda _: (status, body)

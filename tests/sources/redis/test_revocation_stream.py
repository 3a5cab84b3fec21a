"""Revocations in a real Redis: the contract in both modes, and failures of the server."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from airyd.auth.revocation_registry import RevocationRegistry
from airyd.errors import LoginUnavailable, SourceUnavailable
from airyd.interfaces import IRevocationKeeper, IRevocationStore, SourceContext
from airyd.revocation import Revocation, RevocationKind
from airyd.sources import make_source
from airyd.sources.redis.connection import REPLY_PATIENCE, RedisConnection
from airyd.sources.redis.protocol import RedisReply, Word
from tests.auth.revocations_contract import MAX_AGE, Bearer, RevocationsContract
from tests.doubles import record_log, text_of
from tests.sources.redis.case import RedisCase
from tests.sources.redis.server import RedisServer
from tests.sources.redis.test_failover import FailoverCase
from tests.sources.support import RecordingSink


class Case(RedisCase):
    """Nodes that share revocations over one Redis."""

    more = ""

    @property
    def stream(self) -> str:
        """The key."""
        return f"{self.prefix}revocations"

    def store(self) -> IRevocationStore:
        """Return the store of a started source."""
        context = SourceContext(self.reactor, time.time, ())
        source = make_source(self.url(more=self.more), context)
        self.addCleanup(source.stop)
        self.addCleanup(source.start(RecordingSink()).addErrback, lambda failure: failure.trap(SourceUnavailable))
        verifyObject(IRevocationKeeper, source)
        store: IRevocationStore = IRevocationKeeper(source).revocations
        verifyObject(IRevocationStore, store)
        return store

    def node(self) -> RevocationRegistry:
        """Return the registry of one node."""
        revocations = RevocationRegistry([self.store()], self.reactor, time.time, MAX_AGE)
        revocations.start(lambda: None)
        return revocations

    async def read(self) -> RevocationRegistry:
        """Return the registry of one node after it has read all."""
        node = self.node()
        await self.until(lambda: not node.health())
        return node

    async def until_out(self, node: RevocationRegistry, name: str) -> None:
        """Wait until a node knows that this token is revoked."""
        await self.until(lambda: node.is_revoked(Bearer("ann", time.time(), name)))

    def entries(self) -> list[dict[bytes, bytes]]:
        """Return the entries of the stream."""
        raw: list[Any] = self.redis.call("XRANGE", self.stream, "-", "+")
        return [dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in raw]

    def put(self, name: str, **changed: object) -> None:
        """Revoke a token with the documented XADD, with these fields changed."""
        now = time.time()
        fields = {"kind": "jti", "name": name, "at": f"{now:.3f}", "until": f"{now + 100:.3f}", **changed}
        self.redis.call("XADD", self.stream, "*", *(str(word) for pair in fields.items() for word in pair))


class StreamsContractTests(RevocationsContract, Case):
    """The contract, with Redis Streams as the source."""

    def now(self) -> float:
        return time.time()

    def later(self, seconds: float) -> Deferred[None]:
        return self.wait(seconds)

    async def make(self) -> tuple[RevocationRegistry, list[None]]:
        changes: list[None] = []
        revocations = RevocationRegistry([self.store()], self.reactor, time.time, MAX_AGE)
        revocations.start(lambda: changes.append(None))
        await self.until(lambda: not revocations.health())
        return revocations, changes


class PubSubContractTests(StreamsContractTests):
    """The contract, with Redis Pub/Sub as the source: revocations are a stream there, too."""

    more = "&mode=pubsub"

    async def test_beside_streams(self) -> None:
        """Nodes of both modes with one prefix share revocations."""
        pubsub = await self.read()
        self.more = ""
        streams = await self.read()
        await streams.revoke(RevocationKind.JTI, "j")
        await self.until_out(pubsub, "j")


class NodesTests(Case):
    """Several nodes."""

    async def test_all_know(self) -> None:
        nodes = [await self.read() for _ in range(3)]
        await nodes[0].revoke(RevocationKind.JTI, "j")
        for node in nodes:
            await self.until_out(node, "j")

    async def test_a_node_that_starts_later(self) -> None:
        """A node accepts no token before it has read all."""
        first = await self.read()
        for number in range(3):
            await first.revoke(RevocationKind.JTI, f"j{number}")
        later = self.node()
        self.assertRaises(LoginUnavailable, later.check, Bearer("ann", time.time(), "other"))
        await self.until(lambda: not later.health())
        for number in range(3):
            self.assertTrue(later.is_revoked(Bearer("ann", time.time(), f"j{number}")))

    async def test_more_than_one_page(self) -> None:
        now = time.time()
        words = ("kind", "jti", "at", f"{now:.3f}", "until", f"{now + 100:.3f}", "name")
        self.redis.pipeline([("XADD", self.stream, "*", *words, f"j{number}") for number in range(1234)])
        node = await self.read()
        for number in range(1234):
            self.assertTrue(node.is_revoked(Bearer("ann", now, f"j{number}")), number)

    async def test_by_hand(self) -> None:
        """Entries in the documented form are read; invalid ones are skipped and logged once."""
        log = record_log(self)
        node = await self.read()
        for wrong in ({"kind": "user"}, {"until": "soon"}, {"at": "nan"}, {"name": ""}, {"name": "a\n"}):
            self.put(**{"name": "j", **wrong})
        self.redis.call("XADD", self.stream, "*", "kind", "jti")
        self.redis.call("XADD", self.stream, "*", b"\xff", b"\xff")
        self.redis.call("XADD", self.stream, "*", "kind", "jti", "name", b"\xff", "at", "1", "until", "1e12")
        self.put("good", more="of this")
        await self.until_out(node, "good")
        self.assertEqual(len([event for event in log if "is not a revocation" in text_of([event])]), 8)

    async def test_what_is_over_is_dropped(self) -> None:
        """The next XADD trims them; entries in force, and all after these, stay."""
        node = await self.read()
        now = time.time()
        for name, until in (("a", now - 1), ("b", now - 1), ("c", now + 100), ("d", now - 1)):
            self.put(name, until=until)
        await node.revoke(RevocationKind.JTI, "e")
        self.assertEqual([entry[b"name"] for entry in self.entries()], [b"c", b"d", b"e"])

    async def test_all_are_over(self) -> None:
        node = await self.read()
        self.put("a", until=time.time() - 1)
        self.put("b", until=time.time() - 1)
        await node.revoke(RevocationKind.JTI, "e")
        self.assertEqual([entry[b"name"] for entry in self.entries()], [b"b", b"e"])

    async def test_something_else_has_the_key(self) -> None:
        """Logins with a token fail, with the reason; they work when the key is deleted."""
        self.redis.call("SET", self.stream, "x")
        node = self.node()
        await self.until(lambda: any("WRONGTYPE" in reason for reason in node.health()))
        error = await self.assertFailure(node.revoke(RevocationKind.JTI, "j"), SourceUnavailable)
        self.assertIn("WRONGTYPE", str(error))
        self.redis.call("DEL", self.stream)
        await self.until(lambda: not node.health())


class LossTests(Case):
    """Redis fails, and loses data."""

    def make_server(self) -> RedisServer:
        """Return one that may be broken."""
        return self.own_server()

    async def test_unreachable(self) -> None:
        """Known revocations stay in force; new ones arrive when Redis is back."""
        node = await self.read()
        await node.revoke(RevocationKind.JTI, "before")
        self.server.kill()
        await self.until(node.warnings)
        self.assertTrue(node.is_revoked(Bearer("ann", time.time(), "before")))
        bearer = Bearer("ann", time.time(), "other")
        self.assertIs(node.check(bearer), bearer)
        self.server.start()
        self.redis = self.connect()
        self.put("meanwhile")
        await self.until_out(node, "meanwhile")
        await self.until(lambda: not node.warnings())

    async def test_everything_is_lost_with_it(self) -> None:
        """Redis comes back empty: nodes write known revocations again, for nodes that start later."""
        nodes = [await self.read() for _ in range(3)]
        for name in ("a", "b"):
            await nodes[0].revoke(RevocationKind.JTI, name)
        for node in nodes:
            await self.until_out(node, "b")
        before = self.entries()
        self.server.kill()
        self.server.start()
        self.redis = self.connect()
        self.assertEqual(self.entries(), [])
        await self.until(lambda: len({entry[b"name"] for entry in self.entries()}) == 2)
        self.assertEqual({tuple(entry.items()) for entry in self.entries()}, {tuple(each.items()) for each in before})
        later = await self.read()
        for name in ("a", "b"):
            self.assertTrue(later.is_revoked(Bearer("ann", time.time(), name)))

    async def test_flushed(self) -> None:
        """The connection survives, and new entries came first."""
        node = await self.read()
        await node.revoke(RevocationKind.SUBJECT, "ann")
        await node.revoke(RevocationKind.JTI, "old")
        self.redis.call("FLUSHALL")
        self.assertTrue(node.is_revoked(Bearer("ann", 0.0)))
        self.put("new")
        await self.until(lambda: {b"ann", b"old"} <= {entry[b"name"] for entry in self.entries()})
        self.assertTrue(node.is_revoked(Bearer("ann", 0.0)))
        await self.until_out(node, "new")

    async def test_many_are_lost(self) -> None:
        """Each is written again by one command, without a read."""
        node = await self.read()
        for number in range(50):
            self.put(str(number))
        await self.until_out(node, "49")
        sent: list[tuple[Word, ...]] = []
        command = RedisConnection.command

        def noted(connection: RedisConnection, *words: Word, patience: float = REPLY_PATIENCE) -> Deferred[RedisReply]:
            sent.append(words)
            return command(connection, *words, patience=patience)

        self.patch(RedisConnection, "command", noted)
        self.redis.call("DEL", self.stream)
        await self.until(lambda: len(self.entries()) == 50)
        self.assertEqual(len([words for words in sent if words[0] == "XADD"]), 50)
        self.assertEqual([words for words in sent if words[:3] == ("XRANGE", self.stream, "-")], [])

    async def test_another_history_with_older_ids(self) -> None:
        """A new stream with smaller ids is read completely."""
        node = await self.read()
        await node.revoke(RevocationKind.JTI, "old")
        await self.until_out(node, "old")
        self.redis.call("DEL", self.stream)
        until = f"{time.time() + 100:.3f}"
        self.redis.call("XADD", self.stream, "5-1", "kind", "jti", "name", "new", "at", "1", "until", until)
        await self.until_out(node, "new")

    async def test_another_history_with_another_connection(self) -> None:
        """Each connection reads from the start, so that entries with smaller ids are known after a reconnect."""
        node = await self.read()
        await node.revoke(RevocationKind.JTI, "old")
        await self.until_out(node, "old")
        self.server.kill()
        await self.until(node.warnings)
        self.server.start()
        until = f"{time.time() + 100:.3f}"
        self.connect().call("XADD", self.stream, "5-1", "kind", "jti", "name", "new", "at", "1", "until", until)
        await self.until(lambda: not node.warnings())
        await self.until_out(node, "new")

    async def test_silent(self) -> None:
        """While Redis is unreachable a revocation fails as not stored, but holds on this node."""
        node = await self.read()
        self.server.kill()
        await self.until(node.warnings)
        revoking = node.revoke(RevocationKind.JTI, "j")
        self.assertTrue(node.is_revoked(Bearer("ann", time.time(), "j")))
        self.server.start()
        done = await revoking  # it came back in time
        self.redis = self.connect()
        self.assertEqual([entry[b"name"] for entry in self.entries()], [done.name.encode()])


class FailoverTests(FailoverCase, Case):
    """Sentinel names another master."""

    async def test_lost_in_a_failover(self) -> None:
        """Revocations lost in a failover stay in force and are written again, and new ones arrive."""
        node = await self.read()
        await node.revoke(RevocationKind.JTI, "safe")
        self.assertGreaterEqual(self.redis.call("WAIT", 1, 5000), 1)
        self.hold_replication()
        await node.revoke(RevocationKind.JTI, "lost")
        self.server.kill()
        await self.move(await self.another())
        self.assertEqual([entry[b"name"] for entry in self.entries()], [b"safe"])
        self.assertTrue(node.is_revoked(Bearer("ann", time.time(), "lost")))
        await self.until(lambda: b"lost" in [entry[b"name"] for entry in self.entries()], 30)
        await node.revoke(RevocationKind.JTI, "new")
        later = await self.read()
        for name in ("safe", "lost", "new"):
            self.assertTrue(later.is_revoked(Bearer("ann", time.time(), name)))


class PlainTests(Case):
    """The form that the document shows."""

    async def test_fields(self) -> None:
        await self.store().add(Revocation(RevocationKind.SUBJECT, "ä", 1.5, time.time() + 5))
        (entry,) = self.entries()
        self.assertEqual(set(entry), {b"kind", b"name", b"at", b"until"})
        self.assertEqual((entry[b"kind"], entry[b"name"], entry[b"at"]), (b"subject", "ä".encode(), b"1.500"))

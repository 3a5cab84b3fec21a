"""Three real redis-servers and three real sentinels: the master is killed, cut off, or steps back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from airyd.errors import SourceUnavailable
from airyd.events import Event, HistoryPage
from airyd.interfaces import IEventSource, SourceContext
from airyd.sources import make_source
from tests.sources.redis.case import RedisCase
from tests.sources.redis.cluster import Cluster, replication
from tests.sources.redis.rights import documented_users, password_of
from tests.sources.redis.server import Connection, RedisServer
from tests.sources.support import START, RecordingSink, body

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
A, B = "/topic/a", "/topic/b"
UNKNOWN = HistoryPage((), complete=False, more=False)


class FailoverCase(RedisCase):
    """A test with a cluster of its own.

    :ivar server: the master at the beginning
    """

    sentinel_password = ""

    def make_server(self) -> RedisServer:
        self.cluster = Cluster(sentinel_password=self.sentinel_password)
        self.addCleanup(self.cluster.close)
        return self.cluster.master

    def url(self, login: str = "", port: int | None = None, more: str = "") -> str:
        """Return the URL of the cluster with this test's prefix."""
        return f"redis+sentinel://{login}{self.cluster.url}?prefix={self.prefix}{more}"

    def source(self, url: str | None = None, **environ: str) -> IEventSource:
        """Return a source, not started, that is stopped at the end of the test."""
        context = SourceContext(self.reactor, lambda: START, (A, B), environ=environ)
        source = make_source(url or self.url(), context)
        self.addCleanup(source.stop)
        return source

    def another(self) -> Deferred[RedisServer]:
        """Wait, while the reactor runs, until there is another master; return it."""
        return deferToThread(self.cluster.wait_for_another, self.server)

    async def move(self, new: RedisServer) -> None:
        """Publish to this server from now on."""
        self.redis.close()
        self.server = new
        self.redis = self.connect()

    def add(self, *numbers: int, destination: str = A) -> list[Event]:
        """Publish with the documented command; return the events as the sink should get them."""
        return super().add(*numbers, destination=destination)

    def add_safely(self, *numbers: int, destination: str = A) -> list[Event]:
        """Publish so that at least one replica has it: WAIT."""
        events = self.add(*numbers, destination=destination)
        self.assertGreaterEqual(self.redis.call("WAIT", 1, 5000), 1)
        return events

    def hold_replication(self) -> None:
        """Stop replication; the replicas keep their state."""
        self.set_on_replicas("masterauth", "wrong")
        self.redis.call("CLIENT", "KILL", "TYPE", "replica")

    def set_on_replicas(self, name: str, value: str) -> None:
        """Configure all servers but the master."""
        for server in self.cluster.others(self.server):
            connection = server.connect()
            connection.call("CONFIG", "SET", name, value)
            connection.close()


class KillTests(FailoverCase):
    """kill -9."""

    async def test_what_a_replica_has_is_not_lost(self) -> None:
        """With WAIT no event is lost: no gap is reported, and a client resumes on the new master."""
        source, sink = await self.watching(A, B)
        events = self.add_safely(1, 2, 3)
        await self.until_seen(sink, events)
        # The next ones are not read before the master is gone.
        self.redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        events += self.add_safely(4, 5)
        self.cluster.sentinels.pop(0).close()  # two are enough
        self.server.kill()
        new = await self.another()
        await self.move(new)
        events += self.add(6, 7)
        await self.until_seen(sink, events)
        self.assertEqual((await source.replay(A, events[0].id, 10)).events, tuple(events[1:]))
        await self.until(lambda: not source.health())
        await self.wait(2)
        self.assertEqual(sink.gaps, [])

    async def test_what_was_delivered_and_no_replica_has(self) -> None:
        """The new master lacks an event: a gap is reported for its destination only, and resumes from it fail."""
        source, sink = await self.watching(A, B)
        kept = self.add_safely(1, 2)
        kept += self.add_safely(3, destination=B)
        self.hold_replication()
        lost = self.add(4, 5)
        await self.until(lambda: len(sink.events) == 5)
        self.server.kill()
        self.set_on_replicas("masterauth", "")
        new = await self.another()
        await self.move(new)
        later = self.add(6, 7, 8)
        await self.until(lambda: sink.gaps)
        ((destinations, reason),) = sink.gaps
        self.assertEqual(destinations, (A,))
        self.assertRegex(reason, "the new master does not have|is before .*, which was read")
        last = self.add(9)[0]
        await self.until_has(sink, last)
        self.assertEqual([event for event in sink.events if event not in [*kept, *lost]], [*later, last])
        for event in lost:
            self.assertEqual(await source.replay(A, event.id, 10), UNKNOWN)
        self.assertEqual((await source.replay(A, kept[1].id, 10)).events, (*later, last))
        self.assertTrue((await source.replay(B, kept[2].id, 10)).complete)
        await self.wait(2)
        self.assertEqual(len(sink.gaps), 1)

    async def test_publishing_waits_for_the_new_master(self) -> None:
        source, sink = await self.watching(A)
        self.server.kill()
        await self.until(lambda: len(source.health()) == 2)
        publishing = [source.publish(A, body(number)) for number in range(3)]
        watching = source.watch(B)
        ids = [await each for each in publishing]
        await watching
        await self.until_seen(sink, [Event(A, event_id, body(number)) for number, event_id in enumerate(ids)])

    async def test_pubsub(self) -> None:
        """It may have lost any event: a gap is reported for all destinations."""
        source, sink = await self.running(self.url(more="&mode=pubsub"))
        await source.watch(A)
        first = await source.publish(A, body(1))
        self.server.kill()
        await self.until(lambda: len(source.health()) == 2)
        second = await source.publish(A, body(2))
        self.assertEqual(sink.events, [Event(A, first, body(1)), Event(A, second, body(2))])
        self.assertEqual([destinations for destinations, _ in sink.gaps], [(A,)])
        self.assertEqual(await source.replay(A, first, 10), UNKNOWN)


class OldMasterTests(FailoverCase):
    """A former master that does not know of the failover yet."""

    async def test_it_comes_back(self) -> None:
        """After a restart it is a master until the sentinels reconfigure it; airyd does not read from it."""
        _, sink = await self.watching(A)
        old = self.server
        old.kill()
        new = await self.another()
        old.start()
        self.assertIn("role:master", replication(old))
        _, seen = await self.watching(A)
        connection = old.connect()
        self.addCleanup(connection.close)
        connection.call(*self.addition(1, A))
        await self.move(new)
        events = self.add(2, 3)
        await self.until_seen(sink, events)
        await self.until_seen(seen, events)
        self.assertEqual((sink.gaps, seen.gaps), ([], []))

    async def test_it_is_cut_off(self) -> None:
        """Two masters: the old one still takes events. airyd leaves it, and reports a gap for its own events."""
        for server in self.cluster.servers:
            connection = server.connect()
            connection.call("ACL", "SETUSER", "airyd", "on", ">x", "allkeys", "allchannels", "allcommands")
            connection.close()
        source, sink = await self.running(self.url("airyd:x@"))
        await source.watch(A)
        old = self.connect()
        old.call("AUTH", "airyd", "x")
        events = self.add_safely(1)
        # From now on it answers nobody who doesn't log in: neither the other servers nor the sentinels do.
        old.call("ACL", "SETUSER", "default", "off")
        old.call("CLIENT", "KILL", "USER", "default")
        events += [self.added(old, 2), self.added(old, 3)]
        await self.until_seen(sink, events)
        new = await self.another()
        self.added(old, 4)
        await self.until(lambda: sink.gaps)
        self.added(old, 5)
        await self.move(new)
        later = self.add(6, 7)
        await self.until_has(sink, later[-1])
        self.assertEqual([destinations for destinations, _ in sink.gaps], [(A,)])
        self.assertNotIn(body(5), [event.body for event in sink.events])
        self.assertEqual((await source.replay(A, events[0].id, 10)).events, tuple(later))
        for event in events[1:]:
            self.assertEqual(await source.replay(A, event.id, 10), UNKNOWN)
        published = await source.publish(A, body(8))
        self.assertEqual(self.redis.call("XREVRANGE", self.key(A), "+", "-", "COUNT", 1)[0][0].decode(), published)

    def added(self, old: Connection, number: int) -> Event:
        """Publish to the old master; return the event."""
        return Event(A, old.call(*self.addition(number, A)).decode(), body(number))

    async def test_it_steps_back(self) -> None:
        """A failover that an operator asks for: the old master becomes a replica, and ends its connections."""
        source, sink = await self.watching(A)
        events = self.add_safely(1)
        self.cluster.sentinels[0].ask("FAILOVER", "mymaster")
        new = await self.another()
        await self.move(new)
        events += self.add(2, 3)
        await self.until_seen(sink, events)
        self.assertEqual((await source.replay(A, events[0].id, 10)).events, tuple(events[1:]))
        await self.wait(2)
        self.assertEqual(sink.gaps, [])


class RightsTests(FailoverCase):
    """The users of docs/publishing.rst, with what Sentinel needs beside."""

    def make_server(self) -> RedisServer:
        master = super().make_server()
        for server in self.cluster.servers:
            connection = server.connect()
            for words in documented_users():
                if words[2] in ("airyd", "airyd-pubsub"):
                    connection.call(*words)
                    connection.call("ACL", "SETUSER", words[2], "+info")
            connection.close()
        return master

    async def test_suffices_and_is_needed(self) -> None:
        """The rights suffice for a failover; without INFO airyd is not ready."""
        self.prefix = "airyd:"  # which the rights are for
        sources: list[tuple[IEventSource, RecordingSink]] = []
        for user, more in (("airyd", ""), ("airyd-pubsub", "&mode=pubsub")):
            source, sink = await self.running(self.url(f"{user}:{password_of(user)}@", more=more))
            await source.watch(A)
            await source.publish(A, body(1))
            await self.until_bodies(sink, 1)
            sources.append((source, sink))
        self.server.kill()
        await self.move(await self.another())
        for source, sink in sources:
            await source.publish(A, body(2))
            await self.until_bodies(sink, 1, 2)
        self.assertEqual([entry for entry in self.redis.call("ACL", "LOG") if b"airyd" in entry], [])
        streams = sources[0][0]
        self.redis.call("ACL", "SETUSER", "airyd", "-info")
        self.redis.call("CLIENT", "KILL", "USER", "airyd")
        await self.until(lambda: "".join(streams.health()).count("NOPERM") == 2)

    async def until_bodies(self, sink: RecordingSink, *numbers: int) -> None:
        """Wait until the sink has these events."""
        await self.until(lambda: [event.body for event in sink.events] == [body(number) for number in numbers])


class ExampleTests(FailoverCase):
    """docs/examples/publish_wait.py."""

    async def test_it_loses_nothing(self) -> None:
        """The master is killed while it publishes: each line arrives, in order; some perhaps twice."""
        self.prefix = "airyd:"
        source, sink = await self.running()
        await source.watch(A)
        listed = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.cluster.sentinels)
        program = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "publish_wait.py"), A],
            env={**os.environ, "SENTINELS": listed},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(program.communicate)  # it closes the pipes
        self.addCleanup(program.kill)
        assert program.stdin is not None
        lines = [b'{"number": %d}' % number for number in range(2000)]
        program.stdin.write(b"\n".join(lines[:1000]))
        program.stdin.flush()
        await self.until(lambda: len(sink.events) > 100)
        self.server.kill()
        out, err = await deferToThread(program.communicate, b"\n" + b"\n".join(lines[1000:]))
        self.assertEqual((program.returncode, err), (0, b""))
        await self.until(lambda: sink.events[-1].body == lines[-1])
        published = {event.id: event.body for event in sink.events}
        self.assertEqual([published[event_id] for event_id in out.decode().split()], lines)
        self.assertEqual(sink.gaps, [])


class PasswordTests(FailoverCase):
    """Sentinels have a password of their own."""

    sentinel_password = "s3ntinel"

    async def test_both(self) -> None:
        file = Path(self.mktemp())
        file.write_text("s3ntinel\n")
        for url, environ in (
            (self.url(more=f"&sentinel-password-file={file}"), {}),
            (self.url(), {"AIRYD_REDIS_SENTINEL_PASSWORD": "s3ntinel"}),
        ):
            source, sink = await self.running(url, **environ)
            await source.watch(A)
            await self.until_seen(sink, self.add(1))
            await source.stop()

    async def test_none(self) -> None:
        source = self.source()
        starting = source.start(RecordingSink())
        await self.until_says(source, "NOAUTH")
        await source.stop()
        await self.assertFailure(starting, SourceUnavailable)

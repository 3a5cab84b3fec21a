"""Checks of the Redis server, each with a real one in that state."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.doctor.findings import DoctorReport, Level
from airyd.doctor.redis_probe import RedisProbe
from airyd.doctor.redis_server import check_round_trips, kind_and_version
from tests.doctor.case import DoctorCase, FindingAssertions, OwnServerCase, ReplyFilter
from tests.leaks import MARK
from tests.sources.redis.server import RedisServer


class ConnectionTests(OwnServerCase):
    """Whether Redis answers."""

    async def test_answers(self) -> None:
        report = await self.examine()
        self.all_well(report, "connection")
        self.all_well(report, "version")

    async def test_not_there(self) -> None:
        self.server.stop()
        report = await self.examine()
        self.has(report, Level.FAILURE, "connection", "connection refused", "start Redis")
        self.assertEqual(self.of_check(report, "version"), [])

    async def test_name(self) -> None:
        url = f"redis://localhost:{self.server.port}/0"
        self.has(await self.examine(url=url), Level.OK, "name", "localhost: is 127.0.0.1")
        report = await self.examine(url="redis://nowhere.invalid/0")
        self.has(report, Level.FAILURE, "name", "nowhere.invalid cannot be resolved", "/etc/resolv.conf")
        self.has(report, Level.FAILURE, "connection", "nowhere.invalid cannot be resolved", "correct the name")

    async def test_password(self) -> None:
        """A password that is missing or wrong."""
        self.configure("requirepass", f"{MARK}-1")
        self.has(await self.examine(), Level.FAILURE, "connection", "NOAUTH", "AIRYD_REDIS_PASSWORD")
        wrong = await self.examine(environ={"AIRYD_REDIS_PASSWORD": f"{MARK}-2"})
        self.has(wrong, Level.FAILURE, "connection", "WRONGPASS", "AIRYD_REDIS_PASSWORD")
        self.all_well(await self.examine(environ={"AIRYD_REDIS_PASSWORD": f"{MARK}-1"}), "connection")

    async def test_not_redis(self) -> None:
        """A port that speaks something else."""
        web = ReplyFilter(self.server.port, lambda data: b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.addCleanup(web.close)
        report = await self.examine(url=f"redis://127.0.0.1:{web.port}/0")
        self.has(report, Level.FAILURE, "connection", "a web server, not a Redis", "correct the URL")

    async def test_wrong_url(self) -> None:
        report = await self.examine(url=f"redis://u:{MARK}@127.0.0.1/0?perfix=x")
        self.has(report, Level.FAILURE, "source", "did you mean prefix?", "--help-sources")


class VersionTests(DoctorCase):
    """The server's version and kind, which a proxy changes in HELLO and INFO."""

    async def examine_with(self, change: Callable[[bytes], bytes]) -> DoctorReport:
        """Examine the server by way of the proxy."""
        proxy = ReplyFilter(self.server.port, change)
        self.addCleanup(proxy.close)
        return await self.examine(url=self.url(port=proxy.port))

    def version(self) -> bytes:
        """Return the server's version."""
        reply = self.redis.call("HELLO")
        return bytes(reply[reply.index(b"version") + 1])

    async def test_old(self) -> None:
        own = self.version()
        old = b"6.2." + b"9" * (len(own) - 4)
        report = await self.examine_with(lambda data: data.replace(own, old))
        self.has(report, Level.FAILURE, "version", "Redis 7.0 or newer is needed, but this is 6.2", "newer Redis")

    async def test_valkey(self) -> None:
        """The names that Valkey 8 gives itself in HELLO; the rest is the real Redis."""
        renamed = b"server\r\n$6\r\nvalkey\r\n"
        report = await self.examine_with(lambda data: data.replace(b"server\r\n$5\r\nredis\r\n", renamed))
        self.has(report, Level.OK, "version", f"Valkey {self.version().decode()}")

    async def test_other_kind(self) -> None:
        renamed = b"server\r\n$5\r\nother\r\n"
        report = await self.examine_with(lambda data: data.replace(b"server\r\n$5\r\nredis\r\n", renamed))
        self.has(report, Level.WARNING, "version", "airyd is tested with Redis only", "try")


class KindTests(SynchronousTestCase):
    """Kinds of servers, from what they say of themselves."""

    def test_kinds(self) -> None:
        redis = {"server": "redis", "version": "7.2.4"}
        for hello, info, expected in [
            (redis, {"redis_version": "7.2.4"}, ("Redis", "7.2.4")),
            ({}, {"redis_version": "5.0.3"}, ("Redis", "5.0.3")),
            ({}, {}, ("Redis", "")),
            ({"server": "valkey", "version": "8.1.1"}, {}, ("Valkey", "8.1.1")),
            (redis, {"redis_version": "7.2.4", "valkey_version": "8.1.1"}, ("Valkey", "8.1.1")),
            (redis, {"dragonfly_version": "df-1.30"}, ("Dragonfly", "df-1.30")),
        ]:
            self.assertEqual(kind_and_version(hello, info), expected)


class ClusterTests(DoctorCase):
    """Redis in cluster mode."""

    def make_server(self) -> RedisServer:
        return self.own_server("--cluster-enabled", "yes")

    async def test_cluster(self) -> None:
        report = await self.examine()
        self.has(report, Level.FAILURE, "version", "cluster mode", "hash tag")


class ReplicaTests(OwnServerCase):
    """A replica in place of the master."""

    async def test_replica(self) -> None:
        master = self.own_server()
        self.redis.call("REPLICAOF", "127.0.0.1", master.port)
        await self.until(lambda: b"master_link_status:up" in self.redis.call("INFO", "replication"))
        report = await self.examine()
        self.has(report, Level.WARNING, "role", "this is a replica", "redis+sentinel:")
        master.kill()
        await self.until(lambda: b"master_link_status:down" in self.redis.call("INFO", "replication"))
        report = await self.examine()
        self.has(report, Level.FAILURE, "role", "lost its master", "name the master")


class MemoryTests(OwnServerCase):
    """Eviction and memory."""

    async def test_no_limit(self) -> None:
        report = await self.examine()
        self.all_well(report, "eviction")
        self.all_well(report, "memory")

    async def test_eviction(self) -> None:
        """``allkeys-*`` throws streams away at the limit, and may be harmless only while there is none."""
        self.configure("maxmemory-policy", "allkeys-lru")
        self.has(await self.examine(), Level.WARNING, "eviction", "allkeys-lru", "noeviction")
        self.configure("maxmemory", "1gb")
        report = await self.examine()
        self.has(report, Level.FAILURE, "eviction", "can throw a whole stream away at 1.0 GiB", "noeviction")
        self.configure("maxmemory-policy", "volatile-lru")
        self.all_well(await self.examine(), "eviction")

    async def test_full(self) -> None:
        # Beside so large a value, connections hardly count. It is made in Redis: a buffer that it came in would count.
        self.redis.call("SETRANGE", "large", "39999999", "x")
        found = re.search(rb"used_memory:(\d+)", self.redis.call("INFO", "memory"))
        assert found is not None
        used = int(found[1])
        self.configure("maxmemory", int(used * 1.05))
        self.has(await self.examine(), Level.WARNING, "memory", "soon Redis refuses", "raise maxmemory")
        self.configure("maxmemory", 1)
        report = await self.examine()
        self.has(report, Level.FAILURE, "memory", "Redis refuses to add events", "raise maxmemory")
        self.all_well(report, "rights")
        self.configure("maxmemory", used * 100)
        self.has(await self.examine(), Level.OK, "memory", " used")


class PersistenceTests(OwnServerCase):
    """What a crash of Redis loses."""

    async def test_none(self) -> None:
        report = await self.examine()
        self.has(report, Level.WARNING, "persistence", "a restart of Redis loses all events", "appendonly yes")

    async def test_snapshots(self) -> None:
        self.configure("save", "900 1")
        report = await self.examine()
        self.has(report, Level.WARNING, "persistence", "there are snapshots only", "appendonly yes")

    async def test_log(self) -> None:
        self.configure("appendonly", "yes")
        self.all_well(await self.examine(), "persistence")

    async def test_broken(self) -> None:
        """A snapshot that cannot be written: a folder has its name."""
        (self.server.directory / "dump.rdb").mkdir()
        self.redis.call("SET", "x", "y")
        self.redis.call("BGSAVE")
        await self.until(lambda: b"rdb_last_bgsave_status:err" in self.redis.call("INFO", "persistence"))
        report = await self.examine()
        self.has(report, Level.FAILURE, "persistence", "the last snapshot could not be written", "Redis' log")

    async def test_pubsub(self) -> None:
        """With Pub/Sub only revocations are kept, and those only of tokens."""
        url = self.url(more="&mode=pubsub")
        self.all_well(await self.examine(url=url), "persistence")
        secret = self.mktemp()
        with open(secret, "w") as file:
            file.write(MARK * 8)
        report = await self.examine(f"--auth=jwt:secret-file={secret}", url=url)
        self.has(report, Level.WARNING, "persistence", "loses all revocations", "appendonly yes")


class OutputBufferTests(OwnServerCase):
    """The output buffer limits of Redis."""

    def limit(self, value: str) -> None:
        """Set the limit of a class of clients."""
        self.configure("client-output-buffer-limit", value)

    async def test_usual(self) -> None:
        for url in (self.url(), self.url(more="&mode=pubsub")):
            self.all_well(await self.examine(url=url), "output-buffer")

    async def test_streams(self) -> None:
        self.limit("normal 262144 0 0")
        report = await self.examine()
        self.has(report, Level.FAILURE, "output-buffer", "instead of sending an event of 256 KiB", "normal 0 0 0")
        self.limit("normal 1048576 0 0")
        self.has(await self.examine(), Level.WARNING, "output-buffer", "1 MiB hard", "8 MiB at most")
        self.all_well(await self.examine("--body=10000"), "output-buffer")
        self.limit("normal 0 1048576 1")
        self.has(await self.examine(), Level.WARNING, "output-buffer", "1 MiB soft", "normal 0 0 0")

    async def test_pubsub(self) -> None:
        url = self.url(more="&mode=pubsub")
        self.limit("pubsub 1048576 0 0")
        report = await self.examine(url=url)
        self.has(report, Level.WARNING, "output-buffer", "history lost", "pubsub 33554432 8388608 60")
        self.limit("pubsub 1000 0 0")
        self.has(await self.examine(url=url), Level.FAILURE, "output-buffer", "1 KiB hard", "pubsub 0 0 0")


class RoundTripTests(DoctorCase):
    """The time of a round trip."""

    async def test_slow(self) -> None:
        def delayed(data: bytes) -> bytes:
            time.sleep(0.06)  # in the proxy's thread
            return data

        proxy = ReplyFilter(self.server.port, delayed)
        self.addCleanup(proxy.close)
        report = await self.examine(url=self.url(port=proxy.port))
        self.has(report, Level.WARNING, "round-trip", "a round trip takes ", "nearer to Redis")

    async def test_measured(self) -> None:
        """The level depends on the machine."""
        (finding,) = self.of_check(await self.examine(), "round-trip")
        self.assertRegex(finding.message, r"a round trip takes \d+\.\d ms")


class BusyTests(FindingAssertions):
    """Round trips that take as long as the test says."""

    def examine(self, *seconds: float) -> DoctorReport:
        """Report on round trips of these lengths; the later ones are like the last."""
        clock = Clock()
        waits = [*seconds]

        class Probe:
            name = "redis"

            async def ask(self, *command: str) -> None:
                clock.advance(waits.pop(0) if len(waits) > 1 else waits[0])

        report = DoctorReport(lambda finding: None)
        checking = check_round_trips(cast(RedisProbe, Probe()), report, clock)
        self.successResultOf(Deferred.fromCoroutine(checking))
        return report

    def test_a_busy_machine(self) -> None:
        """The first ones say nothing about Redis if a later one is fast."""
        self.has(self.examine(1.2, 3.0, 0.001), Level.OK, "round-trip", "a round trip takes 1.0 ms")

    def test_always_slow(self) -> None:
        self.has(self.examine(1.2), Level.FAILURE, "round-trip", "a round trip takes 1200.0 ms", "SLOWLOG")


class ClockTests(DoctorCase):
    """The clocks of Redis and of this machine."""

    async def test_equal(self) -> None:
        self.has(await self.examine(), Level.OK, "clock", "differ by 0.0 s")

    async def test_skew(self) -> None:
        """This machine is behind by five seconds, then ahead by two minutes."""
        report = await self.examine(wall=lambda: time.time() - 5)
        self.has(report, Level.WARNING, "clock", "differ by ", "NTP")
        report = await self.examine(wall=lambda: time.time() + 120)
        self.has(report, Level.FAILURE, "clock", "tokens expire at wrong times", "NTP")

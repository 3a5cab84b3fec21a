"""The counters of streams: by the script, or by XINFO STREAM where the script is refused."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from txredisapi import ResponseError

from airyd.errors import SourceUnavailable
from airyd.sources.redis.connection import RedisConnection
from airyd.sources.redis.protocol import RedisReply
from airyd.sources.redis.stream_counters import StreamCounters, stream_info
from airyd.sources.redis.stream_position import NO_STREAM, StreamInfo
from tests.doubles import record_log, text_of
from tests.sources.redis import fakes
from tests.sources.redis.case import RedisCase
from tests.sources.redis.fakes import Error, FakeEndpoint, address, counters, words
from tests.sources.redis.server import RedisServer

A, B = b"p:/a", b"p:/b"
REFUSED = Error("NOPERM this user has no permissions to run the 'eval_ro' command")


def existing(reply: RedisReply) -> StreamInfo:
    """Parse the reply about a stream that must exist."""
    info = stream_info(reply)
    assert isinstance(info, StreamInfo), info
    return info


class RefusedTests(SynchronousTestCase):
    """Redis refuses the script."""

    def setUp(self) -> None:
        self.clock = Clock()
        endpoint = FakeEndpoint(self.clock)
        self.connection = RedisConnection(address(), endpoint, self.clock, "tests")
        self.connection.start()
        (self.session,) = endpoint.sessions
        self.session.log_in()
        self.counters = StreamCounters(self.clock)
        self.log = record_log(self)
        self.addCleanup(self.clock.advance, 0)
        self.addCleanup(self.connection.stop)

    def ask(self) -> Deferred[list[RedisReply]]:
        """Ask for two streams."""
        return Deferred.fromCoroutine(self.counters.ask(self.connection, [A, B]))

    def test_xinfo_in_its_place(self) -> None:
        """The warning comes once, and the script is tried again after a minute."""
        for _ in range(2):
            asking = self.ask()
            self.assertEqual([command[0] for command in self.session.asked()], [b"EVAL_RO"])
            self.session.answer(REFUSED)
            for _ in range(3):
                self.assertEqual(self.session.asked(), [words("XINFO", "STREAM", key) for key in (A, B)])
                self.session.answer(fakes.stream_info("5-0", 5, newest="5-0"), Error("ERR no such key"))
                about, missing = self.successResultOf(asking)
                self.assertEqual(existing(about).last, "5-0")
                self.assertIs(stream_info(missing), NO_STREAM)
                asking = self.ask()
            self.session.asked()
            self.session.answer(None, None)
            self.clock.advance(60)
            self.session.asked()
        (warning,) = [event for event in self.log if event["log_level"].name == "warn"]
        self.assertIn("eval_ro", text_of([warning]))
        asking = self.ask()
        self.session.asked()
        info = fakes.stream_info("6-0", 6, newest="6-0")
        self.session.answer(counters(info, info))
        self.assertEqual([existing(each).added for each in self.successResultOf(asking)], [6, 6])

    def test_the_connection_is_lost(self) -> None:
        asking = self.ask()
        self.session.lose()
        self.failureResultOf(asking, SourceUnavailable)


class RealTests(RedisCase):
    """A real Redis."""

    async def ask(self, *destinations: str) -> list[RedisReply]:
        """Ask for the counters of these."""
        source: Any = self.source()
        connection: RedisConnection = source._commands
        connection.start()
        await connection.connected()
        return await StreamCounters(self.reactor).ask(connection, [self.key(each).encode() for each in destinations])

    def counters_of(self, key: str) -> list[Any]:
        """Return what XINFO STREAM says, with sizes for fields."""
        info = self.redis.call("XINFO", "STREAM", key)
        for place, value in enumerate(info):
            if isinstance(value, list):
                info[place] = [value[0], sum(map(len, value[1]))]
        return list(info)

    async def test_the_same_as_xinfo(self) -> None:
        """An entry of several fields, one that was deleted, and none at all."""
        self.add(1, 2, 3, destination="/a")
        self.redis.call("XADD", self.key("/a"), "*", "first", "1", "second", "22")
        self.redis.call("XDEL", self.key("/a"), self.add(4, destination="/a")[0].id)
        self.add(5, destination="/b")
        self.redis.call("XTRIM", self.key("/b"), "MAXLEN", 0)
        self.assertEqual(await self.ask("/a", "/b"), [self.counters_of(self.key(each)) for each in ("/a", "/b")])

    async def test_keys_that_are_no_streams(self) -> None:
        """Each has its own error, and the others their counters."""
        self.add(1, destination="/a")
        self.redis.call("SET", self.key("/text"), "x")
        wrong, missing, about = await self.ask("/text", "/nothing", "/a")
        self.assertIsInstance(stream_info(wrong), SourceUnavailable)
        self.assertIs(stream_info(missing), NO_STREAM)
        self.assertEqual(about, self.counters_of(self.key("/a")))

    async def test_without_the_right_to_xinfo(self) -> None:
        """The script may do no more than the user, and the error is not one about the key."""
        self.redis.call("ACL", "SETUSER", self.prefix, "on", ">x", "~*", "+client|id", "+ping", "+eval_ro")
        self.addCleanup(self.redis.call, "ACL", "DELUSER", self.prefix)
        source: Any = self.source(self.url(f"{self.prefix.replace(':', '%3A')}:x@"))
        source._commands.start()
        await source._commands.connected()
        (reply,) = await StreamCounters(self.reactor).ask(source._commands, [self.key("/a").encode()])
        error = str(self.assertRaises(ResponseError, stream_info, reply))
        self.assertIn("NOPERM", error)
        self.assertIn("xinfo", error)


class LargeBodiesTests(RedisCase):
    """A node whose streams have large bodies, while nothing is published."""

    def make_server(self) -> RedisServer:
        return self.own_server()

    async def test_checks_transfer_no_bodies(self) -> None:
        """After six checks, each of which would have been 1.6 MB with the entries."""
        source, _ = await self.running()
        for name in ("/a", "/b", "/c", "/d"):
            self.redis.call("XADD", self.key(name), "*", "payload", b'{"x":"' + b"x" * 200_000 + b'"}')
            await source.watch(name)
        calls, sent = self.calls(), self.sent()
        while self.calls() < calls + 6:
            await self.wait(0.2)  # INFO is sent, too
        self.assertLess(self.sent() - sent, 500_000)

    def facts(self, section: str) -> dict[str, str]:
        """Return what INFO says."""
        lines = self.redis.call("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def calls(self) -> int:
        """Return how often the script has run."""
        stats = self.facts("commandstats").get("cmdstat_eval_ro", "calls=0")
        return int(stats.partition("calls=")[2].partition(",")[0])

    def sent(self) -> int:
        """Return how many bytes this server has sent."""
        return int(self.facts("stats")["total_net_output_bytes"])

"""The requirements of reading streams are checked on each connection and repeatedly, before any SUBSCRIBE.

The replies of Redis 6 are simulated.
"""

from __future__ import annotations

from airyd.events import MESSAGE
from airyd.sources.redis.requirements import CHECK_EVERY, STREAMS_PER_CHECK
from airyd.sources.redis.streams import RedisStreams
from tests.doubles import record_log, text_of
from tests.sources.contract import NEWS
from tests.sources.redis.case import RedisCase
from tests.sources.redis.fake_case import FakeRedisCase
from tests.sources.redis.fakes import Answer, Error, counters, says_hello
from tests.sources.redis.server import RedisServer
from tests.sources.support import body

NAMES = ("/a", "/b")
#: XINFO STREAM of Redis 6.2.
OLD_INFO: Answer = [b"length", 1, b"last-generated-id", b"5-0", b"groups", 0, b"first-entry", None, b"last-entry", None]


class AnsweringCase(FakeRedisCase):
    """A source whose checks the test answers.

    :ivar refusals: the answer to a command that names a key, by the command's first word or the key
    :ivar info: the answer to XINFO STREAM
    """

    prefix = "p:"

    def begin(self, names: tuple[str, ...] = NAMES, hello: Answer | None = None) -> None:
        """Start a source, and let it reach Redis."""
        self.refusals: dict[bytes, Answer] = {}
        self.info: Answer = Error("ERR no such key")
        self.server_info = says_hello() if hello is None else hello
        self.log = record_log(self)
        self.source = self.start_source(lambda redis, context: RedisStreams(redis, self.prefix, 500, context), names)
        for session in self.endpoint.sessions:
            session.log_in(hello=self.server_info)

    def answer(self) -> list[bytes]:
        """Answer the check; return the keys in it."""
        keys = []
        for session in self.endpoint.sessions:
            while commands := session.asked() if session.is_open else []:
                for command in commands:
                    if command[0] == b"XREAD":
                        keys.append(command[4])
                    answers: dict[bytes, Answer] = {
                        b"HELLO": self.server_info,
                        b"XRANGE": [],
                        b"XINFO": self.info,
                        b"EVAL_RO": counters(self.refusals.get(b"XINFO", self.info)),
                    }
                    key = next((word for word in command if word.startswith(self.prefix.encode())), b"")
                    session.answer(self.refusals.get(key, self.refusals.get(command[0], answers.get(command[0]))))
        return keys

    def check(self) -> list[bytes]:
        """Advance the clock to the next check, and answer it."""
        self.clock.advance(CHECK_EVERY)
        return self.answer()

    def assert_not_ready(self, *words: str) -> None:
        """Assert that health has one reason with these words, and that the log has it."""
        (reason,) = self.source.health()
        for word in words:
            self.assertIn(word, reason)
            self.assertIn(word, text_of(self.log))


class CheckTests(AnsweringCase):
    """Unmet requirements."""

    def test_nothing_is_missing(self) -> None:
        self.begin()
        self.assertNoResult(self.started)  # it is not known yet
        self.assertEqual(self.answer(), [b"p:/a", b"p:/b"])
        self.successResultOf(self.started)
        self.assertEqual(list(self.source.health()), [])

    def test_redis_6_by_its_version(self) -> None:
        self.begin(hello=says_hello("6.2.14"))
        self.answer()
        self.successResultOf(self.started)
        self.assert_not_ready("Redis 7.0 or newer is needed", "6.2.14")

    def test_redis_6_by_its_counters(self) -> None:
        """Redis may not know HELLO, or be behind a proxy."""
        self.begin(hello=Error("ERR unknown command 'HELLO'"))
        self.info = OLD_INFO
        self.answer()
        self.assert_not_ready("Redis 7.0 or newer is needed")

    def test_cluster(self) -> None:
        self.begin(hello=says_hello(mode="cluster"))
        self.answer()
        self.assert_not_ready("cluster mode", "prefix={airyd}:")

    def test_rights(self) -> None:
        """Each command that a subscription needs."""
        self.begin()
        self.answer()
        for command in (b"XINFO", b"XREAD"):
            self.refusals = {command: Error(f"NOPERM this user may not run {command.decode()}")}
            self.check()
            self.assert_not_ready("NOPERM", command.decode())
            self.refusals = {}
            self.check()
            self.assertEqual(list(self.source.health()), [])

    def test_the_right_to_resume(self) -> None:
        """Only resumes fail; other clients can be served."""
        self.begin()
        self.refusals = {b"XRANGE": Error("NOPERM this user has no permissions to run the 'xrange' command")}
        for _ in range(3):
            self.check()
        self.assertEqual(list(self.source.health()), [])
        warnings = [event for event in self.log if event["log_level"].name == "warn"]
        self.assertEqual(len(warnings), 1)
        self.assertIn("xrange", text_of(warnings))

    def test_a_key_of_another_type(self) -> None:
        self.begin()
        self.answer()
        self.refusals[b"p:/b"] = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
        self.check()
        self.assert_not_ready("p:/b", "is not a stream")
        self.check()
        self.assertEqual(len([event for event in self.log if event["log_level"].name == "warn"]), 1)
        self.refusals = {}
        self.check()
        self.assertEqual(list(self.source.health()), [])
        self.assertIn("can be used again", text_of(self.log))

    def test_a_destination_that_is_added(self) -> None:
        self.begin()
        self.answer()
        self.source.extend(["/c"])
        self.refusals[b"p:/c"] = Error("NOPERM no permissions to access a key")
        self.check()
        self.assert_not_ready("p:/c", "NOPERM")

    def test_thousands(self) -> None:
        """The first check covers all keys, later ones a part at a time."""
        count = 2 * STREAMS_PER_CHECK + 50
        self.begin(tuple(f"/{number}" for number in range(count)))
        self.assertEqual(len(self.answer()), count)
        self.successResultOf(self.started)
        self.assertEqual([len(self.check()) for _ in range(4)], [STREAMS_PER_CHECK] * 2 + [50, STREAMS_PER_CHECK])

    def test_another_redis(self) -> None:
        """A new connection may lead to another server."""
        self.begin()
        self.answer()
        for session in self.endpoint.sessions:
            session.lose()
        self.clock.advance(1.2)
        for session in self.endpoint.sessions[-2:]:
            session.log_in(hello=says_hello("6.2.14"))
        (reason,) = self.source.health()
        self.assertIn("6.2.14", reason)

    def test_stopped_by_a_callback_of_the_first_check(self) -> None:
        """No timer is left (checked at the end of each test)."""
        self.begin()
        self.started.addCallback(lambda _: self.source.stop())
        self.answer()
        self.clock.advance(0)
        self.successResultOf(self.started)

    def test_stopped_before_the_first_check(self) -> None:
        self.begin()
        self.started.addErrback(lambda failure: None)


class HashTagTests(AnsweringCase):
    """A prefix that puts all keys into one slot of a cluster."""

    prefix = "{p}:"

    def test_this_node_has_the_slot(self) -> None:
        self.begin(hello=says_hello(mode="cluster"))
        self.answer()
        self.assertEqual(list(self.source.health()), [])

    def test_another_node_has_it(self) -> None:
        self.begin(hello=says_hello(mode="cluster"))
        self.refusals[b"XREAD"] = Error("MOVED 1234 192.0.2.9:6379")
        self.answer()
        self.assert_not_ready("cluster mode", "MOVED")


class ServerTests(RedisCase):
    """On a real server."""

    async def reached(self, url: str | None = None) -> list[str]:
        """Return the health of a source that has reached its server, without a watch."""
        source, _ = await self.running(url)
        return list(source.health())


class OwnServerTests(ServerTests):
    """Servers that are unlike others."""

    def make_server(self) -> RedisServer:
        """Return a node of a cluster that has all slots."""
        return self.own_server("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")

    async def test_cluster(self) -> None:
        self.redis.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await self.until(lambda: b"cluster_state:ok" in self.redis.call("CLUSTER", "INFO"))
        (reason,) = await self.reached()
        self.assertIn("cluster mode", reason)
        prefix, self.prefix = self.prefix, f"{{{self.prefix}}}"
        self.assertEqual(await self.reached(self.url().replace("{", "%7B").replace("}", "%7D")), [])
        source, sink = await self.running(self.url().replace("{", "%7B").replace("}", "%7D"))
        await source.watch(NEWS)
        await source.publish(NEWS, body(1))
        await self.until(lambda: sink.events)
        self.prefix = prefix


class KeyTests(ServerTests):
    """Keys and rights that change while no destination is watched."""

    async def test_a_key_of_another_type(self) -> None:
        self.redis.call("SET", self.key(MESSAGE), "x")
        self.addCleanup(self.redis.call, "DEL", self.key(MESSAGE))
        source, _ = await self.running()
        (reason,) = source.health()
        self.assertIn(f"{self.key(MESSAGE)} is not a stream", reason)
        self.redis.call("DEL", self.key(MESSAGE))
        await self.until(lambda: not source.health())
        self.redis.call("SET", self.key(MESSAGE), "x")
        await self.until(source.health)

    async def test_rights(self) -> None:
        self.redis.call("ACL", "SETUSER", self.prefix, "on", ">x", "~*", "+ping", "+client|id", "+xrange", "+xread")
        self.addCleanup(self.redis.call, "ACL", "DELUSER", self.prefix)
        source, _ = await self.running(self.url(f"{self.prefix.replace(':', '%3A')}:x@"))
        (reason,) = source.health()
        self.assertIn("xinfo", reason)
        self.redis.call("ACL", "SETUSER", self.prefix, "+xinfo|stream")
        await self.until(lambda: not source.health())
        self.redis.call("ACL", "SETUSER", self.prefix, "-xread")
        await self.until(lambda: any("xread" in reason for reason in source.health()))

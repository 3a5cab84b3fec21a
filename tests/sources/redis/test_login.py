"""Logins of every kind at a real redis-server: passwords, users with few rights, TLS, a Unix socket."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from urllib.parse import quote

from airyd.errors import ConfigurationError, SourceUnavailable
from airyd.sources import make_source
from tests.doubles import record_log, text_of
from tests.sources.redis.case import RedisCase, has_tried
from tests.sources.redis.certificates import Certificates
from tests.sources.redis.server import RedisServer
from tests.sources.support import RecordingSink, make_context

A = "/topic/a"
#: A password that has to be written with care in a URL.
PASSWORD = "p@ss/w?rd:#%ü"
#: What is said when TLS fails, in front of OpenSSL's reason.
LOST = "the connection was lost: "


class PasswordTests(RedisCase):
    """The password comes from one of three places, and appears nowhere else."""

    def make_server(self) -> RedisServer:
        server = self.own_server()
        reader = "allkeys +xread +xinfo|stream +xrange +multi +exec +client|id +client|unblock"
        operator = server.connect()
        for name, rules in (
            ("airyd", f"on >{PASSWORD} allkeys allcommands"),
            ("reader", f"on >{PASSWORD} {reader}"),
            ("blind", "on >blind allkeys +client|id +xinfo|stream +xadd +ping"),
        ):
            operator.call("ACL", "SETUSER", name, *rules.split())
        operator.close()
        return server

    async def assert_works(self, url: str, **environ: str) -> None:
        """Assert that a source of this URL reads and writes."""
        source, sink = await self.running(url, **environ)
        await source.watch(A)
        event_id = await source.publish(A, b"{}")
        await self.until(lambda: sink.events)
        self.assertEqual(sink.events[0].id, event_id)
        await source.stop()

    async def test_where_it_comes_from(self) -> None:
        log = record_log(self)
        file = Path(self.mktemp())
        file.write_text(f"{PASSWORD}\n")
        await self.assert_works(self.url(f"airyd:{quote(PASSWORD, safe='')}@"))
        await self.assert_works(self.url("airyd@", more=f"&password-file={quote(str(file))}"))
        await self.assert_works(self.url("airyd@"), AIRYD_REDIS_PASSWORD=PASSWORD)
        self.assertNotIn(PASSWORD, text_of(log))

    async def test_the_default_user(self) -> None:
        self.redis.call("CONFIG", "SET", "requirepass", PASSWORD)
        await self.assert_works(self.url(f":{quote(PASSWORD, safe='')}@"))

    async def test_a_wrong_one(self) -> None:
        """Health says why; it recovers as soon as the operator corrects it."""
        log = record_log(self)
        source, sink = self.source(self.url("airyd:s3cret@")), RecordingSink()
        starting = source.start(sink)
        await self.until_says(source, "WRONGPASS")
        self.redis.call("ACL", "SETUSER", "airyd", ">s3cret")
        await starting
        self.assertEqual(list(source.health()), [])
        for text in (text_of(log), str(source.health())):
            self.assertNotIn("s3cret", text)

    async def test_none_where_one_is_needed(self) -> None:
        self.redis.call("CONFIG", "SET", "requirepass", PASSWORD)
        source = self.source()
        starting = source.start(RecordingSink())
        await self.until_says(source, "NOAUTH")
        await source.stop()
        await self.assertFailure(starting, SourceUnavailable)

    async def test_one_that_may_only_read(self) -> None:
        """Events are delivered; airyd writes nothing, and resumes from an empty stream's position are incomplete."""
        source, sink = await self.running(self.url(f"reader:{quote(PASSWORD, safe='')}@"))
        position = await source.watch(A)
        self.redis.call("XADD", self.key(A), "*", "nonsense", "1")
        events = self.add(1, 2, destination=A)
        await self.until_seen(sink, events)
        self.assertEqual(len(sink.refusals), 1)
        self.assertFalse((await source.replay(A, position, 10)).complete)
        self.assertEqual((await source.replay(A, events[0].id, 10)).events, (events[1],))
        error = await self.assertFailure(source.publish(A, b"{}"), SourceUnavailable)
        self.assertIn("NOPERM", str(error))
        await self.wait(3.2)
        self.assertEqual((sink.gaps, list(source.health())), ([], []))
        self.assertEqual(self.redis.call("EXISTS", f"{self.prefix}dead-letter"), 0)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_one_that_may_not_read(self) -> None:
        """Its health is never good while no event can arrive."""
        source, _ = await self.running(self.url("blind:blind@"))
        await source.watch(A)
        await self.until(lambda: any("NOPERM" in trouble for trouble in source.health()))
        error = await self.assertFailure(source.replay(A, "1-0", 1), SourceUnavailable)
        self.assertIn("NOPERM", str(error))
        self.assertEqual(self.flushLoggedErrors(), [])


class TlsTests(RedisCase):
    """``rediss://``, with certificates for both sides."""

    def make_server(self) -> RedisServer:
        self.files = self.certificates()
        return self.own_server(tls=self.files)

    def certificates(self) -> Certificates:
        """Return new certificates."""
        directory = Path(self.mktemp())
        directory.mkdir()
        return Certificates(directory)

    def tls_url(self, host: str = "localhost", ca: str = "", client: Certificates | None = None) -> str:
        """Return the URL with these files, or those of the server's authority."""
        client = client or self.files
        files = f"ca-file={ca or self.files.ca}&cert-file={client.client}&key-file={client.client_key}"
        return f"rediss://{host}:{self.server.port}/0?prefix={self.prefix}&{files}"

    async def test_both_sides_trust_each_other(self) -> None:
        for host in ("localhost", "127.0.0.1"):
            source, sink = await self.running(self.tls_url(host))
            await source.watch(A)
            await self.until_seen(sink, self.add(1, destination=A))
            await source.stop()

    async def refused(self, url: str) -> str:
        """Return why the source cannot connect."""
        source = self.source(url)
        starting = source.start(RecordingSink())
        await self.until(lambda: has_tried(source))
        said = "; ".join(source.health())
        await source.stop()
        await self.assertFailure(starting, SourceUnavailable)
        self.assertEqual(self.flushLoggedErrors(), [])
        return said

    async def test_a_server_of_somebody_else(self) -> None:
        said = await self.refused(self.tls_url(ca=self.certificates().ca))
        self.assertIn("the server's certificate is not trusted: ca-file", said)

    async def test_the_systems_authorities(self) -> None:
        url = f"rediss://localhost:{self.server.port}/0"
        self.assertIn("the server's certificate is not trusted", await self.refused(url))

    async def test_a_client_of_somebody_else(self) -> None:
        said = await self.refused(self.tls_url(client=self.certificates()))
        self.assertIn("the server refuses the certificate of cert-file", said)

    async def test_a_client_without_tls(self) -> None:
        self.assertIn("write rediss:", await self.refused(f"redis://localhost:{self.server.port}/0"))

    async def test_a_server_that_stops_answering(self) -> None:
        """A close over TLS waits for the other side, for a bounded time."""
        source, _ = await self.running(self.tls_url())
        await source.watch(A)
        self.server.pause()
        await source.stop()

    async def test_files_that_are_missing(self) -> None:
        error = self.assertRaises(ConfigurationError, make_source, self.tls_url(ca="/does/not/exist"), make_context())
        self.assertIn("/does/not/exist", str(error))


class UnixTests(RedisCase):
    """``redis+unix://``."""

    def make_server(self) -> RedisServer:
        return self.own_server(unix=True)

    async def test_socket(self) -> None:
        for database in (0, 3):
            source, sink = await self.running(f"redis+unix://{self.server.path}?prefix={self.prefix}&db={database}")
            await source.watch(A)
            self.redis.call("SELECT", database)
            await self.until_seen(sink, self.add(1, destination=A))
            await source.stop()

    async def test_no_socket(self) -> None:
        source = self.source(f"redis+unix://{self.server.path}-not")
        starting = source.start(RecordingSink())
        await self.until_says(source, os.strerror(errno.ENOENT))
        await source.stop()
        await self.assertFailure(starting, SourceUnavailable)

"""Redis addresses and logins, by every form of URL."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import ConfigurationError
from airyd.hostnames import AnyNameEndpoint
from airyd.sources import make_source
from airyd.sources.redis.address import Address, SentinelAddress, read_address, read_sentinel_address
from airyd.sources.url_query import Query
from tests.sources.redis.certificates import Certificates
from tests.sources.support import make_context


def read(url: str, **environ: str) -> Address:
    """Return the address of a URL all of whose parameters are the address's."""
    query = Query(url)
    address = read_address(url, query, environ)
    query.rest = ""
    query.finish()
    return address


class FormTests(SynchronousTestCase):
    """The forms that Redis users know."""

    def test_tcp(self) -> None:
        for url, name, host, port, database in (
            ("redis:", "redis://localhost:6379/0", "localhost", 6379, 0),
            ("redis://", "redis://localhost:6379/0", "localhost", 6379, 0),
            ("redis://db.example", "redis://db.example:6379/0", "db.example", 6379, 0),
            ("redis://db.example:7000/", "redis://db.example:7000/0", "db.example", 7000, 0),
            ("redis://db.example/15", "redis://db.example:6379/15", "db.example", 6379, 15),
            ("redis://:7000/2", "redis://localhost:7000/2", "localhost", 7000, 2),
            ("redis://[2001:db8::1]:7000/2", "redis://[2001:db8::1]:7000/2", "2001:db8::1", 7000, 2),
            ("REDIS://db.example", "redis://db.example:6379/0", "db.example", 6379, 0),
        ):
            address = read(url)
            self.assertEqual(
                (address.name, address.host, address.port, address.database), (name, host, port, database), url
            )
            self.assertEqual((address.tls, address.path, address.user, address.password), (False, None, None, None))

    def test_tls(self) -> None:
        for url in ("rediss://db.example/1", "REDISS://db.example/1", "Rediss://db.example:6379/1"):
            address = read(url)
            self.assertEqual((address.name, address.tls), ("rediss://db.example:6379/1", True), url)
            self.assertEqual((address.ca_file, address.cert_file, address.key_file), (None, None, None))
        address = read("rediss://db.example?ca-file=/a/ca.pem&cert-file=/a/c.pem&key-file=/a/k%20.pem")
        self.assertEqual((address.ca_file, address.cert_file, address.key_file), ("/a/ca.pem", "/a/c.pem", "/a/k .pem"))

    def test_unix(self) -> None:
        for url, path, database in (
            ("redis+unix:///run/redis.sock", "/run/redis.sock", 0),
            ("redis+unix:/run/redis.sock?db=3", "/run/redis.sock", 3),
            ("redis+unix:///run/my%20redis.sock?db=3", "/run/my redis.sock", 3),
            ("Redis+Unix:///run/redis.sock", "/run/redis.sock", 0),
            ("redis+unix://airyd:s3cret@/run/redis.sock", "/run/redis.sock", 0),
        ):
            address = read(url)
            self.assertEqual((address.path, address.database, address.tls), (path, database, False), url)
            self.assertEqual(address.name, f"redis+unix://{path}")

    def test_login(self) -> None:
        for url, user, password in (
            ("redis://airyd:s3cret@db.example", "airyd", "s3cret"),
            ("redis://:s3cret@db.example", None, "s3cret"),
            ("redis://airyd@db.example", "airyd", None),
            ("redis://a%3Ab:p%40s%2Fs%3F%23@db.example", "a:b", "p@s/s?#"),
            ("redis://:gr%C3%BC%C3%9Fe@db.example", None, "grüße"),
            ("rediss://airyd:s3cret@db.example/2", "airyd", "s3cret"),
            ("redis+unix://airyd:s3cret@/run/redis.sock", "airyd", "s3cret"),
        ):
            address = read(url)
            self.assertEqual((address.user, address.password), (user, password), url)
            self.assertFalse({"airyd", "s3cret"} & set(address.name.replace("@", "/").replace(":", "/").split("/")))

    def test_endpoints(self) -> None:
        reactor = MemoryReactorClock()
        self.assertIsInstance(read("redis+unix:///run/redis.sock").endpoint(reactor), UNIXClientEndpoint)
        self.assertIsInstance(read("redis://db.example").endpoint(reactor), AnyNameEndpoint)


class SentinelTests(SynchronousTestCase):
    """``redis+sentinel://``."""

    def read(self, url: str, **environ: str) -> SentinelAddress:
        """Return the address of a URL all of whose parameters are the address's."""
        query = Query(url)
        address = read_sentinel_address(url, query, environ)
        query.rest = ""
        query.finish()
        return address

    def test_places(self) -> None:
        for hosts, places, listed in (
            ("h1", [("h1", 26379)], "h1:26379"),
            ("h1,h2:7000,H3", [("h1", 26379), ("h2", 7000), ("h3", 26379)], "h1:26379,h2:7000,h3:26379"),
            ("[2001:db8::1]:7000,h2", [("2001:db8::1", 7000), ("h2", 26379)], "[2001:db8::1]:7000,h2:26379"),
        ):
            address = self.read(f"redis+sentinel://{hosts}/mymaster/3")
            self.assertEqual([(each.host, each.port) for each in address.sentinels], places)
            self.assertEqual((address.service, address.master.database), ("mymaster", 3))
            self.assertEqual(address.master.name, f"redis+sentinel://{listed}/mymaster/3")

    def test_logins(self) -> None:
        """The password of Redis may be in the URL, that of the sentinels may not."""
        file = self.mktemp()
        Path(file).write_text("s3ntinel\n")
        for url, environ, user, password, own in (
            ("redis+sentinel://h/m", {}, None, None, None),
            ("redis+sentinel://airyd:p%40ss@h,i/m", {}, "airyd", "p@ss", None),
            ("redis+sentinel://:p%3Ass@h/m", {}, None, "p:ss", None),
            ("redis+sentinel://airyd@h/m", {"AIRYD_REDIS_PASSWORD": "x"}, "airyd", "x", None),
            ("redis+sentinel://h/m", {"AIRYD_REDIS_SENTINEL_PASSWORD": "y"}, None, None, "y"),
            (f"redis+sentinel://:x@h/m?sentinel-password-file={file}", {}, None, "x", "s3ntinel"),
            (
                f"redis+sentinel://h/m?password-file={file}",
                {"AIRYD_REDIS_SENTINEL_PASSWORD": "y"},
                None,
                "s3ntinel",
                "y",
            ),
        ):
            address = self.read(url, **environ)
            self.assertEqual((address.master.user, address.master.password), (user, password), url)
            for sentinel in address.sentinels:
                self.assertEqual((sentinel.user, sentinel.password), (None, own), url)

    def test_names(self) -> None:
        address = self.read("redis+sentinel://h/my%20master")
        self.assertEqual((address.service, address.master.database), ("my master", 0))


class PasswordTests(SynchronousTestCase):
    """A password need not be in the URL."""

    def file(self, content: bytes) -> str:
        """Return the path of a file with this content."""
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    def test_file(self) -> None:
        for content in (b"s3cret", b"s3cret\n", b"s3cret\r\n"):
            address = read(f"redis://airyd@db.example?password-file={self.file(content)}")
            self.assertEqual((address.user, address.password), ("airyd", "s3cret"))
        self.assertEqual(read(f"redis://h?password-file={self.file(b' a b ')}").password, " a b ")

    def test_environment(self) -> None:
        self.assertEqual(read("redis://h", AIRYD_REDIS_PASSWORD="s3cret").password, "s3cret")
        self.assertIsNone(read("redis://h", AIRYD_REDIS_PASSWORD="").password)

    def test_which_one_holds(self) -> None:
        self.assertEqual(read("redis://:first@h", AIRYD_REDIS_PASSWORD="second").password, "first")
        file = self.file(b"first")
        self.assertEqual(read(f"redis://h?password-file={file}", AIRYD_REDIS_PASSWORD="second").password, "first")
        error = self.assertRaises(ConfigurationError, read, f"redis://:s3cret@h?password-file={file}")
        self.assertIn("password-file", str(error))
        self.assertNotIn("s3cret", str(error))

    def test_a_file_that_cannot_be_read(self) -> None:
        for path in ("/does/not/exist", os.curdir, self.file(b"\xff")):
            error = self.assertRaises(ConfigurationError, read, f"redis://h?password-file={path}")
            self.assertIn(path, str(error))
            self.assertEqual(len(str(error).splitlines()), 1)


class RefusalTests(SynchronousTestCase):
    """Errors don't contain the login."""

    def test_wrong(self) -> None:
        for url in (
            "redis://{}@h:port/0",
            "redis://{}@h:65536/0",
            "redis://{}@h/zero",
            "redis://{}@h/1/2",
            "redis://{}@h/-1",
            "redis://{}@h/1234567",
            "redis://{}@h/٣",
            "redis://{}@[::1/0",
            "redis://{}@h/0#fragment",
            "redis://{}@h/0?nonsense=1",
            "redis://{}@h/0?maxlen=many",
            "redis://{}@h/0?maxlen=0",
            "redis://{}@h/0?linger=1001",
            "redis://{}@h/0?prefix",
            "redis://{}@h/0?prefix=a&prefix=b",
            "redis://{}@h/0?db=1",
            "redis://{}@h/0?ca-file=/x",
            "rediss://{}@h/0?ca-file=/does/not/exist",
            "rediss://{}@h/0?cert-file=/x",
            "rediss://{}@h/0?key-file=/x",
            "rediss://{}@h/0?cert-file=/does/not/exist&key-file=/does/not/exist",
            "redis+unix://{}@h/run/redis.sock",
            "redis+unix://{}@",
            "redis+unix://{}@/",
            "redis+unix://{}@/run/redis.sock?db=-1",
            "redis+sentinel://{}@h",
            "redis+sentinel://{}@h/",
            "redis+sentinel://{}@/m",
            "redis+sentinel://{}@h,/m",
            "redis+sentinel://{}@h:port/m",
            "redis+sentinel://{}@h,i:65536/m",
            "redis+sentinel://{}@[::1/m",
            "redis+sentinel://{}@h/m/zero",
            "redis+sentinel://{}@h/m/",
            "redis+sentinel://{}@h/m/1/2",
            "redis+sentinel://{}@h/m/-1",
            "redis+sentinel://{}@h/m/1234567",
            "redis+sentinel://{}@h/m/٣",
            "redis+sentinel://{}@h/m#fragment",
            "redis+sentinel://{}@h/m?ca-file=/x",
            "redis+sentinel://{}@h/m?sentinel-password-file=/does/not/exist",
        ):
            self.assert_refused(url.format("us3r:s3cret"), "us3r", "s3cret")

    def test_what_to_change(self) -> None:
        for url, words in (
            ("redis", "write redis://HOST[:PORT][/DB]"),
            ("redis:127.0.0.1", "write redis://HOST[:PORT][/DB]"),
            ("redis://{}@a,b:6379/0", "write redis+sentinel://HOST"),
            ("redis://{}@h:0/0", "a number from 1 to 65535"),
            ("redis://::1/0", "in brackets, such as [::1]:6379"),
            ("redis://{}@h..x/0", "not a name that can be looked up"),
            ("redis://{}@" + "x" * 64 + "/0", "not a name that can be looked up"),
            ("redis://{}@h/zero", "the number of the database, such as /0"),
            ("redis://us3r:s3cret/x@h/0", "write %2F for '/'"),
            ("redis://{}@h/0?ca-file=/x", "it is for rediss:"),
            ("redis://{}@h/0?db=1", "after the host, such as redis://HOST/1"),
            ("redis://{}@h/0?history=5", "it is for mode=pubsub"),
            ("redis://{}@h/0?mode=pubsub&maxlen=5", "it is for mode=stream"),
            ("redis://{}@h/0?mode=pubsub&linger=5", "it is for mode=stream"),
            ("redis://{}@h/0?pasword-file=/x", "did you mean password-file?"),
            ("redis+unix://{}@h/run/redis.sock", "redis+unix:///run/redis/redis-server.sock"),
            ("redis+sentinel://{}@h", "write redis+sentinel://HOST[:PORT],.../NAME-OF-THE-MASTER[/DB]"),
            ("redis+sentinel://{}@h:0/m", "a number from 1 to 65535"),
        ):
            self.assertIn(words, self.assert_refused(url.format("us3r:s3cret"), "us3r", "s3cret"))

    def test_a_password_with_signs_of_its_own(self) -> None:
        """Where the URL breaks within a password, no part of it is quoted."""
        for password in ("s3cret?pa55", "s3cret?pa55=1", "s3cret?a=1&pa55", "s3cret#pa55", "s3cret/pa55", "[s3cret"):
            self.assert_refused(f"redis://us3r:{password}@h/0", "us3r", "s3cret", "pa55")
            self.assert_refused(f"redis+sentinel://us3r:{password}@h/m/0", "us3r", "s3cret", "pa55")

    @settings(max_examples=30)
    @given(st.text(st.characters(codec="utf-8", min_codepoint=32), min_size=1, max_size=12))
    def test_any_password(self, noise: str) -> None:
        for url in (f"redis://us3r:s3cret{noise}pa55@h/x", f"redis+sentinel://us3r:s3cret{noise}pa55@h/m/x"):
            try:
                make_source(url, make_context())
            except ConfigurationError as error:
                text = str(error)
                self.assertFalse({part for part in ("us3r", "s3cret", "pa55") if part in text}, (url, text))

    def assert_refused(self, url: str, *secrets: str) -> str:
        """The URL is refused in one line, which is returned, that holds none of the secrets."""
        error = self.assertRaises(ConfigurationError, make_source, url, make_context())
        text = str(error)
        self.assertEqual(len(text.splitlines()), 1, url)
        self.assertEqual([secret for secret in secrets if secret in text], [], text)
        return text


class CertificateTests(SynchronousTestCase):
    """Files for TLS; what happens with them on a connection is in test_server."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.files = Certificates(directory)
        self.empty = str(directory / "empty")
        Path(self.empty).write_bytes(b"")

    def make(self, **files: str) -> None:
        """Make the endpoint of an address with these files."""
        parameters = "&".join(f"{name}-file={path}" for name, path in files.items())
        read(f"rediss://localhost?{parameters}").endpoint(MemoryReactorClock())

    def test_good(self) -> None:
        read("rediss://localhost").endpoint(MemoryReactorClock())
        read("rediss://127.0.0.1").endpoint(MemoryReactorClock())
        self.make(ca=self.files.ca)
        self.make(ca=self.files.ca, cert=self.files.client, key=self.files.client_key)
        self.make(cert=self.files.client, key=self.files.client_key)

    def test_bad(self) -> None:
        files = self.files
        for bad in (
            {"ca": "/does/not/exist"},
            {"ca": self.empty},
            {"ca": files.client_key},
            {"cert": files.client, "key": files.server_key},  # another one's
            {"cert": self.empty, "key": self.empty},
            {"cert": files.client, "key": "/does/not/exist"},
        ):
            error = self.assertRaises(ConfigurationError, self.make, **bad)
            self.assertIn("rediss://localhost:6379/0", str(error))
            self.assertEqual(len(str(error).splitlines()), 1, bad)

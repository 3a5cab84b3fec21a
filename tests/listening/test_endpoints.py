"""Endpoints, from the option to the listening port, and the one-line errors."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from airyd import tap
from airyd.errors import ConfigurationError
from airyd.listening import endpoints as listening
from airyd.listening.endpoint_strings import read_endpoint
from airyd.listening.endpoints import ListeningEndpoint, check_distinct, end_program, unused_sockets
from airyd.trusted_proxies import TrustedProxies
from tests.sources.redis.certificates import Certificates

#: ``(endpoint string, what the line about it must name)``, for ``--listen`` and ``--admin`` alike. Where {} stands is a
#: folder with certificates, and broken.pem.
WRONG = (
    ("", "tcp:8080"),
    ("8080", "tcp:8080:interface=127.0.0.1"),
    ("http:8080", "tcp:8080:interface=127.0.0.1"),
    ("127.0.0.1:8080", "tcp:8080:interface=127.0.0.1"),
    ("/run/airyd.sock", "unix:/run/airyd.sock"),
    ("tpc:8080", "did you mean tcp"),
    ("pigeon:8080", "'pigeon'"),
    ("fd:3", "'fd'"),
    ("stdio:", "stdio"),
    ("tcp:", "port"),
    ("tcp:abc", "'abc'"),
    ("tcp:65536", "'65536'"),
    ("tcp:-1", "'-1'"),
    ("tcp:080", "'080'"),
    ("tcp:8080\n", "port"),
    ("tcp:18082:interfaces=127.0.0.1", "did you mean interface"),
    ("tcp:18082:interface=", "interface is empty"),
    ("tcp:18082:interface=example.org", "'example.org'"),
    ("tcp:18082:interface=127.0.0.1:backlog=x", "backlog"),
    ("tcp:18082:interface=127.0.0.1\\", "backslash"),
    ("tcp6:18082:interface=::1", r"tcp6:18082:interface=\:\:1"),
    ("tcp6:18082:interface=127.0.0.1", "IPv6"),
    ("ssl:", "privateKey"),
    ("ssl:18443:interface=127.0.0.1", "privateKey"),
    ("ssl:18443:interface=127.0.0.1:privateKey=/nothing/there.pem", "there is no such file"),
    ("ssl:18443:interface=127.0.0.1:privateKey={}/client-key.pem:certKey={}/server.pem", "does not belong"),
    ("ssl:18443:interface=127.0.0.1:privateKey={}/broken.pem:certKey={}/server.pem", "PEM"),
    ("ssl:18443:interface=127.0.0.1:privateKey={}/server-key.pem:certKey={}/broken.pem", "PEM"),
    (
        "ssl:18443:interface=127.0.0.1:privateKey={}/server-key.pem:certKey={}/server.pem:extraCertChain=/nothing",
        "extraCertChain=/nothing",
    ),
    ("unix:", "address"),
    ("unix:/run/airyd.sock:mode=rw", "mode"),
    ("unix:/run/" + "x" * 200, "107"),
)
#: More that are for ``--listen``; the admin page takes no such kinds.
WRONG_TO_LISTEN = (
    ("systemd:", "domain"),
    ("systemd:domain=INET:index=0", "systemd has passed no socket to this process; start airyd through a socket unit"),
    ("systemd:domain=UNIX:name=airyd", "give an address to listen on, such as tcp:8080:interface=127.0.0.1"),
    ("tls:/nothing/there:18443", "/nothing/there"),
    ("haproxy:", "behind haproxy:"),
    ("haproxy:tcp:abc", "'abc'"),
    ("haproxy:ssl:18443:privateKey=/nothing/there.pem", "there is no such file"),
    ("autobahn:tcp", "autobahn"),
)


class WalkTests(SynchronousTestCase):
    """Each wrong endpoint string of the tables ends the program before anything listens."""

    def setUp(self) -> None:
        """Leave the reactor that runs the tests as it is; nothing may listen with it."""
        reactor = cast(Any, installed)
        for name in ("listenTCP", "listenSSL", "listenUNIX", "adoptStreamPort"):
            self.patch(reactor, name, None)
        self.patch(reactor, "seconds", reactor.seconds)
        self.patch(reactor, "callWhenRunning", lambda *_: None)
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        Certificates(self.directory)
        (self.directory / "broken.pem").write_text("-----BEGIN nothing-----\n")

    def said(self, *arguments: str) -> str:
        """Start with these options; return the line that ends the program."""
        options = tap.Options()

        def start() -> None:
            options.parseOptions(arguments)
            tap.makeService(options)

        code = self.assertRaises(SystemExit, start).code
        assert isinstance(code, str), code
        self.assertEqual(len(code.splitlines()), 1, code)
        return code

    def walk(self, option: str, table: tuple[tuple[str, str], ...], *others: str) -> None:
        """Check the error of each."""
        for text, word in table:
            description = text.replace("{}", str(self.directory))
            said = self.said(f"{option}={description}", *others)
            self.assertTrue(said.startswith(f"airyd: {option} {' '.join(description.split(chr(10)))}: "), said)
            self.assertIn(word, said)
            self.assertNotIn("everybody", said, "a malformed endpoint is not reported as open to everybody")

    def test_listen(self) -> None:
        self.walk("--listen", (*WRONG, *WRONG_TO_LISTEN), "--admin=none")

    def test_listen_with_workers(self) -> None:
        self.walk("--listen", WRONG, "--admin=none", "--workers=2", "--source=redis:")

    def test_admin(self) -> None:
        self.walk("--admin", WRONG)

    def test_admin_with_workers(self) -> None:
        self.walk("--admin", WRONG, "--workers=2", "--source=redis:")

    def test_kinds_that_workers_can_not_share(self) -> None:
        for description in ("unix:/run/x", "haproxy:unix:/run/x", "systemd:domain=UNIX:index=0"):
            said = self.said(f"--listen={description}", "--admin=none", "--workers=2", "--source=redis:")
            self.assertTrue(said.startswith(f"airyd: --listen {description}: with --workers 2 "), said)

    def test_one_place_for_two(self) -> None:
        for workers in ((), ("--workers=2", "--source=redis:")):
            said = self.said(*["--listen=tcp:8080:interface=127.0.0.1"] * 2, *workers)
            self.assertTrue(said.startswith("airyd: --listen tcp:8080:interface=127.0.0.1: "), said)
            said = self.said("--listen=tcp:8081:interface=127.0.0.1", *workers)
            self.assertTrue(said.startswith("airyd: --admin tcp:8081:interface=127.0.0.1: "), said)


class Endpoint:
    """An endpoint as a plugin might make it."""

    def __init__(self, listen: Callable[[], object]) -> None:
        self._listen = listen

    def listen(self, factory: object) -> object:
        """See ``IStreamServerEndpoint``."""
        return self._listen()


def _raise(error: Exception) -> Any:
    raise error


class PluginTests(SynchronousTestCase):
    """Endpoints of third-party plugins."""

    #: The kind of a plugin that is installed.
    description = "autobahn:anything"

    def read(self, make: Callable[[], object]) -> ListeningEndpoint:
        """Read an endpoint string whose plugin does this."""
        self.patch(listening, "serverFromString", lambda reactor, description: make())
        return ListeningEndpoint.read("--listen", self.description, MemoryReactor())

    def test_refuses(self) -> None:
        """Plugins may raise any exception."""
        errors: tuple[tuple[Exception, str], ...] = (
            (Exception("URL needed"), "URL needed"),
            (KeyError("path"), "path"),
            (ZeroDivisionError("two\nlines"), "two lines"),
            (TypeError(), "TypeError"),
        )
        for error, word in errors:
            said = str(self.assertRaises(ConfigurationError, self.read, partial(_raise, error)))
            self.assertTrue(said.startswith("--listen autobahn:anything: "), said)
            self.assertIn(word, said)
            self.assertEqual(len(said.splitlines()), 1)

    def test_can_not_listen(self) -> None:
        """It fails, raises, or does not listen at once."""
        late: list[Deferred[object]] = [Deferred(), Deferred()]
        outcomes: tuple[tuple[Callable[[], object], str], ...] = (
            (
                lambda: fail(
                    CannotListenError("127.0.0.1", 80, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
                ),
                os.strerror(errno.EADDRINUSE),
            ),
            (lambda: fail(CannotListenError("127.0.0.1", 80, cast(Any, "no way"))), "no way"),
            (lambda: fail(ZeroDivisionError("two\nlines")), "two lines"),
            (lambda: _raise(AttributeError("nothing")), "nothing"),
            (lambda: late[0], "at once"),
            (lambda: late[1], "at once"),
            (lambda: succeed(object()), "do not listen"),
            (lambda: None, "do not listen"),
        )
        for listen, word in outcomes:
            place = self.read(partial(Endpoint, listen))
            said = str(self.assertRaises(SystemExit, place.listen, Factory()).code)
            self.assertTrue(said.startswith("airyd: --listen autobahn:anything: cannot listen there: "), said)
            self.assertIn(word, said)
            self.assertEqual(len(said.splitlines()), 1)
        late[0].callback(object())
        late[1].errback(ZeroDivisionError())
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_listens(self) -> None:
        reactor = MemoryReactor()
        port = reactor.listenTCP(80, Factory())
        self.assertIs(self.read(lambda: Endpoint(lambda: succeed(port))).listen(Factory()), port)


class EndTests(SynchronousTestCase):
    """How the program ends after twistd has replaced standard error with its log."""

    def test_both_get_the_line(self) -> None:
        """The operator at the terminal, and who reads the log: Python itself writes the latter."""
        log, terminal = io.StringIO(), io.StringIO()
        self.patch(sys, "stderr", log)
        self.patch(sys, "__stderr__", terminal)
        self.assertEqual(self.assertRaises(SystemExit, end_program, "no").code, "airyd: no")
        self.assertEqual((terminal.getvalue(), log.getvalue()), ("airyd: no\n", ""))

    def test_before_the_log(self) -> None:
        """Then Python alone writes it."""
        terminal = io.StringIO()
        self.patch(sys, "stderr", terminal)
        self.patch(sys, "__stderr__", terminal)
        self.assertRaises(SystemExit, end_program, "no")
        self.assertEqual(terminal.getvalue(), "")

    def test_without_standard_error(self) -> None:
        self.patch(sys, "__stderr__", None)
        self.assertRaises(SystemExit, end_program, "no")


class PlaceTests(SynchronousTestCase):
    """Valid endpoints."""

    def test_all_kinds(self) -> None:
        """Each listens, with a backlog for thousands unless it says another one."""
        directory = Path(self.mktemp())
        directory.mkdir()
        files = Certificates(directory)
        keys = f"privateKey={files.server_key}:certKey={files.server}"
        for description, scheme, backlog in (
            ("tcp:80:interface=127.0.0.1", "ws", 1024),
            ("tcp:80:backlog=7", "ws", 7),
            (r"tcp6:80:interface=\:\:1", "ws", 1024),
            (f"ssl:80:{keys}", "wss", 1024),
            ("unix:/run/x:mode=660", "ws", 1024),
            ("haproxy:tcp:80", "ws", 1024),
            (f"haproxy:ssl:80:{keys}:backlog=5", "wss", 5),
        ):
            reactor = MemoryReactor()
            place = ListeningEndpoint.read("--listen", description, reactor, TrustedProxies(["127.0.0.1"]))
            self.assertTrue(IListeningPort.providedBy(place.listen(Factory())))
            self.assertEqual(place.scheme("ws"), scheme)
            (call,) = cast(Any, reactor.tcpServers or reactor.sslServers or reactor.unixServers)
            self.assertIn(backlog, call, description)

    def test_folder_of_certificates(self) -> None:
        directory = Path(self.mktemp())
        (directory / "all").mkdir(parents=True)
        files = Certificates(directory)
        both = Path(files.server).read_text() + Path(files.server_key).read_text()
        (directory / "all" / "localhost.pem").write_text(both)
        place = ListeningEndpoint.read("--listen", f"tls:{directory}/all:80", MemoryReactor())
        self.flushWarnings()  # Twisted's own
        self.assertEqual((place.scheme("ws"), place.text.port), ("wss", 80))

    def test_certificates_of_each_kind(self) -> None:
        """Each endpoint with TLS knows when its certificates end, and has a short name for the metrics."""
        directory = Path(self.mktemp())
        (directory / "all").mkdir(parents=True)
        files = Certificates(directory)
        both = Path(files.server).read_text() + Path(files.server_key).read_text()
        (directory / "all" / "localhost.pem").write_text(both)
        chain, _ = files.issue("soon", "localhost", days=(-1, 0))
        keys = f"privateKey={files.server_key}:certKey={files.server}"
        ends = {}
        for description, name in (
            (f"ssl:80:{keys}", "ssl:80"),
            (f"haproxy:ssl:81:{keys}", "ssl:81"),
            (f"ssl:82:privateKey={directory}/all/localhost.pem", "ssl:82"),
            (f"tls:{directory}/all:83", "tls:83"),
            (f"ssl:84:{keys}:extraCertChain={chain}", "ssl:84"),
            ("tcp:85", "tcp:85"),
            ("unix:/run/x", "unix"),
        ):
            place = ListeningEndpoint.read("--listen", description, MemoryReactor(), TrustedProxies(["10.0.0.0/8"]))
            self.assertEqual(name, place.short_name)
            ends[name] = place.certificate_end
        self.flushWarnings()  # Twisted's own
        self.assertEqual((None, None), (ends.pop("tcp:85"), ends.pop("unix")))
        sooner = ends.pop("ssl:84")
        (later,) = set(ends.values())
        assert sooner is not None and later is not None
        self.assertLess(abs(later - sooner - 86_400), 60)

    def test_distinct(self) -> None:
        def place(option: str, description: str) -> ListeningEndpoint:
            return ListeningEndpoint(option, description, read_endpoint(description), cast(Any, None))

        check_distinct([place("--listen", "tcp:80"), place("--listen", "tcp:81"), place("--admin", "tcp:82")])
        endpoints = [place("--listen", "tcp:80"), place("--listen", "tcp:81"), place("--admin", "tcp:80")]
        said = str(self.assertRaises(ConfigurationError, check_distinct, endpoints))
        self.assertTrue(said.startswith("--admin tcp:80: --listen tcp:80 "), said)


class PassedSocketsTests(SynchronousTestCase):
    """The sockets that systemd has passed."""

    def test_unused(self) -> None:
        """Those that no endpoint names, by name or by number."""
        self.patch(os, "environ", {**os.environ, "LISTEN_FDNAMES": "clients:admin:clients"})
        for endpoints, unused in (
            ((), ["admin", "clients"]),
            (("tcp:8080", "systemd:domain=INET:name=clients"), ["admin"]),
            (("haproxy:systemd:domain=INET:name=clients", "systemd:domain=UNIX:index=1"), []),
            (("systemd:domain=INET:index=7", "systemd:domain=INET:name=admin"), ["clients"]),
        ):
            self.assertEqual(unused, unused_sockets(endpoints))

    def test_none(self) -> None:
        """Without variables, and with those of another process, there are none."""
        self.patch(os, "environ", {"LISTEN_FDNAMES": "clients", "LISTEN_FDS": "1", "LISTEN_PID": "1"})
        self.assertEqual([], unused_sockets(()))
        self.patch(os, "environ", {})
        self.assertEqual([], unused_sockets(()))

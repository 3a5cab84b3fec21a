"""The whole daemon on a reactor in memory: the order in which it starts and stops, and what it refuses."""

from __future__ import annotations

import errno
import os
import random
import re
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from prometheus_client import generate_latest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.logger import LogEvent, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from airyd.config.command_line import Options
from airyd.errors import ConfigurationError
from airyd.events import MESSAGE, STATUS
from airyd.interfaces import IEventSink, IServerReactor, SourceContext
from airyd.limits import CLOSE_PATIENCE, MIB, Limits
from airyd.service import Airyd
from airyd.sources import routing as several
from tests.doubles import EVENT, Feed, frame, record_log, websocket_frames
from tests.loop import Loop, Peer
from tests.sources.redis.certificates import Certificates
from tests.websocket.case import CONNECT, close_frame, request, text

#: Two destinations with the same tag in their message ids.
COLLIDING = ("--destination=/t/7591", "--destination=/t/95307")


@implementer(IListeningPort)
class Port:
    """A listening port that records when it is closed."""

    def __init__(self, real: IListeningPort, closed: Callable[[], None]) -> None:
        self._real = real
        self._closed = closed

    def startListening(self) -> None:
        """See ``IListeningPort``."""

    def stopListening(self) -> Deferred[None]:
        """See ``IListeningPort``."""
        self._closed()
        return succeed(None)

    def getHost(self) -> IAddress:
        """See ``IListeningPort``."""
        return self._real.getHost()


class Reactor(Loop):
    """A reactor in memory that records what is opened and closed.

    :ivar done: what happened, in order
    :ivar taken: ports that are in use
    """

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []
        self.taken: set[int] = set()

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See ``IReactorTCP``."""
        if port in self.taken:
            raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
        self.done.append(f"listen {port}")
        real = super().listenTCP(port, factory, backlog, interface)
        return Port(real, lambda: self.done.append(f"close {port}"))


class Source(Feed):
    """A feed that records its start and stop."""

    def __init__(self, done: list[str]) -> None:
        super().__init__()
        self._done = done
        self.extended: list[str] = []
        self.reached: Deferred[None] = succeed(None)
        self.troubles: Sequence[str] = ()

    def start(self, sink: IEventSink) -> Deferred[None]:
        """See ``IEventSource``."""
        super().start(sink)
        self._done.append("start")
        return self.reached

    def extend(self, destinations: Sequence[str]) -> None:
        """See ``IEventSource``."""
        self.extended += destinations

    def stop(self) -> Deferred[None]:
        """See ``IEventSource``."""
        self._done.append("stop")
        return super().stop()

    def health(self) -> Sequence[str]:
        """See ``IEventSource``."""
        return self.troubles


class ServiceTestCase(SynchronousTestCase):
    """Makes services over a reactor in memory."""

    def setUp(self) -> None:
        """Replace the reactor, the feed, and the process's limits."""
        self.reactor = Reactor()
        self.source = Source(self.reactor.done)
        self.contexts: list[SourceContext] = []
        self.limits: list[tuple[int, int]] = []
        self.events: list[LogEvent] = record_log(self)

        def make_source(url: str, context: SourceContext) -> Source:
            self.contexts.append(context)
            return self.source

        self.patch(several, "make_source", make_source)
        self.patch(resource, "getrlimit", lambda _: (1024, 4096))
        self.patch(resource, "setrlimit", lambda _, limits: self.limits.append(limits))

    def make(self, *arguments: str) -> Airyd:
        """Return the service for a command line."""
        options = Options()
        options.parseOptions(arguments)
        return Airyd(options.settings, cast(IServerReactor, self.reactor), lambda: 1.7e9)

    def started(self, *arguments: str) -> Airyd:
        """Return a service that was started as twistd starts it."""
        made = self.make(*arguments)
        made.privilegedStartService()
        made.startService()
        return made

    def refusal(self, *arguments: str) -> str:
        """Return the refusal of a command line; check that it is one line and that nothing was opened."""
        error = self.assertRaises(ConfigurationError, self.make, *arguments)
        self.assertEqual(len(str(error).splitlines()), 1)
        self.assertEqual(self.reactor.done, [])
        return str(error)

    def said(self) -> str:
        """Return the lines that were logged."""
        return "\n".join(formatEvent(event) for event in self.events)

    def reach(self) -> Peer:
        """Return a connection to the last port that was opened."""
        _, factory, _, _ = cast(Any, self.reactor.tcpServers[-1])
        return Peer(self.reactor, factory.buildProtocol(None))

    def connected(self) -> Peer:
        """Return a connection with a session."""
        peer = self.reach()
        peer.say(request(Host="127.0.0.1:8080") + CONNECT)
        peer.say(text(frame("SUBSCRIBE", id="a", destination=MESSAGE)))
        self.assertIn(b"CONNECTED", peer.got())
        return peer


class StartTests(ServiceTestCase):
    """airyd checks the options, starts the source, opens the admin page, and then listens for clients."""

    def test_order(self) -> None:
        self.started("--listen=tcp:1:interface=127.0.0.1", "--listen=tcp:2:interface=127.0.0.1")
        self.assertEqual(self.reactor.done, ["start", "listen 8081", "listen 1", "listen 2"])

    def test_nothing_before_the_start(self) -> None:
        self.make()
        self.assertEqual((self.reactor.done, self.limits), ([], []))

    def test_without_privileges(self) -> None:
        """``startService`` alone starts everything, too."""
        self.make().startService()
        self.assertEqual(self.reactor.done, ["start", "listen 8081", "listen 8080"])

    def test_without_admin(self) -> None:
        self.started("--admin=none")
        self.assertEqual(self.reactor.done, ["start", "listen 8080"])

    def test_says_where(self) -> None:
        self.started("--path=/ws")
        self.assertIn("airyd serves ws://0.0.0.0:8080/ws", self.said())
        self.assertIn("airyd admin at http://0.0.0.0:8081/", self.said())

    def test_says_where_on_each_path(self) -> None:
        self.started("--path=/ws.communication", "--path=/ws.events")
        said = self.said().splitlines()
        for path in ("/ws.communication", "/ws.events"):
            self.assertEqual(said.count(f"airyd serves ws://0.0.0.0:8080{path}"), 1)

    def test_says_where_by_tls(self) -> None:
        token = Path(self.mktemp())
        token.write_text("0123456789abcdef")
        directory = Path(self.mktemp())
        directory.mkdir()
        files = Certificates(directory)
        keys = f"interface=127.0.0.1:privateKey={files.server_key}:certKey={files.server}"
        self.started(f"--listen=ssl:8443:{keys}", f"--admin=ssl:8444:{keys}", f"--admin-token-file={token}")
        self.assertIn("airyd serves wss://0.0.0.0:8443/ws.communication", self.said())
        self.assertIn("airyd admin at https://0.0.0.0:8444/", self.said())

    def test_unix_sockets(self) -> None:
        self.started("--listen=unix:/run/a", "--admin=unix:/run/b")
        self.assertIn("airyd serves ws+unix:/run/a/ws.communication", self.said())
        self.assertIn("airyd admin at http+unix:/run/b/", self.said())

    def test_ipv6(self) -> None:
        self.started(r"--listen=tcp6:8080:interface=\:\:1", r"--admin=tcp6:8081:interface=\:\:1")
        self.assertIn("]:8080/ws.communication", self.said())

    def test_backlog(self) -> None:
        self.started("--listen=tcp:1:interface=127.0.0.1", "--listen=tcp:2:interface=127.0.0.1:backlog=7")
        backlogs = {port: backlog for port, _, backlog, _ in cast(Any, self.reactor.tcpServers)}
        self.assertGreaterEqual(backlogs[1], 1024)
        self.assertEqual(backlogs[2], 7)

    def test_file_limit(self) -> None:
        self.started()
        self.assertEqual(self.limits, [(4096, 4096)])
        self.assertIn("4096", self.said())
        (factory,) = {factory for _, factory, *_ in cast(Any, self.reactor.tcpServers) if hasattr(factory, "channels")}
        self.assertLess(factory.max_connections, 4096, "the admin page and the source need some open files")
        self.assertGreater(factory.max_connections, 3900)

    def test_port_in_use(self) -> None:
        """The error names the port, so that twistd ends with a status that isn't 0."""
        for port, option in ((8080, "--listen tcp:8080"), (8081, "--admin tcp:8081")):
            self.reactor.taken = {port}
            ended = self.assertRaises(SystemExit, self.started)
            said = str(ended.code)
            self.assertIn(option, said)
            self.assertIn(": cannot listen there: ", said)
            self.assertEqual(len(said.splitlines()), 1)

    def test_source_knows_the_catalogue_and_the_limit(self) -> None:
        self.make("--destination=/events", "--body=1000")
        (context,) = self.contexts
        self.assertEqual((context.destinations[-1], context.body_limit), ("/events", 1000))
        self.assertEqual(context.wall(), 1.7e9)


class RefusalTests(ServiceTestCase):
    """airyd refuses options that it can't serve before it opens anything."""

    def test_anonymous_in_public(self) -> None:
        for listen in (
            "tcp:8080",
            "tcp:8080:interface=0.0.0.0",
            r"tcp6:8080:interface=\:\:",
        ):
            for auth in ("anonymous", "anonymous:send"):
                said = self.refusal(f"--listen={listen}", f"--auth={auth}", "--trust-proxy=127.0.0.1")
                self.assertIn(f"--listen {listen}", said)
                self.assertIn("listen on loopback, or give --auth anonymous:public", said)

    def test_anonymous_behind_a_proxy(self) -> None:
        """On loopback, too, since the proxy decides who can connect: another address would not help."""
        for listen in ("haproxy:tcp:8080:interface=127.0.0.1", "haproxy:unix:/run/x", "haproxy:tcp:8080"):
            said = self.refusal(f"--listen={listen}", "--trust-proxy=10.0.0.0/8")
            self.assertIn(f"--listen {listen}: airyd cannot know who connects there", said)
            self.assertIn("give --auth anonymous:public", said)
            self.assertNotIn("loopback", said)

    def test_anonymous_in_public_on_purpose(self) -> None:
        self.started("--listen=tcp:8080", "--auth=anonymous:public")
        self.assertIn("listen 8080", self.reactor.done)

    def test_one_public_among_several(self) -> None:
        self.refusal("--listen=tcp:1:interface=127.0.0.1", "--listen=tcp:2")

    def test_no_endpoint(self) -> None:
        """A malformed endpoint is reported before the question whether it is public."""
        for listen in (
            "8080",
            "tcp:x",
            "tcp:interface=127.0.0.1",
            "tcp:1:nonsense=1",
            "ssl:1:privateKey=/nothing/there",
            "systemd:domain=INET:index=0",
            "tls:/nothing/there",
            "haproxy:ssl:1",
            "autobahn:tcp",
        ):
            said = self.refusal(f"--listen={listen}")
            self.assertIn(f"--listen {listen}: ", said)
            self.assertNotIn("anonymous", said)

    def test_one_place_for_two(self) -> None:
        """Two endpoints, or an endpoint and the admin page, have the same address."""
        said = self.refusal("--listen=tcp:1:interface=127.0.0.1", "--listen=tcp:1:interface=localhost:backlog=9")
        self.assertIn("--listen tcp:1:interface=localhost:backlog=9: --listen tcp:1:interface=127.0.0.1 listens", said)
        said = self.refusal("--listen=tcp:8081:interface=127.0.0.1")
        self.assertIn("--admin tcp:8081:interface=127.0.0.1: --listen tcp:8081:interface=127.0.0.1 listens", said)
        self.refusal("--listen=unix:/run/x", "--admin=unix:/run/x")
        self.started("--listen=tcp:0:interface=127.0.0.1", "--listen=tcp:0:interface=127.0.0.1")

    def test_anonymous_in_public_beside_tokens(self) -> None:
        jwt = "--auth=jwt:jwks=/keys"
        self.assertIn("--listen", self.refusal("--listen=tcp:8080", jwt, "--auth=anonymous"))
        self.started("--listen=tcp:8080", jwt)
        self.started("--listen=tcp:8080", jwt, "--auth=anonymous:public")

    def test_cookies_of_any_page(self) -> None:
        """With cookies and any origin, each web page could log in as its visitor."""
        jwt = "--auth=jwt:jwks=/keys:cookie=session"
        self.assertIn("cookie=", self.refusal(jwt, "--origin=*"))
        self.assertIn("cookie=", self.refusal(jwt, "--origin=https://a.example", "--origin=*"))
        for origin in ("null", "file://", "File:///"):
            self.assertIn("cookie=", self.refusal(jwt, f"--origin={origin}"))
        self.started(jwt, "--origin=https://a.example", "--origin=https://*.a.example")
        self.started(jwt)
        self.started("--auth=jwt:jwks=/keys", "--origin=*")

    def test_unknown_authenticator(self) -> None:
        said = self.refusal("--auth=nobody:s3cret")
        self.assertIn("nobody", said)
        self.assertNotIn("s3cret", said)

    def test_bad_origin(self) -> None:
        self.assertIn("--origin", self.refusal("--origin=app.example"))

    def test_message_ids_that_collide(self) -> None:
        self.assertIn("--destination", self.refusal(*COLLIDING))


class ReadinessTests(ServiceTestCase):
    """``/readyz`` asks :meth:`Airyd.readiness`."""

    def test_ready(self) -> None:
        self.assertEqual(list(self.started().readiness().reasons), [])

    def test_not_ready_before_the_source_was_reached(self) -> None:
        self.source.reached = Deferred()
        service = self.started()
        self.assertEqual(len(service.readiness().reasons), 1)
        self.source.troubles = ["the feed refuses"]
        self.assertEqual(list(service.readiness().reasons)[1:], ["the feed refuses"])
        self.source.troubles = []
        self.source.reached.callback(None)
        self.assertEqual(list(service.readiness().reasons), [])

    def test_troubles_of_the_source(self) -> None:
        service = self.started()
        self.source.troubles = ["the feed is unreachable"]
        self.assertEqual(list(service.readiness().reasons), ["the feed is unreachable"])

    def test_no_keys_for_tokens(self) -> None:
        service = self.started("--auth=jwt:jwks=/nothing/there")
        (reason,) = service.readiness().reasons
        self.assertIn("/nothing/there: there is no such file", reason)
        self.assertEqual(
            list(self.started("--auth=jwt:jwks=/nothing/there", "--auth=anonymous").readiness().reasons), []
        )

    def test_source_that_can_not_start(self) -> None:
        """The failure is logged, and ``/readyz`` still has the reasons."""
        self.source.reached = fail(ZeroDivisionError("interna"))
        service = self.started()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(service.readiness().reasons)

    def test_not_ready_while_stopping(self) -> None:
        service = self.started()
        self.connected()
        stopped = service.stopService()
        self.assertEqual(list(service.readiness().reasons), ["stopping"])
        self.assertNoResult(stopped)


class ConnectTimeTests(ServiceTestCase):
    """The time limit for connecting, whatever else the timer wheel has to do."""

    def test_within_a_second(self) -> None:
        """A client that sends a byte now and then is closed at most a second after its limit."""
        quiet = ("--heart-beat=0,0", "--ping-interval=0")
        limit = Limits().connect_timeout
        for said, options in ((b"", ()), (request(Host="127.0.0.1:8080"), ()), (b"", quiet)):
            self.reactor = Reactor()
            self.started(*options)
            self.reactor.advance(0.9)  # the wheel's ticks count from the first connection on
            self.reach()
            self.reactor.advance(0.15)
            peer = self.reach()
            peer.say(said)
            seconds, step = 0.0, 0.125
            while not (peer.socket.shut or b"no CONNECT in time" in peer.got()):
                self.reactor.advance(step)
                self.reactor.turn()
                seconds += step
                self.assertLess(seconds, limit + 1)
            self.assertGreaterEqual(seconds, limit)


class OriginTests(ServiceTestCase):
    """Which pages may connect."""

    def status(self, origin: str) -> bytes:
        """Return the status line for a page of this origin."""
        self.started()
        peer = self.reach()
        peer.say(request(Host="127.0.0.1:8080", Origin=origin))
        return peer.got().split(b" ")[1]

    def test_own_host(self) -> None:
        """The admin page is another origin, and has no page that could connect."""
        self.assertEqual(self.status("http://127.0.0.1:8080"), b"101")
        self.assertEqual(self.status("http://127.0.0.1:8081"), b"403")


class StopTests(ServiceTestCase):
    """A stop: not ready, close the ports, close the clients, stop the source."""

    def stop(self, service: Airyd) -> Deferred[None]:
        """Begin to stop, and clear the record of what was opened."""
        self.reactor.done.clear()
        return service.stopService()

    def test_without_clients(self) -> None:
        service = self.started("--listen=tcp:1:interface=127.0.0.1", "--listen=tcp:2:interface=127.0.0.1")
        self.successResultOf(self.stop(service))
        self.assertEqual(self.reactor.done, ["close 1", "close 2", "stop", "close 8081"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_source_never_reached(self) -> None:
        self.source.reached = Deferred()
        self.successResultOf(self.stop(self.started()))
        self.assertEqual(self.reactor.done, ["close 8080", "stop", "close 8081"])

    def test_clients_are_closed_one_after_the_other(self) -> None:
        """Clients get an ERROR and 1012 at different times; the stop is over when the last one has answered."""
        self.addCleanup(random.setstate, random.getstate())
        random.seed(1)
        service = self.started()
        peers = [self.connected() for _ in range(100)]
        silent = self.reach()
        stopped = self.stop(service)
        told: dict[Peer, float] = {}
        start = self.reactor.seconds()
        while len(told) < len(peers):
            self.assertLess(self.reactor.seconds() - start, 4)
            self.assertNoResult(stopped)
            self.reactor.advance(0.005)
            self.reactor.turn()
            for peer in peers:
                if wire := peer.got():
                    error, close = [payload for _, payload in websocket_frames(wire)]
                    self.assertTrue(error.startswith(b"ERROR\nmessage:server restarting\n"))
                    self.assertEqual(close[:2], b"\x03\xf4")
                    told[peer] = self.reactor.seconds()
                    peer.say(close_frame(1012))
        self.assertGreater(len(set(told.values())), 10)
        self.assertNotEqual(list(told), peers, "the order is shuffled")
        self.assertNotIn("stop", self.reactor.done)
        self.reactor.pump([0.1] * 10)
        self.reactor.turn()
        self.assertIn(b" 503 ", silent.got())
        silent.lose()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.done, ["close 8080", "stop", "close 8081"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_clients_that_do_not_answer(self) -> None:
        """The time limit also holds for clients that neither answer nor read."""
        service = self.started()
        deaf = [self.connected() for _ in range(5)]
        for peer in deaf[:3]:
            peer.socket.room = 0
        stopped = self.stop(service)
        for _ in range(int(CLOSE_PATIENCE) + 5):
            self.reactor.advance(1)
            self.reactor.turn()
        self.successResultOf(stopped)
        self.assertTrue(all(peer.socket.closed for peer in deaf))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_client_that_closes_first(self) -> None:
        service = self.started()
        peers = [self.connected() for _ in range(3)]
        stopped = self.stop(service)
        for peer in peers:
            peer.lose()
        self.successResultOf(stopped)
        self.reactor.pump([1] * 20)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_events_until_the_end(self) -> None:
        """A client that is not closed yet still gets events."""
        service = self.started()
        peer = self.connected()
        stopped = self.stop(service)
        self.source.publish(MESSAGE, EVENT)
        self.reactor.advance(1)
        self.reactor.turn()
        self.assertIn(b"MESSAGE", peer.got())
        peer.lose()
        self.successResultOf(stopped)

    def test_status_announces_the_stop(self) -> None:
        """The notice on ``/airyd/status`` says within how many seconds the ERROR comes."""
        service = self.started()
        listeners = [self.connected() for _ in range(5)]
        for peer in listeners:
            peer.say(text(frame("SUBSCRIBE", id="s", destination=STATUS)))
            self.assertIn(b'{"type":"source","state":"up"}', peer.got())
        stopped = self.stop(service)
        ends = self.reactor.seconds() + 0.01
        self.reactor.advance(0)
        for peer in listeners:
            self.assertIn(b'{"type":"draining","within":0.01}', peer.got())
        while self.reactor.seconds() < ends:
            self.reactor.advance(0.001)
        for peer in listeners:
            self.assertIn(b"ERROR\nmessage:server restarting\n", peer.got())
            peer.lose()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_notice(self) -> None:
        """During ``--drain-notice`` airyd is unready but serves everybody; then clients are closed as without it."""
        service = self.started("--drain-notice=20", "--drain-seconds=30")
        listener = self.connected()
        listener.say(text(frame("SUBSCRIBE", id="s", destination=STATUS)))
        listener.got()
        stopped = self.stop(service)
        self.assertEqual(list(service.readiness().reasons), ["stopping"])
        self.reactor.advance(0)
        self.assertIn(b'{"type":"draining","within":50.0}', listener.got())
        self.reactor.advance(19.9)
        late = self.connected()
        self.source.publish(MESSAGE, EVENT)
        self.reactor.turn()
        for peer in (listener, late):
            self.assertIn(b"MESSAGE", peer.got())
        self.assertEqual(self.reactor.done.count("close 8080"), 0)
        self.reactor.advance(0.1)
        self.assertEqual(self.reactor.done[-1], "close 8080")
        self.reactor.turn()
        self.assertIn(b'{"type":"draining","within":0.04}', listener.got())
        self.reactor.advance(0.04)
        self.reactor.turn()
        for peer in (listener, late):
            self.assertIn(b"ERROR\nmessage:server restarting\n", peer.got())
            peer.lose()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_the_rest_of_a_notice_is_skipped(self) -> None:
        """A worker that loses its parent during the notice ends."""
        service = self.started("--drain-notice=20")
        stopped = self.stop(service)
        self.assertNoResult(stopped)
        service.leave()
        self.successResultOf(stopped)

    def test_no_notice_for_a_worker_that_others_replace(self) -> None:
        service = self.started("--drain-notice=20")
        service.leave()
        self.successResultOf(self.stop(service))

    def test_spread(self) -> None:
        """``--drain-seconds`` is the time for many clients; half as many take half the time."""
        self.addCleanup(random.setstate, random.getstate())
        self.patch(random, "uniform", lambda _, end: end)
        service = self.started("--drain-seconds=6", f"--buffered={MIB}")
        peers = [self.reach() for _ in range(750)]
        stopped = self.stop(service)
        self.reactor.advance(2.9)
        self.assertFalse(any(peer.socket.taken for peer in peers))
        self.reactor.advance(0.1)
        self.assertTrue(all(peer.socket.taken for peer in peers))
        for peer in peers:
            peer.lose()
        self.successResultOf(stopped)

    def test_many_clients_are_closed_in_bounded_time(self) -> None:
        """The time over which closes are spread has a limit, however many clients there are."""
        service = self.started(f"--buffered={MIB}")
        peers = [self.reach() for _ in range(3000)]
        stopped = self.stop(service)
        self.reactor.pump([0.1] * 31)
        self.assertTrue(all(peer.socket.taken for peer in peers))
        for peer in peers:
            peer.lose()
        self.successResultOf(stopped)


class GaugeTests(ServiceTestCase):
    """What the metrics ask the service for."""

    def page(self, service: Airyd) -> str:
        """Return the page of metrics."""
        return generate_latest(service.registry).decode()

    def test_configuration(self) -> None:
        """The page has the kinds of sources and logins, but neither addresses nor secrets."""
        sources = [f"--source=redis://u:s3cret@192.0.2.1?destinations={part}" for part in ("/queue/*", "/queue/*/*")]
        page = self.page(self.make(*sources, "--auth=anonymous:send", "--buffered=12345", "--log-level=warn"))
        self.assertIn(
            'airyd_config_info{auth="anonymous",compression="on",log_level="warn",sources="redis",workers="1"} 1.0',
            page,
        )
        self.assertIn('airyd_limit{option="buffered"} 12345.0', page)
        self.assertNotIn("s3cret", page)
        self.assertNotIn("192.0.2.1", page)

    def test_connections(self) -> None:
        """The limit is what the open files allow."""
        self.assertIn("airyd_connections_limit 3996.0", self.page(self.started()))

    def test_silence(self) -> None:
        service = self.started()
        self.assertNotIn("airyd_last_event_seconds{", self.page(service))
        self.connected()
        self.reactor.advance(3)
        self.assertIn('airyd_last_event_seconds{destination="/queue/message"} 3.0', self.page(service))

    def test_certificates(self) -> None:
        """The endpoint with the earliest end of a certificate is named by its kind and port."""
        directory = Path(self.mktemp())
        directory.mkdir()
        files = Certificates(directory)
        soon, key = files.issue("soon", "localhost", days=(-1, 0))
        service = self.make(
            f"--listen=ssl:8443:interface=127.0.0.1:privateKey={files.server_key}:certKey={files.server}",
            f"--admin=ssl:8444:interface=127.0.0.1:privateKey={key}:certKey={soon}",
        )
        found = re.findall(
            r'^airyd_tls_certificate_end_timestamp_seconds.endpoint="(.*)". (.*)$', self.page(service), re.M
        )
        ends = {endpoint: float(end) for endpoint, end in found}
        self.assertEqual({"ssl:8443", "ssl:8444"}, set(ends))
        self.assertLess(abs(ends["ssl:8443"] - ends["ssl:8444"] - 86_400), 60)

    def test_the_reactor(self) -> None:
        service = self.started()
        for _ in range(4):
            self.reactor.advance(0.25)
        self.assertIn("airyd_reactor_lag_seconds_count 4.0", self.page(service))

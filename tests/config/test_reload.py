"""SIGHUP: what is read again, what changes, and what does not, with the whole daemon on a reactor in memory."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from prometheus_client import generate_latest
from twisted.internet.defer import Deferred, fail
from twisted.logger import LogLevel, formatEvent

from airyd.client.timer_wheel import TimerWheel
from airyd.config.command_line import Options
from airyd.config.reload import RESTART, Reloader
from airyd.config.settings import Settings
from airyd.errors import ConfigurationError, PayloadRefused, UnknownDestination
from airyd.events import MESSAGE, STATUS
from airyd.interfaces import IServerReactor, Reload
from airyd.metrics import ReloadMetrics
from airyd.service import Airyd
from airyd.workers.parent import check_settings
from tests.auth.case import jwk, private_key, token
from tests.doubles import frame
from tests.loop import Peer
from tests.test_service import ServiceTestCase
from tests.websocket.case import CONNECT, request, text


class ReloadTests(ServiceTestCase):
    """A reload: everything is read again, and applied if all of it is valid."""

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp()).absolute()
        self.write("destination = ['/queue/tags']")
        self.levels: list[str] = []
        self.metrics = ReloadMetrics()

    def write(self, *lines: str) -> None:
        """Write the configuration file."""
        self.path.write_text("\n".join(lines) + "\n")

    def file(self, content: str) -> Path:
        """Return a new file."""
        path = Path(self.mktemp()).absolute()
        path.write_text(content)
        return path

    def reloadable(self, *arguments: str) -> tuple[Airyd, Callable[..., str]]:
        """Return a started service of the configuration file, and a function that writes the file and reloads.

        The function returns the line that a reload logs.
        """
        options = Options()
        options.parseOptions([f"--config={self.path}", *arguments])
        service = Airyd(options.settings, cast(IServerReactor, self.reactor), lambda: 1.7e9)
        service.privilegedStartService()
        service.startService()
        reloader = Reloader(
            options.configuration,
            service,
            lambda wanted: check_settings(wanted, cast(IServerReactor, self.reactor), lambda: 1.7e9),
            lambda settings: self.levels.append(settings.log_level),
            self.metrics,
            self.reactor.seconds,
        )

        def reload(*lines: str) -> str:
            if lines:
                self.write(*lines)
            before = len(self.events)
            reloader.reload()
            self.reactor.pump([0.1] * 130)
            (line,) = [text for text in map(formatEvent, self.events[before:]) if text and "reloaded" in text]
            self.assertEqual(len(line.splitlines()), 1)
            return line

        return service, reload

    def test_a_new_destination(self) -> None:
        """The source, clients and metrics know a new destination, and wildcards match it at once."""
        service, reload = self.reloadable()
        peer = self.connected()
        peer.say(text(frame("SUBSCRIBE", b"", id="w", destination="/queue/*", receipt="w")))
        self.assertIn(b"receipt-id:w", peer.got())
        self.failureResultOf(service.publish("/queue/more", b"{}"), UnknownDestination)
        self.assertEqual(
            reload("destination = ['/queue/tags', '/queue/more']"), "settings reloaded: destinations added: /queue/more"
        )
        self.assertEqual(self.source.extended, ["/queue/more"])
        self.assertIn(b'airyd_events_received_total{destination="/queue/more"} 0.0', generate_latest(service.registry))
        self.successResultOf(service.publish("/queue/more", b"{}"))
        self.reactor.turn()
        self.assertIn(b"subscription:w\ndestination:/queue/more\n", peer.got())
        self.assertEqual(reload(), "settings reloaded: nothing has changed")
        self.assertEqual(self.source.extended, ["/queue/more"])

    def test_many_new_destinations(self) -> None:
        """The line names the first ones, and has their number."""
        _, reload = self.reloadable()
        names = [f"/queue/{number}" for number in range(1000)]
        line = reload(f"destination = {['/queue/tags', *names]}")
        self.assertEqual(line, f"settings reloaded: destinations added: {', '.join(names[:20])} and 980 more")

    def test_a_file_of_destinations(self) -> None:
        """Its new lines are destinations, too; what it lacks is removed by a restart only."""
        file = self.file("/queue/tags\n")
        service, reload = self.reloadable("--destination=/queue/one", f"--destinations-file={file}")
        file.write_text("/queue/more\n")
        self.assertEqual(
            reload(), "settings reloaded: destinations added: /queue/more; only a restart can remove /queue/tags"
        )
        for name in ("/queue/one", "/queue/tags", "/queue/more"):
            self.successResultOf(service.publish(name, b"{}"))

    def test_what_is_wrong_changes_nothing(self) -> None:
        """The line says what is wrong, and where, even if all the rest is valid."""
        secret = self.file("a-secret-of-at-least-32-bytes-hunter2\n")
        service, reload = self.reloadable(f"--auth=jwt:secret-file={secret}", "--auth=anonymous")
        before = service.settings
        valid = "destination = ['/queue/more']"
        for lines, named in (
            ((valid, "origin = ['nowhere']"), (str(self.path), "'nowhere' is not an origin")),
            ((valid, "colour = 'blue'"), (str(self.path), "colour")),
            ((valid, "[limits]", "body = 0"), (str(self.path), "line 3", "whole number")),
            ((valid, "this is not TOML"), (str(self.path), "line 2")),
            (("destination = ['/t/7591', '/t/95307']",), ("/t/7591 and /t/95307 have the same tag in message ids",)),
            ((valid, "listen = ['tcp:x']"), ("port must be a number",)),
            ((valid, "admin-token-file = '/nothing/there'"), ("/nothing/there", "there is no such file")),
            ((valid, "workers = 2"), ("each process would have its own events",)),
            (("destinations-file = '/nothing/there'",), ("/nothing/there",)),
        ):
            line = reload(*lines)
            self.assertTrue(line.startswith("nothing was reloaded: "), line)
            for each in named:
                self.assertIn(each, line)
        secret.write_text("short\n")
        line = reload(valid)
        self.assertIn(f"nothing was reloaded: --auth jwt: secret-file {secret}: the secret has 5 bytes", line)
        self.assertEqual(service.settings, before)
        self.assertEqual((self.source.extended, self.levels), ([], []))
        self.failureResultOf(service.publish("/queue/more", b"{}"), UnknownDestination)

    def test_a_pipe_in_place_of_a_file(self) -> None:
        """A FIFO that nobody writes to would block all clients: it is refused, whichever option names it."""
        pipe = Path(self.mktemp()).absolute()
        os.mkfifo(pipe)
        keys = Path(self.mktemp()).absolute()
        keys.mkdir()
        os.mkfifo(keys / "a.pem")
        _, reload = self.reloadable()
        for line in (
            f"destinations-file = '{pipe}'",
            f"admin-token-file = '{pipe}'",
            *(f"auth = 'jwt:{name}={pipe}'" for name in ("secret-file", "key-file", "jwks")),
            f"auth = 'jwt:jwks=https://127.0.0.1:ca-file={pipe}'",
            f"listen = 'ssl:8443:privateKey={pipe}'",
            f"listen = 'tls:{keys}:8443:interface=127.0.0.1'",
        ):
            said = reload(line)
            self.assertTrue(said.startswith("nothing was reloaded: "), said)
            self.assertIn("this is a pipe, which can be read only once", said, line)
        self.path.unlink()
        os.mkfifo(self.path)
        self.assertIn(f"nothing was reloaded: --config {self.path}: this is a pipe", reload())

    def test_metrics(self) -> None:
        """They say whether the last reload was applied, and since when the settings are in force."""
        _, reload = self.reloadable()
        self.assertEqual((self.metrics.success, self.metrics.applied_at), (True, 0))
        self.reactor.advance(1)
        reload()
        applied_at = self.metrics.applied_at
        self.assertEqual(self.metrics.success, True)
        self.assertGreater(applied_at, 0)
        reload("colour = 'blue'")
        self.assertEqual((self.metrics.success, self.metrics.applied_at), (False, applied_at))
        reload("destination = ['/queue/tags']")
        self.assertEqual(self.metrics.success, True)
        self.assertGreater(self.metrics.applied_at, applied_at)

    def test_a_bug(self) -> None:
        """An unexpected error counts as a refusal."""
        service, _ = self.reloadable()
        self.patch(service, "prepare_reload", lambda settings: fail(ZeroDivisionError()))
        options = Options()
        options.parseOptions([f"--config={self.path}"])
        Reloader(
            options.configuration, service, lambda _: None, lambda _: None, self.metrics, self.reactor.seconds
        ).reload()
        self.assertEqual(self.metrics.success, False)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_line_at_each_level(self) -> None:
        """A refusal is an error, so that every ``--log-level`` shows it; what was applied is no error."""
        _, reload = self.reloadable()
        for content, level in (
            ("colour = 'blue'", LogLevel.error),
            ("destination = ['/queue/tags']", LogLevel.info),
            ("", LogLevel.warn),  # a destination can't be removed
        ):
            reload(content)
            (event,) = [each for each in self.events if "reloaded" in (formatEvent(each) or "")][-1:]
            self.assertIs(event["log_level"], level)

    def test_what_needs_a_restart(self) -> None:
        """It is named; the rest is applied."""
        service, reload = self.reloadable()
        line = reload(
            "listen = ['tcp:8090:interface=127.0.0.1']",
            "source = ['memory:?history=7']",
            "admin = 'none'",
            "log-level = 'warn'",
            "destination = ['/queue/more']",
            "user-destinations = ['user_id=sub']",
            f"auth = ['jwt:secret-file={self.file('x' * 32)}']",
        )
        self.assertEqual(
            line,
            "settings reloaded: destinations added: /queue/more; changed: --auth, --log-level; "
            "only a restart can change --listen, --source, --admin, --user-destinations; "
            "only a restart can remove /queue/tags",
        )
        self.assertEqual(self.levels, ["warn"])
        self.assertEqual(self.reactor.done.count("listen 8090"), 0)
        self.assertEqual(service.settings.sources, ["memory:"])
        # The next reload compares with what is in force.
        self.assertIn("only a restart can change --listen, --source", reload())

    def test_origins_and_compression(self) -> None:
        """They decide on handshakes from now on."""
        _, reload = self.reloadable()
        page = request(Host="127.0.0.1:8080", Origin="https://chat.example.org")
        peer = self.reach()
        peer.say(page)
        self.assertIn(b" 403 ", peer.got())
        self.assertEqual(
            reload("origin = ['https://chat.example.org']", "destination = ['/queue/tags']"),
            "settings reloaded: changed: --origin",
        )
        peer = self.reach()
        peer.say(page)
        self.assertIn(b" 101 ", peer.got())

    def test_limits_are_for_new_connections(self) -> None:
        """A connection keeps the limits and intervals with which it began."""
        service, reload = self.reloadable()
        old = self.connected()
        line = reload("heart-beat = '5000,5000'", "destination = ['/queue/tags']", "[limits]", "subscriptions = 1")
        self.assertEqual(line, "settings reloaded: changed: --heart-beat, --subscriptions")
        old.got()
        for name in ("b", "c"):
            old.say(text(frame("SUBSCRIBE", id=name, destination=MESSAGE, receipt=name)))
            self.assertIn(b"RECEIPT", old.got())
        new = self.connected()
        new.say(text(frame("SUBSCRIBE", id="b", destination=MESSAGE)))
        self.assertIn(b"ERROR\nmessage:too many subscriptions", new.got())
        new.lose()
        later = self.reach()
        later.say(request(Host="127.0.0.1:8080") + CONNECT)
        self.assertIn(b"heart-beat:5000,5000", later.got())
        stopped = service.stopService()
        self.reactor.pump([0.1] * 10)
        for peer in (old, later):
            peer.lose()
        self.reactor.pump([0.1] * 10)
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_timers_of_before(self) -> None:
        """Each tick of the timers is kept only as long as a connection needs it."""
        _, reload = self.reloadable()
        gone = self.connected()
        for number in range(1, 6):
            self.assertIn("changed: --heart-beat", reload(f"heart-beat = '{number}000,{number}000'"))
        gone.lose()
        self.reactor.pump([1] * 100)
        gc.collect()
        wheels = [
            each for each in gc.get_objects() if isinstance(each, TimerWheel) and each.seconds == self.reactor.seconds
        ]
        self.assertEqual(len(wheels), 1)

    def test_nothing_stays(self) -> None:
        """The service that checks new settings is gone after a reload, applied or not."""
        service, reload = self.reloadable()
        for number in range(5):
            reload("destination = ['/queue/tags']", "[limits]", f"body = {1000 + number}")
            reload("colour = 'blue'")
            reload("origin = 'nowhere'")
        gc.collect()
        made = [each for each in gc.get_objects() if isinstance(each, Airyd) and each._reactor is service._reactor]
        self.assertEqual(len(made), 1)

    def test_bodies(self) -> None:
        """The limit of an event's body holds at once."""
        service, reload = self.reloadable()
        event = b'{"x":"' + b"x" * 100 + b'"}'
        self.successResultOf(service.publish("/queue/tags", event))
        reload("destination = ['/queue/tags']", "[limits]", "body = 100")
        self.failureResultOf(service.publish("/queue/tags", event), PayloadRefused)

    def test_logins(self) -> None:
        """New secrets hold for logins and for new tokens on open connections; removed ones no longer."""
        first, second = "the-first-secret-of-32-bytes-hunter2", "another-secret-of-32-bytes-hunter2-x"
        secret = self.file(first)
        _, reload = self.reloadable(f"--auth=jwt:secret-file={secret}")
        old, new = (token({"sub": "ann", "exp": 1.7e9 + 600}, each.encode()) for each in (first, second))
        client = self.logged_in(old)
        self.assertIn(b"401 Unauthorized", self.logged_in(new).got())
        client.got()
        secret.write_text(f"{second}\n{first}\n")
        self.assertEqual(reload(), f"settings reloaded: new: keys of {secret}")
        for each in (old, new):
            self.assertIn(b"CONNECTED", self.logged_in(each).got())
        client.say(text(frame("SEND", new.encode(), destination="/airyd/token", receipt="t")))
        self.assertIn(b"receipt-id:t", client.got())
        secret.write_text(second)
        reload()
        self.assertIn(b"401 Unauthorized", self.logged_in(old).got())
        client.say(text(frame("SUBSCRIBE", id="s", destination=MESSAGE, receipt="s")))
        self.assertIn(b"receipt-id:s", client.got())

    def logged_in(self, shown: str) -> Peer:
        """Return a connection that shows a token in CONNECT."""
        peer = self.reach()
        headers = {"accept-version": "1.2", "Authorization": f"Bearer {shown}"}
        peer.say(request(Host="127.0.0.1:8080") + text(frame("CONNECT", b"", **headers)))
        return peer

    def test_other_authenticators(self) -> None:
        """Others begin and end; a new one must get its keys, or nothing changes."""
        service, reload = self.reloadable()
        jwks = self.file("{}")
        spec = f"auth = ['jwt:jwks={jwks}', 'anonymous']"
        line = reload(spec)
        self.assertIn(f"{self.path}: line 1: auth: there are no keys for tokens: {jwks}: it is not a JWK Set", line)
        self.assertEqual(service.settings.auth, ["anonymous"])
        jwks.write_text(json.dumps({"keys": [jwk(private_key("ES256"), "k")]}))
        self.assertEqual(reload(spec, "destination = ['/queue/tags']"), "settings reloaded: changed: --auth")
        self.assertEqual(list(service.readiness().reasons), [])
        jwks.write_text("{}")
        self.assertIn(f"auth jwt: jwks {jwks}: it is not a JWK Set", reload())
        jwks.write_text(json.dumps({"keys": [jwk(private_key("ES256", 1), "l")]}))
        self.assertEqual(reload(), f"settings reloaded: new: keys of {jwks}")
        self.successResultOf(service.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_stop_while_it_waits(self) -> None:
        """A reload that waits for keys is given up when airyd stops: nothing goes on in the background."""
        jwks = self.file("{}")
        service, _ = self.reloadable()
        wanted = service.settings._replace(auth=[f"jwt:jwks={jwks}"])
        preparing = Deferred.fromCoroutine(service.prepare_reload(wanted))
        self.assertNoResult(preparing)
        stopped = service.stopService()
        jwks.write_text(json.dumps({"keys": [jwk(private_key("ES256"), "k")]}))
        self.reactor.pump([0.1] * 10)
        self.assertEqual(str(self.failureResultOf(preparing, ConfigurationError).value), "airyd is stopping")
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_stop_before_it_is_applied(self) -> None:
        """In a worker, SIGTERM may come between both."""
        service, _ = self.reloadable()
        before = service.settings
        secret = self.file("x" * 32)
        reload = self.successResultOf(
            Deferred.fromCoroutine(service.prepare_reload(before._replace(auth=[f"jwt:secret-file={secret}"])))
        )
        self.successResultOf(service.stopService())
        reload.apply()
        self.assertEqual(service.settings, before)

    def test_one_authenticator_less(self) -> None:
        """An authenticator that a reload removes stops; the others go on."""
        jwks, secret = self.file(json.dumps({"keys": [jwk(private_key("ES256"), "k")]})), self.file("x" * 32)
        other = f"jwt:secret-file={secret}"
        self.write(f"auth = ['jwt:jwks={jwks}', '{other}']")
        service, reload = self.reloadable()
        self.assertEqual(reload(f"auth = ['{other}']"), "settings reloaded: changed: --auth")
        self.assertEqual(service.settings.auth, [other])
        self.successResultOf(service.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_an_empty_file_lets_nobody_in(self) -> None:
        """A file that was emptied or cut off, or that says so: only a restart lets everybody log in."""
        secret = self.file("x" * 32)
        spec = f"jwt:secret-file={secret}"
        self.write(f"auth = ['{spec}']")
        service, reload = self.reloadable()
        for lines, place in (
            ((), ""),
            (("auth = 'anonymous'",), f"{self.path}: line 1: auth: "),
            (("# cut", "auth = ['anonymous', 'anonymous:public']"), f"{self.path}: line 2: auth: "),
        ):
            line = reload(*(lines or ("",)))
            self.assertTrue(line.startswith(f"nothing was reloaded: {place or '--auth: '}"), line)
            self.assertIn("anonymous alone would let everybody log in", line)
            self.assertEqual(service.settings.auth, [spec])
        both = reload(f"auth = ['{spec}', 'anonymous']")
        self.assertEqual(both, "settings reloaded: changed: --auth")
        self.assertIn("nothing was reloaded: ", reload("auth = 'anonymous'"))

    def test_admin_token(self) -> None:
        """A new token holds at once; an open admin page never loses its token."""
        admin = self.file("the-first-admin-token\n")
        _, reload = self.reloadable("--admin=tcp:8081", f"--admin-token-file={admin}")
        admin.write_text("the-second-admin-token\n")
        self.assertEqual(reload(), "settings reloaded: new: admin token")
        site = cast(Any, self.reactor.tcpServers[0][1])
        self.assertEqual(site.services.login.tokens.full, "the-second-admin-token")
        admin.write_text("short")
        self.assertIn("nothing was reloaded: --admin-token-file", reload())
        self.assertEqual(site.services.login.tokens.full, "the-second-admin-token")

    def test_admin_read_token(self) -> None:
        """It can be added, changed and taken away while the page is on loopback."""
        _, reload = self.reloadable("--admin=tcp:8081:interface=127.0.0.1")
        site = cast(Any, self.reactor.tcpServers[0][1])
        path = self.file("the-first-read-token\n")
        lines = ["destination = ['/queue/tags']", f"admin-read-token-file = '{path}'"]
        changed = "settings reloaded: changed: --admin-read-token-file; new: admin read token"
        self.assertEqual(reload(*lines), changed)
        self.assertEqual(site.services.login.tokens, (None, "the-first-read-token"))
        path.write_text("the-second-read-token")
        self.assertEqual(reload(*lines), "settings reloaded: new: admin read token")
        self.assertEqual(site.services.login.tokens, (None, "the-second-read-token"))
        self.assertEqual(reload(lines[0]), changed)
        self.assertFalse(site.services.login.needs_token)

    def test_no_open_admin_page(self) -> None:
        """The new settings must fit what only a restart changes."""
        admin = self.file("the-first-admin-token\n")
        self.write(f"admin-token-file = '{admin}'", "admin = 'tcp:8081'")
        service, reload = self.reloadable()
        line = reload("admin = 'tcp:8081:interface=127.0.0.1'")
        self.assertIn("nothing was reloaded: ", line)
        self.assertIn("without --admin-token-file, the admin page listens on loopback", line)
        self.assertEqual(service.settings.admin_token_file, str(admin))

    def test_one_after_the_other(self) -> None:
        """A reload that is wanted during another one follows it."""
        service, _ = self.reloadable()
        running: list[Deferred[Reload]] = []

        def prepare(settings: Settings) -> Deferred[Reload]:
            running.append(Deferred())
            return running[-1]

        self.patch(service, "prepare_reload", prepare)
        options = Options()
        options.parseOptions([f"--config={self.path}"])
        reloader = Reloader(
            options.configuration, service, lambda _: None, lambda _: None, self.metrics, self.reactor.seconds
        )
        for _ in range(3):
            reloader.reload()
        self.assertEqual(len(running), 1)
        running[0].callback(Reload(["it"], lambda: None))
        self.assertEqual(len(running), 2)
        running[1].callback(Reload([], lambda: None))
        self.assertEqual(len(running), 2)
        reloader.reload()
        self.assertEqual(len(running), 3)

    def test_status_of_a_new_destination(self) -> None:
        """``/airyd/status`` reports it together with the other destinations of its source."""
        sources = ("--source=memory:?destinations=/queue/*", "--source=memory:?destinations=/queue/channel/**")
        service, reload = self.reloadable(*sources)
        peer = self.connected()
        self.source.troubles = ["unreachable"]
        reload("destination = ['/queue/tags', '/queue/channel/news']")
        self.assertEqual(self.source.extended, ["/queue/channel/news"])
        peer.say(text(frame("SUBSCRIBE", b"", id="s", destination=STATUS)))
        self.assertIn(b"/queue/channel/news", peer.got())
        self.successResultOf(service.publish("/queue/channel/news", b"{}"))

    def test_every_setting_is_reloaded(self) -> None:
        """Each setting is applied, or is named as one that needs a restart; enter a new one here when that is so.

        The destinations are compared by name, and ``log_level`` is for the process.
        """
        applied = {
            "paths", "destinations", "auth", "admin_token_file", "origins", "heart_beat", "grace", "compression",
            "limits", "log_level", "destinations_file", "token_max_age", "ping_interval", "drain_notice",
            "drain_seconds",
            "log_connections",
            "proxy_header",
            "admin_read_token_file",
        }  # fmt: skip
        self.assertEqual(applied | set(RESTART), set(Settings._fields))

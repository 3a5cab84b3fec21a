"""``airyd tail``, ``publish`` and ``revoke`` with servers in special states, wrong ports and TLS."""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

from tests.auth.case import SECRET, claims, token
from tests.integration.payloads import CHANNEL_CONNECTED, DESTINATIONS, MESSAGE, UNREAD_COUNT, body
from tests.integration.proxy import Proxy
from tests.integration.test_cli import Cli, CliTestCase, run
from tests.patience import PATIENCE
from tests.sources.redis.certificates import Certificates
from tests.sources.redis.server import DURABLE, RedisServer

OTHER = "/queue/other"


class PatternTests(CliTestCase):
    """``airyd tail '/queue/**'``."""

    def test_resume(self) -> None:
        """No event is missing or comes twice, also on a destination without events before the connection was cut."""
        daemon = self.own_daemon(f"--destination={OTHER}")
        relay = Proxy(daemon.port)
        self.addCleanup(relay.close)
        tail = self.cli("tail", "--count", "25", f"ws://127.0.0.1:{relay.port}", "/queue/**")
        tail.wait_for("following /queue/**")
        ids = [daemon.publish(OTHER, b'{"n": 0}')]
        for times in range(1, 4):
            ids += [daemon.publish(name, body(name, times)) for name in (MESSAGE, CHANNEL_CONNECTED)]
            ids += [daemon.publish(OTHER, b'{"n": 1}')]
            self.wait_for_events(tail, len(ids))
            relay.down()
            ids += [daemon.publish(name, body(name, times)) for name in DESTINATIONS]
            ids += [daemon.publish(OTHER, b'{"n": 2}')]
            relay.up()
            tail.wait_for("recovered", times)
        self.assertEqual(0, tail.wait(), tail.err)
        printed = [str(line["message-id"]) for line in tail.events()]
        self.assertEqual(sorted(ids), sorted(printed))
        for destination in (*DESTINATIONS, OTHER):
            mine = [str(line["message-id"]) for line in tail.events() if line["destination"] == destination]
            self.assertEqual([each for each in ids if each in mine], mine)

    def wait_for_events(self, tail: Cli, count: int) -> None:
        """Wait until ``count`` events were printed."""
        deadline = time.monotonic() + PATIENCE
        while tail.out.count("\n") < count:
            if time.monotonic() > deadline:
                raise AssertionError("the events did not come")
            time.sleep(0.01)


class LoginTests(CliTestCase):
    """Tokens that allow only some destinations."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.secret = Path(directory.name, "secret")
        self.secret.write_text(f"{SECRET}\n")
        self.daemon = self.own_daemon(f"--auth=jwt:secret-file={self.secret}")

    def token(self, *allowed: str) -> str:
        """Return a token that allows subscribing to these."""
        now = int(time.time())
        return token(claims(iat=now, exp=now + 3600, subscribe=list(allowed)))

    def test_some(self) -> None:
        """The tail follows the allowed destinations and names the others, with and without DESTINATIONS."""
        shown = self.token(MESSAGE, CHANNEL_CONNECTED)
        for arguments, followed, left_out in [
            ([], [MESSAGE, CHANNEL_CONNECTED], [UNREAD_COUNT, "/queue/channel/disconnected"]),
            ([UNREAD_COUNT, MESSAGE], [MESSAGE], [UNREAD_COUNT]),
            (["/queue/*"], ["/queue/*"], [UNREAD_COUNT]),
        ]:
            tail = self.cli("tail", "-n1", self.daemon.url, *arguments, AIRYD_TOKEN=shown)
            tail.wait_for("connected to ")
            self.assertEqual(
                tail.err,
                f"airyd tail: connected to {self.daemon.url}: following {', '.join(followed)} "
                f"(not allowed: {', '.join(left_out)})\n",
            )
            published = self.daemon.publish(MESSAGE, body(MESSAGE, 1))
            self.assertEqual(0, tail.wait())
            self.assertEqual([published], [line["message-id"] for line in tail.events()])

    def test_none(self) -> None:
        tail = self.cli("tail", self.daemon.url, UNREAD_COUNT, "/queue/channel/*", AIRYD_TOKEN=self.token(MESSAGE))
        self.assertEqual(1, tail.wait())
        self.assertEqual(1, len(tail.err.splitlines()), tail.err)
        self.assertIn(f"there is nothing to follow: not allowed: {UNREAD_COUNT}, /queue/channel/*", tail.err)

    def test_token_file(self) -> None:
        """A wrong file ends the tail with one line, and the token is never printed."""
        for content, said in [(b"", "is empty"), (b"hunter2\nhunter2", "does not hold one token")]:
            path = self.secret.with_name("token")
            path.write_bytes(content)
            status, out, err = run("tail", self.daemon.url, "--token-file", str(path))
            self.assertEqual((1, ""), (status, out))
            self.assertEqual(f"airyd tail: --token-file {path}: the file {said}\n", err)


class StatusTests(CliTestCase):
    """Notices on ``/airyd/status``."""

    def test_source_unreachable(self) -> None:
        redis = RedisServer(*DURABLE)
        self.addCleanup(redis.close)
        daemon = self.own_daemon(f"--source=redis://127.0.0.1:{redis.port}/0")
        tail = self.tail("-n1", MESSAGE, daemon=daemon)
        redis.kill()
        tail.wait_for(f"the event source is unreachable: no new events on {MESSAGE} until it is back")
        redis.start()
        tail.wait_for("the event source is back")
        connection = redis.connect()
        self.addCleanup(connection.close)
        connection.call("XADD", f"airyd:{MESSAGE}", "*", "payload", body(MESSAGE, 1))
        self.assertEqual(0, tail.wait(), tail.err)

    def test_draining(self) -> None:
        daemon = self.own_daemon()
        tail = self.tail(MESSAGE, daemon=daemon)
        daemon.stop()
        tail.wait_for("trying again")
        self.assertRegex(tail.err, r"the server is stopping\nairyd tail: server restarting")


class PortTests(CliTestCase):
    """A URL with the wrong scheme or port ends a command at once, with one line."""

    def check(self, said: str, name: str, url: str, *arguments: str) -> None:
        """Check that a command ends with status 1 and with one line that contains the text."""
        status, out, err = run(name, url, *arguments)
        self.assertEqual((1, ""), (status, out), err)
        self.assertRegex(err, rf"\Aairyd {name}: [^\n]+\n\Z")
        self.assertIn(said, err)
        self.assertNotIn("in time", err)

    def test_tls_to_plain_ports(self) -> None:
        for port in (self.daemon.port, self.daemon.admin_port):
            said = "the server does not speak TLS on this port"
            self.check(f"{said}: use ws://", "tail", f"wss://127.0.0.1:{port}")
            self.check(f"{said}: use http://", "publish", f"https://127.0.0.1:{port}", MESSAGE, "{}")
            self.check(f"{said}: use http://", "revoke", f"https://127.0.0.1:{port}", "--jti=j")

    def test_the_other_port(self) -> None:
        self.check("404 Not Found: no such page", "tail", f"ws://127.0.0.1:{self.daemon.admin_port}")
        self.check("405 Method Not Allowed", "publish", f"http://127.0.0.1:{self.daemon.port}", MESSAGE, "{}")

    def test_wrong_path(self) -> None:
        """The server's answer names the right path."""
        self.check("connect to /ws.communication", "tail", f"ws://127.0.0.1:{self.daemon.port}/other")
        self.check("/publish/<destination", "publish", f"http://127.0.0.1:{self.daemon.admin_port}/x", MESSAGE, "{}")

    def test_tls(self) -> None:
        """All commands work over TLS with ``--ca-file``, and none without it."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        ours = Certificates(Path(directory.name))
        daemon = self.own_daemon(
            f"--listen=ssl:0:interface=127.0.0.1:certKey={ours.server}:privateKey={ours.server_key}"
        )
        port = daemon.wait_for_log(re.compile(r"airyd serves wss://127\.0\.0\.1:(\d+)/"))[1]
        url = f"wss://localhost:{port}"
        self.check("name it with --ca-file", "tail", url)
        self.check("use https://", "publish", f"http://localhost:{port}", MESSAGE, "{}")
        tail = self.cli("tail", "-n1", "--ca-file", ours.ca, url, MESSAGE)
        tail.wait_for("connected to wss://")
        published = daemon.publish(MESSAGE, body(MESSAGE, 1))
        self.assertEqual(0, tail.wait())
        self.assertEqual([published], [line["message-id"] for line in tail.events()])

"""Secrets go in everywhere where they may, and come out nowhere: logs at every level, metrics, answers, listings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from tests.auth.case import SECRET, claims, token
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import TWISTD, Daemon
from tests.integration.node import NodeClient
from tests.integration.payloads import MESSAGE, body
from tests.integration.raw import RawClient
from tests.integration.test_cli import Cli
from tests.integration.wire import TEXT
from tests.leaks import MARK, leaks
from tests.sources.redis.server import own_prefix, shared_server

ORIGIN: Final = "https://app.example"
ADMIN_TOKEN: Final = f"admin-{MARK}-that-nobody-sees"
PASSWORD: Final = f"redis-{MARK}"

#: Says at the lowest level what a client shows, as a hasty developer would.
TELLTALE: Final = f"""
from airyd.auth.chain import AuthenticatorChain

authenticate = AuthenticatorChain.authenticate

def telling(self, credentials):
    self._log.debug("passcode: {{passcode}}", passcode=credentials.passcode)
    return authenticate(self, credentials)

AuthenticatorChain.authenticate = telling
{TWISTD}
"""
_HALVES: Final = f"'{MARK[:3]}' + '{MARK[3:]}'"  # so that the programs' own command lines don't have it
#: Hands a secret to a child in a way that all users of the machine can see; the child ends when this does.
CHILD: Final = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()", {_HALVES}], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
{TWISTD}
"""
#: Has a secret in a label of a metric.
VERSION: Final = f"import airyd; airyd.__version__ = {_HALVES}; {TWISTD}"


def fresh(**changed: Any) -> str:
    """Return a token of Airy's for the next hour of the real clock, with this changed."""
    now = int(time.time())
    return token(claims(**{"iat": now, "exp": now + 3600, **changed}))


class SecretsCase(DaemonTestCase):
    """Each with a daemon of its own."""

    def setUp(self) -> None:
        """No shared daemon is needed."""

    def file(self, name: str, content: str) -> Path:
        """Write a file that holds a secret."""
        directory = Path(self.mktemp())
        directory.mkdir()
        path = directory.resolve() / name
        path.write_text(content)
        return path


class NowhereTests(SecretsCase):
    """All kinds of secrets at once, good ones and bad ones."""

    def source(self) -> str:
        """Return the URL of a Redis that wants a password, which is in a file."""
        prefix = own_prefix()
        user = prefix.strip(":")
        connection = shared_server().connect()
        self.addCleanup(connection.close)
        connection.call("ACL", "SETUSER", user, "on", f">{PASSWORD}", "~*", "&*", "+@all")
        self.addCleanup(connection.call, "ACL", "DELUSER", user)
        password = self.file("password", PASSWORD)
        return f"redis://{user}@127.0.0.1:{shared_server().port}/0?prefix={prefix}&password-file={password}"

    def log_in(self, port: int, path: str = "/ws.communication", **shown: str) -> str:
        """Connect with this in CONNECT, or in the opening handshake (``Cookie``, ``Http``); return the command."""
        in_handshake = {"Cookie": "Cookie", "Http": "Authorization"}
        headers = {in_handshake[name]: value for name, value in shown.items() if name in in_handshake}
        client = RawClient(port, path=path, headers={"Origin": ORIGIN, **headers})
        self.addCleanup(client.abort)
        client.handshake()
        in_frame = [(name, value) for name, value in shown.items() if name not in in_handshake]
        client.send("CONNECT", [("accept-version", "1.2"), *in_frame])
        answer = client.receive().command
        client.abort()
        return answer

    def test_in_nothing_that_is_written(self) -> None:
        auth = f"--auth=jwt:secret-file={self.file('secret', SECRET)}:cookie=airy"
        admin_token = self.file("admin", ADMIN_TOKEN)
        daemon = self.own_daemon(
            "--workers=2", f"--source={self.source()}", auth, f"--origin={ORIGIN}", f"--admin-token-file={admin_token}"
        )
        good, late = fresh(send=["/queue/**"]), fresh(exp=int(time.time()) - 9)
        forged = f"{good[:-8]}{'A' * 8}"
        for shown in (good, late, forged, f"{MARK}.{MARK}.{MARK}", f"{MARK} {MARK}", good * 9):
            wanted = "CONNECTED" if shown == good else "ERROR"
            self.assertEqual(self.log_in(daemon.port, Authorization=f"Bearer {shown}"), wanted)
            self.assertEqual(self.log_in(daemon.port, login=MARK, passcode=shown), wanted)
            self.assertEqual(self.log_in(daemon.port, Http=f"Bearer {shown}"), wanted)
            self.assertEqual(self.log_in(daemon.port, Cookie=f"other={MARK}; airy={shown}"), wanted)
            self.assertEqual(self.log_in(daemon.port, path=f"/ws.communication?token={shown.split()[0]}"), "ERROR")
        broken = RawClient(daemon.port)
        self.addCleanup(broken.abort)
        broken.handshake()
        broken.send_frame(TEXT, f"CONNECT\npasscode:{good}\nno colon {good}\n\n\0".encode())
        error, _ = broken.error()
        broken.abort()
        answers = [error.body.decode()]

        token_file = self.file("token", good)
        tail = Cli(Path(self.mktemp()), "tail", daemon.url, "--count=1", f"--token-file={token_file}")
        self.addCleanup(tail.kill)
        tail.wait_for("connected to")
        admin = f"http://127.0.0.1:{daemon.admin_port}"
        event = body(MESSAGE, 1).decode()
        for shown in (ADMIN_TOKEN, f"{MARK}-but-a-wrong-one"):
            publish = Cli(Path(self.mktemp()), "publish", admin, MESSAGE, event, AIRYD_ADMIN_TOKEN=shown)
            self.addCleanup(publish.kill)
            answers += [str(publish.wait()), publish.out, publish.err]
        self.assertEqual((answers[1], answers[4]), ("0", "1"))
        self.assertEqual(tail.wait(), 0)
        for shown in (ADMIN_TOKEN, MARK):
            status, text = daemon.request("GET", "/metrics", headers={"Authorization": f"Bearer {shown}"})
            self.assertEqual(status, 200 if shown == ADMIN_TOKEN else 401)
            answers.append(text.decode())
        listing = daemon.listing
        self.assertEqual(daemon.stop(), 0)

        # All of it was really written, or this would prove nothing.
        self.assertIn("refused, expired", daemon.log)
        self.assertIn("refused, signature", daemon.log)
        self.assertIn("airyd_logins_refused_total", answers[-2])
        self.assertEqual(listing.count("airyd.workers"), 2, listing)
        self.assertIn("--auth=jwt:secret-file=", listing)
        written = [daemon.log, listing, tail.out, tail.err, shared_server().log, *answers]
        self.assertEqual([found for text in written for found in leaks(text)], [])


class FinderTests(SecretsCase):
    """What the check at the end of every integration test finds."""

    def test_a_daemon_that_tells(self) -> None:
        """The tests' daemons write down even the lowest level, and a secret there is a complaint."""
        auth = f"--auth=jwt:secret-file={self.file('secret', SECRET)}"
        checks: list[Any] = []
        self.patch(self, "addCleanup", lambda *check: checks.append(check))
        daemon = self.own_daemon(auth, program=TELLTALE)
        del self.addCleanup  # the patch
        self.addCleanup(daemon.kill)
        client = self.open(daemon)
        client.connect(passcode=fresh())
        self.assertEqual({found[:3] for found in daemon.complaints()}, {"eyJ"})
        self.assertRaises(AssertionError, checks[-1][0])

    def test_a_daemon_that_shows(self) -> None:
        """A secret on a child's command line is a complaint, and so is one in the metrics."""
        for telling in (CHILD, VERSION):
            daemon = Daemon(program=telling)
            self.addCleanup(daemon.kill)
            self.assertEqual(daemon.complaints(), [MARK])

    def test_a_client_that_tells(self) -> None:
        """A secret that a client's program prints is one, too, whoever told it."""
        client = NodeClient("airy.mjs", stompjs=MARK)
        failed = self.assertRaises(AssertionError, client.next)
        self.assertIn(f"stompjs{MARK}", str(failed))  # there is no such version
        self.assertRaises(AssertionError, client.close)

    def test_every_kind(self) -> None:
        self.assertEqual(leaks(f"a {SECRET} b"), [MARK])
        self.assertEqual(len(leaks(f"a {fresh()} b")), 2)
        self.assertEqual(leaks("a login of nobody was refused, expired: exp was 9 s ago"), [])

    def test_listing(self) -> None:
        """It shows what the command line holds, to everybody."""
        daemon = self.own_daemon("--auth=anonymous:send")
        self.assertIn("--auth=anonymous:send", daemon.listing)

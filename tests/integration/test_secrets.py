"""Secrets from all inputs appear nowhere in the output: logs of every level, metrics, responses, command lines."""

from __future__ import annotations

import json
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
READ_TOKEN: Final = f"read-{MARK}-that-nobody-sees"
PASSWORD: Final = f"redis-{MARK}"

#: The code of a twistd that logs a client's passcode at the lowest level, as a careless developer might.
TELLTALE: Final = f"""
from airyd.auth.chain import AuthenticatorChain

authenticate = AuthenticatorChain.authenticate

def telling(self, credentials):
    self._log.debug("passcode: {{passcode}}", passcode=credentials.passcode)
    return authenticate(self, credentials)

AuthenticatorChain.authenticate = telling
{TWISTD}
"""
_HALVES: Final = f"'{MARK[:3]}' + '{MARK[3:]}'"  # so that the secret is not in the program's own command line
#: The code of a twistd with a child whose command line has a secret; the child ends with its parent.
CHILD: Final = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()", {_HALVES}], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
{TWISTD}
"""
#: The code of a twistd with a secret in a label of a metric.
VERSION: Final = f"import airyd; airyd.__version__ = {_HALVES}; {TWISTD}"


def fresh(**changed: Any) -> str:
    """Return a token like Airy's for the next hour of the real clock, with these claims changed."""
    now = int(time.time())
    return token(claims(**{"iat": now, "exp": now + 3600, **changed}))


class SecretsCase(DaemonTestCase):
    """Makes files with secrets for daemons."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def file(self, name: str, content: str) -> Path:
        """Write a file with a secret."""
        directory = Path(self.mktemp())
        directory.mkdir()
        path = directory.resolve() / name
        path.write_text(content)
        return path


class NowhereTests(SecretsCase):
    """All kinds of secrets together, right ones and wrong ones."""

    def source(self) -> str:
        """Return the URL of a Redis that requires a password from a file."""
        prefix = own_prefix()
        user = prefix.strip(":")
        connection = shared_server().connect()
        self.addCleanup(connection.close)
        connection.call("ACL", "SETUSER", user, "on", f">{PASSWORD}", "~*", "&*", "+@all")
        self.addCleanup(connection.call, "ACL", "DELUSER", user)
        password = self.file("password", PASSWORD)
        return f"redis://{user}@127.0.0.1:{shared_server().port}/0?prefix={prefix}&password-file={password}"

    def log_in(self, port: int, path: str = "/ws.communication", **shown: str) -> str:
        """Log in with headers of CONNECT, or (``Cookie``, ``Http``) of the opening handshake; return the command."""
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
            "--workers=2",
            f"--source={self.source()}",
            auth,
            f"--origin={ORIGIN}",
            f"--admin-token-file={admin_token}",
            f"--admin-read-token-file={self.file('read', READ_TOKEN)}",
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
        for shown in (ADMIN_TOKEN, READ_TOKEN, f"{MARK}-but-a-wrong-one"):
            login = json.dumps({"token": shown}).encode()
            status, text = daemon.request("POST", "/login", login, {"Content-Type": "application/json"})
            self.assertEqual(status, 401 if "wrong" in shown else 204)
            cookie = {"Cookie": f"airyd_session={shown}", "Authorization": f"Bearer {shown}"}
            answers += [
                text.decode(),
                daemon.request("GET", f"/api/v1/overview?token={shown}", None, cookie)[1].decode(),
            ]
        for shown in (ADMIN_TOKEN, MARK):
            status, text = daemon.request("GET", "/metrics", headers={"Authorization": f"Bearer {shown}"})
            self.assertEqual(status, 200 if shown == ADMIN_TOKEN else 401)
            answers.append(text.decode())
        listing = daemon.listing
        self.assertEqual(daemon.stop(), 0)

        # The output is complete; otherwise the test would prove nothing.
        self.assertIn("refused, expired", daemon.log)
        self.assertIn("refused, signature", daemon.log)
        self.assertIn("airyd_logins_refused_total", answers[-2])
        self.assertEqual(listing.count("airyd.workers"), 2, listing)
        self.assertIn("--auth=jwt:secret-file=", listing)
        written = [daemon.log, listing, tail.out, tail.err, shared_server().log, *answers]
        self.assertEqual([found for text in written for found in leaks(text)], [])


class FinderTests(SecretsCase):
    """The check at the end of every integration test finds secrets."""

    def test_in_the_log(self) -> None:
        """A secret in the log is a complaint, even at the lowest level."""
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

    def test_in_a_command_line_and_in_metrics(self) -> None:
        """A secret in a child's command line or in the metrics is a complaint."""
        for telling in (CHILD, VERSION):
            daemon = Daemon(program=telling)
            self.addCleanup(daemon.kill)
            self.assertEqual(daemon.complaints(), [MARK])

    def test_in_the_output_of_a_client(self) -> None:
        """A secret in the output of a client program fails the test."""
        client = NodeClient("airy.mjs", stompjs=MARK)
        failed = self.assertRaises(AssertionError, client.next)
        self.assertIn(f"stompjs{MARK}", str(failed))  # the error names the version, which does not exist
        self.assertRaises(AssertionError, client.close)

    def test_every_kind(self) -> None:
        self.assertEqual(leaks(f"a {SECRET} b"), [MARK])
        self.assertEqual(len(leaks(f"a {fresh()} b")), 2)
        self.assertEqual(leaks("a login of nobody was refused, expired: exp was 9 s ago"), [])

    def test_listing(self) -> None:
        """The listing has the command line, which every user of the machine can see."""
        daemon = self.own_daemon("--auth=anonymous:send")
        self.assertIn("--auth=anonymous:send", daemon.listing)

"""The least rights in docs/publishing.rst, with revoked tokens."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.auth.case import SECRET, claims, token
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon, environment
from tests.patience import PATIENCE
from tests.sources.redis.rights import password_of, server_with_users

KEY = "airyd:revocations"
JSON = {"Content-Type": "application/json"}


class RightsCase(DaemonTestCase):
    """A daemon that requires tokens, and logs in to Redis as :attr:`user`.

    :cvar parameters: of the source's URL
    """

    user: ClassVar[str]
    parameters: ClassVar[str] = ""

    def setUp(self) -> None:
        self.server = server_with_users()
        self.redis = self.server.connect()
        self.addCleanup(self.redis.close)
        self.redis.call("DEL", KEY)
        self.addCleanup(self.redis.call, "DEL", KEY)

    def serving(self) -> Daemon:
        """Start the daemon."""
        path = Path(self.mktemp()).absolute()
        path.write_text(SECRET)
        source = f"redis://{self.user}:{password_of(self.user)}@127.0.0.1:{self.server.port}/0{self.parameters}"
        return self.own_daemon(f"--source={source}", f"--auth=jwt:secret-file={path}", "--auth=anonymous")

    def without(self, *changes: str) -> None:
        """Change the user's rights until the test ends."""
        rights = self.redis.call("ACL", "LIST")
        (before,) = [line.decode().split()[2:] for line in rights if line.decode().split()[1] == self.user]
        self.redis.call("ACL", "SETUSER", self.user, *changes)
        self.addCleanup(self.redis.call, "ACL", "SETUSER", self.user, "reset", *before)

    def log_in(self, daemon: Daemon, name: str) -> str:
        """Log in with a token of this jti; return CONNECTED, or the ERROR's message."""
        now = int(time.time())
        client = self.open(daemon)
        client.send("CONNECT", {"accept-version": "1.2", "passcode": token(claims(iat=now, exp=now + 60, jti=name))})
        answer = client.receive()
        return answer.headers.get("message", answer.command)

    def until(self, daemon: Daemon, name: str, wanted: str) -> None:
        """Wait until a login has this result."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.log_in(daemon, name)) != wanted:
            self.assertLess(time.monotonic(), deadline, found)
            time.sleep(0.02)

    def revoke(self, daemon: Daemon, name: str) -> int:
        """Revoke a token through the admin page; return the status."""
        return daemon.request("POST", "/revoke", json.dumps({"jti": name}).encode(), JSON)[0]

    def put(self, name: str) -> None:
        """Revoke a token by hand, as the document's user for that."""
        now = time.time()
        connection = self.server.connect()
        self.addCleanup(connection.close)
        connection.call("AUTH", "revoker", password_of("revoker"))
        connection.call("XADD", KEY, "*", "kind", "jti", "name", name, "at", f"{now}", "until", f"{now + 100}")


class AirydTests(RightsCase):
    """The user of an airyd that reads and publishes."""

    user = "airyd"

    def test_suffices(self) -> None:
        """Redis refuses no command."""
        self.redis.call("ACL", "LOG", "RESET")
        daemon = self.serving()
        self.until(daemon, "a", "CONNECTED")
        self.assertEqual(self.revoke(daemon, "a"), 200)
        self.assertEqual(self.log_in(daemon, "a"), "401 Unauthorized")
        self.put("b")
        self.until(daemon, "b", "401 Unauthorized")
        denied = self.redis.call("ACL", "LOG")
        self.assertEqual([], [entry for entry in denied if self.user.encode() in entry])

    def test_no_more_than_needed(self) -> None:
        for words in (("DEL", KEY), ("XDEL", KEY, "1-1"), ("XTRIM", KEY, "MAXLEN", "0")):
            self.assertNotEqual(b"OK", self.redis.call("ACL", "DRYRUN", self.user, *words), words)

    def test_without_xread(self) -> None:
        """The stream is read from the start, repeatedly."""
        daemon = self.serving()
        self.until(daemon, "a", "CONNECTED")
        self.without("-xread")
        self.put("a")
        self.until(daemon, "a", "401 Unauthorized")

    def check_nobody_logs_in(self, *changes: str) -> None:
        """Clients with a token get "try later"; others are accepted, and /readyz warns."""
        self.without(*changes)
        daemon = self.serving()
        self.assertEqual(self.log_in(daemon, "a"), "login unavailable")
        self.connect(daemon=daemon)
        deadline = time.monotonic() + PATIENCE
        while "NOPERM" not in (warnings := str(json.loads(daemon.request("GET", "/readyz")[1]).get("warnings"))):
            self.assertLess(time.monotonic(), deadline, warnings)
            time.sleep(0.02)
        self.assertIn("the revoked tokens are not known yet", warnings)

    def test_without_xrange(self) -> None:
        self.check_nobody_logs_in("-xrange")

    def test_without_the_key(self) -> None:
        self.check_nobody_logs_in("resetkeys", "~airyd:/*")

    def test_without_xadd(self) -> None:
        """The revocation holds on this node, and the answer says that it is not stored."""
        daemon = self.serving()
        self.until(daemon, "a", "CONNECTED")
        self.without("-xadd")
        self.assertEqual(self.revoke(daemon, "a"), 503)
        self.assertEqual(self.log_in(daemon, "a"), "401 Unauthorized")


class PubSubTests(AirydTests):
    """With Pub/Sub."""

    user = "airyd-pubsub"
    parameters = "?mode=pubsub"

    def test_without_the_key(self) -> None:
        self.check_nobody_logs_in("resetkeys", "%W~airyd:dead-letter*")


class ReaderTests(RightsCase):
    """The user of an airyd that may only read."""

    user = "airyd-reader"

    def test_hears_of_others(self) -> None:
        daemon = self.serving()
        self.until(daemon, "a", "CONNECTED")
        self.put("a")
        self.until(daemon, "a", "401 Unauthorized")
        self.assertEqual(self.revoke(daemon, "b"), 503)
        self.assertEqual(self.log_in(daemon, "b"), "401 Unauthorized")


class PubSubReaderTests(ReaderTests):
    """With Pub/Sub."""

    user = "airyd-pubsub-reader"
    parameters = "?mode=pubsub"


@pytest.mark.integration
class RevokerTests(SynchronousTestCase):
    """The user for ``airyd revoke``."""

    def test_command(self) -> None:
        """``airyd revoke`` needs only these rights in each mode, and takes the password from the environment."""
        server = server_with_users()
        connection = server.connect()
        self.addCleanup(connection.close)
        self.addCleanup(connection.call, "DEL", KEY)
        for more in ("", "?mode=pubsub"):
            source = f"redis://revoker@127.0.0.1:{server.port}/0{more}"
            done = subprocess.run(
                [sys.executable, "-m", "airyd.cli", "revoke", "--jti=j", "--source", source],
                env={**environment(), "AIRYD_REDIS_PASSWORD": password_of("revoker")},
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertEqual(json.loads(done.stdout)["jti"], "j")
        self.assertEqual(connection.call("XLEN", KEY), 2)

    def test_revokes_and_nothing_else(self) -> None:
        connection = server_with_users().connect()
        self.addCleanup(connection.close)
        for words, allowed in (
            (("XADD", KEY, "MINID", "1-1", "*", "kind", "jti"), True),
            (("XRANGE", KEY, "-", "+", "COUNT", "500"), True),
            (("DEL", KEY), False),
            (("XADD", "airyd:/queue/message", "*", "payload", "{}"), False),
            (("XRANGE", "airyd:/queue/message", "-", "+"), False),
        ):
            self.assertEqual(connection.call("ACL", "DRYRUN", "revoker", *words) == b"OK", allowed, words)

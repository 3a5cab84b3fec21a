"""Revocation with Airy's real client: two daemons on one Redis, workers, and the memory feed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from tests.integration.daemon import Daemon, environment
from tests.integration.node import NodeClient
from tests.integration.payloads import DESTINATIONS
from tests.integration.raw import RawClient
from tests.integration.test_tokens import TokenCase
from tests.patience import PATIENCE
from tests.sources.redis.server import DURABLE, RedisServer, own_prefix, shared_server


class RevocationCase(TokenCase):
    """Daemons that require tokens, and clients whose tokens are revoked."""

    def revoke(self, *arguments: str) -> dict[str, Any]:
        """Run ``airyd revoke``; return its output."""
        command = [sys.executable, "-m", "airyd.cli", "revoke", *arguments]
        done = subprocess.run(command, capture_output=True, env=environment(), timeout=PATIENCE, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        printed: dict[str, Any] = json.loads(done.stdout)
        return printed

    def client(self, daemon: Daemon, **claims: Any) -> NodeClient:
        """Return Airy's client, subscribed, with its own token."""
        token = self.token(**claims)
        client = NodeClient("airy.mjs", url=daemon.url, stompjs=7, destinations=DESTINATIONS, token=token)
        self.addCleanup(client.close)
        client.wait_all("receipt", len(DESTINATIONS))
        return client

    def assert_logged_out(self, client: NodeClient) -> None:
        """Check that Airy's client is logged out, and refused when it connects again with its token."""
        self.assertEqual(client.wait("error")["headers"]["message"], "401 token revoked")
        client.wait("logout")
        self.assertEqual(client.wait("closed")["code"], 1008)

    def admin(self, daemon: Daemon) -> str:
        """Return the URL of a daemon's admin page."""
        return f"http://127.0.0.1:{daemon.admin_port}"

    def logged_in(self, daemon: Daemon, **claims: Any) -> RawClient:
        """Return a client that is logged in."""
        client = self.open(daemon)
        client.connect(passcode=self.token(**claims))
        return client


class TwoNodesTests(RevocationCase):
    """Two nodes on one Redis."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = RedisServer(*DURABLE)
        self.addCleanup(self.redis.close)
        self.source = f"redis://127.0.0.1:{self.redis.port}/0?prefix={own_prefix()}"
        self.nodes = [self.node(), self.node()]

    def node(self) -> Daemon:
        """Start another node."""
        return self.with_secret("", f"--source={self.source}")

    def test_by_jti_and_by_subject(self) -> None:
        """Clients are closed on both nodes and refused afterwards, also after a restart of Redis."""
        old = int(time.time()) - 5
        meant = [self.client(node, sub="ann", jti=f"a{n}", iat=old) for n, node in enumerate(self.nodes)]
        other = [self.client(node, sub="bea", jti=f"b{n}", iat=old) for n, node in enumerate(self.nodes)]

        # Revoke a subject, directly in Redis.
        self.revoke("--subject=ann", "--source", self.source)
        for client in meant:
            self.assert_logged_out(client)
        # The client tries again 2 seconds later with the same token.
        for client in meant:
            self.assertEqual(client.wait("error")["headers"]["message"], "401 Unauthorized")

        # Revoke one token, through the admin page of one node.
        self.revoke("--jti=b1", self.admin(self.nodes[0]))
        self.assert_logged_out(other[1])

        # Redis restarts, and a new node starts: all nodes know the revocations.
        self.redis.kill()
        self.redis.start()
        later = self.node()
        for node in (*self.nodes, later):
            for claims in ({"sub": "ann", "jti": "a9", "iat": old}, {"sub": "bea", "jti": "b1", "iat": old}):
                text = self.refused(self.open(node), passcode=self.token(**claims))
                self.assertEqual(text, "There is no valid token.")
            # The same user logs in anew; the other has another token.
            self.logged_in(node, sub="ann", jti="a9", iat=int(time.time()) + 1).disconnect()
            self.logged_in(node, sub="bea", jti="b2", iat=old).disconnect()
        self.assertEqual(other[0].told("error"), [])
        later.wait_for_metrics(logins_refused_total=2)
        self.assertIn('airyd_errors_total{kind="token_revoked"} 1.0', self.nodes[0].metrics())


class WorkersTests(RevocationCase):
    """A daemon with workers."""

    def test_all_workers(self) -> None:
        """A revocation reaches the client in whichever worker it is."""
        source = f"redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}"
        daemon = self.with_secret("", f"--source={source}", "--workers=2")
        old = int(time.time()) - 5
        clients = [self.logged_in(daemon, sub="ann", jti=f"a{n}", iat=old) for n in range(12)]
        other = self.logged_in(daemon, sub="bea")
        self.revoke("--subject=ann", self.admin(daemon))
        for client in clients:
            error, code = client.error()
            self.assertEqual((error.headers["message"], code), ("401 token revoked", 1008))
        for _ in range(8):
            self.refused(self.open(daemon), passcode=self.token(sub="ann", jti="a99", iat=old))
        self.logged_in(daemon, sub="ann", iat=int(time.time()) + 1)
        self.assertFalse(other.has_data(within=0.05))


class MemoryTests(RevocationCase):
    """With the memory feed, revocations are kept in the process."""

    def test_admin_endpoint(self) -> None:
        daemon = self.with_secret("", "--token-max-age=60")
        old = int(time.time()) - 5
        client, other = (self.logged_in(daemon, sub=name, jti=name, iat=old) for name in ("ann", "bea"))
        told = self.revoke("--jti=ann", self.admin(daemon))
        self.assertAlmostEqual(told["until"] - told["at"], 660, delta=1)
        error, code = client.error()
        self.assertEqual((error.headers["message"], code), ("401 token revoked", 1008))
        self.refused(self.open(daemon), passcode=self.token(sub="ann", jti="ann"))
        self.assertFalse(other.has_data(within=0.05))

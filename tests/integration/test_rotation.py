"""Rotating a secret by the steps of docs/security.rst logs nobody out, on any node."""

from __future__ import annotations

import base64
import re
import shlex
import subprocess
from pathlib import Path
from typing import Final

from tests.auth.case import private_key, public_pem, token
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon
from tests.integration.node import NodeClient, body_of
from tests.integration.payloads import DESTINATIONS, MESSAGE, body
from tests.integration.raw import RawClient
from tests.integration.test_tokens import fresh
from tests.leaks import MARK
from tests.sources.redis.server import own_prefix, shared_server

DOCUMENT: Final = Path(__file__).parents[2] / "docs/security.rst"
#: The file of secrets in the document, and the command there that restarts the nodes.
SECRETS: Final = "/etc/airyd.jwt-secret"
RESTART: Final = "systemctl restart airyd"
OLD: Final = base64.b64encode(f"the-old-secret-{MARK}-".encode().ljust(48, b"o"))


def steps() -> list[list[str]]:
    """Return the commands of each step that has commands."""
    text = DOCUMENT.read_text().partition(".. begin rotation\n")[2].partition(".. end rotation\n")[0]
    numbered = re.split(r"^\d+\. ", text, flags=re.MULTILINE)[1:]
    return [found for each in numbered if (found := re.findall(r"^ +\$ (.+)$", each, re.MULTILINE))]


class RotationCase(DaemonTestCase):
    """Two nodes on one Redis."""

    auth: str

    def setUp(self) -> None:
        """Choose the source of the nodes."""
        self.source = f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}"
        self.nodes: list[Daemon] = []

    def start(self) -> None:
        """Start both nodes."""
        self.nodes = [self.own_daemon(self.source, self.auth) for _ in range(2)]

    def restart(self) -> None:
        """Restart both nodes, one after the other; until then they must have refused no login."""
        for number, node in enumerate(self.nodes):
            self.assertEqual(node.sums("logins_refused_total"), {"logins_refused_total": 0})
            self.assertEqual(node.stop(), 0)
            self.nodes[number] = self.own_daemon(self.source, self.auth, port=node.port)

    def come_in(self, node: Daemon, shown: str, position: str | None = None) -> RawClient:
        """Connect with a token and subscribe; from a position, the resume must be complete."""
        client = self.open(node)
        client.connect(Authorization=f"Bearer {shown}")
        resume = {} if position is None else {"last_message_id": position}
        receipt = client.subscribe(MESSAGE, "m", **resume)
        if position is not None:
            self.assertEqual(receipt.headers["recovered"], "true")
        return client

    def show(self, client: RawClient, shown: str) -> None:
        """Replace the token of a connection, which stays open."""
        client.send("SEND", [("destination", "/airyd/token"), ("receipt", "shown")], shown.encode())
        client.receipt("shown")

    def refused(self, node: Daemon, shown: str) -> None:
        """Check that a login with this token is refused."""
        client = self.open(node)
        client.send("CONNECT", [("accept-version", "1.2"), ("Authorization", f"Bearer {shown}")])
        error, code = client.error()
        self.assertEqual((error.headers["message"], code), ("401 Unauthorized", 1008))


class SecretTests(RotationCase):
    """The commands of the document are run as they are, with another file."""

    def setUp(self) -> None:
        """Write the file with the old secret."""
        super().setUp()
        directory = Path(self.mktemp())
        directory.mkdir()
        self.path = directory.resolve() / "secret"
        self.path.write_bytes(OLD + b"\n")
        self.path.chmod(0o640)
        self.auth = f"--auth=jwt:secret-file={self.path}:base64"

    def follow(self, commands: list[str]) -> None:
        """Carry out a step."""
        for command in commands:
            self.assertTrue(command == RESTART or SECRETS in command or command.startswith("umask "), command)
        script = [line.replace(SECRETS, shlex.quote(str(self.path))) for line in commands if line != RESTART]
        if script:
            subprocess.run(["bash", "-euc", "\n".join(script)], check=True)
        if RESTART in commands:
            self.restart()

    def secrets(self) -> list[bytes]:
        """Return the secrets in the file."""
        return [base64.b64decode(line, validate=True) for line in self.path.read_bytes().splitlines()]

    def test_nobody_is_logged_out(self) -> None:
        add, restart, remove, restart_again = steps()
        self.start()
        old = token(fresh(), base64.b64decode(OLD))
        page = NodeClient(
            "airy.mjs", url=self.nodes[1].url, stompjs=7, destinations=DESTINATIONS, token=old, reconnectDelay=100
        )
        self.addCleanup(page.close)
        page.wait_all("receipt", len(DESTINATIONS))
        position = self.come_in(self.nodes[0], old).subscribe(MESSAGE, "n").headers["last-message-id"]
        # The new secret is added to the old one: clients return with their old tokens and miss nothing.
        self.follow(add)
        self.assertEqual((len(self.secrets()), self.path.stat().st_mode & 0o777), (2, 0o640))
        self.nodes[0].publish(MESSAGE, body(MESSAGE, 1))
        self.follow(restart)
        page.wait_all("receipt", len(DESTINATIONS))
        client = self.come_in(self.nodes[0], old, position)
        self.assertEqual(client.message("m").body, body(MESSAGE, 1))
        # The issuer signs with the new secret: its tokens are accepted on open connections, and by both nodes.
        new = token(fresh(), self.secrets()[0])
        self.show(client, new)
        self.nodes[1].publish(MESSAGE, body(MESSAGE, 2))
        message = client.message("m")
        self.assertEqual(message.body, body(MESSAGE, 2))
        for node in self.nodes:
            for shown in (old, new):
                self.come_in(node, shown)
        self.show(client, old)  # while both secrets are valid, so is either token
        self.show(client, new)
        while body_of(page.wait("message")) != body(MESSAGE, 2):
            """It came back without a position, so that it may have had the first one, or not."""
        self.assertEqual(page.told("logout"), [])
        page.close()
        # The old secret is removed.
        self.follow(remove)
        self.assertEqual(len(self.secrets()), 1)
        self.follow(restart_again)
        for node in self.nodes:
            self.come_in(node, new, message.headers["message-id"])
            self.refused(node, old)

    def test_two_auths_are_two_issuers(self) -> None:
        """Secrets of two ``--auth`` belong to two issuers: a token of the other is another user's and gets 401."""
        other = self.path.with_name("other")
        other.write_bytes(b"the-secret-of-another-issuer-hunter2-hunter2\n")
        node = self.own_daemon(self.source, self.auth, f"--auth=jwt:secret-file={other}")
        client = self.come_in(node, token(fresh(), base64.b64decode(OLD)))
        shown = token(fresh(), other.read_bytes().strip())
        client.send("SEND", [("destination", "/airyd/token"), ("receipt", "shown")], shown.encode())
        self.assertEqual(client.error()[0].headers["message"], "401 Unauthorized")


class PublicKeyTests(RotationCase):
    """The same with public keys, from RSA to another type."""

    def test_nobody_is_logged_out(self) -> None:
        path = Path(self.mktemp()).resolve()
        old, new = private_key("RS256"), private_key("ES384")
        path.write_bytes(public_pem(old))
        self.auth = f"--auth=jwt:key-file={path}"
        self.start()
        path.write_bytes(public_pem(old) + public_pem(new))
        self.auth += ":alg=RS256,ES384"
        self.restart()
        shown = [token(fresh(), old, "RS256"), token(fresh(), new, "ES384", kid="new")]
        client = self.come_in(self.nodes[0], shown[0])
        self.show(client, shown[1])
        path.write_bytes(public_pem(new))
        self.auth = f"--auth=jwt:key-file={path}:alg=ES384"
        self.restart()
        self.come_in(self.nodes[0], shown[1])
        self.refused(self.nodes[1], shown[0])

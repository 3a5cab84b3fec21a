"""Rotations of secrets, keys, passwords and certificates, by docs/operating.rst: nobody is closed or refused."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Final

from tests.auth.case import jwk, private_key, public_pem, token
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon
from tests.integration.node import NodeClient, body_of
from tests.integration.payloads import DESTINATIONS, MESSAGE, body
from tests.integration.raw import RawClient
from tests.integration.test_tokens import fresh
from tests.integration.test_workers import workers_of
from tests.leaks import MARK
from tests.patience import PATIENCE
from tests.sources.redis.certificates import Certificates
from tests.sources.redis.server import RedisServer, own_prefix, shared_server

DOCUMENT: Final = Path(__file__).parents[2] / "docs/operating.rst"
RELOAD: Final = "systemctl reload airyd"
OLD: Final = base64.b64encode(f"the-old-secret-{MARK}-".encode().ljust(48, b"o"))
_SECURE: Final = re.compile(r"airyd serves wss://127\.0\.0\.1:(\d+)/")
_RELOADED: Final = re.compile(r"reloaded: (.*)\n")
#: A masked ping, and its pong.
PING, PONG = b"\x89\x80abcd", b"\x8a\x00"


def steps(name: str) -> list[list[str]]:
    """Return the commands of each step that has commands, of one of the document's rotations."""
    text = DOCUMENT.read_text().partition(f".. begin rotate {name}\n")[2].partition(f".. end rotate {name}\n")[0]
    numbered = re.split(r"^\d+\. ", text, flags=re.MULTILINE)[1:]
    return [found for each in numbered if (found := re.findall(r"^ +\$ (.+)$", each, re.MULTILINE))]


class RotationCase(DaemonTestCase):
    """Two nodes on one Redis, the second with workers.

    :ivar etc: stands for /etc/airyd
    """

    def setUp(self) -> None:
        """Make the folder, as the document does."""
        self.source = f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}"
        self.nodes: list[Daemon] = []
        self.work = Path(self.mktemp()).absolute()
        self.etc = self.work / "etc"
        self.etc.mkdir(parents=True)
        self.etc.chmod(0o2750)
        self.instead = {"/etc/airyd/": f"{shlex.quote(str(self.etc))}/"}

    def start(self, *options: str) -> None:
        """Start both nodes."""
        self.nodes = [self.own_daemon(self.source, *options, *more) for more in ((), ("--workers=2",))]

    def follow(self, commands: list[str]) -> str:
        """Carry out a step; return the output of its commands."""
        out = ""
        for command in commands:
            if command == RELOAD:
                for node in self.nodes:
                    self.reload(node)
                continue
            for text, own in self.instead.items():
                command = command.replace(text, own)
            # They are typed into one shell with the umask of the first step.
            script = f"set -o pipefail; umask 027; {command}"
            out += subprocess.run(
                ["bash", "-euc", script], check=True, cwd=self.work, capture_output=True, text=True
            ).stdout
        return out

    def reload(self, node: Daemon) -> str:
        """Reload a node; return what it says."""
        start = len(node.log)
        os.kill(node.pid, signal.SIGHUP)
        return node.wait_for_log(_RELOADED, start)[1]

    def assert_nobody_was_closed_or_refused(self) -> None:
        """Assert that all connections of both nodes are still open, and that no login was refused."""
        for node in self.nodes:
            sums = node.sums("connections_closed_total", "logins_refused_total")
            self.assertEqual(sums, {"connections_closed_total": 0, "logins_refused_total": 0})

    def come_in(self, node: Daemon, shown: str | None = None) -> RawClient:
        """Connect with a token and subscribe."""
        client = self.open(node)
        client.connect(**({} if shown is None else {"Authorization": f"Bearer {shown}"}))
        client.subscribe(MESSAGE, "m")
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
    """The secret of tokens."""

    def setUp(self) -> None:
        """Write the file with the old secret."""
        super().setUp()
        self.path = self.etc / "jwt-secret"
        self.path.write_bytes(OLD + b"\n")
        self.auth = f"--auth=jwt:secret-file={self.path}:base64"

    def secrets(self) -> list[bytes]:
        """Return the secrets in the file."""
        return [base64.b64decode(line, validate=True) for line in self.path.read_bytes().splitlines()]

    def test_nobody_is_logged_out(self) -> None:
        add, remove = steps("secret")
        self.start(self.auth)
        old = token(fresh(), base64.b64decode(OLD))
        page = NodeClient("airy.mjs", url=self.nodes[1].url, stompjs=7, destinations=DESTINATIONS, token=old)
        self.addCleanup(page.close)
        page.wait_all("receipt", len(DESTINATIONS))
        clients = [self.come_in(node, old) for node in self.nodes * 4]
        self.follow(add)
        self.assertEqual((len(self.secrets()), self.path.stat().st_mode & 0o777), (2, 0o640))
        # The issuer signs with the new secret: its tokens are accepted on open connections, and by all processes.
        new = token(fresh(), self.secrets()[0])
        for client in clients:
            self.show(client, new)
            self.show(client, old)  # while both secrets are valid, so is either token
        clients += [self.come_in(node, shown) for node in self.nodes * 4 for shown in (old, new)]
        self.nodes[0].publish(MESSAGE, body(MESSAGE, 1))
        for client in clients:
            self.assertEqual(client.message("m").body, body(MESSAGE, 1))
        self.follow(remove)
        self.assertEqual(len(self.secrets()), 1)
        # Connections keep their login, new ones need the new secret.
        clients += [self.come_in(node, new) for node in self.nodes * 4]
        self.nodes[1].publish(MESSAGE, body(MESSAGE, 2))
        for client in clients:
            self.assertEqual(client.message("m").body, body(MESSAGE, 2))
        self.assertEqual([body_of(page.wait("message")) for _ in range(2)], [body(MESSAGE, 1), body(MESSAGE, 2)])
        self.assert_nobody_was_closed_or_refused()
        for node in self.nodes * 4:
            self.refused(node, old)

    def test_a_wrong_secret_changes_nothing(self) -> None:
        """Neither in one process nor in a worker."""
        self.start(self.auth)
        self.path.write_text("bm90IGEgc2VjcmV0\n")
        for node in self.nodes:
            start = len(node.log)
            os.kill(node.pid, signal.SIGHUP)
            said = node.wait_for_log(re.compile("nothing was reloaded: (.*)\n"), start)[1]
            self.assertEqual(
                said,
                f"--auth jwt: secret-file {self.path}: the secret has 12 bytes, but HS256 needs at least 32 "
                "(RFC 7518, section 3.2)",
            )
            for _ in range(4):
                self.come_in(node, token(fresh(), base64.b64decode(OLD)))

    def test_two_auths_are_two_issuers(self) -> None:
        """Secrets of two ``--auth`` belong to two issuers: a token of the other is another user's and gets 401."""
        other = self.path.with_name("other")
        other.write_bytes(b"the-secret-of-another-issuer-hunter2-hunter2\n")
        node = self.own_daemon(self.source, self.auth, f"--auth=jwt:secret-file={other}")
        client = self.come_in(node, token(fresh(), base64.b64decode(OLD)))
        shown = token(fresh(), other.read_bytes().strip())
        client.send("SEND", [("destination", "/airyd/token"), ("receipt", "shown")], shown.encode())
        self.assertEqual(client.error()[0].headers["message"], "401 Unauthorized")


class KeyTests(RotationCase):
    """Public keys, in a PEM file or a JWK Set."""

    def test_key_file(self) -> None:
        """From one key to another: both are in the file for a while."""
        path = self.etc / "keys.pem"
        old, new = private_key("RS256"), private_key("ES256")
        path.write_bytes(public_pem(old))
        self.start(f"--auth=jwt:key-file={path}")
        shown = [token(fresh(), old, "RS256"), token(fresh(), new, "ES256", kid="new")]
        clients = [self.come_in(node, shown[0]) for node in self.nodes * 4]
        path.write_bytes(public_pem(old) + public_pem(new))
        self.follow([RELOAD])
        for client in clients:
            self.show(client, shown[1])
        path.write_bytes(public_pem(new))
        self.follow([RELOAD])
        for node in self.nodes * 4:
            self.come_in(node, shown[1])
        self.assert_nobody_was_closed_or_refused()
        for node in self.nodes * 4:
            self.refused(node, shown[0])

    def test_jwk_set(self) -> None:
        both, alone = steps("jwks")
        old, new = private_key("ES256"), private_key("ES256", 1)
        keys = [jwk(old, "old"), jwk(new, "new")]
        for name, some in (("etc/jwks.json", keys[:1]), ("both-keys.json", keys), ("new-key.json", keys[1:])):
            (self.work / name).write_text(json.dumps({"keys": some}))
        self.start(f"--auth=jwt:jwks={self.etc}/jwks.json")
        shown = [token(fresh(), old, "ES256", kid="old"), token(fresh(), new, "ES256", kid="new")]
        clients = [self.come_in(node, shown[0]) for node in self.nodes * 4]
        self.follow(both)
        for client in clients:
            self.show(client, shown[1])
        clients += [self.come_in(node, each) for node in self.nodes * 4 for each in shown]
        self.follow(alone)
        clients += [self.come_in(node, shown[1]) for node in self.nodes * 4]
        self.nodes[0].publish(MESSAGE, body(MESSAGE, 1))
        for client in clients:
            self.assertEqual(client.message("m").body, body(MESSAGE, 1))
        self.assert_nobody_was_closed_or_refused()
        for node in self.nodes * 4:
            self.refused(node, shown[0])


class RedisTests(RotationCase):
    """The password of the Redis user."""

    def setUp(self) -> None:
        """Start a Redis with a user, and the nodes."""
        super().setUp()
        self.redis = RedisServer()
        self.addCleanup(self.redis.close)
        self.admin = self.redis.connect()
        self.addCleanup(self.admin.close)
        self.path = self.etc / "redis-password"
        self.path.write_text(f"the-old-password-{MARK}")
        self.admin.call("ACL", "SETUSER", "airyd", "on", f">the-old-password-{MARK}", "~*", "&*", "+@all")
        self.source = f"--source=redis://airyd@127.0.0.1:{self.redis.port}/0?password-file={self.path}"
        self.instead["redis-cli -h redis.example.org"] = f"redis-cli -p {self.redis.port}"
        self.start()

    def log_in_again(self) -> list[int]:
        """Make Redis close all connections of the nodes; return where their logs end."""
        ends = [len(node.log) for node in self.nodes]
        self.admin.call("CLIENT", "KILL", "USER", "airyd")
        return ends

    def test_by_the_document(self) -> None:
        clients = [self.come_in(node) for node in self.nodes * 4]
        second, use, remove = steps("redis")
        for step in (second, use, remove):
            self.follow(step)
        self.assertEqual(
            (sorted(each.name for each in self.etc.iterdir()), self.path.stat().st_mode & 0o777),
            (["redis-password"], 0o640),
        )
        self.log_in_again()
        clients += [self.come_in(node) for node in self.nodes * 4]
        self.nodes[0].publish(MESSAGE, body(MESSAGE, 1))
        for client in clients:
            self.assertEqual(client.message("m").body, body(MESSAGE, 1))
        self.assert_nobody_was_closed_or_refused()

    def test_without_a_reload(self) -> None:
        """After a WRONGPASS, airyd looks into the file again, until the password is right."""
        clients = [self.come_in(node) for node in self.nodes * 4]
        new = f"the-new-password-{MARK}"
        self.admin.call("ACL", "SETUSER", "airyd", f">{new}", f"<the-old-password-{MARK}")
        for node, end in zip(self.nodes, self.log_in_again(), strict=True):
            node.wait_for_log(re.compile("not connected to redis://.*: WRONGPASS "), end)
        self.path.write_text(new)
        for node in self.nodes:
            node.wait_for_metrics(source_up=1)
        self.nodes[1].publish(MESSAGE, body(MESSAGE, 1))
        for client in clients:
            self.assertEqual(client.message("m").body, body(MESSAGE, 1))
        self.assert_nobody_was_closed_or_refused()


class CertificateTests(RotationCase):
    """The certificate of a listener."""

    def connected(self, port: int, ca: str) -> ssl.SSLSocket:
        """Return a WebSocket over TLS."""
        context = ssl.create_default_context(cafile=ca)
        plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.addCleanup(plain.close)
        secure = context.wrap_socket(plain, server_hostname="localhost")
        self.addCleanup(secure.close)
        secure.sendall(
            f"GET /ws.communication HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        self.assertTrue(secure.recv(1000).startswith(b"HTTP/1.1 101 "))
        return secure

    def test_by_the_document(self) -> None:
        install, look = steps("certificate")
        live = self.work / "live"
        live.mkdir()
        files = Certificates(live)
        (self.etc / "key.pem").write_text(Path(files.server_key).read_text())
        (self.etc / "fullchain.pem").write_text(Path(files.server).read_text())
        for name, file in zip(
            ("fullchain.pem", "privkey.pem"), files.issue("next", "localhost", days=(-1, 7)), strict=True
        ):
            Path(file).rename(live / name)
        tls = f"privateKey={self.etc}/key.pem:certKey={self.etc}/fullchain.pem"
        self.start(f"--listen=ssl:0:interface=127.0.0.1:{tls}", "--connect-timeout=1000")
        ports = [int(node.wait_for_log(_SECURE)[1]) for node in self.nodes]
        old = [self.connected(port, files.ca) for port in ports * 4]
        self.instead["/etc/letsencrypt/live/airyd.example.org"] = shlex.quote(str(live))
        self.follow(install)
        served = {ssl.PEM_cert_to_DER_cert(Path(self.etc / "fullchain.pem").read_text())}
        new = [self.connected(port, files.ca) for port in ports * 4]
        self.assertEqual({each.getpeercert(True) for each in new}, served)
        self.assertTrue(served.isdisjoint({each.getpeercert(True) for each in old}))
        for each in (*old, *new):
            each.sendall(PING)
            self.assertEqual(each.recv(10), PONG)
        for port in ports:
            self.instead["airyd.example.org:8443"] = f"127.0.0.1:{port}"
            self.assertRegex(self.follow(look), "^notAfter=")
        self.assertEqual(len(workers_of(self.nodes[1])), 2)
        self.assertEqual(self.nodes[1].sums("worker_restarts_total"), {"worker_restarts_total": 0})
        for each in (*old, *new):
            each.sendall(PING)
            self.assertEqual(each.recv(10), PONG)
        # A key of another certificate changes nothing.
        (self.etc / "key.pem").write_text(Path(files.client_key).read_text())
        for node, port in zip(self.nodes, ports, strict=True):
            start = len(node.log)
            os.kill(node.pid, signal.SIGHUP)
            node.wait_for_log(re.compile("nothing was reloaded: .*does not belong to the first certificate"), start)
            self.assertEqual(self.connected(port, files.ca).getpeercert(True), new[0].getpeercert(True))

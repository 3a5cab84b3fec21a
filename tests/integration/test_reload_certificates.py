"""SIGHUP with new certificates, for each kind of endpoint with TLS, and with files that the user may no longer read."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import COMPLAINTS, read_until, start_twistd
from tests.patience import PATIENCE
from tests.sources.redis.certificates import Certificates

PROXY_HEADER: Final = b"PROXY TCP4 198.51.100.7 192.0.2.1 4000 443\r\n"
_RELOADED: Final = re.compile(r"reloaded: (.*)\n")
#: A request to the admin page, and an opening handshake.
_HEALTH: Final = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_UPGRADE: Final = (
    b"GET /ws.communication HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class CertificateReloadTests(SynchronousTestCase):
    """A folder of certificates, TLS behind the PROXY protocol, and the admin page."""

    def setUp(self) -> None:
        """Start airyd with a certificate in files and in a folder."""
        self.directory = Path(tempfile.mkdtemp(prefix="airyd-test-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.files = Certificates(self.directory)
        self.key, self.certificate = self.directory / "live-key.pem", self.directory / "live.pem"
        self.folder = self.directory / "folder"
        self.folder.mkdir()
        self.install(self.files.server, self.files.server_key)
        tls = f"interface=127.0.0.1:privateKey={self.key}:certKey={self.certificate}"
        self.process = start_twistd(
            f"--listen=tls:{self.folder}:0:interface=127.0.0.1",
            f"--listen=haproxy:ssl:0:{tls}",
            "--trust-proxy=127.0.0.1",
            f"--admin=ssl:0:{tls}",
            "--auth=anonymous:public",
            "--connect-timeout=1000",
        )
        self.addCleanup(self.end)
        serves = r"airyd serves wss://127\.0\.0\.1:(\d+)/"
        admin, self.log = read_until(self.process, re.compile(r"airyd admin at https://127\.0\.0\.1:(\d+)/"))
        in_folder, log = read_until(self.process, re.compile(serves))
        behind_proxy, more = read_until(self.process, re.compile(serves))
        self.log += log + more
        self.ports = [int(found[1]) for found in (in_folder, behind_proxy, admin)]

    def end(self) -> None:
        """End airyd."""
        self.process.terminate()
        try:
            self.log += self.process.communicate(timeout=PATIENCE)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.assertEqual((self.process.returncode, COMPLAINTS.findall(self.log)), (0, []))

    def install(self, certificate: str, key: str) -> None:
        """Put a certificate in the place of the one before."""
        for source, target in ((certificate, self.certificate), (key, self.key)):
            shutil.copy(source, f"{target}.new")
            Path(f"{target}.new").rename(target)
        both = self.folder / "new"
        both.write_bytes(Path(certificate).read_bytes() + Path(key).read_bytes())
        both.rename(self.folder / "localhost.pem")

    def reload(self) -> str:
        """Reload; return the line about it."""
        self.process.send_signal(signal.SIGHUP)
        found, log = read_until(self.process, _RELOADED)
        self.log += log
        return found[1]

    def connected(self) -> list[ssl.SSLSocket]:
        """Return a connection to each port."""
        return [self.connect(port, header) for port, header in zip(self.ports, (b"", PROXY_HEADER, b""), strict=True)]

    def connect(self, port: int, header: bytes) -> ssl.SSLSocket:
        """Return a connection with TLS.

        :param header: what a proxy sends in front of TLS
        """
        plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.addCleanup(plain.close)
        plain.sendall(header)
        context = ssl.create_default_context(cafile=self.files.ca)
        context.set_alpn_protocols(["h2", "http/1.1"])
        secure = context.wrap_socket(plain, server_hostname="localhost")
        self.addCleanup(secure.close)
        self.assertEqual(secure.selected_alpn_protocol(), "http/1.1")
        return secure

    def assert_answers(self, connections: list[ssl.SSLSocket]) -> None:
        """Assert that connections to the three ports are served."""
        for each, asked, answer in zip(
            connections, (_UPGRADE, _UPGRADE, _HEALTH), (b" 101 ", b" 101 ", b" 200 "), strict=True
        ):
            each.sendall(asked)
            self.assertIn(answer, each.recv(1000))

    def test_all_kinds(self) -> None:
        """New connections get the new certificate, and those that were open go on with the old one."""
        old = self.connected()
        served = {each.getpeercert(True) for each in old}
        self.install(*self.files.issue("next", "localhost"))
        said = self.reload()
        for endpoint in (f"--listen tls:{self.folder}:0", "--listen haproxy:ssl:0", "--admin ssl:0"):
            self.assertIn(f"certificate of {endpoint}", said)
        self.assertTrue(said.startswith("new: certificate of "), said)
        new = self.connected()
        expected = ssl.PEM_cert_to_DER_cert(self.certificate.read_text())
        self.assertEqual({each.getpeercert(True) for each in new}, {expected})
        self.assertNotIn(expected, served)
        self.assert_answers(old)
        self.assert_answers(new)
        self.assertEqual(self.reload(), "nothing has changed")

    def test_what_is_wrong_changes_nothing(self) -> None:
        """Neither a wrong file in the folder nor a wrong key replaces any of the certificates."""
        (before,) = {each.getpeercert(True) for each in self.connected()}
        certificate, key = self.files.issue("next", "localhost")
        self.install(certificate, key)
        broken = self.folder / "other.pem"
        broken.write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
        self.assertIn(f"--listen tls:{self.folder}:0:interface=127.0.0.1: path={broken}: ", self.reload())
        broken.unlink()
        self.install(certificate, key)
        self.key.write_text(Path(self.files.client_key).read_text())
        self.assertIn("does not belong to the first certificate", self.reload())
        self.assertEqual({each.getpeercert(True) for each in self.connected()}, {before})

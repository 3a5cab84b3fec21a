"""TLS of endpoints: the files, and the protocol that ALPN chooses."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from OpenSSL import SSL
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from airyd.admin.server import AdminSite
from airyd.tls import ReplaceableTls, certificate_end, read_certificate_folder, server_tls
from airyd.websocket.protocol import StompWebSocketFactory
from tests.sources.redis.certificates import Certificates

#: A fatal alert (RFC 8446, section 6) with the description no_application_protocol (RFC 7301, section 3.2).
NO_APPLICATION_PROTOCOL = b"\x15\x03\x03\x00\x02\x02\x78"


class FilesCase(SynchronousTestCase):
    """Makes certificates."""

    def setUp(self) -> None:
        """Make the certificates."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.files = Certificates(self.directory)

    def write(self, *contents: str | bytes) -> str:
        """Return the path of a new file; strings are paths of files whose content goes into it."""
        path = Path(self.mktemp())
        parts = [Path(content).read_bytes() if isinstance(content, str) else content for content in contents]
        path.write_bytes(b"".join(parts))
        return str(path)


class Client:
    """A client and a server in memory."""

    def __init__(self, tls: ReplaceableTls, offered: Sequence[bytes]) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        if offered:
            context.set_alpn_protos(list(offered))
        self._connection = SSL.Connection(context, None)
        self._connection.set_connect_state()
        # A factory without acceptableProtocols, like those of wrappers.
        factory = Factory.forProtocol(Protocol)
        self._transport = StringTransport()
        self._server = cast(Any, TLSMemoryBIOFactory(tls, False, factory, cast(Any, Clock())).buildProtocol(None))
        self._server.makeConnection(self._transport)

    @property
    def is_refused(self) -> bool:
        """Whether the server has closed the connection."""
        return self._transport.disconnecting

    def shake_hands(self) -> bytes:
        """Carry out the handshake; return the last bytes that the server sent."""
        answer = b""
        for _ in range(4):
            try:
                self._connection.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error:
                break
            try:
                said = self._connection.bio_read(1 << 16)
            except SSL.WantReadError:
                break
            self._server.dataReceived(said)
            answer = self._transport.value()
            self._transport.clear()
            self._connection.bio_write(answer)
        return answer

    def chosen(self) -> bytes:
        """Carry out the handshake; return the chosen protocol."""
        self.shake_hands()
        return self._connection.get_alpn_proto_negotiated()

    def subject(self) -> str:
        """Return the common name of the server's certificate."""
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        return str(certificate.subject.rfc4514_string())

    def chain(self) -> int:
        """Return how many certificates the server sent."""
        return len(self._connection.get_peer_cert_chain(as_cryptography=True) or ())


class AlpnTests(FilesCase):
    """The protocol that ALPN chooses."""

    def client(self, *offered: bytes) -> Client:
        """Return a client that offers these protocols."""
        return Client(server_tls(self.files.server_key, self.files.server), offered)

    def test_http_1_1(self) -> None:
        """``http/1.1`` is chosen whenever it is offered, in whatever order."""
        for offered in ((b"http/1.1",), (b"h2", b"http/1.1"), (b"http/1.1", b"h2"), (b"x", b"http/1.1", b"http/1.0")):
            client = self.client(*offered)
            self.assertEqual(client.chosen(), b"http/1.1", offered)
            self.assertFalse(client.is_refused)

    def test_nothing_offered(self) -> None:
        client = self.client()
        self.assertEqual(client.chosen(), b"")
        self.assertFalse(client.is_refused)
        self.assertEqual(client.chain(), 1)

    def test_nothing_in_common(self) -> None:
        """The client gets the alert no_application_protocol, and the next client is served."""
        tls = server_tls(self.files.server_key, self.files.server)
        for offered in ((b"h2",), (b"http/1.0", b"h3"), (b"HTTP/1.1",)):
            client = Client(tls, offered)
            self.assertEqual(client.shake_hands(), NO_APPLICATION_PROTOCOL)
            self.assertTrue(client.is_refused)
            self.assertEqual(Client(tls, (b"h2", b"http/1.1")).chosen(), b"http/1.1")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_replaced(self) -> None:
        """New connections get the new certificate; those that have begun keep theirs."""
        tls = server_tls(self.files.server_key, self.files.server)
        old = Client(tls, ())
        other = server_tls(self.files.client_key, self.files.client)
        self.assertFalse(tls.has_other_certificates(server_tls(self.files.server_key, self.files.server)))
        self.assertTrue(tls.has_other_certificates(other))
        tls.replace(other)
        self.assertFalse(tls.has_other_certificates(other))
        new = Client(tls, (b"h2", b"http/1.1"))
        self.assertEqual(new.chosen(), b"http/1.1")
        old.shake_hands()
        self.assertEqual((old.subject(), new.subject()), ("CN=localhost", "CN=airyd"))

    def test_factories(self) -> None:
        """The factories themselves have the protocols, for endpoints of other plugins."""
        for factory in (StompWebSocketFactory, AdminSite):
            made = factory.__new__(cast(Any, factory))
            verifyObject(IProtocolNegotiationFactory, made)
            self.assertEqual(cast(Any, made).acceptableProtocols(), [b"http/1.1"])


@pytest.mark.integration
class FilesTests(FilesCase):
    """The content of certificate and key files."""

    def shown(self, *files: str | None) -> int:
        """Return how many certificates a server with these files sends."""
        client = Client(server_tls(*cast(Any, files)), (b"http/1.1",))
        self.assertEqual(client.chosen(), b"http/1.1")
        return client.chain()

    def test_all_in_one(self) -> None:
        """Key and certificate may be in one file, in any order."""
        key, certificate = self.files.server_key, self.files.server
        for both in (self.write(key, certificate), self.write(certificate, key)):
            self.assertEqual(self.shown(both, both), 1)

    def test_chain(self) -> None:
        """The chain may be in the certificate's file, as certbot writes it, or in a separate file."""
        key, certificate, chain = self.files.server_key, self.files.server, self.files.ca
        self.assertEqual(self.shown(key, self.write(certificate, chain)), 2)
        self.assertEqual(self.shown(key, certificate, chain), 2)
        self.assertEqual(self.shown(key, self.write(certificate, chain), self.files.client), 3)

    def test_diffie_hellman(self) -> None:
        parameters = self.openssl("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048")
        self.assertEqual(self.shown(self.files.server_key, self.files.server, None, parameters), 1)

    def openssl(self, *arguments: str) -> str:
        """Run ``openssl``; return the path of the file that it writes."""
        path: str = self.mktemp()
        subprocess.run(["openssl", *arguments, "-out", path], check=True, capture_output=True)
        return path

    def test_wrong(self) -> None:
        """The refusal is one line that names the parameter, the file and what is wrong with it."""
        files = self.files
        secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0IGh1bnRlcjI=\n-----END PRIVATE KEY-----\n"
        broken = self.write(secret.encode())
        locked = self.openssl("pkey", "-in", files.server_key, "-aes256", "-passout", "pass:hunter2")
        binary = self.openssl("x509", "-in", files.server, "-outform", "der")
        public = self.openssl("pkey", "-in", files.server_key, "-pubout")
        empty = self.write(b"")
        turned = self.write(files.ca, files.server)
        nowhere = "/nothing/there.pem"
        for arguments, words in (
            ((nowhere, files.server), ["privateKey=/nothing/there.pem", "there is no such file"]),
            ((str(self.directory), files.server), ["privateKey=", "this is a folder"]),
            (("/dev/zero", files.server), ["privateKey=/dev/zero", "this is a device"]),
            ((files.client_key, files.server), ["privateKey=", files.client_key, "certKey=", files.server]),
            ((files.server_key, turned), ["privateKey=", "first certificate"]),
            ((files.server, files.server), ["privateKey=", "no private key in PEM form"]),
            ((public, files.server), ["privateKey=", "no private key in PEM form"]),
            ((empty, files.server), ["privateKey=", "no private key in PEM form"]),
            ((broken, files.server), ["privateKey=", "no private key in PEM form"]),
            ((locked, files.server), ["privateKey=", "passphrase"]),
            ((files.server_key, nowhere), ["certKey=/nothing/there.pem", "there is no such file"]),
            ((files.server_key, files.server_key), ["certKey=", "no certificate in PEM form"]),
            ((files.server_key, binary), ["certKey=", "no certificate in PEM form"]),
            ((files.server_key, empty), ["certKey=", "no certificate in PEM form"]),
            ((files.server_key, files.server, nowhere), ["extraCertChain=/nothing/there.pem", "there is no such file"]),
            ((files.server_key, files.server, empty), ["extraCertChain=", "no certificate in PEM form"]),
            (
                (files.server_key, files.server, None, nowhere),
                ["dhParameters=/nothing/there.pem", "there is no such file"],
            ),
            ((files.server_key, files.server, None, files.ca), ["dhParameters=", "Diffie-Hellman"]),
        ):
            said = str(self.assertRaises(ValueError, server_tls, *arguments))
            self.assertEqual(len(said.splitlines()), 1, said)
            self.assertNotIn("hunter2", said)
            for word in words:
                self.assertIn(word, said)

    def test_refused_by_openssl(self) -> None:
        """OpenSSL refuses a key that is too short for TLS."""
        key = self.openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")
        certificate = self.openssl("req", "-x509", "-key", key, "-subj", "/CN=localhost")
        said = str(self.assertRaises(ValueError, server_tls, key, certificate))
        self.assertIn(key, said)
        self.assertIn(certificate, said)
        self.assertEqual(len(said.splitlines()), 1, said)


@pytest.mark.integration
class FolderTests(FilesCase):
    """The folder of a ``tls:`` endpoint."""

    def folder(self, **files: str) -> str:
        """Return a folder with these .pem files."""
        folder = Path(self.mktemp())
        (folder / "live").mkdir(parents=True)
        for name, content in files.items():
            (folder / "live" / f"{name}.pem").write_text(content)
        return str(folder)

    def test_right(self) -> None:
        """Key and certificate may be in one file or in two, beside other files."""
        key, own, other = (
            Path(each).read_text() for each in (self.files.server_key, self.files.server, self.files.client)
        )
        read_certificate_folder(self.folder(both=key + own, other=other))
        read_certificate_folder(self.folder(key=key, own=own))
        read_certificate_folder(self.folder(key=key, own=own, endless="-----BEGIN X-----" * 100_000))

    def test_wrong(self) -> None:
        """airyd refuses folders that make Twisted fail, ask for a passphrase, or follow a root certificate for ever."""
        key, own, root = (Path(each).read_text() for each in (self.files.server_key, self.files.server, self.files.ca))
        locked = subprocess.run(
            ["openssl", "pkey", "-in", self.files.server_key, "-aes256", "-passout", "pass:x"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for folder, word in (
            ("/nothing/there", "there is no folder"),
            (self.folder(), "no .pem files"),
            (self.folder(own=own), "certificate and its key"),
            (self.folder(key=key), "certificate and its key"),
            (self.folder(both=key + own, root=root), "root.pem holds a root certificate"),
            (self.folder(both=locked + own), "passphrase"),
            (
                self.folder(both=key + own, bad="-----BEGIN CERTIFICATE-----\nx\n"),
                "bad.pem: a certificate in it is broken",
            ),
        ):
            said = str(self.assertRaises(ValueError, read_certificate_folder, folder))
            self.assertIn(word, said)
            self.assertEqual(len(said.splitlines()), 1, said)


class CertificateEndTests(SynchronousTestCase):
    """When the first of several certificates ends."""

    def test_earliest(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        files = Certificates(directory)
        soon, key = files.issue("soon", "localhost", days=(-1, 0))
        both, one = certificate_end([files.server, soon, key]), certificate_end([files.server])
        assert both is not None and one is not None
        self.assertLess(abs(one - both - 86_400), 60)
        self.assertIsNone(certificate_end([key]))
        self.assertIsNone(certificate_end([]))

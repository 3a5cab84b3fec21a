"""PEM files, and the errors of both libraries that wrap OpenSSL."""

from __future__ import annotations

import ssl
from pathlib import Path

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.trial.unittest import SynchronousTestCase

from airyd.openssl import (
    TlsFault,
    is_end_of_connection,
    openssl_reason,
    read_certificates,
    read_private_key,
    tls_fault,
    trust_root,
)
from tests.sources.redis.certificates import Certificates


def both(reason: str) -> tuple[Exception, Exception]:
    """Return the errors of pyOpenSSL and of the standard library for the same reason."""
    standard = ssl.SSLError(1, "as OpenSSL words it")
    standard.reason = reason.upper().replace(" ", "_")
    return SSL.Error([("SSL routines", "", reason)]), standard


class ErrorTests(SynchronousTestCase):
    """The kind of an error."""

    def test_kinds(self) -> None:
        for reason, fault in [
            ("certificate verify failed", TlsFault.UNTRUSTED),
            ("wrong version number", TlsFault.NO_TLS),
            ("http request", TlsFault.NO_TLS),
            ("tlsv13 alert certificate required", TlsFault.ALERT),
            ("no protocols available", TlsFault.OTHER),
        ]:
            for error in both(reason):
                self.assertEqual((openssl_reason(error), tls_fault(error)), (reason, fault))
        self.assertEqual(tls_fault(VerificationError(errors=[])), TlsFault.OTHER_NAME)

    def test_no_reason(self) -> None:
        for error in (SSL.Error(), SSL.Error([]), SSL.ZeroReturnError(), ssl.SSLError()):
            self.assertEqual(openssl_reason(error), "no reason is given")

    def test_end_of_connection(self) -> None:
        """Python and pyOpenSSL have different exceptions for a peer that closes during the handshake."""
        for error, wanted in (
            (ssl.SSLEOFError(8, "x"), True),
            (ssl.SSLZeroReturnError(6, "x"), True),
            (OSError(), False),
        ):
            self.assertEqual(is_end_of_connection(error), wanted)
        self.assertFalse(is_end_of_connection(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] x")))


class FileTests(SynchronousTestCase):
    """Reading PEM files, and why a file can't be used."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.files = Certificates(directory)

    def test_right(self) -> None:
        """Text between the certificates is ignored."""
        own, root = Path(self.files.server).read_bytes(), Path(self.files.ca).read_bytes()
        self.assertEqual(2, len(read_certificates(b"# ours\n" + own + "\u00fc\n".encode() + root)))
        trust_root(b"# ours\n" + own + "\u00fc\n".encode() + root)
        read_private_key(Path(self.files.server_key).read_bytes())

    def test_wrong(self) -> None:
        key, own = Path(self.files.server_key).read_bytes(), Path(self.files.server).read_bytes()
        for read in (read_certificates, trust_root):
            for pem, reason in ((b"", "no certificate"), (key, "no certificate"), (own.replace(b"M", b"?"), "broken")):
                self.assertIn(reason, str(self.assertRaises(ValueError, read, pem)))
        for pem in (b"", own, key.replace(b"M", b"?")):
            self.assertIn("no private key", str(self.assertRaises(ValueError, read_private_key, pem)))

"""TLS to a server: which authorities are trusted, and why a handshake failed, in words that say what to change."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Final

from OpenSSL import SSL
from OpenSSL.crypto import X509
from OpenSSL.crypto import Error as PemError
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, CertificateOptions, platformTrust, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from airyd.errors import ConfigurationError

_END_OF_CERTIFICATE: Final = b"-----END CERTIFICATE-----"
#: Bytes that are read of a file with authorities; the system's own have some 200 KiB.
_LONGEST: Final = 4 * 1024 * 1024
_Code: Final = SSL.X509VerificationCodes
#: What OpenSSL finds where no trusted authority has signed.
_UNTRUSTED: Final = frozenset(
    (
        _Code.ERR_UNABLE_TO_GET_ISSUER_CERT,
        _Code.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        _Code.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        _Code.ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
        _Code.ERR_SELF_SIGNED_CERT_IN_CHAIN,
        _Code.ERR_CERT_UNTRUSTED,
        _Code.ERR_CERT_SIGNATURE_FAILURE,  # by an authority of the same name, with another key
    )
)


@implementer(IPolicyForHTTPS)
class Authorities:
    """The authorities that may sign a server's certificate.

    :param path: a PEM file with them; None for the system's
    :ivar last: what the last :meth:`connections` returned

    Raises ``ConfigurationError`` if the file has none.
    """

    def __init__(self, path: str | None) -> None:
        self._is_named = path is not None
        self._options = {"trustRoot": platformTrust() if path is None else trustRootFromCertificates(_read(path))}
        self.last: VerifiedConnections | None = None

    def connections(self, host: str) -> VerifiedConnections:
        """Return what makes the TLS connections to a host, and checks its certificate.

        Raises ``ConfigurationError`` for a name that no host can have.
        """
        self.last = VerifiedConnections(CertificateOptions(**self._options), host, self._is_named)
        return self.last

    def creatorForNetloc(self, hostname: bytes, port: int) -> VerifiedConnections:
        """See ``IPolicyForHTTPS``."""
        return self.connections(hostname.decode("ascii"))


@implementer(IOpenSSLClientConnectionCreator)
class VerifiedConnections:
    """Makes TLS connections to one host, one at a time, and knows why the handshake of the last one failed.

    Twisted's ``optionsForClientTLS`` verifies alike, but keeps to itself what is wrong with a certificate.

    :param options: makes the connections, and verifies the chain of certificates; of this object alone
    :param is_named: whether the authorities are from a file that the user named
    :ivar is_established: whether the last connection's handshake was done
    """

    def __init__(self, options: CertificateOptions, host: str, is_named: bool) -> None:
        self._options = options
        self._host = host.rstrip(".")
        self._is_named = is_named
        try:
            self._service: DNS_ID | IPAddress_ID = (
                DNS_ID(self._host) if _is_name(self._host) else IPAddress_ID(self._host)
            )
        except ValueError:
            raise ConfigurationError(f"{host} is not a host name") from None
        self._mistrust: str | None = None
        self._speaks_tls = False
        self.is_established = False
        options.getContext().set_info_callback(self._learn)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See ``IOpenSSLClientConnectionCreator``."""
        self._mistrust = None
        self._speaks_tls = self.is_established = False
        connection: SSL.Connection = self._options.clientConnectionForTLS(tlsProtocol)
        if isinstance(self._service, DNS_ID):
            connection.set_tlsext_host_name(self._service.hostname)
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        return connection

    def reason(self, error: BaseException | None, plain: str) -> tuple[str, bool] | None:
        """Return why the handshake failed, and whether another one would fail alike; None if it did not fail.

        :param error: how the connection ended; None if it did not end, and nothing was answered in time
        :param plain: what the URL of a port without TLS begins with, such as ``http://``
        """
        if self.is_established:
            return None
        if self._mistrust is not None:
            return f"the certificate of {self._host} {self._mistrust}", True
        if isinstance(error, SSL.Error):
            if self._speaks_tls:
                return f"the TLS handshake failed: {openssl_words(error)}", True
            return f"the server does not speak TLS on this port: use {plain}", True
        what = "does not answer" if error is None else "ends"
        return f"the server {what} the TLS handshake; if it does not speak TLS on this port, use {plain}", False

    def _verify(self, connection: SSL.Connection, certificate: X509, code: int, depth: int, is_trusted: int) -> bool:
        """Check one certificate of the chain, from the authority's to the server's (called by OpenSSL)."""
        if not is_trusted:
            self._mistrust = self._mistrust or self._meaning(code)
        elif depth == 0:
            self._check_name(certificate)
        return self._mistrust is None

    def _check_name(self, certificate: X509) -> None:
        try:
            patterns = extract_patterns(certificate.to_cryptography())
            verify_service_identity(patterns, [self._service], [])
        except (CertificateError, ValueError):
            self._mistrust = "is malformed"
        except VerificationError:
            self._mistrust = "is for another name: use the name that it is for"

    def _meaning(self, code: int) -> str:
        """Return what an error of OpenSSL's means."""
        if code == _Code.ERR_CERT_HAS_EXPIRED:
            return "has expired"
        if code == _Code.ERR_CERT_NOT_YET_VALID:
            return "is not valid yet (is this machine's clock right?)"
        if code in _UNTRUSTED and self._is_named:
            return "is not signed by an authority of the --ca-file"
        if code in _UNTRUSTED:
            return "is not signed by an authority that is known here: name it with --ca-file"
        return f"cannot be verified (error {code} of OpenSSL)"

    def _learn(self, connection: SSL.Connection, where: int, value: int) -> None:
        """Take down how far the handshake has come (called by OpenSSL)."""
        is_answer = where & SSL.SSL_CB_READ_ALERT == SSL.SSL_CB_READ_ALERT or connection.get_cipher_name() is not None
        self._speaks_tls = self._speaks_tls or is_answer
        self.is_established = self.is_established or bool(where & SSL.SSL_CB_HANDSHAKE_DONE)


def _is_name(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def openssl_words(error: SSL.Error) -> str:
    """Return what OpenSSL says: (library, function, reason) each."""
    match error.args:
        case ([*errors],):
            return ", ".join(str(each[-1]) for each in errors) or "no reason"
    return type(error).__name__


def _read(path: str) -> list[Certificate]:
    try:
        with Path(path).open("rb") as file:
            blocks = file.read(_LONGEST).split(_END_OF_CERTIFICATE)[:-1]
        if not blocks:
            raise ConfigurationError(f"--ca-file {path}: there is no certificate in PEM in it")
        return [Certificate.loadPEM(block + _END_OF_CERTIFICATE) for block in blocks]
    except OSError as error:
        raise ConfigurationError(f"--ca-file {path}: cannot read it: {error.strerror}") from None
    except (PemError, ValueError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"--ca-file {path}: a certificate in it is broken") from None

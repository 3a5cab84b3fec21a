"""Client-side TLS of the commands: trusted authorities (``--ca-file``), and readable reasons for failed handshakes."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import platformTrust
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from airyd.cli.urls import plain_scheme
from airyd.errors import ConfigurationError
from airyd.files import read_bytes
from airyd.hostnames import tls_options
from airyd.openssl import is_end_of_connection, openssl_reason, split_certificates, trust_root


class CertificateFault(Enum):
    """What is wrong with a server's certificate; the value is the text for the user."""

    EXPIRED = "has expired"
    BROKEN = "is broken, or not valid yet (is this machine's clock right?)"
    OTHER_NAME = "is for another name: use the name that it is for"
    UNTRUSTED = "is not signed by an authority that this machine trusts: name it with --ca-file"
    NOT_OF_FILE = "is not signed by an authority of the --ca-file"


#: The alerts with which OpenSSL refuses a server's certificate (RFC 8446, section 6.2). A certificate that is not valid
#: yet gets ``bad_certificate``; one signed with another key of the same authority gets ``decrypt_error``.
_ALERTS: Final = {
    42: CertificateFault.BROKEN,
    45: CertificateFault.EXPIRED,
    48: CertificateFault.UNTRUSTED,
    51: CertificateFault.UNTRUSTED,
}
#: OpenSSL's own codes for the same faults (X509_V_ERR_*, see ``man 3 X509_verify_cert_error_string``).
_VERIFY_CODES: Final = {
    7: CertificateFault.UNTRUSTED,
    10: CertificateFault.EXPIRED,
    18: CertificateFault.UNTRUSTED,
    19: CertificateFault.UNTRUSTED,
    20: CertificateFault.UNTRUSTED,
    21: CertificateFault.UNTRUSTED,
    62: CertificateFault.OTHER_NAME,
    64: CertificateFault.OTHER_NAME,
}


class Authorities:
    """The authorities that may sign a server's certificate.

    :param path: a PEM file with the authorities; None for the system's

    Raises ``ConfigurationError`` if the file has no authorities.
    """

    def __init__(self, path: str | None) -> None:
        self.is_named = path is not None
        self._certificates: Sequence[bytes] = ()
        self._trust: Any = platformTrust()
        if path is not None:
            pem = read_bytes("--ca-file", path, may_block=True)
            try:
                self._trust = trust_root(pem)
                self._certificates = split_certificates(pem)
            except ValueError as error:
                raise ConfigurationError(f"--ca-file {path}: {error}") from None

    def connections(self, host: str) -> VerifiedConnections:
        """Return Twisted's creator of TLS connections to a host, which checks the host's certificate.

        Raises ``ConfigurationError`` for a name that no host can have.
        """
        try:
            creator = tls_options(host, self._trust)
        except ValueError:
            raise ConfigurationError(f"{host} is not a host name") from None
        return VerifiedConnections(creator, host, self.is_named)

    def context(self) -> ssl.SSLContext:
        """Return the TLS context for the standard library, with the same authorities."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.is_named:
            context.load_verify_locations(cadata=b"\n".join(self._certificates).decode("ascii"))
        else:
            context.load_default_certs()
        return context

    def why_refused(self, error: ssl.SSLCertVerificationError, host: str) -> str:
        """Return what is wrong with a certificate that the :meth:`context` refused."""
        return _describe(_VERIFY_CODES.get(error.verify_code, CertificateFault.BROKEN), host, self.is_named)


def why_no_tls(error: BaseException | None, url: str) -> str:
    """Return why TLS failed, if not because of the server's certificate.

    :param error: how the connection ended; None if the server did not answer
    """
    if isinstance(error, SSL.Error | ssl.SSLError) and not is_end_of_connection(error):
        return f"the server does not speak TLS on this port: use {plain_scheme(url)}"
    what = "does not answer" if error is None else "ends"
    return f"the server {what} the TLS handshake; if it does not speak TLS on this port, use {plain_scheme(url)}"


def _describe(fault: CertificateFault, host: str, is_named: bool) -> str:
    if fault is CertificateFault.UNTRUSTED and is_named:
        fault = CertificateFault.NOT_OF_FILE
    return f"the certificate of {host} {fault.value}"


@implementer(IOpenSSLClientConnectionCreator)
class VerifiedConnections:
    """Makes TLS connections to one host, one at a time, and records the progress of the last handshake.

    :param creator: makes the connections, and verifies the server's certificate
    :param is_named: whether the user named a file with authorities
    :ivar is_established: whether the handshake of the last connection was completed
    """

    def __init__(self, creator: IOpenSSLClientConnectionCreator, host: str, is_named: bool) -> None:
        self._creator = creator
        self._host = host
        self._is_named = is_named
        self._sent_alert: int | None = None
        self._speaks_tls = False
        self.is_established = False

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See ``IOpenSSLClientConnectionCreator``."""
        self._sent_alert = None
        self._speaks_tls = self.is_established = False
        connection: SSL.Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        connection.set_info_callback(self._handshake_went_on)
        return connection

    def _handshake_went_on(self, connection: SSL.Connection, where: int, value: int) -> None:
        """Record the progress of the handshake (called by OpenSSL)."""
        is_alert = bool(where & SSL.SSL_CB_ALERT)
        if is_alert and where & SSL.SSL_CB_WRITE:
            self._sent_alert = value & 0xFF
        is_answer = (is_alert and bool(where & SSL.SSL_CB_READ)) or connection.get_cipher_name() is not None
        self._speaks_tls = self._speaks_tls or is_answer
        self.is_established = self.is_established or bool(where & SSL.SSL_CB_HANDSHAKE_DONE)

    def reason(self, error: BaseException | None, url: str) -> tuple[str, bool] | None:
        """Return why the handshake failed, and whether a retry would fail again; None if it did not fail.

        :param error: how the connection ended; None if it is still open but the server did not answer in time
        """
        if self.is_established:
            return None
        if isinstance(error, VerificationError):
            return _describe(CertificateFault.OTHER_NAME, self._host, self._is_named), True
        if isinstance(error, SSL.Error) and self._speaks_tls:
            fault = _ALERTS.get(self._sent_alert or 0)
            if fault is not None:
                return _describe(fault, self._host, self._is_named), True
            return f"the TLS handshake failed: {openssl_reason(error)}", True
        return why_no_tls(error, url), isinstance(error, SSL.Error)

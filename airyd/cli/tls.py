"""TLS to a server: which authorities are trusted, and why a handshake failed, in words that say what to change."""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import platformTrust
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from airyd.errors import ConfigurationError
from airyd.files import read_bytes
from airyd.hostnames import tls_options
from airyd.openssl import openssl_reason, trust_root

#: The alerts with which OpenSSL refuses a server's certificate (RFC 8446, section 6.2). That a certificate is not
#: valid yet is ``bad_certificate``; that it is signed with another key of the same authority is ``decrypt_error``.
_BAD_CERTIFICATE: Final = 42
_CERTIFICATE_EXPIRED: Final = 45
_UNTRUSTED: Final = frozenset((48, 51))


class Authorities:
    """The authorities that may sign a server's certificate.

    :param path: a PEM file with them; None for the system's
    :ivar last: what the last :meth:`connections` returned

    Raises ``ConfigurationError`` if the file has none.
    """

    def __init__(self, path: str | None) -> None:
        self._is_named = path is not None
        self._trust = platformTrust() if path is None else _read(path)
        self.last: VerifiedConnections | None = None

    def connections(self, host: str) -> VerifiedConnections:
        """Return what makes the TLS connections to a host, and checks its certificate.

        Raises ``ConfigurationError`` for a name that no host can have.
        """
        try:
            creator = tls_options(host, self._trust)
        except ValueError:
            raise ConfigurationError(f"{host} is not a host name") from None
        self.last = VerifiedConnections(creator, host, self._is_named)
        return self.last


def _read(path: str) -> Any:
    content = read_bytes("--ca-file", path)
    try:
        return trust_root(content)
    except ValueError as error:
        raise ConfigurationError(f"--ca-file {path}: {error}") from None


@implementer(IOpenSSLClientConnectionCreator)
class VerifiedConnections:
    """Makes TLS connections to one host, one at a time, and knows how far the handshake of the last one came.

    :param creator: makes them, and verifies the server's certificate
    :param is_named: whether the authorities are from a file that the user named
    :ivar is_established: whether the last connection's handshake was done
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
        connection.set_info_callback(self._learn)
        return connection

    def _learn(self, connection: SSL.Connection, where: int, value: int) -> None:
        """Take down how far the handshake has come (called by OpenSSL)."""
        is_alert = bool(where & SSL.SSL_CB_ALERT)
        if is_alert and where & SSL.SSL_CB_WRITE:
            self._sent_alert = value & 0xFF
        is_answer = (is_alert and bool(where & SSL.SSL_CB_READ)) or connection.get_cipher_name() is not None
        self._speaks_tls = self._speaks_tls or is_answer
        self.is_established = self.is_established or bool(where & SSL.SSL_CB_HANDSHAKE_DONE)

    def reason(self, error: BaseException | None, plain: str) -> tuple[str, bool] | None:
        """Return why the handshake failed, and whether another one would fail alike; None if it did not fail.

        :param error: how the connection ended; None if it did not end, and nothing was answered in time
        :param plain: what the URL of a port without TLS begins with, such as ``http://``
        """
        if self.is_established:
            return None
        match error:
            case VerificationError():
                return f"the certificate of {self._host} is for another name: use the name that it is for", True
            case SSL.Error() if self._speaks_tls:
                failed = f"the TLS handshake failed: {openssl_reason(error)}"
                return self._mistrust() or failed, True
            case SSL.Error():
                return f"the server does not speak TLS on this port: use {plain}", True
        what = "does not answer" if error is None else "ends"
        return f"the server {what} the TLS handshake; if it does not speak TLS on this port, use {plain}", False

    def _mistrust(self) -> str | None:
        """Return what is wrong with the server's certificate; None if the handshake failed for something else."""
        whose = f"the certificate of {self._host}"
        if self._sent_alert == _CERTIFICATE_EXPIRED:
            return f"{whose} has expired"
        if self._sent_alert == _BAD_CERTIFICATE:
            return f"{whose} is broken, or not valid yet (is this machine's clock right?)"
        if self._sent_alert in _UNTRUSTED and self._is_named:
            return f"{whose} is not signed by an authority of the --ca-file"
        if self._sent_alert in _UNTRUSTED:
            return f"{whose} is not signed by an authority that is known here: name it with --ca-file"
        return None

"""Server-side TLS: the certificate and key files of ``ssl:`` and ``tls:`` endpoints, and HTTP/1.1 by ALPN."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.ssl import CertificateOptions, DiffieHellmanParameters
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.filepath import FilePath
from zope.interface import implementer

from airyd.files import is_folder, read_file
from airyd.openssl import openssl_reason, read_certificates, read_private_key

_T = TypeVar("_T")

#: The ALPN names of the supported protocols: the WebSocket and the admin page both use HTTP/1.1.
ALPN_PROTOCOLS: Final = (b"http/1.1",)
#: The first bytes of a TLS client: a handshake record (RFC 8446, section 5.1). No HTTP request begins with them.
TLS_HANDSHAKE: Final = b"\x16\x03"
_CERTIFICATE_BEGINS: Final = b"-----BEGIN CERTIFICATE-----"
#: A block of a PEM file other than a certificate.
_OTHER_PEM: Final = re.compile(
    rb"-----BEGIN (?!CERTIFICATE-)[^-]+-----(?:(?!-----BEGIN ).)*?-----END [^-]+-----", re.DOTALL
)


def select_protocol(connection: SSL.Connection, offered: Sequence[bytes]) -> bytes:
    """Choose one of the protocols that a client offers by ALPN (RFC 7301, section 3.2).

    Raises ``SSL.Error`` if none is supported. pyOpenSSL then sends the alert ``no_application_protocol``, and Twisted
    handles the error as a failed handshake and closes the connection.
    """
    for protocol in ALPN_PROTOCOLS:
        if protocol in offered:
            return protocol
    raise SSL.Error([("SSL routines", "", "no application protocol")])


class _AlpnContext(SSL.Context):
    """A TLS context that chooses the protocol with :func:`select_protocol`."""

    def set_alpn_select_callback(self, callback: object) -> None:
        """Install :func:`select_protocol` instead of Twisted's function.

        Twisted's returns ``b""`` if there is no common protocol, for which OpenSSL sends ``internal_error``.
        """
        super().set_alpn_select_callback(select_protocol)


class ServerTlsOptions(CertificateOptions):
    """Twisted's TLS options, with airyd's ALPN selection.

    ``_contextFactory`` is private to Twisted. A context can't be changed after Twisted has set its ciphers, so there
    is no other way; tests/test_tls.py fails if Twisted no longer makes the context this way.
    """

    _contextFactory = _AlpnContext


@implementer(IOpenSSLServerConnectionCreator)
class ReplaceableTls:
    """The TLS of a listening endpoint, which new files can replace for new connections.

    :param options: Twisted's TLS options, or its chooser of certificates by the name that a client asks for
    :param certificates: the certificates, DER
    :ivar certificate_end: when the first of them ends, in seconds since 1970; None if that is unknown
    """

    def __init__(
        self, options: CertificateOptions | IOpenSSLServerConnectionCreator, certificates: Sequence[bytes]
    ) -> None:
        self.certificate_end: float | None = None
        self._options = options
        self._certificates = certificates

    def has_other_certificates(self, other: ReplaceableTls) -> bool:
        """Return whether the other one has not the same certificates."""
        return self._certificates != other._certificates

    def replace(self, other: ReplaceableTls) -> None:
        """Use what the other one uses, for new connections."""
        self._options, self._certificates = other._options, other._certificates
        self.certificate_end = other.certificate_end

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See ``IOpenSSLServerConnectionCreator``."""
        return SSL.Connection(self._context(), None)

    def accepted(self, connected: socket.socket, transport: object) -> SSL.Connection:
        """Return the TLS of an accepted connection, which reads and writes the socket itself.

        :param transport: has ``factory`` and ``abortConnection``, for Twisted's chooser of certificates
        """
        made = SSL.Connection(self._context(), connected)
        made.set_accept_state()
        made.set_app_data(transport)
        return made

    def _context(self) -> SSL.Context:
        if isinstance(self._options, CertificateOptions):
            return self._options.getContext()
        made: SSL.Connection = self._options.serverConnectionForTLS(cast(Any, None))  # it needs no protocol
        return made.get_context()


class TlsFactory(TLSMemoryBIOFactory):
    """Adds TLS to a factory's connections; the ports of clients replace what it adds (``airyd.websocket.accepting``).

    :ivar tls: the certificates
    """

    def __init__(self, tls: ReplaceableTls, factory: IProtocolFactory) -> None:
        super().__init__(tls, False, factory)
        self.tls = tls


@implementer(IStreamServerEndpoint)
class TlsEndpoint:
    """An endpoint whose connections speak TLS."""

    def __init__(self, endpoint: IStreamServerEndpoint, tls: ReplaceableTls) -> None:
        self._endpoint = endpoint
        self._tls = tls

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See ``IStreamServerEndpoint``."""
        return self._endpoint.listen(TlsFactory(self._tls, protocolFactory))


def server_tls(
    key_file: str, certificate_file: str, chain_file: str | None = None, dh_file: str | None = None
) -> ReplaceableTls:
    """Return the TLS for these files, which are the parameters of an ``ssl:`` endpoint.

    The first certificate in ``certificate_file`` is the server's own. Its other certificates, and those in
    ``chain_file``, are the chain that clients get with it.

    Raises ``ValueError`` with one line that names the parameter and the file if a file can't be used.
    """
    key = _load(read_private_key, "privateKey", key_file)
    own, *chain = _load(read_certificates, "certKey", certificate_file)
    if chain_file is not None:
        chain += _load(read_certificates, "extraCertChain", chain_file)
    try:
        fits = _public_bytes(own) == _public_bytes(key)
    except (ValueError, UnsupportedAlgorithm):
        fits = False
    if not fits:
        raise _Unusable(
            "privateKey", key_file, f"does not belong to the first certificate in certKey={certificate_file}"
        )
    # Objects of cryptography: those that Twisted would make are deprecated in pyOpenSSL.
    parameters: dict[str, Any] = {
        "privateKey": key,
        "certificate": own,
        "extraCertChain": chain,
        "enableSessionTickets": True,
    }
    if dh_file is not None:
        if b"DH PARAMETERS-----" not in _load(bytes, "dhParameters", dh_file):
            raise _Unusable("dhParameters", dh_file, "holds no Diffie-Hellman parameters in PEM form")
        parameters["dhParameters"] = DiffieHellmanParameters.fromFile(FilePath(dh_file))
    options = ServerTlsOptions(**parameters)
    try:
        options.getContext()
    except SSL.Error as error:
        names = ", ".join(name for name in (key_file, certificate_file, chain_file, dh_file) if name is not None)
        raise ValueError(f"OpenSSL cannot use {names}: {openssl_reason(error)}") from None
    return ReplaceableTls(options, [each.public_bytes(Encoding.DER) for each in (own, *chain)])


def certificate_end(paths: Iterable[str]) -> float | None:
    """Return when the first of the certificates in these PEM files ends, in seconds since 1970; None without any.

    Files without a certificate are left out; raises ``ValueError`` if one can't be read.
    """
    found = [each for pem in map(read_file, paths) if _CERTIFICATE_BEGINS in pem for each in read_certificates(pem)]
    return min((each.not_valid_after_utc.timestamp() for each in found), default=None)


def read_certificate_folder(path: str) -> list[bytes]:
    """Return the certificates, as DER, in the ``.pem`` files below a folder (``tls:``).

    Raises ``ValueError`` if Twisted can't serve them. The errors are like those of :func:`server_tls`. Twisted
    follows the issuers of a certificate through the folder and would loop at a certificate that has issued itself.
    """
    if not is_folder(path):
        raise ValueError(f"path={path}: there is no folder of this name")
    pairs: set[bytes] = set()
    certificates: list[tuple[str, Certificate]] = []
    for file in sorted(map(str, Path(path).rglob("*.pem"))):
        try:
            pem = read_file(file)
            if _CERTIFICATE_BEGINS in pem:
                certificates += [(file, each) for each in read_certificates(pem)]
            pairs.update(_public_bytes(read_private_key(block)) for block in _OTHER_PEM.findall(pem))
        except ValueError as error:
            raise ValueError(f"path={file}: {error}") from None
    for file, certificate in certificates:
        if certificate.issuer == certificate.subject and _public_bytes(certificate) not in pairs:
            raise _Unusable("path", file, "holds a root certificate; remove it, clients have their own copy")
    if not any(_public_bytes(certificate) in pairs for _, certificate in certificates):
        raise _Unusable("path", path, "has no .pem files with a certificate and its key")
    return [certificate.public_bytes(Encoding.DER) for _, certificate in certificates]


class _Unusable(ValueError):
    def __init__(self, parameter: str, path: str, reason: str) -> None:
        super().__init__(f"{parameter}={path} {reason}")


def _load(read: Callable[[bytes], _T], parameter: str, path: str) -> _T:
    """Return the parsed content of a file.

    Raises ``ValueError`` with a text that names the parameter and the file.
    """
    try:
        return read(read_file(path))
    except ValueError as error:
        raise ValueError(f"{parameter}={path}: {error}") from None


def _public_bytes(holder: Any) -> bytes:
    encoded: bytes = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded

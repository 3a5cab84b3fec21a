"""TLS for clients that connect to airyd: the files of an ``ssl:`` endpoint, and the choice of HTTP/1.1 by ALPN."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate
from OpenSSL import SSL
from twisted.internet.ssl import CertificateOptions, DiffieHellmanParameters
from twisted.python.filepath import FilePath

from airyd.files import read_file
from airyd.openssl import openssl_reason, read_certificates, read_private_key

_T = TypeVar("_T")

#: What is spoken here, as ALPN calls it: the WebSocket and the admin page are both HTTP/1.1.
ALPN_PROTOCOLS: Final = (b"http/1.1",)
#: How a client begins that wants TLS: a handshake record (RFC 8446, section 5.1). No HTTP begins so.
TLS_HANDSHAKE: Final = b"\x16\x03"
#: A part of a PEM file that is no certificate.
_OTHER_PEM: Final = re.compile(
    rb"-----BEGIN (?!CERTIFICATE-)[^-]+-----(?:(?!-----BEGIN ).)*?-----END [^-]+-----", re.DOTALL
)


def select_protocol(connection: SSL.Connection, offered: Sequence[bytes]) -> bytes:
    """Return which of the protocols that a client offers by ALPN is spoken (RFC 7301, section 3.2).

    If there is none, the client gets the alert ``no_application_protocol``: pyOpenSSL sends it when this raises
    anything. Twisted handles an ``SSL.Error`` as a handshake that failed, and closes the connection.
    """
    for protocol in ALPN_PROTOCOLS:
        if protocol in offered:
            return protocol
    raise SSL.Error([("SSL routines", "", "no application protocol")])


class _AlpnContext(SSL.Context):
    """A context in which :func:`select_protocol` chooses."""

    def set_alpn_select_callback(self, callback: object) -> None:
        """Take :func:`select_protocol` in place of Twisted's function.

        Twisted's returns ``b""`` if there is no common protocol, which OpenSSL turns into ``internal_error``.
        """
        super().set_alpn_select_callback(select_protocol)


class ServerTlsOptions(CertificateOptions):
    """Twisted's options for TLS, with airyd's choice by ALPN.

    ``_contextFactory`` is not Twisted's API. But a context can't be changed any more after Twisted has chosen its
    ciphers; tests/test_tls.py fails if Twisted no longer asks for the context in this way.
    """

    _contextFactory = _AlpnContext


def server_tls(
    key_file: str, certificate_file: str, chain_file: str | None = None, dh_file: str | None = None
) -> ServerTlsOptions:
    """Return the TLS options that these files make; the arguments are the parameters of an ``ssl:`` endpoint.

    The first certificate of ``certificate_file`` is the server's own; more of them, and those of ``chain_file``, are
    the chain that clients get with it.

    Raises ``ValueError`` if a file can't be used: one line that names the parameter and the file.
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
    # The objects of cryptography, not Twisted's own, whose form pyOpenSSL calls deprecated.
    parameters: dict[str, Any] = {"privateKey": key, "certificate": own, "extraCertChain": chain}
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
    return options


def check_certificate_folder(path: str) -> None:
    """Raise ``ValueError`` if Twisted could not serve the certificates in the ``.pem`` files below a folder (``tls:``).

    The errors are the same as with :func:`server_tls`. Twisted follows the issuers of a certificate through the folder,
    and would not come to an end at one that has issued itself.
    """
    if not Path(path).is_dir():
        raise ValueError(f"path={path}: there is no folder of this name")
    pairs: set[bytes] = set()
    certificates: list[tuple[str, Certificate]] = []
    for file in sorted(map(str, Path(path).rglob("*.pem"))):
        try:
            pem = read_file(file)
            if b"-----BEGIN CERTIFICATE-----" in pem:
                certificates += [(file, each) for each in read_certificates(pem)]
            pairs.update(_public_bytes(read_private_key(block)) for block in _OTHER_PEM.findall(pem))
        except ValueError as error:
            raise ValueError(f"path={file}: {error}") from None
    for file, certificate in certificates:
        if certificate.issuer == certificate.subject and _public_bytes(certificate) not in pairs:
            raise _Unusable("path", file, "holds a root certificate; take it away, clients have it themselves")
    if not any(_public_bytes(certificate) in pairs for _, certificate in certificates):
        raise _Unusable("path", path, "has no .pem files with a certificate and its key")


class _Unusable(ValueError):
    def __init__(self, parameter: str, path: str, reason: str) -> None:
        super().__init__(f"{parameter}={path} {reason}")


def _load(read: Callable[[bytes], _T], parameter: str, path: str) -> _T:
    """Return what is read of a file.

    Raises ``ValueError`` that names the parameter and the file.
    """
    try:
        return read(read_file(path))
    except ValueError as error:
        raise ValueError(f"{parameter}={path}: {error}") from None


def _public_bytes(holder: Any) -> bytes:
    encoded: bytes = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded

"""TLS to Redis: which certificates are trusted, and which one airyd shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from OpenSSL.SSL import Error as TlsError
from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator

from airyd.errors import ConfigurationError
from airyd.files import read_bytes
from airyd.hostnames import tls_options
from airyd.openssl import read_certificates, read_private_key, trust_root

_T = TypeVar("_T")


def client_options(
    name: str, host: str, ca_file: str | None, cert_file: str | None, key_file: str | None
) -> IOpenSSLClientConnectionCreator:
    """Return what makes TLS connections to a host, and checks its certificate.

    :param name: of the address, for errors
    :param ca_file: PEM file of the authorities that sign the server's certificate; None for the system's
    :param cert_file: PEM file of the client's certificate chain, with ``key_file`` for its key

    Raises ``ConfigurationError``, which names the parameter, if a certificate or key can't be used.
    """
    trust = None if ca_file is None else _load(trust_root, f"{name}: ca-file", ca_file)
    own: dict[str, Any] = {}
    if cert_file is not None and key_file is not None:
        certificate, *chain = _load(read_certificates, f"{name}: cert-file", cert_file)
        key = _load(read_private_key, f"{name}: key-file", key_file)
        # Not as a PrivateCertificate: that holds no chain, and objects which pyOpenSSL takes no more.
        own = {"certificate": certificate, "privateKey": key, "extraCertChain": chain}
        try:
            ssl.CertificateOptions(**own).getContext()
        except (TlsError, TypeError, ValueError):
            raise ConfigurationError(
                f"{name}: key-file {key_file}: this is not the key of the certificate in cert-file {cert_file}"
            ) from None
    try:
        return tls_options(host, trust, own)
    except ValueError:
        raise ConfigurationError(
            f"{name}: no certificate can be checked for the name {host}; use another name of that host, or its address"
        ) from None


def _load(read: Callable[[bytes], _T], parameter: str, path: str) -> _T:
    """Return what is read of a file.

    Raises ``ConfigurationError`` that names the parameter and the file.
    """
    content = read_bytes(parameter, path)
    try:
        return read(content)
    except ValueError as error:
        raise ConfigurationError(f"{parameter} {path}: {error}") from None

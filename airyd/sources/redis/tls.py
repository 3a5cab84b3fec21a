"""TLS to Redis: the trusted certificate authorities, and the client certificate."""

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
    """Return the TLS options for connections to a host, which check its certificate.

    :param name: the address's name, for errors
    :param ca_file: PEM file of the trusted certificate authorities; None for the system's
    :param cert_file: PEM file of the client's certificate chain; its key is in ``key_file``

    Raises ``ConfigurationError``, which names the parameter, if a certificate or key is unusable.
    """
    trust = None if ca_file is None else _load(trust_root, f"{name}: ca-file", ca_file)
    own: dict[str, Any] = {}
    if cert_file is not None and key_file is not None:
        certificate, *chain = _load(read_certificates, f"{name}: cert-file", cert_file)
        key = _load(read_private_key, f"{name}: key-file", key_file)
        # Not a PrivateCertificate: it holds no chain, and its objects are no longer accepted by pyOpenSSL.
        own = {"certificate": certificate, "privateKey": key, "extraCertChain": chain}
        try:
            ssl.CertificateOptions(**own).getContext()
        except (TlsError, TypeError, ValueError):
            raise ConfigurationError(
                f"{name}: key-file {key_file}: this is not the key for the certificate in cert-file {cert_file}"
            ) from None
    try:
        return tls_options(host, trust, own)
    except ValueError:
        raise ConfigurationError(
            f"{name}: certificates cannot be checked for the name {host}; use another name of that host, or its address"
        ) from None


def _load(read: Callable[[bytes], _T], parameter: str, path: str) -> _T:
    """Return the result of ``read`` on a file's contents.

    Raises ``ConfigurationError``, which names the parameter and the file.
    """
    content = read_bytes(parameter, path)
    try:
        return read(content)
    except ValueError as error:
        raise ConfigurationError(f"{parameter} {path}: {error}") from None

"""TLS to Redis: which certificates are trusted, and which one airyd shows."""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates
from OpenSSL.SSL import Error as TlsError
from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator

from airyd.errors import ConfigurationError
from airyd.files import read_bytes
from airyd.hostnames import tls_options


def client_options(
    name: str, host: str, ca_file: str | None, cert_file: str | None, key_file: str | None
) -> IOpenSSLClientConnectionCreator:
    """Return what makes TLS connections to a host, and checks its certificate.

    :param name: of the address, for errors
    :param ca_file: PEM file of the authorities that sign the server's certificate; None for the system's
    :param cert_file: PEM file of the client's certificate chain, with ``key_file`` for its key

    Raises ``ConfigurationError``, which names the parameter, if a certificate or key can't be used.
    """
    trust = None
    if ca_file is not None:
        authorities = [each.public_bytes(Encoding.PEM) for each in _certificates(f"{name}: ca-file", ca_file)]
        trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(pem) for pem in authorities])
    own: dict[str, Any] = {}
    if cert_file is not None and key_file is not None:
        certificate, *chain = _certificates(f"{name}: cert-file", cert_file)
        key = _key(f"{name}: key-file", key_file)
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


def _certificates(parameter: str, path: str) -> list[Certificate]:
    content = read_bytes(parameter, path)
    try:
        return load_pem_x509_certificates(content)
    except ValueError:
        raise ConfigurationError(f"{parameter} {path}: there is no certificate as PEM in it") from None


def _key(parameter: str, path: str) -> Any:
    content = read_bytes(parameter, path)
    try:
        return load_pem_private_key(content, password=None)
    except TypeError:
        raise ConfigurationError(f"{parameter} {path}: the key has a password; save it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{parameter} {path}: there is no private key as PEM in it") from None

"""Reads certificates and keys in PEM files, and turns OpenSSL errors into readable reasons."""

from __future__ import annotations

import re
import ssl
from enum import Enum, auto
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates
from OpenSSL.crypto import Error as CertificateError
from service_identity import VerificationError
from twisted.internet.ssl import Certificate as TwistedCertificate
from twisted.internet.ssl import trustRootFromCertificates

#: The first bytes of a TLS alert, which a TLS server sends to a client that does not speak TLS (RFC 8446, section 5.1).
TLS_ALERT: Final = b"\x15\x03"
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_NO_CERTIFICATE: Final = "the file has no certificate in PEM form"
_BROKEN_CERTIFICATE: Final = "a certificate in it is broken"
#: OpenSSL's reasons for an answer that is not TLS.
_NO_TLS: Final = ("wrong version number", "packet length too long", "record layer failure", "http request")


def read_certificates(pem: bytes) -> list[Certificate]:
    """Return the certificates of a PEM file, at least one.

    Raises ``ValueError`` with a text that says what is wrong with the file.
    """
    if b"CERTIFICATE-----" not in pem:
        raise ValueError(_NO_CERTIFICATE)
    try:
        return load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError(_BROKEN_CERTIFICATE) from None


def read_private_key(pem: bytes) -> Any:
    """Return the private key of a PEM file.

    Raises ``ValueError`` with a text that says what is wrong with the file.
    """
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        # OpenSSL itself would ask for the passphrase on the terminal.
        raise ValueError("the key has a passphrase; give a key without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("the file has no private key in PEM form") from None


def split_certificates(pem: bytes) -> list[bytes]:
    """Return the PEM text of each certificate in a PEM file, at least one; raises ``ValueError`` if there is none."""
    certificates = _CERTIFICATE.findall(pem)
    if not certificates:
        raise ValueError(_NO_CERTIFICATE)
    return certificates


def trust_root(pem: bytes) -> Any:
    """Return Twisted's trust root for the authorities in a PEM file; raises ``ValueError`` if it can't be used."""
    authorities = split_certificates(pem)
    # cryptography is stricter than OpenSSL, and warns about some authorities that systems ship.
    try:
        return trustRootFromCertificates([TwistedCertificate.loadPEM(each) for each in authorities])
    except (CertificateError, ValueError):
        raise ValueError(_BROKEN_CERTIFICATE) from None


class TlsFault(Enum):
    """The reasons for which TLS with a server fails."""

    OTHER_NAME = auto()
    UNTRUSTED = auto()
    NO_TLS = auto()
    ALERT = auto()
    OTHER = auto()


def tls_fault(error: Exception) -> TlsFault:
    """Return the kind of a TLS error.

    :param error: from service_identity, pyOpenSSL or the standard library
    """
    if isinstance(error, VerificationError):
        return TlsFault.OTHER_NAME
    reason = openssl_reason(error)
    if "certificate verify failed" in reason:
        return TlsFault.UNTRUSTED
    if any(each in reason for each in _NO_TLS):
        return TlsFault.NO_TLS
    return TlsFault.ALERT if "alert" in reason or "handshake failure" in reason else TlsFault.OTHER


def is_end_of_connection(error: Exception) -> bool:
    """Return whether the standard library says by this TLS error that the peer closed the connection.

    Which of the two it raises depends on the versions of Python and OpenSSL: Debian's 3.11.2 raises the second.
    """
    return isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)


def openssl_reason(error: Exception) -> str:
    """Return OpenSSL's reason, in lower case.

    :param error: from pyOpenSSL or the standard library
    """
    if isinstance(error, ssl.SSLError):
        # Errors that Python itself raises have no reason.
        return (getattr(error, "reason", None) or "no reason is given").replace("_", " ").lower()
    match error.args:
        case ([*entries],) if entries:  # the library, the function and the reason of each
            return ", ".join(str(each[-1]) for each in entries)
    return "no reason is given"

"""Error texts for a lost or refused connection to Redis, which tell the operator what to change."""

from __future__ import annotations

from typing import Final

from OpenSSL.SSL import Error as TlsError
from service_identity import VerificationError
from twisted.internet.error import ConnectionDone, ConnectionLost

from airyd.hostnames import one_line
from airyd.openssl import TLS_ALERT, TlsFault, openssl_reason, tls_fault

LOST: Final = "the connection was lost"
#: The first bytes of a web server's answer.
_WEB: Final = (b"HTTP/", b"<")
_WITH_TLS: Final = "; if the server speaks TLS, write rediss:"
_WITHOUT_TLS: Final = "; if the server does not speak TLS, write redis:"


def why_no_redis(first: bytes, scheme: str) -> str:
    """Return the text for a server that is not a Redis.

    :param first: the first bytes of its answer
    :param scheme: the URL's scheme, such as ``rediss``
    """
    if first.startswith(TLS_ALERT) and scheme == "redis":
        return "the server speaks TLS: write rediss:"
    what = "a web server, not a Redis" if first.startswith(_WEB) else "not a Redis"
    return f"the server is {what}: correct the host or the port"


def why_silent(patience: float, scheme: str, is_secure: bool) -> str:
    """Return the text for a server that has sent nothing for ``patience`` seconds.

    :param is_secure: whether the TLS handshake is complete
    """
    if scheme == "rediss" and not is_secure:
        return f"no answer in TLS within {patience:g} seconds{_WITHOUT_TLS}"
    return f"no reply within {patience:g} seconds"


def why_lost(error: BaseException | None, scheme: str, is_secure: bool, has_answered: bool) -> str:
    """Return why a connection was lost.

    :param is_secure: whether the TLS handshake is complete
    :param has_answered: whether the server has sent any bytes
    """
    if isinstance(error, VerificationError | TlsError):
        return _why_no_tls(error)
    if has_answered or not isinstance(error, ConnectionDone | ConnectionLost):
        return LOST if isinstance(error, ConnectionDone) else f"{LOST}: {one_line(error)}"
    if scheme == "rediss" and not is_secure:
        return f"the server closed the connection instead of agreeing on TLS{_WITHOUT_TLS}"
    return f"the server closed the connection without an answer{_WITH_TLS if scheme == 'redis' else ''}"


def _why_no_tls(error: VerificationError | TlsError) -> str:
    if isinstance(error, VerificationError):
        return "the server's certificate is for another name: use the name that it is for, or another certificate"
    reason = openssl_reason(error)
    match tls_fault(error):
        case TlsFault.UNTRUSTED:
            return (
                "the server's certificate is not trusted: ca-file must name the authority that signed it (without "
                "ca-file: the system must know it), and it must be valid now"
            )
        case TlsFault.ALERT if "certificate required" in reason or "handshake failure" in reason:
            return f"the server refuses TLS ({reason}): it may ask for a certificate, see cert-file and key-file"
        case TlsFault.ALERT:
            return f"the server refuses the certificate of cert-file, or TLS as airyd speaks it ({reason})"
        case TlsFault.NO_TLS:
            return f"the server does not speak TLS: write redis:, or correct the port ({reason})"
    return f"TLS failed: {reason}"

"""Why there is no connection to a Redis, in words for its operator: what to change, where that is known."""

from __future__ import annotations

from typing import Final

from OpenSSL.SSL import Error as TlsError
from service_identity import VerificationError
from twisted.internet.error import ConnectionDone, ConnectionLost

from airyd.hostnames import one_line
from airyd.openssl import TLS_ALERT, TlsFault, openssl_reason, tls_fault

LOST: Final = "the connection was lost"
#: How answers of web servers begin.
_WEB: Final = (b"HTTP/", b"<")
_WITH_TLS: Final = "; if the server speaks TLS, write rediss:"
_WITHOUT_TLS: Final = "; if the server does not speak TLS, write redis:"


def why_no_redis(first: bytes, scheme: str) -> str:
    """Return what answers instead of a Redis.

    :param first: how its answer begins
    :param scheme: of the URL, such as ``rediss``
    """
    if first.startswith(TLS_ALERT) and scheme == "redis":
        return "the server speaks TLS: write rediss:"
    what = "a web server, not a Redis" if first.startswith(_WEB) else "not a Redis"
    return f"what answers there is {what}: correct the host or the port"


def why_silent(patience: float, scheme: str, is_secure: bool) -> str:
    """Return what it means that nothing has come for so many seconds.

    :param is_secure: whether TLS has been agreed on
    """
    if scheme == "rediss" and not is_secure:
        return f"no answer in TLS within {patience:g} seconds{_WITHOUT_TLS}"
    return f"no reply within {patience:g} seconds"


def why_lost(error: BaseException | None, scheme: str, is_secure: bool, has_answered: bool) -> str:
    """Return why a connection was lost.

    :param is_secure: whether TLS has been agreed on
    :param has_answered: whether the server has said anything
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

"""The server's answer to the opening handshake, sans I/O: why it is no WebSocket (RFC 6455, section 4.1)."""

from __future__ import annotations

from typing import Final

from airyd.cli.reasons import LONGEST_QUOTE, http_reason

#: Bytes of an answer's head, and of its body, that are looked at.
_LONGEST_HEAD: Final = 64 * 1024
_LONGEST_BODY: Final = 4 * 1024
_HEAD_END: Final = b"\r\n\r\n"
_HTTP: Final = b"HTTP/1."
#: How a TLS record with an alert begins: a server with TLS answers so to what is no TLS (RFC 8446, section 5.1).
_TLS_ALERT: Final = b"\x15\x03"
_SWITCHING_PROTOCOLS: Final = 101
#: Answers that may be another one later: Request Timeout, Too Early, Too Many Requests.
_PASSING: Final = frozenset((408, 425, 429))


class OpeningAnswer:
    """Collects the answer until it is clear what it is.

    :ivar data: what has come
    :ivar is_complete: whether more bytes would say nothing more; without a :attr:`refusal` it is a WebSocket
    :ivar refusal: why there is no WebSocket; None if there is one, or while that is not known
    :ivar is_permanent: whether another try would be refused alike
    """

    def __init__(self, tls_scheme: str) -> None:
        self._tls_scheme = tls_scheme
        self.data = b""
        self.is_complete = False
        self.refusal: str | None = None
        self.is_permanent = False

    def receive(self, data: bytes) -> None:
        """Take a piece of the answer."""
        self.data += data
        head, end, body = self.data.partition(_HEAD_END)
        if not self.data.startswith(_HTTP[: len(self.data)]) or (not end and len(head) > _LONGEST_HEAD):
            self._refuse(self._not_http(), permanent=True, complete=True)
        elif end:
            self._read(head, body)

    def _read(self, head: bytes, body: bytes) -> None:
        status_line, *lines = head.decode("latin-1").split("\r\n")
        _, _, rest = status_line.partition(" ")
        code, _, phrase = rest.partition(" ")
        if not (code.isascii() and code.isdecimal() and len(code) == 3):
            self._refuse(self._not_http(), permanent=True, complete=True)
            return
        if int(code) == _SWITCHING_PROTOCOLS:
            self.is_complete = True
            if not _is_text(head):  # Autobahn would trip over it
                self._refuse("the server's opening handshake is wrong: it is not UTF-8", permanent=True, complete=True)
            return
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = body.partition(b"\r\n")[2]  # the first chunk is enough
        length = headers.get("content-length", "")
        whole = min(int(length), _LONGEST_BODY) if length.isdecimal() and len(length) < 20 else _LONGEST_BODY
        reason = http_reason(int(code), phrase, headers.get("location"), body[:_LONGEST_BODY])
        self._refuse(
            f"the server opens no WebSocket: {reason}",
            permanent=int(code) < 500 and int(code) not in _PASSING,
            complete=len(body) >= whole,
        )

    def _refuse(self, reason: str, permanent: bool, complete: bool) -> None:
        self.refusal, self.is_permanent, self.is_complete = reason, permanent, complete

    def _not_http(self) -> str:
        if self.data.startswith(_TLS_ALERT):
            return f"the server speaks TLS on this port: use {self._tls_scheme}"
        first_line = self.data.lstrip().partition(b"\n")[0].rstrip()[:LONGEST_QUOTE].decode("utf-8", "replace")
        return f"the server does not speak HTTP on this port: it says {first_line!r}"


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

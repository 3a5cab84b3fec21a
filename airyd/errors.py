"""Errors: the table of STOMP ERROR messages and WebSocket close codes, and the exceptions of all rooms."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from http import HTTPStatus
from typing import ClassVar


class CloseCode(IntEnum):
    """The WebSocket close codes that airyd sends (RFC 6455, section 7.4.1, and the IANA registry)."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    INVALID_DATA = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    RESTARTING = 1012
    TRY_AGAIN = 1013


class Fault(Enum):
    """The reasons for which a client gets an ERROR frame.

    Each value is the text of the ERROR's ``message`` header and the close code that follows. The
    texts never change: numbers, and what the client sent, belong in the ERROR's body. Only faults
    of the login contain ``401``, because Airy's client logs its user out when it sees these digits.
    ``kind`` names the fault in metrics and logs.
    """

    # The client broke the STOMP protocol.
    MALFORMED_FRAME = ("malformed frame", CloseCode.PROTOCOL_ERROR)
    UNKNOWN_COMMAND = ("unknown command", CloseCode.PROTOCOL_ERROR)
    UNEXPECTED_COMMAND = ("command not allowed now", CloseCode.PROTOCOL_ERROR)
    MISSING_HEADER = ("missing header", CloseCode.PROTOCOL_ERROR)
    INVALID_HEADER = ("invalid header", CloseCode.PROTOCOL_ERROR)
    VERSION_MISMATCH = ("no common protocol version", CloseCode.PROTOCOL_ERROR)
    DUPLICATE_SUBSCRIPTION = ("subscription id in use", CloseCode.PROTOCOL_ERROR)
    UNKNOWN_SUBSCRIPTION = ("unknown subscription", CloseCode.PROTOCOL_ERROR)
    UNKNOWN_MESSAGE = ("unknown message id", CloseCode.PROTOCOL_ERROR)
    NOT_ACKNOWLEDGEABLE = ("subscription takes no acknowledgement", CloseCode.PROTOCOL_ERROR)
    UNKNOWN_TRANSACTION = ("unknown transaction", CloseCode.PROTOCOL_ERROR)
    DUPLICATE_TRANSACTION = ("transaction in use", CloseCode.PROTOCOL_ERROR)
    # The client exceeded a limit.
    FRAME_TOO_BIG = ("frame too big", CloseCode.TOO_BIG)
    TOO_MANY_HEADERS = ("too many headers", CloseCode.TOO_BIG)
    TOO_MANY_SUBSCRIPTIONS = ("too many subscriptions", CloseCode.POLICY)
    TOO_MANY_TRANSACTIONS = ("too many open transactions", CloseCode.POLICY)
    TRANSACTION_TOO_BIG = ("transactions too big", CloseCode.TOO_BIG)
    CONNECT_TIMEOUT = ("no CONNECT in time", CloseCode.POLICY)
    HEARTBEAT_TIMEOUT = ("no heart-beat in time", CloseCode.POLICY)
    # An operator ended the connection; the client may come back.
    KICKED = ("disconnected by operator", CloseCode.POLICY)
    # The client has no right to this, or names or sends something that is not allowed.
    UNAUTHORIZED = ("401 Unauthorized", CloseCode.POLICY)
    TOKEN_EXPIRED = ("401 token expired", CloseCode.POLICY)
    TOKEN_REVOKED = ("401 token revoked", CloseCode.POLICY)
    FORBIDDEN = ("403 Forbidden", CloseCode.POLICY)
    UNKNOWN_DESTINATION = ("unknown destination", CloseCode.POLICY)
    INVALID_PAYLOAD = ("invalid payload", CloseCode.POLICY)
    # The server can't serve the client now.
    SLOW_CONSUMER = ("client too slow", CloseCode.TRY_AGAIN)
    HISTORY_LOST = ("history lost", CloseCode.TRY_AGAIN)
    SOURCE_UNAVAILABLE = ("event source unavailable", CloseCode.TRY_AGAIN)
    LOGIN_UNAVAILABLE = ("login unavailable", CloseCode.TRY_AGAIN)
    RESTARTING = ("server restarting", CloseCode.RESTARTING)
    INTERNAL = ("internal error", CloseCode.INTERNAL_ERROR)

    @property
    def message(self) -> str:
        """The text of the ERROR's ``message`` header."""
        return self.value[0]

    @property
    def close_code(self) -> CloseCode:
        """The WebSocket close code that follows the ERROR."""
        return self.value[1]

    @property
    def kind(self) -> str:
        """The fault's name in metrics and logs, such as ``slow_consumer``."""
        return self.name.lower()


class StompError(Exception):
    """The connection must end with an ERROR frame.

    :ivar fault: the entry of the table
    :ivar detail: a sentence for the ERROR's body; may quote what the client sent
    :ivar receipt: the ``receipt`` header of the frame at fault, if it had one
    """

    def __init__(self, fault: Fault, detail: str, receipt: str | None = None) -> None:
        super().__init__(fault, detail, receipt)
        self.fault = fault
        self.detail = detail
        self.receipt = receipt

    def __str__(self) -> str:
        return f"{self.fault.message}: {self.detail}"


class ConfigurationError(ValueError):
    """An option is wrong; the text is one line that says what to change.

    :ivar parameter: the name of the wrong parameter within the option's value; empty if it is the whole value
    :ivar value: that value, of an option that may be repeated; it may hold a secret, and never becomes part of the text
    """

    def __init__(self, text: str, parameter: str = "", value: str = "") -> None:
        super().__init__(" ".join(text.split()))
        self.parameter = parameter
        self.value = value

    def __str__(self) -> str:
        return " ".join(super().__str__().split())  # an option's value may hold line ends


class Refusal(Exception):
    """A client's request is refused.

    :cvar stomp_fault: the ERROR that a STOMP client gets
    """

    stomp_fault: ClassVar[Fault]

    def stomp_error(self, receipt: str | None = None) -> StompError:
        """Return the error for a STOMP client; its body is this exception's text."""
        return StompError(self.stomp_fault, str(self), receipt)


class RequestRefused(Exception):
    """An opening handshake is refused with an HTTP error.

    :ivar reason: one line that says what to change; of the request it may quote only a valid ``Origin``
    :ivar headers: the headers that the status requires, such as ``Allow``
    """

    def __init__(
        self, reason: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason, status)
        self.reason = reason
        self.status = status
        self.headers: Mapping[str, str] = headers or {}


class LoginFault(Enum):
    """The reasons for which a login is refused, as metrics and logs name them; clients are only told EXPIRED."""

    MISSING = "missing"
    UNKNOWN_KIND = "unknown_kind"
    TOO_BIG = "too_big"
    MALFORMED = "malformed"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "signature"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    SUBJECT = "subject"
    CLAIM = "claim"
    NO_EXPIRY = "no_expiry"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


class QueryRefused(Refusal):
    """A query of the admin API has a value that is not valid; the text says which."""

    stomp_fault = Fault.INVALID_HEADER


class TooManyTraces(QueryRefused):
    """As many traces run as may."""


class LoginRefused(Refusal):
    """An authenticator does not accept these credentials.

    :ivar fault: the reason for the metrics
    :ivar reason: the reason for the log; must not quote the credentials
    """

    stomp_fault = Fault.UNAUTHORIZED

    def __init__(self, fault: LoginFault, reason: str) -> None:
        super().__init__(fault, reason)
        self.fault = fault
        self.reason = reason

    def __str__(self) -> str:
        return self.reason

    def stomp_error(self, receipt: str | None = None) -> StompError:
        """Return an error that says at most that the token has expired: more would help a forger."""
        is_expired = self.fault is LoginFault.EXPIRED
        return StompError(
            self.stomp_fault, "The token has expired." if is_expired else "There is no valid token.", receipt
        )


class LoginUnavailable(Refusal):
    """An authenticator can't check credentials now, for instance because it has no keys; the text is for operators."""

    stomp_fault = Fault.LOGIN_UNAVAILABLE

    def stomp_error(self, receipt: str | None = None) -> StompError:
        """Return an error that hides the reason from clients; it has no ``401``, so that they try again."""
        return StompError(self.stomp_fault, "Logins cannot be checked now; try again later.", receipt)


class SourceUnavailable(Refusal):
    """The event source can't be reached now; the text is for operators and must not contain secrets."""

    stomp_fault = Fault.SOURCE_UNAVAILABLE

    def stomp_error(self, receipt: str | None = None) -> StompError:
        """Return an error that hides the source's address from clients."""
        return StompError(self.stomp_fault, "The event source cannot be reached now; try again later.", receipt)


class UnknownDestination(Refusal):
    """A destination is not in the catalogue."""

    stomp_fault = Fault.UNKNOWN_DESTINATION


class PayloadFault(Enum):
    """The payload rule that a body breaks, as metrics and logs name it."""

    TOO_BIG = "too_big"
    NOT_UTF8 = "not_utf8"
    NOT_JSON_OBJECT = "not_json_object"
    TOO_DEEP = "too_deep"
    BAD_FIELD = "bad_field"
    NO_PAYLOAD = "no_payload"


class PayloadRefused(Refusal, ValueError):
    """A body breaks the payload rules.

    :ivar fault: the broken rule
    :ivar reason: the text for the publisher and the log; of the body it holds only positions
    """

    stomp_fault = Fault.INVALID_PAYLOAD

    def __init__(self, fault: PayloadFault, reason: str) -> None:
        super().__init__(fault, reason)
        self.fault = fault
        self.reason = reason

    @property
    def kind(self) -> str:
        """The rule's name in metrics and logs, such as ``too_big``."""
        return self.fault.value

    def __str__(self) -> str:
        return self.reason

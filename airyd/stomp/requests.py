"""The requests of a client, one type for each kind: the output of a STOMP session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airyd.errors import StompError
from airyd.stomp.spec import AckMode, Version

#: ``("subscription", id)``, ``("transaction", name)`` or ``("login", "")``.
Key = tuple[str, str]


class _Base:
    __slots__ = ()

    @property
    def key(self) -> Key | None:
        """What this request is about; requests with equal keys must be carried out one after the other."""
        return None


class _OfSubscription(_Base):
    __slots__ = ()

    id: str

    @property
    def key(self) -> Key:
        """The subscription."""
        return ("subscription", self.id)


class _OfTransaction(_Base):
    __slots__ = ()

    transaction: str

    @property
    def key(self) -> Key:
        """The transaction."""
        return ("transaction", self.transaction)


@dataclass(frozen=True, slots=True)
class Connect(_Base):
    """A login, to be answered with ``Session.accept`` or ``Session.error``; the session holds later frames until then.

    :ivar headers: all headers of the frame; never log them, since they may hold secrets, as ``passcode`` does
    :ivar receipt: for an ERROR only: a CONNECT gets no RECEIPT (STOMP 1.2, "Header receipt")
    """

    version: Version
    login: str | None
    passcode: str | None
    headers: Mapping[str, str]
    receipt: str | None = None

    def __repr__(self) -> str:
        return f"Connect(version={self.version.value})"


@dataclass(frozen=True, slots=True)
class Subscribe(_OfSubscription):
    """A SUBSCRIBE: start a subscription.

    :ivar id: the client's id for it; for a 1.0 client that gives none, the destination
    :ivar prefetch: the most unacknowledged messages that may be in flight, at most ``limits.PREFETCH_CAP``
    :ivar last_message_id: the ``message-id`` to resume after, unchecked; None to start live
    :ivar ordinal: airyd's number for it, unique in the connection
    :ivar echo_id: whether its MESSAGEs have a ``subscription`` header
    """

    id: str
    destination: str
    ack: AckMode
    prefetch: int
    last_message_id: str | None
    ordinal: int
    echo_id: bool = True
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe(_OfSubscription):
    """An UNSUBSCRIBE: end a subscription, which may have ended already.

    :ivar id: the id of an earlier :class:`Subscribe`; in 1.0 perhaps the destination of one that has ended
    """

    id: str
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Send(_Base):
    """A SEND: publish an event; inside a :class:`Commit` it has no receipt."""

    destination: str
    body: bytes
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Refresh(_Base):
    """A SEND of a new token for the present login; never log the token."""

    token: str
    receipt: str | None = None

    @property
    def key(self) -> Key:
        """The login."""
        return ("login", "")

    def __repr__(self) -> str:
        return "Refresh(...)"


@dataclass(frozen=True, slots=True)
class Ack(_Base):
    """An ACK or NACK of a message; inside a :class:`Commit` it has no receipt.

    The session has checked that the subscription takes acknowledgements or has ended. The receiver checks that the
    message was sent and is unacknowledged.

    :ivar subscription_id: None in 1.0, for all subscriptions that got the message, and in 1.2 if the subscription has
        ended
    :ivar message_id: the ``message-id`` header of the MESSAGE
    :ivar positive: False for NACK
    :ivar ordinal: the subscription's; only in 1.2
    """

    subscription_id: str | None
    message_id: str
    positive: bool
    receipt: str | None = None
    ordinal: int | None = None

    @property
    def key(self) -> Key | None:
        """The subscription, if the client named one."""
        return None if self.subscription_id is None else ("subscription", self.subscription_id)


@dataclass(frozen=True, slots=True)
class Begin(_OfTransaction):
    """A BEGIN: the session has opened the transaction; only the receipt needs an answer."""

    transaction: str
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Collected(_OfTransaction):
    """A SEND, ACK or NACK that the session added to its transaction: check the client's right and answer the receipt.

    :ivar operation: part of the later :class:`Commit`
    """

    transaction: str
    operation: Send | Ack
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Commit(_OfTransaction):
    """A COMMIT: carry out the transaction's operations, in order."""

    transaction: str
    operations: tuple[Send | Ack, ...]
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Abort(_OfTransaction):
    """An ABORT: the session has dropped the transaction; only the receipt needs an answer."""

    transaction: str
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Disconnect(_Base):
    """A DISCONNECT, the last request: answer it when all earlier ones are done (STOMP 1.2, "DISCONNECT")."""

    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Violation(_Base):
    """A broken rule, the last request: carry out the earlier ones, then answer with ``Session.error``."""

    error: StompError

    @property
    def receipt(self) -> str | None:
        """The receipt of the frame at fault, for the ERROR."""
        return self.error.receipt


Request = (
    Connect
    | Subscribe
    | Unsubscribe
    | Send
    | Refresh
    | Ack
    | Begin
    | Collected
    | Commit
    | Abort
    | Disconnect
    | Violation
)

"""What a client asks for, one type per kind: the session's output."""

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
        """What this request names: those with equal keys must be carried out one after the other."""
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
    """A login. Answer with ``Session.accept`` or ``Session.error``; what the client sends meanwhile is held.

    :ivar headers: all headers of the frame; secrets among them, as in ``passcode``: never log them
    :ivar receipt: only for an ERROR: a CONNECT has no RECEIPT (STOMP 1.2, "Header receipt")
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
    """A subscription begins.

    :ivar id: the client's name for it; in 1.0 without an ``id`` the destination
    :ivar prefetch: how many unacknowledged messages may be under way; within the cap
    :ivar last_message_id: resume after this, if given; unchecked
    :ivar ordinal: airyd's number for it, never used twice in a connection
    :ivar echo_id: whether a MESSAGE says ``subscription``
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
    """A subscription ends, or has ended before; the id is one that an earlier :class:`Subscribe` had.

    In 1.0 it may be the destination of one that has ended before.
    """

    id: str
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Send(_Base):
    """An event to publish; in a :class:`Commit` without receipt."""

    destination: str
    body: bytes
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Refresh(_Base):
    """A new token for the login that is there; never log it."""

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
    """A message is settled; in a :class:`Commit` without receipt.

    The subscription takes acknowledgements, or has ended; whether the message was sent, and still waits for an answer,
    is for the receiver to check.

    :ivar subscription_id: None in 1.0: all subscriptions of the connection that got the message; None in 1.2, too, if
        the subscription has ended
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
    """A transaction was opened: there is only the receipt to answer."""

    transaction: str
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Collected(_OfTransaction):
    """A SEND, ACK or NACK was put into its transaction: check the right to it, and answer the receipt.

    :ivar operation: it comes again in the :class:`Commit`
    """

    transaction: str
    operation: Send | Ack
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Commit(_OfTransaction):
    """A transaction's operations are to be carried out, in order."""

    transaction: str
    operations: tuple[Send | Ack, ...]
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Abort(_OfTransaction):
    """A transaction was dropped: there is only the receipt to answer."""

    transaction: str
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Disconnect(_Base):
    """The client leaves: the last request. Its receipt comes when all before it is done (STOMP 1.2, "DISCONNECT")."""

    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Violation(_Base):
    """The client broke a rule: the last request. Do what came before it, then answer with ``Session.error``."""

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

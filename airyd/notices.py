"""The JSON bodies of notices on ``/airyd/status`` (docs/protocol.rst, "Status"), as structs and as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec

_Seconds = Annotated[float, msgspec.Meta(ge=0)]


class _Notice(msgspec.Struct, tag_field="type", omit_defaults=True):
    """A notice; its JSON has no member that is empty."""


class SourceNotice(_Notice, tag="source"):
    """The present state of the event sources.

    :ivar state: down if a source is unreachable
    :ivar destinations: those whose source is unreachable; missing if all are reachable
    """

    state: Literal["up", "down"]
    destinations: Sequence[str] = ()


class GapNotice(_Notice, tag="gap"):
    """Events may be missing: load the data of these destinations again.

    :ivar since: the message-id of the last event before the gap was noticed
    """

    destinations: Sequence[str]
    since: str


class SubscriptionNotice(_Notice, tag="subscription"):
    """A subscription has ended, because a new token does not allow it.

    :ivar id: the client's id of the subscription
    """

    state: Literal["ended"]
    id: str
    destination: str


class TokenNotice(_Notice, tag="token"):
    """The token expires soon.

    :ivar within: seconds
    """

    within: _Seconds


class DrainingNotice(_Notice, tag="draining"):
    """The server closes the connection soon.

    :ivar within: seconds
    """

    within: _Seconds


#: All notices.
NOTICES: Final[Sequence[type[msgspec.Struct]]] = (
    SourceNotice,
    GapNotice,
    SubscriptionNotice,
    TokenNotice,
    DrainingNotice,
)


def sources(down: Sequence[str]) -> bytes:
    """Return the notice of the event sources' state; ``down`` are the destinations whose source is unreachable."""
    return msgspec.json.encode(SourceNotice("down", down) if down else SourceNotice("up"))


def gap(destination: str, since: str) -> bytes:
    """Return the notice that events of a destination may be missing after the ``message-id`` ``since``."""
    return msgspec.json.encode(GapNotice([destination], since))


def subscription_ended(subscription: str, destination: str) -> bytes:
    """Return the notice that a subscription has ended because the new token does not allow it."""
    return msgspec.json.encode(SubscriptionNotice("ended", subscription, destination))


def token_expires(within: float) -> bytes:
    """Return the notice that the client's login expires in ``within`` seconds."""
    return msgspec.json.encode(TokenNotice(max(round(within, 3), 0)))


def draining(within: float) -> bytes:
    """Return the notice that the server closes the connection within ``within`` seconds."""
    return msgspec.json.encode(DrainingNotice(round(within, 3)))

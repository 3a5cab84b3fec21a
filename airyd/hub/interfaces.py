"""Who subscribes, and who can be told that something is missing: as a destination sees them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from airyd.errors import StompError
from airyd.events import Event
from airyd.interfaces import IChannel
from airyd.stomp.message import Framing
from airyd.stomp.requests import Subscribe
from airyd.stomp.spec import Version


class Listener(Protocol):
    """One of a client's subscriptions; it may be that by which the client is told."""

    @property
    def hears(self) -> bool:
        """Whether it is, and stands."""

    def hear(self, say: Callable[[Voice], Event]) -> bool:
        """Tell the client something, if this is how; return whether it is."""


class Subscriber(Protocol):
    """The client that a subscription belongs to."""

    @property
    def channel(self) -> IChannel:
        """Its connection."""

    @property
    def framing(self) -> Framing:
        """What its transport carries."""

    @property
    def version(self) -> Version:
        """The STOMP version that it speaks."""

    @property
    def listeners(self) -> Collection[Listener]:
        """All its subscriptions."""

    def established(self, request: Subscribe, position: str, recovered: bool | None) -> None:
        """Learn that a subscription stands; called before its first MESSAGE is sent.

        :param position: the ``message-id`` after which everything follows
        :param recovered: whether the resume that was asked for is whole; None if none was asked for
        """

    def settled(self, request: Subscribe, message_ids: Collection[str]) -> None:
        """Remember messages that no longer wait for an ACK: it has come, or the subscription has ended."""

    def fail(self, error: StompError) -> None:
        """End this client's connection."""


class Voice(Protocol):
    """What a destination says to one subscriber alone (``airyd.sources.status``)."""

    def present(self) -> Event:
        """Return the event that each subscription begins with."""

    def gap(self, destination: str, since: str) -> Event:
        """Return the event that says that others of a destination may be missing.

        :param since: the id of the last event before
        """

    def ended(self, subscription: str, destination: str) -> Event:
        """Return the event that says that a subscription has ended since the client may not have it any more."""

    def expiring(self, within: float) -> Event:
        """Return the event that says in how many seconds the client's login ends."""

"""The client that a subscription belongs to, as the hub sees it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from airyd.errors import StompError
from airyd.interfaces import IChannel
from airyd.stomp.message import Framing
from airyd.stomp.requests import Subscribe
from airyd.stomp.spec import Version


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
    def can_be_notified(self) -> bool:
        """Whether it has a subscription to ``/airyd/status`` that stands."""

    def notify(self, notice: bytes) -> bool:
        """Send a notice (``airyd.notices``) on ``/airyd/status``; return whether the client can be notified."""

    def established(self, request: Subscribe, position: str, recovered: bool | None) -> None:
        """Learn that a subscription stands; called before its first MESSAGE is sent.

        :param position: the ``message-id`` after which everything follows
        :param recovered: whether the resume that was asked for is whole; None if none was asked for
        """

    def settled(self, request: Subscribe, message_ids: Collection[str]) -> None:
        """Remember messages that no longer wait for an ACK: it has come, or the subscription has ended."""

    def fail(self, error: StompError) -> None:
        """End this client's connection."""

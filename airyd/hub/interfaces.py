"""The interface of a client that the hub and its subscriptions use."""

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
        """How STOMP frames are encoded for its transport."""

    @property
    def buffered_mark(self) -> int:
        """Bytes that may be buffered for it before its subscriptions read events from the history."""

    @property
    def version(self) -> Version:
        """The STOMP version that it speaks."""

    @property
    def can_be_notified(self) -> bool:
        """Whether it has an established subscription to ``/airyd/status``."""

    def notify(self, notice: bytes) -> bool:
        """Send a notice (``airyd.notices``) on ``/airyd/status``; return whether the client can be notified."""

    def answer_subscribe(self, request: Subscribe, position: str, recovered: bool | None) -> None:
        """Answer a SUBSCRIBE; called before the subscription's first MESSAGE is sent.

        :param position: the ``message-id`` after which the subscription gets every event
        :param recovered: whether the requested resume is complete; None if none was requested
        """

    def remember_settled(self, request: Subscribe, message_ids: Collection[str]) -> None:
        """Remember messages that no longer await an ACK: it has arrived, or the subscription has ended."""

    def count_events(self, count: int) -> None:
        """Count MESSAGEs that the client was sent, for the log of connections; the count may be negative.

        A group counts its events once for all members: it subtracts what it has counted when a member joins, and adds
        what it has counted when the member leaves.
        """

    def fail(self, error: StompError) -> None:
        """End the client's connection with an ERROR."""

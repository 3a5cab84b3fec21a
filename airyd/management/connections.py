"""The connections of one process: a list by pages, one in full, and how an operator ends them."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from airyd.client.client import Client
from airyd.client.connection_log import printable
from airyd.errors import Fault, QueryRefused, StompError
from airyd.events import RowFilter
from airyd.hub.pacing import spread_of
from airyd.hub.subscription import Subscription, SubscriptionState
from airyd.management.queries import (
    LONGEST_TEXT,
    ConnectionDetails,
    ConnectionQuery,
    ConnectionReply,
    ConnectionRow,
    ConnectionState,
    KickCommand,
    KickReply,
    SubscriptionInfo,
)
from airyd.management.turns import run_in_turns
from airyd.stomp.spec import AckMode
from airyd.websocket.protocol import StompWebSocket, StompWebSocketFactory

#: Milliseconds in a second: heart-beats are in milliseconds on the wire.
_MS: Final = 1000


class Connections:
    """Shows and ends the connections of one process.

    :param process: its name (``ConnectionRow``)
    :param wall: returns the wall-clock time in seconds since 1970
    """

    _log = Logger()

    def __init__(
        self, process: str, factory: StompWebSocketFactory, clock: IReactorTime, wall: Callable[[], float]
    ) -> None:
        self.process = process
        self._factory = factory
        self._clock = clock
        self._wall = wall

    def find(self, connection_id: str) -> StompWebSocket | None:
        """Return the connection with an id; None if the process has none."""
        number = self._factory.context.number_of(connection_id)
        return None if number is None else self._factory.channels.get(number)

    def row(self, channel: StompWebSocket) -> ConnectionRow:
        """Return a connection's row."""
        client = channel.client
        principal = client.principal
        host, port = channel.address
        return ConnectionRow(
            id=client.id,
            process=self.process,
            state=state_of(channel),
            subject=None if principal is None else printable(str(principal.name)),
            address=host if port is None else f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            agent=client.agent,
            version=None if principal is None else client.version.value,
            since=self._wall() - (self._clock.seconds() - client.opened_at),
            subscriptions=len(subscriptions_of(client)),
            events=client.events,
            buffered=channel.buffered,
            lag=lag_of(client),
        )

    def answer(self, query: ConnectionQuery) -> ConnectionReply:
        """Report one connection in full."""
        channel = self.find(query.id)
        return ConnectionReply(details=None if channel is None else self._details(channel))

    def _details(self, channel: StompWebSocket) -> ConnectionDetails:
        client = channel.client
        expires = None if client.principal is None else client.principal.expires
        sent, received = channel.count_bytes() or (None, None)
        send_every, expect_every = client.heart_beat
        return ConnectionDetails(
            connection=self.row(channel),
            heart_beat=(send_every / _MS, expect_every / _MS),
            heard=client.silence,
            token_end=expires,
            sent=sent,
            received=received,
            limit=client.context.limits.buffered,
            subscriptions=[
                _subscription_info(key if isinstance(key, str) else key[0], each, channel)
                for key, each in client.subscribed.items()
                if isinstance(each, Subscription)
            ],
        )

    # What an operator does.

    def kick(self, command: KickCommand) -> Deferred[KickReply]:
        """End one connection, or all of a user; fires when they are found. Many are ended within a few seconds."""
        return run_in_turns(self._clock, self._kick(command))

    def _kick(self, command: KickCommand) -> Generator[int, None, KickReply]:
        if (command.id is None) == (command.subject is None):
            raise QueryRefused("give either an id or a subject")
        chosen = []
        if command.id is not None:
            channel = self.find(command.id)
            if channel is not None and not channel.client.is_over:
                chosen.append(channel)
        else:
            for number in tuple(self._factory.channels):
                channel = self._factory.channels.get(number)
                principal = None if channel is None else channel.principal
                if channel is not None and principal is not None and principal.name == command.subject:
                    chosen.append(channel)
                yield 1
        reason = f" {printable(command.reason[:LONGEST_TEXT])}" if command.reason else ""
        error = StompError(Fault.KICKED, f"An operator has ended this connection.{reason}")
        spread = spread_of(len(chosen))
        for channel in chosen:
            if spread:  # so that they do not all connect again at once
                self._clock.callLater(random.uniform(0, spread), channel.fail, error)  # noqa: S311  # no secret
            else:
                channel.fail(error)
            yield 20
        return KickReply(disconnected=len(chosen))


def subscriptions_of(client: Client) -> list[Subscription]:
    """Return a client's subscriptions; of a wildcard, those to its destinations."""
    return [each for each in client.subscribed.values() if isinstance(each, Subscription)]


def state_of(channel: StompWebSocket) -> ConnectionState:
    """Return the state of a connection."""
    client = channel.client
    if client.is_over:
        return ConnectionState.CLOSING
    if client.principal is None:
        return ConnectionState.OPENING
    if channel.is_slow:
        return ConnectionState.SLOW
    if _replaying(client):
        return ConnectionState.CATCHING_UP
    return ConnectionState.LIVE


def lag_of(client: Client) -> float | None:
    """Return the largest lag of a client's subscriptions; None if one is unknown."""
    replaying = _replaying(client)
    if not replaying:
        return 0.0
    lags = [each.lag for each in replaying]
    known = [lag for lag in lags if lag is not None]
    return None if len(known) < len(lags) else max(known)


def _replaying(client: Client) -> list[Subscription]:
    """Return the subscriptions that are behind the feed; nearly all clients have none, and are looked at quickly."""
    replaying = [each for each in client.subscribed.values() if each.replay is not None]
    return [each for each in replaying if isinstance(each, Subscription) and each.is_behind] if replaying else []


def _subscription_info(key: str, subscription: Subscription, channel: StompWebSocket) -> SubscriptionInfo:
    window = subscription.window
    return SubscriptionInfo(
        id=key,
        destination=subscription.destination,
        state=_subscription_state(subscription, channel),
        ack=subscription.ack.value,
        position=subscription.last,
        lag=subscription.lag,
        window=None if subscription.ack is AckMode.AUTO or window is None else window.size,
        unacknowledged=0 if window is None else window.size - window.room,
        filter=_filter_text(subscription.row_filter),
    )


def _subscription_state(subscription: Subscription, channel: StompWebSocket) -> ConnectionState:
    if subscription.state is SubscriptionState.OPENING:
        return ConnectionState.OPENING
    if subscription.state is SubscriptionState.ENDED:  # its connection ends soon, after a gap
        return ConnectionState.CLOSING
    if subscription.is_behind:
        return ConnectionState.CATCHING_UP
    return ConnectionState.SLOW if channel.is_slow else ConnectionState.LIVE


def _filter_text(row_filter: RowFilter | None) -> str | None:
    """Return a row filter as text; one of a plugin that has no text is named by its class."""
    if row_filter is None:
        return None
    kind = type(row_filter)
    return kind.__name__ if kind.__str__ is object.__str__ else printable(str(row_filter))

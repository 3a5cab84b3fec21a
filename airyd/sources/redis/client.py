"""Makes the connections to one Redis, and lets a reload change its password and TLS files."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorCore,
    IReactorTime,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from airyd.interfaces import Reload
from airyd.sources.redis.address import Address
from airyd.sources.redis.connection import ChannelSubscriber, RedisConnection


@implementer(IStreamClientEndpoint)
class ReplaceableEndpoint:
    """An endpoint that another one can replace."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def replace(self, other: ReplaceableEndpoint) -> None:
        """Use the other's endpoint for new connections."""
        self._endpoint = other._endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See ``IStreamClientEndpoint``."""
        connecting: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return connecting


class RedisClient:
    """Makes connections to one Redis at a known address.

    :param round_trip: see ``RedisConnection``
    :cvar must_be_master: whether connections accept only a master, and read its ``replication_id``
    :ivar name: the address for logs and errors, without user and password
    """

    must_be_master = False

    def __init__(
        self,
        address: Address,
        reactor: IReactorCore,
        endpoint: IStreamClientEndpoint | None = None,
        round_trip: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.name = address.name
        self._round_trip = round_trip
        self._address = address
        self._endpoint = ReplaceableEndpoint(endpoint or address.endpoint(reactor))
        self._tls_files = address.tls_contents()
        self._clock = cast(IReactorTime, reactor)

    def start(self) -> None:
        """Start; called before the connections are started."""

    def stop(self) -> Deferred[None]:
        """Stop; called after the connections are stopped. Fires when all is closed."""
        return succeed(None)

    def prepare_reload(self, fresh: RedisClient) -> Reload:
        """Prepare to use the password and the TLS files of another client of the same URL for new connections."""
        changes = []
        if fresh._address.password != self._address.password:
            changes.append(f"password of {self.name}")
        if fresh._tls_files != self._tls_files:
            changes.append(f"TLS files of {self.name}")

        def apply() -> None:
            self._address, self._tls_files = fresh._address, fresh._tls_files
            self._endpoint.replace(fresh._endpoint)

        return Reload(changes, apply)

    def connection(
        self,
        purpose: str,
        *,
        is_numbered: bool = False,
        keep_alive: bool = False,
        subscriber: ChannelSubscriber | None = None,
    ) -> RedisConnection:
        """Return a new connection, not started yet; for the arguments see ``RedisConnection``."""
        return RedisConnection(
            self._address,
            self._endpoint,
            self._clock,
            purpose,
            is_numbered=is_numbered,
            must_be_master=self.must_be_master,
            keep_alive=keep_alive,
            subscriber=subscriber,
            round_trip=self._round_trip,
        )

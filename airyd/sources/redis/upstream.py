"""A Redis as its sources have it: links to it, made with what they all share."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorCore, IReactorTime, IStreamClientEndpoint

from airyd.sources.redis.address import Address
from airyd.sources.redis.connection import Link, Listener


class Upstream:
    """One Redis at a known address.

    :cvar must_be_master: whether links must find out that they lead to a master, and to which
    :ivar name: for logs and errors, without user and password
    """

    must_be_master = False

    def __init__(self, address: Address, reactor: IReactorCore, endpoint: IStreamClientEndpoint | None = None) -> None:
        self.name = address.name
        self._address = address
        self._endpoint = endpoint or address.endpoint(reactor)
        self._clock = cast(IReactorTime, reactor)

    def start(self) -> None:
        """Begin, before the links do."""

    def stop(self) -> Deferred[None]:
        """End, after the links; fires when all is closed."""
        return succeed(None)

    def link(
        self,
        purpose: str,
        *,
        is_numbered: bool = False,
        keep_alive: bool = False,
        listener: Listener | None = None,
    ) -> Link:
        """Return a new link, not started; the arguments are those of ``Link``."""
        return Link(
            self._address,
            self._endpoint,
            self._clock,
            purpose,
            is_numbered=is_numbered,
            must_be_master=self.must_be_master,
            keep_alive=keep_alive,
            listener=listener,
        )

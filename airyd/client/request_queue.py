"""A client's request queue: requests start in the order of their arrival, those with the same key one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.errors import Fault, Refusal, StompError
from airyd.interfaces import IChannel
from airyd.limits import MOST_UNDER_WAY
from airyd.stomp.requests import Connect, Key, Refresh, Request


class Requester(Protocol):
    """What a request queue needs from its client."""

    @property
    def channel(self) -> IChannel:
        """Its connection."""

    @property
    def is_over(self) -> bool:
        """Whether the client has ended; then all that it sends is ignored."""

    def dispatch(self, request: Request) -> Deferred[None] | None:
        """Carry out a request; return a Deferred if it is not done at once. The queue makes an ERROR of exceptions."""

    def fail(self, error: StompError) -> None:
        """End the connection with an ERROR frame; only the first counts."""

    def heard(self) -> None:
        """Note that the client is alive."""

    def idle(self) -> None:
        """React to the end of the last unfinished request."""


class RequestQueue:
    """Starts requests in the order of their arrival; one with a ``key`` waits for an unfinished one with the same key.

    The key is the subscription, the transaction or the login that the request is about (``airyd.stomp.requests.Key``).

    With more than ``MOST_UNDER_WAY`` unfinished requests, airyd stops reading from the client; it reads again when half
    of ``MOST_UNDER_WAY`` are left. Otherwise a client could fill the memory while a source is unreachable.

    The client is passed in with each call, because a queue that kept it would form a reference cycle, which is never
    collected (``airyd.runtime.garbage_collection``).

    :ivar under_way: how many requests are unfinished, started or waiting
    :ivar is_paused: whether the client is not being read from
    """

    _log = Logger()

    __slots__ = ("_waiting", "is_paused", "under_way")

    def __init__(self) -> None:
        self.under_way = 0
        self.is_paused = False
        # The requests that wait, by the key of the unfinished request that they wait for; None if no key is in use.
        self._waiting: dict[Key, deque[Request]] | None = None

    def add(self, requests: Iterable[Request], client: Requester) -> None:
        """Start requests, or queue those that must wait."""
        for request in requests:
            self.under_way += 1
            self._start(request, client)
        if self.under_way > MOST_UNDER_WAY and not self.is_paused and not client.is_over:
            self.is_paused = True
            client.channel.pause()

    def stop(self, client: Requester) -> None:
        """Resume reading if it is paused: otherwise the client's close frame would never be read.

        Call this when the client has ended; no request is started after that.
        """
        if self.is_paused:
            client.channel.resume()

    def _start(self, request: Request, client: Requester) -> None:
        if client.is_over:
            return
        key = request.key
        if self._waiting is not None and key is not None and key in self._waiting:
            self._waiting[key].append(request)
            return
        work: Deferred[None] | None = None
        # Nearly all requests are done at once, and need no Deferred, which would cost 4 µs per request.
        try:
            work = client.dispatch(request)
        except Exception:  # noqa: BLE001  # all become an ERROR frame; bugs are logged, too
            self._refuse(Failure(), (request, client))
        if work is None:
            self._finish(None, key, client)
            return
        if key is not None:
            if self._waiting is None:
                self._waiting = {}
            self._waiting[key] = deque()
        work.addErrback(self._refuse, (request, client))
        work.addBoth(self._finish, key, client)

    def _finish(self, result: object, key: Key | None, client: Requester) -> object:
        self.under_way -= 1
        if self._waiting is not None and key is not None and key in self._waiting:
            queue = self._waiting.pop(key)
            if not self._waiting:  # saves memory in idle clients
                self._waiting = None
            for request in queue:  # the first one that is not done at once makes the others wait again
                self._start(request, client)
        if self.is_paused and self.under_way <= MOST_UNDER_WAY // 2 and not client.is_over:
            self.is_paused = False
            client.heard()
            client.channel.resume()
        if not self.under_way:
            client.idle()
        return result  # a failure here is a bug: Twisted logs it

    def _refuse(self, failure: Failure, refused: tuple[Request, Requester]) -> None:
        request, client = refused
        error, receipt = failure.value, request.receipt
        if isinstance(error, StompError):
            client.fail(StompError(error.fault, error.detail, error.receipt or receipt))
        elif isinstance(error, Refusal):
            client.fail(error.stomp_error(receipt))
        else:
            if isinstance(request, Connect | Refresh):  # the text of its exception may hold a token
                name = type(error).__name__
                self._log.error("a login failed with {error}", error=name, once_a_minute=f"login failed {name}")
            else:
                self._log.failure("a command of {peer} failed", failure, peer=client.channel.peer)
            client.fail(StompError(Fault.INTERNAL, "The server's log says why.", receipt))

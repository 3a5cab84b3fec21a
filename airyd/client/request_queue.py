"""The requests of one client: started in their order, and one after the other where they name the same thing."""

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
    """The client whose requests a queue starts."""

    @property
    def channel(self) -> IChannel:
        """Its connection."""

    @property
    def is_over(self) -> bool:
        """Whether nothing that it sends matters any more."""

    def carry_out(self, request: Request) -> Deferred[None] | None:
        """Do what is asked; a Deferred only if that takes a while. What it raises, or fails with, becomes an ERROR."""

    def fail(self, error: StompError) -> None:
        """End the connection with an ERROR frame; only the first counts."""

    def heard(self) -> None:
        """Count the client as alive."""

    def idle(self) -> None:
        """Learn that no request is under way any more."""


class RequestQueue:
    """Starts requests in their order; one that names the same as another under way (``key``) waits for that.

    A client with too many under way is not read from until half of them are done: a source that is away must not make
    airyd hoard what a client goes on sending.

    The client is handed in with each call: a queue that kept it would be a cycle, and those are not collected
    (``airyd.runtime.garbage_collection``).

    :ivar under_way: how many requests are carried out or wait
    :ivar is_paused: whether nothing is read from the client
    """

    _log = Logger()

    __slots__ = ("_waiting", "is_paused", "under_way")

    def __init__(self) -> None:
        self.under_way = 0
        self.is_paused = False
        # By the key of each request that takes a while, those that wait for it; None while no request does.
        self._waiting: dict[Key, deque[Request]] | None = None

    def add(self, requests: Iterable[Request], client: Requester) -> None:
        """Start these, or let them wait for their turn."""
        for request in requests:
            self.under_way += 1
            self._start(request, client)
        if self.under_way > MOST_UNDER_WAY and not self.is_paused and not client.is_over:
            self.is_paused = True
            client.channel.pause()

    def stop(self, client: Requester) -> None:
        """Read again if that was paused: else the client's close frame would never be seen.

        Call it when the client is over: then nothing more is started.
        """
        if self.is_paused:
            client.channel.resume()

    def _start(self, request: Request, client: Requester) -> None:
        if client.is_over:
            return
        key = request.key
        if key is not None and self._waiting is not None and key in self._waiting:
            self._waiting[key].append(request)
            return
        work: Deferred[None] | None = None
        # What is done at once, as nearly everything is, needs no Deferred: it would take 4 µs of each request.
        try:
            work = client.carry_out(request)
        except Exception:  # noqa: BLE001  # each becomes an ERROR frame, and a bug a line of log, too
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
        if key is not None and self._waiting is not None and key in self._waiting:
            queue = self._waiting.pop(key)
            if not self._waiting:  # an idle client holds no more than it needs
                self._waiting = None
            for request in queue:
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

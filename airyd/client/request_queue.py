"""What a client asks is started in its order; what concerns the same thing is done one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.deferreds import Caught
from airyd.errors import Fault, Refusal, StompError
from airyd.interfaces import IChannel
from airyd.limits import MOST_UNDER_WAY
from airyd.stomp.requests import Connect, Key, Refresh, Request

#: The queues of a client of whom nothing is under way: all share it, and nobody adds to it.
_NO_QUEUES: Final[dict[Key, deque[Request]]] = {}


class Orderly(ABC):
    """Starts requests in their order; one that names the same as another under way (``key``) waits for that.

    A client with too many under way is not read from until half of them are done: a source that is away must not make
    airyd hoard what a client goes on sending.

    :ivar channel: the client's connection
    :ivar is_over: whether nothing that the client sends matters any more
    """

    _log = Logger()

    __slots__ = ("_is_paused", "_queues", "_under_way", "channel", "is_over")

    def __init__(self, channel: IChannel) -> None:
        self.channel = channel
        self.is_over = False
        self._is_paused = False
        self._queues = _NO_QUEUES
        self._under_way = 0

    @abstractmethod
    def carry_out(self, request: Request) -> Deferred[None] | None:
        """Do what is asked; a Deferred only if that takes a while. What it raises, or fails with, becomes an ERROR."""

    @abstractmethod
    def fail(self, error: StompError) -> None:
        """End the connection with an ERROR frame; only the first counts."""

    @abstractmethod
    def heard(self) -> None:
        """Count the client as alive."""

    @abstractmethod
    def done(self) -> None:
        """Learn that nothing is under way any more."""

    def take(self, requests: Iterable[Request]) -> None:
        """Start these, or let them wait for their turn."""
        for request in requests:
            self._under_way += 1
            self._start(request)
        if self._under_way > MOST_UNDER_WAY and not self._is_paused and not self.is_over:
            self._is_paused = True
            self.channel.pause()

    def let_go(self) -> None:
        """Start nothing more, and read again if that was paused: else the client's close frame would never be seen."""
        self.is_over = True
        if self._is_paused:
            self.channel.resume()

    def _refuse(self, failure: Failure, request: Request) -> None:
        error, receipt = failure.value, request.receipt
        if isinstance(error, StompError):
            self.fail(StompError(error.fault, error.detail, error.receipt or receipt))
        elif isinstance(error, Refusal):
            self.fail(error.stomp_error(receipt))
        else:
            if isinstance(request, Connect | Refresh):  # the text of its exception may hold a token
                name = type(error).__name__
                self._log.error("a login failed with {error}", error=name, once_a_minute=f"login failed {name}")
            else:
                self._log.failure("a command of {peer} failed", failure, peer=self.channel.peer)
            self.fail(StompError(Fault.INTERNAL, "The server's log says why.", receipt))

    def _start(self, request: Request) -> None:
        if self.is_over:
            return
        key = request.key
        if key is not None and key in self._queues:
            self._queues[key].append(request)
            return
        work: Deferred[None] | None = None
        # What is done at once, as nearly everything is, needs no Deferred: it would take 4 µs of each request.
        with Caught(self._refuse, request):
            work = self.carry_out(request)
        if work is None:
            self._finish(None, key)
            return
        if key is not None:
            self._queues = {**self._queues, key: deque()}
        work.addErrback(self._refuse, request)
        work.addBoth(self._finish, key)

    def _finish(self, result: object, key: Key | None) -> object:
        self._under_way -= 1
        if key is not None and key in self._queues:
            queue = self._queues.pop(key)
            self._queues = self._queues or _NO_QUEUES  # an idle client holds no more than it needs
            for request in queue:
                self._start(request)
        if self._is_paused and self._under_way <= MOST_UNDER_WAY // 2 and not self.is_over:
            self._is_paused = False
            self.heard()
            self.channel.resume()
        if not self._under_way:
            self.done()
        return result  # a failure here is a bug: Twisted logs it

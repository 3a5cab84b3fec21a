"""What ``airyd tail`` does: print events, reconnect, resume, and say what happened to the connection."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import cast

from twisted.application.internet import backoffPolicy
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater

from airyd.cli.connection import End, StompConnection, StompFactory
from airyd.cli.console import Console, OutputClosed
from airyd.cli.stompclient import Happening, Received, Subscribed
from airyd.cli.token import Tokens, TokenUnreadable


def retry_policy(jitter: Callable[[], float] = random.random) -> Callable[[int], float]:
    """Return the seconds to wait by the number of failures in a row: half a second, and up to 10, with jitter."""
    return backoffPolicy(initialDelay=0.5, maxDelay=10.0, factor=2.0, jitter=jitter)


class Tail:
    """Follows destinations until enough events came, nobody reads any more, or the server says never.

    :param endpoint: where to connect, again and again
    :param print_event: writes one event to the console; may raise ``OutputClosed``
    :param count: how many events to print; None: no end
    :param token: gives what to log in with, for each connection anew
    :param policy: gives the seconds to wait by the number of failures in a row; see :func:`retry_policy`
    """

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: IStreamClientEndpoint,
        url: str,
        destinations: Sequence[str],
        console: Console,
        print_event: Callable[[Received], None],
        count: int | None,
        policy: Callable[[int], float],
        token: Tokens = lambda: None,
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._url = url
        self._destinations = destinations
        self._console = console
        self._print_event = print_event
        self._remaining = count
        self._policy = policy
        self._token = token
        self._factory = StompFactory(reactor, url, destinations, {}, self._happened)
        self._subscribed: list[Subscribed] = []
        self._failures = 0
        self._done = False
        self._status = 0

    async def run(self) -> int:
        """Follow; return the exit status. When cancelled, say goodbye to the server first."""
        while True:
            end = await self._connect_once()
            if self._done:
                return self._status
            if end.permanent:
                self._console.say(end.reason)
                return 1
            delay = self._policy(self._failures)
            self._failures += 1
            self._console.say(f"{end.reason.rstrip('.')}; trying again in {delay:.1f} s")
            await deferLater(self._reactor, delay)

    async def _connect_once(self) -> End:
        """Connect and follow until the connection has gone; return why."""
        self._subscribed = []
        try:
            self._factory.token = self._token()
        except TokenUnreadable as error:
            return End(str(error), permanent=True)
        try:
            connection = cast(StompConnection, await self._endpoint.connect(self._factory))
        except (ConnectError, ConnectionClosed, DNSLookupError) as error:
            return End(f"cannot connect to {self._url}: {' '.join(str(error).split()).rstrip('.')}")
        try:
            return await connection.when_ended()
        except CancelledError:
            connection.leave()
            await connection.when_ended()
            raise

    def _happened(self, connection: StompConnection, happening: Happening) -> None:
        match happening:
            case Received():
                self._print(connection, happening)
            case Subscribed():
                self._note(happening)

    def _print(self, connection: StompConnection, event: Received) -> None:
        if self._done:
            return
        try:
            self._print_event(event)
        except OutputClosed as closed:
            self._done = True
            if closed.reason:
                self._console.say(closed.reason)
                self._status = 1
        if self._remaining is not None:
            self._remaining -= 1
            self._done = self._done or self._remaining == 0
        if self._done:
            connection.leave()

    def _note(self, subscribed: Subscribed) -> None:
        """Say what a subscription's receipt means, and sum up when all are there."""
        if subscribed.recovered is False:
            self._console.say(f"history was lost on {subscribed.destination}: events may be missing before this point")
        self._subscribed.append(subscribed)
        if len(self._subscribed) < len(self._destinations):
            return
        self._failures = 0
        recovered = [s.destination for s in self._subscribed if s.recovered]
        if len(recovered) == len(self._destinations):
            outcome = "recovered, nothing was missed"
        elif recovered:
            outcome = f"recovered {', '.join(recovered)}"
        else:
            outcome = f"following {', '.join(self._destinations)}"
        self._console.say(f"connected to {self._url}: {outcome}")

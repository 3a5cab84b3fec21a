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
from airyd.cli.following import Following
from airyd.cli.notices import Notices
from airyd.cli.reasons import connect_reason
from airyd.cli.stomp_client import Happening, Received, Refused, StatusReceived, Subscribed
from airyd.cli.terminal import Console, OutputClosed
from airyd.cli.tls import VerifiedConnections
from airyd.cli.token import Tokens, TokenUnreadable


def retry_policy(jitter: Callable[[], float] = random.random) -> Callable[[int], float]:
    """Return the seconds to wait by the number of failures in a row: half a second, and up to 10, with jitter."""
    return backoffPolicy(initialDelay=0.5, maxDelay=10.0, factor=2.0, jitter=jitter)


class Tail:
    """Follows destinations until enough events came, nobody reads any more, or the server says never.

    :param endpoint: where to connect, again and again
    :param destinations: names, and patterns
    :param print_event: writes one event to the console; may raise ``OutputClosed``
    :param count: how many events to print; None: no end
    :param policy: gives the seconds to wait by the number of failures in a row; see :func:`retry_policy`
    :param token: gives what to log in with, for each connection anew
    :param tls: what makes and verifies the endpoint's TLS connections; None without TLS
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
        tls: VerifiedConnections | None = None,
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._url = url.partition("?")[0]  # what is said must show nothing that may be a secret
        self._console = console
        self._print_event = print_event
        self._remaining = count
        self._policy = policy
        self._token = token
        self._following = Following(destinations)
        self._notices = Notices(self._following.includes)
        self._factory = StompFactory(reactor, url, (), self._following.positions, self._happened, tls=tls)
        self._failures = 0
        self._done = False
        self._status = 0

    async def run(self) -> int:
        """Follow; return the exit status. When cancelled, say goodbye to the server first."""
        while True:
            end = await self._connect_once()
            if self._done:
                return self._status
            if end.error is not None and self._do_without(end.error):
                continue
            if end.permanent:
                self._console.say(end.reason)
                return 1
            delay = self._policy(self._failures)
            self._failures += 1
            self._console.say(f"{end.reason.rstrip('.')}; trying again in {delay:.1f} s")
            await deferLater(self._reactor, delay)

    async def _connect_once(self) -> End:
        """Connect and follow until the connection has gone; return why."""
        try:
            token = self._token()
        except TokenUnreadable as error:
            return End(str(error), permanent=True)
        if token != self._factory.token:
            self._factory.token = token
            self._following.allow_all()
        self._factory.destinations = self._following.begin()
        if not self._factory.destinations:
            return End(f"there is nothing to follow: {self._following.left_out()}", permanent=True)
        try:
            connection = cast(StompConnection, await self._endpoint.connect(self._factory))
        except (ConnectError, ConnectionClosed, DNSLookupError) as error:
            return End(f"cannot connect to {self._url}: {connect_reason(error, self._url)}")
        except ValueError as error:  # what Twisted raises for a name that can't be one
            return End(f"cannot connect to {self._url}: {connect_reason(error, self._url)}", permanent=True)
        try:
            return await connection.when_ended()
        except CancelledError:
            connection.leave()
            await connection.when_ended()
            raise

    def _do_without(self, error: Refused) -> bool:
        """Leave out what the server refused; return whether the rest can be followed at once."""
        if error.is_of_status:
            self._factory.asks_status = False
            return True
        return self._following.leave_out(error)

    def _happened(self, connection: StompConnection, happening: Happening) -> None:
        match happening:
            case Received():
                self._print(connection, happening)
            case Subscribed():
                self._note(happening)
            case StatusReceived(body):
                line = self._notices.line(body)
                if line is not None:
                    self._console.say(line)

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
        if self._following.stands(subscribed):
            self._failures = 0
            self._console.say(f"connected to {self._url}: {self._following.outcome()}")

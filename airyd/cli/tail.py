"""The command ``airyd tail``: prints events, reconnects, resumes, and reports on the connection."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, cast
from urllib.parse import urlsplit

from twisted.application.internet import backoffPolicy
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater

from airyd.cli.connection import ConnectionEnd, StompConnection, StompFactory
from airyd.cli.render import StatusNotices
from airyd.cli.stomp_client import ClientEvent, ErrorReceived, Received, StatusReceived, Subscribed
from airyd.cli.terminal import Console, OutputClosed
from airyd.cli.tls import VerifiedConnections
from airyd.cli.token import Tokens, TokenUnreadable
from airyd.errors import Fault
from airyd.events import AIRY_DESTINATIONS, STATUS
from airyd.hostnames import why_not_connected
from airyd.patterns import ANY_SEGMENT, Pattern


def retry_policy(jitter: Callable[[], float] = random.random) -> Callable[[int], float]:
    """Return a function that takes the number of failures in a row and returns the seconds to wait.

    They grow from 0.5 to 10, with jitter.
    """
    return backoffPolicy(initialDelay=0.5, maxDelay=10.0, factor=2.0, jitter=jitter)


class TailSubscriptions:
    """Turns the names and patterns of the command line into subscriptions that can be resumed.

    A pattern's subscription has no position. So each known destination that matches a pattern is also subscribed to by
    name: Airy's four, and those that have had an event. The pattern covers the destinations that are not known yet.

    :param wanted: names and patterns
    :ivar positions: where to resume each destination; see :class:`~airyd.cli.stomp_client.StompClient`
    """

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = wanted
        self._patterns: Final = [Pattern(each) for each in wanted if ANY_SEGMENT in each]
        self.positions: dict[str, str] = {}
        self._forbidden: list[str] = []
        self._unknown: set[str] = set()
        # Whether the server's limit on subscriptions leaves no room for known destinations by name.
        self._is_full = False
        # The refused destinations that the user was told of last.
        self._said: list[str] = []
        self._requested: Sequence[str] = ()
        self._confirmed: list[Subscribed] = []
        # Whether all subscriptions have ever been live, and whether the present connection began before that.
        self._was_complete = False
        self._is_first = True

    def includes(self, destination: str) -> bool:
        """Return whether a destination is wanted, by its name or by a pattern."""
        return destination in self._wanted or any(pattern.matches(destination) for pattern in self._patterns)

    def known(self) -> Sequence[str]:
        """Return the known names of the wanted destinations."""
        names = self._wanted if self._is_full else (*self._wanted, *AIRY_DESTINATIONS, *self.positions)
        return [name for name in dict.fromkeys(names) if ANY_SEGMENT not in name and self.includes(name)]

    def forget_refusals(self) -> None:
        """Request refused destinations again, because another token may allow them."""
        self._forbidden = []

    def for_next_connection(self) -> Sequence[str]:
        """Return the subscriptions of a new connection; empty if none is left."""
        self._requested = [
            name
            for name in dict.fromkeys((*self._wanted, *self.known()))
            if name not in self._forbidden and name not in self._unknown
        ]
        self._confirmed = []
        self._is_first = not self._was_complete
        return self._requested

    def drop_refused(self, error: ErrorReceived) -> bool:
        """Stop requesting a refused destination; return False if that does not help and the user must be told."""
        if error.message == Fault.TOO_MANY_SUBSCRIPTIONS.message:
            was_full, self._is_full = self._is_full, True
            return not was_full and any(name not in self._wanted for name in self._requested)
        name = error.destination
        if name is None:
            return False
        if error.is_forbidden:
            self._forbidden.append(name)
        elif error.is_unknown and name not in self._wanted:
            self._unknown.add(name)
        else:
            return False
        self.positions.pop(name, None)
        return True

    def describe_refused(self) -> str:
        """Return a text that names the refused destinations; empty if there are none."""
        return f"not allowed: {', '.join(self._forbidden)}" if self._forbidden else ""

    def confirm(self, subscribed: Subscribed) -> bool:
        """Note that a subscription is live; return whether all are."""
        self._confirmed.append(subscribed)
        self._was_complete = self._was_complete or len(self._confirmed) == len(self._requested)
        return len(self._confirmed) == len(self._requested)

    def outcome(self) -> str:
        """Return a text that says what is followed now and what was recovered."""
        names = [name for name in self._requested if ANY_SEGMENT not in name and name != STATUS]
        patterns = [name for name in self._requested if ANY_SEGMENT in name]
        # Until all were live for the first time, there was nothing to recover.
        recovered = [each.destination for each in self._confirmed if each.recovered and not self._is_first]
        if recovered and len(recovered) == len(names) and not patterns:
            outcome = "recovered, nothing was missed"
        elif recovered:
            outcome = f"recovered {', '.join(recovered)}"
        else:
            outcome = f"following {', '.join(name for name in self._requested if name in self._wanted)}"
        if patterns and not self._is_first:
            outcome += f"; events may be missing on other destinations that match {', '.join(patterns)}"
        if self._forbidden != self._said:
            self._said = list(self._forbidden)
            outcome += f" ({self.describe_refused()})" if self._forbidden else ""
        return outcome


class Tail:
    """Follows destinations until enough events were printed, standard output is closed, or a retry would be useless.

    :param endpoint: the endpoint of each connection
    :param destinations: names and patterns
    :param print_event: writes one event to the console; may raise ``OutputClosed``
    :param count: the number of events to print; None for no end
    :param policy: returns the seconds to wait after so many failures in a row; see :func:`retry_policy`
    :param token: returns the token to log in with; called for each connection
    :param tls: makes and verifies the endpoint's TLS connections; None without TLS
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
        self._url = url.partition("?")[0]  # messages must not show a query, which may hold a secret
        self._console = console
        self._print_event = print_event
        self._remaining = count
        self._policy = policy
        self._token = token
        self._subscriptions = TailSubscriptions(destinations)
        self._notices = StatusNotices(self._subscriptions.includes)
        self._factory = StompFactory(reactor, url, (), self._subscriptions.positions, self._client_event, tls=tls)
        self._failures = 0
        self._done = False
        self._status = 0

    async def run(self) -> int:
        """Follow until the end; return the exit status. If cancelled, disconnect cleanly first."""
        while True:
            end = await self._connect_once()
            if self._done:
                return self._status
            if end.error is not None and self._drop_refused(end.error):
                continue
            if end.permanent:
                self._console.say(end.reason)
                return 1
            delay = self._policy(self._failures)
            self._failures += 1
            self._console.say(f"{end.reason.rstrip('.')}; trying again in {delay:.1f} s")
            await deferLater(self._reactor, delay)

    async def _connect_once(self) -> ConnectionEnd:
        """Connect, and follow until the connection ends; return how it ended."""
        try:
            token = self._token()
        except TokenUnreadable as error:
            return ConnectionEnd(str(error), permanent=True)
        if token != self._factory.token:
            self._factory.token = token
            self._subscriptions.forget_refusals()
        self._factory.destinations = self._subscriptions.for_next_connection()
        if not self._factory.destinations:
            return ConnectionEnd(
                f"there is nothing to follow: {self._subscriptions.describe_refused()}", permanent=True
            )
        try:
            connection = cast(StompConnection, await self._endpoint.connect(self._factory))
        except (ConnectError, ConnectionClosed, DNSLookupError) as error:
            host = str(urlsplit(self._url).hostname)
            return ConnectionEnd(f"cannot connect to {self._url}: {why_not_connected(error, host).rstrip('.')}")
        try:
            return await connection.when_ended()
        except CancelledError:
            connection.leave()
            await connection.when_ended()
            raise

    def _drop_refused(self, error: ErrorReceived) -> bool:
        """Drop the subscription that the server refused; return whether to reconnect at once for the others."""
        if error.is_of_status:
            self._factory.asks_status = False
            return True
        return self._subscriptions.drop_refused(error)

    def _client_event(self, connection: StompConnection, event: ClientEvent) -> None:
        match event:
            case Received():
                self._print(connection, event)
            case Subscribed():
                self._note(event)
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
        """Report a subscription whose history was lost, and report the connection when all subscriptions are live."""
        if subscribed.recovered is False:
            self._console.say(f"history was lost on {subscribed.destination}: events may be missing before this point")
        if self._subscriptions.confirm(subscribed):
            self._failures = 0
            self._console.say(f"connected to {self._url}: {self._subscriptions.outcome()}")

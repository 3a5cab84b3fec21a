"""What a private event costs besides its send: clients in memory, each with a row filter of its own.

``python -m bench.private_null SECONDS KIND CLIENTS`` uses so many seconds of CPU and prints figures as JSON. The kinds:

``private``
    Each event passes the filter of one client. The clients' connections take all bytes and keep none.
``acknowledging``
    The same, and the clients subscribe with ``ack:client``. They have room for all events that they get.
``unseen``
    No client gets an event: those who do are at other processes.
``beside``
    The same events as in ``private`` reach :data:`UNFILTERED` clients without a filter, too, on real sockets. Another
    hub has only these. The hubs take turns, and the cost of a delivery to the unfiltered clients is compared.
``building``
    So many clients connect and subscribe, in turns with as many that have no filter.

At the end each client must have got its own events and no others.
"""

from __future__ import annotations

import gc
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Final

from zope.interface import implementer

from airyd.auth.jwt.claims import ClaimRules, read_identity
from airyd.auth.jwt.permissions import PermissionCache, PermissionClaims, TokenPrincipal
from airyd.client.client import Client
from airyd.interfaces import Credentials, IAuthenticator
from airyd.websocket.frames import websocket_framing
from bench.private_streams import private_body, private_claims, user
from bench.scenarios import BESIDE_RATIO, BUILDING, CPU, EVENT_CPU, MESSAGE
from bench.simulation import Gateway, NullChannel

#: Clients without a filter in ``beside``.
UNFILTERED: Final = 1000
#: The most events that wait in the socket of an unfiltered client, whose buffer must have room for them.
_UNREAD: Final = 40
#: Clients that are built before those without a filter have their turn.
_AT_ONCE: Final = 500
#: Seconds of CPU before what is measured.
_WARM_UP: Final = 0.1
#: Events that are measured in any case.
_LEAST: Final = 5


@implementer(IAuthenticator)
class ClaimAuthenticator:
    """Accepts a client with the claims of :func:`bench.private_streams.private_claims`; nothing is signed.

    The header ``login`` is the subject. A ``passcode`` asks for the filter.
    """

    public = cookies = revocable = False

    def __init__(self) -> None:
        self._permissions = PermissionCache(PermissionClaims())

    def start(self) -> None:
        """Do nothing (``IAuthenticator``)."""

    def stop(self) -> None:
        """Do nothing (``IAuthenticator``)."""

    def takes(self, credentials: Credentials) -> bool:
        """Return True (``IAuthenticator``)."""
        return True

    def authenticate(self, credentials: Credentials) -> TokenPrincipal:
        """Accept the client (``IAuthenticator``)."""
        claims = private_claims(str(credentials.login), credentials.passcode is not None, 0)
        return self._permissions.principal(read_identity(claims, ClaimRules()), claims)

    def health(self) -> Sequence[str]:
        """Return nothing (``IAuthenticator``)."""
        return ()

    def warnings(self) -> Sequence[str]:
        """Return nothing (``IAuthenticator``)."""
        return ()


class CountingChannel(NullChannel):
    """Counts what is sent, and keeps the last of it."""

    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last = b""

    def direct(self, wire: bytes) -> int:
        """See ``IChannel``."""
        self.count += 1
        self.last = wire
        return len(wire)

    def send(self, wire: bytes) -> None:
        """See ``IChannel``."""
        self.direct(wire)


class SocketChannel(NullChannel):
    """Sends to a socket."""

    __slots__ = ("_near",)

    def __init__(self, near: socket.socket) -> None:
        self._near = near

    def direct(self, wire: bytes) -> int:
        """See ``IChannel``."""
        return self._near.send(wire)

    def send(self, wire: bytes) -> None:
        """See ``IChannel``."""
        self._near.send(wire)


class Population:
    """A hub and clients with a filter of their own, which get the private events.

    :param clients: how many
    :param mode: the ``ack`` header of their SUBSCRIBE
    """

    def __init__(self, clients: int, mode: str = "auto") -> None:
        self._gateway = Gateway(ClaimAuthenticator())
        self._mode = mode
        self._channels: list[CountingChannel] = []
        self._expected: Counter[int] = Counter()
        self._clients: list[Client] = []
        self.add(clients)

    def add(self, clients: int) -> None:
        """Add so many clients with a filter."""
        for number in range(len(self._channels), len(self._channels) + clients):
            channel = CountingChannel()
            self._channels.append(channel)
            self.enter(channel, number, is_filtered=True)

    def enter(self, channel: NullChannel, number: int, is_filtered: bool) -> None:
        """Let a client connect and subscribe."""
        client = Client(self._gateway.context, channel, websocket_framing)
        passcode = b"passcode:filter\n" if is_filtered else b""
        client.received(b"CONNECT\naccept-version:1.2\nlogin:%b\n%b\n\0" % (user(number).encode(), passcode))
        frame = "SUBSCRIBE\nid:0\nack:%s\nprefetch-count:1000\ndestination:%s\n\n\0"
        client.received((frame % (self._mode, MESSAGE)).encode())
        self._clients.append(client)

    def freeze(self) -> None:
        """Forget what the clients got until now, and make the garbage collector ignore all that exists."""
        self._expected.clear()
        for channel in self._channels:
            channel.count = 0
        gc.collect()
        gc.freeze()

    def publish(self, number: int) -> float:
        """Publish an event for one client; return the seconds of CPU until it is sent."""
        body = private_body(user(number), 0)
        begun = time.process_time()
        self._gateway.source.publish(MESSAGE, body)
        self._gateway.clock.advance(0)
        took = time.process_time() - begun
        self._expected[number] += 1
        return took

    def check(self) -> None:
        """Raise ``SystemExit`` unless each client has got its own events and no others."""
        for number, channel in enumerate(self._channels):
            if channel.count != self._expected[number]:
                raise SystemExit(f"client {number} got {channel.count} events instead of {self._expected[number]}")
            if channel.count and f'"{user(number)}"'.encode() not in channel.last:
                raise SystemExit(f"client {number} got the event of another")


def private(seconds: float, clients: int) -> dict[str, float]:
    """Return the CPU of an event that one client gets."""
    return _alone(seconds, Population(clients), range(clients))


def acknowledging(seconds: float, clients: int) -> dict[str, float]:
    """Return the same of clients that acknowledge."""
    return _alone(seconds, Population(clients, "client"), range(clients))


def unseen(seconds: float, clients: int) -> dict[str, float]:
    """Return the CPU of an event that no client gets."""
    return _alone(seconds, Population(clients), range(clients, 2 * clients))


def _alone(seconds: float, population: Population, users: range) -> dict[str, float]:
    population.freeze()
    choose = random.Random(1)
    spent = warm = 0.0
    events = 0
    while warm < min(_WARM_UP, seconds):
        warm += population.publish(choose.choice(users))
    while spent < seconds or events < _LEAST:
        spent += population.publish(choose.choice(users))
        events += 1
    population.check()
    return {EVENT_CPU: 1e6 * spent / events}


def beside(seconds: float, clients: int) -> dict[str, float]:
    """Return the CPU of a delivery to clients without a filter, and how it compares to that without the others."""
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(UNFILTERED)]
        for end in (end for pair in pairs for end in pair):
            end.setblocking(False)
            stack.callback(end.close)
        populations = (Population(0), Population(clients))
        for population in populations:
            for number, (near, _) in enumerate(pairs):
                population.enter(SocketChannel(near), clients + number, is_filtered=False)
            population.freeze()
        alone, with_others = _take_turns(populations, [far for _, far in pairs], seconds, clients)
        populations[1].check()
    return {CPU: with_others, BESIDE_RATIO: with_others / alone}


def _take_turns(
    populations: Sequence[Population], far: Sequence[socket.socket], seconds: float, clients: int
) -> list[float]:
    """Publish the same events to both; return the microseconds of CPU of a delivery to an unfiltered client of each."""
    choose = random.Random(1)
    for each in far:
        each.recv(1 << 20)  # the answers to CONNECT
    spent = [0.0, 0.0]
    events = unread = 0
    while sum(spent) < 2 * seconds or events < _LEAST:
        number = choose.randrange(clients)
        for which in (events % 2, 1 - events % 2):
            spent[which] += populations[which].publish(number)
        events += 1
        unread += 2
        if unread >= _UNREAD:
            _read(far, unread)
            unread = 0
    _read(far, unread)
    return [1e6 * each / events / len(far) for each in spent]


def _read(sockets: Sequence[socket.socket], events: int) -> None:
    for each in sockets:
        got = each.recv(1 << 20).count(b"\0") if events else 0
        if got != events:
            raise SystemExit(f"a client without a filter got {got} events instead of {events}")


def building(seconds: float, clients: int) -> dict[str, float]:
    """Return how much more CPU it takes to connect and subscribe a client with a filter of its own."""
    with_filter, without = Population(0), Population(0)
    spent = {True: 0.0, False: 0.0}
    for start in range(0, clients, _AT_ONCE):
        for is_filtered, population in ((False, without), (True, with_filter)):
            begun = time.process_time()
            for number in range(start, min(start + _AT_ONCE, clients)):
                population.enter(NullChannel(), number, is_filtered)
            spent[is_filtered] += time.process_time() - begun
        gc.freeze()  # as the daemon does from time to time
    return {BUILDING: 1e6 * (spent[True] - spent[False]) / clients}


KINDS: Final[Mapping[str, Callable[[float, int], dict[str, float]]]] = MappingProxyType(
    {kind.__name__: kind for kind in (private, acknowledging, unseen, beside, building)}
)


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the figures."""
    seconds, kind, clients = arguments
    figures = KINDS[kind](float(seconds), int(clients))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The processes and clients of a run: one Redis, two nodes with links, a publisher with its ledger, many clients."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from ssl import SSLContext
from typing import Final

from tests.chaos.crowd import Crowd
from tests.chaos.ledger import History
from tests.chaos.listener import Listener, let_some_listen
from tests.chaos.nodes import Node
from tests.chaos.publisher import Publisher
from tests.integration.payloads import CHANNEL_CONNECTED, MESSAGE, UNREAD_COUNT
from tests.sources.redis.server import DURABLE, RedisServer

NODES: Final = 2
DESTINATIONS: Final = (MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED)
#: Seconds at the end within which all clients must get the missing events.
LEVEL_PATIENCE: Final = 40.0


class Stage:
    """Starts and ends all processes and clients.

    :param scale: a factor for the lengths of faults
    :param slack: a factor for the time limits; 1 if they are measured
    :param plant: a fault within airyd, which the run must find
    :cvar has_listeners: whether every second client subscribes to ``/airyd/status``
    :ivar tls: for TLS connections to the clients' ports; None for others
    :ivar outages: monotonic times of the beginning and end of outages: Redis, or a stream, was not available
    :ivar unlevel: the clients that lack events after :meth:`calm`, as texts
    """

    has_listeners = True

    def __init__(
        self, *, clients: int, rate: float, seed: int, scale: float = 1.0, slack: float = 1.0, plant: str = ""
    ) -> None:
        self.random = Random(seed)
        self.scale = scale
        self.slack = slack
        self._plant = plant
        self.outages: list[tuple[float, float]] = []
        self.unlevel: list[str] = []
        self.tls: SSLContext | None = None
        self.redis = self.make_redis()
        self.nodes: list[Node] = []
        self.make_feed(rate, Random(seed + 1))
        try:
            self.nodes += [self.make_node(plant) for _ in range(NODES)]
            ports = self.doors()
        except BaseException:
            self.close()
            raise
        self.crowd = Crowd(clients, ports, self.histories, Random(seed + 2))
        if self.has_listeners:
            let_some_listen(self.crowd.clients, ports, seed)
        for client in self.crowd.clients:
            client.tls = self.tls

    def doors(self) -> list[int]:
        """Return the ports that clients connect to: those of the nodes."""
        return [node.port for node in self.nodes]

    @property
    def listeners(self) -> list[Listener]:
        """The clients that subscribe to ``/airyd/status``."""
        return [client for client in self.crowd.clients if isinstance(client, Listener)]

    def make_redis(self) -> RedisServer:
        """Start the Redis."""
        return RedisServer(*DURABLE)

    def make_node(self, plant: str) -> Node:
        """Start a node."""
        return Node(self.redis.port, plant)

    def make_feed(self, rate: float, random: Random) -> None:
        """Make the histories and the publisher."""
        self.histories = [History(destination) for destination in DESTINATIONS]
        self.publisher = Publisher(self.redis, self.histories, rate, random)

    def begin(self) -> None:
        """Let all clients subscribe, then start the events."""
        self.crowd.start()
        late = self.crowd.wait(lambda client: client.is_live, LEVEL_PATIENCE * self.slack)
        if late:
            raise AssertionError(f"{len(late)} clients did not subscribe: {[client.wrong for client in late[:3]]}")
        self.publisher.start()

    def sleep(self, seconds: float) -> None:
        """Sleep for ``seconds`` times :attr:`scale`."""
        time.sleep(seconds * self.scale)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Record an outage for the duration of the ``with`` block."""
        begin = time.monotonic()
        place = len(self.outages)
        self.outages.append((begin, float("inf")))
        try:
            yield
        finally:
            self.outages[place] = (begin, time.monotonic())

    def calm(self) -> None:
        """Stop the publisher, and let all clients catch up."""
        self.crowd.restlessness = 0.0
        self.publisher.stop()
        patience = LEVEL_PATIENCE * (1 if self._plant else self.slack)  # with a planted fault some may never catch up
        late = self.crowd.wait(lambda client: client.is_level or self._is_found(), patience)
        for client in late:
            standing = [feed.cursor.standing for feed in client.feeds if feed.cursor is not None]
            self.unlevel.append(f"never level ({'live' if client.is_live else 'not live'}): {standing}")
        self.crowd.stop()
        for client in self.crowd.clients:
            client.check()

    def _is_found(self) -> bool:
        """Return whether a planted fault was found, so that nothing more is waited for."""
        return bool(self._plant) and any(client.holes or client.faults for client in self.crowd.clients)

    def wait_for_events(self, count: int) -> None:
        """Wait until ``count`` events are published."""
        if not self.crowd.wait_until(lambda: self.publisher.noted >= count, LEVEL_PATIENCE * self.slack):
            raise AssertionError(f"only {self.publisher.noted} of {count} events were published")

    def play(self, act: Callable[[], None]) -> None:
        """Start everything, call ``act``, and end everything, even after an exception."""
        try:
            self.begin()
            act()
            self.calm()
        finally:
            self.crowd.stop()
            self.close()

    def close(self) -> None:
        """End all processes."""
        for node in self.nodes:
            node.close()
        self.redis.close()

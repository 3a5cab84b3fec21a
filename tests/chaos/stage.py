"""All that plays: one Redis, two nodes with their links, a publisher and its ledger, many clients."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
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
#: Seconds that everybody has at the end to get what is missing.
LEVEL_PATIENCE: Final = 40.0


class Stage:
    """Starts all, and ends all.

    :param scale: what the lengths of faults are multiplied by
    :param slack: what the seconds within which something must happen are multiplied by: 1 where they are measured
    :param plant: a fault within airyd, which must be found
    :cvar has_listeners: whether every other client listens to ``/airyd/status``
    :ivar outages: when a node could not reach Redis, or a stream there was none, in monotonic time
    :ivar unlevel: what those clients lack who are not level when :meth:`calm` is over
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
        self.redis = self.make_redis()
        self.nodes: list[Node] = []
        self.make_feed(rate, Random(seed + 1))
        try:
            self.nodes += [self.make_node(plant) for _ in range(NODES)]
        except BaseException:
            self.close()
            raise
        ports = [node.port for node in self.nodes]
        self.crowd = Crowd(clients, ports, self.histories, Random(seed + 2))
        if self.has_listeners:
            let_some_listen(self.crowd.clients, ports, seed)

    @property
    def listeners(self) -> list[Listener]:
        """Those clients that are told of gaps."""
        return [client for client in self.crowd.clients if isinstance(client, Listener)]

    def make_redis(self) -> RedisServer:
        """Start what the events come by."""
        return RedisServer(*DURABLE)

    def make_node(self, plant: str) -> Node:
        """Start a node."""
        return Node(self.redis.port, plant)

    def make_feed(self, rate: float, random: Random) -> None:
        """Make the histories and who publishes."""
        self.histories = [History(destination) for destination in DESTINATIONS]
        self.publisher = Publisher(self.redis, self.histories, rate, random)

    def begin(self) -> None:
        """Let everybody come, and then the events."""
        self.crowd.start()
        late = self.crowd.wait(lambda client: client.is_live, LEVEL_PATIENCE * self.slack)
        if late:
            raise AssertionError(f"{len(late)} clients did not come: {[client.wrong for client in late[:3]]}")
        self.publisher.start()

    def sleep(self, seconds: float) -> None:
        """Wait for as long as a fault of so many seconds takes here."""
        time.sleep(seconds * self.scale)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Note the time meanwhile as one in which nodes may have to wait for Redis."""
        begin = time.monotonic()
        place = len(self.outages)
        self.outages.append((begin, float("inf")))
        try:
            yield
        finally:
            self.outages[place] = (begin, time.monotonic())

    def calm(self) -> None:
        """End the publishing, and let everybody get level."""
        self.crowd.restlessness = 0.0
        self.publisher.stop()
        patience = LEVEL_PATIENCE * (1 if self._plant else self.slack)  # with a plant some may never get level
        late = self.crowd.wait(lambda client: client.is_level or self._is_found(), patience)
        for client in late:
            standing = [feed.cursor.standing for feed in client.feeds if feed.cursor is not None]
            self.unlevel.append(f"never level ({'live' if client.is_live else 'not live'}): {standing}")
        self.crowd.stop()
        for client in self.crowd.clients:
            client.check()

    def _is_found(self) -> bool:
        """Say whether a planted fault is found, so that nobody has to wait for more."""
        return bool(self._plant) and any(client.holes or client.faults for client in self.crowd.clients)

    def wait_for_events(self, count: int) -> None:
        """Wait until so many events are published, however long that takes."""
        if not self.crowd.wait_until(lambda: self.publisher.noted >= count, LEVEL_PATIENCE * self.slack):
            raise AssertionError(f"only {self.publisher.noted} of {count} events were published")

    def play(self, act: Callable[[], None]) -> None:
        """Begin, do something, and end everything, whatever that brings."""
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

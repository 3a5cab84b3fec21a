"""All clients in one thread, which reads for them and lets some disconnect and come back."""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from tests.chaos.background import Background
from tests.chaos.client import Client
from tests.chaos.ledger import History

#: The most connections that are being opened at a time.
OPENING: Final = 20
#: Seconds between two comparisons with the ledger.
CHECK_EVERY: Final = 0.2


class Crowd:
    """The clients.

    :ivar restlessness: how often per second a client disconnects or resubscribes without a fault
    """

    def __init__(self, count: int, ports: Sequence[int], histories: Sequence[History], random: Random) -> None:
        self.restlessness = 0.0
        self._random = random
        self.clients = [
            Client(ports, random.sample(histories, random.randint(1, len(histories))), Random(random.random()))
            for _ in range(count)
        ]
        self._selector = selectors.DefaultSelector()
        self._opening: set[Client] = set()
        self._is_over = False
        self._looked = threading.Condition()
        self._thread = Background("the crowd", self._run)

    def start(self) -> None:
        """Let all clients connect, and reconnect whenever their connection ends."""
        self._thread.start()

    def stop(self) -> None:
        """End all connections; harmless when repeated."""
        self._thread.stop(30)

    def wait(self, reached: Callable[[Client], bool], patience: float) -> list[Client]:
        """Wait until ``reached`` is true for all; return the clients for which it isn't after ``patience`` seconds."""

        def lacking() -> list[Client]:
            return [client for client in self.clients if not reached(client)]

        self.wait_until(lambda: not lacking(), patience)
        return lacking()

    def wait_until(self, condition: Callable[[], bool], patience: float) -> bool:
        """Wait until the condition is true after a comparison; return False if it isn't after ``patience`` seconds."""
        with self._looked:
            self._looked.wait_for(lambda: self._is_over or condition(), patience)
        return condition()

    def _run(self) -> None:
        try:
            before = time.monotonic()
            while not self._thread.ends.is_set():
                self._turn()
                now = time.monotonic()
                if now - before > CHECK_EVERY:
                    self._look(now - before)
                    before = now
                    with self._looked:
                        self._looked.notify_all()
        finally:
            with self._looked:
                self._is_over = True
                self._looked.notify_all()
            for client in self.clients:
                if client.connection is not None:
                    client.vanish()
            self._selector.close()

    def _turn(self) -> None:
        now = time.monotonic()
        for client in self.clients:
            if client.connection is None and client.due <= now and len(self._opening) < OPENING and client.open():
                assert client.connection is not None
                self._selector.register(client.connection.socket, selectors.EVENT_READ, client)
                self._opening.add(client)
        for key, _ in self._selector.select(0.02):
            client = key.data
            if not client.readable():
                self._forget(client)
                client.gone()
            elif client.connection is not None and client.connection.is_open:
                self._opening.discard(client)

    def _look(self, seconds: float) -> None:
        for client in self.clients:
            client.check()
            if client.is_live and self._random.random() < self.restlessness * seconds:
                self._stir(client)

    def _stir(self, client: Client) -> None:
        what = self._random.random()
        if what < 0.4:
            self._forget(client)
            client.vanish()
        elif what < 0.7:
            client.disconnect()
        else:
            client.resubscribe()

    def _forget(self, client: Client) -> None:
        assert client.connection is not None
        self._selector.unregister(client.connection.socket)
        self._opening.discard(client)

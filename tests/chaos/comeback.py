"""Many subscribers reconnect at once, far behind: ``python -m tests.chaos.comeback`` prints what that costs.

The returning subscribers run in another process at a lower priority, since they stand for other machines.

Exit status: 0, 1 (a subscriber did not get all events in order, or live events were too slow), 2 (wrong arguments).
"""

from __future__ import annotations

import argparse
import re
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

from airyd.events import message_id
from tests.chaos.nodes import Node
from tests.chaos.publisher import addition
from tests.integration.daemon import TREE, environment
from tests.integration.payloads import MESSAGE
from tests.integration.raw import RawClient
from tests.sources.redis.server import Connection, RedisServer

#: How many times slower live events may be meanwhile (p99).
ALLOWED: Final = 3.0
#: Seconds within which all subscribers must have caught up.
PATIENCE: Final = 120.0
_NUMBERS: Final = re.compile(rb'"n":(\d+)\}\0')
_NICE: Final = 19


class Follower:
    """A subscriber that checks only that the events' numbers are consecutive, because a million come.

    :ivar last: the number of the last event; at first, the one before the first expected event
    :ivar fault: what is wrong, or ""
    """

    def __init__(self, port: int, last: int, position: str | None) -> None:
        self.last = last
        self.fault = ""
        self._rest = b""
        self._raw = RawClient(port)
        self._raw.handshake()
        self._raw.connect("1.2")
        self._position = position

    def subscribe(self) -> socket.socket:
        """Send SUBSCRIBE; return the socket for a selector."""
        resume = {} if self._position is None else {"last-message-id": self._position}
        self._raw.send("SUBSCRIBE", {"id": "sub-0", "destination": MESSAGE, "receipt": "live", **resume})
        return self._raw.nonblocking()

    def read(self, connection: socket.socket) -> range:
        """Read what has arrived; return the numbers of the events."""
        try:
            data = connection.recv(1 << 18)
        except BlockingIOError:
            return range(0)
        if not data:
            self.fault = f"the connection ended after {self.last}: {self._rest[-300:]!r}"
            return range(0)
        data = self._rest + data
        if b"recovered:false" in data:
            self.fault = "not recovered"
        at = 0
        numbers = []
        for found in _NUMBERS.finditer(data):
            numbers.append(int(found[1]))
            at = found.end()
        self._rest = data[at:]
        expected = range(self.last + 1, self.last + 1 + len(numbers))
        if numbers != list(expected):
            self.fault = f"after {self.last} came {numbers[:5]}"
        self.last += len(numbers)
        return expected


def come_back(port: int, position: str, last: int, upto: int, count: int) -> None:
    """Wait for a line on standard input; then connect and resume with ``count`` subscribers as fast as possible.

    Prints the seconds until all have caught up, how many have not or found a fault, and the faults.
    """
    sys.stdin.readline()
    begin = time.monotonic()
    selector = selectors.DefaultSelector()
    listeners = []
    for _ in range(count):
        listener = Follower(port, last, position)
        selector.register(listener.subscribe(), selectors.EVENT_READ, listener)
        listeners.append(listener)
    waiting = set(listeners)
    while waiting and time.monotonic() < begin + PATIENCE:
        for key, _ in selector.select(1):
            listener = key.data
            assert isinstance(key.fileobj, socket.socket)
            listener.read(key.fileobj)
            if listener.fault:
                selector.unregister(key.fileobj)
            if listener.fault or listener.last >= upto:
                waiting.discard(listener)
    faults = [listener.fault for listener in listeners if listener.fault]
    faults += [f"only at {listener.last} of {upto}" for listener in waiting]
    sys.stdout.write(f"{time.monotonic() - begin:.2f} {len(faults)} {faults[:3]}\n")


class Flow:
    """Publishes at a steady rate to many subscribers, and measures how long each delivery takes."""

    def __init__(self, port: int, redis: Connection, listeners: int, rate: float, next_number: int) -> None:
        self._redis = redis
        self._rate = rate
        self._sent: dict[int, float] = {}
        self._number = next_number
        self._selector = selectors.DefaultSelector()
        for _ in range(listeners):
            listener = Follower(port, next_number - 1, None)
            self._selector.register(listener.subscribe(), selectors.EVENT_READ, listener)
        self._due = time.monotonic() + 1

    def measure(self, goes_on: Sequence[subprocess.Popen[str]], seconds: float) -> list[float]:
        """Return the seconds that each delivery took, for ``seconds`` and while any process of ``goes_on`` runs.

        Raises ``AssertionError`` if a subscriber does not get every event in order.
        """
        taken: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end or any(process.poll() is None for process in goes_on):
            now = time.monotonic()
            if now >= self._due:
                self._due += 1 / self._rate
                self._sent[self._number] = now
                self._redis.call(*addition(MESSAGE, self._number))
                self._number += 1
            for key, _ in self._selector.select(max(0, self._due - time.monotonic())):
                assert isinstance(key.fileobj, socket.socket)
                numbers = key.data.read(key.fileobj)
                if key.data.fault:
                    raise AssertionError(f"a live subscriber: {key.data.fault}")
                now = time.monotonic()
                taken += [now - self._sent[number] for number in numbers]
        return taken


class Memory:
    """Records the peak of a node's resident memory."""

    def __init__(self, node: Node) -> None:
        self.most = node.resident
        self._node = node
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ends.wait(0.02):
            self.most = max(self.most, self._node.resident)

    def stop(self) -> None:
        """Stop recording."""
        self._ends.set()
        self._thread.join()


def percentile(values: Sequence[float], part: float) -> float:
    """Return the percentile ``part`` (0 to 1) of the values."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def main(arguments: Sequence[str]) -> int:
    """Run the scenario and print the figures; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.comeback", description=__doc__)
    parser.add_argument("--returning", type=int, default=200, metavar="N", help="subscribers that come back (200)")
    parser.add_argument("--behind", type=int, default=5000, metavar="N", help="events that they missed (5000)")
    parser.add_argument("--live", type=int, default=100, metavar="N", help="live subscribers beside them (100)")
    parser.add_argument("--rate", type=float, default=50, metavar="N", help="live events per second (50)")
    wanted = parser.parse_args(arguments)
    redis = RedisServer()
    node = Node(redis.port, is_linked=False)
    try:
        connection = redis.connect()
        position = connection.call(*addition(MESSAGE, 0)).decode()
        connection.pipeline([addition(MESSAGE, number) for number in range(1, wanted.behind + 1)])
        flow = Flow(node.port, connection, wanted.live, wanted.rate, wanted.behind + 1)
        program = "import os, sys; os.nice(%d); from tests.chaos.comeback import come_back; come_back(%s)"
        values = (node.port, message_id(MESSAGE, position), 0, wanted.behind, wanted.returning)
        process = subprocess.Popen(
            [sys.executable, "-c", program % (_NICE, ", ".join(map(repr, values)))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=TREE,
            env=environment(),
        )
        flow.measure((), 3)  # until the process has started, and everything is warm
        before = flow.measure((), 15)
        resident = node.resident
        memory = Memory(node)
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        during = flow.measure([process], 0)
        memory.stop()
        said = process.communicate()[0]
    finally:
        node.close()
        redis.close()
    seconds, faults, which = said.split(" ", 2)
    worse = percentile(during, 0.99) / percentile(before, 0.99)
    sys.stdout.write(
        f"{wanted.returning} subscribers came back {wanted.behind} events behind: level after {seconds} s, "
        f"{faults} with faults {which.strip()}\n"
        f"resident memory: {resident / 2**20:.0f} MiB before, at most {memory.most / 2**20:.0f} MiB\n"
        f"{wanted.live} live subscribers, {wanted.rate:g} events/s: p50 {_ms(before, 0.5)} before, "
        f"{_ms(during, 0.5)} meanwhile; p99 {_ms(before, 0.99)} before, {_ms(during, 0.99)} meanwhile "
        f"(x {worse:.1f}); worst {_ms(before, 1)} and {_ms(during, 1)}\n"
    )
    return 0 if faults == "0" and worse <= ALLOWED else 1


def _ms(values: Sequence[float], part: float) -> str:
    return f"{1000 * percentile(values, part):.1f} ms"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

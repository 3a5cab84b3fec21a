"""A rolling restart of the workers under load: the latency of those who stay, compared with that before it.

A delivery counts if its connection was open when its event was published. Clients that are closed are given to another
process, which resumes for them, so that their work does not delay those who stay.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, cast

from bench.clients import ClientFailed, subscribed
from bench.machine import machine_time
from bench.measure import Measurement, judge, stolen_since
from bench.private_streams import EVERYONE, RECEIVED, private_body
from bench.scenarios import BEFORE_P99, LOST, MESSAGE, P99_RATIO, ROLLING_P99, Contender, Scenario
from bench.servers import ROOT, Running, Server, ServerFailed, on_core, reading_redis
from tests.sources.redis.server import Connection

_POSITION: Final = re.compile(rb"message-id:(\S+)")
_CLOSED: Final = b"server restarting"
_COMPLETE: Final = "the rolling restart is complete"
#: Seconds after the last connection that are not measured.
_SETTLING: Final = 2.0
#: Seconds that the rolling restart may take.
_PATIENCE: Final = 120.0


@dataclass(frozen=True, slots=True)
class Rolling:
    """Measures before a rolling restart and during it.

    A scenario's load is the number of clients, and of events a second.

    :ivar seconds: how long is measured before it
    """

    server_core: int
    load_core: int
    seconds: float

    def measure(self, scenario: Scenario, contender: Contender, server: Server) -> Measurement:
        """See ``bench.measure.Driver``."""
        clients, rate = map(int, scenario.load)
        before = machine_time()
        try:
            with ExitStack() as stack:
                stack.enter_context(on_core(self.load_core))
                target, redis = stack.enter_context(reading_redis(server, self.server_core, self.load_core))
                returning = stack.enter_context(_returning(target))
                publisher = redis.connect()
                stack.callback(publisher.close)
                crowd = _Stayers(target, clients, publisher, rate, returning)
                crowd.follow(_SETTLING)
                crowd.p99()
                crowd.follow(self.seconds)
                earlier = crowd.p99()
                os.kill(target.pid, signal.SIGUSR2)
                crowd.follow(_PATIENCE, target)
                during = crowd.p99()
                lost = crowd.lost()
        except (ServerFailed, ClientFailed, OSError) as failure:
            return Measurement({}, faults=(str(failure),))
        values = {BEFORE_P99: earlier, ROLLING_P99: during, P99_RATIO: during / earlier, LOST: float(lost)}
        return judge(values | {"machine_steal_pct": stolen_since(before)}, "", saturates=False)


class _Stayers:
    """The clients that have not been closed yet."""

    def __init__(
        self, target: Running, clients: int, publisher: Connection, rate: int, returning: subprocess.Popen[str]
    ) -> None:
        self._publisher = publisher
        self._pause = 1 / rate
        self._returning = returning
        self._latencies: list[int] = []
        self._closed = 0
        self._selector = selectors.EpollSelector()
        for _ in range(clients):
            new = subscribed(target.port, target.path)
            self._selector.register(new.socket, selectors.EVENT_READ, new.position)

    def follow(self, seconds: float, target: Running | None = None) -> None:
        """Publish and read for so long, or until the target has completed its rolling restart."""
        due = time.monotonic()
        end = due + seconds
        while (now := time.monotonic()) < end:
            if now >= due:
                due = now + self._pause
                event = private_body(EVERYONE, time.monotonic_ns())
                self._publisher.call("XADD", f"airyd:{MESSAGE}", "MAXLEN", "~", 100_000, "*", "payload", event)
                if target is not None and _COMPLETE in target.log.read_text(errors="replace"):
                    return
            for key, _ in self._selector.select(max(due - now, 0)):
                self._read(cast(socket.socket, key.fileobj), cast(str, key.data))
        if target is not None:
            raise ClientFailed("the rolling restart did not end")

    def _read(self, client: socket.socket, position: str) -> None:
        data = client.recv(1 << 16)
        now = time.monotonic_ns()
        self._latencies += [now - int(stamp) for _, stamp in RECEIVED.findall(data)]
        if positions := _POSITION.findall(data):
            position = positions[-1].decode()
            self._selector.modify(client, selectors.EVENT_READ, position)
        if not data or _CLOSED in data:
            self._selector.unregister(client)
            client.close()
            self._closed += 1
            print(position, file=self._returning.stdin, flush=True)

    def p99(self) -> float:
        """Return the 99th percentile of the latencies so far, in µs, and forget them."""
        ordered, self._latencies = sorted(self._latencies), []
        return ordered[len(ordered) * 99 // 100] / 1000

    def lost(self) -> int:
        """Return how many clients have not resumed, or not completely."""
        assert self._returning.stdin is not None
        assert self._returning.stdout is not None
        self._returning.stdin.close()
        return self._closed - int(self._returning.stdout.readline())


@contextmanager
def _returning(target: Running) -> Iterator[subprocess.Popen[str]]:
    """Run the process of those who return."""
    command = [sys.executable, "-m", "bench.rolling", str(target.port), target.path]
    with subprocess.Popen(  # noqa: S603  # no shell
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def main(port: int, path: str) -> None:
    """Resume from each position on standard input, and again when closed; print how many clients have resumed."""
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    resumed = 0
    rest = b""
    while True:
        for key, _ in selector.select():
            if key.fileobj == 0:
                data = os.read(0, 1 << 16)
                if not data:
                    print(resumed, flush=True)
                    return
                *positions, rest = (rest + data).split(b"\n")
            else:
                client = cast(socket.socket, key.fileobj)
                data = client.recv(1 << 16)
                positions = [key.data]
                if found := _POSITION.findall(data):
                    selector.modify(client, selectors.EVENT_READ, found[-1])
                    positions = [found[-1]]
                if data and _CLOSED not in data:
                    continue
                selector.unregister(client)
                client.close()
                resumed -= 1
            for position in positions:
                new = subscribed(port, path, after=position.decode())
                selector.register(new.socket, selectors.EVENT_READ, position)
                resumed += b"\nrecovered:true" in new.answer


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

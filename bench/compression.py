"""What compression costs and saves: the same events to subscribers that compress, that don't, and half of each.

``python -m bench.compression`` starts airyd afresh for each, by turns, and publishes Airy messages through it: one,
four or sixteen at a time, the next when all subscribers have the last. It needs two cores and no load generator. One
subscriber of each kind reads all that it gets, as strictly as RFC 7692 allows; of the others, who are sent the very
same bytes, those are counted.

Exit status: 0, 1 (a target is missed), 2 (can't measure here).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from airyd.sources.conversations import Conversations
from bench.scenarios import MESSAGE
from bench.servers import Running, airyd_server, on_core, running
from tests.inflating import Inflating
from tests.integration.wire import TEXT, decode, encode, websocket_frame

#: Events in a batch, and how many batches are measured.
BATCHES: Final = {1: 400, 4: 200, 16: 80}
WARM_UP: Final = 10
#: Which of the subscribers offer to compress, by kind of crowd.
CROWDS: Final = {"none": (False,), "all": (True,), "half": (True, False)}
#: What the ratios to no compression may be at most: of CPU, and of bytes by the size of the batch.
CPU: Final = {"all": 1.15, "half": 1.1}
BYTES: Final = {1: 0.75, 4: 0.45}
#: Seconds that a read may take.
PATIENCE: Final = 20

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_UPGRADE: Final = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
    "Sec-WebSocket-Protocol: v12.stomp\r\n{offer}\r\n"
)
_OFFER: Final = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"


class Wrong(Exception):
    """A subscriber got something else than was published; the text says what."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one crowd's events took.

    :ivar cpu: seconds of the server's for each delivery
    :ivar size: bytes of each delivery on the wire, over the whole crowd
    """

    cpu: float
    size: float


class Subscriber:
    """One connection. It must be read in the order in which the bytes come, and blocks until they do."""

    def __init__(self, server: Running, compresses: bool) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE, 0))
        self._inflating = Inflating()
        upgrade = _UPGRADE.format(path=server.path, port=server.port, offer=_OFFER if compresses else "")
        self._socket.sendall(upgrade.encode())
        answer = self._until(b"\r\n\r\n")
        if (b"permessage-deflate" in answer) != compresses:
            raise Wrong(f"this was the answer to the opening handshake: {answer!r}")
        self.send(encode("CONNECT", {"accept-version": "1.2", "heart-beat": "0,0"}))
        self._until(b"\0")

    def send(self, *frames: bytes) -> None:
        """Send STOMP frames, each in a message of its own, all at once."""
        self._socket.sendall(b"".join([websocket_frame(TEXT, frame) for frame in frames]))

    def subscribe(self) -> None:
        """Subscribe, and wait until that stands."""
        self.send(encode("SUBSCRIBE", {"id": "sub-0", "destination": MESSAGE, "receipt": "live"}))
        self._until(b"\0")

    def _until(self, end: bytes) -> bytes:
        got = b""
        while not got.endswith(end):
            got += self._more()
        return got

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 18)
        if not data:
            raise Wrong("the server closed a connection")
        return data

    def skip(self, size: int) -> None:
        """Read so many bytes."""
        while size > 0:
            size -= len(self._more())
        if size:
            raise Wrong(f"a subscriber got {-size} bytes more than the one that was read")

    def read(self, bodies: Sequence[bytes]) -> int:
        """Read the messages with these bodies; return how many bytes they were on the wire."""
        wire = b""
        size = 0
        for body in bodies:
            while not (length := first_length(wire)):
                wire += self._more()
            (payload,) = self._inflating.read(wire[:length])
            if decode(payload, TEXT, "1.2").body != body:
                raise Wrong(f"this was not published: {payload[:200]!r}")
            wire = wire[length:]
            size += length
        if wire:
            raise Wrong("a subscriber got more than was published")
        return size

    def close(self) -> None:
        """Go."""
        self._socket.close()


def first_length(wire: bytes) -> int:
    """Return the length of the first frame, with its header; 0 if it isn't all there."""
    if len(wire) < 4:
        return 0
    short = wire[1]
    length = {126: 4 + int.from_bytes(wire[2:4], "big"), 127: 10 + int.from_bytes(wire[2:10], "big")}.get(
        short, 2 + short
    )
    return length if len(wire) >= length else 0


def measure(crowd: str, batch: int, subscribers: int, cores: tuple[int, int]) -> Figures:
    """Publish to a crowd.

    :param batch: events that are published at once
    :raises Wrong: something was not as it was published
    """
    bodies = (body for destination, body in Conversations(1, time.time) if destination == MESSAGE)
    with running(airyd_server(crowd), cores[0]) as server, on_core(cores[1]):
        kinds = CROWDS[crowd]
        members = [[Subscriber(server, kind) for _ in range(subscribers // len(kinds))] for kind in kinds]
        publisher = Subscriber(server, False)
        for member in (member for kind in members for member in kind):
            member.subscribe()
        for _ in range(WARM_UP):
            _publish(publisher, list(islice(bodies, batch)), members)
        before = _cpu(server)
        size = sum(_publish(publisher, list(islice(bodies, batch)), members) for _ in range(BATCHES[batch]))
        cpu = _cpu(server) - before
        for member in (publisher, *(member for kind in members for member in kind)):
            member.close()
    deliveries = BATCHES[batch] * batch * subscribers
    return Figures(cpu / deliveries, size / deliveries)


def _publish(publisher: Subscriber, bodies: Sequence[bytes], members: Sequence[Sequence[Subscriber]]) -> int:
    """Publish bodies; return when all members have them, and how many bytes that was in all."""
    publisher.send(*[encode("SEND", {"destination": MESSAGE}, body) for body in bodies])
    sizes = [kind[0].read(bodies) for kind in members]
    for size, (_, *others) in zip(sizes, members, strict=True):
        for member in others:
            member.skip(size)
    return sum(size * len(kind) for size, kind in zip(sizes, members, strict=True))


def _cpu(server: Running) -> float:
    with open(f"/proc/{server.pid}/stat") as stream:
        words = stream.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICKS


def verdicts(batch: int, medians: dict[str, Figures]) -> Iterator[tuple[str, float, float | None]]:
    """Yield ``(what, ratio to no compression, what it may be at most)`` for a size of batch."""
    plain = medians["none"]
    for crowd in ("all", "half"):
        yield f"CPU per delivery, {crowd}", medians[crowd].cpu / plain.cpu, CPU[crowd]
        yield f"bytes, {crowd}", medians[crowd].size / plain.size, BYTES.get(batch) if crowd == "all" else None


def main(arguments: Sequence[str]) -> int:
    """Measure, print a table and a line of JSON; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.compression", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=1000, metavar="N", help="how many (default: 1000)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="rounds (default: 3)")
    parser.add_argument("--batch", type=int, action="append", choices=list(BATCHES), help="only this (repeatable)")
    wanted = parser.parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.stderr.write("bench: two cores are needed, one for the server and one for the load\n")
        return 2
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    missed = False
    report = []
    for batch in wanted.batch or BATCHES:
        found: dict[str, list[Figures]] = {crowd: [] for crowd in CROWDS}
        for _ in range(wanted.repeat):
            for crowd in CROWDS:
                found[crowd].append(measure(crowd, batch, wanted.subscribers, (cores[0], cores[1])))
        medians = {
            crowd: Figures(statistics.median(f.cpu for f in runs), statistics.median(f.size for f in runs))
            for crowd, runs in found.items()
        }
        print(f"\n{batch} at a time to {wanted.subscribers} subscribers; who of them compresses:")
        for crowd, figures in medians.items():
            print(f"  {crowd:5} {figures.cpu * 1e6:8.2f} µs CPU and {figures.size:7.1f} bytes per delivery")
        for what, ratio, most in verdicts(batch, medians):
            verdict = "" if most is None else f"(at most {most}: {'kept' if ratio <= most else 'MISSED'})"
            missed |= most is not None and ratio > most
            print(f"  {what:24} {ratio:6.3f} {verdict}".rstrip())
            report.append({"batch": batch, "what": what, "ratio": round(ratio, 4), "at_most": most})
    print(json.dumps({"subscribers": wanted.subscribers, "compression": report}))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

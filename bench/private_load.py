"""Clients of private streams, thousands in a process: file descriptors and a few numbers for each.

``python -m bench.private_load PORT PATH FIRST COUNT ADDRESS`` lets the clients from FIRST on connect from that source
address, each with a token and a filter of its own, four subscriptions, and heart-beats of 30 s. It prints ``ready``
when all have their subscriptions. Then it reads commands: ``count`` prints how many events have arrived since the last
report, ``report`` prints a report. Both are lines of JSON. The program ends with its input.

Exit status: 0, 1 (a client was refused or closed, or got the event of another).
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from bench.clients import PATIENCE, ClientFailed, frame, opening
from bench.private_streams import DESTINATIONS, EVERYONE, RECEIVED, private_token, user

#: Clients that connect at once.
_WAVE: Final = 64
#: A client's heart-beat (STOMP 1.2, "Heart-beating"), masked with zeros.
_BEAT: Final = b"\x81\x81\0\0\0\0\n"
#: A closed socket sends RST: it leaves no port in TIME_WAIT.
_LINGER: Final = struct.pack("ii", 1, 0)
#: Lets the kernel choose the port at connect(), so that all ports of an address can be used (ip(7)).
_BIND_ADDRESS_NO_PORT: Final = 24
_EVERYONE: Final = EVERYONE.encode()


class Clients(NamedTuple):
    """Which clients connect, and how.

    :ivar first: the number of the first
    :ivar subscriptions: how many of ``DESTINATIONS`` each subscribes to
    :ivar is_filtered: whether their tokens hold a filter
    :ivar address: their source address
    :ivar heart_beat: the milliseconds that they ask for and promise
    """

    first: int
    connections: int
    subscriptions: int = len(DESTINATIONS)
    is_filtered: bool = True
    address: str = "127.0.0.1"
    heart_beat: int = 30_000


class Report(NamedTuple):
    """What arrived.

    :ivar own: the number of private events of each client, by its number
    :ivar shared: the number of events for everyone, likewise
    :ivar latencies: microseconds from the time in each event until it was read
    """

    own: Counter[int]
    shared: Counter[int]
    latencies: list[int]

    @property
    def total(self) -> int:
        """The number of events."""
        return len(self.latencies)


class PrivateClients:
    """Connected clients that check whom each event is for.

    :raises ClientFailed: a client was refused
    """

    def __init__(self, port: int, path: str, clients: Clients) -> None:
        self.report = Report(Counter(), Counter(), [])
        self._clients = clients
        self._numbers: dict[int, int] = {}  # by file descriptor
        self._fds: list[int] = []
        self._poll = select.epoll()
        self._buffer = bytearray(1 << 18)
        self._next_beat = 0
        self._beat_at = time.monotonic()
        try:
            for start in range(0, clients.connections, _WAVE):
                self._connect(port, path, range(start, min(start + _WAVE, clients.connections)))
                self.receive(0)
                self.beat()
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._fds)

    def _connect(self, port: int, path: str, wave: range) -> None:
        clients = self._clients
        sockets = []
        try:
            for place in wave:
                each = socket.socket()
                sockets.append(each)
                each.settimeout(PATIENCE)
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
                each.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                each.bind((clients.address, 0))
                each.connect(("127.0.0.1", port))
                each.sendall(opening(port, path) + self._greeting(clients.first + place))
            for place, each in zip(wave, sockets, strict=True):
                self._established(each)
                each.setblocking(False)
                fd = each.detach()
                self._numbers[fd] = clients.first + place
                self._fds.append(fd)
                self._poll.register(fd, select.EPOLLIN)
        finally:
            for each in sockets:
                each.close()

    def _greeting(self, number: int) -> bytes:
        beats = f"{self._clients.heart_beat},{self._clients.heart_beat}"
        login = {"Authorization": f"Bearer {private_token(number, self._clients.is_filtered)}"}
        names = DESTINATIONS[: self._clients.subscriptions]
        subscribes = [
            frame("SUBSCRIBE", {"id": str(place), "destination": name, "receipt": str(place)})
            for place, name in enumerate(names)
        ]
        return frame("CONNECT", {"accept-version": "1.2", "heart-beat": beats, **login}) + b"".join(subscribes)

    def _established(self, client: socket.socket) -> None:
        """Read until the RECEIPT of the last SUBSCRIBE has come."""
        receipt = f"receipt-id:{self._clients.subscriptions - 1}\n".encode()
        data = b""
        while b"\0" not in data.partition(receipt)[2]:
            more = client.recv(1 << 16)
            if not more or b"ERROR\n" in data:
                raise ClientFailed(f"a client was refused: {data[-200:]!r}")
            data += more

    def receive(self, seconds: float) -> int:
        """Wait so long for events; read what is there, and return how many events that was.

        :raises ClientFailed: a client was closed, or got an event that is for another
        """
        found = 0
        buffer, numbers = self._buffer, self._numbers
        own, shared, latencies = self.report
        for fd, _ in self._poll.poll(seconds):
            try:
                size = os.readv(fd, (buffer,))
            except ConnectionError:
                size = 0
            if not size:
                raise ClientFailed(f"client {numbers[fd]} was closed")
            now = time.monotonic_ns()
            events = RECEIVED.findall(buffer, 0, size)
            for whom, at in events:
                if whom == _EVERYONE:
                    shared[numbers[fd]] += 1
                elif whom == user(numbers[fd]).encode():
                    own[numbers[fd]] += 1
                else:
                    raise ClientFailed(f"client {numbers[fd]} got an event for {whom.decode()}")
                latencies.append((now - int(at)) // 1000)
            # The byte that ends a STOMP frame: neither a body nor a WebSocket header has another here.
            if buffer.count(0, 0, size) != len(events):
                raise ClientFailed(f"client {numbers[fd]} got {bytes(buffer[:size][-300:])!r}")
            found += len(events)
        return found

    def take_report(self) -> Report:
        """Return what has arrived since the last call."""
        report, self.report = self.report, Report(Counter(), Counter(), [])
        return report

    def beat(self) -> None:
        """Send the heart-beats that are due; call it several times a second."""
        now = time.monotonic()
        due = int(len(self._fds) * (now - self._beat_at) * 1000 / self._clients.heart_beat * 1.25)
        if not due:
            return
        self._beat_at = now
        for _ in range(min(due, len(self._fds))):
            self._next_beat = (self._next_beat + 1) % len(self._fds)
            os.write(self._fds[self._next_beat], _BEAT)

    def idle(self, seconds: float) -> None:
        """Do nothing but heart-beats for a while.

        :raises ClientFailed: see :meth:`receive`
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.receive(min(left, 0.1))
            self.beat()

    def close(self) -> None:
        """Close all."""
        self._poll.close()
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()


def _serve(clients: PrivateClients) -> None:
    commands = b""
    while True:
        clients.receive(0.05)
        clients.beat()
        if not select.select([0], [], [], 0)[0]:
            continue
        data = os.read(0, 1 << 10)
        if not data:
            return
        *lines, commands = (commands + data).split(b"\n")
        for line in lines:
            answer = clients.report.total if line == b"count" else clients.take_report()._asdict()
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Connect, and do what the input says; return the exit status."""
    port, path, first, count, address = arguments
    try:
        clients = PrivateClients(int(port), path, Clients(int(first), int(count), address=address))
        try:
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            _serve(clients)
        finally:
            clients.close()
    except (ClientFailed, OSError) as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

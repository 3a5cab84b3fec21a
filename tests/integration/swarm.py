"""Many subscribers in one thread: each records the numbers of its events, and may disconnect and come back."""

from __future__ import annotations

import resource
import selectors
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum, auto
from itertools import pairwise
from typing import Final

from tests.integration.connection import StompConnection, delivery, login, subscription
from tests.integration.wire import VERSIONS, encode
from tests.patience import PATIENCE

#: The most connections that are being opened at a time, so that the server's accept queue never overflows.
OPENING: Final = 40


def faults(received: Sequence[int], count: int) -> list[str]:
    """Return what is wrong with a subscriber's numbers; they should be ``0`` to ``count - 1``, in order."""
    seen = Counter(received)
    found = []
    if missing := [n for n in range(count) if n not in seen]:
        found.append(f"missing: {missing[:10]}")
    if repeated := [n for n, times in seen.items() if times > 1]:
        found.append(f"repeated: {repeated[:10]}")
    if unknown := [n for n in seen if not 0 <= n < count]:
        found.append(f"unknown: {unknown[:10]}")
    if disorder := [(a, b) for a, b in pairwise(received) if b < a]:
        found.append(f"out of order: {disorder[:10]}")
    return found


class State(Enum):
    """The state of a member's connection."""

    AWAY = auto()
    WAITING = auto()
    UPGRADING = auto()
    JOINING = auto()
    LIVE = auto()
    LEAVING = auto()


class Member:
    """One subscriber of one destination, over any number of connections.

    :ivar received: the numbers of its events, over all its connections
    :ivar resumes: how often it subscribed with ``last-message-id``
    :ivar connection: the present connection; None without one
    :ivar close_code: the close code of its last connection; 0 without a close frame
    :ivar wrong: what the server did wrong, as texts
    """

    __slots__ = (
        "_destination",
        "_port",
        "_subscription",
        "_tls",
        "_version",
        "close_code",
        "connection",
        "last_id",
        "received",
        "resumes",
        "state",
        "wrong",
    )

    def __init__(
        self, port: int, destination: str, subscription: str, version: str, tls: ssl.SSLContext | None = None
    ) -> None:
        self._port = port
        self._tls = tls
        self._destination = destination
        self._subscription = subscription
        self._version = version
        self.connection: StompConnection | None = None
        self.state = State.AWAY
        self.received: list[int] = []
        self.last_id = ""
        self.resumes = 0
        self.close_code = 0
        self.wrong: list[str] = []

    def open(self) -> socket.socket:
        """Connect and send the opening handshake; return the socket for the selector."""
        self.connection = StompConnection(self._port, self._join, self._take, self.wrong.append, tls=self._tls)
        self.state = State.UPGRADING
        return self.connection.socket

    def _join(self) -> None:
        assert self.connection is not None
        self.resumes += bool(self.last_id)
        subscribe = subscription(self._subscription, self._destination, "live", self.last_id)
        self.connection.send(login(self._version), subscribe)
        self.state = State.JOINING

    def leave(self) -> None:
        """Send DISCONNECT."""
        assert self.connection is not None
        self.connection.send(encode("DISCONNECT", {"receipt": "bye"}))
        self.state = State.LEAVING

    def vanish(self) -> None:
        """End the connection by a TCP reset; unread data is lost."""
        assert self.connection is not None
        self.connection.reset()
        self.gone()

    def gone(self) -> None:
        """Close the socket of an ended connection."""
        assert self.connection is not None
        self.connection.socket.close()
        self.connection = None
        self.state = State.AWAY

    def readable(self) -> bool:
        """Read and handle what has arrived; return False if the connection has ended."""
        assert self.connection is not None
        try:
            if self.connection.read():
                return True
        except ConnectionError as error:
            self.wrong.append(f"reset: {error}")
        self.close_code = self.connection.close_code
        if self.state is not State.LEAVING or self.close_code != 1000:
            self.wrong.append(f"ended with {self.close_code} while {self.state}")
        return False

    def _take(self, frame: bytes) -> None:
        if frame.startswith(b"MESSAGE\n"):
            self._message(frame)
        elif frame.startswith(b"RECEIPT\n"):
            self._receipt(frame)
        elif not frame.startswith(b"CONNECTED\n"):
            self.wrong.append(f"unasked: {frame[:200]!r}")

    def _message(self, frame: bytes) -> None:
        message = delivery(frame)
        if message is None or message.subscription != self._subscription:
            self.wrong.append(f"not a MESSAGE as it should be: {frame[:300]!r}")
            return
        if self.state is State.JOINING:
            self.wrong.append("a MESSAGE before the RECEIPT")
        self.last_id = message.message_id
        self.received.append(message.number)

    def _receipt(self, frame: bytes) -> None:
        lines = frame.decode().split("\n")
        if self.state is State.JOINING:
            resumed = bool(self.last_id)
            if resumed and "recovered:true" not in lines:
                self.wrong.append(f"not recovered from {self.last_id}: {lines}")
            if not resumed:
                self.last_id = next(line for line in lines if line.startswith("last-message-id:")).partition(":")[2]
            self.state = State.LIVE


class Swarm:
    """All members and their sockets; :meth:`turn` does all work.

    :param tls: for TLS connections to ``localhost``
    """

    def __init__(self, port: int, destination: str, count: int, tls: ssl.SSLContext | None = None) -> None:
        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < count + 200:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        # Most have the same subscription id, like pages of one application; some do not.
        self.members = [
            Member(port, destination, "sub-0" if n % 4 else f"own-{n}", VERSIONS[-(n % 3)], tls) for n in range(count)
        ]
        self._selector = selectors.DefaultSelector()
        self._waiting: list[Member] = []
        self._opening: set[Member] = set()

    def open(self, *members: Member) -> None:
        """Let these disconnected members connect, within :data:`OPENING`."""
        for member in members:
            member.state = State.WAITING
            self._waiting.append(member)

    def vanish(self, member: Member) -> None:
        """Reset the connection of a member."""
        self._forget(member)
        member.vanish()

    def _forget(self, member: Member) -> None:
        assert member.connection is not None
        self._selector.unregister(member.connection.socket)
        self._opening.discard(member)

    def turn(self, patience: float = 0.05) -> None:
        """Open waiting members, and read what has arrived; wait at most ``patience`` seconds."""
        while self._waiting and len(self._opening) < OPENING:
            member = self._waiting.pop(0)
            self._selector.register(member.open(), selectors.EVENT_READ, member)
            self._opening.add(member)
        for key, _ in self._selector.select(patience):
            member = key.data
            if not member.readable():
                self._forget(member)
                member.gone()
            elif member.state is not State.UPGRADING:
                self._opening.discard(member)

    def until(
        self,
        reached: Callable[[Member], bool],
        what: str,
        among: Sequence[Member] | None = None,
        *,
        patient: bool = False,
    ) -> None:
        """Take turns until ``reached`` is true for all members, or for all of ``among``.

        Raises ``AssertionError`` after :data:`PATIENCE`, or, if not ``patient``, when the server did something wrong.
        """
        deadline = time.monotonic() + PATIENCE
        lacking = [m for m in (self.members if among is None else among) if not reached(m)]
        while lacking:
            if time.monotonic() > deadline or (not patient and any(m.wrong for m in lacking)):
                first = lacking[0]
                holes = faults(first.received, max(first.received, default=-1) + 1)
                raise AssertionError(
                    f"{len(lacking)} of {len(self.members)} are not {what}; "
                    f"one is {first.state}, has {len(first.received)} events, {holes}, saw {first.wrong[:3]}; "
                    f"all saw {[m.wrong[0] for m in self.members if m.wrong][:3]}"
                )
            self.turn()
            lacking = [m for m in lacking if not reached(m)]

    def close(self) -> None:
        """Reset all remaining connections."""
        for member in self.members:
            if member.connection is not None:
                self.vanish(member)
        self._selector.close()

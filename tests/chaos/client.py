"""A client that always comes back: it resumes after every end, on whichever node, and its runs are compared."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time
from collections.abc import Sequence
from enum import Enum, auto
from functools import lru_cache
from random import Random
from typing import Final, NamedTuple

from tests.chaos.feed import Feed
from tests.chaos.ledger import History, Hole, Id
from tests.integration.payloads import body
from tests.integration.raw import NONCE
from tests.integration.wire import CLOSE, PING, PONG, TEXT, decode, encode, take_frames, websocket_frame

HISTORY_LOST: Final = "history lost"
UNAVAILABLE: Final = "event source unavailable"
RESTARTING: Final = "server restarting"
_MESSAGE: Final = re.compile(
    rb"MESSAGE\nsubscription:sub-(\d+)\n(?:.+\n)*?message-id:([0-9a-f]{8}-[0-9a-f-]+)\n(?:.+\n)*\n"
)
_NUMBER: Final = re.compile(rb'"n":(\d+)\}')
#: The wrong things that a client tells of.
_MOST: Final = 5

_body = lru_cache(4096)(body)


class Ending(NamedTuple):
    """How a connection ended that the client did not end itself.

    :ivar error: the ``message`` header of its ERROR, "" without one
    :ivar code: its close code, 0 without one
    :ivar was_live: whether it had all its RECEIPTs
    :ivar positions: what the client had of each destination
    """

    node: int
    opened: float
    when: float
    error: str
    code: int
    was_live: bool
    positions: dict[str, Id]


class Refusal(NamedTuple):
    """A ``recovered:false``.

    :ivar seen: the node that had given the position, and when
    """

    destination: str
    position: Id
    node: int
    when: float
    seen: tuple[int, float]


class State(Enum):
    """Where a client is on its way."""

    AWAY = auto()
    UPGRADING = auto()
    OPEN = auto()


class Client:
    """One client of several destinations.

    :ivar endings: of the connections that it did not end itself
    :ivar refusals: the resumes that were not possible
    :ivar recovered: the resumes that were
    :ivar wrong: what it saw and should not have
    :ivar due: when it wants to connect again
    """

    def __init__(self, ports: Sequence[int], histories: Sequence[History], random: Random) -> None:
        self.feeds = [Feed(history) for history in histories]
        self.endings: list[Ending] = []
        self.refusals: list[Refusal] = []
        self.recovered = 0
        self.wrong: list[str] = []
        self.socket: socket.socket | None = None
        self.state = State.AWAY
        self.due = 0.0
        self._ports = ports
        self._random = random
        self._node = random.randrange(len(ports))
        self._opened = 0.0
        self._buffer = b""
        self._error = ""
        self._code = 0
        self._is_leaving = False
        self._now = 0.0

    @property
    def is_live(self) -> bool:
        """Whether all its subscriptions stand."""
        return self.state is State.OPEN and all(feed.is_live for feed in self.feeds)

    @property
    def is_level(self) -> bool:
        """Whether it is live and has all that the ledger has."""
        return self.is_live and all(feed.cursor is not None and feed.cursor.is_level for feed in self.feeds)

    def check(self) -> None:
        """Compare what came since the last time."""
        for feed in self.feeds:
            for cursor in feed.cursors[-2:]:
                cursor.check()

    @property
    def checked(self) -> int:
        """How many events were compared with the ledger."""
        return sum(cursor.checked for feed in self.feeds for cursor in feed.cursors)

    @property
    def holes(self) -> list[Hole]:
        """What is missing in what it got."""
        return [hole for feed in self.feeds for cursor in feed.cursors for hole in cursor.holes]

    @property
    def faults(self) -> list[str]:
        """What is wrong with what it got, beside the holes."""
        return [*self.wrong, *(fault for feed in self.feeds for cursor in feed.cursors for fault in cursor.faults)]

    # What it does.

    def open(self) -> bool:
        """Connect to a node, mostly another one than before; say whether somebody listens there."""
        if self._random.random() < 0.7:
            self._node = self._random.randrange(len(self._ports))
        connection = socket.socket()
        connection.settimeout(10)
        try:
            connection.connect(("127.0.0.1", self._ports[self._node]))
            connection.sendall(
                f"GET /ws.communication HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Key: {NONCE}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
        except OSError:
            connection.close()
            self._node = self._random.randrange(len(self._ports))
            self._wait()
            return False
        connection.setblocking(False)
        self.socket = connection
        self.state = State.UPGRADING
        self._opened = time.monotonic()
        self._buffer = b""
        self._error, self._code, self._is_leaving = "", 0, False
        return True

    def _wait(self) -> None:
        self.due = time.monotonic() + self._random.uniform(0.02, 0.5)

    def _send(self, *frames: bytes) -> None:
        assert self.socket is not None
        with contextlib.suppress(OSError):
            self.socket.send(b"".join(websocket_frame(TEXT, frame) for frame in frames))

    def _subscribe(self, number: int, feed: Feed) -> bytes:
        feed.is_joining = True
        feed.asked = "" if feed.forgets else feed.last_id
        feed.forgets = False
        headers = {"id": f"sub-{number}", "destination": feed.history.destination, "receipt": f"live-{number}"}
        if feed.asked:
            headers["last-message-id"] = feed.asked
        return encode("SUBSCRIBE", headers)

    def resubscribe(self) -> None:
        """Leave one destination and come back to it at once, on the same connection."""
        number = self._random.randrange(len(self.feeds))
        feed = self.feeds[number]
        if feed.is_live:
            # Events come until it is carried out; the next SUBSCRIBE names the last of them.
            feed.is_live = False
            self._send(encode("UNSUBSCRIBE", {"id": f"sub-{number}", "receipt": f"left-{number}"}))

    def disconnect(self) -> None:
        """Ask for the end."""
        self._is_leaving = True
        self._send(encode("DISCONNECT", {"receipt": "bye"}))

    def vanish(self) -> None:
        """Go without a word, by a TCP reset; what was not read yet is lost."""
        assert self.socket is not None
        self._is_leaving = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.gone()

    def gone(self) -> None:
        """Close the socket, and note how this ended."""
        assert self.socket is not None
        self.socket.close()
        self.socket = None
        if not self._is_leaving or self._error:
            positions = {feed.history.destination: feed.cursor.last for feed in self.feeds if feed.cursor is not None}
            now = time.monotonic()
            self.endings.append(Ending(self._node, self._opened, now, self._error, self._code, self.is_live, positions))
            if self._error == HISTORY_LOST and self._random.random() < 0.5:
                for feed in self.feeds:  # as a page does that loads its state anew
                    feed.forgets = True
        self.state = State.AWAY
        for feed in self.feeds:
            feed.is_live = feed.is_joining = False
        self._wait()

    # What it gets.

    def readable(self) -> bool:
        """Take what has come; return False when the connection has ended."""
        assert self.socket is not None
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        self._now = time.monotonic()
        buffer = self._buffer + data
        if self.state is State.UPGRADING:
            head, blank, rest = buffer.partition(b"\r\n\r\n")
            if not blank:
                self._buffer = buffer
                return True
            if not head.startswith(b"HTTP/1.1 101 "):
                self._complain(f"not upgraded: {head!r}")
                return False
            buffer = rest
            self.state = State.OPEN
            login = encode("CONNECT", {"accept-version": "1.2", "heart-beat": "0,0"})
            self._send(login, *(self._subscribe(number, feed) for number, feed in enumerate(self.feeds)))
        self._buffer = take_frames(buffer, self._take)
        return True

    def _take(self, first: int, payload: bytes) -> None:
        if first == 0x80 | CLOSE:
            self._code = int.from_bytes(payload[:2], "big")
            assert self.socket is not None
            with contextlib.suppress(OSError):
                self.socket.send(websocket_frame(CLOSE, payload[:2]))
        elif first == 0x80 | PING:  # it sends no heart-beats (docs/protocol.rst, "Heart-beats")
            assert self.socket is not None
            with contextlib.suppress(OSError):
                self.socket.send(websocket_frame(PONG, payload))
        elif first != 0x80 | TEXT:
            self._complain(f"a WebSocket frame that begins with {first:#x}")
        elif payload.startswith(b"MESSAGE\n"):
            self._message(payload)
        else:
            frame = decode(payload, TEXT, "1.2")
            if frame.command == "RECEIPT":
                self._receipt(frame.headers)
            elif frame.command == "ERROR":
                self._error = frame.headers["message"]
            elif frame.command != "CONNECTED":
                self._complain(f"unasked: {frame}")

    def _message(self, payload: bytes) -> None:
        head = _MESSAGE.match(payload)
        number = _NUMBER.search(payload)
        if head is None or number is None:
            self._complain(f"not a MESSAGE as it should be: {payload[:300]!r}")
            return
        feed = self.feeds[int(head[1])]
        destination = feed.history.destination
        if feed.cursor is None or feed.is_joining:
            self._complain(f"a MESSAGE of {destination} before the RECEIPT")
            return
        if payload[head.end() : -1] != _body(destination, int(number[1])):
            self._complain(f"{destination}: not the body that was published: {payload[:600]!r}")
        feed.take(head[2].decode(), int(number[1]), self._node, self._now)

    def _receipt(self, headers: dict[str, str]) -> None:
        what, _, number = headers["receipt-id"].partition("-")
        if what == "bye":
            return
        feed = self.feeds[int(number)]
        if what == "left":
            self._send(self._subscribe(int(number), feed))
            return
        feed.is_live, feed.is_joining = True, False
        position, recovered = headers["last-message-id"], headers.get("recovered")
        if not feed.asked and recovered is None:
            feed.begin(position, self._node, self._now)
        elif feed.asked and recovered == "true":
            self.recovered += 1
            if position != feed.asked:
                self._complain(f"resumed from {feed.asked}, the RECEIPT says {position}")
        elif feed.asked and recovered == "false":
            asked = feed.history.read(feed.asked)
            self.refusals.append(Refusal(feed.history.destination, asked, self._node, self._now, feed.seen))
            feed.begin(position, self._node, self._now)
        else:
            self._complain(f"asked to resume from {feed.asked!r}, the RECEIPT says recovered:{recovered}")

    def _complain(self, text: str) -> None:
        if len(self.wrong) < _MOST:
            self.wrong.append(text)

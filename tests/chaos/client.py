"""A client that reconnects and resumes after every end, on any node, and compares its events with the ledger."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from random import Random
from ssl import SSLContext
from typing import ClassVar, Final, NamedTuple

from tests.chaos.bodies import body_of
from tests.chaos.feed import Feed
from tests.chaos.ledger import History, Hole, Id
from tests.integration.connection import StompConnection, delivery, login, subscription
from tests.integration.wire import TEXT, decode, encode

HISTORY_LOST: Final = "history lost"
UNAVAILABLE: Final = "event source unavailable"
LOGIN_UNAVAILABLE: Final = "login unavailable"
RESTARTING: Final = "server restarting"
#: Prefix of its subscription ids; a number follows.
_NAME: Final = "sub-"
#: Seconds after which connecting to a node fails.
_CONNECT_PATIENCE: Final = 10.0
#: How many wrong things a client records.
_MOST: Final = 5

_body = lru_cache(4096)(body_of)


class Ending(NamedTuple):
    """The end of a connection that the client did not end itself.

    :ivar error: the ``message`` header of its ERROR, "" without one
    :ivar code: its close code, 0 without one
    :ivar was_live: whether the client had all its RECEIPTs
    :ivar positions: the client's position in each destination
    """

    node: int
    opened: float
    when: float
    error: str
    code: int
    was_live: bool
    positions: dict[str, Id]


class Refusal(NamedTuple):
    """A resume that was answered with ``recovered:false``.

    :ivar seen: the node that gave the position, and when
    """

    destination: str
    position: Id
    node: int
    when: float
    seen: tuple[int, float]


class Client:
    """One client of several destinations.

    :ivar endings: the ends of connections that it did not end itself
    :ivar refusals: the resumes with ``recovered:false``
    :ivar recovered: how many resumes had ``recovered:true``
    :ivar wrong: what the server did wrong, as texts
    :ivar connection: the present connection; None without one
    :ivar due: when it connects again
    :ivar token: its token; "" for none
    :ivar tls: for TLS connections; None for others
    :cvar _first_frames: frames that it sends before it subscribes to its destinations
    """

    _first_frames: ClassVar[Sequence[bytes]] = ()

    def __init__(self, ports: Sequence[int], histories: Sequence[History], random: Random) -> None:
        self.feeds = [Feed(history) for history in histories]
        self.token = ""
        self.tls: SSLContext | None = None
        self.endings: list[Ending] = []
        self.refusals: list[Refusal] = []
        self.recovered = 0
        self.wrong: list[str] = []
        self.connection: StompConnection | None = None
        self.due = 0.0
        self._ports = ports
        self._random = random
        self._node = random.randrange(len(ports))
        self._opened = 0.0
        self._error = ""
        self._is_leaving = False
        self._now = 0.0

    @property
    def is_live(self) -> bool:
        """Whether all its subscriptions have their RECEIPT."""
        return self.connection is not None and all(feed.is_live for feed in self.feeds)

    @property
    def is_level(self) -> bool:
        """Whether it is live and has all events of the ledger."""
        return self.is_live and all(feed.cursor is not None and feed.cursor.is_level for feed in self.feeds)

    def check(self) -> None:
        """Compare the events since the last call with the ledger."""
        for feed in self.feeds:
            for cursor in feed.cursors[-2:]:
                cursor.check()

    @property
    def checked(self) -> int:
        """How many events were compared with the ledger."""
        return sum(cursor.checked for feed in self.feeds for cursor in feed.cursors)

    @property
    def holes(self) -> list[Hole]:
        """The events that it missed."""
        return [hole for feed in self.feeds for cursor in feed.cursors for hole in cursor.holes]

    @property
    def faults(self) -> list[str]:
        """What is wrong with its events, apart from the holes."""
        return [*self.wrong, *(fault for feed in self.feeds for cursor in feed.cursors for fault in cursor.faults)]

    # What the client does.

    def open(self) -> bool:
        """Connect to a random node; return whether a process listens there."""
        if self._random.random() < 0.7:
            self._node = self._random.randrange(len(self._ports))
        self._opened = time.monotonic()
        self._error, self._is_leaving = "", False
        try:
            self.connection = StompConnection(
                self._ports[self._node], self._log_in, self._take, self._complain, _CONNECT_PATIENCE, self.tls
            )
        except OSError:
            self._node = self._random.randrange(len(self._ports))
            self._wait()
            return False
        return True

    def _log_in(self) -> None:
        assert self.connection is not None
        subscribes = [self._subscribe(number, feed) for number, feed in enumerate(self.feeds)]
        self.connection.send(login("1.2", self.token), *self._first_frames, *subscribes)

    def _wait(self) -> None:
        self.due = time.monotonic() + self._random.uniform(0.02, 0.5)

    def _subscribe(self, number: int, feed: Feed) -> bytes:
        feed.is_joining = True
        feed.asked = "" if feed.forgets else feed.last_id
        feed.forgets = False
        return subscription(f"{_NAME}{number}", feed.history.destination, f"live-{number}", feed.asked)

    def resubscribe(self) -> None:
        """End one subscription and subscribe again at once, on the same connection."""
        assert self.connection is not None
        number = self._random.randrange(len(self.feeds))
        feed = self.feeds[number]
        if feed.is_live:
            # Events come until the UNSUBSCRIBE is carried out; the next SUBSCRIBE names the last of them.
            feed.is_live = False
            self.connection.send(encode("UNSUBSCRIBE", {"id": f"{_NAME}{number}", "receipt": f"left-{number}"}))

    def disconnect(self) -> None:
        """Send DISCONNECT."""
        assert self.connection is not None
        self._is_leaving = True
        self.connection.send(encode("DISCONNECT", {"receipt": "bye"}))

    def vanish(self) -> None:
        """End the connection by a TCP reset; unread data is lost."""
        assert self.connection is not None
        self._is_leaving = True
        self.connection.reset()
        self.gone()

    def gone(self) -> None:
        """Close the socket, and record how the connection ended."""
        assert self.connection is not None
        connection, is_live = self.connection, self.is_live
        connection.socket.close()
        self.connection = None
        if not self._is_leaving or self._error:
            positions = {feed.history.destination: feed.cursor.last for feed in self.feeds if feed.cursor is not None}
            now = time.monotonic()
            ending = Ending(self._node, self._opened, now, self._error, connection.close_code, is_live, positions)
            self.endings.append(ending)
            if self._error == HISTORY_LOST and self._random.random() < 0.5:
                for feed in self.feeds:  # like a page that loads its state anew
                    feed.forgets = True
        for feed in self.feeds:
            feed.is_live = feed.is_joining = False
        self._wait()

    # What the client gets.

    def readable(self) -> bool:
        """Read and handle what has arrived; return False if the connection has ended."""
        assert self.connection is not None
        self._now = time.monotonic()
        try:
            return self.connection.read()
        except OSError:
            return False

    def _take(self, frame: bytes) -> None:
        if frame.startswith(b"MESSAGE\n"):
            self._message(frame)
            return
        answer = decode(frame, TEXT, "1.2")
        if answer.command == "RECEIPT":
            self._receipt(answer.headers)
        elif answer.command == "ERROR":
            self._error = answer.headers["message"]
        elif answer.command != "CONNECTED":
            self._complain(f"unasked: {answer}")

    def _message(self, frame: bytes) -> None:
        message = delivery(frame)
        if message is None or not message.subscription.startswith(_NAME):
            self._complain(f"not a MESSAGE as it should be: {frame[:300]!r}")
            return
        feed = self.feeds[int(message.subscription.removeprefix(_NAME))]
        destination = feed.history.destination
        if feed.cursor is None or feed.is_joining:
            self._complain(f"a MESSAGE of {destination} before the RECEIPT")
            return
        if message.body != _body(destination, message.number):
            self._complain(f"{destination}: not the body that was published: {frame[:600]!r}")
        feed.take(message.message_id, message.number, self._node, self._now)

    def _receipt(self, headers: dict[str, str]) -> None:
        what, _, number = headers["receipt-id"].partition("-")
        if what == "bye":
            return
        feed = self.feeds[int(number)]
        if what == "left":
            assert self.connection is not None
            self.connection.send(self._subscribe(int(number), feed))
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

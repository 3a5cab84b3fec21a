"""A client that always comes back: it resumes after every end, on whichever node, and its runs are compared."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import ClassVar, Final, NamedTuple

from tests.chaos.feed import Feed
from tests.chaos.ledger import History, Hole, Id
from tests.integration.connection import StompConnection, delivery, login, subscription
from tests.integration.payloads import body
from tests.integration.wire import TEXT, decode, encode

HISTORY_LOST: Final = "history lost"
UNAVAILABLE: Final = "event source unavailable"
RESTARTING: Final = "server restarting"
#: What the ids of its subscriptions begin with; a number follows.
_NAME: Final = "sub-"
#: Seconds that connecting to a node may take.
_CONNECT_PATIENCE: Final = 10.0
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


class Client:
    """One client of several destinations.

    :ivar endings: of the connections that it did not end itself
    :ivar refusals: the resumes that were not possible
    :ivar recovered: the resumes that were
    :ivar wrong: what it saw and should not have
    :ivar connection: None while it has none
    :ivar due: when it wants to connect again
    :cvar _first_frames: what it sends before it subscribes to its destinations
    """

    _first_frames: ClassVar[Sequence[bytes]] = ()

    def __init__(self, ports: Sequence[int], histories: Sequence[History], random: Random) -> None:
        self.feeds = [Feed(history) for history in histories]
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
        """Whether all its subscriptions stand."""
        return self.connection is not None and all(feed.is_live for feed in self.feeds)

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
        self._opened = time.monotonic()
        self._error, self._is_leaving = "", False
        try:
            self.connection = StompConnection(
                self._ports[self._node], self._log_in, self._take, self._complain, _CONNECT_PATIENCE
            )
        except OSError:
            self._node = self._random.randrange(len(self._ports))
            self._wait()
            return False
        return True

    def _log_in(self) -> None:
        assert self.connection is not None
        subscribes = [self._subscribe(number, feed) for number, feed in enumerate(self.feeds)]
        self.connection.send(login("1.2"), *self._first_frames, *subscribes)

    def _wait(self) -> None:
        self.due = time.monotonic() + self._random.uniform(0.02, 0.5)

    def _subscribe(self, number: int, feed: Feed) -> bytes:
        feed.is_joining = True
        feed.asked = "" if feed.forgets else feed.last_id
        feed.forgets = False
        return subscription(f"{_NAME}{number}", feed.history.destination, f"live-{number}", feed.asked)

    def resubscribe(self) -> None:
        """Leave one destination and come back to it at once, on the same connection."""
        assert self.connection is not None
        number = self._random.randrange(len(self.feeds))
        feed = self.feeds[number]
        if feed.is_live:
            # Events come until it is carried out; the next SUBSCRIBE names the last of them.
            feed.is_live = False
            self.connection.send(encode("UNSUBSCRIBE", {"id": f"{_NAME}{number}", "receipt": f"left-{number}"}))

    def disconnect(self) -> None:
        """Ask for the end."""
        assert self.connection is not None
        self._is_leaving = True
        self.connection.send(encode("DISCONNECT", {"receipt": "bye"}))

    def vanish(self) -> None:
        """Go without a word, by a TCP reset; what was not read yet is lost."""
        assert self.connection is not None
        self._is_leaving = True
        self.connection.reset()
        self.gone()

    def gone(self) -> None:
        """Close the socket, and note how this ended."""
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
                for feed in self.feeds:  # as a page does that loads its state anew
                    feed.forgets = True
        for feed in self.feeds:
            feed.is_live = feed.is_joining = False
        self._wait()

    # What it gets.

    def readable(self) -> bool:
        """Take what has come; return False when the connection has ended."""
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

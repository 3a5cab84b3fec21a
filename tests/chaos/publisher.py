"""Publishes at a steady rate, whatever happens to Redis, and enters acknowledged events in the ledger."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from random import Random
from typing import ClassVar, Final, NamedTuple

import hiredis

from tests.chaos.background import Background
from tests.chaos.bodies import body_of
from tests.chaos.ledger import History, Id, Loss, read_id
from tests.sources.redis.server import Connection, RedisServer, Refused, Word

PREFIX: Final = "airyd:"
MAXLEN: Final = 10_000
#: The most events in a pipeline; after a pause several pipelines make up for the time.
BURST: Final = 8
#: Seconds to wait for a Redis that is stopped.
PATIENCE: Final = 60.0
_NUMBER: Final = re.compile(rb'"n":(\d+)\}')


def key_of(destination: str) -> str:
    """Return the name of a destination's stream."""
    return f"{PREFIX}{destination}"


def addition(destination: str, number: int) -> tuple[Word, ...]:
    """Return the command that publishes an event (docs/publishing.rst)."""
    return ("XADD", key_of(destination), "MAXLEN", "~", MAXLEN, "*", "payload", body_of(destination, number))


class _Sent(NamedTuple):
    """An event in flight: Redis may have added it or not."""

    history: History
    number: int


class Publisher:
    """A publisher in its own thread, with ``rate`` events per second in all histories together.

    Commands that destroy entries go through :meth:`destroy`, so that the ledger knows exactly which are lost.

    :cvar _excuses: the exceptions after which it tries again
    """

    _excuses: ClassVar[tuple[type[Exception], ...]] = (OSError,)

    def __init__(self, redis: RedisServer, histories: Sequence[History], rate: float, random: Random) -> None:
        self._redis = redis
        self._histories = histories
        self._rate = rate
        self._random = random
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._uncertain: list[_Sent] = []
        self._number = 0
        self._thread = Background("the publisher", self._run)
        self._ends = self._thread.ends

    def start(self) -> None:
        """Start publishing."""
        self._thread.start()

    def stop(self) -> None:
        """Stop publishing; enter the events in flight that Redis added."""
        self._thread.stop(PATIENCE)
        with self._lock:
            self._settle()
            self._hang_up()

    @property
    def noted(self) -> int:
        """How many events the ledger has."""
        return sum(len(history) for history in self._histories)

    def _run(self) -> None:
        begun = time.monotonic()
        sent = 0
        while not self._ends.is_set():
            due = int((time.monotonic() - begun) * self._rate) - sent
            if due < 1:
                self._ends.wait(self._random.uniform(0.2, 2) * BURST / self._rate)
                continue
            count = min(due, self._random.randint(1, BURST))
            sent += count
            with self._lock:
                self._publish(self._random.choice(self._histories), count)

    def _publish(self, history: History, count: int) -> None:
        try:
            self._settle()
            self._uncertain = self._next(history, count)
            replies = self._add([addition(history.destination, sent.number) for sent in self._uncertain])
        except self._excuses:
            self._hang_up()
            self._ends.wait(0.05)
            return
        self._note(replies)

    def _add(self, additions: Sequence[Sequence[Word]]) -> Sequence[object]:
        """Add events; return the replies."""
        assert self._connection is not None
        return self._connection.pipeline(additions)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _next(self, history: History, count: int) -> list[_Sent]:
        first = self._number
        self._number += count
        return [_Sent(history, number) for number in range(first, first + count)]

    def _note(self, replies: Sequence[object]) -> None:
        for sent, reply in zip(self._uncertain, replies, strict=True):
            if isinstance(reply, bytes):
                sent.history.add(read_id(reply.decode()), sent.number)
            elif not str(reply).startswith(("WRONGTYPE", "LOADING")):
                raise AssertionError(f"Redis refused an event: {reply}")
        self._uncertain = []

    def _settle(self) -> None:
        """Connect if necessary, and find out which events without acknowledgement Redis added.

        :raises OSError: Redis can't be reached
        """
        if self._connection is None:
            self._connection = self._redis.connect(PATIENCE)
        if not self._uncertain:
            return
        history = self._uncertain[0].history
        numbers = {sent.number for sent in self._uncertain}
        begin = "({}-{}".format(*history.ids[-1]) if history.ids else "-"
        try:
            entries = self._connection.call("XRANGE", key_of(history.destination), begin, "+")
        except Refused as refused:
            if str(refused).startswith("LOADING"):
                raise ConnectionError(str(refused)) from None
            entries = []  # the key is not a stream, so nothing was added
        for raw_id, fields in entries:
            found = _NUMBER.search(fields[1])
            if found and int(found[1]) in numbers:
                history.add(read_id(raw_id.decode()), int(found[1]))
        self._uncertain = []

    def destroy(self, commands: Sequence[Sequence[Word]], among: Sequence[History], *, unread: int, told: bool) -> None:
        """Carry out commands that destroy all entries of some histories, and record the losses.

        Redis must be reachable.

        :param unread: events per history that are added in the same transaction, so that no node can read them
        :param told: whether Redis' counters survive
        """
        with self._lock:
            self._settle()
            assert self._connection is not None
            self._uncertain = [sent for history in among for sent in self._next(history, unread)]
            additions = [addition(sent.history.destination, sent.number) for sent in self._uncertain]
            looks = [("XINFO", "STREAM", key_of(history.destination)) for history in among]
            replies = self._connection.transaction(*additions, *looks, *commands)
            self._note(replies[: len(additions)])
            now = time.monotonic()
            for history, info in zip(among, replies[len(additions) :], strict=False):
                if not isinstance(info, hiredis.ReplyError):  # else there is no stream
                    history.losses.append(Loss(_last(info), now, told))
            # A new stream within the same millisecond would have the same ids again.
            time.sleep(0.003)


def _last(info: Sequence[object]) -> Id:
    facts = dict(zip(info[::2], info[1::2], strict=True))
    last = facts[b"last-generated-id"]
    assert isinstance(last, bytes)
    return read_id(last.decode())

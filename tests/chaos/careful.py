"""The publisher for Sentinel, which waits for a replica, and the ledger that also has the lost events."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Final

from tests.chaos.ledger import Cursor, History, Id, read_id
from tests.chaos.publisher import Publisher, addition, key_of
from tests.integration.payloads import number_of
from tests.sources.redis.cluster import Cluster, replication
from tests.sources.redis.server import Connection, Refused, Word

#: Seconds to wait for a master, and milliseconds to wait for a replica.
PATIENCE: Final = 2.0
WAIT: Final = 1000
#: A key that is written to find out, by WAIT, whether a replica has all earlier writes.
_MARK: Final = "airyd-chaos"


class UnsureHistory(History):
    """All events that a replica had for certain, and those that were lost with a master.

    :ivar doomed: the numbers of events that a master took and its successor lacks; clients may have got them
    """

    def __init__(self, destination: str) -> None:
        super().__init__(destination)
        self.doomed: set[int] = set()

    def follow(self, wire_id: str, when: float) -> UnsureCursor:
        """Return a cursor that checks a run."""
        return UnsureCursor(self, self.read(wire_id))


class UnsureCursor(Cursor):
    """Checks one run: after an event that was lost with its master, a notice must come before any other event.

    :ivar doomed: ids and times of the lost events that the client got
    """

    def __init__(self, history: UnsureHistory, position: Id) -> None:
        super().__init__(history, position)
        self.doomed: list[tuple[Id, float]] = []
        self._unsure = history

    def check(self) -> None:
        """See ``Cursor``."""
        known: deque[tuple[Id, int, float]] = deque()
        while self._came:
            event_id, number, when = self._came.popleft()
            if number in self._unsure.doomed:
                self.doomed.append((event_id, when))
            else:
                untold = [lost for lost, came in self.doomed if came < when and not self._is_told(came, when)]
                if untold:
                    self._fault(f"{event_id} (number {number}) after {untold[0]}, which was lost, and not told")
                known.append((event_id, number, when))
        self._came = known
        super().check()

    def _is_told(self, since: float, until: float) -> bool:
        return any(since <= when <= until for when in self._told)


class CarefulPublisher(Publisher):
    """Publishes to the current master, and enters an event in the ledger when a replica has it."""

    _excuses = (OSError, Refused)

    def __init__(self, cluster: Cluster, histories: Sequence[UnsureHistory], rate: float, random: Random) -> None:
        super().__init__(cluster.servers[0], histories, rate, random)
        self._cluster = cluster

    def _add(self, additions: Sequence[Sequence[Word]]) -> Sequence[object]:
        *replies, count = super()._add([*additions, ("WAIT", 1, WAIT)])
        if not isinstance(count, int) or count < 1:
            raise ConnectionError("no replica has it")
        return replies

    def _settle(self) -> None:
        """Connect to the master if necessary; enter those of the uncertain events that it has.

        :raises OSError: there is no master, or no replica that follows it
        """
        if self._connection is None:
            self._connection = self._master()
        if not self._uncertain:
            return
        history = self._uncertain[0].history
        assert isinstance(history, UnsureHistory)
        begin = "({}-{}".format(*history.ids[-1]) if history.ids else "-"
        entries = self._connection.call("XRANGE", key_of(history.destination), begin, "+")
        self._connection.call("SET", _MARK, "")
        if self._connection.call("WAIT", 1, WAIT) < 1:
            raise ConnectionError("no replica has it")
        lacking = {sent.number for sent in self._uncertain}
        for raw_id, fields in entries:
            number = number_of(fields[1])
            if number in lacking:
                lacking.discard(number)
                history.add(read_id(raw_id.decode()), number)
        history.doomed |= lacking
        self._uncertain = []

    def _master(self) -> Connection:
        master = self._cluster.master
        connection = master.connect(PATIENCE)
        if "role:master" not in replication(master):
            connection.close()
            raise ConnectionError("no master")
        return connection

    def doom(self, count: int) -> None:
        """Publish events that no replica gets: the caller has cut the replicas off, and kills the master next."""
        assert self._connection is not None
        for history in self._histories:
            assert isinstance(history, UnsureHistory)
            sent = self._next(history, count)
            history.doomed |= {each.number for each in sent}
            self._connection.pipeline([addition(history.destination, each.number) for each in sent])

    def alone(self) -> threading.Lock:
        """Return the lock that stops this publisher."""
        return self._lock

    def settle_now(self) -> None:
        """Find out about all uncertain events; the caller must hold the lock."""
        while True:
            try:
                self._settle()
            except (OSError, Refused):
                self._hang_up()
                self._ends.wait(0.05)
            else:
                return

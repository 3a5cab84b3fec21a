"""The verdict on a run: compares what clients got and nodes reported with what happened."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.client import HISTORY_LOST, LOGIN_UNAVAILABLE, RESTARTING, UNAVAILABLE, Client, Ending, Refusal
from tests.chaos.ledger import History, Hole, Id
from tests.chaos.listener import Listener
from tests.chaos.nodes import Life
from tests.chaos.publisher import MAXLEN
from tests.chaos.stage import Stage

#: Seconds within which a gap must be reported, not counting outages.
GAP_PATIENCE: Final = 5.0
#: The most seconds until a node has reconnected: the time-out of a reply, and then the pause before the next attempt.
AFTER_OUTAGE: Final = 12.0


#: A pattern for the fault of a lost event. If it was the last of its destination, no later event shows the hole, and
#: the client never catches up.
A_LOSS: Final = r"missing, and |\b[1-9][0-9]* events of the ledger did not come"


@dataclass
class Verdict:
    """The counts of a run, and its faults.

    :ivar events: events in the ledger
    :ivar checked: deliveries that were compared with the ledger
    :ivar endings: ends of connections, by reason
    :ivar recovered: resumes with ``recovered:true``
    :ivar refused: resumes that rightly got ``recovered:false``
    :ivar missed: connections that were closed for a gap in which their client missed events
    :ivar told: notices of gaps that listeners got
    :ivar late: holes for which a client was closed only after it had got later events
    :ivar along: connections that were closed with those in ``missed``, although their clients had missed nothing
    :ivar unprovable: connections that were closed because DEL, FLUSHALL or SET left no proof that nothing was missed
    :ivar slowest_gap: the most seconds from a loss to the close of a connection in ``missed``, without outages
    :ivar faults: the faults, one line each
    """

    events: int = 0
    checked: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    recovered: int = 0
    refused: int = 0
    missed: int = 0
    told: int = 0
    late: int = 0
    along: int = 0
    unprovable: int = 0
    slowest_gap: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        endings = ", ".join(f"{count} {reason}" for reason, count in sorted(self.endings.items())) or "none"
        return (
            f"{self.events} events, {self.checked} deliveries compared; ends: {endings}; resumes: {self.recovered} "
            f"recovered, {self.refused} rightly not; closed for a gap: {self.missed} who missed events (the slowest "
            f"after {self.slowest_gap:.1f} s; {self.late} got later events before that), {self.along} along with "
            f"them, {self.unprovable} where nobody can know; listeners were told of {self.told} gaps; "
            f"{len(self.faults)} faults"
        )


class BaseJudge(ABC):
    """Judges every node and client after the stage is closed; subclasses know what is right for each kind of feed."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def verdict(self) -> Verdict:
        """Return the verdict."""
        found = Verdict(events=sum(map(len, self._stage.histories)), faults=list(self._stage.unlevel))
        for number, node in enumerate(self._stage.nodes):
            found.faults += [f"node {number}: {complaint}" for complaint in node.complaints]
        for number, client in enumerate(self._stage.crowd.clients):
            faults = client.faults
            found.checked += client.checked
            found.recovered += client.recovered
            self._add_client(found, client, faults)
            for refusal in client.refusals:
                if self._is_right(refusal):
                    found.refused += 1
                else:
                    faults.append(f"recovered:false, but all was there: {refusal}")
            for ending in client.endings:
                found.endings[ending.error or ("closed" if ending.code else "cut off")] += 1
                if not (self._add_gap(found, client, ending, faults) or self._is_expected(client, ending)):
                    faults.append(f"an end without a reason: {ending}")
            found.faults += [f"client {number}: {fault}" for fault in faults]
        return found

    @abstractmethod
    def _add_client(self, found: Verdict, client: Client, faults: list[str]) -> None:
        """Add the events that a client missed."""

    @abstractmethod
    def _is_right(self, refusal: Refusal) -> bool:
        """Return whether ``recovered:false`` was right."""

    @abstractmethod
    def _add_gap(self, found: Verdict, client: Client, ending: Ending, faults: list[str]) -> bool:
        """Add an end if a gap caused it; return whether one did."""

    def _is_expected(self, client: Client, ending: Ending) -> bool:
        if ending.error == UNAVAILABLE:
            # A listener learns while it is live that its key is not a stream any more.
            return self._in_outage(ending.when) and (isinstance(client, Listener) or not ending.was_live)
        if ending.error == LOGIN_UNAVAILABLE:  # a node that has just started has not read the revocations yet
            begun = [life.begin for life in self._stage.nodes[ending.node].lives]
            is_new = any(begin <= ending.when <= begin + GAP_PATIENCE * self._stage.slack for begin in begun)
            return is_new or self._in_outage(ending.when)
        if ending.error in ("", RESTARTING):
            lives = self._stage.nodes[ending.node].lives
            soon = ending.when + 10 * self._stage.slack
            return any(life.begin <= ending.when and ending.opened <= life.end <= soon for life in lives)
        return False

    def _in_outage(self, when: float) -> bool:
        return any(begin <= when <= end + AFTER_OUTAGE * self._stage.slack for begin, end in self._stage.outages)


class Judge(BaseJudge):
    """The judge of Redis Streams."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._histories = {history.destination: history for history in stage.histories}
        self._real: list[tuple[int, float]] = []
        self._needless: list[Ending] = []

    def verdict(self) -> Verdict:
        """Return the verdict."""
        found = super().verdict()
        for number, node in enumerate(self._stage.nodes):
            for life in node.lives:
                found.faults += [f"node {number}: {fault}" for fault in self._needless_gaps(life)]
        for ending in self._needless:
            # A node reports a gap to all subscribers, including those that joined after the loss.
            if any(ending.node == node and abs(ending.when - when) < self._stage.slack for node, when in self._real):
                found.along += 1
            else:
                found.faults.append(f"history lost, but nothing was missed: {ending}")
        return found

    def _add_client(self, found: Verdict, client: Client, faults: list[str]) -> None:
        for hole in client.holes:
            self._add_hole(found, hole, client, faults)
        if isinstance(client, Listener):
            found.told += len(client.told)
            faults += client.closes
            faults += [f"a gap that is none: {told}" for told in client.told if not told.is_right]

    def _is_right(self, refusal: Refusal) -> bool:
        history = self._histories[refusal.destination]
        if any(refusal.position <= loss.upto for loss in history.losses_until(refusal.when)):
            return True
        if len(history) - history.after(refusal.position) > MAXLEN * 0.9:  # trimmed
            return True
        return self._in_outage(refusal.when)  # the key was not a stream

    def _add_gap(self, found: Verdict, client: Client, ending: Ending, faults: list[str]) -> bool:
        """Add a close for a gap to a count, by whether the client missed something."""
        if ending.error != HISTORY_LOST:
            return False
        lost = [hole.first for hole in client.holes if ending.opened <= hole.when <= ending.when]
        for destination, position in ending.positions.items():
            (history,) = [feed.history for feed in client.feeds if feed.history.destination == destination]
            if history.missed(position, history.losses_until(ending.when)):
                lost.append(history.ids[history.after(position)])
        if lost:
            found.missed += 1
            self._real.append((ending.node, ending.when))
            begin = max(self._loss_of(min(lost)), ending.opened)
            delay = ending.when - begin - self._outage_between(begin, ending.when)
            found.slowest_gap = max(found.slowest_gap, delay)
            if delay > GAP_PATIENCE * self._stage.slack:
                faults.append(f"a gap said {delay:.1f} seconds late: {ending}")
        elif any(self._is_unprovable(self._histories[destination], ending) for destination in ending.positions):
            found.unprovable += 1
        else:
            self._needless.append(ending)
        return True

    def _loss_of(self, event_id: Id) -> float:
        """Return when an event was destroyed."""
        return min(loss.when for history in self._stage.histories for loss in history.losses if event_id <= loss.upto)

    def _add_hole(self, found: Verdict, hole: Hole, client: Client, faults: list[str]) -> None:
        """Add a hole to the verdict, by whether the client heard of it."""
        history = self._histories[hole.destination]
        if not any(hole.last <= loss.upto for loss in history.losses_until(hole.when)):
            faults.append(f"missing, and still there: {hole}")
        elif isinstance(client, Listener) and client.is_told(hole):
            pass
        elif any(e.error == HISTORY_LOST and e.opened <= hole.when <= e.when for e in client.endings):
            found.late += 1
        else:
            faults.append(f"missing, and never told: {hole}")

    def _is_unprovable(self, history: History, ending: Ending) -> bool:
        return any(
            ending.when - loss.when - self._outage_between(loss.when, ending.when) < GAP_PATIENCE * self._stage.slack
            for loss in history.losses_until(ending.when)
            if not loss.is_told
        )

    def _needless_gaps(self, life: Life) -> list[str]:
        """Return a fault for each destination with more gaps in the node's log than losses."""
        faults = []
        for destination, count in Counter(gap.destination for gap in life.gaps).items():
            history = self._histories[destination]
            losses = [loss for loss in history.losses if life.begin - 1 < loss.when < life.end]
            if count > len(losses):
                reasons = [gap.reason for gap in life.gaps if gap.destination == destination]
                faults.append(f"{destination}: {count} gaps, but {len(losses)} losses: {reasons}")
        return faults

    def _outage_between(self, begin: float, end: float) -> float:
        """Return how many seconds from ``begin`` to ``end`` were outages or the reconnects after them."""
        covered, reached = 0.0, begin
        for start, stop in sorted(self._stage.outages):
            until = min(stop + AFTER_OUTAGE * self._stage.slack, end)
            since = max(start, reached)
            if until > since:
                covered += until - since
                reached = until
        return covered

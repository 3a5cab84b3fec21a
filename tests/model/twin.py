"""The memory feed's twin: an event source that answers each call when, and as late as, the test says."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from airyd.errors import SourceUnavailable
from airyd.events import Event, HistoryPage
from airyd.interfaces import IEventSink, IHistorySource

EPOCH: Final = 1000
_UNKNOWN: Final = HistoryPage((), complete=False, more=False)


class Prompt(NamedTuple):
    """What the twin does at once, as the memory feed does; the rest waits for the test."""

    watch: bool = False
    replay: bool = False
    publish: bool = False
    feed: bool = False


@dataclass(eq=False)
class Watch:
    """A watch that was not answered yet.

    :ivar floor: how many events the sink had been given when it was asked for
    """

    destination: str
    floor: int
    after_gap: bool
    answer: Deferred[str] = field(default_factory=Deferred)


@dataclass(eq=False)
class Reading:
    """A replay that was not answered yet.

    :ivar page: what it will say; None until the history was looked at
    """

    destination: str
    after: str
    limit: int
    page: HistoryPage | None = None
    answer: Deferred[HistoryPage] = field(default_factory=Deferred)


@dataclass(eq=False)
class Publishing:
    """A publish that was not answered yet.

    :ivar event: what it became; None until the feed took it
    """

    destination: str
    body: bytes
    event: Event | None = None
    answer: Deferred[str] = field(default_factory=Deferred)


def event_id(number: int) -> str:
    """Return the id of a destination's n-th event, from 1 on; 0 is the position before it."""
    return f"{EPOCH}-{number}"


@implementer(IHistorySource)
class Twin:
    """A feed and its history, each on a connection of its own: neither waits for the other.

    :param kept: events that the history keeps of each destination
    :ivar ledger: all events of each destination since ever
    :ivar gone: how many of them have left the history
    :ivar cursor: how many of them the sink was given, or must not be given
    :ivar begun: where the cursor was when the watch began
    :ivar refused: destinations and ids after which a page was incomplete
    """

    def __init__(self, kept: int, prompt: Prompt = Prompt()) -> None:  # noqa: B008  # it can't be changed
        self.kept = kept
        self.prompt = prompt
        self.ledger: dict[str, list[Event]] = defaultdict(list)
        self.gone: Counter[str] = Counter()
        self.cursor: Counter[str] = Counter()
        self.begun: Counter[str] = Counter()
        self.watched: set[str] = set()
        self.watches: list[Watch] = []
        self.readings: list[Reading] = []
        self.publishings: list[Publishing] = []
        self.failures = 0
        self.missed = 0
        self.refused: set[tuple[str, str]] = set()
        self.delivered: Counter[str] = Counter()
        self._sink: IEventSink | None = None

    # The interface.

    def start(self, sink: IEventSink) -> Deferred[None]:
        """Begin (``IEventSource``)."""
        self._sink = sink
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """End (``IEventSource``)."""
        return succeed(None)

    def health(self) -> Sequence[str]:
        """Say nothing (``IEventSource``)."""
        return ()

    def order(self, destination: str, event_id: str) -> tuple[int, ...]:
        """Return epoch and number (``IEventSource``)."""
        epoch, number = event_id.split("-")
        return int(epoch), int(number)

    def extend(self, destinations: Sequence[str]) -> None:
        """See ``IEventSource``."""

    def watch(self, destination: str, after_gap: bool = False) -> Deferred[str]:
        """Begin to answer (``IEventSource``)."""
        assert destination not in self.watched, "watched twice"
        assert not any(watch.destination == destination for watch in self.watches), "watched twice"
        watch = Watch(destination, self.cursor[destination], after_gap)
        self.watches.append(watch)
        if self.prompt.watch:
            self.answer_watch(watch)
        return watch.answer

    def unwatch(self, destination: str) -> None:
        """End a watch (``IEventSource``); what is under way may still come."""
        assert destination in self.watched, "unwatched what is not watched"
        self.watched.discard(destination)

    def keeps_history(self, destination: str) -> bool:
        """See ``IHistorySource``."""
        return True

    def replay(self, destination: str, after: str, limit: int) -> Deferred[HistoryPage]:
        """Begin to read (``IEventSource``)."""
        assert limit > 0
        reading = Reading(destination, after, limit)
        self.readings.append(reading)
        if self.prompt.replay:
            self.answer_reading(reading)
        return reading.answer

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """Begin to take an event (``IEventSource``)."""
        publishing = Publishing(destination, body)
        self.publishings.append(publishing)
        if self.prompt.publish:
            self.answer_publishing(publishing)
        return publishing.answer

    # What the test does.

    def append(self, destination: str, body: bytes) -> Event:
        """Let the feed take an event, from wherever it came."""
        ledger = self.ledger[destination]
        event = Event(destination, event_id(len(ledger) + 1), body)
        ledger.append(event)
        self.evict(destination, len(ledger) - self.kept)
        if self.prompt.feed and destination in self.watched:
            self.feed({destination: len(ledger)})
        return event

    def evict(self, destination: str, until: int) -> None:
        """Let the oldest events, as far as this number, leave the history."""
        self.gone[destination] = max(self.gone[destination], min(until, len(self.ledger[destination])))

    def answer_watch(self, watch: Watch, lag: int = 0, fails: bool = False) -> None:
        """Answer with the position that lies so many events behind the newest."""
        self.watches.remove(watch)
        if fails:
            self.failures += 1
            watch.answer.errback(SourceUnavailable("the twin is unreachable"))
            return
        position = max(len(self.ledger[watch.destination]) - lag, watch.floor)
        self.watched.add(watch.destination)
        self.cursor[watch.destination] = self.begun[watch.destination] = position
        watch.answer.callback(event_id(position))

    def look(self, reading: Reading) -> None:
        """Make a page of what the history holds now; it is answered later."""
        if reading.page is not None:
            return
        ledger = self.ledger[reading.destination]
        reading.page = _UNKNOWN
        epoch, dash, digits = reading.after.partition("-")
        if dash and epoch == str(EPOCH) and digits.isdigit():
            number = int(digits)
            if self.gone[reading.destination] <= number <= len(ledger):
                end = number + reading.limit
                reading.page = HistoryPage(tuple(ledger[number:end]), complete=True, more=end < len(ledger))
                return
        self.refused.add((reading.destination, reading.after))

    def answer_reading(self, reading: Reading, fails: bool = False) -> None:
        """Answer with the page, made now if it was not before."""
        self.look(reading)
        self.readings.remove(reading)
        if fails:
            self.failures += 1
            reading.answer.errback(SourceUnavailable("the twin is unreachable"))
        elif reading.page is not None:
            reading.answer.callback(reading.page)

    def take(self, publishing: Publishing) -> None:
        """Take an event, after those of its destination that came before it; it is answered later."""
        for each in self.publishings[: self.publishings.index(publishing) + 1]:
            if each.destination == publishing.destination and each.event is None:
                each.event = self.append(each.destination, each.body)

    def answer_publishing(self, publishing: Publishing, fails: bool = False) -> None:
        """Answer with the event's id, or fail: whether it was taken or not."""
        if not fails:
            self.take(publishing)
        self.publishings.remove(publishing)
        if publishing.event is None:
            publishing.answer.errback(SourceUnavailable("the twin is unreachable"))
        else:
            publishing.answer.callback(publishing.event.id)

    def waiting(self, destination: str) -> int:
        """Return how many events the sink was not given yet."""
        return len(self.ledger[destination]) - self.cursor[destination]

    def feed(self, counts: dict[str, int]) -> None:
        """Give the sink a batch of at most so many events of each destination, one of each in turn."""
        runs = []
        for destination, count in counts.items():
            start = self.cursor[destination]
            run = self.ledger[destination][start : start + count]
            self.cursor[destination] += len(run)
            self.delivered[destination] += len(run)
            runs.append(run)
        batch = [event for turn in zip_longest(*runs) for event in turn if event is not None]
        if batch:
            assert self._sink is not None
            self._sink.deliver(batch)

    def miss(self, destination: str, count: int) -> None:
        """Lose events on their way to the sink, and say so."""
        assert self._sink is not None
        self.missed += 1
        self.cursor[destination] += min(count, self.waiting(destination))
        self._sink.gap([destination], "the twin lost some")

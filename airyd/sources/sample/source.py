"""The event source of ``sample:`` URLs: a memory feed with a player that publishes to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from airyd.events import EVENTS, Event, HistoryPage, InvalidEntry
from airyd.interfaces import IBrowsableSource, IEventSink, IHistorySource, SourceContext
from airyd.sources.memory import MemorySource, memory_source
from airyd.sources.sample.conversations import ConversationPlayer, Conversations
from airyd.sources.sample.playback import RecordingPlayer, read_recording
from airyd.sources.url_query import Query


class Player(Protocol):
    """Publishes events after it is started."""

    def start(self, publish: Callable[[str, bytes], object]) -> None:
        """Start; called at most once. The first event is published after this returns.

        :param publish: called with a destination and a body; never fails while the memory feed runs
        """
        ...

    def stop(self) -> None:
        """Stop publishing; may be called before :meth:`start`."""
        ...


@implementer(IBrowsableSource, IHistorySource)
class SampleSource:
    """A memory feed with a player, which starts at the first watch of any destination.

    Clients may publish to the same feed.
    """

    def __init__(self, feed: MemorySource, player: Player) -> None:
        self._feed = feed
        self._player = player
        self._playing = False

    def start(self, sink: IEventSink) -> Deferred[None]:
        """Start the feed (``IEventSource``); the player waits for the first watch."""
        return self._feed.start(sink)

    def stop(self) -> Deferred[None]:
        """Stop the player and the feed (``IEventSource``)."""
        self._player.stop()
        return self._feed.stop()

    def extend(self, destinations: Sequence[str]) -> None:
        """Add destinations to the feed (``IEventSource``); the player does not publish on them."""
        self._feed.extend(destinations)

    def watch(self, destination: str, after_gap: bool = False) -> Deferred[str]:
        """Deliver this destination's events from now on (``IEventSource``)."""
        watched = self._feed.watch(destination, after_gap)
        if not self._playing:
            self._playing = True
            self._player.start(self._feed.publish)
        return watched

    def unwatch(self, destination: str) -> None:
        """Stop delivering this destination's events (``IEventSource``); the player continues."""
        self._feed.unwatch(destination)

    def replay(self, destination: str, after: str, limit: int) -> Deferred[HistoryPage]:
        """Read a page of history (``IEventSource``)."""
        return self._feed.replay(destination, after, limit)

    def keeps_history(self, destination: str) -> bool:
        """Return whether past events are kept (``IHistorySource``)."""
        return self._feed.keeps_history(destination)

    def newest(self, destination: str, limit: int) -> Deferred[Sequence[Event]]:
        """Read the newest events (``IBrowsableSource``)."""
        return self._feed.newest(destination, limit)

    def find(self, destination: str, event_id: str) -> Deferred[Event | InvalidEntry | None]:
        """Find an event (``IBrowsableSource``)."""
        return self._feed.find(destination, event_id)

    def order(self, destination: str, event_id: str) -> tuple[int, ...]:
        """Return the key that orders ids (``IEventSource``)."""
        return self._feed.order(destination, event_id)

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """Publish an event (``IEventSource``)."""
        return self._feed.publish(destination, body)

    def health(self) -> Sequence[str]:
        """Return what is wrong (``IEventSource``)."""
        return self._feed.health()


def parse(url: str, context: SourceContext) -> SampleSource:
    """Return the source of a URL ``sample:[?rate=R&seed=S]`` or ``sample:?file=PATH[&loop=1]``.

    Both also take the parameters of ``memory:``. A file is read at once, so that its errors are reported
    before airyd listens.

    Errors: ``ConfigurationError``.
    """
    clock = IReactorTime(context.reactor)
    query = Query(url)
    feed = memory_source(query, context)
    path = query.text("file")
    player: Player
    if path is None:
        rate = query.number("rate", 2.0, 0.001, 10_000)
        seed = query.integer("seed", 1, -(1 << 63), (1 << 63) - 1)
        query.finish({"loop": "sample:?file=PATH"})
        player = ConversationPlayer(
            Conversations(seed, context.wall), rate, clock, with_events=EVENTS in context.destinations
        )
    else:
        loop = query.flag("loop")
        query.finish(dict.fromkeys(("rate", "seed"), "sample: without file"))
        player = RecordingPlayer(read_recording(path, context.destinations, context.body_limit), loop, clock)
    return SampleSource(feed, player)

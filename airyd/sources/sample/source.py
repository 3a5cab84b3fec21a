"""The sample source: a feed that plays by itself, on top of the memory feed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from airyd.events import EVENTS, Replay
from airyd.interfaces import IEventSink, IEventSource, SourceContext
from airyd.sources.memory import MemorySource, memory_source
from airyd.sources.sample.conversations import ConversationPlayer, Conversations
from airyd.sources.sample.playback import RecordingPlayer, read_recording
from airyd.sources.url_query import Query


class Player(Protocol):
    """Something that publishes by itself once it was started."""

    def start(self, publish: Callable[[str, bytes], object]) -> None:
        """Begin; called at most once, and nothing is published before it has returned.

        :param publish: takes a destination and a body; a running memory feed takes everything
        """
        ...

    def stop(self) -> None:
        """End: nothing is published any more; may be called when it was never started."""
        ...


@implementer(IEventSource)
class SampleSource:
    """A memory feed with a player, which starts at the first watch of any destination.

    What others publish mixes with what the player does.
    """

    def __init__(self, feed: MemorySource, player: Player) -> None:
        self._feed = feed
        self._player = player
        self._playing = False

    def start(self, sink: IEventSink) -> Deferred[None]:
        """Begin (``IEventSource``); the player waits for the first watch."""
        return self._feed.start(sink)

    def stop(self) -> Deferred[None]:
        """End (``IEventSource``), and the player with it."""
        self._player.stop()
        return self._feed.stop()

    def extend(self, destinations: Sequence[str]) -> None:
        """Let the feed have more destinations (``IEventSource``); the player plays what it has."""
        self._feed.extend(destinations)

    def watch(self, destination: str, after_gap: bool = False) -> Deferred[str]:
        """Deliver this destination's events from now on (``IEventSource``)."""
        watched = self._feed.watch(destination, after_gap)
        if not self._playing:
            self._playing = True
            self._player.start(self._feed.publish)
        return watched

    def unwatch(self, destination: str) -> None:
        """Deliver nothing more of this destination (``IEventSource``); the player plays on."""
        self._feed.unwatch(destination)

    def replay(self, destination: str, after: str, limit: int) -> Deferred[Replay]:
        """Read a page of history (``IEventSource``)."""
        return self._feed.replay(destination, after, limit)

    def order(self, destination: str, event_id: str) -> tuple[int, ...]:
        """Return the key that orders ids (``IEventSource``)."""
        return self._feed.order(destination, event_id)

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """Add an event to what the player publishes (``IEventSource``)."""
        return self._feed.publish(destination, body)

    def health(self) -> Sequence[str]:
        """Say what is wrong (``IEventSource``)."""
        return self._feed.health()


def parse(url: str, context: SourceContext) -> SampleSource:
    """Return the source of a URL ``sample:[?rate=R&seed=S]`` or ``sample:?file=PATH[&loop=1]``.

    Both take the parameters of ``memory:``, too. A file is read at once, so that a fault in it is
    said before anything listens.

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

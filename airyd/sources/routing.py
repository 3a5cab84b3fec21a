"""Several sources as one: each has its own destinations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import implementer

from airyd.events import Replay
from airyd.interfaces import IEventSink, IEventSource, SourceContext
from airyd.sources import make_source
from airyd.sources.shares import share_out


class Part(NamedTuple):
    """A source, and what it has.

    :ivar name: the patterns of its destinations; empty if it has everything
    :ivar destinations: grows with the catalogue (:func:`share_more`)
    """

    name: str
    destinations: list[str]
    source: IEventSource


@implementer(IEventSource)
class SeveralSources:
    """Sends each call to the source that has the destination; all of them deliver to one sink.

    :param parts: no destination may be in two of them
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._sources = {name: part.source for part in parts for name in part.destinations}
        self._failed: list[Part] = []

    def start(self, sink: IEventSink) -> Deferred[None]:
        """Begin (``IEventSource``): fires when all were reached.

        One that can't be started fails this, and is in :meth:`health`; the others go on.
        """
        starting = [maybeDeferred(part.source.start, sink).addErrback(self._take_down, part) for part in self._parts]
        return gatherResults(starting, consumeErrors=True).addCallbacks(lambda _: None, _first_error)

    def _take_down(self, failure: Failure, part: Part) -> Failure:
        self._failed.append(part)
        return failure

    def stop(self) -> Deferred[None]:
        """End all (``IEventSource``), also if one of them can't be ended."""
        stopping = [maybeDeferred(part.source.stop) for part in self._parts]
        return DeferredList(stopping, consumeErrors=True).addCallback(_raise_first)

    def extend(self, destinations: Sequence[str]) -> None:
        """Let each source have those that are in its part by now (``IEventSource``)."""
        for part in self._parts:
            mine = [name for name in destinations if name in part.destinations]
            if mine:
                self._sources.update(dict.fromkeys(mine, part.source))
                part.source.extend(mine)

    def watch(self, destination: str) -> Deferred[str]:
        """Deliver this destination's events from now on (``IEventSource``)."""
        position: Deferred[str] = self._sources[destination].watch(destination)
        return position

    def unwatch(self, destination: str) -> None:
        """Deliver nothing more of this destination (``IEventSource``)."""
        self._sources[destination].unwatch(destination)

    def replay(self, destination: str, after: str, limit: int) -> Deferred[Replay]:
        """Read a page of history (``IEventSource``)."""
        page: Deferred[Replay] = self._sources[destination].replay(destination, after, limit)
        return page

    def order(self, destination: str, event_id: str) -> tuple[int, ...]:
        """Return the key that orders a destination's ids (``IEventSource``)."""
        key: tuple[int, ...] = self._sources[destination].order(destination, event_id)
        return key

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """Add an event (``IEventSource``)."""
        event_id: Deferred[str] = self._sources[destination].publish(destination, body)
        return event_id

    def health(self) -> Sequence[str]:
        """Say what is wrong, and with which destinations (``IEventSource``)."""
        troubles = [(part, trouble) for part in self._parts for trouble in part.source.health()]
        troubles += [(part, "it could not be started") for part in self._failed]
        return [f"{part.name}: {trouble}" for part, trouble in troubles]


def make_parts(urls: Sequence[str], context: SourceContext) -> list[Part]:
    """Return the sources that the URLs name, each with its part of the catalogue; nothing is opened yet.

    Errors: ``ConfigurationError`` whose text shows no password.
    """
    return [
        Part(
            share.name,
            list(share.destinations),
            make_source(share.url, context._replace(destinations=share.destinations)),
        )
        for share in share_out(urls, context.destinations)
    ]


def share_more(parts: Sequence[Part], urls: Sequence[str], catalogue: Sequence[str]) -> None:
    """Share a catalogue that has grown among the parts that were made of these URLs.

    Errors: ``ConfigurationError`` if that can't be; then nothing has changed.
    """
    for part, share in zip(parts, share_out(urls, catalogue), strict=True):
        part.destinations[:] = share.destinations


def combine(parts: Sequence[Part]) -> IEventSource:
    """Return all as one source."""
    return parts[0].source if len(parts) == 1 else SeveralSources(parts)


def _first_error(failure: Failure) -> Failure:
    return failure.value.subFailure if isinstance(failure.value, FirstError) else failure


def _raise_first(results: Sequence[tuple[bool, object]]) -> None:
    for _, result in results:
        if isinstance(result, Failure):
            result.raiseException()

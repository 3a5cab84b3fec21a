"""Several sources as one: ``?destinations=`` in their URLs says which of them has which destinations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote

from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import implementer

from airyd.errors import ConfigurationError
from airyd.events import Replay
from airyd.interfaces import IEventSink, IEventSource, SourceContext
from airyd.patterns import Pattern
from airyd.sources import make_source

#: The parameter of a URL that no source gets to see: patterns, with commas between them.
PARAMETER: Final = "destinations"


class Assignment(NamedTuple):
    """The part of the catalogue that a source has.

    :ivar url: of the source, without the patterns
    :ivar patterns: as they were given; empty if the source has everything
    """

    url: str
    patterns: str
    destinations: Sequence[str]


def assign_destinations(urls: Sequence[str], catalogue: Sequence[str]) -> list[Assignment]:
    """Return what each source has, so that each destination of the catalogue is in one and no other.

    Raises ``ConfigurationError``, whose text shows nothing of a URL but its scheme and its patterns.
    """
    assigned = [_assign(url, catalogue, is_alone=len(urls) == 1) for url in urls]
    for destination in catalogue:
        owners = [each.patterns for each in assigned if destination in each.destinations]
        if not owners:
            raise ConfigurationError(f"--source: no source has {destination}: add it to the {PARAMETER}= of one")
        if len(owners) > 1:
            both = f" and {PARAMETER}=".join(owners)
            raise ConfigurationError(f"--source: {destination} is in {PARAMETER}={both}: only one source can have it")
    return assigned


def _assign(url: str, catalogue: Sequence[str], is_alone: bool) -> Assignment:
    scheme = url.partition(":")[0]
    rest, names = _split_patterns(url)
    if len(names) > 1:
        raise ConfigurationError(f"--source {scheme}: parameter {PARAMETER!r} is given twice")
    if not names:
        if is_alone:
            return Assignment(url, "", catalogue)
        raise ConfigurationError(
            f"--source {scheme}: where there are several sources, each says what it has, as in ?{PARAMETER}=/queue/*"
        )
    found: dict[str, None] = {}
    for text in names[0].split(","):
        try:
            pattern = Pattern(text)
        except ValueError as error:
            raise ConfigurationError(f"--source {scheme}: {PARAMETER}: {error}") from None
        matching = [destination for destination in catalogue if pattern.matches(destination)]
        if not matching:
            raise ConfigurationError(
                f"--source {scheme}: {PARAMETER}={text} is nothing of the catalogue; there are: {', '.join(catalogue)}"
            )
        found.update(dict.fromkeys(matching))
    return Assignment(rest, names[0], tuple(found))


def without_patterns(url: str) -> str:
    """Return a source's URL as the source itself gets to see it."""
    return _split_patterns(url)[0]


def _split_patterns(url: str) -> tuple[str, list[str]]:
    """Return the URL without the parameter, and the parameter's values."""
    address, mark, query = url.partition("?")
    parts = query.split("&") if mark else []
    patterns = [part for part in parts if _has_patterns(part)]
    others = [part for part in parts if part not in patterns]
    rest = "&".join(others)
    return f"{address}?{rest}" if others else address, [unquote(part.partition("=")[2]) for part in patterns]


def _has_patterns(part: str) -> bool:
    name, equals, _ = part.partition("=")
    return bool(equals) and unquote(name) == PARAMETER


class Route(NamedTuple):
    """A source and its destinations.

    :ivar patterns: of its destinations; empty if it has everything
    :ivar destinations: grows with the catalogue (:func:`extend_routes`)
    """

    patterns: str
    destinations: list[str]
    source: IEventSource


@implementer(IEventSource)
class RoutingSource:
    """Sends each call to the source that has the destination; all of them deliver to one sink.

    :param routes: no destination may be in two of them
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._sources = {name: route.source for route in routes for name in route.destinations}
        self._failed: list[Route] = []

    def start(self, sink: IEventSink) -> Deferred[None]:
        """Begin (``IEventSource``): fires when all were reached.

        One that can't be started fails this, and is in :meth:`health`; the others go on.
        """
        starting = [
            maybeDeferred(route.source.start, sink).addErrback(self._start_failed, route) for route in self._routes
        ]
        return gatherResults(starting, consumeErrors=True).addCallbacks(lambda _: None, _first_error)

    def _start_failed(self, failure: Failure, route: Route) -> Failure:
        self._failed.append(route)
        return failure

    def stop(self) -> Deferred[None]:
        """End all (``IEventSource``), also if one of them can't be ended."""
        stopping = [maybeDeferred(route.source.stop) for route in self._routes]
        return DeferredList(stopping, consumeErrors=True).addCallback(_raise_first)

    def extend(self, destinations: Sequence[str]) -> None:
        """Let each source have those that are in its route by now (``IEventSource``)."""
        for route in self._routes:
            its = [name for name in destinations if name in route.destinations]
            if its:
                self._sources.update(dict.fromkeys(its, route.source))
                route.source.extend(its)

    def watch(self, destination: str, after_gap: bool = False) -> Deferred[str]:
        """Deliver this destination's events from now on (``IEventSource``)."""
        position: Deferred[str] = self._sources[destination].watch(destination, after_gap)
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
        troubles = [(route, trouble) for route in self._routes for trouble in route.source.health()]
        troubles += [(route, "it could not be started") for route in self._failed]
        return [f"{route.patterns}: {trouble}" for route, trouble in troubles]


def _first_error(failure: Failure) -> Failure:
    return failure.value.subFailure if isinstance(failure.value, FirstError) else failure


def _raise_first(results: Sequence[tuple[bool, object]]) -> None:
    for _, result in results:
        if isinstance(result, Failure):
            result.raiseException()


def make_routes(urls: Sequence[str], context: SourceContext) -> list[Route]:
    """Return the sources that the URLs name, each with its part of the catalogue; nothing is opened yet.

    Errors: ``ConfigurationError`` whose text shows no password.
    """
    return [
        Route(
            assigned.patterns,
            list(assigned.destinations),
            make_source(assigned.url, context._replace(destinations=assigned.destinations)),
        )
        for assigned in assign_destinations(urls, context.destinations)
    ]


def extend_routes(routes: Sequence[Route], urls: Sequence[str], catalogue: Sequence[str]) -> None:
    """Add a catalogue that has grown to the routes that were made of these URLs.

    Errors: ``ConfigurationError`` if that can't be; then nothing has changed.
    """
    for route, assigned in zip(routes, assign_destinations(urls, catalogue), strict=True):
        route.destinations[:] = assigned.destinations


def combine(routes: Sequence[Route]) -> IEventSource:
    """Return all as one source."""
    return routes[0].source if len(routes) == 1 else RoutingSource(routes)

"""Combines several sources into one: ``?destinations=`` in each URL says which destinations it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote

from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults, maybeDeferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from airyd.errors import ConfigurationError
from airyd.events import Event, HistoryPage, InvalidEntry
from airyd.interfaces import (
    IBrowsableSource,
    IEventSink,
    IEventSource,
    IHistorySource,
    IMeasuredSource,
    Lag,
    SourceContext,
)
from airyd.patterns import Pattern
from airyd.sources import make_source

#: The URL parameter with the patterns, separated by commas. It is removed before a source parses the URL.
PARAMETER: Final = "destinations"


class Assignment(NamedTuple):
    """The part of the catalogue that a source serves.

    :ivar url: the source's URL without the patterns
    :ivar patterns: the patterns as given; empty if the source serves the whole catalogue
    """

    url: str
    patterns: str
    destinations: Sequence[str]


def assign_destinations(urls: Sequence[str], catalogue: Sequence[str]) -> list[Assignment]:
    """Assign each destination of the catalogue to exactly one source.

    Raises ``ConfigurationError``, which quotes only the scheme and the patterns of a URL.
    """
    assigned = [_assign(url, catalogue, is_alone=len(urls) == 1) for url in urls]
    names = [set(each.destinations) for each in assigned]
    for destination in catalogue:
        owners = [each.patterns for each, own in zip(assigned, names, strict=True) if destination in own]
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
        raise ConfigurationError(f"--source {scheme}: parameter {PARAMETER!r} is given twice", PARAMETER, url)
    if not names:
        if is_alone:
            return Assignment(url, "", catalogue)
        raise ConfigurationError(
            f"--source {scheme}: with several sources, each must name its destinations, as in ?{PARAMETER}=/queue/*",
            value=url,
        )
    found: dict[str, None] = {}
    for text in names[0].split(","):
        try:
            pattern = Pattern(text)
        except ValueError as error:
            raise ConfigurationError(f"--source {scheme}: {PARAMETER}: {error}", PARAMETER, url) from None
        matching = [destination for destination in catalogue if pattern.matches(destination)]
        if not matching:
            raise ConfigurationError(
                f"--source {scheme}: {PARAMETER}={text} matches no destination; there are: {', '.join(catalogue)}",
                PARAMETER,
                url,
            )
        found.update(dict.fromkeys(matching))
    return Assignment(rest, names[0], tuple(found))


def without_patterns(url: str) -> str:
    """Return a source's URL without the parameter ``destinations``."""
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

    :ivar patterns: the patterns of its destinations; empty if it serves the whole catalogue
    :ivar destinations: the list; :func:`extend_routes` adds to it
    """

    patterns: str
    destinations: list[str]
    source: IEventSource


@implementer(IMeasuredSource, IBrowsableSource, IHistorySource)
class RoutingSource:
    """Forwards each call to the source of the destination; all sources deliver to one sink.

    :param routes: the sources; each destination is in one route only
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._sources = {name: route.source for route in routes for name in route.destinations}
        self._failed: list[Route] = []

    def start(self, sink: IEventSink) -> Deferred[None]:
        """Start all sources (``IEventSource``); fires when all have been reached.

        If a source fails to start, this fails and :meth:`health` names it; the others go on.
        """
        starting = [
            maybeDeferred(route.source.start, sink).addErrback(self._start_failed, route) for route in self._routes
        ]
        return gatherResults(starting, consumeErrors=True).addCallbacks(lambda _: None, _first_error)

    def _start_failed(self, failure: Failure, route: Route) -> Failure:
        self._failed.append(route)
        return failure

    def stop(self) -> Deferred[None]:
        """Stop all sources (``IEventSource``), even if one of them fails to stop."""
        stopping = [maybeDeferred(route.source.stop) for route in self._routes]
        return DeferredList(stopping, consumeErrors=True).addCallback(_raise_first)

    def extend(self, destinations: Sequence[str]) -> None:
        """Pass each source the new destinations of its route (``IEventSource``)."""
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
        """Stop delivering this destination's events (``IEventSource``)."""
        self._sources[destination].unwatch(destination)

    def replay(self, destination: str, after: str, limit: int) -> Deferred[HistoryPage]:
        """Read a page of history (``IEventSource``)."""
        page: Deferred[HistoryPage] = self._sources[destination].replay(destination, after, limit)
        return page

    def keeps_history(self, destination: str) -> bool:
        """Return whether past events are kept (``IHistorySource``)."""
        source = self._sources[destination]
        return IHistorySource.providedBy(source) and bool(source.keeps_history(destination))

    def newest(self, destination: str, limit: int) -> Deferred[Sequence[Event]]:
        """Read the newest events; none from a source that cannot be browsed (``IBrowsableSource``)."""
        source = self._sources[destination]
        newest: Deferred[Sequence[Event]] = (
            source.newest(destination, limit) if IBrowsableSource.providedBy(source) else succeed(())
        )
        return newest

    def find(self, destination: str, event_id: str) -> Deferred[Event | InvalidEntry | None]:
        """Find an entry; none of a source that cannot be browsed (``IBrowsableSource``)."""
        source = self._sources[destination]
        found: Deferred[Event | InvalidEntry | None] = (
            source.find(destination, event_id) if IBrowsableSource.providedBy(source) else succeed(None)
        )
        return found

    def order(self, destination: str, event_id: str) -> tuple[int, ...]:
        """Return the key that orders a destination's ids (``IEventSource``)."""
        key: tuple[int, ...] = self._sources[destination].order(destination, event_id)
        return key

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """Publish an event (``IEventSource``)."""
        event_id: Deferred[str] = self._sources[destination].publish(destination, body)
        return event_id

    def age(self, destination: str, event_id: str) -> float | None:
        """Return the age of an event, if its source knows it (``IMeasuredSource``)."""
        source = self._sources[destination]
        age: float | None = source.age(destination, event_id) if IMeasuredSource.providedBy(source) else None
        return age

    def lags(self) -> Mapping[str, Lag]:
        """Return the lags of all sources that know them (``IMeasuredSource``)."""
        measured = [route.source for route in self._routes if IMeasuredSource.providedBy(route.source)]
        return {destination: lag for source in measured for destination, lag in source.lags().items()}

    def reaches(self) -> Mapping[str, float]:
        """Return the reach of the history of all sources that know it (``IMeasuredSource``)."""
        measured = [route.source for route in self._routes if IMeasuredSource.providedBy(route.source)]
        return {destination: reach for source in measured for destination, reach in source.reaches().items()}

    def health(self) -> Sequence[str]:
        """Return what is wrong, and with which destinations (``IEventSource``)."""
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
    """Return the sources of the URLs, each with its part of the catalogue; no connection is opened yet.

    Errors: ``ConfigurationError`` whose text shows no password.
    """
    assignments = zip(urls, assign_destinations(urls, context.destinations), strict=True)
    return [_route(url, assigned, context) for url, assigned in assignments]


def _route(url: str, assigned: Assignment, context: SourceContext) -> Route:
    try:
        source = make_source(assigned.url, context._replace(destinations=assigned.destinations))
    except ConfigurationError as error:
        raise ConfigurationError(str(error), error.parameter, url) from None
    return Route(assigned.patterns, list(assigned.destinations), source)


def extend_routes(routes: Sequence[Route], urls: Sequence[str], catalogue: Sequence[str]) -> None:
    """Add the new destinations of a catalogue to the routes that were made from these URLs.

    Errors: ``ConfigurationError``; then no route has changed.
    """
    for route, assigned in zip(routes, assign_destinations(urls, catalogue), strict=True):
        route.destinations[:] = assigned.destinations


def combine(routes: Sequence[Route]) -> IEventSource:
    """Return one source for all routes."""
    return routes[0].source if len(routes) == 1 else RoutingSource(routes)

"""Several sources as one: they keep the contract and are independent of each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from airyd.errors import ConfigurationError, PayloadFault, PayloadRefused, SourceUnavailable
from airyd.events import AIRY_DESTINATIONS, CHANNEL_CONNECTED, CHANNEL_DISCONNECTED, MESSAGE, UNREAD_COUNT, Event
from airyd.interfaces import IEventSink, IEventSource, IMeasuredSource, Lag
from airyd.sources.memory import MemorySource
from airyd.sources.routing import Route, RoutingSource, assign_destinations, combine, extend_routes, make_routes
from airyd.sources.sample.source import SampleSource
from tests.sources import test_memory
from tests.sources.contract import COUNTS, LATE, NEWS
from tests.sources.redis import test_contract as test_redis
from tests.sources.support import START, RecordingSink, body, make_context

_NUMBERED = tuple(f"/topic/{number}" for number in range(10))

#: ``(url, the source's own, the patterns)``
URLS = (
    ("memory:?destinations=/**", "memory:", "/**"),
    ("memory:?history=5&destinations=/**", "memory:?history=5", "/**"),
    ("memory:?destinations=/**&history=5", "memory:?history=5", "/**"),
    ("memory:?a=1&destinations=%2F%2A%2a&b=%20", "memory:?a=1&b=%20", "/**"),
    ("memory:?%64estinations=/queue/*,/queue/channel/*", "memory:", "/queue/*,/queue/channel/*"),
    ("redis://:s3cret@host:1/0?destinations=/**&prefix=a:", "redis://:s3cret@host:1/0?prefix=a:", "/**"),
)
#: Kept as they are: nothing in them is the parameter.
OTHERS = ("memory:", "memory:?", "memory:?history=5", "memory:?xdestinations=/**", "memory:?destinations", "x:?a=1&a=1")
#: ``(urls, what the refusal names)``
WRONG = (
    (["memory:", "memory:"], ["memory", "?destinations="]),
    (["memory:?destinations=/**", "redis://u:s3cret@host"], ["redis", "?destinations="]),
    (["memory:?destinations=/queue/message"], [UNREAD_COUNT]),
    (["memory:?destinations=/queue/*", "memory:?destinations=/queue/channel/connected"], [CHANNEL_DISCONNECTED]),
    (
        ["memory:?destinations=/**", "redis://u:s3cret@host?destinations=/queue/message"],
        [MESSAGE, "=/**", "=/queue/message"],
    ),
    (["memory:?destinations=/**,/queue/mesage"], ["/queue/mesage", MESSAGE]),
    (["memory:?destinations="], ["''"]),
    (["memory:?destinations=/**,"], ["''"]),
    (["memory:?destinations=queue"], ["'queue'"]),
    (["memory:?destinations=/**&destinations=/**"], ["twice"]),
)


def several(*routes: Route) -> RoutingSource:
    """Return these as one source; the last serves destinations added later."""
    together = RoutingSource(routes)
    routes[-1].destinations.append(LATE)
    return together


class SeveralContractTests(test_memory.MemoryContractTests):
    """Two memory feeds of different ages, each with a part of the destinations."""

    def make_source(self) -> IEventSource:
        first = MemorySource(lambda: START, history=self.history)
        second = MemorySource(lambda: START + 5, history=self.history)
        return several(Route("1", [NEWS, *_NUMBERED[::2]], first), Route("2", [COUNTS, *_NUMBERED[1::2]], second))


class MixedContractTests(test_redis.RedisContractTests):
    """Redis Streams beside a memory feed."""

    def make_source(self) -> IEventSource:
        redis, memory = super().make_source(), MemorySource(lambda: START)
        return several(Route("/other", ["/other"], memory), Route("/topic/*", [NEWS, COUNTS, *_NUMBERED], redis))


class Half(MemorySource):
    """A memory feed whose start, stop and health the test controls.

    :ivar done: its calls
    """

    def __init__(self) -> None:
        super().__init__(lambda: START)
        self.reached: Deferred[None] = succeed(None)
        self.stopped: Deferred[None] = succeed(None)
        self.troubles: Sequence[str] = ()
        self.done: list[str] = []
        self.sink: IEventSink | None = None

    def start(self, sink: IEventSink) -> Deferred[None]:
        """See ``IEventSource``."""
        self.done.append("start")
        self.sink = sink
        super().start(sink)
        return self.reached

    def stop(self) -> Deferred[None]:
        """See ``IEventSource``."""
        self.done.append("stop")
        super().stop()
        return self.stopped

    def watch(self, destination: str, after_gap: bool = False) -> Deferred[str]:
        """See ``IEventSource``."""
        self.done.append("watch after a gap" if after_gap else "watch")
        return super().watch(destination, after_gap)

    def health(self) -> Sequence[str]:
        """See ``IEventSource``."""
        return self.troubles


class SeveralTests(SynchronousTestCase):
    """A source with messages, and one with counts."""

    def setUp(self) -> None:
        """Make both."""
        self.messages, self.counts = Half(), Half()
        self.both = RoutingSource(
            [Route(MESSAGE, [MESSAGE], self.messages), Route("/queue/unread-*", [UNREAD_COUNT], self.counts)]
        )
        self.sink = RecordingSink()

    def test_started_when_all_were_reached(self) -> None:
        self.messages.reached, self.counts.reached = Deferred(), Deferred()
        started = self.both.start(self.sink)
        self.counts.reached.callback(None)
        self.assertNoResult(started)
        self.messages.reached.callback(None)
        self.assertIsNone(self.successResultOf(started))

    def test_one_that_waits_holds_up_nobody(self) -> None:
        """While one source's Redis is unreachable, the other delivers."""
        self.messages.reached = Deferred()
        self.assertNoResult(self.both.start(self.sink))
        self.successResultOf(self.both.watch(UNREAD_COUNT))
        event_id = self.successResultOf(self.both.publish(UNREAD_COUNT, body(1)))
        self.assertEqual(self.sink.events, [Event(UNREAD_COUNT, event_id, body(1))])

    def test_one_that_cannot_be_started(self) -> None:
        """A failed start is reported; the other source goes on, in either order."""
        for destination in (UNREAD_COUNT, MESSAGE):
            self.setUp()
            halves = (self.messages, self.counts)
            broken, other = halves if destination == UNREAD_COUNT else halves[::-1]
            broken.reached = fail(ZeroDivisionError())
            other.reached = Deferred()
            self.failureResultOf(self.both.start(self.sink), ZeroDivisionError)
            other.reached.callback(None)
            self.successResultOf(self.both.watch(destination))
            self.successResultOf(self.both.publish(destination, body(1)))
            self.assertEqual(len(self.sink.events), 1)
            (said,) = self.both.health()
            self.assertIn("could not be started", said)

    def test_one_that_raises_at_its_start(self) -> None:
        self.patch(self.messages, "start", lambda sink: 1 / 0)
        self.failureResultOf(self.both.start(self.sink), ZeroDivisionError)
        self.assertEqual(self.counts.done, ["start"])

    def test_all_are_stopped(self) -> None:
        self.both.start(self.sink)
        self.messages.stopped, self.counts.stopped = Deferred(), Deferred()
        stopped = self.both.stop()
        self.assertEqual((self.messages.done, self.counts.done), (["start", "stop"], ["start", "stop"]))
        self.messages.stopped.callback(None)
        self.assertNoResult(stopped)
        self.counts.stopped.callback(None)
        self.assertIsNone(self.successResultOf(stopped))

    def test_one_that_cannot_be_stopped(self) -> None:
        """The others are stopped before stop fails."""
        self.both.start(self.sink)
        self.messages.stopped, self.counts.stopped = fail(ZeroDivisionError()), Deferred()
        stopped = self.both.stop()
        self.assertNoResult(stopped)
        self.counts.stopped.callback(None)
        self.failureResultOf(stopped, ZeroDivisionError)

    def test_health(self) -> None:
        """Health is that of all sources, each with its patterns."""
        self.both.start(self.sink)
        self.assertEqual(list(self.both.health()), [])
        self.counts.troubles = ("no connection", "no luck")
        self.assertEqual(list(self.both.health()), ["/queue/unread-*: no connection", "/queue/unread-*: no luck"])
        self.messages.troubles = ("asleep",)
        self.assertEqual(next(iter(self.both.health())), "/queue/message: asleep")

    def test_gaps_and_refusals_pass_through(self) -> None:
        self.both.start(self.sink)
        refusal = PayloadRefused(PayloadFault.TOO_BIG, "too big")
        cast(IEventSink, self.messages.sink).gap([MESSAGE], "why")
        cast(IEventSink, self.counts.sink).refused(UNREAD_COUNT, "1-1", refusal)
        self.assertEqual(self.sink.gaps, [((MESSAGE,), "why")])
        self.assertEqual(self.sink.refusals, [(UNREAD_COUNT, "1-1", PayloadFault.TOO_BIG)])

    def test_a_watch_after_a_gap(self) -> None:
        """The source that has the destination learns that there was one."""
        self.both.start(self.sink)
        self.successResultOf(self.both.watch(MESSAGE, after_gap=True))
        self.successResultOf(self.both.watch(UNREAD_COUNT))
        self.assertEqual((self.messages.done, self.counts.done), (["start", "watch after a gap"], ["start", "watch"]))

    def test_one_that_is_away(self) -> None:
        """Destinations of the other source still work."""
        self.both.start(self.sink)
        self.messages.stop()
        self.failureResultOf(self.both.watch(MESSAGE), SourceUnavailable)
        self.failureResultOf(self.both.publish(MESSAGE, body(1)), SourceUnavailable)
        self.successResultOf(self.both.watch(UNREAD_COUNT))


@implementer(IMeasuredSource)
class MeasuredSource(MemorySource):
    """A memory feed that knows how late it is."""

    def age(self, destination: str, event_id: str) -> float | None:
        """See ``IMeasuredSource``."""
        return 7.0

    def lags(self) -> dict[str, Lag]:
        """See ``IMeasuredSource``."""
        return {"/a": Lag(3, 0.5)}

    def reaches(self) -> dict[str, float]:
        """See ``IMeasuredSource``."""
        return {"/a": 60.0}


class MeasureTests(SynchronousTestCase):
    """Each destination is measured by its source, if that can do it."""

    def test_some_can(self) -> None:
        source = RoutingSource(
            [
                Route("1", ["/a"], MeasuredSource(lambda: START)),
                Route("2", ["/b"], MemorySource(lambda: START)),
            ]
        )
        verifyObject(IMeasuredSource, source)
        self.assertEqual((7.0, None), (source.age("/a", "1-1"), source.age("/b", "1-1")))
        self.assertEqual({"/a": Lag(3, 0.5)}, source.lags())
        self.assertEqual({"/a": 60.0}, source.reaches())


class GrowthTests(SynchronousTestCase):
    """A catalogue that grows."""

    urls = ("memory:?destinations=/queue/*", "memory:?destinations=/queue/channel/**")

    def test_each_has_its_own(self) -> None:
        routes = make_routes(self.urls, make_context())
        both = combine(routes)
        both.start(RecordingSink())
        extend_routes(routes, self.urls, [*AIRY_DESTINATIONS, "/queue/channel/news", "/queue/tags"])
        both.extend(["/queue/channel/news", "/queue/tags"])
        self.successResultOf(routes[0].source.watch("/queue/tags"))
        position = self.successResultOf(both.watch("/queue/channel/news"))
        event_id = self.successResultOf(both.publish("/queue/channel/news", body(1)))
        page = self.successResultOf(routes[1].source.replay("/queue/channel/news", position, 5))
        self.assertEqual([event.id for event in page.events], [event_id])
        self.assertEqual([part.destinations[-1] for part in routes], ["/queue/tags", "/queue/channel/news"])

    def test_one_that_nobody_has(self) -> None:
        routes = make_routes(self.urls, make_context())
        before = [list(part.destinations) for part in routes]
        self.assertRaises(ConfigurationError, extend_routes, routes, self.urls, [*AIRY_DESTINATIONS, "/news"])
        self.assertEqual([part.destinations for part in routes], before)


class MakingTests(SynchronousTestCase):
    """From URLs to sources."""

    def test_one_is_itself(self) -> None:
        (route,) = make_routes(["memory:"], make_context())
        self.assertIs(combine([route]), route.source)
        self.assertIsInstance(route.source, MemorySource)
        self.assertEqual((route.patterns, list(route.destinations)), ("", list(AIRY_DESTINATIONS)))

    def test_several_of_any_kind(self) -> None:
        routes = make_routes(
            [
                "memory:?history=1&destinations=/queue/message",
                "sample:?destinations=/queue/unread-count",
                "redis://127.0.0.1:1/0?prefix=a:&destinations=/queue/channel/*",
            ],
            make_context(),
        )
        self.assertEqual(
            [tuple(part.destinations) for part in routes],
            [(MESSAGE,), (UNREAD_COUNT,), (CHANNEL_CONNECTED, CHANNEL_DISCONNECTED)],
        )
        self.assertIsInstance(routes[1].source, SampleSource)
        self.assertIsInstance(combine(routes), RoutingSource)

    def test_each_knows_its_part_alone(self) -> None:
        """A recording with other destinations is refused, as it is with one source."""
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write('{"destination": "/queue/unread-count", "payload": {}, "at": 0}\n')
        urls = [f"sample:?file={path}&destinations=/queue/message", "memory:?destinations=/queue/*,/queue/channel/*"]
        error = self.assertRaises(ConfigurationError, make_routes, [urls[0]], make_context(destinations=[MESSAGE]))
        self.assertIn(UNREAD_COUNT, str(error))

    def test_what_is_wrong_with_one(self) -> None:
        urls = ["memory:?colour=1&destinations=/queue/*", "memory:?destinations=/queue/channel/*"]
        error = self.assertRaises(ConfigurationError, make_routes, urls, make_context())
        self.assertIn("colour", str(error))


class AssignmentTests(SynchronousTestCase):
    """Each destination is assigned to one source."""

    def test_one_source_has_everything(self) -> None:
        for url in OTHERS:
            self.assertEqual(assign_destinations([url], AIRY_DESTINATIONS), [(url, "", AIRY_DESTINATIONS)])

    def test_the_patterns_are_taken_from_the_url(self) -> None:
        for url, rest, patterns in URLS:
            (assigned,) = assign_destinations([url], AIRY_DESTINATIONS)
            self.assertEqual((assigned.url, assigned.patterns), (rest, patterns))
            self.assertEqual(set(assigned.destinations), set(AIRY_DESTINATIONS))

    def test_several(self) -> None:
        urls = ["a:?destinations=/queue/message", "b:?x=1&destinations=/queue/channel/*,/queue/unread-count"]
        first, second = assign_destinations(urls, AIRY_DESTINATIONS)
        self.assertEqual((first.url, list(first.destinations)), ("a:", [MESSAGE]))
        self.assertEqual(second.url, "b:?x=1")
        self.assertEqual(set(second.destinations), {CHANNEL_CONNECTED, CHANNEL_DISCONNECTED, UNREAD_COUNT})

    def test_a_source_may_name_a_destination_twice(self) -> None:
        (assigned,) = assign_destinations(["a:?destinations=/queue/**,/queue/message"], AIRY_DESTINATIONS)
        self.assertEqual(sorted(assigned.destinations), sorted(AIRY_DESTINATIONS))

    def test_wrong(self) -> None:
        for urls, names in WRONG:
            said = str(self.assertRaises(ConfigurationError, assign_destinations, urls, AIRY_DESTINATIONS))
            self.assertEqual(len(said.splitlines()), 1, said)
            self.assertTrue(said.startswith("--source"), said)
            for name in names:
                self.assertIn(name, said, urls)
            self.assertNotIn("s3cret", said)

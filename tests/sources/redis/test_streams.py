"""Redis Streams over a Redis in memory: the commands of watches, pages and publishes, and failures."""

from __future__ import annotations

from typing import cast

from zope.interface.verify import verifyObject

from airyd.errors import SourceUnavailable
from airyd.events import Event, HistoryPage
from airyd.interfaces import IMeasuredSource, Lag
from airyd.sources.redis.reader import COUNTERS_EVERY
from airyd.sources.redis.streams import RedisStreams
from tests.sources.redis.fake_case import FakeRedisCase
from tests.sources.redis.fakes import Answer, Error, counters, stream_info, words
from tests.sources.support import START, RecordingSink

A = "/topic/a"
KEY = "p:/topic/a"
UNKNOWN = HistoryPage((), complete=False, more=False)
LOADING = Error("LOADING Redis is loading the dataset in memory")


def entry(number: int, *fields: bytes) -> Answer:
    """Return the entry ``number-0``, by default with a payload."""
    return [b"%d-0" % number, list(fields or (b"payload", b'{"number":%d}' % number))]


def event(number: int) -> Event:
    """Return the event of such an entry."""
    return Event(A, f"{number}-0", b'{"number":%d}' % number)


class SourceCase(FakeRedisCase):
    """A source that is connected."""

    def setUp(self) -> None:
        self.sink = RecordingSink()
        self.source = self.start_source(lambda redis, context: RedisStreams(redis, "p:", 500, context), sink=self.sink)
        self.commands, self.reading = self.endpoint.sessions
        for number, session in enumerate(self.endpoint.sessions, 1):
            session.log_in(number)

    def reconnect(self) -> None:
        """Break the connection for commands and let it come back."""
        self.commands.lose()
        self.clock.advance(1.2)
        self.commands = self.endpoint.sessions[-1]
        self.commands.log_in(3)


class WatchTests(SourceCase):
    """The commands of a watch."""

    def test_a_stream_with_entries(self) -> None:
        self.successResultOf(self.started)
        watching = self.source.watch(A)
        self.assertEqual(self.commands.asked(), [words("XINFO", "STREAM", KEY)])
        self.commands.answer(stream_info("5-0", 5, newest="5-0"))
        self.assertEqual(self.successResultOf(watching), "5-0")
        self.assertEqual(self.commands.asked(), [])

    def test_an_empty_one_gets_a_position(self) -> None:
        for about in (
            Error("ERR no such key"),
            stream_info("5-0", 5, newest=None),
            stream_info("5-0", 5, "5-0", newest="4-0"),
        ):
            watching = self.source.watch(A)
            self.commands.asked()
            self.commands.answer(about)
            added = words("XADD", KEY, "MAXLEN", "~", 500, "*", "airyd-position", "")
            self.assertEqual(self.commands.asked(), [added])
            self.commands.answer(b"9-0")
            self.assertEqual(self.commands.asked(), [words("XINFO", "STREAM", KEY)])
            self.commands.answer(stream_info("9-0", 6, newest="9-0"))
            self.assertEqual(self.successResultOf(watching), "9-0")
            self.source.unwatch(A)

    def test_where_nothing_may_be_written(self) -> None:
        watching = self.source.watch(A)
        self.commands.answer(Error("ERR no such key"), Error("NOPERM this user has no permissions"))
        self.assertEqual(self.successResultOf(watching), "0-0")

    def test_redis_6(self) -> None:
        watching = self.source.watch(A)
        self.commands.answer([b"length", 1, b"last-generated-id", b"5-0", b"last-entry", None])
        self.assertIn("Redis 7", str(self.failureResultOf(watching, SourceUnavailable).value))

    def test_the_connection_is_lost(self) -> None:
        """The command is repeated."""
        watching = self.source.watch(A)
        self.reconnect()
        self.assertEqual(self.commands.asked(), [words("XINFO", "STREAM", KEY)])
        self.commands.answer(stream_info("5-0", 5, newest="5-0"))
        self.assertEqual(self.successResultOf(watching), "5-0")

    def test_redis_loads(self) -> None:
        """The watch waits for a connection."""
        watching = self.source.watch(A)
        self.commands.answer(LOADING)
        self.clock.advance(0)
        self.clock.advance(1.2)
        self.commands = self.endpoint.sessions[-1]
        self.commands.log_in(3)
        self.commands.answer(stream_info("5-0", 5, newest="5-0"))
        self.assertEqual(self.successResultOf(watching), "5-0")


class ReplayTests(SourceCase):
    """Pages of history."""

    def assert_asks(self, after: str, count: int) -> None:
        """Assert that one transaction on one key asks for the proof and the page."""
        self.assertEqual(
            self.commands.asked(),
            [
                words("MULTI"),
                words("XRANGE", KEY, after, after),
                words("XINFO", "STREAM", KEY),
                words("XRANGE", KEY, f"({after}", "+", "COUNT", count),
                words("EXEC"),
            ],
        )

    def answer(self, itself: list[Answer], about: Answer, following: list[Answer]) -> None:
        """Answer the transaction."""
        self.commands.answer("OK", "QUEUED", "QUEUED", "QUEUED", [itself, about, following])

    def replay(self, after: str, limit: int, itself: list[Answer], about: Answer, *following: Answer) -> HistoryPage:
        """Return the page for this reply."""
        replaying = self.source.replay(A, after, limit)
        self.assert_asks(after, limit + 1)
        self.answer(itself, about, list(following))
        page: HistoryPage = self.successResultOf(replaying)
        return page

    def test_pages(self) -> None:
        about = stream_info("9-0", 9, newest="9-0")
        page = self.replay("5-0", 2, [entry(5)], about, entry(6), entry(7), entry(8))
        self.assertEqual(page, HistoryPage((event(6), event(7)), complete=True, more=True))
        page = self.replay("7-0", 2, [entry(7)], about, entry(8), entry(9))
        self.assertEqual(page, HistoryPage((event(8), event(9)), complete=True, more=False))
        self.assertEqual(self.replay("9-0", 2, [entry(9)], about), HistoryPage((), complete=True, more=False))

    def test_proofs(self) -> None:
        """Each case: whether the entry exists, the last id, the largest deleted id; whether the page is complete."""
        for itself, last, deleted, complete in (
            (True, "9-0", "0-0", True),
            (True, "9-0", "4-0", True),
            (True, "9-0", "7-0", False),
            (False, "5-0", "0-0", True),  # trimmed, but the last one
            (False, "5-0", "5-0", True),  # deleted, but the last one
            (False, "9-0", "0-0", False),
            (False, "9-0", "5-0", False),
            (False, "4-0", "0-0", False),  # of a former life
        ):
            page = self.replay("5-0", 9, [entry(5)] if itself else [], stream_info(last, 9, deleted), entry(9))
            self.assertEqual(
                page, HistoryPage((event(9),), True, False) if complete else UNKNOWN, (itself, last, deleted)
            )

    def test_no_stream(self) -> None:
        self.assertEqual(self.replay("5-0", 2, [], Error("ERR no such key")), UNKNOWN)
        wrong = Error("WRONGTYPE Operation against a key")
        replaying = self.source.replay(A, "5-0", 2)
        self.commands.answer("OK", "QUEUED", "QUEUED", "QUEUED", [wrong, wrong, wrong])
        self.assertEqual(self.successResultOf(replaying), UNKNOWN)

    def test_what_is_no_id(self) -> None:
        self.assertEqual(self.successResultOf(self.source.replay(A, "5-0; FLUSHALL", 2)), UNKNOWN)
        self.assertEqual(self.commands.asked(), [])

    def test_entries_that_are_no_events(self) -> None:
        """A page is filled with later entries; refused ones are not reported again."""
        replaying = self.source.replay(A, "1-0", 2)
        self.assert_asks("1-0", 3)
        self.answer(
            [entry(1)],
            stream_info("6-0", 6, newest="6-0"),
            [entry(2, b"nonsense", b"1"), entry(3), entry(4, b"airyd-position", b"")],
        )
        self.assert_asks("3-0", 2)
        self.answer([entry(3)], stream_info("6-0", 6, newest="6-0"), [entry(4, b"airyd-position", b""), entry(5)])
        self.assert_asks("4-0", 2)
        self.answer([entry(4)], stream_info("6-0", 6, newest="6-0"), [entry(5), entry(6)])
        self.assertEqual(self.successResultOf(replaying), HistoryPage((event(3), event(5)), complete=True, more=True))
        self.assertEqual(self.sink.refusals, [])

    def test_history_goes_while_a_page_is_filled_up(self) -> None:
        replaying = self.source.replay(A, "1-0", 2)
        self.answer([entry(1)], stream_info("6-0", 6), [entry(2, b"nonsense", b"1"), entry(3), entry(4)])
        self.answer([], stream_info("6-0", 6), [entry(6)])
        self.assertEqual(self.successResultOf(replaying), UNKNOWN)

    def test_shared(self) -> None:
        """Concurrent equal requests cost one transaction; a later one is a new transaction."""
        replays = [self.source.replay(A, "5-0", 2) for _ in range(100)]
        gone = replays[7]
        gone.addErrback(lambda failure: None)
        gone.cancel()
        self.assert_asks("5-0", 3)
        self.answer([entry(5)], stream_info("6-0", 6), [entry(6)])
        for each in replays:
            if each is not gone:
                self.assertEqual(self.successResultOf(each), HistoryPage((event(6),), complete=True, more=False))
        self.source.replay(A, "5-0", 2)
        self.assert_asks("5-0", 3)
        self.answer([entry(5)], stream_info("6-0", 6), [entry(6)])

    def test_not_shared_once_the_feed_has_moved(self) -> None:
        """A request after a delivery must not share an older page, which lacks that event."""
        watching = self.source.watch(A)
        self.commands.asked()
        self.commands.answer(stream_info("5-0", 5, newest="5-0"))
        self.assertEqual(self.successResultOf(watching), "5-0")
        self.reading.answer(counters(stream_info("5-0", 5, newest="5-0")))  # the look that a new connection begins with
        early = self.source.replay(A, "5-0", 2)
        self.assert_asks("5-0", 3)
        self.reading.answer([[KEY.encode(), [entry(6)]]], stream_info("6-0", 6, newest="6-0"))
        self.assertEqual(self.sink.events, [event(6)])
        late = self.source.replay(A, "5-0", 2)
        self.assert_asks("5-0", 3)
        self.answer([entry(5)], stream_info("5-0", 5), [])
        self.assertEqual(self.successResultOf(early), HistoryPage((), complete=True, more=False))
        self.assertNoResult(late)
        self.answer([entry(5)], stream_info("6-0", 6), [entry(6)])
        self.assertEqual(self.successResultOf(late), HistoryPage((event(6),), complete=True, more=False))

    def test_a_shared_failure(self) -> None:
        replays = [self.source.replay(A, "5-0", 2) for _ in range(3)]
        self.commands.answer("OK", Error("NOPERM no"), "QUEUED", "QUEUED", Error("EXECABORT"))
        for each in replays:
            self.assertIn("NOPERM", str(self.failureResultOf(each, SourceUnavailable).value))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_the_connection_is_lost(self) -> None:
        replaying = self.source.replay(A, "5-0", 2)
        self.commands.answer("OK", "QUEUED")
        self.reconnect()
        self.assert_asks("5-0", 3)
        self.answer([entry(5)], stream_info("6-0", 6), [entry(6)])
        self.assertEqual(self.successResultOf(replaying), HistoryPage((event(6),), complete=True, more=False))


class PublishTests(SourceCase):
    """XADD."""

    def test_published(self) -> None:
        publishing = self.source.publish(A, b'{"a":1}')
        self.assertEqual(self.commands.asked(), [words("XADD", KEY, "MAXLEN", "~", 500, "*", "payload", b'{"a":1}')])
        self.commands.answer(b"7-1")
        self.assertEqual(self.successResultOf(publishing), "7-1")

    def test_refused(self) -> None:
        publishing = self.source.publish(A, b"{}")
        self.commands.answer(Error("OOM command not allowed when used memory > 'maxmemory'."))
        self.assertIn("OOM", str(self.failureResultOf(publishing, SourceUnavailable).value))

    def test_what_was_not_taken_is_published_again(self) -> None:
        """The command was not executed, so it is repeated."""
        publishing = self.source.publish(A, b"{}")
        self.commands.asked()
        self.commands.answer(LOADING)
        self.clock.advance(0)
        self.clock.advance(1.2)
        self.commands = self.endpoint.sessions[-1]
        self.commands.log_in()
        self.assertEqual([command[0] for command in self.commands.asked()], [b"XADD"])
        self.commands.answer(b"8-1")
        self.assertEqual(self.successResultOf(publishing), "8-1")

    def test_never_published_twice(self) -> None:
        """If the connection is lost before the reply, the event may have been added: it is not sent again."""
        publishing = self.source.publish(A, b"{}")
        self.reconnect()
        self.failureResultOf(publishing, SourceUnavailable)
        self.assertEqual(self.commands.asked(), [])

    def test_order_over_a_reconnect(self) -> None:
        self.commands.lose()
        publishing = [self.source.publish(A, b"%d" % number) for number in range(5)]
        self.clock.advance(1.2)
        self.commands = self.endpoint.sessions[-1]
        self.commands.log_in(3)
        self.assertEqual([command[-1] for command in self.commands.asked()], [b"%d" % number for number in range(5)])
        self.commands.answer(*[b"%d-0" % number for number in range(5)])
        self.assertEqual([self.successResultOf(each) for each in publishing], [f"{number}-0" for number in range(5)])

    def test_health(self) -> None:
        self.assertEqual(list(self.source.health()), [])
        self.commands.lose()
        (trouble,) = self.source.health()
        self.assertIn("redis://192.0.2.7:6379/0 (commands)", trouble)
        self.reading.lose()
        self.assertEqual(len(self.source.health()), 2)


class MeasureTests(SourceCase):
    """What the metrics ask."""

    def setUp(self) -> None:
        super().setUp()
        self.measured = cast(IMeasuredSource, self.source)

    def test_interface(self) -> None:
        verifyObject(IMeasuredSource, self.source)

    def test_age(self) -> None:
        """The time in the id, by this machine's clock; no event is younger than nothing."""
        now = START * 1000
        self.assertAlmostEqual(2.5, self.measured.age(A, f"{now - 2500:.0f}-7"), 3)
        self.assertEqual(0.0, self.measured.age(A, f"{now + 2500:.0f}-0"))

    def test_lags(self) -> None:
        self.assertEqual({}, self.measured.lags())
        self.source.watch(A)
        self.commands.answer(stream_info("5-0", 5, newest="5-0"))
        self.assertEqual({A: Lag(0, 0.0)}, self.measured.lags())

    def test_lag_without_an_answer(self) -> None:
        """While Redis does not answer, nobody knows what was added: the lag grows until it answers again."""
        self.source.watch(A)
        self.commands.answer(stream_info("5-0", 5, newest="5-0"))
        for seconds in (20.0, 40.0):
            self.clock.advance(20.0)
            self.assertEqual({A: Lag(0, seconds)}, self.measured.lags())
        self.reconnect()
        self.clock.advance(COUNTERS_EVERY)
        self.commands.answer(counters(stream_info("5-0", 5, newest="5-0")))
        self.assertEqual({A: Lag(0, 0.0)}, self.measured.lags())

    def test_reaches(self) -> None:
        """The age of the oldest entry; unknown of an empty stream."""
        self.assertEqual({}, self.measured.reaches())
        oldest = f"{(START - 3600) * 1000:.0f}-0"
        self.source.watch(A)
        self.commands.answer(stream_info("5-0", 5, newest="5-0", oldest=oldest))
        self.assertAlmostEqual(3600.0, self.measured.reaches()[A], 3)

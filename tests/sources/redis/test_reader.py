"""The blocking reader over a Redis in memory: its streams, and its COUNT."""

from __future__ import annotations

from itertools import pairwise

from airyd.interfaces import Lag
from airyd.limits import MIB
from airyd.sources.redis.reader import COUNTERS_EVERY
from airyd.sources.redis.stream_position import Stream
from tests.sources.redis.fakes import Answer, Error, counters, stream_info, words
from tests.sources.redis.reader_case import A, B, ReaderCase, entry


class WakingTests(ReaderCase):
    """Streams are added and removed at once."""

    def test_idle(self) -> None:
        """Without a stream no XREAD is sent."""
        self.clock.advance(60)
        self.assertEqual(self.reading.asked(), [])
        self.assertEqual(self.commands.asked(), [])

    def test_a_stream_joins(self) -> None:
        self.begin(self.stream())
        self.assertEqual(self.first_ask[0][6:], [A, b"5-0"])
        self.reader.add(self.stream(B, "3-0"))
        self.assertEqual(self.commands.asked(), [words("CLIENT", "UNBLOCK", 7)])
        self.commands.answer(1)
        self.answer_read(None)
        self.assert_reads(a="5-0", b="3-0")

    def test_woken_too_early(self) -> None:
        """The XREAD may not have reached Redis yet, when the other connection's command does."""
        self.begin(self.stream())
        self.reader.add(self.stream(B))
        for _ in range(3):
            self.assertEqual(self.commands.asked(), [words("CLIENT", "UNBLOCK", 7)])
            self.commands.answer(0)
            self.assertEqual(self.commands.asked(), [])
            self.clock.advance(0.01)
        self.commands.asked()
        self.commands.answer(1)
        self.answer_read(None)
        self.assert_reads(a="5-0", b="5-0")
        self.clock.advance(0.1)
        self.assertEqual(self.commands.asked(), [])

    def test_woken_too_late(self) -> None:
        """An XREAD that timed out, or has the stream already, is not unblocked."""
        self.begin(self.stream())
        self.reader.add(self.stream(B))
        self.bring((A, [entry("6-0")]))
        self.assert_reads(a="6-0", b="5-0")
        self.commands.answer(0)
        self.clock.advance(0.1)
        self.assertEqual(self.commands.asked(), [words("CLIENT", "UNBLOCK", 7)])

    def test_several_join_at_once(self) -> None:
        self.begin(self.stream())
        for name in "bcd":
            self.reader.add(self.stream(f"p:/{name}".encode()))
        asked = self.commands.asked()
        self.assertEqual(asked, [words("CLIENT", "UNBLOCK", 7)] * 3)
        self.commands.answer(0, 0, 0)
        self.clock.advance(0.01)
        self.assertEqual(self.commands.asked(), [words("CLIENT", "UNBLOCK", 7)])
        self.commands.answer(1)
        self.answer_read(None)
        self.assert_reads(a="5-0", b="5-0", c="5-0", d="5-0")

    def test_where_waking_is_not_allowed(self) -> None:
        self.begin(self.stream())
        self.reader.add(self.stream(B))
        self.commands.answer(Error("NOPERM this user has no permissions to run the 'client|unblock' command"))
        self.answer_read(None)  # five seconds later
        self.assert_reads(a="5-0", b="5-0")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_stream_leaves_while_it_is_read(self) -> None:
        self.begin(self.stream(), self.stream(B))
        self.reader.remove(A)
        self.bring((A, [entry("6-0")]), (B, [entry("6-0")]))
        self.assertEqual(self.delivered, [("/b", ["6-0"])])
        self.assert_reads(b="6-0")

    def test_a_stream_leaves_and_comes_back_while_it_is_read(self) -> None:
        """Entries of the old XREAD are up to the new position, or are read again."""
        self.begin(self.stream())
        self.reader.remove(A)
        self.reader.add(self.stream(read="6-0", added=6))
        self.bring((A, [entry("6-0"), entry("7-0")]))
        self.assertEqual(self.delivered, [])
        self.assert_reads(a="6-0")
        self.bring((A, [entry("7-0")]))
        self.assertEqual((self.delivered, self.gaps), ([("/a", ["7-0"])], []))

    def test_the_last_stream_leaves(self) -> None:
        self.begin(self.stream())
        self.reader.remove(A)
        self.answer_read(None)
        self.assertEqual(self.reading.asked(), [])
        self.reader.add(self.stream(B))
        self.assert_reads(b="5-0")

    def test_stop_while_a_wake_up_is_due(self) -> None:
        """``stop`` looks for what is left."""
        self.begin(self.stream())
        self.reader.add(self.stream(B))
        self.reader.add(self.stream(b"p:/c"))
        self.commands.answer(0, 0)

    def test_stop_from_within(self) -> None:
        self.begin(self.stream())
        self.on_delivery = self.stop
        self.bring((A, [entry("6-0")]))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_the_hub_fails(self) -> None:
        """A bug there ends the reading, which the log and ``/readyz`` say."""

        def fail() -> None:
            raise ZeroDivisionError

        self.begin(self.stream())
        self.on_delivery = fail
        self.bring((A, [entry("6-0")]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn("internal error", self.reader.trouble or "")


class PipelineTests(ReaderCase):
    """The XINFOs behind each XREAD."""

    def test_entries_are_delivered_without_another_round_trip(self) -> None:
        self.begin(self.stream(), self.stream(B))
        self.assertEqual(self.first_ask[1:], [words("XINFO", "STREAM", key) for key in (A, B)])
        now = stream_info("6-0", 6, newest="6-0", oldest="1-0", length=6)
        self.reading.answer([[A, [entry("6-0")]]], now, stream_info("5-0", 5, newest="5-0"))
        self.assertEqual(self.delivered, [("/a", ["6-0"])])

    def test_a_few_streams_only(self) -> None:
        """With more, XINFO is asked of those with new entries."""
        streams = [self.stream(f"p:/{number}".encode()) for number in range(9)]
        self.begin(*streams)
        self.assertEqual(len(self.first_ask), 1)
        self.reading.answer([[streams[3].key, [entry("6-0")]]])
        self.assertEqual(self.reading.asked(), [words("XINFO", "STREAM", streams[3].key)])
        self.reading.answer(stream_info("6-0", 6, newest="6-0", oldest="1-0", length=6))
        self.assertEqual(self.delivered, [("/3", ["6-0"])])

    def test_not_with_large_entries(self) -> None:
        """Their size is known from the last XINFO or check."""
        self.begin(self.stream(), self.stream(B))
        body = b'{"x":"' + b"x" * 10_000 + b'"}'
        info = stream_info("6-0", 6, newest="6-0", oldest="1-0", length=6, body=body)
        self.reading.answer([[A, [entry("6-0", body)]]], info, stream_info("5-0", 5, newest="5-0"))
        self.assertEqual(len(self.reading.asked()), 1)
        self.clock.advance(COUNTERS_EVERY)
        small = stream_info("6-0", 6, newest="6-0", oldest="6-0")
        self.answer_check(self.commands, small, stream_info("5-0", 5, newest="5-0"))
        self.reading.answer(None)
        self.assertEqual(len(self.reading.asked()), 3)

    def test_an_error_behind(self) -> None:
        """XINFO is asked again, and nothing is delivered before its answer."""
        self.begin(self.stream())
        self.reading.answer([[A, [entry("6-0")]]], Error("ERR something is wrong"))
        self.assertEqual((self.delivered, self.reading.asked()), ([], [words("XINFO", "STREAM", A)]))
        self.reading.answer(stream_info("6-0", 6, newest="6-0", oldest="1-0", length=6))
        self.assertEqual(self.delivered, [("/a", ["6-0"])])

    def test_redis_stops_between_the_replies(self) -> None:
        """The connection is closed, and the entries are read again on the next one."""
        self.begin(self.stream())
        silent = self.reading
        silent.answer([[A, [entry("6-0")]]])
        for _ in range(12):
            self.clock.advance(COUNTERS_EVERY)
            self.answer_check(self.commands, stream_info("6-0", 6, newest="6-0", oldest="1-0", length=6))
        self.assertFalse(silent.is_open)
        self.assertEqual(self.delivered, [])
        self.assertIsNot(self.reading, silent)
        self.reading.log_in(9)
        self.answer_check(self.reading, stream_info("6-0", 6, newest="6-0", oldest="1-0", length=6))
        self.assert_reads(a="5-0")
        self.bring((A, [entry("6-0")]))
        self.assertEqual((self.delivered, self.gaps), ([("/a", ["6-0"])], []))


class CountTests(ReaderCase):
    """COUNT adapts so that a reply stays about a MiB."""

    def read(self, count: int, size: int, *, fields: bool = True) -> int:
        """Reply with entries of this size; return the next COUNT."""
        body = b'{"x":"' + b"x" * (size - 8) + b'"}' if fields else b"x" * size
        self.number = getattr(self, "number", 5)
        name = b"payload" if fields else b"other"
        entries: list[Answer] = []
        for _ in range(count):
            self.number += 1
            entries.append([b"%d-0" % self.number, [name, body]])
        self.bring((A, entries))
        return self.assert_reads(a=f"{self.number}-0")

    def test_small_entries(self) -> None:
        """COUNT grows step by step up to a limit, while replies are full."""
        self.begin(self.stream())
        counts = [int(self.first_ask[0][2])]
        for _ in range(12):
            counts.append(self.read(counts[-1], 20))
        self.assertEqual(counts, sorted(counts))
        self.assertTrue(all(after <= 2 * before for before, after in pairwise(counts)))
        self.assertEqual(counts[-1], 5000)
        self.assertLessEqual(self.read(1, 20), 16)  # the next ones may be large

    def test_large_entries(self) -> None:
        self.begin(self.stream())
        self.assertEqual(self.read(4, 256 * 1024), 4)
        self.assertEqual(self.read(1, 2 * MIB), 1)
        self.assertEqual(self.read(1, 100), 2)

    def test_large_entries_that_are_no_events(self) -> None:
        self.begin(self.stream())
        self.assertLessEqual(self.read(4, 256 * 1024, fields=False), 4)

    def test_streams_share(self) -> None:
        self.begin(self.stream(), self.stream(B))
        self.bring((A, [entry("6-0", b'{"x":"' + b"x" * 131064 + b'"}')]))
        self.assertEqual(self.assert_reads(a="6-0", b="5-0"), 4)

    def come_back(self, *streams: Stream) -> list[list[bytes]]:
        """Lose the reading connection and let it come back; return the COUNT after its check."""
        self.reading.lose()
        self.clock.advance(1.2)
        self.reading.log_in(9)
        read = {stream.key: stream.read for stream in streams}
        while check := self.reading.asked(b"EVAL_RO"):
            ((_, _, _, *keys),) = check
            last = [read[key] for key in keys]
            infos = [stream_info(each, int(each.split("-")[0]), newest=each) for each in last]
            self.reading.answer(counters(*infos))
        return self.reading.asked(b"XREAD")

    def test_a_new_connection_begins_with_few(self) -> None:
        """Many large entries may be waiting then."""
        stream = self.stream()
        self.begin(stream)
        count = int(self.first_ask[0][2])
        for _ in range(6):
            count = self.read(count, 20)
        self.assertGreater(count, 500)
        (asked,) = self.come_back(stream)
        self.assertLessEqual(int(asked[2]), 16)

    def test_many_streams_on_a_new_connection(self) -> None:
        streams = [self.stream(f"p:/{number}".encode()) for number in range(40)]
        for stream in streams:
            self.reader.add(stream)
        self.reading.lose()
        (asked,) = self.come_back(*streams)
        self.assertEqual(asked[:3], words("XREAD", "COUNT", 1))

    def test_lost_replies(self) -> None:
        """COUNT shrinks to one entry, then the streams are read in turn."""
        streams = tuple(self.stream(key) for key in (A, B, b"p:/c", b"p:/d"))
        self.begin(*streams)
        asks = [self.first_ask[0]]
        for _ in range(8):
            asks += self.come_back(*streams)
        counts = [int(ask[2]) for ask in asks]
        self.assertEqual(counts, sorted(counts, reverse=True))
        alone = [asks[-1]]
        for _ in range(3):
            self.answer_read(None)
            alone += self.reading.asked()
        self.assertEqual(
            sorted(alone), [words("XREAD", "COUNT", 1, "STREAMS", stream.key, "5-0") for stream in streams]
        )
        self.answer_read(None)
        self.assert_reads(a="5-0", b="5-0", c="5-0", d="5-0")  # nothing waits: that of all may wait for more

    def test_after_a_lost_reply_it_grows_again(self) -> None:
        """COUNT grows as the entries allow, up to the bytes before the loss."""
        streams = (self.stream(), self.stream(B))
        self.begin(*streams)
        for _ in range(5):
            ((_, _, count, *_, key, _),) = self.come_back(*streams)
        self.assertEqual(count, b"1")
        self.bring((key, [entry("6-0")]))
        (asked,) = self.reading.asked(b"XREAD")
        self.assertIn(b"BLOCK", asked)  # of all
        body = b'{"x":"' + b"x" * 100_000 + b'"}'
        self.bring((key, [entry("7-0", body)]))
        (asked,) = self.reading.asked(b"XREAD")
        self.assertEqual(asked[2], b"1")

    def test_nothing_came(self) -> None:
        self.begin(self.stream())
        count = int(self.first_ask[0][2])
        self.answer_read(None)
        self.assertEqual(self.assert_reads(a="5-0"), count)


class ReachTests(ReaderCase):
    """How far the history reaches back, as of the last check."""

    def test_trimmed(self) -> None:
        self.begin(self.stream())
        for reply, reaches in (
            (stream_info("5-0", 5, newest="5-0", oldest="3-0", length=2), {"/a": 9_999.997}),
            (stream_info("5-0", 5), {}),
        ):
            self.clock.advance(COUNTERS_EVERY)
            self.answer_check(self.commands, reply)
            self.assertEqual(self.reader.reaches(10_000.0), reaches)


class LagTests(ReaderCase):
    """How far the reader is behind its streams."""

    def find(self, last: str, added: int) -> None:
        """Let the next check find a stream with this last id, and as many entries."""
        self.clock.advance(COUNTERS_EVERY)
        self.answer_check(self.commands, stream_info(last, added, newest=last, oldest="1-0", length=added))

    def assert_lag(self, entries: int, seconds: float, wall: float = 10_000.0) -> None:
        """Check the lag of the stream."""
        self.assertEqual({"/a": Lag(entries, seconds)}, self.reader.lags(wall))

    def test_level(self) -> None:
        self.assertEqual({}, self.reader.lags(10_000.0))
        self.begin(self.stream())
        self.assert_lag(0, 0.0)
        self.find("5-0", 5)
        self.assert_lag(0, 0.0)

    def test_behind(self) -> None:
        """The entries count as of the last check, and the time since the first of the checks that found some."""
        self.begin(self.stream())
        self.find("9-0", 9)
        self.assert_lag(4, 0.0)
        self.find("12-0", 12)
        self.assert_lag(7, COUNTERS_EVERY)
        self.bring((A, [entry("6-0"), entry("7-0")]))
        self.assert_lag(5, COUNTERS_EVERY)
        self.bring((A, [entry(f"{number}-0") for number in range(8, 13)]))
        self.assert_lag(0, 0.0)
        self.clock.advance(1)
        self.find("13-0", 13)
        self.assert_lag(1, 0.0)

    def test_a_slow_reader_that_moves(self) -> None:
        """The time in the id of the last entry read is a bound: what was not read was added after it."""
        self.begin(self.stream(read="1000-0"))
        self.find("9000-0", 9)
        self.find("9000-0", 9)
        self.assert_lag(4, 0.5, wall=1.5)

    def test_the_clock_of_redis_is_ahead(self) -> None:
        self.begin(self.stream(read="9000-0"))
        self.find("9001-0", 6)
        self.find("9001-0", 6)
        self.assert_lag(1, 0.0, wall=1.0)

    def test_not_what_is_not_read(self) -> None:
        self.begin(self.stream())
        self.find("9-0", 9)
        self.reader.remove(A)
        self.assertEqual({}, self.reader.lags(10_000.0))

    def test_while_redis_is_silent(self) -> None:
        """It grows with the time since the last answer, and is 0 again when Redis says that all was read."""
        self.begin(self.stream())
        self.find("5-0", 5)
        self.clock.advance(COUNTERS_EVERY)
        self.assert_lag(0, 0.0)
        self.clock.advance(3)
        self.assert_lag(0, COUNTERS_EVERY + 3)
        self.answer_check(self.commands, stream_info("5-0", 5, newest="5-0", oldest="1-0", length=5))
        self.assert_lag(0, 0.0)

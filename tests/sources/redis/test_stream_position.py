"""The position of a stream: every kind of gap, and harmless changes."""

from __future__ import annotations

from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase
from txredisapi import ResponseError

from airyd.errors import SourceUnavailable
from airyd.sources.redis.protocol import RedisReply
from airyd.sources.redis.stream_position import (
    NO_STREAM,
    NOTHING,
    Snapshot,
    Stream,
    StreamInfo,
    before,
    order,
    read_info,
)


class OrderTests(SynchronousTestCase):
    """Ids by their two numbers."""

    def test_order(self) -> None:
        ids = ["0-0", "0-1", "1-0", "9-10", "10-9", "10-10", f"1-{2**64 - 1}", f"{2**64 - 1}-0"]
        self.assertEqual(sorted(ids, key=order), sorted(ids, key=lambda each: tuple(map(int, each.split("-")))))

    def test_before(self) -> None:
        for event_id, smaller in (("5-3", "5-2"), ("5-0", f"4-{2**64 - 1}"), ("0-1", "0-0")):
            self.assertEqual(before(event_id), smaller)

    def test_what_is_none(self) -> None:
        for text in ("", "1", "-", "1-", "-1", "1-1-1", "01-1", "1-01", "+1-1", "1-1\n", "1-\u0661", f"{2**64}-0"):
            self.assertRaises(ValueError, order, text)


class InfoTests(SynchronousTestCase):
    """Replies to XINFO STREAM."""

    facts = (b"length", 3, b"last-generated-id", b"5-1", b"max-deleted-entry-id", b"3-0", b"entries-added", 9)

    def test_a_stream(self) -> None:
        reply: RedisReply = [*self.facts, b"first-entry", [b"5-0", []], b"last-entry", [b"5-1", [b"payload", b"{}"]]]
        self.assertEqual(read_info(reply), StreamInfo("5-1", 9, "3-0", "5-1", "5-0", 3, [b"payload", b"{}"], 9))

    def test_without_fields(self) -> None:
        reply: RedisReply = [*self.facts, b"first-entry", [b"5-0", 4], b"last-entry", [b"5-1", 9]]
        self.assertEqual(read_info(reply), StreamInfo("5-1", 9, "3-0", "5-1", "5-0", 3, None, 13))

    def test_an_empty_stream(self) -> None:
        reply: RedisReply = [*self.facts, b"first-entry", None, b"last-entry", None]
        self.assertEqual(read_info(reply), StreamInfo("5-1", 9, "3-0", None, None, 3))

    def test_no_stream(self) -> None:
        self.assertIs(read_info(ResponseError("ERR no such key")), NO_STREAM)

    def test_something_else(self) -> None:
        error = self.assertRaises(SourceUnavailable, read_info, ResponseError("WRONGTYPE Operation against a key"))
        self.assertIn("WRONGTYPE", str(error))

    def test_redis_6(self) -> None:
        reply = [b"length", 1, b"last-generated-id", b"5-1", b"groups", 0, b"last-entry", [b"5-1", [b"payload", b"{}"]]]
        self.assertIn("Redis 7", str(self.assertRaises(SourceUnavailable, read_info, reply)))


class Case(NamedTuple):
    """A stream of which 10 entries up to 10-0 were read, and a change to it.

    :ivar before: ids read between the command and its reply
    :ivar info: the reply to XINFO
    :ivar certain: whether no entries are in flight
    :ivar says: a part of the reason for a gap, None for none
    :ivar after: ids that are read afterwards
    :ivar then: a part of the reason which that gives
    """

    name: str
    info: StreamInfo
    says: str | None = None
    before: tuple[str, ...] = ()
    certain: bool = False
    after: tuple[str, ...] = ()
    then: str | None = None


def info(last: str, added: int, newest: str | None = "same") -> StreamInfo:
    """Return what Redis says of a stream whose newest entry is the last one, if nothing else is said."""
    return StreamInfo(last, added, NOTHING, last if newest == "same" else newest)


CASES = (
    # Nothing is missing.
    Case("nothing happened", info("10-0", 10)),
    Case("nothing happened, for certain", info("10-0", 10), certain=True),
    Case("all entries that were read are trimmed", info("10-0", 10, newest=None)),
    Case("those that were read last are deleted", info("10-0", 10, newest="8-0"), certain=True),
    Case("entries are on their way", info("12-0", 12), after=("11-0", "12-0")),
    Case("more came meanwhile", info("12-0", 12), after=("11-0", "12-0", "13-0", "14-0")),
    Case("the reader is ahead of the answer", info("10-0", 10), before=("11-0", "12-0")),
    Case("the reader is within the answer", info("12-0", 12), before=("11-0",), after=("12-0",)),
    Case("the reader is at the answer", info("12-0", 12), before=("11-0", "12-0")),
    Case("in two replies", info("12-0", 12), after=("11-0",)),
    Case("all that is on its way is trimmed, perhaps read", info("12-0", 12, newest=None), after=("11-0", "12-0")),
    Case("the newest is deleted, perhaps read", info("12-0", 12, newest="11-0"), after=("11-0", "12-0")),
    # The stream is another one.
    Case("DEL", NO_STREAM, "gone"),
    Case("DEL, for certain", NO_STREAM, "gone", certain=True),
    Case("DEL while entries came", NO_STREAM, "gone", before=("11-0",)),
    Case("lower ids after DEL", info("3-0", 1), "replaced"),
    Case("as many entries with lower ids", info("9-9", 10), "replaced"),
    Case("FLUSHALL and XADD", info("11-0", 1), "replaced"),
    Case("FLUSHALL and XADD, read", info("11-0", 1), "replaced", before=("11-0",)),
    Case(
        "FLUSHALL and as many entries, all read",
        info("20-0", 10),
        "replaced",
        before=tuple(f"{n}-0" for n in range(11, 21)),
    ),
    Case(
        "FLUSHALL and more entries, all read",
        info("22-0", 12),
        "replaced",
        before=tuple(f"{n}-0" for n in range(11, 23)),
    ),
    # An entry was removed before it was read.
    Case("XADD and XTRIM to nothing, for certain", info("12-0", 12, newest=None), "after 10-0", certain=True),
    Case("XADD and XDEL, for certain", info("12-0", 12, newest="9-0"), "after 10-0", certain=True),
    Case("one of two is gone", info("12-0", 12), before=("12-0",), says="1 entries"),
    Case("one of two is gone, seen later", info("12-0", 12), after=("12-0",), then="1 entries"),
    Case("one of three is gone, and more came", info("13-0", 13), after=("11-0", "13-0", "14-0"), then="1 entries"),
    Case("the last is gone, and more came", info("12-0", 12), after=("11-0", "13-0"), then="12-0"),
    Case("the first ones are trimmed", info("500-0", 500), after=("499-0", "500-0", "501-0"), then="488 entries"),
    Case("all is gone, and more came", info("12-0", 12, newest=None), after=("13-0",), then="12-0"),
    Case("FLUSHALL and very many entries", info("900-0", 50), after=("900-0",), then="39 entries"),
)


class LossTests(SynchronousTestCase):
    """The table of cases, and others."""

    def stream(self) -> Stream:
        """Return the stream of the table."""
        stream = Stream("/a", b"p:/a", info("4-0", 4))
        self.assertIsNone(stream.advance([f"{number}-0" for number in range(5, 11)]))
        return stream

    def assert_says(self, said: str | None, wanted: str | None, name: str) -> None:
        """Assert that the reason is the expected one, in printable text."""
        if wanted is None or said is None:
            self.assertEqual(said, wanted, name)
        else:
            self.assertIn(wanted, said, name)
            self.assertNotIn("-1 ", f" {said}", name)

    def test_table(self) -> None:
        for case in CASES:
            stream = self.stream()
            asked = stream.snapshot()
            for event_id in case.before:
                self.assertIsNone(stream.advance([event_id]), case.name)
            self.assert_says(stream.compare(case.info, asked, case.certain), case.says, case.name)
            if case.after:
                self.assert_says(stream.advance(case.after), case.then, case.name)
                if case.then is None:
                    self.assertEqual(stream.read, case.after[-1])

    def test_after_a_gap_all_is_well(self) -> None:
        """A gap is reported once."""
        for case in CASES:
            stream = self.stream()
            asked = stream.snapshot()
            for event_id in case.before:
                stream.advance([event_id])
            missing = stream.compare(case.info, asked, case.certain)
            if missing is None and case.after:
                missing = stream.advance(case.after)
            if missing is not None:
                stream.seek_to_end(case.info)
            # Nothing more comes. Redis has had all that was read since.
            beyond = sum(order(event_id) > order(case.info.last) for event_id in case.before + case.after)
            last = max(stream.read, case.info.last, key=order)
            quiet = case.info if last == case.info.last else info(last, case.info.added + beyond)
            if stream.read == last:
                self.assertIsNone(stream.compare(quiet, stream.snapshot(), is_certain=True), case.name)

    def test_what_is_trimmed_is_said_at_the_second_look(self) -> None:
        """At the first check the entries may have been in flight."""
        stream = self.stream()
        gone = info("12-0", 12, newest=None)
        self.assertIsNone(stream.compare(gone, stream.snapshot(), is_certain=False))
        self.assertIn("after 10-0", str(stream.compare(gone, stream.snapshot(), is_certain=False)))

    def test_a_reply_between_two_looks(self) -> None:
        stream = self.stream()
        self.assertIsNone(stream.compare(info("12-0", 12, newest=None), stream.snapshot(), is_certain=False))
        self.assertIsNone(stream.advance(["11-0", "12-0"]))
        self.assertIsNone(stream.compare(info("14-0", 14, newest=None), stream.snapshot(), is_certain=False))
        self.assertIsNone(stream.advance(["13-0", "14-0"]))

    def test_answers_may_overtake_each_other(self) -> None:
        """Two connections ask."""
        stream = self.stream()
        early, late = stream.snapshot(), stream.snapshot()
        self.assertIsNone(stream.compare(info("12-0", 12), late, is_certain=True))
        self.assertIsNone(stream.compare(info("11-0", 11), early, is_certain=False))
        self.assertIsNone(stream.advance(["11-0", "12-0"]))
        self.assertIsNone(stream.compare(info("12-0", 12), stream.snapshot(), is_certain=True))

    def test_an_answer_of_a_former_life(self) -> None:
        stream = self.stream()
        asked = stream.snapshot()
        replaced = info("2-0", 2)
        self.assertIsNotNone(stream.compare(replaced, stream.snapshot(), is_certain=True))
        stream.seek_to_end(replaced)
        self.assertIsNone(stream.compare(info("12-0", 12), asked, is_certain=False))
        self.assertIsNone(stream.advance(["20-0"]))

    def test_a_stream_that_does_not_exist_yet(self) -> None:
        stream = Stream("/a", b"p:/a", NO_STREAM)
        self.assertEqual(stream.snapshot(), Snapshot(NOTHING, 0, 1))
        self.assertIsNone(stream.compare(NO_STREAM, stream.snapshot(), is_certain=True))
        self.assertIsNone(stream.advance(["1-0"]))
        self.assertIsNone(stream.compare(info("1-0", 1), stream.snapshot(), is_certain=True))
        self.assertIn("gone", str(stream.compare(NO_STREAM, stream.snapshot(), is_certain=True)))


class Arrival(NamedTuple):
    """Entries read from a stream of which 10 up to 10-0 were read before, and XINFO right after that.

    :ivar there: the entries in the stream then
    :ivar says: a part of the reason for a gap, None for none
    """

    name: str
    ids: tuple[str, ...]
    added: int
    there: tuple[str, ...]
    says: str | None = None
    last: str | None = None
    deleted: str = NOTHING


ARRIVALS = (
    Arrival("the next ones", ("11-0", "12-0"), 12, ("1-0", "10-0", "11-0", "12-0")),
    Arrival("and more is there", ("11-0",), 13, ("1-0", "11-0", "12-0", "13-0")),
    Arrival("all before them is trimmed", ("11-0", "12-0"), 12, ("11-0", "12-0")),
    Arrival("and more is there", ("11-0", "12-0"), 14, ("11-0", "12-0", "13-0", "14-0")),
    Arrival("some of them are trimmed", ("11-0", "12-0", "13-0"), 14, ("13-0", "14-0")),
    Arrival("all of them are trimmed", ("11-0", "12-0"), 14, ("13-0", "14-0")),
    Arrival("everything is trimmed", ("11-0", "12-0"), 12, ()),
    Arrival("one of them is deleted", ("11-0", "12-0"), 12, ("11-0",), last="12-0", deleted="12-0"),
    Arrival("one in their midst is deleted", ("11-0", "12-0", "13-0"), 13, ("11-0", "13-0"), deleted="12-0"),
    Arrival("one after them is deleted", ("11-0", "12-0"), 13, ("11-0", "12-0"), last="13-0", deleted="13-0"),
    Arrival("one that was read long ago is deleted", ("11-0", "12-0"), 12, ("11-0", "12-0"), deleted="9-0"),
    # What came before them was trimmed unread.
    Arrival("the first is gone", ("12-0",), 12, ("12-0",), "1 entries"),
    Arrival("many are gone", ("500-0", "501-0"), 502, ("500-0", "501-0", "502-0"), "489 entries"),
    Arrival("many are gone, and these, too", ("500-0", "501-0"), 502, ("502-0",), "489 entries"),
    Arrival("many are gone, and all the rest", ("500-0", "501-0"), 501, (), "489 entries", last="501-0"),
    Arrival("all after them is gone, too", ("11-0",), 13, (), "2 entries", last="13-0"),
    # The stream is another one.
    Arrival("DEL and XADD", ("11-0",), 1, ("11-0",), "replaced"),
    Arrival("DEL and lower ids first", ("11-0",), 2, ("3-0", "11-0"), "replaced"),
    Arrival("DEL and XADD, and now DEL and lower ids", ("11-0",), 1, ("3-0",), "replaced"),
)


class ArrivalTests(SynchronousTestCase):
    """Gaps that are found before later entries are delivered."""

    def stream(self) -> Stream:
        """Return the stream of the table."""
        return Stream("/a", b"p:/a", info("10-0", 10))

    def test_table(self) -> None:
        for case in ARRIVALS:
            newest, oldest = (case.there[-1], case.there[0]) if case.there else (None, None)
            last = case.last or newest or case.ids[-1]
            now = StreamInfo(last, case.added, case.deleted, newest, oldest, len(case.there))
            said = self.stream().find_missing(case.ids, now)
            if case.says is None:
                self.assertIsNone(said, case)
            else:
                self.assertIn(case.says, str(said), case)

    def test_no_stream(self) -> None:
        self.assertIn("gone", str(self.stream().find_missing(["11-0"], NO_STREAM)))


class LostTests(SynchronousTestCase):
    """Whether a new master has the entries up to 5-0."""

    fields = (b"payload", b"{}")

    def find(self, there: list[bytes] | None, info: StreamInfo, known: list[bytes] | None) -> str | None:
        """Return the result for an entry 5-0 with these fields, which had others."""
        stream = Stream("/a", b"p:/a", StreamInfo("5-0", 5, "0-0", "5-0" if known else None, fields=known))
        return stream.find_lost([] if there is None else [(b"5-0", there)], info)

    def test_it_has_the_entry(self) -> None:
        self.assertIsNone(self.find([*self.fields], StreamInfo("9-0", 9, "0-0", "9-0"), [*self.fields]))

    def test_it_does_not(self) -> None:
        for last in ("4-0", "5-0", "9-0"):  # the second may be trimmed, or another entry that was
            found = self.find(None, StreamInfo(last, 5, "0-0", None), [*self.fields])
            self.assertEqual(found, "the new master does not have 5-0, which was read")
        self.assertIsNotNone(self.find(None, NO_STREAM, [*self.fields]))

    def test_it_has_another_one(self) -> None:
        found = self.find([b"payload", b'{"a":1}'], StreamInfo("5-0", 5, "0-0", "5-0"), [*self.fields])
        self.assertEqual(found, "the new master has another entry 5-0")

    def test_a_position_without_an_entry(self) -> None:
        self.assertIsNone(self.find(None, StreamInfo("5-0", 5, "0-0", None), None))
        self.assertIsNotNone(self.find(None, StreamInfo("9-0", 9, "0-0", "9-0"), None))
        self.assertIsNotNone(self.find([*self.fields], StreamInfo("5-0", 5, "0-0", "5-0"), None))

    def test_nothing_was_read(self) -> None:
        stream = Stream("/a", b"p:/a", NO_STREAM)
        self.assertIsNone(stream.find_lost([], StreamInfo("9-0", 9, "0-0", "9-0")))

"""The checks beside the blocking reads: gaps in streams, and changes during a disconnection."""

from __future__ import annotations

from airyd.sources.redis.reader import COUNTERS_EVERY
from airyd.sources.redis.stream_position import NO_STREAM, Stream, before
from tests.doubles import record_log, text_of
from tests.sources.redis.fakes import Answer, Error, stream_info, words
from tests.sources.redis.reader_case import A, B, ReaderCase, entry


class LookTests(ReaderCase):
    """Changes that XREAD doesn't report."""

    def look(self, *answers: Answer) -> None:
        """Advance the clock to the next check, and answer it."""
        self.clock.advance(COUNTERS_EVERY)
        self.answer_check(self.commands, *answers)

    def test_all_is_well(self) -> None:
        self.begin(self.stream())
        for _ in range(3):
            self.look(stream_info("5-0", 5, newest="5-0"))
        self.assertEqual((self.gaps, self.reading.asked()), ([], []))

    def test_a_gap_is_said_within_twice_the_pause(self) -> None:
        self.begin(self.stream())
        for _ in range(2):
            self.look(stream_info("6-0", 6, newest=None))
        self.assertEqual(len(self.gaps), 1)
        self.assertEqual(self.commands.asked(), [words("CLIENT", "UNBLOCK", 7)])
        self.commands.answer(1)
        self.look(stream_info("6-0", 6, newest=None))
        self.assertEqual(len(self.gaps), 1)

    def test_reading_goes_on_from_what_is_there(self) -> None:
        """The XREAD is unblocked at once: it would see only ids above the old position."""
        self.begin(self.stream())
        self.look(stream_info("2-0", 2, newest="2-0"))
        self.assertEqual([destination for destination, _ in self.gaps], ["/a"])
        self.assertEqual(self.commands.asked(), [words("CLIENT", "UNBLOCK", 7)])
        self.commands.answer(1)
        self.answer_read(None)
        self.assert_reads(a="2-0")

    def test_an_answer_from_before_the_gap_is_left_aside(self) -> None:
        """The reply of an XREAD at the old position is dropped: it lacks the entries before that position."""
        self.begin(self.stream())
        self.look(stream_info("2-0", 2, newest="2-0"))
        self.bring((A, [entry("9-0")]))
        self.assertEqual(self.delivered, [])
        self.assert_reads(a="2-0")
        self.bring((A, [entry("3-0"), entry("9-0")]))
        self.assertEqual(self.delivered, [("/a", ["3-0", "9-0"])])

    def test_an_answer_without_entries(self) -> None:
        """Redis replies so when the new entry was trimmed in the same transaction."""
        self.begin(self.stream())
        self.bring((A, []))
        self.assert_reads(a="5-0")
        for _ in range(2):
            self.look(stream_info("6-0", 6, newest=None))
        self.assertEqual(len(self.gaps), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_what_went_before_entries_is_told_before_they_are_delivered(self) -> None:
        """The entries are then read again."""
        self.begin(self.stream())
        now = stream_info("9-0", 9, newest="9-0", oldest="8-0", length=2)
        self.answer_read([[A, [entry("8-0"), entry("9-0")]]], now)
        self.assertEqual(self.reading.asked(), [words("XINFO", "STREAM", A)])
        self.reading.answer(now)
        self.assertEqual(self.delivered, [])
        self.assertEqual(len(self.gaps), 1)
        self.assertIn("2 entries", self.gaps[0][1])
        self.assert_reads(a=before("8-0"))
        self.bring((A, [entry("8-0"), entry("9-0")]))
        self.assertEqual(self.delivered, [("/a", ["8-0", "9-0"])])
        self.look(stream_info("9-0", 9, newest="9-0", oldest="8-0", length=2))
        self.assertEqual(len(self.gaps), 1)

    def test_entries_whose_stream_is_something_else_by_now(self) -> None:
        """The entries are dropped, and the next check reports why."""
        wrong = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
        self.begin(self.stream(), self.stream(B))
        self.answer_read([[A, [entry("6-0")]], [B, [entry("6-0")]]], wrong, stream_info("6-0", 6, newest="6-0"))
        self.assertEqual(self.reading.asked(), [words("XINFO", "STREAM", key) for key in (A, B)])
        self.reading.answer(wrong, stream_info("6-0", 6, newest="6-0"))
        self.assertEqual((self.delivered, self.gaps), ([("/b", ["6-0"])], []))
        self.look(wrong, stream_info("6-0", 6, newest="6-0"))
        self.assertEqual([destination for destination, _ in self.gaps], ["/a"])

    def test_entries_are_read_again_if_nothing_can_be_known_of_what_came_before(self) -> None:
        self.begin(self.stream())
        self.reading.answer([[A, [entry("6-0")]]])
        self.reading.lose()
        self.clock.advance(1.2)
        self.reading.log_in(9)
        self.assertEqual(self.delivered, [])
        self.answer_check(self.reading, stream_info("6-0", 6, newest="6-0"))
        self.assert_reads(a="5-0")
        self.bring((A, [entry("6-0")]))
        self.assertEqual((self.delivered, self.gaps), ([("/a", ["6-0"])], []))

    def replaced(self, *ids: str) -> Answer:
        """Return the XINFO of a new stream with these entries."""
        return stream_info(ids[-1], len(ids), newest=ids[-1], oldest=ids[0], length=len(ids))

    def test_after_a_gap_reading_goes_on_behind_what_was_read(self) -> None:
        """A new stream has only entries that were not delivered."""
        self.begin(self.stream(read="5-0", added=500))
        self.look(self.replaced("7-0", "8-0", "9-0"))
        self.assertEqual(len(self.gaps), 1)
        self.commands.asked()
        self.commands.answer(1)
        self.answer_read(None)
        self.assert_reads(a=before("7-0"))
        self.bring((A, [entry("7-0"), entry("8-0"), entry("9-0")]))
        self.assertEqual(self.delivered, [("/a", ["7-0", "8-0", "9-0"])])
        self.look(self.replaced("7-0", "8-0", "9-0"))
        self.assertEqual(len(self.gaps), 1)

    def probed(self, **there: bytes) -> list[str]:
        """Let the reader look up read entries among these; return the ids that it looked up."""
        probed = []
        while (asked := self.commands.asked()) and asked[0][0] == b"XRANGE":
            if asked[0][2].startswith(b"("):
                break
            for _, _, first, last in asked:
                self.assertEqual(first, last)
                probed.append(first.decode())
                body = there.get("e" + first.decode().partition("-")[0])
                self.commands.answer([] if body is None else [entry(first.decode(), body)])
        self.last_asked = asked
        return probed

    def test_after_a_gap_reading_goes_on_behind_the_greatest_id_that_is_there(self) -> None:
        """The newest read entry that still exists counts, not another entry with its id."""
        self.begin(self.stream(read="5-0", added=500))
        self.bring((A, [entry(f"{number}-0", b'{"n":%d}' % number) for number in range(6, 21)]))
        self.look(stream_info("30-0", 100, newest="30-0", oldest="3-0", length=30))
        probed = self.probed(e20=b'{"n":0}', e10=b'{"n":10}', e9=b'{"n":9}', e5=b"{}")
        self.assertEqual(probed, [f"{number}-0" for number in range(20, 5, -1)])
        self.assertEqual(self.last_asked[0][:4], words("XRANGE", A, "(10-0", "30-0"))
        self.assertEqual(self.gaps, [])
        self.reading.asked()
        self.commands.answer([entry("20-0", b'{"n":0}'), entry("30-0")])
        self.assertEqual(len(self.gaps), 1)
        self.assertEqual(self.commands.asked(), [words("CLIENT", "UNBLOCK", 7)])
        self.commands.answer(1)
        self.answer_read(None)
        self.assert_reads(a="10-0")
        now = stream_info("30-0", 100, newest="30-0", oldest="3-0", length=30)
        self.answer_read([[A, [entry("20-0", b'{"n":0}'), entry("30-0")]]], now)
        self.assertEqual(self.delivered[-1], ("/a", ["20-0", "30-0"]))
        self.look(stream_info("30-0", 100, newest="30-0", oldest="3-0", length=30))
        self.assertEqual(len(self.gaps), 1)

    def test_the_last_1000_ids_are_known(self) -> None:
        self.begin(self.stream(read="5-0", added=500))
        self.bring((A, [entry(f"{number}-0") for number in range(6, 2000)]))
        self.look(stream_info("3000-0", 10, newest="3000-0", oldest="1-0", length=10))
        probed = self.probed()
        self.assertEqual(probed, [f"{number}-0" for number in range(1999, 999, -1)])
        self.assertEqual(self.last_asked[0][:4], words("XRANGE", A, "(1999-0", "3000-0"))

    def test_a_stream_that_ends_before_what_was_read(self) -> None:
        """A restored backup, or a publisher's own ids: reading continues at the end."""
        self.begin(self.stream(read="5-0", added=500))
        self.bring((A, [entry("50-0")]))
        self.reading.asked()
        self.look(self.replaced("2-0", "7-0"))
        self.assertEqual(len(self.gaps), 1)
        self.commands.asked()
        self.commands.answer(1)
        self.answer_read(None)
        self.assert_reads(a="7-0")

    def test_the_connection_is_lost_while_it_looks_for_the_place(self) -> None:
        """The gap is then reported by the task on the other connection."""
        self.begin(self.stream(read="5-0", added=500))
        self.bring((A, [entry("6-0")]))
        self.reading.asked()
        now = self.replaced("4-0", "9-0")
        self.look(now)
        self.assertEqual(self.commands.asked(), [words("XRANGE", A, "6-0", "6-0")])
        self.commands.lose()
        self.assertEqual(self.gaps, [])
        self.answer_read(None)
        self.assertEqual(self.reading.asked(), [words("XINFO", "STREAM", A)])
        self.reading.answer(now)
        self.assertEqual(self.reading.asked(), [words("XRANGE", A, "6-0", "6-0")])
        self.reading.answer([])
        self.reading.asked()
        self.reading.answer([entry("9-0")])
        self.assertEqual(len(self.gaps), 1)
        self.assert_reads(a="6-0")

    def test_where_looking_for_the_place_is_not_allowed(self) -> None:
        """Reading continues at the end, and the log says so."""
        log = record_log(self)
        self.begin(self.stream(read="5-0", added=500))
        self.bring((A, [entry("6-0")]))
        self.reading.asked()
        self.look(self.replaced("4-0", "9-0"))
        self.commands.asked()
        self.commands.answer(Error("NOPERM this user has no permissions to run the 'xrange' command"))
        self.assertEqual(len(self.gaps), 1)
        self.assertIn("NOPERM", text_of(log))
        self.answer_read(None)
        self.assert_reads(a="9-0")

    def test_nothing_of_a_gap_is_delivered_to_who_left(self) -> None:
        """Entries after missing ones are not delivered before the gap is reported."""
        self.begin(self.stream())
        self.look(stream_info("8-0", 8, newest="8-0"))
        self.on_gap = lambda: self.reader.remove(A)
        self.bring((A, [entry("8-0"), entry("9-0")]))
        self.assertEqual(self.delivered, [])

    def test_one_key_of_another_type(self) -> None:
        """The other streams are still read; this one again when it is a stream again."""
        wrong = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
        self.begin(self.stream(), self.stream(B))
        self.look(stream_info("5-0", 5, newest="5-0"), wrong)
        self.assertEqual([destination for destination, _ in self.gaps], ["/b"])
        self.assertIn("WRONGTYPE", self.gaps[0][1])
        self.bring((A, [entry("6-0")]))
        self.assert_reads(a="6-0")
        self.assertEqual(self.delivered, [("/a", ["6-0"])])
        self.look(stream_info("6-0", 6, newest="6-0"), wrong)
        self.assertEqual(len(self.gaps), 1)

        self.look(stream_info("6-0", 6, newest="6-0"), stream_info("9-0", 1, newest="9-0"))
        self.assertEqual(self.commands.asked(), [words("CLIENT", "UNBLOCK", 7)])
        self.answer_read(None)
        self.assert_reads(a="6-0", b="0-0")

    def test_a_key_of_another_type_that_xread_notices_first(self) -> None:
        wrong = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
        self.begin(self.stream(), self.stream(B))
        self.answer_read(wrong)
        self.clock.advance(0.5)
        self.answer_check(self.reading, stream_info("5-0", 5, newest="5-0"), wrong)
        self.assertEqual([destination for destination, _ in self.gaps], ["/b"])
        self.assert_reads(a="5-0")

    def test_redis_refuses_to_be_read(self) -> None:
        """The refusal is logged once, and the read is retried."""
        log = record_log(self)
        self.begin(self.stream())
        refusal = Error("NOPERM this user has no permissions to run the 'xread' command")
        self.answer_read(refusal)
        for _ in range(3):
            self.assertEqual(self.reader.trouble, str(refusal))
            self.clock.advance(0.5)
            self.answer_check(self.reading, stream_info("5-0", 5, newest="5-0"))
            self.assert_reads(a="5-0")
            self.answer_read(refusal)
        self.assertEqual(len([event for event in log if event["log_level"].name == "warn"]), 1)
        self.clock.advance(0.5)
        self.answer_check(self.reading, stream_info("5-0", 5, newest="5-0"))
        self.bring((A, [entry("6-0")]))
        self.assertIsNone(self.reader.trouble)
        self.assertEqual((self.gaps, self.delivered), ([], [("/a", ["6-0"])]))

    def test_a_look_that_is_refused_says_nothing_of_the_stream(self) -> None:
        self.begin(self.stream())
        self.look(Error("NOPERM this user has no permissions to run the 'xinfo|stream' command"))
        self.look(stream_info("5-0", 5, newest="5-0"))
        self.assertEqual(self.gaps, [])

    def test_redis_6(self) -> None:
        """An older Redis lacks the counters."""
        self.begin(self.stream())
        self.look([b"length", 1, b"last-generated-id", b"5-0", b"last-entry", None])
        self.assertIn("Redis 7", self.gaps[0][1])


class ReconnectingTests(ReaderCase):
    """After a loss of the connection reading goes on after the last id."""

    def come_back(self) -> None:
        """Lose the reading connection and let it come back."""
        self.reading.lose()
        self.clock.advance(1.2)
        self.assertEqual(len(self.endpoints[0].sessions), 2)
        self.reading.log_in(9)

    def test_goes_on(self) -> None:
        self.begin(self.stream())
        self.bring((A, [entry("6-0")]))
        self.come_back()
        self.answer_check(self.reading, stream_info("8-0", 8, newest="8-0"))
        self.assert_reads(a="6-0")
        self.bring((A, [entry("7-0"), entry("8-0")]))
        self.assertEqual((self.delivered, self.gaps), ([("/a", ["6-0"]), ("/a", ["7-0", "8-0"])], []))

    def test_looks_first(self) -> None:
        """Entries trimmed meanwhile are reported at once: no reply is in flight."""
        self.begin(self.stream())
        self.come_back()
        self.answer_check(self.reading, stream_info("8-0", 8, newest=None))
        self.assertEqual(len(self.gaps), 1)
        self.assert_reads(a="8-0")

    def test_lost_again_while_looking(self) -> None:
        self.begin(self.stream())
        self.come_back()
        self.reading.lose()
        self.clock.advance(1.2)
        self.assertEqual(len(self.endpoints[0].sessions), 3)
        self.reading.log_in(10)
        self.assertEqual([command[0] for command in self.reading.asked()], [b"EVAL_RO"])

    def test_wakes_the_new_connection(self) -> None:
        self.begin(self.stream())
        self.come_back()
        self.answer_check(self.reading, stream_info("5-0", 5, newest="5-0"))
        self.reader.add(self.stream(B))
        self.assertEqual(self.commands.asked(), [words("CLIENT", "UNBLOCK", 9)])

    def test_a_silent_connection_is_given_up(self) -> None:
        self.begin(self.stream())
        silent = self.reading
        for _ in range(7):
            self.clock.advance(1.5)
            self.answer_check(self.commands, stream_info("5-0", 5, newest="5-0"))
        self.assertFalse(silent.is_open)

    def test_a_stream_that_does_not_exist_yet(self) -> None:
        stream = Stream("/a", A, NO_STREAM)
        self.reader.add(stream)
        self.answer_check(self.reading, Error("ERR no such key"))
        self.assert_reads(a="0-0")
        self.assertEqual(self.gaps, [])

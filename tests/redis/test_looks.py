"""What a blocking reader finds out beside its reading: what is gone, and what happened while it was away."""

from __future__ import annotations

from airyd.sources.redis.reader import LOOK_EVERY
from airyd.sources.redis.stream import NO_STREAM, Stream
from tests.doubles import record_log
from tests.redis.fakes import Answer, Error, stream_info, words
from tests.redis.reader_case import A, B, ReaderCase, entry


class LookTests(ReaderCase):
    """What XREAD doesn't tell."""

    def look(self, *answers: Answer) -> None:
        """Let the time of the next look come, and answer it."""
        self.clock.advance(LOOK_EVERY)
        self.assertEqual([command[:2] for command in self.commands.asked()], [words("XINFO", "STREAM")] * len(answers))
        self.commands.answer(*answers)

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
        """At once: the XREAD that waits would see only ids above the old position."""
        self.begin(self.stream())
        self.look(stream_info("2-0", 2, newest="2-0"))
        self.assertEqual([destination for destination, _ in self.gaps], ["/a"])
        self.assertEqual(self.commands.asked(), [words("CLIENT", "UNBLOCK", 7)])
        self.commands.answer(1)
        self.reading.answer(None)
        self.assert_reads(a="2-0")

    def test_an_answer_from_before_the_gap_is_left_aside(self) -> None:
        """It would leave out what lies between the new position and the old one."""
        self.begin(self.stream())
        self.look(stream_info("2-0", 2, newest="2-0"))
        self.bring((A, [entry("9-0")]))
        self.assertEqual(self.delivered, [])
        self.assert_reads(a="2-0")
        self.bring((A, [entry("3-0"), entry("9-0")]))
        self.assertEqual(self.delivered, [("/a", ["3-0", "9-0"])])

    def test_an_answer_without_entries(self) -> None:
        """So Redis answers a blocked reader when what woke it up went within the same transaction."""
        self.begin(self.stream())
        self.bring((A, []))
        self.assert_reads(a="5-0")
        for _ in range(2):
            self.look(stream_info("6-0", 6, newest=None))
        self.assertEqual(len(self.gaps), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_what_went_before_entries_is_told_before_they_are_delivered(self) -> None:
        """They are not: whoever misses something begins anew after what is there."""
        self.begin(self.stream())
        self.reading.answer([[A, [entry("8-0"), entry("9-0")]]])
        self.assertEqual(self.reading.asked(), [words("XINFO", "STREAM", A)])
        self.reading.answer(stream_info("9-0", 9, newest="9-0", oldest="8-0", length=2))
        self.assertEqual(self.delivered, [])
        self.assertEqual(len(self.gaps), 1)
        self.assertIn("2 entries", self.gaps[0][1])
        self.assert_reads(a="9-0")
        self.look(stream_info("9-0", 9, newest="9-0", oldest="8-0", length=2))
        self.assertEqual(len(self.gaps), 1)

    def test_entries_whose_stream_is_something_else_by_now(self) -> None:
        """They are left, and the next look tells why."""
        wrong = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
        self.begin(self.stream(), self.stream(B))
        self.reading.answer([[A, [entry("6-0")]], [B, [entry("6-0")]]])
        self.reading.asked()
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
        self.reading.asked()
        self.reading.answer(stream_info("6-0", 6, newest="6-0"))
        self.assert_reads(a="5-0")
        self.bring((A, [entry("6-0")]))
        self.assertEqual((self.delivered, self.gaps), ([("/a", ["6-0"])], []))

    def test_nothing_of_a_gap_is_delivered_to_who_left(self) -> None:
        """Whoever misses something must not get what comes after it."""
        self.begin(self.stream())
        self.look(stream_info("8-0", 8, newest="8-0"))
        self.on_gap = lambda: self.reader.remove(A)
        self.bring((A, [entry("8-0"), entry("9-0")]))
        self.assertEqual(self.delivered, [])

    def test_one_key_of_another_type(self) -> None:
        """The others are read on; it is read again when it is a stream again."""
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
        self.reading.answer(None)
        self.assert_reads(a="6-0", b="0-0")

    def test_a_key_of_another_type_that_xread_notices_first(self) -> None:
        wrong = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
        self.begin(self.stream(), self.stream(B))
        self.reading.answer(wrong)
        self.clock.advance(0.5)
        self.assertEqual(self.reading.asked(), [words("XINFO", "STREAM", key) for key in (A, B)])
        self.reading.answer(stream_info("5-0", 5, newest="5-0"), wrong)
        self.assertEqual([destination for destination, _ in self.gaps], ["/b"])
        self.assert_reads(a="5-0")

    def test_redis_refuses_to_be_read(self) -> None:
        """That is said, once, and tried again."""
        log = record_log(self)
        self.begin(self.stream())
        refusal = Error("NOPERM this user has no permissions to run the 'xread' command")
        self.reading.answer(refusal)
        for _ in range(3):
            self.assertEqual(self.reader.trouble, str(refusal))
            self.clock.advance(0.5)
            self.reading.asked()
            self.reading.answer(stream_info("5-0", 5, newest="5-0"))
            self.assert_reads(a="5-0")
            self.reading.answer(refusal)
        self.assertEqual(len([event for event in log if event["log_level"].name == "warn"]), 1)
        self.clock.advance(0.5)
        self.reading.asked()
        self.reading.answer(stream_info("5-0", 5, newest="5-0"))
        self.bring((A, [entry("6-0")]))
        self.assertIsNone(self.reader.trouble)
        self.assertEqual((self.gaps, self.delivered), ([], [("/a", ["6-0"])]))

    def test_a_look_that_is_refused_says_nothing_of_the_stream(self) -> None:
        self.begin(self.stream())
        self.look(Error("NOPERM this user has no permissions to run the 'xinfo|stream' command"))
        self.look(stream_info("5-0", 5, newest="5-0"))
        self.assertEqual(self.gaps, [])

    def test_redis_6(self) -> None:
        """It lacks the counters."""
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
        self.reading.asked()
        self.reading.answer(stream_info("8-0", 8, newest="8-0"))
        self.assert_reads(a="6-0")
        self.bring((A, [entry("7-0"), entry("8-0")]))
        self.assertEqual((self.delivered, self.gaps), ([("/a", ["6-0"]), ("/a", ["7-0", "8-0"])], []))

    def test_looks_first(self) -> None:
        """What was trimmed meanwhile is said at once: nothing is on its way."""
        self.begin(self.stream())
        self.come_back()
        self.reading.asked()
        self.reading.answer(stream_info("8-0", 8, newest=None))
        self.assertEqual(len(self.gaps), 1)
        self.assert_reads(a="8-0")

    def test_lost_again_while_looking(self) -> None:
        self.begin(self.stream())
        self.come_back()
        self.reading.lose()
        self.clock.advance(1.2)
        self.assertEqual(len(self.endpoints[0].sessions), 3)
        self.reading.log_in(10)
        self.assertEqual(self.reading.asked(), [words("XINFO", "STREAM", A)])

    def test_wakes_the_new_connection(self) -> None:
        self.begin(self.stream())
        self.come_back()
        self.reading.answer(stream_info("5-0", 5, newest="5-0"))
        self.reader.add(self.stream(B))
        self.assertEqual(self.commands.asked(), [words("CLIENT", "UNBLOCK", 9)])

    def test_a_silent_connection_is_given_up(self) -> None:
        self.begin(self.stream())
        silent = self.reading
        for _ in range(7):
            self.clock.advance(1.5)
            self.commands.asked()
            self.commands.answer(stream_info("5-0", 5, newest="5-0"))
        self.assertFalse(silent.is_open)

    def test_a_stream_that_does_not_exist_yet(self) -> None:
        stream = Stream("/a", A, NO_STREAM)
        self.reader.add(stream)
        self.assertEqual(self.reading.asked(), [words("XINFO", "STREAM", A)])
        self.reading.answer(Error("ERR no such key"))
        self.assert_reads(a="0-0")
        self.assertEqual(self.gaps, [])

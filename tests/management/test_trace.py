"""The limits of a trace, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.management.queries import TraceLine
from airyd.management.trace import BYTES_PER_SECOND, LINES_PER_SECOND, MOST_LINES, Trace
from airyd.management.trace_lines import MASK, masked


class TraceTests(SynchronousTestCase):
    """One trace, with lines that the test adds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.lines: list[TraceLine] = []
        self.batches = 0
        self.undone = 0

    def trace(self, seconds: float = 60.0) -> Trace:
        """Begin a trace."""

        def undo() -> None:
            self.undone += 1

        trace = Trace(seconds, self.clock, lambda: 1000.0 + self.clock.seconds(), self.keep)
        trace.when_over(undo)
        return trace

    def keep(self, lines: Sequence[TraceLine]) -> None:
        """Take lines."""
        self.lines += lines
        self.batches += 1

    def add(self, trace: Trace, count: int, body: str | None = None) -> None:
        """Add so many lines, as far as they pass."""

        def make_lines() -> Iterator[TraceLine]:
            for _ in range(count):
                if trace.takes():
                    yield TraceLine(time=0.0, direction="out", command="MESSAGE", body=body)

        trace.add(make_lines)

    @property
    def dropped(self) -> list[str]:
        """The counts of dropped lines, as they were reported."""
        return [dict(line.headers)["count"] for line in self.lines if line.command == "dropped"]

    def test_lines_of_a_turn_come_together(self) -> None:
        trace = self.trace()
        self.add(trace, 2)
        self.add(trace, 3)
        self.assertEqual(self.lines, [])
        self.clock.advance(0)
        self.assertEqual((len(self.lines), self.batches), (5, 1))

    def test_lines_per_second(self) -> None:
        """More lines are left out; how many they were is reported once a second."""
        trace = self.trace()
        for second in range(3):
            for _ in range(4):
                self.add(trace, 100)
                self.clock.advance(0)
            self.assertEqual(len(self.lines), (second + 1) * LINES_PER_SECOND + second)
            self.clock.advance(1)
        self.assertEqual(self.dropped, ["200"] * 3)
        self.add(trace, LINES_PER_SECOND)
        self.clock.advance(1)
        self.assertEqual(self.dropped, ["200"] * 3)

    def test_bytes_per_second(self) -> None:
        trace = self.trace()
        self.add(trace, 100, "x" * (BYTES_PER_SECOND // 10 + 1))
        self.clock.advance(0)
        self.assertEqual(len(self.lines), 10)
        self.clock.advance(1)
        self.assertEqual(self.dropped, ["90"])

    def test_most_lines(self) -> None:
        trace = self.trace(600)
        while not trace.is_over:
            self.add(trace, 150)
            self.clock.advance(1)
        self.assertEqual([line.command for line in self.lines].count("MESSAGE"), MOST_LINES)
        self.assertIn("lines", self.successResultOf(trace.ended))
        self.assertEqual((self.undone, self.clock.getDelayedCalls()), (1, []))

    def test_time(self) -> None:
        """It ends by itself, with the lines that were added before."""
        trace = self.trace(seconds=5)
        self.clock.advance(4.9)
        self.assertNoResult(trace.ended)
        self.add(trace, 300)
        self.clock.pump([0.1])
        self.assertIn("time", self.successResultOf(trace.ended))
        self.assertEqual((len(self.lines), self.dropped, self.undone), (201, ["100"], 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_longest(self) -> None:
        trace = self.trace(seconds=10_000)
        self.clock.advance(600)
        self.assertTrue(trace.is_over)

    def test_stop(self) -> None:
        """After the stop nothing is taken any more; stopping again changes nothing."""
        trace = self.trace()
        self.add(trace, 1)
        trace.stop("the reader has gone")
        self.assertEqual(self.successResultOf(trace.ended), "the reader has gone")
        trace.stop()
        self.add(trace, 1)
        trace.when_over(lambda: self.add(trace, 1))
        self.clock.advance(1)
        self.assertEqual((len(self.lines), self.undone, self.clock.getDelayedCalls()), (1, 1, []))

    def test_stop_by_its_reader(self) -> None:
        """The function that takes the lines may end the trace."""
        trace = Trace(60, self.clock, lambda: 0.0, lambda lines: trace.stop())
        self.add(trace, 1)
        self.clock.advance(0)
        self.assertTrue(trace.is_over)
        self.successResultOf(trace.ended)


class MaskTests(SynchronousTestCase):
    """Secret headers."""

    def test_masked(self) -> None:
        for name in (
            "Authorization",
            "authorization",
            "passcode",
            "Cookie",
            "x-auth",
            "access_token",
            "api_key",
            "bearer",
        ):
            self.assertEqual(masked({name: "s3cret"}), [(name, MASK)])

    def test_shown(self) -> None:
        for name in ("login", "destination", "id", "ack", "last-message-id", "heart-beat", "author"):
            self.assertEqual(masked({name: "value"}), [(name, "value")])

    def test_tokens_under_any_name(self) -> None:
        """A token is masked in whatever header a client puts it; the rest of the value is shown."""
        token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl-_"
        for value, shown in (
            (token, MASK),
            (f"/queue/message?t={token}&x=1", f"/queue/message?t={MASK}&x=1"),
            ("Bearer opaque-s3cret", MASK),
            (f"{'x' * 990} {token}", f"{'x' * 990} {MASK}"),
        ):
            self.assertEqual(masked({"login": value}), [("login", shown)])

    def test_long_values_are_cut_off(self) -> None:
        ((_, value),) = masked({"note": "x" * 100_000})
        self.assertLess(len(value), 2000)

"""What the replay tests share: a subscription that records calls, and a feed that answers on command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import StompError
from airyd.events import Event
from airyd.hub.replay import ReplayCursor, Window
from airyd.hub.shared_pages import SharedPages
from airyd.limits import KIB
from airyd.metrics import Metrics
from tests.model.twin import Twin, event_id

NAME: Final = "/a"


class FakeSubscription:
    """A ``ReplayTarget`` that records its calls, in order.

    :ivar said: the numbers of events, and words
    :ivar hidden: the numbers of events that a filter hides
    """

    def __init__(self, twin: Twin) -> None:
        self.twin = twin
        self.buffered = 0
        self.buffered_mark: int | None = 128 * KIB
        self.now = 0.0
        self.said: list[int | str] = []
        self.hidden: set[int] = set()
        self.calls: list[Callable[[], None]] = []
        self.on_send: Callable[[int], None] = lambda _: None
        self.on_resumed: Callable[[], None] = lambda: None
        self.on_gap: Callable[[], None] = lambda: None

    @property
    def position(self) -> str:
        """The position of the fake feed."""
        return event_id(self.twin.cursor[NAME])

    def seconds(self) -> float:
        """Return the time that the test has set."""
        return self.now

    def resumed(self, recovered: bool) -> None:
        """Keep it."""
        self.said.append("recovered" if recovered else "not recovered")
        self.on_resumed()

    def send_events(self, events: Sequence[Event]) -> Sequence[Event]:
        """Record the numbers of the events that aren't hidden."""
        shown = [event for event in events if int(event.id.partition("-")[2]) not in self.hidden]
        for event in shown:
            number = int(event.id.partition("-")[2])
            self.said.append(number)
            self.on_send(number)
        return shown

    def join(self) -> None:
        """Keep it."""
        self.said.append("join")

    def in_turn(self, call: Callable[[], None]) -> None:
        """Call back at once."""
        call()

    def later(self, call: Callable[[], None], seconds: float = 0.0) -> None:
        """Wait for :meth:`ReplayCase.turn`."""
        self.calls.append(call)

    def report_gap(self, since: str | None) -> None:
        """Keep it."""
        self.said.append("gap")
        self.on_gap()

    def fail(self, error: StompError) -> None:
        """Keep it."""
        self.said.append(error.fault.kind)


class ReplayCase(SynchronousTestCase):
    """A replay over a fake feed; the test plays the hub, and passes on the feed's events."""

    def setUp(self) -> None:
        self.twin = Twin(kept=10_000)
        self.twin.watched.add(NAME)
        self.metrics = Metrics([NAME])
        self.subscription = FakeSubscription(self.twin)

    def publish(self, count: int, size: int = 2) -> None:
        """Publish this many events, which the feed does not deliver yet."""
        for _ in range(count):
            self.twin.append(NAME, b"x" * size)

    def replay(self, last: int, prefetch: int | None = None) -> ReplayCursor:
        """Return a replay that has not begun."""
        window = None if prefetch is None else Window(prefetch)
        return ReplayCursor(SharedPages(self.twin), NAME, event_id(last), self.subscription, window, self.metrics)

    def live(self, prefetch: int) -> ReplayCursor:
        """Return a replay with a window, from where the feed is."""
        made = self.replay(0, prefetch)
        made.go_live(self.subscription.position)
        return made

    def feed(self, to: ReplayCursor, count: int) -> None:
        """Let the feed deliver a batch."""
        start = self.twin.cursor[NAME]
        self.twin.cursor[NAME] += count
        to.feed(self.twin.ledger[NAME][start : start + count], event_id(start))

    def answer(self, fails: bool = False) -> None:
        """Answer the oldest request for a page."""
        self.twin.answer_reading(self.twin.readings[0], fails)

    def turn(self) -> None:
        """Let a turn of the reactor pass."""
        calls, self.subscription.calls = self.subscription.calls, []
        for call in calls:
            call()

    def assert_said(self, *expected: int | str) -> None:
        """Check what was recorded since the last time, and clear it."""
        said, self.subscription.said = self.subscription.said, []
        self.assertEqual(said, list(expected))

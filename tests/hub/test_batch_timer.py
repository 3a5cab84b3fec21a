"""How long events take from the source to their last send."""

from __future__ import annotations

from collections.abc import Mapping

from zope.interface import alsoProvides

import airyd.hub.hub
from airyd.hub.hub import Hub
from airyd.interfaces import IMeasuredSource, Lag
from airyd.metrics import Metrics
from airyd.sources.status import SourceState, StatusSource
from airyd.stomp.spec import AckMode
from tests.hub.test_hub import HubCase
from tests.model.twin import Prompt, Twin


class OldTwin(Twin):
    """A feed that knows the age of its events.

    :ivar is_broken: whether it has a bug
    """

    is_broken = False

    def age(self, destination: str, event_id: str) -> float | None:
        """See ``IMeasuredSource``."""
        if self.is_broken:
            raise ZeroDivisionError
        return None if destination == "/b" else 3.0

    def lags(self) -> Mapping[str, Lag]:
        """See ``IMeasuredSource``."""
        return {}


class BatchTimerTests(HubCase):
    """One observation per flush and destination."""

    def assert_fanout(self, count: int, seconds: float) -> None:
        """Check how many batches were measured, and how long they took together."""
        self.assertEqual(count, self.metrics.fanout.count)
        self.assertAlmostEqual(seconds, self.metrics.fanout.sum, 3)

    def measure(self) -> OldTwin:
        """Use a feed that knows the age of its events, and return it."""
        self.twin = feed = OldTwin(kept=100, prompt=Prompt(watch=True, replay=True, publish=True))
        alsoProvides(feed, IMeasuredSource)
        self.hub = Hub(feed, ("/a", "/b"), self.clock, self.metrics, 1000)
        feed.start(self.hub)
        return feed

    def test_one_per_flush_and_destination(self) -> None:
        for _ in range(3):
            self.peer("/a", "/b")
        self.bring(a=2, b=1)
        self.bring(a=1)
        self.clock.advance(0.25)
        self.assert_fanout(2, 0.5)
        self.bring(a=1)
        self.clock.advance(0)
        self.assert_fanout(3, 0.5)

    def test_until_the_last_client(self) -> None:
        """A batch for many takes several turns; events that come meanwhile are measured, too."""
        self.patch(airyd.hub.hub, "SENDS_PER_TURN", 2)
        for _ in range(3):
            self.peer("/a")
        self.bring(a=1)
        self.clock.advance(0.1)
        self.assert_fanout(0, 0)
        self.bring(a=1)
        self.clock.advance(0.1)
        self.assert_fanout(1, 0.2)
        self.clock.pump([0.1, 0.1])
        self.assert_fanout(2, 0.5)

    def test_it_is_no_flush(self) -> None:
        self.peer("/a")
        self.bring(a=1)
        self.clock.advance(0)
        self.assertEqual(1, self.metrics.flushes)

    def test_nobody_gets_it(self) -> None:
        """Events that leave for nobody are not measured: those who acknowledge get them at once, by their replay."""
        self.peer("/a", ack=AckMode.CLIENT)
        self.bring(a=1)
        self.clock.advance(0)
        self.assert_fanout(0, 0)
        self.assertTrue(self.clock.is_idle)

    def test_a_bug_in_the_source(self) -> None:
        """An exception of the source's ``age`` stops no other batch."""
        self.measure().is_broken = True
        self.peer("/a", "/b")
        self.bring(a=1, b=1)
        for _ in range(2):
            self.assertRaises(ZeroDivisionError, self.clock.advance, 0)
        self.clock.advance(0)
        self.assert_fanout(2, 0)
        self.assertTrue(self.clock.is_idle)

    def test_age(self) -> None:
        """The source tells the age of an event, if it knows it."""
        self.measure()
        self.peer("/a", "/b")
        self.bring(a=5, b=1)
        self.clock.advance(0)
        self.assertEqual((1, 3.0), (self.metrics.event_age.count, self.metrics.event_age.sum))

    def test_no_age(self) -> None:
        self.peer("/a")
        self.bring(a=5)
        self.clock.advance(0)
        self.assertEqual((0, 1), (self.metrics.event_age.count, self.metrics.fanout.count))


class SilenceTests(HubCase):
    """The time since the last event of each destination with subscriptions."""

    def test_no_subscriber(self) -> None:
        """What nobody subscribes to is not read, so that its silence means nothing."""
        self.clock.advance(5)
        self.assertEqual({}, self.hub.silences())

    def test_no_event_yet(self) -> None:
        self.peer("/a")
        self.clock.advance(5)
        self.peer("/a", "/b")
        self.assertEqual({"/a": 5, "/b": 0}, self.hub.silences())

    def test_since_the_last_event(self) -> None:
        self.peer("/a", "/b")
        self.clock.advance(5)
        self.bring(a=1)
        self.clock.advance(1)
        self.assertEqual({"/a": 1, "/b": 6}, self.hub.silences())

    def test_the_last_subscriber_leaves(self) -> None:
        peer = self.peer("/a")
        self.clock.advance(5)
        peer.subscriptions[0].close()
        self.assertEqual({}, self.hub.silences())
        self.clock.advance(5)
        self.peer("/a")
        self.assertEqual({"/a": 0}, self.hub.silences())

    def test_not_of_the_status(self) -> None:
        """``/airyd/status`` is silent as long as nothing happens."""
        status = StatusSource([SourceState(["/a"], list)], self.clock, lambda: 0.0)
        self.hub = Hub(self.twin, ["/a"], self.clock, Metrics(["/a"]), 1000, status)
        self.peer("/airyd/status")
        self.assertEqual({}, self.hub.silences())


class CatchingUpTests(HubCase):
    """The clients that get history before live events."""

    def test_clients_not_subscriptions(self) -> None:
        for name in ("/a", "/b"):
            self.twin.append(name, b"{}")
        waiting = self.peer("/a", "/b", ack=AckMode.CLIENT)
        self.assertEqual(0, self.hub.catching_up())
        for replay in [each.replay for each in waiting.subscriptions]:
            assert replay is not None and replay.window is not None
            replay.window.size = 1
        self.bring(a=2, b=2)
        self.assertEqual(1, self.hub.catching_up())
        waiting.subscriptions[0].close()
        waiting.subscriptions[1].close()
        self.assertEqual(0, self.hub.catching_up())

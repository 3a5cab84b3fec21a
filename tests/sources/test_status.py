"""The source of ``/airyd/status``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from airyd.errors import UnknownDestination
from airyd.events import EVENT_ID, MESSAGE, STATUS, UNREAD_COUNT
from airyd.interfaces import IStatusSource
from airyd.sources.status import SourceState, StatusSource
from tests.sources.support import RecordingSink


class StatusTests(SynchronousTestCase):
    """Two sources whose health the test controls."""

    def setUp(self) -> None:
        """Make them; no client is subscribed yet."""
        self.clock = Clock()
        self.troubles: dict[str, Sequence[str]] = {MESSAGE: (), UNREAD_COUNT: ()}
        states = [SourceState([name], partial(self.troubles.__getitem__, name)) for name in self.troubles]
        self.status = StatusSource(states, self.clock, lambda: 5.0)
        self.sink = RecordingSink()
        self.successResultOf(self.status.start(self.sink))

    def said(self) -> list[Any]:
        """Return the notices since the last call."""
        events, self.sink.events = self.sink.events, []
        return [json.loads(event.body) for event in events]

    def test_interface(self) -> None:
        verifyObject(IStatusSource, self.status)
        self.failureResultOf(self.status.publish(STATUS, b"{}"), UnknownDestination)
        self.assertEqual(self.status.health(), ())

    def test_which_source(self) -> None:
        """Each change is published with the complete state and its destinations."""
        self.status.watch(STATUS)
        self.troubles[UNREAD_COUNT] = ("unreachable",)
        self.clock.advance(1)
        self.troubles[MESSAGE] = ("unreachable", "asleep")
        self.clock.advance(1)
        self.troubles[UNREAD_COUNT] = ()
        self.clock.advance(1)
        self.troubles[MESSAGE] = ()
        self.clock.advance(1)
        down = {"type": "source", "state": "down"}
        self.assertEqual(
            self.said(),
            [
                {**down, "destinations": [UNREAD_COUNT]},
                {**down, "destinations": [MESSAGE, UNREAD_COUNT]},
                {**down, "destinations": [MESSAGE]},
                {"type": "source", "state": "up"},
            ],
        )

    def test_nobody_looks_for_nobody(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.status.watch(STATUS)
        self.status.unwatch(STATUS)
        self.troubles[MESSAGE] = ("unreachable",)
        self.clock.pump([1] * 5)
        self.status.watch(STATUS)
        self.clock.pump([1] * 5)
        self.assertEqual(self.said(), [])
        self.status.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ids(self) -> None:
        """Ids are ordered, and differ from those of another process."""
        position = self.successResultOf(self.status.watch(STATUS))
        events = [self.status.state(), self.status.notice(b"{}"), self.status.state()]
        self.status.drain(1)
        ids = [position, *(event.id for event in [*events, *self.sink.events])]
        self.assertEqual(sorted(set(ids), key=lambda each: self.status.order(STATUS, each)), ids)
        for each in ids:
            self.assertTrue(EVENT_ID.match(each))
        other = StatusSource([], self.clock, lambda: 6.0)
        self.assertNotIn(other.state().id, ids)

    def test_nothing_is_kept(self) -> None:
        position = self.successResultOf(self.status.watch(STATUS))
        self.assertEqual(self.successResultOf(self.status.replay(STATUS, position, 10)), ((), False, False))

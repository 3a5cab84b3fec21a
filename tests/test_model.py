"""Resume, windows, groups and bounds under thousands of interleavings (docs/architecture.rst, "Resume").

The hub runs over a source whose watches, pages, publishes and batches are each answered when the
example says, with clients that check every frame against the ledger of what was published. The
bounds are small, so that short examples reach them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final
from zlib import crc32

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd import delivery, fanout
from airyd.delivery import Delivery
from airyd.events import Event
from airyd.fanout import Group, Member
from tests.model.operations import Operation
from tests.model.strategies import OPERATIONS, PROMPT
from tests.model.twin import Prompt
from tests.model.world import ModelFailure, World

#: Enough for each bound to be reached by a few operations.
_SMALL: Final = (
    (fanout, "BATCH_BYTES", 700),
    (delivery, "REPLAY_PAGE", 3),
    (delivery, "HELD_EVENTS", 2),
    (delivery, "HELD_BYTES", 1200),
    (delivery, "REPLAY_BUFFER", 500),
    (delivery, "PROBE_EVERY", 3),
)


def play(kept: int, prompt: Prompt, operations: list[list[Operation]]) -> None:
    """Let the operations happen, and require after each that all is well."""
    world = World(kept, prompt)
    for operation in chain.from_iterable(operations):
        operation(world)
        world.check()
    world.finish()


def model(*phases: Phase) -> Callable[[], None]:
    """Return a run of 2,000 examples, the same each time."""
    examples = given(kept=st.integers(3, 20), prompt=PROMPT, operations=OPERATIONS)
    bounds = settings(
        max_examples=2000,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=phases,
    )
    run: Callable[[], None] = bounds(examples(play))
    return run


class ModelCase(SynchronousTestCase):
    """Small bounds."""

    def setUp(self) -> None:
        for module, name, value in _SMALL:
            self.patch(module, name, value)


class ModelTests(ModelCase):
    """Whatever happens, and in whatever order, every subscription gets its run of events."""

    def test_interleavings(self) -> None:
        model(Phase.generate, Phase.shrink)()


class PlantedFaultTests(ModelCase):
    """The model is a check that can fail: it finds each of these."""

    def plant(self, owner: type[object], name: str, fault: Callable[..., object]) -> None:
        """Run the model with this method instead of airyd's; it must fail."""
        self.patch(owner, name, fault)
        with self.assertRaises(ModelFailure):
            model(Phase.generate)()
        self.flushLoggedErrors()

    def test_an_event_in_twenty_is_dropped(self) -> None:
        append = Group.append

        def drop(group: Group[Member], tail: bytes) -> bool:
            return bool(crc32(tail) % 20) and append(group, tail)

        self.plant(Group, "append", drop)

    def test_an_event_in_twenty_is_delivered_twice(self) -> None:
        append = Group.append

        def repeat(group: Group[Member], tail: bytes) -> bool:
            is_first = append(group, tail)
            if not crc32(tail) % 20:
                append(group, tail)
            return is_first

        self.plant(Group, "append", repeat)

    def test_no_event_is_held_while_a_page_is_read(self) -> None:
        def skip(_: Delivery, events: Sequence[Event]) -> None:
            """Hold nothing."""

        self.plant(Delivery, "_hold", skip)

    def test_whoever_joins_gets_what_is_pending(self) -> None:
        def add_at_once(group: Group[Member], member: Member, _: float) -> None:
            member.group = group
            group._place(member)

        self.plant(Group, "add", add_at_once)

    def test_whoever_has_replayed_what_the_feed_will_bring_joins(self) -> None:
        def join(of: Delivery) -> None:
            if of._state is delivery.State.LIVE and of.window is None:
                of._subscriber.join()

        self.plant(Delivery, "_join_if_level", join)

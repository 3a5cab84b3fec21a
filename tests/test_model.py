"""Resume, windows, groups and limits under thousands of interleavings (docs/architecture.rst, "Resume").

Each example is a random order of operations. It decides when the source answers a watch, a page or a publish and when
it brings a batch. The clients compare every frame with the ledger of published events. The limits are small, so that
short examples reach them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final
from zlib import crc32

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.client.wildcard import Wildcard, WildcardPart
from airyd.events import Event, RowFilter
from airyd.hub import batches, hub, replay, shared_pages
from airyd.hub.destination import Destination
from airyd.hub.fanout import Audience, Group
from airyd.hub.hub import Hub
from airyd.hub.interfaces import Subscriber
from airyd.hub.recipients import Member, Recipients
from airyd.hub.replay import ReplayCursor
from airyd.hub.shared_pages import SharedPages
from airyd.hub.solo import SoloAudience
from airyd.hub.subscription import Subscription
from airyd.stomp.message import Framing
from airyd.stomp.requests import Subscribe
from tests.model.operations import Operation
from tests.model.strategies import OPERATIONS, PROMPT, USERS_OPERATIONS, WILD_OPERATIONS
from tests.model.twin import Prompt
from tests.model.world import ModelFailure, World

#: Limits so small that a few operations reach them.
_SMALL: Final = (
    (batches, "BATCH_BYTES", 700),
    (hub, "SENDS_PER_TURN", 1),
    (replay, "REPLAY_PAGE", 3),
    (shared_pages, "REPLAY_PAGE", 3),
    (shared_pages, "MOST_BYTES", 2000),
    (replay, "HELD_EVENTS", 2),
    (replay, "HELD_BYTES", 1200),
    (replay, "REPLAY_BUFFER", 500),
    (replay, "PROBE_EVERY", 3),
)


def play(kept: int, prompt: Prompt, operations: list[list[Operation]]) -> None:
    """Carry out the operations, and check all invariants after each."""
    world = World(kept, prompt)
    for operation in chain.from_iterable(operations):
        operation(world)
        world.check()
    world.finish()


#: The possible operations, and the number of examples that finds each planted fault.
Happenings = tuple[st.SearchStrategy[list[list[Operation]]], int]
ANYTHING: Final[Happenings] = (OPERATIONS, 2000)
WILD: Final[Happenings] = (WILD_OPERATIONS, 700)
USERS: Final[Happenings] = (USERS_OPERATIONS, 500)
#: The part of the examples that runs every day: one in so many.
DAILY: Final = 10


def model(happenings: Happenings, *phases: Phase) -> Callable[[], None]:
    """Return a function that runs the examples, the same ones each time."""
    operations, count = happenings
    examples = given(kept=st.integers(3, 20), prompt=PROMPT, operations=operations)
    bounds = settings(
        max_examples=count,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=phases,
    )
    run: Callable[[], None] = bounds(examples(play))
    return run


class ModelCase(SynchronousTestCase):
    """Sets the small limits."""

    def setUp(self) -> None:
        for module, name, value in _SMALL:
            self.patch(module, name, value)


class ModelTests(ModelCase):
    """Every subscription gets its events, complete and in order, whatever happens in whatever order."""

    def test_interleavings(self) -> None:
        model((OPERATIONS, ANYTHING[1] // DAILY), Phase.generate, Phase.shrink)()

    def test_wildcards(self) -> None:
        """A wildcard gets the events of each matching destination, also of one that is added later."""
        model((WILD_OPERATIONS, WILD[1] // DAILY), Phase.generate, Phase.shrink)()

    def test_user_destinations(self) -> None:
        """Each has the events that its filter lets pass; the plain destination's positions resume it."""
        model((USERS_OPERATIONS, USERS[1] // DAILY), Phase.generate, Phase.shrink)()


@pytest.mark.long
class LongModelTests(ModelCase):
    """The same, with as many examples as are needed to find each planted fault."""

    def test_interleavings(self) -> None:
        model(ANYTHING, Phase.generate, Phase.shrink)()

    def test_wildcards(self) -> None:
        model(WILD, Phase.generate, Phase.shrink)()

    def test_user_destinations(self) -> None:
        model(USERS, Phase.generate, Phase.shrink)()


class PlantedFaultTests(ModelCase):
    """The model finds each of these faults."""

    def plant(
        self, owner: type[object], name: str, fault: Callable[..., object], happenings: Happenings = ANYTHING
    ) -> None:
        """Run the model with this method in place of airyd's; the model must fail."""
        self.patch(owner, name, fault)
        with self.assertRaises(ModelFailure):
            model(happenings, Phase.generate)()
        self.flushLoggedErrors()

    def test_an_event_in_twenty_is_dropped(self) -> None:
        append = Audience.append

        def drop(audience: Audience[Member], tails: Sequence[bytes], now: float, before: str) -> bool:
            return append(audience, [tail for tail in tails if crc32(tail) % 20], now, before)

        self.plant(Audience, "append", drop)

    def test_an_event_in_twenty_is_delivered_twice(self) -> None:
        append = Audience.append

        def repeat(audience: Audience[Member], tails: Sequence[bytes], now: float, before: str) -> bool:
            return append(audience, [tail for tail in tails for _ in range(1 if crc32(tail) % 20 else 2)], now, before)

        self.plant(Audience, "append", repeat)

    def test_a_slow_client_skips_what_it_was_not_sent(self) -> None:
        for owner in (Audience, SoloAudience):
            self.plant(owner, "sent_up_to", lambda *_: None)

    def test_a_slow_client_gets_the_last_batch_again(self) -> None:
        self.plant(Audience, "sent_up_to", lambda audience, *_: audience._before_tails or None)

    def test_a_page_is_kept_over_a_gap(self) -> None:
        self.plant(SharedPages, "forget", lambda *_: None)

    def test_no_event_is_held_while_a_page_is_read(self) -> None:
        def skip(_: ReplayCursor, events: Sequence[Event]) -> None:
            """Hold nothing."""

        self.plant(ReplayCursor, "_hold", skip)

    def test_a_new_member_gets_the_pending_events(self) -> None:
        def join(audience: Audience[Member], member: Member, framing: Framing, head: bytes) -> None:
            group = audience._groups.setdefault((framing, head), Group(audience, framing, head))
            group.size += 1
            group.add(member)

        self.plant(Audience, "join", join)

    @pytest.mark.long
    def test_a_member_that_is_refreshed_misses_the_batch_in_flight(self) -> None:
        def refresh(group: Group[Member], member: Member) -> None:
            if member.recipients is not None:
                member.recipients.remove(member)
                group.add(member)

        self.plant(Group, "refresh", refresh)

    def test_a_served_member_gets_the_batch_again(self) -> None:
        def serve(recipients: Recipients[Member], most: int) -> tuple[list[Callable[[bytes], Any]], list[Member]]:
            start = max(recipients.served - 1, 0)
            recipients.served = end = min(start + most + 1, len(recipients.members))
            return recipients.sends[start:end], recipients.members[start:end]

        self.plant(Recipients, "serve", serve)

    def test_a_replay_ahead_of_the_feed_joins_too_early(self) -> None:
        def join(of: ReplayCursor) -> None:
            if of._state is replay.ReplayState.LIVE and of.window is None:
                of._target.join()

        self.plant(ReplayCursor, "_join_if_level", join)

    def test_a_user_destination_is_not_filtered(self) -> None:
        make = Hub.make_subscription

        def unfiltered(
            of: Hub, subscriber: Subscriber, request: Subscribe, row_filter: RowFilter | None
        ) -> Subscription:
            return make(of, subscriber, request, None if of.is_user_destination(request.destination) else row_filter)

        self.plant(Hub, "make_subscription", unfiltered, USERS)

    def test_a_user_destination_has_the_plain_name(self) -> None:
        find = Hub.find_destination

        def as_plain(of: Hub, request: Subscribe) -> Destination:
            found = find(of, request)
            object.__setattr__(request, "destination", found.name)
            return found

        self.plant(Hub, "find_destination", as_plain, USERS)

    def test_one_part_of_a_wildcard_is_settled_alone(self) -> None:
        sent = Wildcard.sent

        def forget(wildcard: Wildcard, part: WildcardPart, events: Sequence[Event]) -> None:
            wildcard._unsettled = {each: one for each, one in (wildcard._unsettled or {}).items() if one is part}
            sent(wildcard, part, events)

        self.plant(Wildcard, "sent", forget, WILD)

    @pytest.mark.long
    def test_a_part_that_has_to_wait_is_given_up(self) -> None:
        def give_up(wildcard: Wildcard, part: WildcardPart) -> None:
            wildcard._close_part(part)

        self.plant(Wildcard, "postpone", give_up, WILD)

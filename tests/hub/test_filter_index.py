"""The index of row filters answers as if each filter were asked, at a cost that depends on who gets an event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from unittest.mock import patch

from airyd.auth.jwt.row_claims import ClaimRowFilter
from airyd.errors import Fault
from airyd.events import Event, FilterKey, Row, RowFilter, message_id
from airyd.hub.destination import AnyAudience
from airyd.hub.fanout import Audience
from airyd.hub.filter_index import FilterIndex
from airyd.hub.pacing import LateRemovals
from airyd.hub.row_filter import LazyRow, Rows
from airyd.stomp.spec import AckMode
from tests.model.twin import Prompt, event_id
from tests.peer import NAME, DestinationCase, Hides, Peer, request

VALUES = tuple(f"v{number}" for number in range(6))
FIELDS = ("user", "channel", "team")


def made_filter(random: Random) -> RowFilter | None:
    """Return any filter: none at all, one without a key, with few or many values, equal to another or not."""
    kind = random.randrange(10)
    if kind == 0:
        return None
    if kind == 1:
        return Hides(f'{{"n":{random.randrange(5)}}}'.encode())
    fields = random.sample(FIELDS, random.randint(1, 3))
    allowed = {field: frozenset(random.sample(VALUES, random.randint(0, len(VALUES)))) for field in fields}
    if kind == 2:
        return ClaimRowFilter({}, allowed)
    if kind == 3:
        allowed[fields[0]] |= {f"{number}" for number in range(2000)}
    if kind == 4:
        first = allowed.pop(fields[0])
        return ClaimRowFilter({fields[0]: first}, allowed)
    return ClaimRowFilter(allowed, {})


def made_body(random: Random, number: int) -> bytes:
    """Return a body in which any field may be missing, or not be text."""
    values: tuple[object, ...] = (*VALUES, "1999", 7, None)
    fields = random.sample(FIELDS, random.randint(0, 3))
    return json.dumps({"n": number, **{field: random.choice(values) for field in fields}}).encode()


class Model(DestinationCase):
    """A destination, and what each of its clients must have been sent by asking its filter about each event."""

    def setUp(self) -> None:
        super().setUp()
        self.twin.prompt = Prompt(watch=True, replay=True)
        self.wanted: dict[Peer, list[bytes]] = {}
        self.filters: dict[Peer, RowFilter | None] = {}

    def come(self, random: Random, row_filter: RowFilter | None) -> None:
        """Let a client subscribe, perhaps from an older event on, and perhaps with a window."""
        length = len(self.twin.ledger[NAME])
        start = random.choice([None, random.randint(max(0, length - 5), length)])
        ack = random.choice([AckMode.AUTO, AckMode.AUTO, AckMode.CLIENT])
        peer = Peer()
        self.filters[peer] = row_filter
        events = [] if start is None else self.twin.ledger[NAME][start:]
        self.wanted[peer] = [event.body for event in events if sees(row_filter, event)]
        last = None if start is None else event_id(start)
        self.subscribe(peer, request(NAME, f"s{random.randrange(2)}", ack=ack, prefetch=1000, last=last), row_filter)
        self.clock.pump([0] * 5)

    def refresh(self, peer: Peer, row_filter: RowFilter | None) -> None:
        """Give a client another filter."""
        self.filters[peer] = row_filter
        peer.subscriptions[0].apply_filter(row_filter)

    def publish(self, random: Random) -> None:
        """Publish a batch, which is sent later."""
        start = len(self.twin.ledger[NAME])
        events = [self.twin.append(NAME, made_body(random, start + number)) for number in range(random.randint(1, 3))]
        self.twin.cursor[NAME] += len(events)
        for peer, row_filter in self.filters.items():
            self.wanted[peer] += [event.body for event in events if sees(row_filter, event)]
        self.destination.deliver(events)

    def check(self) -> None:
        """Compare what the clients got with what they should have got, and the counts of groups and filters."""
        self.flush()
        for peer, wanted in self.wanted.items():
            self.assertEqual(peer.bodies, wanted)
        audiences = list(self.destination._audiences)
        groups = [len(each._groups) if isinstance(each, Audience) else len(each.members) for each in audiences]
        self.assertEqual(self.destination.groups, sum(groups))
        self.assertEqual(self.destination.filters, sum(each.row_filter is not None for each in audiences))


def sees(row_filter: RowFilter | None, event: Event) -> bool:
    """Ask a filter about an event."""
    return row_filter is None or row_filter.matches(LazyRow(event))


class AgainstPlainScanTests(Model):
    """Joins, leaves, refreshes, missing fields, equal filters and filters with thousands of values, at random."""

    def steps(self, random: Random) -> Iterator[None]:
        """Let 60 things happen."""
        shared = [made_filter(random) for _ in range(4)]
        for _ in range(60):
            row_filter = random.choice([*shared, made_filter(random)])
            peers = list(self.filters)
            kind = random.randrange(6)
            if kind < 2 or not peers:
                self.come(random, row_filter)
            elif kind == 2:
                peer = random.choice(peers)
                peer.leave()
                del self.filters[peer], self.wanted[peer]
            elif kind == 3:
                self.refresh(random.choice(peers), row_filter)
            else:
                self.publish(random)
            if random.random() < 0.7:
                self.flush()
            yield

    def test_at_random(self) -> None:
        for seed in range(60):
            random = Random(seed)
            for _ in self.steps(random):
                self.check_sometimes(random)
            self.check()
            for peer in self.filters:
                peer.leave()
            self.filters.clear()
            self.wanted.clear()
            self.clock.advance(0)  # filters with many values leave the index in the next turn
            left = [*self.destination._audiences, *self.destination._replay_groups]
            self.assertEqual((left, self.twin.watched), ([], set()))

    def check_sometimes(self, random: Random) -> None:
        """Check after one step in five; in between, events stay pending while clients come and go."""
        if random.random() < 0.2:
            self.check()

    def test_it_can_fail(self) -> None:
        """A filter that stays in the index after its client has left it is found out."""
        with patch.object(FilterIndex, "discard", lambda *_: None):
            self.assertRaises(self.failureException, self.test_at_random)


class CostTests(DestinationCase):
    """An event asks only the filters that may let it pass."""

    def setUp(self) -> None:
        super().setUp()
        self.twin.prompt = Prompt(watch=True, replay=True)
        self.asked = 0
        matches = ClaimRowFilter.matches

        def count(row_filter: ClaimRowFilter, row: LazyRow) -> bool:
            self.asked += 1
            return matches(row_filter, row)

        self.patch(ClaimRowFilter, "matches", count)

    def test_filters_of_others(self) -> None:
        """With a filter each, for clients in groups and clients that acknowledge."""
        for ack in (AckMode.AUTO, AckMode.CLIENT):
            for number in range(100):
                row_filter = ClaimRowFilter({"user": frozenset([f"u{number}"]), "team": frozenset(VALUES)}, {})
                self.subscribe(Peer(), request(NAME, ack=ack, prefetch=1000), row_filter)
        self.bring(b'{"user":"u7","team":"v1"}')
        self.assertEqual(self.asked, 1)  # the same filter for both clients
        self.bring(b'{"user":"nobody","team":"v1"}', b'{"team":"v1"}', b"{}")
        self.assertEqual(self.asked, 1)

    def test_a_key_that_suffices(self) -> None:
        """The filter is not even called for the event that passes."""
        peer, other = Peer(), Peer()
        self.subscribe(peer, request(NAME), ClaimRowFilter({"user": frozenset(["u1", "u2"])}, {}))
        self.subscribe(other, request(NAME), ClaimRowFilter({"user": frozenset(["u1"])}, {"team": frozenset("t")}))
        self.bring(b'{"user":"u2"}', b'{"user":"u1","team":"x"}')
        self.assertEqual((len(peer.bodies), other.bodies, self.asked), (2, [], 1))

    def test_a_key_without_values(self) -> None:
        """Nothing passes, so the filter is not called: many users may have no channel yet."""
        peers = [Peer() for _ in range(4)]
        for number, peer in enumerate(peers):
            row_filter = ClaimRowFilter({"channel": frozenset(), "user": frozenset([f"u{number}"])}, {})
            ack = (AckMode.AUTO, AckMode.CLIENT)[number % 2]
            self.subscribe(peer, request(NAME, ack=ack), row_filter)
        self.bring(b'{"user":"u1","channel":"c"}', b'{"user":"u1"}')
        self.assertEqual(([peer.bodies for peer in peers], self.asked), ([[]] * 4, 0))
        peers[0].subscriptions[0].apply_filter(ClaimRowFilter({"user": frozenset(["u1"])}, {}))
        self.bring(b'{"user":"u1"}')
        self.assertEqual([len(peer.bodies) for peer in peers], [1, 0, 0, 0])
        for peer in peers:
            peer.leave()
        self.assertEqual([*self.destination._audiences, *self.destination._replay_groups], [])

    def test_the_key_has_the_fewest_values(self) -> None:
        row_filter = ClaimRowFilter({"team": frozenset(VALUES), "user": frozenset("ab")}, {"channel": frozenset("c")})
        key = row_filter.key
        assert key is not None
        self.assertEqual((key.field, sorted(key.values)), ("user", ["a", "b"]))
        self.assertIsNone(ClaimRowFilter({}, {"user": frozenset("ab")}).key)

    def test_a_body_that_is_too_deep(self) -> None:
        """Nobody with a filter gets it."""
        peer, other = Peer(), Peer()
        self.subscribe(peer, request(NAME), ClaimRowFilter({"user": frozenset("a")}, {}))
        self.subscribe(other, request(NAME))
        deep = b'{"user":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        self.bring(deep)
        self.assertEqual((peer.bodies, other.bodies), ([], [deep]))


class Repeating:
    """A plugin's filter whose key repeats a value."""

    key = FilterKey("user", ["a", "b", "a"])

    def __init__(self, number: int) -> None:
        self._number = number

    def matches(self, row: Row) -> bool:
        """See ``RowFilter``."""
        return row.text("user") in self.key.values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Repeating) and other._number == self._number

    def __hash__(self) -> int:
        return hash(self._number)


class PluginTests(DestinationCase):
    """Filters that a plugin may have."""

    def test_a_key_that_repeats_a_value(self) -> None:
        self.twin.prompt = Prompt(watch=True)
        peers = [Peer(), Peer(), Peer()]
        for number, peer in enumerate(peers):
            self.subscribe(peer, request(NAME), Repeating(number // 2))
        self.bring(b'{"user":"a"}', b'{"user":"b"}', b'{"user":"c"}')
        self.assertEqual([len(peer.bodies) for peer in peers], [2, 2, 2])
        for peer in peers:
            peer.leave()
        self.assertEqual((list(self.destination._audiences), self.twin.watched), ([], set()))


class ManyValuesTests(DestinationCase):
    """A filter with many values that comes and goes in one turn of the reactor is added to the index once."""

    def setUp(self) -> None:
        super().setUp()
        self.twin.prompt = Prompt(watch=True)
        self.row_filter = ClaimRowFilter({"user": frozenset(f"u{number}" for number in range(2000))}, {})
        self.added = 0
        add = FilterIndex.add

        def count(index: FilterIndex[AnyAudience], item: AnyAudience) -> None:
            self.added += 1
            add(index, item)

        self.patch(FilterIndex, "add", count)

    def publish(self, number: int) -> None:
        """Publish an event that the filter lets pass; it stays pending."""
        event = self.twin.append(NAME, b'{"user":"u%d"}' % number)
        self.twin.cursor[NAME] += 1
        self.destination.deliver([event])

    def test_subscribed_again_and_again(self) -> None:
        """Each subscription gets the events of its own time."""
        for ack in (AckMode.AUTO, AckMode.CLIENT):
            peers = []
            for number in range(20):
                peers.append(Peer())
                self.subscribe(peers[-1], request(NAME, ack=ack), self.row_filter)
                self.publish(number)
                peers[-1].subscriptions[0].flush()
                if number < 19:
                    peers[-1].leave()
                    self.publish(1999)
            self.flush()
            self.assertEqual([peer.bodies for peer in peers], [[b'{"user":"u%d"}' % number] for number in range(20)])
            peers[-1].leave()
        self.assertEqual(self.added, 2)
        self.clock.advance(0)
        self.assertEqual([*self.destination._audiences, *self.destination._replay_groups], [])

    def test_members_again_by_the_next_turn(self) -> None:
        """It stays, also if it has become that of several."""
        first, second, third = Peer(), Peer(), Peer()
        self.subscribe(first, None, self.row_filter)
        first.leave()
        self.subscribe(second, request(NAME, "other"), self.row_filter)
        self.subscribe(third, None, self.row_filter)
        self.clock.advance(0)
        self.bring(b'{"user":"u7"}')
        self.assertEqual([len(peer.bodies) for peer in (first, second, third)], [0, 1, 1])
        second.leave()
        third.leave()
        self.clock.advance(0)
        self.assertEqual((list(self.destination._audiences), self.clock.getDelayedCalls()), ([], []))


FIRST, SECOND = b'{"user":"me","n":1}', b'{"user":"me","n":2}'


class NotifiedPeer(Peer):
    """A client that a gap's notice would reach; the notice counts as a fault here."""

    can_be_notified = True

    def notify(self, notice: bytes) -> bool:
        """See ``Subscriber``."""
        self.faults.append(Fault.HISTORY_LOST)
        return True


class PositionTests(DestinationCase):
    """A replay is not given what its filter hides; it must not look for it in the history later, which keeps 100."""

    def setUp(self) -> None:
        super().setUp()
        self.twin.prompt = Prompt(watch=True, replay=True)
        self.peer = NotifiedPeer()
        row_filter = ClaimRowFilter({"user": frozenset(["me"])}, {})
        self.subscribe(self.peer, request(NAME, ack=AckMode.CLIENT, prefetch=1), row_filter)
        self.bring(FIRST)
        for _ in range(150):
            self.bring(b'{"user":"other"}')

    def test_the_window_is_full(self) -> None:
        self.bring(b'{"user":"other"}', SECOND)
        self.assertEqual(self.peer.bodies, [FIRST])
        self.settle()
        self.assertEqual((self.peer.bodies, self.peer.faults), ([FIRST, SECOND], []))

    def test_a_gap(self) -> None:
        self.destination.gap()
        self.settle()
        self.bring(SECOND)
        self.assertEqual((self.peer.bodies, self.peer.faults), ([FIRST, SECOND], []))

    def settle(self) -> None:
        """Acknowledge the first event."""
        self.peer.subscriptions[0].settle(message_id(NAME, event_id(1)))
        self.clock.pump([0] * 3)

    def test_a_new_filter_while_a_page_is_read(self) -> None:
        """What the old filter has hidden meanwhile, and the new one shows, comes from the history."""
        self.twin.prompt = Prompt(watch=True)
        peer = Peer()
        row_filter = ClaimRowFilter({"user": frozenset(["nobody"])}, {})
        self.subscribe(peer, request(NAME, ack=AckMode.CLIENT, last=event_id(140)), row_filter)
        self.twin.look(self.twin.readings[0])
        self.bring(b'{"user":"you"}')
        peer.subscriptions[0].apply_filter(ClaimRowFilter({"user": frozenset(["you"])}, {}))
        while self.twin.readings:
            self.twin.answer_reading(self.twin.readings[0])
            self.clock.pump([0] * 3)
        self.assertEqual(peer.bodies, [b'{"user":"you"}'])


class IndexTests(DestinationCase):
    """What the index holds."""

    def test_equal_values_of_several_filters(self) -> None:
        self.twin.prompt = Prompt(watch=True)
        index: FilterIndex[AnyAudience] = FilterIndex(LateRemovals(self.clock))
        for number in range(3):
            row_filter = ClaimRowFilter({"user": frozenset([f"u{number}", "all"])}, {})
            self.subscribe(Peer(), request(NAME), row_filter)
        audiences = list(self.destination._audiences)
        for audience in audiences:
            index.add(audience)
        events = [Event(NAME, "1", b'{"user":"all"}'), Event(NAME, "2", b'{"user":"u1"}')]
        with Rows() as rows:
            self.assertEqual(index.select(events, rows).indexes, dict(zip(audiences, ([0], [0, 1], [0]), strict=True)))
        while audiences:
            self.assertCountEqual(index, audiences)
            for audience in audiences:
                self.assertIs(index.get(audience.row_filter), audience)
            index.discard(audiences.pop())
        self.assertEqual(list(index), [])

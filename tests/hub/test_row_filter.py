"""A body is decoded once, and each filter is called once for it, for groups and replays together."""

from __future__ import annotations

import gc

from airyd import payloads
from airyd.auth.jwt.row_claims import ClaimRowFilter
from airyd.errors import Fault
from airyd.events import EVENTS, Event, Row, RowFilter
from airyd.hub import row_filter as rows
from airyd.hub.row_filter import LazyRow
from airyd.stomp.spec import AckMode
from tests.model.twin import Prompt, event_id
from tests.peer import NAME, DestinationCase, Hides, Peer, request

VALUES = tuple(f"c{number}" for number in range(10))


def body(value: str) -> bytes:
    """Return a body with a channel."""
    return b'{"channel_id":"%b"}' % value.encode()


def only(value: str) -> ClaimRowFilter:
    """Return a filter for one channel, a new one each time."""
    return ClaimRowFilter({"channel_id": frozenset([value])}, {})


def lazy_rows() -> list[LazyRow]:
    """Return all that there are in this process."""
    return [each for each in gc.get_objects() if isinstance(each, LazyRow)]


class RowsTests(DestinationCase):
    """How many bodies one delivery decodes."""

    def setUp(self) -> None:
        """Count the bodies that are decoded."""
        super().setUp()
        self.decoded: list[bytes] = []

        def count(text: bytes) -> object:
            self.decoded.append(text)
            return payloads.members_of(text)

        self.patch(rows, "members_of", count)
        self.twin.prompt = Prompt(watch=True, replay=True)

    def peers(self, *filters: RowFilter | None, ack: AckMode = AckMode.AUTO, last: str | None = None) -> list[Peer]:
        """Connect one client for each filter."""
        made = [Peer() for _ in filters]
        for peer, row_filter in zip(made, filters, strict=True):
            self.subscribe(peer, request(NAME, ack=ack, last=last), row_filter)
        return made

    def test_batches_and_ten_filters(self) -> None:
        """Both those in groups and those with a window, of whom each filter has several."""
        others = {id(each): each for each in lazy_rows()}  # what another test of this process has left behind
        live = self.peers(*map(only, VALUES * 2))
        windowed = self.peers(*map(only, VALUES * 2), ack=AckMode.CLIENT)
        batch = [body(value) for value in (*VALUES[:3], *VALUES[:2])]  # equal bodies are events of their own
        self.bring(*batch)
        self.assertEqual(self.decoded, batch)
        for place, peer in enumerate(live + windowed):
            self.assertEqual(peer.bodies, [each for each in batch if each == body(VALUES[place % len(VALUES)])])
        self.bring(body(VALUES[9]))
        self.assertEqual(len(self.decoded), len(batch) + 1)
        self.assertEqual([each for each in lazy_rows() if id(each) not in others], [])

    def test_nobody_filters(self) -> None:
        peers = self.peers(None, None) + self.peers(None, ack=AckMode.CLIENT)
        self.bring(b"{}", b"{}")
        self.assertEqual([len(peer.bodies) for peer in peers], [2, 2, 2])
        self.assertEqual(self.decoded, [])

    def test_each_filter_is_asked_once(self) -> None:
        """Equal filters count as one, also for clients that have replays of their own."""
        filters = [Hides(b'{"n":1}') for _ in range(4)]
        self.peers(*filters[:2])
        peers = self.peers(*filters[2:], ack=AckMode.CLIENT)
        self.bring(b'{"n":1}', b'{"n":2}')
        self.assertEqual(sum(each.asked for each in filters), 2)
        self.assertEqual([peer.bodies for peer in peers], [[b'{"n":2}']] * 2)

    def test_replay(self) -> None:
        """Each body of a resuming client's page is decoded once."""
        for value in VALUES:
            self.twin.append(NAME, body(value))
        both = ClaimRowFilter({}, {"channel_id": frozenset(VALUES[:2]), "user": frozenset("u")})
        (peer,) = self.peers(both, last=event_id(0))
        self.assertEqual(self.decoded, [body(value) for value in VALUES])
        self.assertEqual(peer.bodies, [body(value) for value in VALUES[:2]])

    def test_a_filter_that_fails(self) -> None:
        """Its client is ended, in a group and in a replay; later replays call the filters again."""

        class Broken(Hides):
            def matches(self, row: object) -> bool:
                raise ZeroDivisionError

        self.peers(only("c1"))
        (broken,) = self.peers(Broken(b""))
        self.bring(body("c1"))
        (replaying,) = self.peers(Broken(b""), last=event_id(0))
        for peer in (broken, replaying):
            self.assertEqual((peer.bodies, peer.faults), ([], [Fault.INTERNAL]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.twin.cursor[NAME] = 1
        self.decoded.clear()
        self.peers(only("c1"), only("c1"), last=event_id(0))
        self.clock.pump([0] * 3)  # one replay per turn
        self.assertEqual(self.decoded, [body("c1")] * 2)

    def test_a_filter_that_fails_for_one_event(self) -> None:
        """Its clients get none of the events after that one: they would resume after these, and miss it."""

        class Broken(Hides):
            def matches(self, row: Row) -> bool:
                return bool(1 / (row.event.body != self.body))

        for ack in (AckMode.AUTO, AckMode.CLIENT):
            (peer,) = self.peers(Broken(b'{"n":2}'), ack=ack)
            self.bring(b'{"n":1}')
            self.bring(b'{"n":2}', b'{"n":3}')
            self.assertEqual((peer.bodies, peer.faults), ([b'{"n":1}'], [Fault.INTERNAL]))
            self.flushLoggedErrors(ZeroDivisionError)

    def test_fields(self) -> None:
        """One decoding serves all fields; a field that the destination doesn't have needs none."""
        row = LazyRow(Event("/queue/unread-count", "1", b'{"channel_id":"c","conversation_id":"v","n":1}'))
        self.assertIsNone(row.text("channel_id"))
        self.assertEqual(self.decoded, [])
        self.assertEqual([row.text(name) for name in ("conversation_id", "n", "none")], ["v", None, None])
        self.assertEqual(len(self.decoded), 1)

    def test_fields_of_events(self) -> None:
        """On ``/events`` they are the payload's; channels and metadata call them otherwise."""
        message = b'"payload":{"channel_id":"c","conversation_id":"v","message":{"id":"m"}}'
        subject = b'"payload":{"subject":"%b","identifier":"i","metadata":{"channel_id":"other"}}'
        channel = b'"payload":{"id":"c","channel_id":"other","source":"facebook","connected":true}'
        for kind, payload, channel_id, conversation_id in (
            (b"message", message, "c", "v"),
            (b"message.updated", message, "c", "v"),
            (b"channel", channel, "c", None),
            (b"channel.updated", channel, "c", None),
            (b"channel.updated", b'"payload":{"channel_id":"other"}', None, None),
            (b"metadata", subject % b"conversation", None, "i"),
            (b"metadata.updated", subject % b"channel", "i", None),
            (b"metadata.updated", subject % b"message", None, None),
            (b"metadata.updated", b'"payload":{"subject":"channel","channel_id":"other"}', None, None),
            (b"metadata.updated", b'"payload":{"subject":7,"identifier":"i"}', None, None),
            (b"tag.updated", b'"payload":{"id":"t"}', None, None),
            (b"never.heard.of", message, "c", "v"),
        ):
            for body in (b'{"type":"%b",%b}' % (kind, payload), b'{%b,"type":"%b","channel_id":"x"}' % (payload, kind)):
                row = LazyRow(Event(EVENTS, "1", body))
                self.decoded.clear()
                self.assertEqual((row.text("channel_id"), row.text("conversation_id")), (channel_id, conversation_id))
                self.assertEqual(self.decoded, [body])
        self.assertEqual(LazyRow(Event(EVENTS, "1", b'{"type":"x","payload":{"team":"t"}}')).text("team"), "t")

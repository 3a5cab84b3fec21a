"""The only subscription with its row filter is sent to like any other, also when others with an equal filter join."""

from __future__ import annotations

from airyd.auth.jwt.row_claims import ClaimRowFilter
from airyd.hub.fanout import Audience
from airyd.hub.solo import SoloAudience
from tests.model.twin import Prompt
from tests.peer import NAME, DestinationCase, Peer, request

MINE, OTHER = b'{"user":"me","n":%d}', b'{"user":"other","n":%d}'


class SoloCase(DestinationCase):
    """A destination whose source watches at once."""

    def setUp(self) -> None:
        super().setUp()
        self.twin.prompt = Prompt(watch=True, replay=True)

    def come(self, user: str = "me", id: str = "s", bound: int = 1 << 21, tls: bool = False) -> Peer:
        """Let a client subscribe that sees the events of one user."""
        peer = Peer(bound=bound, tls=tls)
        self.subscribe(peer, request(NAME, id), ClaimRowFilter({"user": frozenset([user])}, {}))
        return peer

    def publish(self, *bodies: bytes) -> None:
        """Publish events, which stay pending."""
        events = [self.twin.append(NAME, body) for body in bodies]
        self.twin.cursor[NAME] += len(events)
        self.destination.deliver(events)

    @property
    def kinds(self) -> list[type[object]]:
        """The classes of all audiences."""
        return [type(audience) for audience in self.destination._audiences]


class AloneTests(SoloCase):
    """With one member."""

    def test_one_send_for_all_events_of_a_turn(self) -> None:
        peer = self.come()
        self.assertEqual(self.kinds, [SoloAudience])
        sends = len(peer.channel.sends)
        self.publish(MINE % 1, OTHER % 2)
        self.publish(MINE % 3)
        self.assertEqual(peer.bodies, [])
        self.flush()
        self.assertEqual((peer.bodies, len(peer.channel.sends) - sends), ([MINE % 1, MINE % 3], 1))
        self.assertEqual(self.metrics.deliveries[NAME], 2)

    def test_it_leaves_with_events_pending(self) -> None:
        peer = self.come()
        self.publish(MINE % 1)
        peer.leave()
        self.flush()
        self.assertEqual((peer.bodies, self.kinds), ([], []))

    def test_what_is_pending_is_sent_ahead(self) -> None:
        """As before an UNSUBSCRIBE; nothing is sent twice."""
        peer = self.come()
        self.publish(MINE % 1)
        peer.subscriptions[0].flush()
        self.assertEqual(peer.bodies, [MINE % 1])
        self.publish(MINE % 2)
        self.flush()
        self.assertEqual(peer.bodies, [MINE % 1, MINE % 2])

    def test_a_new_filter(self) -> None:
        """Pending events are sent under the old filter."""
        peer = self.come()
        self.publish(MINE % 1, OTHER % 1)
        peer.subscriptions[0].apply_filter(ClaimRowFilter({"user": frozenset(["other"])}, {}))
        self.publish(MINE % 2, OTHER % 2)
        self.flush()
        self.assertEqual(peer.bodies, [MINE % 1, OTHER % 2])

    def test_too_slow(self) -> None:
        """A client that reads nothing is ended within a send of several batches; the rest of them is not sent."""
        peer = self.come(bound=1000)
        peer.channel.room = 0
        self.publish(*[b'{"user":"me","x":"%b"}' % (b"x" * 60_000)] * 4)
        self.flush()
        self.assertEqual((len(peer.faults), self.kinds), (1, []))

    def test_tls(self) -> None:
        peer = self.come(tls=True)
        self.publish(MINE % 1)
        self.flush()
        self.assertEqual(peer.bodies, [MINE % 1])


class SharedTests(SoloCase):
    """When a second one has an equal filter, both are members of a usual audience."""

    def test_what_is_pending(self) -> None:
        """It is sent to the first, and only to it."""
        first = self.come()
        self.publish(MINE % 1)
        second = self.come(id="t")
        self.assertEqual(self.kinds, [Audience])
        self.publish(MINE % 2)
        self.flush()
        self.assertEqual((first.bodies, second.bodies), ([MINE % 1, MINE % 2], [MINE % 2]))

    def test_nothing_is_pending(self) -> None:
        first, second, third = (self.come() for _ in range(3))
        self.bring(MINE % 1, OTHER % 2)
        self.assertEqual([peer.bodies for peer in (first, second, third)], [[MINE % 1]] * 3)
        first.leave()
        second.leave()
        self.bring(MINE % 3)
        self.assertEqual(third.bodies, [MINE % 1, MINE % 3])
        third.leave()
        self.assertEqual(self.kinds, [])
        self.come()
        self.assertEqual(self.kinds, [SoloAudience])

    def test_by_a_new_filter(self) -> None:
        """A client's filter becomes equal to that of another one, with events pending for both."""
        first, second = self.come(), self.come("other")
        self.publish(MINE % 1, OTHER % 1)
        second.subscriptions[0].apply_filter(ClaimRowFilter({"user": frozenset(["me"])}, {}))
        self.publish(MINE % 2, OTHER % 2)
        self.flush()
        self.assertEqual((first.bodies, second.bodies), ([MINE % 1, MINE % 2], [OTHER % 1, MINE % 2]))
        first.leave()
        second.leave()
        self.assertEqual((first.events, second.events), (2, 2))

    def test_the_first_is_too_slow(self) -> None:
        """It is ended by what was pending when the second joined; the second gets what follows."""
        first = self.come(bound=1000)
        first.channel.room = 0
        self.publish(*[b'{"user":"me","x":"%b"}' % (b"x" * 60_000)] * 3)
        second = self.come()
        self.publish(MINE % 2)
        self.flush()
        self.assertEqual((len(first.faults), second.bodies), (1, [MINE % 2]))

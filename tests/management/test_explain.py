"""Why an event did not reach a client: each outcome, over the memory feed."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from airyd.auth.jwt.row_claims import ClaimRowFilter
from airyd.errors import SourceUnavailable, UnknownDestination
from airyd.events import MESSAGE, UNREAD_COUNT, Event, FilterKey, InvalidEntry, Row, event_id_of
from airyd.management.explain import Explainer
from airyd.management.queries import DeliveryOutcome, ExplainQuery, ExplainReply
from tests.doubles import EVENT, frame
from tests.management.users import User, UserTestCase
from tests.websocket.case import text


class OddFilter:
    """A filter of a plugin, which requires a field of value ``x``."""

    key = FilterKey("conversation_id", ("x",))

    def matches(self, row: Row) -> bool:
        """See ``RowFilter``."""
        return row.text("conversation_id") == "x"


class ExplainTests(UserTestCase):
    """What the explainer answers."""

    def setUp(self) -> None:
        super().setUp()
        self.explainer = Explainer(self.feed, self.context.hub, self.factory)

    def explain(self, connection: str, event: str, destination: str | None = None) -> ExplainReply:
        """Return the answer."""
        query = ExplainQuery(connection=connection, event=event, destination=destination)
        reply: ExplainReply = self.successResultOf(self.explainer.answer(query))
        self.assertTrue(reply.text.endswith("."), reply.text)
        return reply

    def outcome(self, connection: str, event: str, destination: str | None = None) -> DeliveryOutcome:
        """Return the outcome."""
        return self.explain(connection, event, destination).outcome

    def test_sent(self) -> None:
        """A subscriber gets an event; it is named by its message-id, or by the feed's id with the destination."""
        connection, peer = self.logged_in()
        self.subscribe(peer, MESSAGE)
        published = self.publish(MESSAGE)
        event_id = event_id_of(MESSAGE, published)
        assert event_id is not None
        reply = self.explain(connection, published)
        self.assertEqual((reply.outcome, reply.destination), (DeliveryOutcome.SENT, MESSAGE))
        self.assertEqual(self.outcome(connection, event_id, MESSAGE), DeliveryOutcome.SENT)
        self.assertEqual(self.outcome(connection, published, MESSAGE), DeliveryOutcome.SENT)
        self.assertEqual(self.explain(connection, published, UNREAD_COUNT), reply)  # the message-id counts

    def test_before_its_position(self) -> None:
        connection, peer = self.logged_in()
        published = self.publish(MESSAGE)
        self.subscribe(peer, MESSAGE)
        self.assertEqual(self.outcome(connection, published), DeliveryOutcome.BEFORE_POSITION)
        self.publish(MESSAGE)
        self.assertEqual(self.outcome(connection, published), DeliveryOutcome.BEFORE_POSITION)

    def test_a_resume(self) -> None:
        """Events after the resumed id are sent; those up to it came before the subscription."""
        connection, peer = self.logged_in()
        first, second = self.publish(MESSAGE), self.publish(MESSAGE)
        self.subscribe(peer, MESSAGE, last_message_id=first)
        for _ in range(5):
            self.loop.turn()
        self.assertEqual(self.outcome(connection, first), DeliveryOutcome.BEFORE_POSITION)
        self.assertEqual(self.outcome(connection, second), DeliveryOutcome.SENT)

    def test_not_subscribed(self) -> None:
        connection, peer = self.logged_in()
        self.subscribe(peer, UNREAD_COUNT)
        published = self.publish(MESSAGE)
        self.assertEqual(self.outcome(connection, published), DeliveryOutcome.NOT_SUBSCRIBED)
        self.subscribe(peer, MESSAGE, key="1")
        peer.say(text(frame("UNSUBSCRIBE", id="1")))
        self.assertEqual(self.outcome(connection, published), DeliveryOutcome.NOT_SUBSCRIBED)

    def test_not_logged_in(self) -> None:
        peer = self.opened()
        reply = self.explain(self.id_of(peer), self.publish(MESSAGE))
        self.assertEqual(reply.outcome, DeliveryOutcome.NOT_SUBSCRIBED)
        self.assertIn("CONNECT", reply.text)

    def test_not_permitted(self) -> None:
        user = User("alice")
        user.forbidden.add(MESSAGE)
        connection, _ = self.logged_in(user)
        self.assertEqual(self.outcome(connection, self.publish(MESSAGE)), DeliveryOutcome.NOT_PERMITTED)

    def test_filtered(self) -> None:
        """The field by which the filter hides the event is named; its values are not."""
        conversation = frozenset({"7"})
        for row_filter, field in (
            (ClaimRowFilter({"conversation_id": conversation}, {}), "conversation_id"),
            (ClaimRowFilter({}, {"conversation_id": conversation}), "conversation_id"),
            (ClaimRowFilter({"conversation_id": frozenset({"1"}), "channel_id": conversation}, {}), "channel_id"),
            (OddFilter(), "conversation_id"),
        ):
            connection, peer = self.logged_in(User("alice", row_filter))
            self.subscribe(peer, MESSAGE)
            reply = self.explain(connection, self.publish(MESSAGE))
            self.assertEqual((reply.outcome, reply.field), (DeliveryOutcome.FILTERED, field))
            self.assertIn(field, reply.text)
            self.assertNotIn("7", reply.text)

    def test_a_filter_that_lets_it_pass(self) -> None:
        connection, peer = self.logged_in(User("alice", ClaimRowFilter({"conversation_id": frozenset({"1"})}, {})))
        self.subscribe(peer, MESSAGE)
        self.assertEqual(self.outcome(connection, self.publish(MESSAGE)), DeliveryOutcome.SENT)

    def test_wildcard(self) -> None:
        connection, peer = self.logged_in()
        self.subscribe(peer, "/queue/*")
        self.assertEqual(self.outcome(connection, self.publish(MESSAGE)), DeliveryOutcome.SENT)

    def test_two_subscriptions(self) -> None:
        """The one that got the event counts."""
        connection, peer = self.logged_in()
        self.subscribe(peer, MESSAGE, key="early")
        published = self.publish(MESSAGE)
        self.subscribe(peer, MESSAGE, key="late")
        self.assertEqual(self.outcome(connection, published), DeliveryOutcome.SENT)

    def test_pending_subscribe(self) -> None:
        self.feed.watches.holding = True
        connection, peer = self.logged_in()
        self.subscribe(peer, MESSAGE)
        self.assertEqual(self.outcome(connection, self.publish(MESSAGE)), DeliveryOutcome.PENDING)

    def test_pending_window(self) -> None:
        connection, peer = self.logged_in()
        self.subscribe(peer, MESSAGE, ack="client", prefetch_count="1")
        first, second = self.publish(MESSAGE), self.publish(MESSAGE)
        self.assertEqual(self.outcome(connection, first), DeliveryOutcome.SENT)
        self.assertEqual(self.outcome(connection, second), DeliveryOutcome.PENDING)
        peer.say(text(frame("ACK", id=f"1-{first}")))
        for _ in range(3):
            self.loop.turn()
        self.assertEqual(self.outcome(connection, second), DeliveryOutcome.SENT)

    def test_pending_in_the_feed(self) -> None:
        """The feed has the event, and airyd has not read it."""
        connection, peer = self.logged_in()
        self.subscribe(peer, MESSAGE)
        published = self.publish(MESSAGE)
        event_id = event_id_of(MESSAGE, published)
        assert event_id is not None
        epoch, number = event_id.split("-")
        ahead = Event(MESSAGE, f"{epoch}-{int(number) + 1}", EVENT)
        self.patch(self.feed, "find", lambda destination, wanted: _fired(ahead))
        reply = self.explain(connection, ahead.id, MESSAGE)
        self.assertEqual(reply.outcome, DeliveryOutcome.PENDING)
        self.assertIn("lag", reply.text)

    def test_pending_flush(self) -> None:
        """The event waits for the flush at the end of the reactor's turn, for one client alone or for several."""
        row_filter = ClaimRowFilter({"conversation_id": frozenset({"1"})}, {})
        for user in (User("alice"), User("bob", row_filter)):
            connection, peer = self.logged_in(user)
            self.subscribe(peer, MESSAGE)
            before = self.publish(MESSAGE)
            published = self.successResultOf(self.context.hub.publish(MESSAGE, EVENT, "admin"))
            self.assertEqual(self.outcome(connection, before), DeliveryOutcome.SENT)
            self.assertEqual(self.outcome(connection, published), DeliveryOutcome.PENDING)
            self.loop.turn()
            self.assertEqual(self.outcome(connection, published), DeliveryOutcome.SENT)

    def test_buffered(self) -> None:
        connection, peer = self.logged_in()
        self.subscribe(peer, MESSAGE)
        peer.socket.room = 3
        published = self.publish(MESSAGE)
        self.assertEqual(self.outcome(connection, published), DeliveryOutcome.BUFFERED)
        peer.socket.room = None
        self.loop.turn()
        self.assertEqual(self.outcome(connection, published), DeliveryOutcome.SENT)

    def test_refused(self) -> None:
        connection, peer = self.logged_in()
        self.subscribe(peer, MESSAGE)
        self.patch(self.feed, "find", lambda destination, event_id: _fired(InvalidEntry("the body is not JSON")))
        reply = self.explain(connection, "5-1", MESSAGE)
        self.assertEqual(reply.outcome, DeliveryOutcome.REFUSED)
        self.assertIn("not JSON", reply.text)

    def test_unknown(self) -> None:
        connection, peer = self.logged_in()
        self.subscribe(peer, MESSAGE)
        published = self.publish(MESSAGE)
        for event, destination in ((f"{published}9", None), ("x", MESSAGE), ("x", None), (published[1:], None)):
            self.assertEqual(self.outcome(connection, event, destination), DeliveryOutcome.UNKNOWN)

    def test_no_connection(self) -> None:
        published = self.publish(MESSAGE)
        connection, peer = self.logged_in()
        for wrong in ("", "x", f"{connection}9", "nobody-1"):
            self.assertEqual(self.outcome(wrong, published), DeliveryOutcome.NO_CONNECTION)
        peer.lose()
        self.assertEqual(self.outcome(connection, published), DeliveryOutcome.NO_CONNECTION)

    def test_the_connection_ends_meanwhile(self) -> None:
        published = self.publish(MESSAGE)
        connection, peer = self.logged_in()
        found: Deferred[Event | None] = Deferred()
        self.patch(self.feed, "find", lambda destination, event_id: found)
        answer = self.explainer.answer(ExplainQuery(connection=connection, event=published))
        peer.lose()
        found.callback(None)
        self.assertEqual(self.successResultOf(answer).outcome, DeliveryOutcome.NO_CONNECTION)

    def test_errors(self) -> None:
        connection, _ = self.logged_in()
        query = ExplainQuery(connection=connection, event="5-1", destination="/queue/nothing")
        self.failureResultOf(self.explainer.answer(query), UnknownDestination)
        published = self.publish(MESSAGE)
        self.successResultOf(self.feed.stop())
        query = ExplainQuery(connection=connection, event=published)
        self.failureResultOf(self.explainer.answer(query), SourceUnavailable)


def _fired(entry: Event | InvalidEntry) -> Deferred[Event | InvalidEntry | None]:
    found: Deferred[Event | InvalidEntry | None] = Deferred()
    found.callback(entry)
    return found

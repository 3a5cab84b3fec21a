"""SUBSCRIBE, SEND and transactions: effects, refusals, and when the receipt is sent."""

from __future__ import annotations

from airyd.errors import Fault, SourceUnavailable
from airyd.events import CHANNEL_CONNECTED, MESSAGE, UNREAD_COUNT
from airyd.limits import SOURCE_PATIENCE
from tests.client.frames import send, subscribe, unsubscribe
from tests.doubles import EVENT, Channel, ClientTestCase, frame

#: All that a client learns of a source that is unreachable.
AWAY = b"The event source cannot be reached now; try again later."


class SubscribeTests(ClientTestCase):
    """Which SUBSCRIBEs are refused."""

    def test_unknown_destination(self) -> None:
        channel = self.connected()
        channel.client.received(subscribe("a", "/queue/nothing"))
        error = self.assert_failed(channel, Fault.UNKNOWN_DESTINATION)
        self.assertEqual(error.headers["receipt-id"], "+a")
        self.assertIn(MESSAGE.encode(), error.body)

    def test_forbidden(self) -> None:
        self.door.principal.forbidden.add(MESSAGE)
        channel = self.connected()
        channel.client.received(subscribe("b", UNREAD_COUNT) + subscribe("a"))
        error = self.assert_failed(channel, Fault.FORBIDDEN)
        self.assertEqual(error.headers["receipt-id"], "+a")
        self.assertEqual(sum(self.metrics.subscriptions.values()), 0)

    def test_source_is_away(self) -> None:
        self.feed.watches.fault = SourceUnavailable("redis://192.0.2.7:6379/0 is unreachable")
        channel = self.connected()
        channel.client.received(subscribe("a") + unsubscribe("a"))
        error = self.assert_failed(channel, Fault.SOURCE_UNAVAILABLE)
        self.assertEqual(error.body, AWAY)
        self.assertEqual(Fault.SOURCE_UNAVAILABLE.close_code, 1013)
        self.assertEqual(sum(self.metrics.subscriptions.values()), 0)

    def test_source_does_not_answer(self) -> None:
        self.feed.watches.holding = True
        channel = self.connected()
        channel.client.received(subscribe("a"))
        self.clock.advance(SOURCE_PATIENCE)
        self.assert_failed(channel, Fault.SOURCE_UNAVAILABLE)
        self.feed.watches.answer()
        self.assertEqual((channel.commands(), channel.late), ([], []))

    def test_source_breaks(self) -> None:
        self.feed.watches.fault = ZeroDivisionError("interna")
        channel = self.connected()
        channel.client.received(subscribe("a"))
        error = self.assert_failed(channel, Fault.INTERNAL)
        self.assertNotIn(b"interna", error.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_receipt_has_a_position_to_resume_from(self) -> None:
        channel = self.connected()
        channel.client.received(subscribe("a"))
        (receipt,) = channel.frames()
        self.assertNotIn("recovered", receipt.headers)
        ids = [self.publish(MESSAGE) for _ in range(3)]
        channel.client.ended()
        again = self.connected()
        again.client.received(subscribe("b", last_message_id=receipt.headers["last-message-id"]))
        established, *messages = again.frames()
        self.assertEqual(established.headers["recovered"], "true")
        self.assertEqual([message.headers["message-id"] for message in messages], ids)

    def test_not_recovered(self) -> None:
        channel = self.connected()
        channel.client.received(subscribe("a", last_message_id="who-knows"))
        (receipt,) = channel.frames()
        self.assertEqual(receipt.headers["recovered"], "false")
        self.assertEqual(channel.closed, [])


class SendTests(ClientTestCase):
    """SEND and COMMIT."""

    def test_receipt_when_taken(self) -> None:
        self.feed.publishes.holding = True
        channel = self.connected()
        channel.client.received(send("1") + send("2", body=b'{"id":"2","conversation_id":"2","message":{"id":"2"}}'))
        self.assertEqual(channel.commands(), [])
        self.feed.publishes.answer()
        self.assertEqual(channel.commands(), ["RECEIPT 1"])
        self.feed.publishes.answer()
        self.assertEqual(channel.commands(), ["RECEIPT 2"])
        self.assertEqual(self.metrics.published["send"], 2)

    def test_body_as_sent(self) -> None:
        body = b' {"conversation_id" : "\xc3\xa4",\r\n"message":{"id":"\\u0000"}, "null":null } '
        channel = self.connected()
        channel.client.received(subscribe("a") + send("1", body=body))
        self.clock.advance(0)
        *_, message = channel.frames()
        self.assertEqual((message.body, message.headers["content-type"]), (body, "application/json"))

    def test_source_is_away(self) -> None:
        self.feed.publishes.fault = SourceUnavailable("redis://192.0.2.7:6379/0 is unreachable")
        channel = self.connected()
        channel.client.received(send("1"))
        error = self.assert_failed(channel, Fault.SOURCE_UNAVAILABLE)
        self.assertEqual((error.headers["receipt-id"], error.body), ("1", AWAY))

    def test_source_does_not_answer(self) -> None:
        self.feed.publishes.holding = True
        channel = self.connected()
        channel.client.received(send("1"))
        self.clock.advance(SOURCE_PATIENCE)
        self.assert_failed(channel, Fault.SOURCE_UNAVAILABLE)
        self.feed.publishes.answer()
        self.assertEqual((channel.commands(), channel.late), ([], []))

    def test_source_breaks(self) -> None:
        self.feed.publishes.fault = ZeroDivisionError("interna")
        channel = self.connected()
        channel.client.received(send("1"))
        error = self.assert_failed(channel, Fault.INTERNAL)
        self.assertNotIn(b"interna", error.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_refused(self) -> None:
        for destination, body, fault in (
            ("/queue/nothing", EVENT, Fault.UNKNOWN_DESTINATION),
            (MESSAGE, b"[]", Fault.INVALID_PAYLOAD),
            (MESSAGE, b"\xff", Fault.INVALID_PAYLOAD),
            (MESSAGE, b"{}", Fault.INVALID_PAYLOAD),
            (CHANNEL_CONNECTED, EVENT, Fault.FORBIDDEN),
        ):
            self.door.principal.forbidden = {CHANNEL_CONNECTED}
            channel = self.connected()
            channel.client.received(send("1", destination, body))
            error = self.assert_failed(channel, fault)
            self.assertEqual(error.headers["receipt-id"], "1", fault)
        self.assertEqual(self.feed.taken, [])

    def test_many_sends_pause_the_reading(self) -> None:
        """While the source is unreachable, airyd does not collect all that a client sends."""
        self.feed.publishes.holding = True
        channel = self.connected()
        received = 0
        while not channel.paused and received < 100_000:
            channel.client.received(send("1"))
            received += 1
        self.assertTrue(channel.paused)
        for _ in range(received):
            self.feed.publishes.answer()
        self.assertFalse(channel.paused)
        self.assertEqual(channel.commands().count("RECEIPT 1"), received)

    def test_a_paused_client_that_failed_is_read_again(self) -> None:
        """Its close frame must be seen."""
        self.feed.publishes.holding = True
        channel = self.connected()
        while not channel.paused:
            channel.client.received(send("1"))
        self.clock.advance(SOURCE_PATIENCE)
        self.assert_failed(channel, Fault.SOURCE_UNAVAILABLE)
        self.assertFalse(channel.paused)


class TransactionTests(ClientTestCase):
    """BEGIN, COMMIT, ABORT."""

    def begun(self, channel: Channel, *destinations: str) -> None:
        """Begin a transaction ``t`` with a SEND to each destination."""
        sends = [send("", name, transaction="t").replace(b"receipt:\n", b"") for name in destinations]
        channel.client.received(frame("BEGIN", transaction="t") + b"".join(sends))

    def commit(self, channel: Channel) -> None:
        """Commit it."""
        channel.client.received(frame("COMMIT", transaction="t", receipt="done"))

    def test_in_order_and_receipt_at_the_end(self) -> None:
        self.feed.publishes.holding = True
        channel = self.connected()
        order = [MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED, MESSAGE]
        self.begun(channel, *order)
        self.assertEqual(len(self.feed.publishes), 0)
        self.commit(channel)
        for number in range(4):
            self.assertEqual((channel.commands(), len(self.feed.taken)), ([], number))
            self.feed.publishes.answer()
        self.assertEqual(channel.commands(), ["RECEIPT done"])
        self.assertEqual([destination for destination, _ in self.feed.taken], order)

    def test_forbidden_publishes_nothing(self) -> None:
        self.door.principal.forbidden.add(UNREAD_COUNT)
        channel = self.connected()
        channel.client.received(
            frame("BEGIN", transaction="t")
            + send("1", MESSAGE, transaction="t")
            + send("2", UNREAD_COUNT, transaction="t")
        )
        self.commit(channel)
        error = self.assert_failed(channel, Fault.FORBIDDEN)
        self.assertEqual((self.feed.taken, error.headers.get("receipt-id")), ([], "2"))

    def test_refused_says_whose_receipt(self) -> None:
        """The ERROR for a fault in a transaction has the COMMIT's receipt."""
        channel = self.connected()
        channel.client.received(
            subscribe("a", ack="client")
            + frame("BEGIN", transaction="t")
            + frame("ACK", id="1-nothing", transaction="t")
        )
        self.commit(channel)
        error = self.assert_failed(channel, Fault.UNKNOWN_MESSAGE)
        self.assertEqual(error.headers.get("receipt-id"), "done")

    def test_source_goes_away_in_the_middle(self) -> None:
        self.feed.publishes.holding = True
        channel = self.connected()
        self.begun(channel, MESSAGE, UNREAD_COUNT, MESSAGE)
        self.commit(channel)
        self.feed.publishes.answer()
        self.feed.publishes.answer(SourceUnavailable("unreachable"))
        error = self.assert_failed(channel, Fault.SOURCE_UNAVAILABLE)
        self.assertEqual((error.headers["receipt-id"], len(self.feed.taken)), ("done", 1))

    def test_aborted(self) -> None:
        channel = self.connected()
        self.begun(channel, MESSAGE)
        channel.client.received(frame("ABORT", transaction="t", receipt="gone"))
        self.assertEqual((channel.commands(), self.feed.taken), (["RECEIPT gone"], []))

    def test_dropped_at_the_end(self) -> None:
        for last in (frame("DISCONNECT"), frame("NONSENSE"), b""):
            channel = self.connected()
            self.begun(channel, MESSAGE)
            channel.client.received(last)
            channel.client.ended()
        self.assertEqual(self.feed.taken, [])

    def test_receipts_inside(self) -> None:
        """A frame inside a transaction gets its receipt when it is added."""
        channel = self.connected()
        channel.client.received(frame("BEGIN", transaction="t", receipt="begun") + send("put", transaction="t"))
        self.assertEqual((channel.commands(), self.feed.taken), (["RECEIPT begun", "RECEIPT put"], []))

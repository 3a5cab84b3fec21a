"""ACK and NACK of each version."""

from __future__ import annotations

from airyd.errors import Fault
from airyd.events import MESSAGE
from tests.client.frames import subscribe
from tests.doubles import ClientTestCase, frame


class AcknowledgementTests(ClientTestCase):
    """ACK and NACK, per version."""

    def test_individual(self) -> None:
        channel = self.connected()
        channel.client.received(subscribe("a", ack="client-individual"))
        for _ in range(3):
            self.publish(MESSAGE)
        _, *messages = channel.frames()
        first, second, third = [message.headers["ack"] for message in messages]
        for command, ack in (("ACK", second), ("NACK", first), ("ACK", third)):
            channel.client.received(frame(command, b"", id=ack, receipt=ack))
            self.assertEqual(channel.commands(), [f"RECEIPT {ack}"])
        self.assertEqual((self.metrics.acks, self.metrics.nacks), (2, 1))
        channel.client.received(frame("ACK", b"", id=f"{first}0", receipt="never"))
        error = self.assert_failed(channel, Fault.UNKNOWN_MESSAGE)
        self.assertEqual(error.headers["receipt-id"], "never")

    def test_cumulative(self) -> None:
        channel = self.connected()
        channel.client.received(subscribe("a", ack="client"))
        for _ in range(3):
            self.publish(MESSAGE)
        _, *messages = channel.frames()
        first, second, third = [message.headers["ack"] for message in messages]
        channel.client.received(frame("ACK", id=second) + frame("ACK", b"", id=third, receipt="3"))
        self.assertEqual(channel.commands(), ["RECEIPT 3"])
        channel.client.received(frame("NACK", id=first, receipt="late"))
        self.assertEqual(channel.commands(), ["RECEIPT late"])
        self.assertEqual((self.metrics.acks, self.metrics.nacks, self.metrics.late["NACK"]), (2, 0, 1))

    def test_window(self) -> None:
        channel = self.connected()
        channel.client.received(subscribe("a", ack="client", prefetch_count="2"))
        for _ in range(5):
            self.publish(MESSAGE)
        _, *messages = channel.frames()
        self.assertEqual(len(messages), 2)
        channel.client.received(frame("ACK", id=messages[-1].headers["ack"]))
        self.clock.advance(0)
        self.assertEqual(channel.commands(), ["MESSAGE", "MESSAGE"])

    def test_1_1(self) -> None:
        channel = self.connected("1.1")
        channel.client.received(subscribe("a", ack="client-individual"))
        self.publish(MESSAGE)
        _, message = channel.frames("1.1")
        self.assertNotIn("ack", message.headers)
        name = message.headers["message-id"]
        channel.client.received(frame("NACK", b"", subscription="a", message_id=name, receipt="n"))
        self.assertEqual(channel.commands("1.1"), ["RECEIPT n"])
        channel.client.received(frame("ACK", b"", message_id=name, receipt="a"))
        self.assert_failed(channel, Fault.MISSING_HEADER, "1.1")

    def test_1_0_settles_in_all_subscriptions(self) -> None:
        """An ACK of STOMP 1.0 names only the message, so it settles it in all subscriptions."""
        channel = self.connected("1.0")
        channel.client.received(
            subscribe("a", ack="client", prefetch_count="1")
            + subscribe("b", ack="client", prefetch_count="1")
            + subscribe("c")
        )
        channel.frames("1.0")
        name = self.publish(MESSAGE)
        self.publish(MESSAGE)
        sent = [message.headers["subscription"] for message in channel.frames("1.0")]
        self.assertEqual(sorted(sent), ["a", "b", "c", "c"])
        channel.client.received(frame("ACK", b"", message_id=name, receipt="1"))
        self.clock.advance(0)
        receipt, *messages = channel.frames("1.0")
        self.assertEqual(receipt.headers["receipt-id"], "1")
        self.assertEqual(sorted(message.headers["subscription"] for message in messages), ["a", "b"])
        channel.client.received(frame("ACK", message_id=name, receipt="again"))
        self.assertEqual(channel.commands("1.0"), ["RECEIPT again"])
        channel.client.received(frame("ACK", message_id=f"{name}0"))
        self.assert_failed(channel, Fault.UNKNOWN_MESSAGE, "1.0")

    def test_1_0_has_no_nack(self) -> None:
        channel = self.connected("1.0")
        channel.client.received(subscribe("a", ack="client") + frame("NACK", message_id="1"))
        self.assert_failed(channel, Fault.UNKNOWN_COMMAND, "1.0")

    def test_auto(self) -> None:
        channel = self.connected("1.1")
        channel.client.received(subscribe("a"))
        name = self.publish(MESSAGE)
        channel.client.received(frame("ACK", subscription="a", message_id=name))
        self.assert_failed(channel, Fault.NOT_ACKNOWLEDGEABLE, "1.1")

    def test_in_a_transaction(self) -> None:
        channel = self.connected()
        channel.client.received(subscribe("a", ack="client", prefetch_count="1"))
        self.publish(MESSAGE)
        self.publish(MESSAGE)
        _, message = channel.frames()
        channel.client.received(
            frame("BEGIN", transaction="t") + frame("ACK", id=message.headers["ack"], transaction="t")
        )
        self.clock.advance(0)
        self.assertEqual(channel.commands(), [])
        channel.client.received(frame("COMMIT", transaction="t", receipt="done"))
        self.clock.advance(0)
        self.assertEqual(channel.commands(), ["RECEIPT done", "MESSAGE"])

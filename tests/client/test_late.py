"""A late or repeated ACK, NACK or UNSUBSCRIBE is not a fault if the message was sent or the subscription existed."""

from __future__ import annotations

from airyd.errors import Fault
from airyd.events import MESSAGE, UNREAD_COUNT
from airyd.limits import ENDED_SUBSCRIPTIONS, SETTLED_MESSAGES
from airyd.stomp import subscription_ids
from tests.client.frames import subscribe, unsubscribe
from tests.doubles import Channel, ClientTestCase, frame
from tests.integration.wire import StompFrame

VERSIONS = ("1.0", "1.1", "1.2")
MODES = ("client", "client-individual")


def settle(command: str, version: str, message: StompFrame, receipt: str, **headers: str) -> bytes:
    """Return the ACK or NACK of a message, as the version names it."""
    told = message.headers
    if version == "1.2":
        return frame(command, b"", id=told["ack"], receipt=receipt, **headers)
    if version == "1.1":
        names = {"message_id": told["message-id"], "subscription": told["subscription"]}
        return frame(command, b"", receipt=receipt, **names, **headers)
    return frame("ACK", b"", message_id=told["message-id"], receipt=receipt, **headers)


class LateTests(ClientTestCase):
    """A late frame is accepted, counted and answered, and other subscriptions continue."""

    def sent(self, version: str, ack: str, count: int = 3) -> tuple[Channel, list[StompFrame]]:
        """Return a client with the subscriptions ``view`` and ``other``, and the messages that ``view`` was sent."""
        channel = self.connected(version)
        channel.client.received(subscribe("view", ack=ack) + subscribe("other", UNREAD_COUNT))
        for _ in range(count):
            self.publish(MESSAGE)
        return channel, [each for each in channel.frames(version) if each.command == "MESSAGE"]

    def late(self, *commands: str) -> list[int]:
        """Return how many of each were late so far."""
        return [self.metrics.late[command] for command in commands]

    def assert_stands(self, channel: Channel, version: str) -> None:
        """The other subscription gets its events."""
        self.publish(UNREAD_COUNT)
        self.assertEqual([each.headers["subscription"] for each in channel.frames(version)], ["other"])
        channel.client.ended()

    def test_after_unsubscribe(self) -> None:
        for version in VERSIONS:
            for ack in MODES:
                channel, (first, second, third) = self.sent(version, ack)
                channel.client.received(unsubscribe("view") + settle("ACK", version, second, "2"))
                channel.client.received(settle("NACK", version, third, "3") + settle("ACK", version, first, "1"))
                self.assertEqual(channel.commands(version), ["RECEIPT -view", "RECEIPT 2", "RECEIPT 3", "RECEIPT 1"])
                self.assert_stands(channel, version)
        self.assertEqual(self.late("ACK", "NACK", "UNSUBSCRIBE"), [4 * 2 + 2 * 3, 4, 0])
        self.assertEqual((self.metrics.acks, self.metrics.nacks), (0, 0))

    def test_twice(self) -> None:
        for version in VERSIONS:
            for ack in MODES:
                channel, messages = self.sent(version, ack)
                for message in messages:
                    channel.client.received(settle("ACK", version, message, "a") * 2)
                self.assertEqual(channel.commands(version), ["RECEIPT a"] * 6)
                self.assert_stands(channel, version)
        self.assertEqual((self.late("ACK"), self.metrics.acks), ([18], 18))

    def test_cumulative(self) -> None:
        """Concurrent handlers of a client acknowledge in another order than that of the messages."""
        for version in VERSIONS:
            channel, messages = self.sent(version, "client")
            for message in reversed(messages):
                channel.client.received(settle("ACK", version, message, "a"))
            self.assertEqual(channel.commands(version), ["RECEIPT a"] * 3)
            self.assert_stands(channel, version)
        self.assertEqual((self.late("ACK"), self.metrics.acks), ([6], 3))

    def test_settled_and_then_after_unsubscribe(self) -> None:
        for version in VERSIONS:
            channel, (first, *_) = self.sent(version, "client-individual")
            channel.client.received(settle("ACK", version, first, "1") + unsubscribe("view"))
            channel.client.received(settle("ACK", version, first, "2"))
            self.assertEqual(channel.commands(version), ["RECEIPT 1", "RECEIPT -view", "RECEIPT 2"])
            self.assert_stands(channel, version)

    def test_the_id_is_in_use_again(self) -> None:
        """An ACK of the old subscription's message settles nothing of the new one that has the version's own name."""
        for version in VERSIONS:
            channel, (first, *_) = self.sent(version, "client", count=1)
            channel.client.received(unsubscribe("view") + subscribe("view", ack="client"))
            channel.client.received(settle("ACK", version, first, "late"))
            self.assertEqual(channel.commands(version)[1:], ["RECEIPT +view", "RECEIPT late"])
            channel.client.received(unsubscribe("view") + subscribe("view"))  # ack:auto
            channel.client.received(settle("ACK", version, first, "later"))
            self.assertEqual(channel.commands(version)[1:], ["RECEIPT +view", "RECEIPT later"])
            self.assert_stands(channel, version)
        self.assertEqual(self.late("ACK"), [6])

    def test_the_same_message_in_a_new_subscription(self) -> None:
        """In 1.2 it has an ACK of its own there."""
        channel, (first, second) = self.sent("1.2", "client", count=2)
        again = subscribe("view", ack="client", prefetch_count="1", last_message_id=first.headers["message-id"])
        channel.client.received(unsubscribe("view") + again)
        (*_, resent) = channel.frames()
        self.assertEqual(resent.headers["message-id"], second.headers["message-id"])
        channel.client.received(settle("ACK", "1.2", second, "old"))
        self.publish(MESSAGE)
        self.assertEqual(channel.commands(), ["RECEIPT old"], "its window is still full")
        channel.client.received(settle("ACK", "1.2", resent, "new"))
        self.clock.advance(0)
        self.assertEqual(channel.commands(), ["RECEIPT new", "MESSAGE"])
        self.assertEqual((self.late("ACK"), self.metrics.acks), ([1], 1))

    def test_in_a_transaction(self) -> None:
        """It ends at COMMIT, or came late already when it was collected."""
        for version in VERSIONS:
            for ack in MODES:
                channel, (first, second, _) = self.sent(version, ack)
                channel.client.received(frame("BEGIN", transaction="t"))
                channel.client.received(settle("ACK", version, first, "1", transaction="t"))
                channel.client.received(unsubscribe("view"))
                channel.client.received(settle("ACK", version, second, "2", transaction="t") * 2)
                channel.client.received(frame("COMMIT", transaction="t", receipt="done"))
                names = ["RECEIPT 1", "RECEIPT -view", "RECEIPT 2", "RECEIPT 2", "RECEIPT done"]
                self.assertEqual(channel.commands(version), names)
                self.assert_stands(channel, version)
        self.assertEqual((self.late("ACK"), self.metrics.acks), ([18], 0))

    def test_never_sent_in_a_transaction(self) -> None:
        for version in VERSIONS:
            channel, (first, *_) = self.sent(version, "client")
            made_up = first._replace(headers={name: f"{value}0" for name, value in first.headers.items()})
            if version == "1.1":
                made_up.headers["subscription"] = "view"
            channel.client.received(unsubscribe("view") + frame("BEGIN", transaction="t"))
            channel.client.received(settle("ACK", version, made_up, "a", transaction="t"))
            channel.client.received(frame("COMMIT", transaction="t", receipt="done"))
            error = self.assert_failed(channel, Fault.UNKNOWN_MESSAGE, version)
            self.assertEqual(error.headers["receipt-id"], "done")

    def test_never_sent(self) -> None:
        """A message that was sent only to others, or to another subscription, is unknown."""
        for version, names, fault in (
            ("1.2", {"id": "1-{}0"}, Fault.UNKNOWN_MESSAGE),
            ("1.2", {"id": "2-{}"}, Fault.NOT_ACKNOWLEDGEABLE),  # of "other"
            ("1.2", {"id": "3-{}"}, Fault.UNKNOWN_MESSAGE),
            ("1.1", {"message_id": "{}0", "subscription": "view"}, Fault.UNKNOWN_MESSAGE),
            ("1.1", {"message_id": "{}", "subscription": "other"}, Fault.NOT_ACKNOWLEDGEABLE),
            ("1.1", {"message_id": "{}", "subscription": "none"}, Fault.UNKNOWN_SUBSCRIPTION),
            ("1.0", {"message_id": "{}0"}, Fault.UNKNOWN_MESSAGE),
        ):
            for ends in (b"", unsubscribe("view")):
                channel, (first, *_) = self.sent(version, "client")
                named = {name: value.format(first.headers["message-id"]) for name, value in names.items()}
                channel.client.received(ends + frame("ACK", b"", receipt="a", **named))
                error = self.assert_failed(channel, fault, version)
                self.assertEqual(error.headers["receipt-id"], "a")

    def test_sent_to_another_client(self) -> None:
        one, (first, *_) = self.sent("1.1", "client")
        other = self.connected("1.1")
        other.client.received(subscribe("view", ack="client") + unsubscribe("view"))
        other.client.received(settle("ACK", "1.1", first, "a"))
        self.assert_failed(other, Fault.UNKNOWN_MESSAGE, "1.1")
        self.assert_stands(one, "1.1")

    def test_the_end_in_the_same_chunk(self) -> None:
        """Requests before the last frame are still carried out."""
        for version in VERSIONS:
            for end, last in ((frame("DISCONNECT", receipt="bye"), "RECEIPT bye"), (frame("NONSENSE"), "ERROR")):
                channel, (first, *_) = self.sent(version, "client")
                channel.client.received(settle("ACK", version, first, "1"))
                late = settle("ACK", version, first, "2") + unsubscribe("view") * 2 + settle("ACK", version, first, "3")
                channel.client.received(late + end)
                wanted = ["RECEIPT 1", "RECEIPT 2", "RECEIPT -view", "RECEIPT -view", "RECEIPT 3", last]
                self.assertEqual(channel.commands(version), wanted)

    def test_unsubscribe_twice(self) -> None:
        for version in VERSIONS:
            for ack in ("auto", *MODES):
                channel, _ = self.sent(version, ack)
                channel.client.received(unsubscribe("view") * 2)
                channel.client.received(unsubscribe("view"))
                self.assertEqual(channel.commands(version), ["RECEIPT -view"] * 3)
                self.assert_stands(channel, version)
        self.assertEqual(self.late("UNSUBSCRIBE"), [18])

    def test_unsubscribe_by_destination_twice(self) -> None:
        by_name = frame("UNSUBSCRIBE", destination=MESSAGE, receipt="-")
        for with_id in ({"id": "a"}, {}):
            channel = self.connected("1.0")
            channel.client.received(frame("SUBSCRIBE", b"", destination=MESSAGE, **with_id) + by_name * 2)
            self.assertEqual(channel.commands("1.0"), ["RECEIPT -", "RECEIPT -"])
            channel.client.ended()

    def test_unsubscribe_twice_waits_for_the_subscribe(self) -> None:
        channel = self.connected()
        self.feed.watches.holding = True
        channel.client.received(subscribe("a") + unsubscribe("a") * 2 + subscribe("a"))
        self.assertEqual(channel.commands(), [])
        while self.feed.watches:
            self.feed.watches.answer()
        self.assertEqual(channel.commands(), ["RECEIPT +a", "RECEIPT -a", "RECEIPT -a", "RECEIPT +a"])
        self.publish(MESSAGE)
        self.assertEqual(channel.commands(), ["MESSAGE"])

    def test_unsubscribe_of_what_never_was(self) -> None:
        for version in VERSIONS:
            channel, _ = self.sent(version, "client")
            channel.client.received(unsubscribe("view") + unsubscribe("views"))
            error = self.assert_failed(channel, Fault.UNKNOWN_SUBSCRIPTION, version)
            self.assertEqual(error.headers["receipt-id"], "-views")

    def test_bounds(self) -> None:
        """The oldest messages are forgotten, so a very late ACK is a fault."""
        self.patch(subscription_ids, "SETTLED_MESSAGES", 3)
        for version in VERSIONS:
            channel, (first, *others) = self.sent(version, "client-individual", count=4)
            for message in (first, *others):
                channel.client.received(settle("ACK", version, message, "a"))
            for message in others:
                channel.client.received(settle("ACK", version, message, "b"))
            self.assertEqual(channel.commands(version), ["RECEIPT a"] * 4 + ["RECEIPT b"] * 3)
            channel.client.received(settle("ACK", version, first, "c"))
            self.assert_failed(channel, Fault.UNKNOWN_MESSAGE, version)
        self.assertEqual((SETTLED_MESSAGES, ENDED_SUBSCRIPTIONS), (2000, 1000), "docs/protocol.rst")

"""The order of requests (docs/architecture.rst): which wait for others, and DISCONNECT, which waits for all."""

from __future__ import annotations

from airyd.errors import Fault, SourceUnavailable
from airyd.events import MESSAGE, UNREAD_COUNT
from airyd.limits import DISCONNECT_PATIENCE
from tests.client.frames import CONNECT, send, subscribe, unsubscribe
from tests.doubles import EVENT, ClientTestCase, frame, stomp_frames


class OrderTests(ClientTestCase):
    """Which requests wait for unfinished ones."""

    def test_unsubscribe_waits_for_its_subscribe(self) -> None:
        channel = self.connected()
        self.feed.watches.holding = True
        channel.client.received(subscribe("a") + unsubscribe("a"))
        self.assertEqual(channel.commands(), [])
        self.feed.watches.answer()
        self.assertEqual(channel.commands(), ["RECEIPT +a", "RECEIPT -a"])
        self.publish(MESSAGE)
        self.assertEqual(channel.commands(), [])

    def test_same_id_again(self) -> None:
        """SUBSCRIBE, UNSUBSCRIBE and SUBSCRIBE of one id in one chunk leave one subscription."""
        for holding in (False, True):
            channel = self.connected()
            self.feed.watches.holding = holding
            again = subscribe("a", UNREAD_COUNT).replace(b"+a", b"again")
            channel.client.received(subscribe("a") + unsubscribe("a") + again)
            while self.feed.watches:
                self.feed.watches.answer()
            self.assertEqual(channel.commands(), ["RECEIPT +a", "RECEIPT -a", "RECEIPT again"])
            self.publish(MESSAGE)
            self.publish(UNREAD_COUNT)
            (message,) = channel.frames()
            self.assertEqual((message.headers["destination"], message.headers["subscription"]), (UNREAD_COUNT, "a"))
            channel.client.ended()

    def test_others_do_not_wait(self) -> None:
        channel = self.connected()
        self.feed.watches.holding = True
        channel.client.received(subscribe("a"))
        self.feed.watches.holding = False
        channel.client.received(subscribe("b", UNREAD_COUNT) + unsubscribe("b") + send("sent"))
        self.assertEqual(channel.commands(), ["RECEIPT +b", "RECEIPT -b", "RECEIPT sent"])
        self.feed.watches.answer()
        self.assertEqual(channel.commands(), ["RECEIPT +a"])

    def test_those_that_wait_for_the_same_watch(self) -> None:
        """SUBSCRIBEs are answered in order, within and across clients; those to other destinations don't wait."""
        channels = [self.connected() for _ in range(3)]
        self.feed.watches.holding = True
        for name in ("a", "b", "c"):
            for number, channel in enumerate(channels):
                channel.client.received(subscribe(f"{name}{number}"))
        wires: list[bytes] = []
        for channel in channels:
            self.patch(channel, "send", wires.append)
        self.feed.watches.holding = False
        channels[0].client.received(subscribe("other", UNREAD_COUNT))
        self.feed.watches.answer()
        answered = [sent.headers["receipt-id"] for sent in stomp_frames(b"".join(wires))]
        wanted = [f"+{name}{number}" for name in ("a", "b", "c") for number in range(3)]
        self.assertEqual(answered, ["+other", *wanted])

    def test_ack_waits_for_its_subscription(self) -> None:
        """An ACK waits until the resume of its subscription is answered."""
        channel = self.connected()
        channel.client.received(subscribe("keep"))
        (receipt,) = channel.frames()
        position = receipt.headers["last-message-id"]
        message_id = self.publish(MESSAGE)
        channel.frames()
        self.feed.replays.holding = True
        acked = subscribe("a", ack="client-individual", last_message_id=position)
        channel.client.received(acked + frame("ACK", id=f"2-{message_id}", receipt="acked"))
        self.assertEqual(channel.commands(), [])
        self.feed.replays.answer()
        # The RECEIPT of the SUBSCRIBE lets the ACK go on, which is before the message it names.
        self.assertIn(channel.commands()[0], ("RECEIPT +a",))

    def test_receipt_before_first_message(self) -> None:
        channel = self.connected()
        self.feed.watches.holding = True
        channel.client.received(subscribe("a"))
        self.publish(MESSAGE)
        self.feed.watches.answer()
        self.publish(MESSAGE)
        self.assertEqual(channel.commands(), ["RECEIPT +a", "MESSAGE"])

    def test_nothing_after_the_receipt_of_unsubscribe(self) -> None:
        """Events published before it are sent before the receipt."""
        channel = self.connected()
        channel.client.received(subscribe("a"))
        self.successResultOf(self.context.hub.publish(MESSAGE, EVENT, "admin"))
        channel.client.received(unsubscribe("a"))
        self.clock.advance(0)
        self.publish(MESSAGE)
        self.assertEqual(channel.commands(), ["RECEIPT +a", "MESSAGE", "RECEIPT -a"])

    def test_frames_before_a_violation_are_done(self) -> None:
        channel = self.connected()
        channel.client.received(subscribe("a") + send("sent") + frame("NONSENSE") + send("never"))
        names = channel.commands()
        self.assertEqual(names[:2], ["RECEIPT +a", "RECEIPT sent"])
        self.assertEqual(names[-1], "ERROR")
        self.assertEqual((channel.closed, len(self.feed.taken)), ([Fault.UNKNOWN_COMMAND], 1))

    def test_deaf_after_a_violation(self) -> None:
        channel = self.connected()
        channel.client.received(frame("NONSENSE"))
        channel.client.received(send("never") + b"\n" * 1000)
        self.assertEqual(channel.commands(), ["ERROR"])
        self.assertEqual(self.feed.taken, [])

    def test_cut_anywhere(self) -> None:
        channel = self.open()
        for byte in CONNECT + subscribe("a") + send("sent") + frame("DISCONNECT", receipt="bye"):
            channel.client.received(bytes([byte]))
        names = [name for name in channel.commands() if name != "MESSAGE"]
        self.assertEqual(names, ["CONNECTED", "RECEIPT +a", "RECEIPT sent", "RECEIPT bye"])


class DisconnectTests(ClientTestCase):
    """DISCONNECT waits for earlier requests, up to a timeout."""

    BYE = frame("DISCONNECT", receipt="bye")

    def test_at_once(self) -> None:
        channel = self.connected()
        channel.client.received(self.BYE)
        self.assertEqual((channel.commands(), channel.closed), (["RECEIPT bye"], [None]))
        self.assertEqual(self.metrics.sessions, 0)

    def test_without_receipt(self) -> None:
        channel = self.connected()
        channel.client.received(frame("DISCONNECT"))
        self.assertEqual((channel.commands(), channel.closed), ([], [None]))

    def test_waits_for_all(self) -> None:
        channel = self.connected()
        self.feed.publishes.holding = self.feed.watches.holding = True
        channel.client.received(send("1") + send("2") + subscribe("a") + self.BYE)
        self.feed.publishes.answer()
        self.feed.watches.answer()
        self.assertEqual((channel.commands(), channel.closed), (["RECEIPT 1", "RECEIPT +a"], []))
        self.feed.publishes.answer()
        self.assertEqual([name for name in channel.commands() if name != "MESSAGE"], ["RECEIPT 2", "RECEIPT bye"])
        self.assertEqual(channel.closed, [None])

    def test_waits_for_what_is_queued(self) -> None:
        """DISCONNECT waits for requests that are still queued, too."""
        channel = self.connected()
        self.feed.publishes.holding = True
        transaction = (
            frame("BEGIN", transaction="t")
            + frame("SEND", EVENT, destination=MESSAGE, transaction="t")
            + frame("COMMIT", transaction="t", receipt="done")
        )
        channel.client.received(transaction + transaction + self.BYE)
        self.feed.publishes.answer()
        self.assertEqual((channel.commands(), channel.closed), (["RECEIPT done"], []))
        self.feed.publishes.answer()
        self.assertEqual(channel.commands(), ["RECEIPT done", "RECEIPT bye"])
        self.assertEqual(len(self.feed.taken), 2)

    def test_not_for_ever(self) -> None:
        """Each SEND of a transaction is accepted in time, but all together exceed the timeout."""
        channel = self.connected()
        self.feed.publishes.holding = True
        sends = [send("", transaction="t").replace(b"receipt:\n", b"")] * 5
        channel.client.received(frame("BEGIN", transaction="t") + b"".join(sends))
        channel.client.received(frame("COMMIT", transaction="t", receipt="done") + self.BYE)
        self.clock.pump([1] * int(DISCONNECT_PATIENCE / 2))
        self.feed.publishes.answer()
        self.clock.pump([1] * int(DISCONNECT_PATIENCE / 2 - 1))
        self.assertEqual((channel.commands(), channel.closed), ([], []))
        self.clock.pump([1] * 3)
        self.assertEqual((channel.commands(), channel.closed), (["RECEIPT bye"], [None]))
        self.feed.publishes.answer()
        self.assertEqual((channel.commands(), channel.late), ([], []))

    def test_frames_after_it_are_ignored(self) -> None:
        """Airy's client sends UNSUBSCRIBE after DISCONNECT."""
        channel = self.connected()
        self.feed.publishes.holding = True
        channel.client.received(subscribe("a") + send("1") + self.BYE + unsubscribe("a") + unsubscribe("b"))
        channel.client.received(frame("NONSENSE"))
        self.feed.publishes.answer()
        names = [name for name in channel.commands() if name != "MESSAGE"]
        self.assertEqual(names, ["RECEIPT +a", "RECEIPT 1", "RECEIPT bye"])
        self.assertEqual(channel.closed, [None])

    def test_what_is_pending_comes_before_the_receipt(self) -> None:
        channel = self.connected()
        channel.client.received(subscribe("a"))
        self.successResultOf(self.context.hub.publish(MESSAGE, EVENT, "admin"))
        channel.client.received(self.BYE)
        self.clock.advance(0)
        self.assertEqual(channel.commands(), ["RECEIPT +a", "MESSAGE", "RECEIPT bye"])
        self.assertEqual(channel.late, [])

    def test_a_failure_while_it_waits(self) -> None:
        channel = self.connected()
        self.feed.publishes.holding = True
        channel.client.received(send("1") + self.BYE)
        self.feed.publishes.answer(SourceUnavailable("unreachable"))
        error = self.assert_failed(channel, Fault.SOURCE_UNAVAILABLE)
        self.assertEqual(error.headers["receipt-id"], "1")

"""Subscriptions with a raw client: MESSAGE, resume, the three ack modes, transactions."""

from __future__ import annotations

from tests.integration.case import DaemonTestCase
from tests.integration.payloads import (
    CHANNEL_CONNECTED,
    DESTINATIONS,
    DIFFICULT_TEXT,
    MESSAGE,
    UNREAD_COUNT,
    body,
    number_of,
)
from tests.integration.raw import RawClient
from tests.integration.wire import TEXT, VERSIONS, StompFrame, encode
from tests.sources.redis.server import DURABLE, RedisServer


class SubscriptionTests(DaemonTestCase):
    """SUBSCRIBE, MESSAGE, UNSUBSCRIBE."""

    def test_message_headers(self) -> None:
        for version in VERSIONS:
            for ack in ["auto", "client", "client-individual"]:
                client = self.connect(version)
                receipt = client.subscribe(UNREAD_COUNT, "sub-1", ack=ack)
                self.assertTrue(receipt.headers["last-message-id"])
                data = body(UNREAD_COUNT, 1, DIFFICULT_TEXT)
                wire_id = self.daemon.publish(UNREAD_COUNT, data)
                message = client.message()
                acked = {"ack"} if version == "1.2" and ack != "auto" else set()
                self.assertEqual(
                    set(message.headers),
                    {"subscription", "message-id", "destination", "content-type", "content-length"} | acked,
                )
                self.assertEqual(message.headers["subscription"], "sub-1")
                self.assertEqual(message.headers["message-id"], wire_id)
                self.assertEqual(message.headers["destination"], UNREAD_COUNT)
                self.assertEqual(message.headers["content-type"], "application/json")
                self.assertEqual(message.headers["content-length"], str(len(data)))
                self.assertEqual(message.body, data)

    def test_1_0_without_id(self) -> None:
        client = self.connect("1.0")
        client.send("SUBSCRIBE", {"destination": MESSAGE, "receipt": "r"})
        client.receipt("r")
        self.daemon.publish(MESSAGE, body(MESSAGE, 1))
        self.assertNotIn("subscription", client.message().headers)
        client.send("UNSUBSCRIBE", {"destination": MESSAGE, "receipt": "u"})
        client.receipt("u")

    def test_each_destination_by_itself(self) -> None:
        clients = {destination: self.connect() for destination in DESTINATIONS}
        for n, (destination, client) in enumerate(clients.items()):
            client.subscribe(destination, f"sub-{n}")
        for n, destination in enumerate(DESTINATIONS):
            self.daemon.publish(destination, body(destination, n))
        for n, (destination, client) in enumerate(clients.items()):
            message = client.message(f"sub-{n}")
            self.assertEqual((message.headers["destination"], number_of(message.body)), (destination, n))
            client.disconnect()

    def test_two_subscriptions_of_one_destination(self) -> None:
        """Each subscription gets its own copy with the same ``message-id``; ``/queue/`` has no competing consumers."""
        client, other = self.connect(), self.connect()
        client.subscribe(MESSAGE, "a")
        client.subscribe(MESSAGE, "b")
        other.subscribe(MESSAGE, "a")
        self.daemon.publish(MESSAGE, body(MESSAGE, 1))
        messages = [client.message(), client.message()]
        self.assertEqual(sorted(m.headers["subscription"] for m in messages), ["a", "b"])
        self.assertEqual(other.message("a").headers["message-id"], messages[0].headers["message-id"])

    def test_nothing_after_unsubscribe(self) -> None:
        client = self.connect()
        client.subscribe(MESSAGE, "gone")
        client.subscribe(MESSAGE, "stays")
        client.send("UNSUBSCRIBE", {"id": "gone", "receipt": "u"})
        client.receipt("u")
        for n in range(20):
            self.daemon.publish(MESSAGE, body(MESSAGE, n))
        self.assertEqual([number_of(client.message("stays").body) for _ in range(20)], list(range(20)))

    def test_id_can_be_used_again(self) -> None:
        client = self.connect()
        for _ in range(3):
            client.subscribe(MESSAGE, "0")
            client.send("UNSUBSCRIBE", {"id": "0", "receipt": "u"})
            client.receipt("u")

    def test_resume(self) -> None:
        """A client resumes from a RECEIPT's position or from a ``message-id``, and gets ``recovered``."""
        client = self.connect()
        position = client.subscribe(MESSAGE, "0").headers["last-message-id"]
        ids = [self.daemon.publish(MESSAGE, body(MESSAGE, n)) for n in range(500)]
        client.reset()
        for after, first in [(position, 0), (ids[0], 1), (ids[250], 251), (ids[-1], 500)]:
            again = self.connect()
            receipt = again.subscribe(MESSAGE, "0", last_message_id=after)
            self.assertEqual(receipt.headers["recovered"], "true")
            ids.append(self.daemon.publish(MESSAGE, body(MESSAGE, len(ids))))
            got = [again.message("0") for _ in range(first, len(ids))]
            self.assertEqual([number_of(m.body) for m in got], list(range(first, len(ids))))
            self.assertEqual([m.headers["message-id"] for m in got], ids[first:])
            again.disconnect()

    def test_resume_from_the_unknown(self) -> None:
        """After an unknown id, or another destination's, nothing is replayed; ``recovered:false`` says so."""
        foreign = self.daemon.publish(CHANNEL_CONNECTED, body(CHANNEL_CONNECTED, 1))
        for after in ["nonsense", foreign, "00000000-1-1", "", "x" * 5000]:
            client = self.connect()
            receipt = client.subscribe(MESSAGE, "0", last_message_id=after)
            self.assertEqual(receipt.headers["recovered"], "false", after[:20])
            self.assertTrue(receipt.headers["last-message-id"])
            number = len(after) + 7
            self.daemon.publish(MESSAGE, body(MESSAGE, number))
            self.assertEqual(number_of(client.message("0").body), number)


class AcknowledgementTests(DaemonTestCase):
    """ACK and NACK in each version, and the window of ``prefetch-count``."""

    def settle(self, client: RawClient, command: str, message: StompFrame) -> None:
        """Send ACK or NACK for a MESSAGE, in the form of the session's version."""
        headers = message.headers
        if client.version == "1.2":
            client.send(command, {"id": headers["ack"]})
        elif client.version == "1.1":
            client.send(command, {"message-id": headers["message-id"], "subscription": headers["subscription"]})
        else:
            client.send(command, {"message-id": headers["message-id"]})

    def nothing_more(self, client: RawClient) -> None:
        """Check that no frame is on its way: the next one is the RECEIPT of a new request."""
        client.send("BEGIN", {"transaction": "probe", "receipt": "probe"})
        client.receipt("probe")
        client.send("ABORT", {"transaction": "probe"})

    def test_window(self) -> None:
        """With a window of three, the fourth event comes only after an ACK or NACK."""
        for version in VERSIONS:
            for mode in ["client", "client-individual"]:
                client = self.connect(version)
                client.subscribe(MESSAGE, "0", ack=mode, prefetch_count="3")
                for n in range(10):
                    self.daemon.publish(MESSAGE, body(MESSAGE, n))
                window = [client.message() for _ in range(3)]
                self.nothing_more(client)
                for n in range(3, 10):
                    self.settle(client, "ACK" if version == "1.0" or n % 2 else "NACK", window.pop(0))
                    window.append(client.message())
                    self.assertEqual(number_of(window[-1].body), n, (version, mode))
                self.nothing_more(client)

    def test_cumulative(self) -> None:
        """An ACK settles all events before it in ``client`` mode, and only one in ``client-individual``."""
        for mode, freed in [("client", 3), ("client-individual", 1)]:
            client = self.connect()
            client.subscribe(MESSAGE, "0", ack=mode, prefetch_count="3")
            for n in range(10):
                self.daemon.publish(MESSAGE, body(MESSAGE, n))
            window = [client.message() for _ in range(3)]
            self.settle(client, "ACK", window[2])
            self.assertEqual([number_of(client.message().body) for _ in range(freed)], [*range(3, 3 + freed)], mode)
            self.nothing_more(client)

    def test_late(self) -> None:
        """An ACK after UNSUBSCRIBE, or a second one, is answered and counted; the connection stays open."""
        before = self.daemon.sums("late_frames_total")["late_frames_total"]
        for version in VERSIONS:
            client = self.connect(version)
            client.subscribe(MESSAGE, "view", ack="client-individual")
            client.subscribe(UNREAD_COUNT, "other")
            for n in range(2):
                self.daemon.publish(MESSAGE, body(MESSAGE, n))
            messages = [client.message() for _ in range(2)]
            for _ in range(2):
                self.settle(client, "ACK", messages[0])
            for n in range(2):
                client.send("UNSUBSCRIBE", {"id": "view", "receipt": f"u{n}"})
                client.receipt(f"u{n}")
            for message in messages:
                self.settle(client, "ACK", message)
            self.nothing_more(client)
            self.daemon.publish(UNREAD_COUNT, body(UNREAD_COUNT, 1))
            client.message("other")
        self.daemon.wait_for_metrics(late_frames_total=before + 4 * len(VERSIONS))

    def test_never_sent(self) -> None:
        client = self.connect("1.1")
        client.subscribe(MESSAGE, "view", ack="client")
        client.send("UNSUBSCRIBE", {"id": "view"})
        client.send("ACK", {"message-id": "c102d7ca-1-1", "subscription": "view", "receipt": "a"})
        error = client.receive()
        self.assertEqual((error.command, error.headers["message"]), ("ERROR", "unknown message id"))
        self.assertEqual(client.close_code(), 1002)

    def test_in_a_transaction(self) -> None:
        client = self.connect()
        client.subscribe(MESSAGE, "0", ack="client", prefetch_count="1")
        for n in range(2):
            self.daemon.publish(MESSAGE, body(MESSAGE, n))
        first = client.message()
        client.send("BEGIN", {"transaction": "t"})
        client.send("ACK", {"id": first.headers["ack"], "transaction": "t"})
        self.nothing_more(client)
        client.send("COMMIT", {"transaction": "t"})
        self.assertEqual(number_of(client.message().body), 1)


class TransactionTests(DaemonTestCase):
    """BEGIN, COMMIT and ABORT around SEND."""

    def test_commit(self) -> None:
        for version in VERSIONS:
            client, other = self.connect(version), self.connect()
            other.subscribe(MESSAGE, "0")
            client.send("BEGIN", {"transaction": "t"})
            for n in range(1, 6):
                client.send("SEND", {"destination": MESSAGE, "transaction": "t"}, body(MESSAGE, n))
            client.send("SEND", {"destination": MESSAGE, "receipt": "outside"}, body(MESSAGE, 0))
            client.receipt("outside")
            client.send("COMMIT", {"transaction": "t", "receipt": "c"})
            client.receipt("c")
            self.assertEqual([number_of(other.message().body) for _ in range(6)], list(range(6)))

    def test_abort_and_end(self) -> None:
        """Events of a transaction that is aborted or left open are not published."""
        other = self.connect()
        other.subscribe(MESSAGE, "0")
        client = self.connect()
        client.send("BEGIN", {"transaction": "t"})
        client.send("SEND", {"destination": MESSAGE, "transaction": "t"}, body(MESSAGE, 1))
        client.send("ABORT", {"transaction": "t", "receipt": "a"})
        client.receipt("a")
        client.send("BEGIN", {"transaction": "t"})
        client.send("SEND", {"destination": MESSAGE, "transaction": "t"}, body(MESSAGE, 2))
        client.disconnect()
        self.daemon.publish(MESSAGE, body(MESSAGE, 3))
        self.assertEqual(number_of(other.message().body), 3)


class SameWatchTests(DaemonTestCase):
    """With Redis, a destination's first SUBSCRIBE takes a while; later ones wait with it."""

    def test_receipts_in_their_order(self) -> None:
        redis = RedisServer(*DURABLE)
        self.addCleanup(redis.close)
        daemon = self.own_daemon(f"--source=redis://127.0.0.1:{redis.port}/0")
        wanted = {name: [f"{name}-{number}" for number in range(20)] for name in DESTINATIONS}
        for _ in range(3):
            client = self.connect(daemon=daemon)
            frames = [
                encode("SUBSCRIBE", {"id": receipt, "destination": name, "receipt": receipt})
                for name, receipts in wanted.items()
                for receipt in receipts
            ]
            client.send_frame(TEXT, b"".join(frames))
            answered = [client.receive().headers["receipt-id"] for _ in frames]
            for name, receipts in wanted.items():
                self.assertEqual([each for each in answered if each in receipts], receipts, name)
            client.disconnect()
            daemon.wait_for_metrics(subscriptions=0)

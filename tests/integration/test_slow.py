"""A client that does not read is closed with 1013 and never delays others; its queue is limited."""

from __future__ import annotations

import re

from tests.integration.case import DaemonTestCase
from tests.integration.payloads import MESSAGE, body, number_of
from tests.integration.raw import Closed, Ended, RawClient

TEXT_SIZE = 60_000
#: More events of this size than fit into the kernel's buffers and airyd's.
MOST = 400


class SlowClientTests(DaemonTestCase):
    """Clients with a small ``--buffered`` and a small receive buffer, and more events than both hold; no history."""

    options = ("--buffered=200000", "--auth=anonymous:send", "--source=memory:?history=0")

    def flood(self, fast: RawClient, first: int, count: int) -> None:
        """Publish ``count`` large events, each as soon as the fast client has the one before."""
        for n in range(first, first + count):
            self.daemon.publish(MESSAGE, body(MESSAGE, n, "x" * TEXT_SIZE))
            self.assertEqual(number_of(fast.message("0").body), n)

    def closed_as_slow(self) -> list[str]:
        """Return the lines of the metrics that count clients closed as too slow."""
        return [line for line in self.daemon.metrics().splitlines() if "slow_consumer" in line]

    def slow(self) -> RawClient:
        """Return a subscriber with a small receive buffer, for a test that does not read from it."""
        client = self.connect(receive_buffer=4096)
        client.subscribe(MESSAGE, "0")
        return client

    def until_end(self, client: RawClient) -> tuple[list[int], int | None]:
        """Read to the end; return the events' numbers and the close code (None without a close frame)."""
        numbers: list[int] = []
        try:
            while True:
                frame = client.receive()
                if frame.command == "ERROR":
                    self.assertEqual(frame.headers["message"], "client too slow")
                else:
                    numbers.append(number_of(frame.body))
        except Closed as closed:
            return numbers, closed.code
        except Ended:
            return numbers, None

    def test_closed_and_others_are_not_delayed(self) -> None:
        slow, fast = self.slow(), self.connect()
        fast.subscribe(MESSAGE, "0")
        closed_before = self.closed_as_slow()
        sent = 0
        while self.closed_as_slow() == closed_before:
            self.assertLess(sent, MOST, "24 MB were taken for a client that reads nothing")
            self.flood(fast, sent, 10)
            sent += 10
        numbers, code = self.until_end(slow)
        self.assertEqual(numbers, list(range(len(numbers))), "no event is missing before the end")
        self.assertIn(code, (1013, None))
        fast.disconnect()

    def test_reads_while_it_is_closed(self) -> None:
        """A slow client that reads as soon as it is closed gets the ERROR's close code, 1013."""
        slow, fast = self.slow(), self.connect()
        fast.subscribe(MESSAGE, "0")
        closed_before, sent = self.closed_as_slow(), 0
        while self.closed_as_slow() == closed_before:
            self.assertLess(sent, MOST, "24 MB were taken for a client that reads nothing")
            self.flood(fast, sent, 1)
            sent += 1
        numbers, code = self.until_end(slow)
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertEqual(code, 1013)

    def test_slow_but_reading(self) -> None:
        """A client with a small receive buffer that reads in between gets all events."""
        slow, fast = self.slow(), self.connect()
        fast.subscribe(MESSAGE, "0")
        for first in range(0, 40, 2):
            self.flood(fast, first, 2)
            for n in range(first, first + 2):
                self.assertEqual(number_of(slow.message("0").body), n)
        slow.disconnect()

    def test_several_slow_ones_at_once(self) -> None:
        slow = [self.slow() for _ in range(20)]
        fast = self.connect()
        fast.subscribe(MESSAGE, "0")
        self.flood(fast, 0, 150)
        for client in slow:
            self.assertEqual(self.until_end(client)[1] or 1013, 1013)
        fast.disconnect()

    def test_sends_but_does_not_read(self) -> None:
        """A client that does not read its own events is closed, too; events that it sent before are delivered."""
        client, other = self.slow(), self.connect()
        other.subscribe(MESSAGE, "0")
        closed_before = self.closed_as_slow()
        sent = heard = 0
        while self.closed_as_slow() == closed_before:
            self.assertLess(sent, MOST, "24 MB were taken for a client that reads nothing")
            client.send("SEND", {"destination": MESSAGE}, body(MESSAGE, sent, "x" * TEXT_SIZE))
            sent += 1
            while heard < sent and other.has_data(0.1):
                self.assertEqual(number_of(other.message("0").body), heard)
                heard += 1
        numbers, code = self.until_end(client)
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertIn(code, (1013, None))
        other.disconnect()


class LaterTests(DaemonTestCase):
    """A feed with a history: clients that read too late get all from it."""

    options = ("--buffered-mark=100000",)

    def test_read_later(self) -> None:
        """Those that did not read get all events in order, then live ones; nobody is closed."""
        slow = [self.connect(receive_buffer=4096) for _ in range(5)]
        fast = self.connect()
        for client in (*slow, fast):
            client.subscribe(MESSAGE, "0")
        for n in range(200):
            self.daemon.publish(MESSAGE, body(MESSAGE, n, "x" * TEXT_SIZE))
            self.assertEqual(number_of(fast.message("0").body), n)
        metrics = self.daemon.metrics()
        self.assertIn("airyd_clients_fell_behind_total 5.0", metrics)
        self.assertIn("airyd_catching_up_clients 5.0", metrics)
        (buffered,) = re.findall(r"(?m)^airyd_buffered_bytes (\S+)$", metrics)
        self.assertLess(float(buffered), 5 * (100_000 + 2 * TEXT_SIZE))
        for client in slow:
            self.assertEqual([number_of(client.message("0").body) for _ in range(200)], list(range(200)))
        self.daemon.wait_for_metrics(catching_up_clients=0)
        self.daemon.publish(MESSAGE, body(MESSAGE, 200))
        for client in (*slow, fast):
            self.assertEqual(number_of(client.message("0").body), 200)
            client.disconnect()
        self.assertIn("airyd_clients_fell_behind_total 5.0", self.daemon.metrics())


class HistoryTests(DaemonTestCase):
    """A memory feed with a short history."""

    options = ("--source=memory:?history=10",)

    def test_resume_beyond_the_history(self) -> None:
        client = self.connect()
        position = client.subscribe(MESSAGE, "0").headers["last-message-id"]
        ids = [self.daemon.publish(MESSAGE, body(MESSAGE, n)) for n in range(30)]
        for after, recovered in [(position, "false"), (ids[5], "false"), (ids[20], "true"), (ids[29], "true")]:
            again = self.connect()
            receipt = again.subscribe(MESSAGE, "0", last_message_id=after)
            self.assertEqual(receipt.headers["recovered"], recovered, after)
            if after == ids[20]:
                self.assertEqual([number_of(again.message().body) for _ in range(9)], list(range(21, 30)))
            again.disconnect()

    def test_unacknowledged_position_leaves_the_history(self) -> None:
        """A client whose unacknowledged events leave the history is closed with 1013."""
        client = self.connect()
        client.subscribe(MESSAGE, "0", ack="client", prefetch_count="2")
        for n in range(100):
            self.daemon.publish(MESSAGE, body(MESSAGE, n))
        first, second = client.message(), client.message()
        self.assertEqual([number_of(m.body) for m in (first, second)], [0, 1])
        client.send("ACK", {"id": second.headers["ack"]})
        error, code = client.error()
        self.assertEqual((error.headers["message"], code), ("history lost", 1013))

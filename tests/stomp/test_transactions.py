"""Tests of transactions, as a client sees them (airyd.stomp.transactions, through a session)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import Fault
from airyd.stomp.requests import Abort, Ack, Begin, Collected, Commit, Send, Violation
from airyd.stomp.spec import Version
from airyd.stomp.transactions import OPERATION_BYTES
from tests.stomp.wire import SMALL, VERSIONS, connected, fault, only


def frame(command: str, name: str, *lines: str, body: str = "") -> bytes:
    """Return a frame that names a transaction."""
    return "\n".join([command, f"transaction:{name}", *lines, "", f"{body}\0"]).encode()


def send(name: str, body: str, *lines: str) -> bytes:
    """Return a SEND in a transaction."""
    return frame("SEND", name, "destination:/a", *lines, body=body)


class TransactionTests(SynchronousTestCase):
    """STOMP 1.2, "BEGIN", "COMMIT", "ABORT"."""

    def test_commit_has_the_operations_in_order(self) -> None:
        for version in VERSIONS:
            session = connected(version)
            session.receive(b"SUBSCRIBE\nid:c\ndestination:/c\nack:client\n\n\0")
            ack, named, ordinal = {
                Version.V1_0: ("message-id:m-1", None, None),
                Version.V1_1: ("message-id:m-1\nsubscription:c", "c", None),
                Version.V1_2: ("id:1-m-1", "c", 1),
            }[version]
            settled = Ack(named, "m-1", positive=True, ordinal=ordinal)
            requests = session.receive(
                frame("BEGIN", "t", "receipt:1")
                + send("t", "one", "receipt:2")
                + frame("ACK", "t", ack, "receipt:3")
                + send("t", "two")
                + frame("COMMIT", "t", "receipt:4")
            )
            self.assertEqual(
                requests,
                [
                    Begin("t", "1"),
                    Collected("t", Send("/a", b"one"), "2"),
                    Collected("t", settled, "3"),
                    Collected("t", Send("/a", b"two")),
                    Commit("t", (Send("/a", b"one"), settled, Send("/a", b"two")), "4"),
                ],
            )

    def test_a_nack_too(self) -> None:
        session = connected()
        session.receive(b"SUBSCRIBE\nid:c\ndestination:/c\nack:client\n\n\0" + frame("BEGIN", "t"))
        session.receive(frame("NACK", "t", "id:1-m-1"))
        self.assertEqual(
            only(session.receive(frame("COMMIT", "t")), Commit).operations,
            (Ack("c", "m-1", positive=False, ordinal=1),),
        )

    def test_transactions_do_not_mix(self) -> None:
        session = connected()
        session.receive(frame("BEGIN", "t") + frame("BEGIN", "u") + send("u", "1") + send("t", "2"))
        self.assertEqual(session.receive(frame("COMMIT", "t")), [Commit("t", (Send("/a", b"2"),))])
        self.assertEqual(session.receive(frame("COMMIT", "u")), [Commit("u", (Send("/a", b"1"),))])

    def test_abort(self) -> None:
        session = connected()
        session.receive(frame("BEGIN", "t") + send("t", "1"))
        self.assertEqual(session.receive(frame("ABORT", "t", "receipt:r")), [Abort("t", "r")])
        self.assertEqual(session.receive(frame("BEGIN", "t") + frame("COMMIT", "t")), [Begin("t"), Commit("t", ())])

    def test_unknown(self) -> None:
        for data in (frame("COMMIT", "t"), frame("ABORT", "t"), send("t", "1")):
            self.assertIs(fault(connected().receive(data)), Fault.UNKNOWN_TRANSACTION)

    def test_ended(self) -> None:
        for end in ("COMMIT", "ABORT"):
            session = connected()
            session.receive(frame("BEGIN", "t") + frame(end, "t"))
            self.assertIs(fault(session.receive(send("t", "1", "receipt:r"))), Fault.UNKNOWN_TRANSACTION)

    def test_begun_twice(self) -> None:
        session = connected()
        session.receive(frame("BEGIN", "t"))
        self.assertIs(fault(session.receive(frame("BEGIN", "t"))), Fault.DUPLICATE_TRANSACTION)

    def test_without_a_name(self) -> None:
        for command in ("BEGIN", "COMMIT", "ABORT"):
            self.assertIs(fault(connected().receive(f"{command}\n\n\0".encode())), Fault.MISSING_HEADER)

    def test_what_is_collected_is_checked_first(self) -> None:
        session = connected()
        session.receive(frame("BEGIN", "t"))
        self.assertIs(fault(session.receive(frame("SEND", "t"))), Fault.MISSING_HEADER)


class BoundTests(SynchronousTestCase):
    """The limits on transactions and on their bytes."""

    def test_too_many(self) -> None:
        session = connected(limits=SMALL)
        session.receive(frame("BEGIN", "1") + frame("BEGIN", "2"))
        session.receive(frame("ABORT", "1"))
        only(session.receive(frame("BEGIN", "3")), Begin)
        self.assertIs(fault(session.receive(frame("BEGIN", "4"))), Fault.TOO_MANY_TRANSACTIONS)

    def test_too_big_together(self) -> None:
        session = connected(limits=SMALL)
        session.receive(frame("BEGIN", "1") + frame("BEGIN", "2"))
        most = [session.receive(send(name, "x" * 73)) for name in ("1", "2", "1", "2")]
        self.assertEqual({type(requests[0]) for requests in most}, {Collected})
        self.assertEqual(4 * (OPERATION_BYTES + len("/a") + 73), SMALL.transaction_bytes)
        requests = session.receive(send("1", "", "receipt:r"))
        self.assertIs(fault(requests), Fault.TRANSACTION_TOO_BIG)
        self.assertEqual(requests[0].receipt, "r")

    def test_what_has_ended_does_not_count(self) -> None:
        session = connected(limits=SMALL)
        for end in ("COMMIT", "ABORT") * 3:
            requests = session.receive(frame("BEGIN", "t") + send("t", "x" * 73) * 4 + frame(end, "t"))
            self.assertNotIn(Violation, map(type, requests))

    def test_many_small_ones_count_too(self) -> None:
        session = connected(limits=SMALL)
        session.receive(b"SUBSCRIBE\nid:c\ndestination:/c\nack:client\n\n\0" + frame("BEGIN", "t"))
        requests = session.receive(frame("ACK", "t", "id:1-m") * 10)
        self.assertIsInstance(requests[-1], Violation)

"""Tests of subscriptions and messages, as a client sees them (airyd.stomp.subscription_ids, through a session)."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import Fault
from airyd.limits import PREFETCH_CAP, PREFETCH_DEFAULT
from airyd.stomp import subscription_ids
from airyd.stomp.requests import Ack, Send, Subscribe, Unsubscribe, Violation
from airyd.stomp.session import Session
from airyd.stomp.spec import AckMode, Version, ack_id
from tests.stomp.wire import SMALL, VERSIONS, connected, fault, only, subscribe

V1_0, V1_1, V1_2 = Version
LATER = (V1_1, V1_2)


class SubscribeTests(SynchronousTestCase):
    """STOMP 1.2, "SUBSCRIBE" and "UNSUBSCRIBE"."""

    def test_subscribe(self) -> None:
        for version in VERSIONS:
            self.assertEqual(
                only(connected(version).receive(subscribe("sub-0", "receipt:r-1")), Subscribe),
                Subscribe(
                    id="sub-0",
                    destination="/queue/message",
                    ack=AckMode.AUTO,
                    prefetch=PREFETCH_DEFAULT,
                    last_message_id=None,
                    ordinal=1,
                    echo_id=True,
                    receipt="r-1",
                ),
            )

    def test_ack_modes(self) -> None:
        for mode in AckMode:
            self.assertIs(only(connected().receive(subscribe("a", f"ack:{mode.value}")), Subscribe).ack, mode)
        for text in ("", "Auto", "none", "client-individual "):
            self.assertIs(fault(connected().receive(subscribe("a", f"ack:{text}"))), Fault.INVALID_HEADER)

    def test_prefetch_count(self) -> None:
        for text, count in (("1", 1), ("007", 7), ("1000", 1000), ("1001", PREFETCH_CAP), ("9" * 18, PREFETCH_CAP)):
            request = only(connected().receive(subscribe("a", f"prefetch-count:{text}")), Subscribe)
            self.assertEqual(request.prefetch, count)
        for text in ("", "0", "-1", "1.5", "x", "+1", "1_0", "\u0661"):
            self.assertIs(fault(connected().receive(subscribe("a", f"prefetch-count:{text}"))), Fault.INVALID_HEADER)

    def test_last_message_id(self) -> None:
        request = only(connected().receive(subscribe("a", r"last-message-id:x-1\c2")), Subscribe)
        self.assertEqual(request.last_message_id, "x-1:2")

    def test_the_id_is_needed_but_in_1_0(self) -> None:
        data = b"SUBSCRIBE\ndestination:/queue/message\n\n\0"
        for version in LATER:
            self.assertIs(fault(connected(version).receive(data)), Fault.MISSING_HEADER)
        request = only(connected(V1_0).receive(data), Subscribe)
        self.assertEqual((request.id, request.echo_id), ("/queue/message", False))

    def test_the_destination_is_needed(self) -> None:
        for version in VERSIONS:
            self.assertIs(fault(connected(version).receive(b"SUBSCRIBE\nid:a\n\n\0")), Fault.MISSING_HEADER)

    def test_an_id_in_use(self) -> None:
        for version in VERSIONS:
            session = connected(version)
            session.receive(subscribe("a"))
            requests = session.receive(subscribe("a", "receipt:r-2", destination="/events"))
            self.assertIs(fault(requests), Fault.DUPLICATE_SUBSCRIPTION)
            self.assertEqual(requests[0].receipt, "r-2")

    def test_a_destination_twice(self) -> None:
        data = b"SUBSCRIBE\ndestination:/queue/message\n\n\0"
        self.assertEqual(len(connected().receive(subscribe("a") + subscribe("b"))), 2)
        self.assertIsInstance(connected(V1_0).receive(data * 2)[1], Violation)

    def test_an_id_after_unsubscribe_is_free_and_the_ordinal_new(self) -> None:
        session = connected()
        requests = session.receive(subscribe("a") + b"UNSUBSCRIBE\nid:a\n\n\0" + subscribe("a"))
        self.assertEqual([r.ordinal for r in requests if isinstance(r, Subscribe)], [1, 2])

    def test_too_many(self) -> None:
        session = connected(limits=SMALL)
        for n in range(SMALL.subscriptions):
            only(session.receive(subscribe(str(n))), Subscribe)
        session.receive(b"UNSUBSCRIBE\nid:0\n\n\0")
        only(session.receive(subscribe("again")), Subscribe)
        self.assertIs(fault(session.receive(subscribe("more"))), Fault.TOO_MANY_SUBSCRIPTIONS)

    def test_unsubscribe(self) -> None:
        for version in VERSIONS:
            session = connected(version)
            session.receive(subscribe("a"))
            self.assertEqual(session.receive(b"UNSUBSCRIBE\nid:a\nreceipt:r\n\n\0"), [Unsubscribe("a", "r")])
            self.assertIs(fault(session.receive(b"UNSUBSCRIBE\nid:b\n\n\0")), Fault.UNKNOWN_SUBSCRIPTION)

    def test_unsubscribe_twice(self) -> None:
        for version in VERSIONS:
            session = connected(version)
            again = session.receive(subscribe("a") + b"UNSUBSCRIBE\nid:a\n\n\0" + b"UNSUBSCRIBE\nid:a\nreceipt:r\n\n\0")
            self.assertEqual(again[1:], [Unsubscribe("a"), Unsubscribe("a", "r")])

    def test_the_oldest_that_have_ended_are_forgotten(self) -> None:
        self.patch(subscription_ids, "ENDED_SUBSCRIPTIONS", 2)
        session = connected()
        for name in ("a", "b", "c", "c", "c"):
            session.receive(subscribe(name) + f"UNSUBSCRIBE\nid:{name}\n\n\0".encode())
        for name in ("b", "c"):
            only(session.receive(f"UNSUBSCRIBE\nid:{name}\n\n\0".encode()), Unsubscribe)
        self.assertIs(fault(session.receive(b"UNSUBSCRIBE\nid:a\n\n\0")), Fault.UNKNOWN_SUBSCRIPTION)

    def test_unsubscribe_needs_the_id_but_in_1_0(self) -> None:
        data = b"UNSUBSCRIBE\ndestination:/queue/message\n\n\0"
        for version in LATER:
            session = connected(version)
            session.receive(subscribe("a"))
            self.assertIs(fault(session.receive(data)), Fault.MISSING_HEADER)
        self.assertIs(fault(connected(V1_0).receive(b"UNSUBSCRIBE\n\n\0")), Fault.MISSING_HEADER)

    def test_unsubscribe_by_destination(self) -> None:
        data = b"UNSUBSCRIBE\ndestination:/queue/message\n\n\0"
        for first, name in ((b"SUBSCRIBE\ndestination:/queue/message\n\n\0", "/queue/message"), (subscribe("a"), "a")):
            session = connected(V1_0)
            session.receive(first + subscribe("x", destination="/events"))
            self.assertEqual(session.receive(data), [Unsubscribe(name)])
            self.assertEqual(session.receive(data), [Unsubscribe("/queue/message")])
            other = data.replace(b"/queue/message", b"/queue/unread-count")
            self.assertIs(fault(session.receive(other)), Fault.UNKNOWN_SUBSCRIPTION)

    def test_unsubscribe_by_a_destination_of_two(self) -> None:
        session = connected(V1_0)
        session.receive(subscribe("a") + subscribe("b"))
        self.assertIs(
            fault(session.receive(b"UNSUBSCRIBE\ndestination:/queue/message\n\n\0")), Fault.UNKNOWN_SUBSCRIPTION
        )


class SendTests(SynchronousTestCase):
    """STOMP 1.2, "SEND"."""

    def test_send(self) -> None:
        data = b"SEND\ndestination:/queue/message\ncontent-type:text/plain\nreceipt:r\n\n{}\0"
        for version in VERSIONS:
            self.assertEqual(connected(version).receive(data), [Send("/queue/message", b"{}", "r")])

    def test_without_destination(self) -> None:
        requests = connected().receive(b"SEND\nreceipt:r\n\n{}\0")
        self.assertIs(fault(requests), Fault.MISSING_HEADER)
        self.assertEqual(requests[0].receipt, "r")

    def test_too_big(self) -> None:
        session = connected(limits=SMALL)
        session.receive(b"SEND\ndestination:/a\n\n" + b"x" * SMALL.body + b"\0")
        requests = session.receive(b"SEND\ndestination:/a\nreceipt:r\n\n" + b"x" * (SMALL.body + 1))
        self.assertIs(fault(requests), Fault.FRAME_TOO_BIG)
        self.assertEqual(requests[0].receipt, "r")


class AckTests(SynchronousTestCase):
    """STOMP 1.2, "ACK" and "NACK", and how they were named before."""

    def session(self, version: Version) -> Session:
        """Return a session with the subscriptions ``a`` (auto, 1), ``c`` (client, 2) and ``x:y`` (individual, 3)."""
        session = connected(version)
        name = "x:y" if version is V1_0 else r"x\cy"
        session.receive(subscribe("a") + subscribe("c", "ack:client") + subscribe(name, "ack:client-individual"))
        return session

    def test_1_2(self) -> None:
        for command, positive in (("ACK", True), ("NACK", False)):
            for ordinal, name in ((2, "c"), (3, "x:y")):
                data = f"{command}\nid:{ack_id(ordinal, '0a1b2c3d-5-7')}\nreceipt:r\n\n\0".encode()
                self.assertEqual(self.session(V1_2).receive(data), [Ack(name, "0a1b2c3d-5-7", positive, "r", ordinal)])

    def test_1_1(self) -> None:
        for command, positive in (("ACK", True), ("NACK", False)):
            data = f"{command}\nmessage-id:m-1\nsubscription:x\\cy\n\n\0".encode()
            self.assertEqual(self.session(V1_1).receive(data), [Ack("x:y", "m-1", positive)])

    def test_1_0(self) -> None:
        self.assertEqual(self.session(V1_0).receive(b"ACK\nmessage-id:m-1\n\n\0"), [Ack(None, "m-1", positive=True)])

    def test_no_nack_in_1_0(self) -> None:
        self.assertIs(fault(self.session(V1_0).receive(b"NACK\nmessage-id:m-1\n\n\0")), Fault.UNKNOWN_COMMAND)

    def test_missing_headers(self) -> None:
        for version, lines in (
            (V1_2, b"message-id:m-1\nsubscription:c\n"),
            (V1_1, b"message-id:m-1\n"),
            (V1_1, b"subscription:c\n"),
            (V1_0, b"id:m-1\n"),
        ):
            self.assertIs(fault(self.session(version).receive(b"ACK\n" + lines + b"\n\0")), Fault.MISSING_HEADER)

    def test_unknown(self) -> None:
        for version, lines, expected in (
            (V1_2, b"id:m-1\n", Fault.UNKNOWN_MESSAGE),
            (V1_2, b"id:9-m\n", Fault.UNKNOWN_MESSAGE),
            (V1_2, b"id:02-m\n", Fault.UNKNOWN_MESSAGE),
            (V1_2, b"id:0-m\n", Fault.UNKNOWN_MESSAGE),
            (V1_1, b"message-id:m\nsubscription:z\n", Fault.UNKNOWN_SUBSCRIPTION),
        ):
            self.assertIs(fault(self.session(version).receive(b"ACK\n" + lines + b"\n\0")), expected)

    def test_of_a_subscription_that_has_ended(self) -> None:
        """The receiver of the request checks whether the message was sent."""
        for version, lines, wanted in (
            (V1_2, b"id:2-m\n", Ack(None, "m", positive=True, ordinal=2)),
            (V1_1, b"message-id:m\nsubscription:c\n", Ack("c", "m", positive=True)),
            (V1_0, b"message-id:m\n", Ack(None, "m", positive=True)),
        ):
            session = self.session(version)
            ends = b"UNSUBSCRIBE\nid:c\n\n\0" + (b"UNSUBSCRIBE\nid:x:y\n\n\0" if version is V1_0 else b"")
            session.receive(ends)
            self.assertEqual(session.receive(b"ACK\n" + lines + b"\n\0"), [wanted])
            session.receive(subscribe("c"))
            self.assertEqual(session.receive(b"ACK\n" + lines + b"\n\0"), [wanted])

    def test_of_an_auto_subscription_that_has_ended(self) -> None:
        for version, lines in ((V1_1, b"message-id:m\nsubscription:a\n"), (V1_0, b"message-id:m\n")):
            session = connected(version)
            session.receive(subscribe("a") + b"UNSUBSCRIBE\nid:a\n\n\0")
            wanted = Fault.NOT_ACKNOWLEDGEABLE if version is V1_0 else Fault.UNKNOWN_SUBSCRIPTION
            self.assertIs(fault(session.receive(b"ACK\n" + lines + b"\n\0")), wanted)

    def test_settled(self) -> None:
        """A settled message is remembered with its subscription as the version's ACK names it."""
        request = Subscribe("c", "/queue/message", AckMode.CLIENT, 1, None, ordinal=2)
        late = Ack(None, "m", positive=True)
        for version, known, others in (
            (V1_2, replace(late, ordinal=2), [replace(late, ordinal=3)]),
            (V1_1, replace(late, subscription_id="c"), [replace(late, subscription_id="x:y")]),
            (V1_0, late, []),
        ):
            session = self.session(version)
            self.assertFalse(session.was_settled(known))
            session.remember_settled(request, ["l", "m"])
            self.assertTrue(session.was_settled(known))
            for other in [replace(known, message_id="n"), *others]:
                self.assertFalse(session.was_settled(other), other)

    def test_of_an_auto_subscription(self) -> None:
        for version, lines in ((V1_2, b"id:1-m\n"), (V1_1, b"message-id:m\nsubscription:a\n")):
            requests = self.session(version).receive(b"ACK\n" + lines + b"\n\0")
            self.assertIs(fault(requests), Fault.NOT_ACKNOWLEDGEABLE)
        session = connected(V1_0)
        session.receive(subscribe("a"))
        self.assertIs(fault(session.receive(b"ACK\nmessage-id:m\n\n\0")), Fault.NOT_ACKNOWLEDGEABLE)

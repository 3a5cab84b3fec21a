"""The sans-I/O STOMP client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.cli.stomp_client import (
    ClientEvent,
    Connected,
    Disconnected,
    ErrorReceived,
    Received,
    StompClient,
    StompViolation,
    Subscribed,
)
from airyd.limits import Limits
from airyd.stomp.frames import Frame
from airyd.stomp.parser import Parser
from airyd.stomp.spec import FROM_CLIENT, Version

MESSAGE = "/queue/message"
_CONNECTED = b"CONNECTED\nversion:1.2\nheart-beat:0,30000\n\n\0"
_ERROR = b"ERROR\nmessage:internal error\n\nSorry.\nMore.\0"
_EVENT = b"MESSAGE\nsubscription:sub-0\nmessage-id:m-1\ndestination:/queue/message\n\n{}\0"
_RECEIPT = b"RECEIPT\nreceipt-id:sub-0\nlast-message-id:m-0\n\n\0"
_BYE = b"RECEIPT\nreceipt-id:bye\n\n\0"


class StompClientTests(SynchronousTestCase):
    """One connection's client."""

    def setUp(self) -> None:
        self.positions: dict[str, str] = {}
        self.client = StompClient("airy.example", [MESSAGE], self.positions)
        self.parser = Parser(Limits(), FROM_CLIENT)

    def sent(self) -> list[Frame]:
        """Return the frames to send now."""
        frames = []
        for data in self.client.data_to_send():
            self.parser.feed(data)
            frame = self.parser.next_frame()
            assert frame is not None
            frames.append(frame)
            self.parser.connected(Version.V1_2)
        return frames

    def live(self, positions: dict[str, str] | None = None) -> StompClient:
        """Return a client that has subscribed."""
        client = StompClient("airy.example", [MESSAGE], self.positions if positions is None else positions)
        client.receive(_CONNECTED)
        client.data_to_send()
        return client

    def test_connects_and_subscribes(self) -> None:
        self.assertEqual(["CONNECT"], [frame.command for frame in self.sent()])
        self.assertEqual([Connected(30000, 0)], self.client.receive(_CONNECTED))
        (subscribe,) = self.sent()
        self.assertEqual({"id": "sub-0", "destination": MESSAGE, "ack": "auto", "receipt": "sub-0"}, subscribe.headers)
        self.assertEqual(
            [Subscribed(MESSAGE, None), Received(MESSAGE, "m-1", b"{}")], self.client.receive(_RECEIPT + _EVENT)
        )
        self.assertEqual({MESSAGE: "m-1"}, self.positions)

    def test_version_1_1(self) -> None:
        """Positions are escaped as the version that was agreed has it."""
        client = StompClient("airy.example", [MESSAGE], {MESSAGE: "a:b\rc"})
        client.data_to_send()
        client.receive(b"CONNECTED\nversion:1.1\n\n\0")
        (subscribe,) = client.data_to_send()
        self.assertIn(b"\nlast-message-id:a\\cb\rc\n", subscribe)

    def test_what_a_server_may_say_when(self) -> None:
        """Each frame of a server in each state: an unexpected one ends the connection with a reason."""
        connecting = lambda: StompClient("airy.example", [MESSAGE], {})  # noqa: E731  (a table of makers)

        def leaving() -> StompClient:
            client = self.live({})
            client.leave()
            return client

        refused: list[ClientEvent] = [ErrorReceived("internal error", "internal error: Sorry.")]
        table: list[tuple[bytes, list[ClientEvent] | None, list[ClientEvent] | None, list[ClientEvent] | None]] = [
            (_CONNECTED, [Connected(30000, 0)], None, None),
            (_EVENT, None, [Received(MESSAGE, "m-1", b"{}")], []),
            (_RECEIPT, None, [Subscribed(MESSAGE, None)], []),
            (_BYE, None, [], [Disconnected()]),
            (_ERROR, refused, refused, refused),
        ]
        for data, *columns in table:
            for make, expected in zip((connecting, lambda: self.live({}), leaving), columns, strict=True):
                happened = make().receive(data)
                if expected is None:
                    self.assertEqual([StompViolation], [type(happening) for happening in happened], data)
                else:
                    self.assertEqual(expected, happened)

    def test_nothing_after_the_end(self) -> None:
        client = self.live()
        self.assertEqual([Received, ErrorReceived], [type(h) for h in client.receive(_EVENT + _ERROR + _EVENT)])
        self.assertEqual([], client.receive(_EVENT))
        self.assertFalse(client.leave())

    def test_nothing_seen_after_leaving(self) -> None:
        """An event that is ignored after DISCONNECT is requested again."""
        client = self.live()
        client.receive(_RECEIPT)
        self.assertTrue(client.leave())
        client.receive(_EVENT)
        self.assertEqual({MESSAGE: "m-0"}, self.positions)

    def test_broken(self) -> None:
        for connected, data in [
            (False, b"CONNECTED\nversion:1.0\n\n\0"),
            (False, b"CONNECTED\n\n\0"),
            (False, b"CONNECTED\nversion:1.2\nheart-beat:x\n\n\0"),
            (True, b"MESSAGE\nsubscription:other\nmessage-id:1\n\n\0"),
            (True, b"MESSAGE\nsubscription:sub-0\n\n\0"),
            (True, b"MESSAGE\nno colon\n\n\0"),
            (True, b"SEND\n\n\0"),
        ]:
            client = self.live() if connected else StompClient("airy.example", [MESSAGE], {})
            self.assertEqual([StompViolation], [type(happening) for happening in client.receive(data)], data)

    def test_permanent(self) -> None:
        """A failed login, and an unknown or forbidden destination, are permanent."""
        for message, permanent in [
            ("401 Unauthorized", True),
            ("Login failed (401)", True),
            ("unknown destination", True),
            ("403 Forbidden", True),
            ("client too slow", False),
            ("history lost", False),
        ]:
            happened = self.live().receive(b"ERROR\nmessage:%b\n\n\0" % message.encode())
            self.assertEqual([ErrorReceived(message, message)], happened)
            self.assertEqual([permanent], [each.is_permanent for each in happened if isinstance(each, ErrorReceived)])

"""Token refresh over several turns of the reactor, if the new row filter has many values."""

from __future__ import annotations

from twisted.internet.task import Clock

from airyd.client import token_refresh
from airyd.errors import Fault, SourceUnavailable
from airyd.events import CHANNEL_CONNECTED, MESSAGE, REFRESH, STATUS, UNREAD_COUNT
from tests.client.frames import send, subscribe
from tests.client.test_token_refresh import RefreshCase
from tests.doubles import Channel, frame
from tests.model.world import Reactor


class ManyValuesTests(RefreshCase):
    """Until the RECEIPT, the client goes on, and others do not wait."""

    def setUp(self) -> None:
        """Let each subscription take a turn."""
        super().setUp()
        self.patch(token_refresh, "VALUES_PER_TURN", 1000)

    def make_clock(self) -> Clock:
        """Return a clock that tells turns of the reactor apart."""
        return Reactor()

    def started(self, *frames: bytes, seconds: float | None = None) -> Channel:
        """Return the channel of a client that sees nothing, and whose next token takes several turns."""
        ids = "abcdef"
        channel = self.logged_in(
            subscribe("s", STATUS),
            *(subscribe(each, CHANNEL_CONNECTED) for each in ids),
            seconds=seconds,
            only={"channel_id": ["c0"]},
        )
        other = self.logged_in(subscribe("o", CHANNEL_CONNECTED))
        self.refresh(channel, seconds, only={"channel_id": [f"c{number}" for number in range(1, 1200)]})
        channel.client.received(b"".join(frames))
        self.assertNotIn("RECEIPT r", channel.commands())
        self.row("c0")
        self.assertEqual(len(self.bodies(other)), 1)
        return channel

    def turns(self, count: int = 10) -> None:
        """Let turns of the reactor pass."""
        for _ in range(count):
            self.clock.advance(0)

    def test_the_receipt_comes_last(self) -> None:
        channel = self.started()
        self.turns()
        *olds, receipt = self.bodies(channel)
        self.assertEqual((receipt, set(olds)), ("r", {b'{"id": "c0", "n": 0}'}))
        self.assertLess(len(olds), 6)
        self.row("c1")
        self.row("c0")
        self.assertEqual(self.bodies(channel), [b'{"id": "c1", "n": 0}'] * 6)

    def test_few_values_take_one_turn(self) -> None:
        channel = self.logged_in(*(subscribe(each, CHANNEL_CONNECTED) for each in "abcdef"))
        self.refresh(channel, only={"channel_id": ["c1"]})
        self.assertEqual(self.bodies(channel), ["r"])

    def test_the_next_token_waits(self) -> None:
        channel = self.started(send("r2", REFRESH, b"new"))
        self.turns(20)
        self.assertEqual([each for each in self.bodies(channel) if isinstance(each, str)], ["r", "r2"])

    def test_a_new_subscription_has_the_new_rights(self) -> None:
        channel = self.started(subscribe("new", CHANNEL_CONNECTED))
        channel.frames()
        self.row("c0")
        self.assertNotIn("new", [each.headers.get("subscription") for each in channel.frames()])

    def test_gone_meanwhile(self) -> None:
        channel = self.started()
        channel.client.ended()
        channel.frames()
        self.turns()
        self.assertEqual((channel.commands(), self.metrics.sessions), ([], 1))
        self.assertEqual(self.metrics.subscriptions[CHANNEL_CONNECTED], 1)

    def test_disconnect_waits_for_it(self) -> None:
        channel = self.started(frame("DISCONNECT", receipt="bye"))
        self.turns()
        *_, receipt, farewell = self.bodies(channel)
        self.assertEqual((receipt, farewell, channel.closed), ("r", "bye", [None]))

    def test_expired_meanwhile(self) -> None:
        """A token that expires while its rights are applied ends the client."""
        channel = self.started(seconds=100)
        self.clock.advance(101)
        self.turns()
        self.assert_failed(channel, Fault.TOKEN_EXPIRED)

    def test_nobody_could_be_told(self) -> None:
        """The ERROR has the receipt of the token, also if it comes in a later turn."""
        channel = self.logged_in(*(subscribe(each, CHANNEL_CONNECTED) for each in "abc"), subscribe("u", UNREAD_COUNT))
        self.refresh(channel, only={"channel_id": [f"c{number}" for number in range(1, 1200)]})
        self.assertEqual((self.bodies(channel), channel.closed), ([], []))
        self.turns()
        self.assertEqual(self.assert_failed(channel, Fault.FORBIDDEN).headers["receipt-id"], "r")

    def test_a_part_that_is_postponed_meanwhile(self) -> None:
        """A part whose source is unreachable has left its wildcard when the new rights come to it."""
        tags = "/queue/tags"
        channel = self.logged_in(subscribe("s", STATUS), subscribe("w", "/queue/*"))
        self.feed.watches.holding = True
        self.context.hub.extend([tags])
        self.patch(token_refresh, "VALUES_PER_TURN", 1)
        self.refresh(channel, subscribe=[MESSAGE, UNREAD_COUNT])
        self.feed.watches.answer(SourceUnavailable("gone"))
        self.turns()
        self.assertEqual((self.bodies(channel), channel.closed), (["r"], []))

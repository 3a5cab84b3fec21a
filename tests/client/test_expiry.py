"""A connection ends when its login expires."""

from __future__ import annotations

from airyd.errors import Fault, StompError
from airyd.events import MESSAGE
from airyd.stomp.spec import HeartBeat
from tests.client.frames import send, subscribe
from tests.doubles import Channel, ClientTestCase, Somebody, frame


class ExpiryTests(ClientTestCase):
    """A connection ends at the ``exp`` of its token."""

    heart_beat = HeartBeat(0, 0)
    ping_interval = 0.0

    def logged_in(self, seconds: float, **headers: str) -> Channel:
        """Return the channel of a client whose login ends in so many seconds."""
        self.door.principal = Somebody()
        self.door.principal.expires = self.wall() + seconds
        return self.connected(**headers)

    def test_ends(self) -> None:
        """It ends not before ``exp``, and within two ticks of the wheel."""
        channel = self.logged_in(100)
        channel.client.received(subscribe("a", MESSAGE))
        channel.commands()
        self.clock.pump([1] * 99)
        self.publish(MESSAGE)
        self.assertEqual(([sent.command for sent in channel.frames()], channel.closed), (["MESSAGE"], []))
        self.clock.pump([1] * 3)
        error = self.assert_failed(channel, Fault.TOKEN_EXPIRED)
        self.assertEqual(error.headers["message"], "401 token expired")
        self.assertEqual(Fault.TOKEN_EXPIRED.close_code, 1008)
        self.assertEqual((self.metrics.sessions, self.metrics.errors["token_expired"]), (0, 1))
        channel.client.received(send("late"))
        self.assertEqual((channel.commands(), self.feed.taken[1:]), ([], []))

    def test_a_commit_goes_no_further(self) -> None:
        """The rest of a COMMIT is not published after the login has expired, but it is after the connection is lost."""
        for fault, taken in ((Fault.TOKEN_REVOKED, 1), (Fault.TOKEN_EXPIRED, 1), (Fault.HEARTBEAT_TIMEOUT, 2)):
            self.feed.taken.clear()
            self.feed.publishes.holding = True
            channel = self.logged_in(100)
            channel.client.received(
                frame("BEGIN", transaction="t")
                + send("1", transaction="t")
                + send("2", transaction="t")
                + frame("COMMIT", transaction="t")
            )
            channel.client.fail(StompError(fault, "why"))
            self.assert_failed(channel, fault)
            while self.feed.publishes:
                self.feed.publishes.answer()
            self.assertEqual((len(self.feed.taken), channel.late), (taken, []), fault)
            self.assertEqual(self.metrics.sessions, 0)

    def test_whatever_is_beaten(self) -> None:
        for beats in ("0,0", "0,30000", "30000,0"):
            channel = self.logged_in(200, heart_beat=beats)
            for _ in range(205):
                channel.client.heard()
                self.clock.advance(1)
            self.assert_failed(channel, Fault.TOKEN_EXPIRED)

    def test_never(self) -> None:
        channel = self.connected()
        self.clock.pump([1000] * 100)
        self.assertEqual(channel.closed, [])

    def test_wall_clock_that_is_set(self) -> None:
        """The current wall clock counts, even if it was set meanwhile."""
        ahead, back = self.logged_in(3600), self.logged_in(100)
        self.wall_ahead -= 100
        self.clock.pump([1] * 150)
        self.assertEqual(back.closed, [])
        self.clock.pump([1] * 60)
        self.assert_failed(back, Fault.TOKEN_EXPIRED)
        self.assertEqual(ahead.closed, [])
        self.wall_ahead += 3600
        self.clock.pump([1] * 62)
        self.assert_failed(ahead, Fault.TOKEN_EXPIRED)

    def test_far_away(self) -> None:
        """For a distant expiry, only the next check is scheduled."""
        channel = self.logged_in(1e12)
        self.clock.pump([60] * 100)
        self.assertEqual(channel.closed, [])

    def test_over_when_it_begins(self) -> None:
        self.door.principal.expires = self.wall()
        channel = self.open()
        channel.client.received(b"CONNECT\naccept-version:1.2\n\n\0" + send("sent"))
        self.assert_failed(channel, Fault.TOKEN_EXPIRED)
        self.assertEqual(self.feed.taken, [])

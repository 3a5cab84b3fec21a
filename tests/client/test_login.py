"""CONNECT: which logins are accepted, and what is held meanwhile."""

from __future__ import annotations

from airyd.errors import Fault, LoginFault, LoginRefused
from airyd.interfaces import Credentials
from airyd.limits import HELD_DURING_LOGIN
from tests.client.frames import CONNECT, send, subscribe, unsubscribe
from tests.doubles import ClientTestCase, frame, record_log, text_of


class LoginTests(ClientTestCase):
    """CONNECT, accepted and refused."""

    def test_everything_waits_behind_connect(self) -> None:
        self.door.holding = True
        channel = self.open()
        channel.client.received(CONNECT + subscribe("a") + send("sent") + unsubscribe("a"))
        self.clock.advance(1)
        channel.client.received(frame("DISCONNECT", receipt="bye"))
        self.assertEqual((channel.commands(), self.feed.taken), ([], []))
        self.door.answer()
        expected = ["CONNECTED", "RECEIPT +a", "RECEIPT sent", "RECEIPT -a", "RECEIPT bye"]
        self.assertEqual([name for name in channel.commands() if name != "MESSAGE"], expected)
        self.assertEqual(channel.closed, [None])

    def test_what_is_held_is_bounded(self) -> None:
        self.door.holding = True
        channel = self.open()
        channel.client.received(CONNECT + b"\n" * HELD_DURING_LOGIN)
        self.assertEqual(channel.closed, [])
        channel.client.received(b"\n")
        self.assert_failed(channel, Fault.FRAME_TOO_BIG)
        self.door.answer()
        self.assertEqual(channel.commands(), [])

    def test_credentials(self) -> None:
        self.connected(login="ann", passcode="pass", Authorization="Bearer x.y.z")
        (seen,) = self.door.seen
        self.assertEqual((seen.login, seen.passcode, seen.headers["Authorization"]), ("ann", "pass", "Bearer x.y.z"))

    def test_refused(self) -> None:
        """Airy's client looks for 401 in the message; the close code says policy."""
        for holding in (False, True):
            self.door.holding = holding
            self.door.fault = None if holding else LoginRefused(LoginFault.EXPIRED, "exp was 3 s ago")
            channel = self.open()
            channel.client.received(frame("CONNECT", b"", accept_version="1.2", receipt="in") + send("sent"))
            if holding:
                self.door.answer(LoginRefused(LoginFault.EXPIRED, "exp was 3 s ago"))
            error = self.assert_failed(channel, Fault.UNAUTHORIZED)
            self.assertIn("401", error.headers["message"])
            self.assertEqual((error.headers["receipt-id"], error.body), ("in", b"The token has expired."))
            self.assertEqual(Fault.UNAUTHORIZED.close_code, 1008)
        self.assertEqual(self.feed.taken, [])
        self.assertEqual((self.metrics.sessions, self.metrics.errors["unauthorized"]), (0, 2))

    def test_authenticator_breaks(self) -> None:
        """The client gets no details, and the log only the exception's type, since its text may hold a token."""
        log = record_log(self)
        for holding in (False, True):
            self.door.holding = holding
            self.door.fault = None if holding else KeyError("hunter2")
            channel = self.open()
            channel.client.received(CONNECT)
            if holding:
                self.door.answer(KeyError("hunter2"))
            error = self.assert_failed(channel, Fault.INTERNAL)
            self.assertNotIn(b"hunter2", error.body)
        self.assertEqual(text_of(log).count("a login failed with KeyError"), 2)
        self.assertNotIn("hunter2", text_of(log))

    def test_no_common_version(self) -> None:
        channel = self.open()
        channel.client.received(frame("CONNECT", accept_version="2.0"))
        error = self.assert_failed(channel, Fault.VERSION_MISMATCH)
        self.assertEqual(error.headers["version"], "1.0,1.1,1.2")
        self.assertEqual(self.door.seen, [])

    def test_sessions_have_names(self) -> None:
        names = set()
        for _ in range(3):
            channel = self.open()
            channel.client.received(CONNECT)
            (connected,) = channel.frames()
            names.add(connected.headers["session"])
        self.assertEqual((len(names), self.metrics.sessions), (3, 3))

    def test_too_late(self) -> None:
        channel = self.open()
        self.clock.pump([1] * 9)
        self.assertEqual(channel.closed, [])
        self.clock.pump([1] * 3)
        self.assert_failed(channel, Fault.CONNECT_TIMEOUT)

    def test_login_takes_too_long(self) -> None:
        """The connect timeout includes the login; a later result is dropped."""
        self.door.holding = True
        for outcome in (None, LoginRefused(LoginFault.SIGNATURE, "no"), ValueError("broken")):
            channel = self.open()
            channel.client.received(CONNECT)
            self.clock.pump([1] * 12)
            self.assert_failed(channel, Fault.CONNECT_TIMEOUT)
            self.door.answer(outcome)
            self.assertEqual((channel.commands(), channel.late), ([], []))
        self.assertEqual(self.metrics.sessions, 0)
        self.flushLoggedErrors(ValueError)

    def test_connected_in_time(self) -> None:
        channel = self.connected()
        self.clock.pump([1] * 60)
        self.assertEqual(channel.closed, [])

    def test_nothing_before_connect(self) -> None:
        for early in (send("1"), subscribe("a"), frame("DISCONNECT", receipt="1"), frame("BEGIN", transaction="t")):
            channel = self.open()
            channel.client.received(early + CONNECT)
            self.assert_failed(channel, Fault.UNEXPECTED_COMMAND, "1.0")
        self.assertEqual(self.door.seen, [])


class TimeTests(ClientTestCase):
    """How long the check of credentials takes, whatever comes of it."""

    def assert_measured(self, count: int, seconds: float) -> None:
        """Check how many checks were measured, and how long they took together."""
        self.assertEqual((count, seconds), (self.metrics.login_time.count, self.metrics.login_time.sum))

    def connect(self) -> None:
        """Send a CONNECT."""
        self.open().client.received(frame("CONNECT", accept_version="1.2"))

    def test_at_once(self) -> None:
        self.connect()
        self.assert_measured(1, 0.0)

    def test_later(self) -> None:
        self.door.holding = True
        for _ in range(2):
            self.connect()
        self.clock.advance(0.5)
        self.assert_measured(0, 0.0)
        self.door.answer()
        self.door.answer(LoginRefused(LoginFault.MISSING, "no"))
        self.assert_measured(2, 1.0)

    def test_refused_at_once(self) -> None:
        def refuse(credentials: Credentials) -> None:
            raise LoginRefused(LoginFault.MISSING, "no")

        self.patch(self.door, "authenticate", refuse)
        self.connect()
        self.assert_measured(1, 0.0)

"""Clients without heart-beats are pinged while they are silent, and ended when they don't answer."""

from __future__ import annotations

from collections import Counter

from airyd.errors import Fault
from airyd.events import CHANNEL_DISCONNECTED, MESSAGE
from airyd.limits import MOST_UNDER_WAY
from airyd.stomp.spec import HeartBeat
from tests.client.frames import send, subscribe
from tests.doubles import PINGED, Channel, ClientTestCase


class PingTests(ClientTestCase):
    """With an interval of 30 seconds, and a grace of 65."""

    def pass_seconds(self, count: int) -> None:
        """Let this many seconds pass, one at a time."""
        self.clock.pump([1] * count)

    def ping(self, channel: Channel, version: str = "1.2") -> None:
        """Wait for the next ping, and check that it is sent in time."""
        self.pass_seconds(29)
        self.assertEqual(channel.commands(version), [])
        self.pass_seconds(11)  # a quarter of the interval later, and the wheel's lateness
        self.assertEqual(channel.commands(version), [PINGED])

    def test_who_is_pinged(self) -> None:
        for version, heart_beat in (("1.0", "1000,1000"), ("1.1", "0,0"), ("1.2", "0,0")):
            self.ping(self.connected(version, heart_beat=heart_beat), version)
        self.ping(self.connected())

    def test_server_that_wants_no_heart_beats(self) -> None:
        """If the server wants no heart-beats, all clients are pinged."""
        self.heart_beat = HeartBeat(0, 0)
        self.setUp()
        self.ping(self.connected(heart_beat="30000,30000"))

    def test_who_owes_heart_beats_is_not_pinged(self) -> None:
        channel = self.connected(heart_beat="30000,0")
        for _ in range(10):
            self.pass_seconds(40)
            channel.client.heard()
        self.assertEqual(channel.commands(), [])

    def test_before_connected_nobody_is(self) -> None:
        """A client without CONNECT is ended after ten seconds, so it is not pinged."""
        self.door.holding = True
        channel = self.open()
        self.pass_seconds(12)
        self.assert_failed(channel, Fault.CONNECT_TIMEOUT)

    def test_a_client_that_answers_stays(self) -> None:
        """A client that answers with any bytes stays forever."""
        channel = self.connected()
        for _ in range(20):
            self.ping(channel)
            channel.client.heard()
        self.assertEqual(channel.closed, [])

    def test_one_answer_is_enough_for_all_before(self) -> None:
        channel = self.connected()
        for _ in range(3):
            self.pass_seconds(85)
            self.assertEqual(channel.commands(), [PINGED, PINGED])
            channel.client.heard()
            self.assertEqual(channel.closed, [])

    def test_a_client_that_sends_is_not_pinged(self) -> None:
        channel = self.connected()
        for _ in range(20):
            self.pass_seconds(25)
            channel.client.received(send("1", CHANNEL_DISCONNECTED))
            channel.client.heard()
        self.assertNotIn(PINGED, channel.commands())

    def test_what_it_is_sent_makes_no_difference(self) -> None:
        """A client that vanished may be sent events for a long time."""
        channel = self.connected()
        channel.client.received(subscribe("a"))
        for _ in range(24):
            self.pass_seconds(5)
            if not channel.closed:
                self.publish(MESSAGE)
        names = channel.commands()
        self.assertEqual((names.count(PINGED), names[-1]), (2, "ERROR"))

    def test_two_unanswered(self) -> None:
        """The client is ended after two pings, each unanswered for the whole interval."""
        channel = self.connected()
        self.pass_seconds(89)
        self.assertEqual((channel.commands(), channel.closed), ([PINGED, PINGED], []))
        self.pass_seconds(30)
        self.assert_failed(channel, Fault.HEARTBEAT_TIMEOUT)
        self.pass_seconds(300)
        self.assertEqual((channel.commands(), self.clock.getDelayedCalls()), ([], []))

    def test_never_before_the_grace(self) -> None:
        self.grace = 200.0
        self.setUp()
        channel = self.connected()
        self.pass_seconds(200)
        self.assertEqual(channel.closed, [])
        self.pass_seconds(45)
        self.assert_failed(channel, Fault.HEARTBEAT_TIMEOUT)

    def test_with_beats_of_the_server(self) -> None:
        """Heart-beats that the server sends do not change when it pings."""
        channel = self.connected(heart_beat="0,10000")
        self.pass_seconds(89)
        self.assertEqual(Counter(channel.commands())[PINGED], 2)
        self.pass_seconds(30)
        self.assert_failed(channel, Fault.HEARTBEAT_TIMEOUT)

    def test_turned_off(self) -> None:
        self.ping_interval = 0
        self.setUp()
        channel = self.connected()
        self.pass_seconds(1000)
        self.assertEqual((channel.commands(), channel.closed, self.clock.getDelayedCalls()), ([], [], []))

    def test_no_time_runs_while_the_client_is_not_read(self) -> None:
        """Its answers may wait in the kernel."""
        self.ping_interval, self.grace = 2, 3
        self.setUp()
        channel = self.connected()
        self.feed.publishes.holding = True
        for number in range(MOST_UNDER_WAY + 1):
            channel.client.received(send(f"{number}", CHANNEL_DISCONNECTED))
        self.assertTrue(channel.paused)
        self.pass_seconds(9)  # after ten the source is given up
        self.assertEqual((channel.commands(), channel.closed), ([], []))
        while self.feed.publishes:
            self.feed.publishes.answer()
        self.assertFalse(channel.paused)
        channel.commands()
        self.pass_seconds(5)
        self.assertEqual((set(channel.commands()), channel.closed), ({PINGED}, []))
        self.pass_seconds(10)
        self.assert_failed(channel, Fault.HEARTBEAT_TIMEOUT)

    def test_no_time_runs_while_the_process_sleeps(self) -> None:
        """Time in which the process was stopped doesn't count, because nothing was read."""
        for heart_beat in ("0,0", "30000,0"):
            channel = self.connected(heart_beat=heart_beat)
            self.pass_seconds(20)
            self.clock.advance(1000)
            self.pass_seconds(29)
            self.assertEqual((channel.commands(), channel.closed), ([], []), heart_beat)
            self.pass_seconds(100)
            self.assert_failed(channel, Fault.HEARTBEAT_TIMEOUT)

    def test_those_who_come_together_do_not_answer_together(self) -> None:
        """Thousands of answers at once would delay all clients."""
        channels = [self.connected() for _ in range(1000)]
        pinged: Counter[float] = Counter()
        for _ in range(600):
            self.pass_seconds(1)
            for channel in channels:
                if channel.commands():
                    pinged[self.clock.seconds()] += 1
                    channel.client.heard()
        last = [pinged[second] for second in range(500, 600)]
        self.assertGreater(sum(last), 2500)
        self.assertLess(max(last), 100)

    def test_one_timer(self) -> None:
        """One timer serves any number of clients."""
        for _ in range(100):
            self.connected()
        self.pass_seconds(20)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_none_after_a_disconnect(self) -> None:
        channel = self.connected()
        channel.client.received(b"DISCONNECT\nreceipt:bye\n\n\0")
        self.pass_seconds(300)
        self.assertEqual((channel.commands(), channel.closed), (["RECEIPT bye"], [None]))

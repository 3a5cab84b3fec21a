"""The end of a client, and the secrets that the log must not show."""

from __future__ import annotations

import gc

from airyd.errors import Fault, LoginFault, LoginRefused, SourceUnavailable, StompError
from airyd.events import MESSAGE, UNREAD_COUNT
from airyd.interfaces import IChannelOwner
from airyd.limits import Limits
from tests.client.frames import CONNECT, send, subscribe, unsubscribe
from tests.doubles import EVENT, ClientTestCase, frame, record_log, text_of


class EndTests(ClientTestCase):
    """A client leaves at any moment."""

    def test_gone_while_something_is_under_way(self) -> None:
        """A late answer of any kind raises nothing, and nothing of the client is kept."""
        for succeeds in (True, False):
            for told in (self.door, self.feed.watches, self.feed.replays, self.feed.publishes):
                channel = self.open() if told is self.door else self.connected()
                refusal = LoginRefused(LoginFault.SIGNATURE, "no") if told is self.door else SourceUnavailable("down")
                told.holding = True
                channel.client.received(
                    CONNECT
                    if told is self.door
                    else subscribe("a", last_message_id="1") + send("1") + unsubscribe("a")
                    if told is not self.feed.replays
                    else subscribe("a", last_message_id=self.position())
                )
                channel.frames()
                channel.client.ended()
                channel.close(None)
                while told:
                    told.answer(None if succeeds else refusal)
                told.holding = False
                self.assertEqual((channel.commands(), channel.late), ([], []))
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual((self.metrics.sessions, sum(self.metrics.subscriptions.values())), (0, 0))
        self.clock.advance(1000)
        self.assertEqual(self.feed.health(), ())

    def position(self) -> str:
        """Return a position that can be resumed from."""
        channel = self.connected()
        channel.client.received(subscribe("p"))
        (receipt,) = channel.frames()
        channel.client.ended()
        return receipt.headers["last-message-id"]

    def test_no_timer_is_left(self) -> None:
        for _ in range(3):
            self.open().client.ended()
            channel = self.connected(heart_beat="10000,10000")
            channel.client.received(subscribe("a"))
            channel.client.ended()
            self.connected(heart_beat="9999999999,9999999999").client.ended()
        self.clock.pump([1] * 100)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.metrics.heartbeats_out, 0)

    def test_fails_once(self) -> None:
        channel = self.connected()
        channel.client.fail(StompError(Fault.SOURCE_UNAVAILABLE, "first"))
        channel.client.fail(StompError(Fault.HISTORY_LOST, "second"))
        channel.client.ended()
        error = self.assert_failed(channel, Fault.SOURCE_UNAVAILABLE)
        self.assertEqual(error.body, b"first")
        self.assertEqual((self.metrics.errors["source_unavailable"], self.metrics.errors["history_lost"]), (1, 0))
        self.assertEqual(self.metrics.sessions, 0)

    def test_nothing_after_the_error(self) -> None:
        channel = self.connected(heart_beat="10000,10000")
        channel.client.received(subscribe("a") + subscribe("b", ack="client") + subscribe("c", UNREAD_COUNT))
        self.successResultOf(self.context.hub.publish(MESSAGE, EVENT, "admin"))
        channel.client.fail(StompError(Fault.RESTARTING, "now"))
        self.publish(MESSAGE)
        self.publish(UNREAD_COUNT)
        self.clock.pump([1] * 100)
        self.assert_failed(channel, Fault.RESTARTING)

    def test_nothing_for_the_gone(self) -> None:
        """A client whose connection is lost while events are pending is sent nothing."""
        channel = self.connected()
        other = self.connected()
        for each in (channel, other):
            each.client.received(subscribe("a"))
            each.frames()
        self.successResultOf(self.context.hub.publish(MESSAGE, EVENT, "admin"))
        channel.client.ended()
        self.clock.advance(0)
        self.publish(MESSAGE)
        self.assertEqual(other.commands(), ["MESSAGE", "MESSAGE"])
        self.assertEqual(sum(self.metrics.subscriptions.values()), 1)

    def test_is_what_a_channel_reports_to(self) -> None:
        for name in IChannelOwner.names():
            self.assertTrue(callable(getattr(self.open().client, name)), name)


class SecretsTests(ClientTestCase):
    """No log line shows a client's secrets."""

    SECRETS = ("s3cr3t-pass", "t0ken.of.ann", "ann-login", "b0dy-of-ann", "h3ader-of-ann", "rec3ipt")
    limits = Limits(headers=12, header_line=300, subscriptions=2, transactions=1, transaction_bytes=400, body=2000)

    def test_never_in_the_log(self) -> None:
        events = record_log(self)
        body = EVENT.replace(b'"now"', b'"b0dy-of-ann"')
        secret = {"destination": MESSAGE, "x": "h3ader-of-ann", "receipt": "rec3ipt"}
        sub = frame("SUBSCRIBE", b"", id="t0ken.of.ann", **secret)
        faulty: list[bytes] = [
            frame("s3cr3t-pass"),
            frame("SEND", b"b0dy-of-ann", **secret),
            frame("SEND", b"[]b0dy-of-ann\xff", **secret),
            frame("SEND", body[:-1], **secret),
            frame("SEND", body, b="h3ader-of-ann"),
            frame("SEND", body, destination="/queue/t0ken.of.ann"),
            frame("SUBSCRIBE", b"", id="a", destination="/queue/t0ken.of.ann"),
            frame("SUBSCRIBE", b"", id="a", destination=MESSAGE, ack="t0ken.of.ann"),
            frame("SUBSCRIBE", b"", id="a", destination=MESSAGE, last_message_id="t0ken.of.ann") + frame("X"),
            sub + sub,
            frame("UNSUBSCRIBE", id="t0ken.of.ann"),
            frame("ACK", id="t0ken.of.ann"),
            frame("ACK", id="1-t0ken.of.ann"),
            sub.replace(b"\n\n", b"\nack:client\n\n") + frame("ACK", id="1-t0ken.of.ann"),
            frame("COMMIT", transaction="t0ken.of.ann"),
            frame("BEGIN", transaction="t0ken.of.ann") * 2,
            frame("BEGIN", transaction="a") + frame("BEGIN", transaction="t0ken.of.ann"),
            frame("BEGIN", transaction="a") + frame("SEND", body * 9, transaction="a", **secret),
            frame("SEND", body, x="t0ken.of.ann" * 50),
            frame("SEND", body, **{f"x{n}": "h3ader-of-ann" for n in range(20)}),
            b"SEND\nt0ken.of.ann\n\n\0",
            b"SEND\nx:t0ken.of.ann\\t\n\n\0",
            b"SEND\ncontent-length:t0ken.of.ann\n\n\0",
            b"SEND\nx:t0ken.of.ann\xff\n\n\0",
            b"CONNECT\npasscode:s3cr3t-pass\n\n\0",
        ]
        login = {
            "login": "ann-login",
            "passcode": "s3cr3t-pass",
            "Authorization": "Bearer t0ken.of.ann",
            "receipt": "rec3ipt",
        }
        for version in ("1.0", "1.1", "1.2", "t0ken.of.ann"):
            for fault in faulty:
                channel = self.open()
                channel.client.received(frame("CONNECT", b"", accept_version=version, **login) + fault)
                channel.client.received(frame("DISCONNECT"))
                channel.client.ended()
                self.open().client.received(fault)
        for refusal in (LoginRefused(LoginFault.SIGNATURE, "No."), SourceUnavailable("unreachable")):
            self.door.fault = refusal
            self.open().client.received(frame("CONNECT", b"", accept_version="1.2", **login))
        self.clock.pump([1] * 200)
        self.assertGreater(len(events), len(faulty))
        log = text_of(events)
        for word in self.SECRETS:
            self.assertNotIn(word, log)

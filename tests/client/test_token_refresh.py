"""Token refresh on an open connection: whose token is accepted, what its rights change, the notice before expiry."""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from random import Random
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.task import Clock

from airyd.auth.anonymous import AnonymousAuthenticator
from airyd.auth.jwt.claims import Identity
from airyd.auth.jwt.permissions import PermissionCache, PermissionClaims
from airyd.client.token_refresh import NOTICE
from airyd.client.wildcard import WildcardPart
from airyd.errors import Fault, LoginFault, LoginRefused, LoginUnavailable
from airyd.events import CHANNEL_CONNECTED, MESSAGE, REFRESH, STATUS, UNREAD_COUNT
from airyd.interfaces import Credentials
from airyd.limits import Limits
from airyd.stomp.spec import HeartBeat
from tests.auth.case import log_in
from tests.client.frames import send, subscribe, unsubscribe
from tests.doubles import BEAT, Channel, ClientTestCase, Somebody, frame, record_log, text_of
from tests.integration.wire import StompFrame
from tests.leaks import MARK, leaks
from tests.model.world import Reactor

ENDED = {"type": "subscription", "state": "ended", "id": "a", "destination": MESSAGE}


class RefreshCase(ClientTestCase):
    """A client whose token can be refreshed."""

    heart_beat = HeartBeat(0, 0)

    def setUp(self) -> None:
        """Share equal rights, as an authenticator does."""
        super().setUp()
        self.rights = PermissionCache(PermissionClaims())

    def token(self, seconds: float | None = None, name: str = "ann", **claims: Any) -> None:
        """Set the principal that the next token gives."""
        expires = None if seconds is None else self.wall() + seconds
        self.patch(self.door, "principal", self.rights.principal(Identity(name, expires, None, None), claims))

    def logged_in(self, *subscriptions: bytes, seconds: float | None = None, **claims: Any) -> Channel:
        """Return the channel of a client that has subscribed."""
        self.token(seconds, **claims)
        channel = self.connected()
        channel.client.received(b"".join(subscriptions))
        channel.frames()
        return channel

    def refresh(self, channel: Channel, seconds: float | None = None, **claims: Any) -> None:
        """Send a new token as the client, with the receipt ``r``."""
        self.token(seconds, **claims)
        channel.client.received(send("r", REFRESH, b"new"))

    def bodies(self, channel: Channel) -> list[object]:
        """Return the bodies of the MESSAGEs that came, and the ids of the receipts."""
        return [_content(each) for each in channel.frames()]

    def row(self, channel_id: str, number: int = 0) -> bytes:
        """Publish an event that has a channel; return its body."""
        body = json.dumps({"id": channel_id, "n": number}).encode()
        self.publish(CHANNEL_CONNECTED, body)
        return body


def _content(sent: StompFrame) -> object:
    if sent.command == "RECEIPT":
        return sent.headers["receipt-id"]
    return json.loads(sent.body) if sent.headers["destination"] == STATUS else sent.body


class TokenTests(RefreshCase):
    """Which tokens are accepted, and what the authenticator gets."""

    def test_is_a_login(self) -> None:
        channel = self.logged_in()
        channel.client.received(send("r", REFRESH, b"Bearer x.y.z"))
        shown = self.door.seen[-1]
        self.assertEqual(shown.headers, {"Authorization": "Bearer x.y.z"})
        self.assertEqual((shown.login, shown.passcode, shown.peer), (None, None, channel.peer))
        self.assertEqual(channel.commands(), ["RECEIPT r"])
        self.assertEqual((self.metrics.refreshes, self.metrics.sessions, self.feed.taken), (1, 1, []))

    def test_without_a_receipt(self) -> None:
        channel = self.logged_in()
        channel.client.received(frame("SEND", b"new", destination=REFRESH))
        self.assertEqual((channel.commands(), self.metrics.refreshes), ([], 1))

    def test_no_transaction(self) -> None:
        channel = self.logged_in()
        channel.client.received(frame("BEGIN", transaction="t") + send("r", REFRESH, b"new", transaction="t"))
        error = self.assert_failed(channel, Fault.INVALID_HEADER)
        self.assertEqual(error.headers["receipt-id"], "r")
        self.assertEqual(len(self.door.seen), 1)

    def test_too_long(self) -> None:
        """A token that is too long is refused; one of the largest length reaches the authenticator."""
        channel = self.logged_in()
        body = b"Bearer " + b"x" * Limits().token_size
        channel.client.received(send("r", REFRESH, body))
        self.assertEqual((channel.commands(), len(self.door.seen)), (["RECEIPT r"], 2))
        channel.client.received(send("r", REFRESH, body + b"x"))
        self.assert_failed(channel, Fault.FRAME_TOO_BIG)
        self.assertEqual(len(self.door.seen), 2)

    def test_longer_than_other_bodies(self) -> None:
        """The limits of frames and bodies do not count a token."""
        self.context = replace(self.context, limits=Limits(token_size=3000, body=500, frame=1000))
        channel = self.logged_in()
        channel.client.received(send("r", REFRESH, b"Bearer " + b"x" * 3000))
        self.assertEqual((channel.commands(), len(self.door.seen)), (["RECEIPT r"], 2))
        channel.client.received(send("r", REFRESH, b"x" * 3008))
        self.assert_failed(channel, Fault.FRAME_TOO_BIG)

    def test_is_no_destination(self) -> None:
        channel = self.logged_in()
        channel.client.received(subscribe("a", REFRESH))
        self.assert_failed(channel, Fault.UNKNOWN_DESTINATION)

    def test_refused(self) -> None:
        for fault, said in ((LoginFault.SIGNATURE, "There is no valid token."), (LoginFault.EXPIRED, "has expired")):
            channel = self.logged_in(subscribe("a"))
            self.door.fault = LoginRefused(fault, "why")
            channel.client.received(send("r", REFRESH, b"new"))
            error = self.assert_failed(channel, Fault.UNAUTHORIZED)
            self.assertEqual(error.headers["receipt-id"], "r")
            self.assertIn(said, error.body.decode())
            self.door.fault = None
        self.assertEqual((self.metrics.refreshes, sum(self.metrics.subscriptions.values())), (0, 0))

    def test_nobody_can_say(self) -> None:
        channel = self.logged_in()
        self.door.fault = LoginUnavailable("no keys")
        channel.client.received(send("r", REFRESH, b"new"))
        self.assert_failed(channel, Fault.LOGIN_UNAVAILABLE)

    def test_another_subject(self) -> None:
        channel = self.logged_in()
        log = record_log(self)
        self.refresh(channel, name="bea")
        self.assert_failed(channel, Fault.UNAUTHORIZED)
        self.assertEqual(self.metrics.logins_refused["subject"], 1)
        self.assertIn("refused, subject", text_of(log))

    def test_same_name_by_another_authenticator(self) -> None:
        """A user of the same name from another authenticator, or an anonymous one, is another user."""
        channel = self.logged_in()
        self.patch(self, "rights", PermissionCache(PermissionClaims()))
        self.refresh(channel)
        self.assert_failed(channel, Fault.UNAUTHORIZED)
        nobody = log_in(AnonymousAuthenticator(public=True, send=True), Credentials(None, None, {}))
        channel = self.logged_in(name="anonymous", seconds=100)
        self.patch(self.door, "principal", self.successResultOf(nobody))
        channel.client.received(send("r", REFRESH, b""))
        self.assert_failed(channel, Fault.UNAUTHORIZED)
        self.assertEqual((self.metrics.logins_refused["subject"], self.metrics.refreshes), (2, 0))

    def test_is_not_told(self) -> None:
        """Neither a request's repr nor the log shows the token."""
        log = record_log(self)
        for fault in (None, LoginRefused(LoginFault.SIGNATURE, "why"), KeyError(MARK)):
            channel = self.logged_in()
            self.door.fault = fault
            channel.client.received(send("r", REFRESH, MARK.encode()))
            self.assertEqual(leaks("".join(str(each) for each in channel.frames())), [])
            self.door.fault = None
        self.assertIn("a login failed with KeyError", text_of(log))
        self.assertEqual(leaks(text_of(log)), [])
        self.flushLoggedErrors(KeyError)

    def test_one_after_the_other(self) -> None:
        """The token sent last applies; until it is accepted, the old one does."""
        channel = self.logged_in(subscribe("a", CHANNEL_CONNECTED), send=["/queue/*"])
        self.door.holding = True
        channel.client.received(send("r1", REFRESH, b"one") + send("r2", REFRESH, b"two") + send("s"))
        self.assertEqual((channel.commands(), len(self.door)), (["RECEIPT s"], 1))
        self.token(send=["/queue/*"])
        self.door.answer()
        self.assertEqual(channel.commands(), ["RECEIPT r1"])
        self.clock.advance(0)
        self.assertEqual(len(self.door), 1)
        self.token()
        self.door.answer()
        channel.client.received(send("s"))
        self.assertEqual(channel.commands()[0], "RECEIPT r2")
        self.assertEqual(channel.closed, [Fault.FORBIDDEN])

    def test_gone_meanwhile(self) -> None:
        channel = self.logged_in(subscribe("a"))
        self.door.holding = True
        channel.client.received(send("r", REFRESH, b"new"))
        channel.client.ended()
        self.door.answer()
        self.assertEqual((channel.commands(), self.metrics.refreshes, self.metrics.sessions), ([], 0, 0))

    def test_disconnect_waits_for_it(self) -> None:
        channel = self.logged_in(seconds=1000)
        self.door.holding = True
        channel.client.received(send("r", REFRESH, b"new") + frame("DISCONNECT", receipt="bye"))
        self.door.answer()
        self.clock.advance(0)
        self.assertEqual((channel.commands(), channel.closed), (["RECEIPT r", "RECEIPT bye"], [None]))
        self.clock.pump([1] * 1100)
        self.assertEqual(channel.commands(), [])

    def test_disconnect_waits_no_longer(self) -> None:
        """A pending token refresh delays DISCONNECT only up to the usual timeout."""
        channel = self.logged_in(seconds=1000)
        self.door.holding = True
        tokens = [send(receipt, REFRESH, b"new") for receipt in ("r1", "r2")]
        channel.client.received(b"".join(tokens) + frame("DISCONNECT", receipt="bye"))
        self.door.answer()
        self.assertEqual(channel.commands(), ["RECEIPT r1"])
        self.clock.pump([1] * 12)
        self.assertEqual((channel.commands(), channel.closed), (["RECEIPT bye"], [None]))


class TurnTests(RefreshCase):
    """A chunk of bytes may have hundreds of tokens, each for hundreds of subscriptions."""

    def make_clock(self) -> Clock:
        """Return a clock that tells turns of the reactor apart."""
        return Reactor()

    def test_one_in_a_turn(self) -> None:
        """Others must not wait for all of them."""
        channel, other = self.logged_in(subscribe("a")), self.logged_in(subscribe("a"))
        channel.client.received(b"".join(send(f"r{number}", REFRESH, b"new") for number in range(3)))
        self.refresh(other)
        found = []
        for _ in range(3):
            found.append((channel.commands(), other.commands()))
            self.clock.advance(0)
        self.assertEqual(found, [(["RECEIPT r0"], ["RECEIPT r"]), (["RECEIPT r1"], []), (["RECEIPT r2"], [])])


class LifeTests(RefreshCase):
    """The connection lives as long as its last token."""

    ping_interval = 0.0

    def test_longer(self) -> None:
        channel = self.logged_in(seconds=100)
        self.clock.pump([1] * 90)
        self.refresh(channel, 300)
        self.clock.pump([1] * 298)
        self.assertEqual((channel.commands(), channel.closed), (["RECEIPT r"], []))
        self.clock.pump([1] * 4)
        self.assert_failed(channel, Fault.TOKEN_EXPIRED)

    def test_shorter(self) -> None:
        channel = self.logged_in(seconds=1000)
        self.refresh(channel, 10)
        self.clock.pump([1] * 12)
        self.assertEqual(channel.closed, [Fault.TOKEN_EXPIRED])

    def test_no_end_any_more(self) -> None:
        channel = self.logged_in(seconds=100)
        self.refresh(channel)
        self.clock.pump([1] * 300)
        self.assertEqual(channel.closed, [])

    def test_told_a_minute_before(self) -> None:
        """The client is notified once for each token, and no other client is."""
        channel = self.logged_in(subscribe("s", STATUS), seconds=100)
        other = self.logged_in(subscribe("s", STATUS), seconds=1000)
        self.clock.pump([1] * 39)
        self.assertEqual(self.bodies(channel), [])
        self.clock.pump([1] * 10)
        (told,) = self.bodies(channel)
        assert isinstance(told, dict)
        self.assertEqual(told["type"], "token")
        self.assertTrue(NOTICE - 3 <= told["within"] <= NOTICE, told)
        self.clock.pump([1] * 40)
        self.assertEqual(self.bodies(channel), [])
        self.refresh(channel, 200)
        self.clock.pump([1] * 137)
        self.assertEqual(self.bodies(channel), ["r"])
        self.clock.pump([1] * 10)
        self.assertEqual(len(self.bodies(channel)), 1)
        self.assertEqual(self.bodies(other), [])

    def test_told_who_comes_late(self) -> None:
        """A late subscription gets the notice after the present state; an earlier one doesn't get it again."""
        channel = self.logged_in(seconds=50)
        channel.client.received(subscribe("s", STATUS))
        told = self.bodies(channel)
        self.assertEqual(told, ["+s", {"type": "source", "state": "up"}, {"type": "token", "within": 50.0}])
        channel.client.received(subscribe("t", STATUS))
        self.assertEqual([each.headers.get("subscription") for each in channel.frames()], [None, "t", "t"])

    def test_told_once_though_the_wheel_is_late(self) -> None:
        channel = self.logged_in(seconds=NOTICE + 0.5)
        self.clock.advance(0.7)
        channel.client.received(subscribe("s", STATUS))
        self.clock.pump([1] * 5)
        self.assertEqual(len(self.bodies(channel)), 3)

    def test_told_of_each_token(self) -> None:
        """A token with less than a minute left gives a notice, too; the same token sent again gives none."""
        channel = self.logged_in(subscribe("s", STATUS), seconds=NOTICE)
        self.refresh(channel, NOTICE - 10)
        self.assertEqual(self.bodies(channel), ["r", {"type": "token", "within": NOTICE - 10}])
        self.clock.pump([1] * 5)
        self.refresh(channel, NOTICE - 15)
        self.clock.pump([1] * 5)
        self.assertEqual(self.bodies(channel), ["r"])

    def test_told_once_whatever_is_beaten(self) -> None:
        self.patch(self, "context", replace(self.context, heart_beat=HeartBeat(10000, 10000)))
        self.token(100)
        channel = self.connected(heart_beat="10000,10000")
        channel.client.received(subscribe("s", STATUS))
        channel.frames()
        for _ in range(95):
            channel.client.heard()
            self.clock.advance(1)
        self.assertEqual([each.command for each in channel.frames() if each.command != BEAT], ["MESSAGE"])

    def test_nobody_listens(self) -> None:
        channel = self.logged_in(subscribe("a"), seconds=100)
        self.clock.pump([1] * 60)
        self.assertEqual(channel.commands(), [])


class BeatTests(RefreshCase):
    """Heart-beats go on as agreed."""

    heart_beat = HeartBeat(30000, 0)

    def test_what_others_got_before_does_not_count(self) -> None:
        """Events that other members got before the client joined by its new token do not replace a heart-beat."""
        channels = []
        for seen in ("c1", "c2"):
            self.token(only={"channel_id": [seen]})
            channels.append(self.connected(heart_beat="0,30000"))
            channels[-1].client.received(subscribe("a", CHANNEL_CONNECTED))
        start = self.clock.seconds()
        self.clock.pump([1] * 15)
        self.row("c2")
        channels[0].frames()
        channels[0].client.received(frame("SEND", b"new", destination=REFRESH))
        self.clock.pump([1] * 15)
        self.assertEqual(channels[0].commands(), [BEAT])
        self.assertLessEqual(channels[0].times[-1], start + 30)


class RightsTests(RefreshCase):
    """Which rights apply from the receipt on."""

    def test_send(self) -> None:
        channel = self.logged_in()
        self.refresh(channel, send=["/queue/*"])
        channel.client.received(send("s"))
        self.assertEqual(channel.commands(), ["RECEIPT r", "RECEIPT s"])
        self.clock.advance(0)
        self.refresh(channel)
        channel.client.received(send("s"))
        self.assertEqual(channel.commands()[0], "RECEIPT r")
        self.assertEqual(channel.closed, [Fault.FORBIDDEN])

    def test_send_within_a_transaction(self) -> None:
        """A SEND in a transaction needs the right at the COMMIT, too."""
        channel = self.logged_in(send=["/queue/*"])
        channel.client.received(frame("BEGIN", transaction="t") + send("s", transaction="t"))
        self.refresh(channel)
        channel.client.received(frame("COMMIT", transaction="t"))
        self.assertEqual((channel.closed, self.feed.taken), ([Fault.FORBIDDEN], []))

    def test_subscription_stays(self) -> None:
        channel = self.logged_in(subscribe("a"))
        self.refresh(channel, subscribe=["/queue/*"])
        self.publish(MESSAGE)
        self.assertEqual(channel.commands(), ["RECEIPT r", "MESSAGE"])

    def test_subscription_ends(self) -> None:
        """The notice comes before the receipt, and after events that were published before."""
        for version in ("1.0", "1.1", "1.2"):
            self.token()
            channel = self.connected(version)
            channel.client.received(subscribe("s", STATUS) + subscribe("a") + subscribe("b", UNREAD_COUNT))
            channel.frames(version)
            self.successResultOf(self.context.hub.publish(MESSAGE, b'{"conversation_id":"1","message":{"id":"1"}}', ""))
            self.refresh(channel, subscribe=[UNREAD_COUNT])
            sent = channel.frames(version)
            self.assertEqual([each.command for each in sent], ["MESSAGE", "MESSAGE", "RECEIPT"])
            self.assertEqual((sent[0].headers["destination"], json.loads(sent[1].body)), (MESSAGE, ENDED))
            self.clock.advance(0)
            self.publish(MESSAGE)
            self.publish(UNREAD_COUNT)
            self.assertEqual([each.headers["subscription"] for each in channel.frames(version)], ["b"])
            channel.client.ended()

    def test_what_is_on_its_way_is_no_fault(self) -> None:
        """The client may use the id until it sends UNSUBSCRIBE."""
        for ack in ("client", "client-individual"):
            channel = self.logged_in(subscribe("s", STATUS), subscribe("a", ack=ack))
            self.publish(MESSAGE)
            (message,) = channel.frames()
            self.refresh(channel, subscribe=[UNREAD_COUNT])
            channel.frames()
            channel.client.received(frame("ACK", id=message.headers["ack"], receipt="ack") + unsubscribe("a"))
            self.assertEqual(channel.commands(), ["RECEIPT ack", "RECEIPT -a"])
            self.clock.advance(0)
            self.refresh(channel)
            channel.client.received(subscribe("a"))
            self.publish(MESSAGE)
            self.assertEqual(channel.commands(), ["RECEIPT r", "RECEIPT +a", "MESSAGE"])
            channel.client.ended()
        self.assertEqual(sum(self.metrics.subscriptions.values()), 0)

    def test_id_stays_in_use(self) -> None:
        channel = self.logged_in(subscribe("s", STATUS), subscribe("a"))
        self.refresh(channel, subscribe=[])
        channel.client.received(subscribe("a"))
        self.assertEqual(channel.closed, [Fault.DUPLICATE_SUBSCRIPTION])

    def test_what_has_ended_is_not_told_again(self) -> None:
        """A token that allows it again does not bring it back: the client must subscribe again."""
        channel = self.logged_in(subscribe("s", STATUS), subscribe("a"))
        for rights, commands in (([], ["MESSAGE", "RECEIPT r"]), ([], ["RECEIPT r"]), (["/queue/*"], ["RECEIPT r"])):
            self.refresh(channel, subscribe=rights)
            self.assertEqual(channel.commands(), commands)
            self.clock.advance(0)
        self.publish(MESSAGE)
        self.assertEqual(channel.commands(), [])

    def test_nobody_could_be_told(self) -> None:
        channel = self.logged_in(subscribe("b", UNREAD_COUNT), subscribe("a"))
        self.refresh(channel, subscribe=[UNREAD_COUNT])
        error = self.assert_failed(channel, Fault.FORBIDDEN)
        self.assertIn(MESSAGE, error.body.decode())
        self.assertEqual(error.headers["receipt-id"], "r")

    def test_status_is_everybodys(self) -> None:
        channel = self.logged_in(subscribe("s", STATUS))
        self.refresh(channel, subscribe=[])
        self.status.drain(1)
        self.clock.advance(0)
        self.assertEqual(self.bodies(channel), ["r", {"type": "draining", "within": 1}])

    def test_an_unsubscribe_that_waits(self) -> None:
        """It ends the subscription that has ended already, and no other."""
        other = self.logged_in()
        channel = self.logged_in(subscribe("s", STATUS))
        self.feed.watches.holding = True
        channel.client.received(subscribe("a") + unsubscribe("a"))
        other.client.received(subscribe("b"))
        self.refresh(channel, subscribe=[UNREAD_COUNT])
        self.feed.watches.answer()
        self.publish(MESSAGE)
        self.assertEqual(self.bodies(channel), [ENDED, "-a", "r"])
        self.assertEqual(other.commands(), ["RECEIPT +b", "MESSAGE"])
        self.assertEqual(self.metrics.subscriptions[MESSAGE], 1)
        self.refresh(channel)
        channel.client.received(subscribe("a"))
        self.assertEqual(channel.commands(), ["RECEIPT r", "RECEIPT +a"])

    def test_while_it_opens(self) -> None:
        """A SUBSCRIBE that waits for the source ends like others, and is never answered."""
        channel = self.logged_in(subscribe("s", STATUS))
        self.feed.watches.holding = True
        channel.client.received(subscribe("a") + subscribe("b", UNREAD_COUNT))
        self.refresh(channel, subscribe=[UNREAD_COUNT])
        self.feed.watches.answer()
        self.feed.watches.answer()
        self.publish(MESSAGE)
        self.assertEqual(self.bodies(channel), [ENDED, "r", "+b"])
        self.assertEqual(self.metrics.subscriptions[MESSAGE], 0)


class RowsTests(RefreshCase):
    """Which events the client sees from the receipt on."""

    def only(self, *channels: str) -> dict[str, Any]:
        """Return claims that let these channels be seen."""
        return {"only": {"channel_id": list(channels)}}

    def test_live(self) -> None:
        channel = self.logged_in(subscribe("a", CHANNEL_CONNECTED), **self.only("c1"))
        other = self.logged_in(subscribe("a", CHANNEL_CONNECTED), **self.only("c2"))
        first = self.row("c1")
        self.refresh(channel, **self.only("c2"))
        second = self.row("c2")
        self.row("c1")
        self.refresh(channel)
        rest = [self.row("c1"), self.row("c2")]
        self.assertEqual(self.bodies(channel), [first, "r", second, "r", *rest])
        self.assertEqual(self.bodies(other), [second, rest[1]])

    def test_what_was_published_before(self) -> None:
        """Pending events are filtered by the rights at their publication."""
        channel = self.logged_in(subscribe("a", CHANNEL_CONNECTED), **self.only("c1"))
        bodies = [json.dumps({"id": each}).encode() for each in ("c1", "c2")]
        for each in bodies:
            self.successResultOf(self.context.hub.publish(CHANNEL_CONNECTED, each, "admin"))
        self.refresh(channel, **self.only("c2"))
        self.clock.advance(0)
        self.assertEqual(self.bodies(channel), [bodies[0], "r"])

    def test_with_acknowledgements(self) -> None:
        channel = self.logged_in(subscribe("a", CHANNEL_CONNECTED, ack="client"), **self.only("c1"))
        self.refresh(channel, **self.only("c2"))
        self.row("c1")
        self.assertEqual(self.bodies(channel), ["r"])
        self.row("c2")
        (message,) = channel.frames()
        channel.client.received(frame("ACK", id=message.headers["ack"], receipt="ack"))
        self.assertEqual(channel.commands(), ["RECEIPT ack"])

    def test_while_it_catches_up(self) -> None:
        """The rest of a replay is filtered by the new token's rights."""
        before = self.logged_in(subscribe("a", CHANNEL_CONNECTED))
        last = self.publish(CHANNEL_CONNECTED, b'{"id":"c0"}')
        rows = [self.row(each) for each in ("c1", "c2")]
        before.client.ended()
        channel = self.logged_in(**self.only("c1"))
        self.feed.replays.holding = True
        channel.client.received(subscribe("a", CHANNEL_CONNECTED, last_message_id=last))
        self.refresh(channel, **self.only("c2"))
        self.feed.replays.answer()
        self.clock.pump([0] * 5)
        live = self.row("c2", 2)
        self.row("c1", 2)
        self.assertEqual(self.bodies(channel), ["r", "+a", rows[1], live])

    def test_no_field_there(self) -> None:
        """A destination without the filter's field may not be subscribed to."""
        channel = self.logged_in(subscribe("s", STATUS), subscribe("a", UNREAD_COUNT))
        self.refresh(channel, **self.only("c1"))
        self.assertEqual(self.bodies(channel), [{**ENDED, "destination": UNREAD_COUNT}, "r"])

    def test_at_random(self) -> None:
        """With tokens that change between events, each event is seen once, or never, by the token of its time."""
        self.patch(self.wheel, "next_turn", lambda: succeed(None))  # a client's tokens come faster than turns
        random = Random(7)
        for _ in range(60):
            crowd = [self.logged_in(subscribe("a", CHANNEL_CONNECTED), **self.only("c1")) for _ in range(3)]
            seen = [["c1"] for _ in crowd]
            wanted: list[list[object]] = [[] for _ in crowd]
            for number in range(12):
                if random.random() < 0.5:
                    chosen = random.randrange(3)
                    seen[chosen] = random.sample(["c1", "c2", "c3"], random.randint(1, 3))
                    self.refresh(crowd[chosen], **self.only(*seen[chosen]))
                    wanted[chosen].append("r")
                else:
                    row = random.choice(["c1", "c2", "c3"])
                    body = json.dumps({"id": row, "n": number}).encode()
                    self.successResultOf(self.context.hub.publish(CHANNEL_CONNECTED, body, "admin"))
                    for sees, wants in zip(seen, wanted, strict=True):
                        if row in sees:
                            wants.append(body)
                if random.random() < 0.4:
                    self.clock.advance(0)
            self.clock.pump([0] * 4)
            for channel, wants in zip(crowd, wanted, strict=True):
                got = self.bodies(channel)
                # A receipt may overtake what others' turns still hold back, never the order of events.
                self.assertEqual([each for each in got if each != "r"], [each for each in wants if each != "r"])
                self.assertEqual(got.count("r"), wants.count("r"))
                channel.client.ended()


class WildcardTests(RefreshCase):
    """A wildcard has the parts that the last token allows."""

    def test_parts_come_and_go(self) -> None:
        channel = self.logged_in(subscribe("s", STATUS), subscribe("a", "/queue/**"), subscribe=["/queue/*"])
        self.refresh(channel, subscribe=["/queue/channel/*", UNREAD_COUNT])
        self.assertEqual(self.bodies(channel), [ENDED, "r"])
        for destination in (MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED):
            self.publish(destination)
        self.assertEqual([each.headers["destination"] for each in channel.frames()], [UNREAD_COUNT, CHANNEL_CONNECTED])
        channel.client.received(unsubscribe("a"))
        self.assertEqual(channel.commands(), ["RECEIPT -a"])
        self.assertEqual(sum(self.metrics.subscriptions.values()), 1)

    def test_acknowledgements_on_their_way(self) -> None:
        for ack in ("client", "client-individual"):
            channel = self.logged_in(subscribe("s", STATUS), subscribe("a", "/queue/*", ack=ack))
            self.publish(MESSAGE)
            (message,) = channel.frames()
            self.refresh(channel, subscribe=[UNREAD_COUNT])
            channel.frames()
            channel.client.received(frame("ACK", id=message.headers["ack"], receipt="ack"))
            self.assertEqual(channel.commands(), ["RECEIPT ack"])
            channel.client.ended()

    def test_no_room(self) -> None:
        """Destinations beyond the limit of subscriptions are left out, and logged once."""
        self.patch(self, "context", replace(self.context, limits=Limits(subscriptions=3)))
        channel = self.logged_in(subscribe("s", STATUS), subscribe("a", "/queue/*"), subscribe=[UNREAD_COUNT])
        log = record_log(self)
        for _ in range(3):
            self.refresh(channel)
        self.publish(MESSAGE)
        self.assertEqual(self.bodies(channel), ["r", "r", "r"])
        self.assertEqual(text_of(log).count(f"does not get {MESSAGE}:"), 1)

    def test_who_never_answers(self) -> None:
        """Nothing is kept of parts that earlier tokens ended, and an ACK of their messages is still accepted."""
        channel = self.logged_in(subscribe("s", STATUS), subscribe("a", "/queue/*", ack="client"))
        self.publish(MESSAGE)
        (message,) = channel.frames()
        parts = []
        for _ in range(5):
            self.refresh(channel, subscribe=[UNREAD_COUNT])
            self.refresh(channel)
            self.publish(MESSAGE)
            gc.collect()
            parts.append(len([each for each in gc.get_objects() if isinstance(each, WildcardPart)]))
        self.assertEqual(parts[1:], parts[:-1])
        channel.frames()
        channel.client.received(frame("ACK", id=message.headers["ack"], receipt="ack"))
        self.assertEqual(channel.commands(), ["RECEIPT ack"])

    def test_nobody_could_be_told(self) -> None:
        channel = self.logged_in(subscribe("a", "/queue/*"))
        self.refresh(channel, subscribe=[UNREAD_COUNT])
        self.assert_failed(channel, Fault.FORBIDDEN)

    def test_rows(self) -> None:
        channel = self.logged_in(subscribe("s", STATUS), subscribe("a", "/queue/channel/*"))
        self.refresh(channel, only={"channel_id": ["c1"]})
        first = self.row("c1")
        self.row("c2")
        self.assertEqual(self.bodies(channel), ["r", first])


class AnybodyTests(RefreshCase):
    """With anonymous logins, a token changes nothing, as in CONNECT."""

    def test_status_is_everybodys(self) -> None:
        """A principal's rights do not restrict ``/airyd/status``."""
        somebody = Somebody()
        self.patch(self.door, "principal", somebody)
        channel = self.connected()
        channel.client.received(subscribe("s", STATUS))
        channel.frames()
        somebody.forbidden.add(STATUS)
        channel.client.received(send("r", REFRESH, b"whatever"))
        self.assertEqual((channel.commands(), channel.closed), (["RECEIPT r"], []))

    def test_same_principal(self) -> None:
        self.patch(self.door, "principal", Somebody())
        channel = self.connected()
        channel.client.received(send("r", REFRESH, b"whatever"))
        self.assertEqual(channel.commands(), ["RECEIPT r"])

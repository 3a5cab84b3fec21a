"""Wildcard SUBSCRIBE: which destinations match, how messages are acknowledged, which parts join and end."""

from __future__ import annotations

from dataclasses import replace

from airyd.auth.jwt.claims import Identity
from airyd.auth.jwt.permissions import PermissionCache, PermissionClaims
from airyd.errors import Fault, SourceUnavailable
from airyd.events import (
    AIRY_DESTINATIONS,
    CHANNEL_CONNECTED,
    CHANNEL_DISCONNECTED,
    MESSAGE,
    STATUS,
    UNREAD_COUNT,
    message_id,
)
from airyd.hub.hub import FOLLOWERS_PER_TURN
from airyd.hub.replay import RETRY_SECONDS
from airyd.limits import SOURCE_PATIENCE, Limits
from tests.client.frames import subscribe, unsubscribe
from tests.doubles import Channel, ClientTestCase, frame, record_log, text_of

TAGS = "/queue/tags"


class WildcardCase(ClientTestCase):
    """Clients that subscribe to patterns."""

    def subscribed(self, pattern: str, version: str = "1.2", **headers: str) -> Channel:
        """Return the channel of a client whose SUBSCRIBE, with the id ``w``, was answered."""
        channel = self.connected(version)
        channel.client.received(subscribe("w", pattern, **headers))
        self.assertEqual(channel.commands(version), ["RECEIPT +w"])
        return channel

    def got(self, channel: Channel, *destinations: str) -> list[str]:
        """Publish to each of these; return the destinations of the MESSAGEs that came."""
        for destination in destinations:
            self.publish(destination)
        return [each.headers["destination"] for each in channel.frames() if each.command == "MESSAGE"]

    def refused(self, fault: Fault, pattern: str, **headers: str) -> str:
        """Return the text with which a SUBSCRIBE is refused."""
        channel = self.connected()
        channel.client.received(subscribe("w", pattern, **headers))
        error = self.assert_failed(channel, fault)
        self.assertEqual(error.headers["receipt-id"], "+w")
        return error.body.decode()

    def extend(self, *names: str) -> None:
        """Add to the catalogue."""
        self.context.hub.extend(names)


class MeaningTests(WildcardCase):
    """Which destinations a pattern matches."""

    def test_patterns(self) -> None:
        for pattern, meant in (
            ("/queue/*", {MESSAGE, UNREAD_COUNT}),
            ("/queue/channel/*", {CHANNEL_CONNECTED, CHANNEL_DISCONNECTED}),
            ("/queue/**", set(AIRY_DESTINATIONS)),
            ("/**", set(AIRY_DESTINATIONS)),
            ("/*/message", {MESSAGE}),
        ):
            self.assertEqual(set(self.got(self.subscribed(pattern), *AIRY_DESTINATIONS)), meant, pattern)

    def test_each_message_says_what_it_is(self) -> None:
        channel = self.subscribed("/queue/**")
        published = [self.publish(name) for name in AIRY_DESTINATIONS]
        for sent, name, wire_id in zip(channel.frames(), AIRY_DESTINATIONS, published, strict=True):
            told = (sent.headers["subscription"], sent.headers["destination"], sent.headers["message-id"])
            self.assertEqual(told, ("w", name, wire_id))

    def test_one_receipt_without_a_position(self) -> None:
        """The RECEIPT has no position, since each destination has its own."""
        channel = self.connected()
        channel.client.received(subscribe("w", "/queue/**"))
        (receipt,) = channel.frames()
        self.assertEqual(receipt.headers, {"receipt-id": "+w"})

    def test_the_receipt_waits_for_all(self) -> None:
        self.feed.watches.holding = True
        channel = self.connected()
        channel.client.received(subscribe("w", "/queue/*") + unsubscribe("w"))
        self.assertEqual(channel.commands(), [])
        self.feed.watches.answer()
        self.assertEqual(channel.commands(), [])
        self.feed.watches.answer()
        self.assertEqual(channel.commands(), ["RECEIPT +w", "RECEIPT -w"])
        self.assertEqual(self.got(channel, MESSAGE, UNREAD_COUNT), [])

    def test_never_airyds_own(self) -> None:
        for pattern in ("/airyd/*", "/airyd/**", "/*/status"):
            self.assertIn(MESSAGE, self.refused(Fault.UNKNOWN_DESTINATION, pattern))
        self.subscribed("/**")
        self.assertEqual(self.metrics.subscriptions[STATUS], 0)

    def test_nothing_of_the_catalogue(self) -> None:
        """The ERROR lists the destinations."""
        said = self.refused(Fault.UNKNOWN_DESTINATION, "/topic/*")
        for name in ("/topic/*", *AIRY_DESTINATIONS):
            self.assertIn(name, said)

    def test_no_patterns(self) -> None:
        for pattern in ("queue/*", "/queue/**/connected", "/queue/mess*", "/queue/" + "*/" * 100 + "*"):
            self.assertIn("pattern", self.refused(Fault.INVALID_HEADER, pattern))

    def test_no_resume(self) -> None:
        said = self.refused(Fault.INVALID_HEADER, "/queue/*", last_message_id=self.publish(MESSAGE))
        self.assertIn("subscribe to each destination singly", said)

    def test_1_0_without_an_id(self) -> None:
        """The pattern is the id; a MESSAGE has its own destination."""
        channel = self.connected("1.0")
        channel.client.received(frame("SUBSCRIBE", b"", destination="/queue/*", receipt="+"))
        self.publish(MESSAGE)
        _receipt, message = channel.frames("1.0")
        self.assertEqual(message.headers["destination"], MESSAGE)
        self.assertNotIn("subscription", message.headers)
        channel.client.received(frame("UNSUBSCRIBE", b"", destination="/queue/*", receipt="-"))
        self.assertEqual(channel.commands("1.0"), ["RECEIPT -"])
        self.publish(MESSAGE)
        self.assertEqual(channel.frames("1.0"), [])

    def test_beside_others(self) -> None:
        """With two patterns and a destination that both match, each subscription gets its own copy."""
        channel = self.subscribed("/queue/*")
        channel.client.received(subscribe("v", "/queue/**") + subscribe("m"))
        channel.frames()
        self.publish(MESSAGE)
        self.assertEqual(sorted(each.headers["subscription"] for each in channel.frames()), ["m", "v", "w"])
        channel.client.received(unsubscribe("v"))
        channel.frames()
        self.publish(MESSAGE)
        self.assertEqual(sorted(each.headers["subscription"] for each in channel.frames()), ["m", "w"])


class PermissionTests(WildcardCase):
    """A destination that may not be subscribed to does not match."""

    def test_some(self) -> None:
        self.door.principal.forbidden = {MESSAGE, CHANNEL_CONNECTED}
        channel = self.subscribed("/queue/**")
        self.assertEqual(self.got(channel, *AIRY_DESTINATIONS), [UNREAD_COUNT, CHANNEL_DISCONNECTED])

    def test_none(self) -> None:
        self.door.principal.forbidden = {MESSAGE, UNREAD_COUNT}
        self.assertIn("/queue/*", self.refused(Fault.FORBIDDEN, "/queue/*"))
        self.assertEqual(sum(self.metrics.subscriptions.values()), 0)

    def test_only_some_rows(self) -> None:
        """A filter applies to each part; a destination without its field has no part, now or later."""
        claims = {"only": {"channel_id": ["c1"]}}
        ann = PermissionCache(PermissionClaims()).principal(Identity("ann", None, None, None), claims)
        self.patch(self.door, "principal", ann)
        for ack in ("auto", "client"):
            channel = self.subscribed("/queue/**", ack=ack)
            self.assertEqual(self.got(channel, UNREAD_COUNT), [])
            for row in ("c1", "c2"):
                body = b'{"id":"%b","conversation_id":"1","channel_id":"%b","message":{"id":"1"}}'
                for name in (MESSAGE, CHANNEL_CONNECTED):
                    self.publish(name, body % (row.encode(), row.encode()))
            self.assertEqual(sorted(self.got(channel)), [CHANNEL_CONNECTED, MESSAGE])
            channel.client.ended()

        channel = self.subscribed("/queue/**")
        self.extend(TAGS)
        self.publish(TAGS, b'{"channel_id":"c2"}')
        self.publish(TAGS, b'{"channel_id":"c1"}')
        self.assertEqual([each.body for each in channel.frames()], [b'{"channel_id":"c1"}'])


class EndTests(WildcardCase):
    """Nothing is kept after the end."""

    def assert_nothing_left(self) -> None:
        """Check that no subscription and no follower of the catalogue is left."""
        self.assertEqual(set(self.metrics.subscriptions.values()), {0})
        self.assertEqual(list(self.context.hub.followers), [])

    def test_unsubscribe(self) -> None:
        """Events of all parts that were published before are sent before the RECEIPT, and none after it."""
        channel = self.subscribed("/queue/**")
        for name in (MESSAGE, CHANNEL_CONNECTED):
            self.context.hub.publish(name, b'{"id":"1","conversation_id":"1","message":{"id":"1"}}', "admin")
        channel.client.received(unsubscribe("w"))
        self.assertEqual(channel.commands(), ["MESSAGE", "MESSAGE", "RECEIPT -w"])
        self.assertEqual(self.got(channel, *AIRY_DESTINATIONS), [])
        self.assert_nothing_left()
        channel.client.received(subscribe("w", "/queue/*"))
        self.assertEqual(channel.commands(), ["RECEIPT +w"])

    def test_disconnect(self) -> None:
        channel = self.subscribed("/queue/**")
        self.context.hub.publish(CHANNEL_CONNECTED, b'{"id":"1"}', "admin")
        channel.client.received(frame("DISCONNECT", receipt="bye"))
        self.assertEqual((channel.commands(), channel.closed), (["MESSAGE", "RECEIPT bye"], [None]))
        self.assert_nothing_left()

    def test_lost(self) -> None:
        for version in ("1.0", "1.2"):
            channel = self.subscribed("/queue/**", version, ack="client")
            self.publish(MESSAGE)
            channel.client.ended()
            self.assert_nothing_left()

    def test_lost_before_it_stands(self) -> None:
        self.feed.watches.holding = True
        channel = self.connected()
        channel.client.received(subscribe("w", "/queue/**"))
        channel.client.ended()
        for _ in AIRY_DESTINATIONS:
            self.feed.watches.answer()
        self.assertEqual(channel.commands(), [])
        self.assert_nothing_left()

    def test_a_source_that_is_away(self) -> None:
        """The ERROR has the SUBSCRIBE's receipt, if a part fails at once, later, or takes too long."""
        self.feed.watches.fault = SourceUnavailable("gone")
        self.refused(Fault.SOURCE_UNAVAILABLE, "/queue/**")
        self.feed.watches.fault = None
        self.feed.watches.holding = True
        for is_slow in (False, True):
            channel = self.connected()
            channel.client.received(subscribe("w", "/queue/*"))
            self.feed.watches.answer()
            if is_slow:
                self.clock.pump([1] * int(SOURCE_PATIENCE))
                error = self.assert_failed(channel, Fault.SOURCE_UNAVAILABLE)
                self.feed.watches.answer()
            else:
                self.feed.watches.answer(SourceUnavailable("gone"))
                error = self.assert_failed(channel, Fault.SOURCE_UNAVAILABLE)
            self.assertEqual(error.headers["receipt-id"], "+w")
            self.assert_nothing_left()

    def test_gap(self) -> None:
        """A gap of one destination ends the client, unless it can be notified on ``/airyd/status``."""
        channel = self.subscribed("/queue/**")
        self.context.hub.gap([UNREAD_COUNT], "the test says so")
        self.assert_failed(channel, Fault.HISTORY_LOST)
        self.assert_nothing_left()
        channel = self.subscribed("/queue/**")
        channel.client.received(subscribe("s", STATUS))
        channel.frames()
        self.context.hub.gap([UNREAD_COUNT], "the test says so")
        (told,) = channel.frames()
        self.assertEqual(told.headers["destination"], STATUS)
        self.assertIn(f'"destinations":["{UNREAD_COUNT}"]', told.body.decode())
        self.assertEqual(self.got(channel, MESSAGE, UNREAD_COUNT), [MESSAGE, UNREAD_COUNT])


class AcknowledgementTests(WildcardCase):
    """The message's id tells the part."""

    def acks(self, channel: Channel, *destinations: str) -> list[str]:
        """Publish, and return the ``ack`` of each MESSAGE."""
        for name in destinations:
            self.publish(name)
        return [each.headers["ack"] for each in channel.frames() if each.command == "MESSAGE"]

    def test_individual(self) -> None:
        channel = self.subscribed("/queue/*", ack="client-individual", prefetch_count="1")
        first, second = self.acks(channel, MESSAGE, UNREAD_COUNT)
        self.assertEqual(self.acks(channel, MESSAGE, UNREAD_COUNT), [], "each window is full")
        for ack, destination in ((second, UNREAD_COUNT), (first, MESSAGE)):
            channel.client.received(frame("ACK", b"", id=ack, receipt="a"))
            self.clock.advance(0)
            receipt, message = channel.frames()
            self.assertEqual((receipt.command, message.headers["destination"]), ("RECEIPT", destination))
        channel.client.received(frame("ACK", b"", id=first, receipt="again"))
        self.assertEqual(channel.commands(), ["RECEIPT again"])
        channel.client.received(frame("ACK", b"", id=f"{first}0"))
        self.assert_failed(channel, Fault.UNKNOWN_MESSAGE)

    def test_cumulative(self) -> None:
        """An ACK settles all earlier messages of all parts."""
        channel = self.subscribed("/queue/*", ack="client")
        acks = self.acks(channel, MESSAGE, UNREAD_COUNT, MESSAGE, UNREAD_COUNT, MESSAGE)
        channel.client.received(frame("ACK", b"", id=acks[3], receipt="a"))
        self.assertEqual(channel.commands(), ["RECEIPT a"])
        channel.client.received(frame("ACK", b"", id=acks[4], receipt="b"))
        self.assertEqual(channel.commands(), ["RECEIPT b"])
        channel.client.received(frame("ACK", b"", id=acks[2], receipt="c"))
        self.assertEqual(channel.commands(), ["RECEIPT c"])
        self.assertEqual((self.metrics.acks, self.metrics.late["ACK"]), (2, 1))

    def test_cumulative_opens_all_windows(self) -> None:
        channel = self.subscribed("/queue/*", ack="client", prefetch_count="1")
        acks = self.acks(channel, MESSAGE, UNREAD_COUNT, MESSAGE, UNREAD_COUNT)
        self.assertEqual(len(acks), 2)
        channel.client.received(frame("ACK", b"", id=acks[1]))
        self.clock.advance(0)
        self.assertEqual(channel.commands(), ["MESSAGE", "MESSAGE"])

    def test_1_1(self) -> None:
        channel = self.subscribed("/queue/*", "1.1", ack="client")
        ids = [self.publish(name) for name in (MESSAGE, UNREAD_COUNT)]
        channel.frames("1.1")
        channel.client.received(frame("ACK", b"", subscription="w", message_id=ids[1], receipt="a"))
        self.assertEqual(channel.commands("1.1"), ["RECEIPT a"])
        for late in (frame("ACK", subscription="w", message_id=ids[0], receipt="b"), unsubscribe("w") * 2):
            channel.client.received(late)
        channel.client.received(frame("ACK", subscription="w", message_id=ids[0], receipt="c"))
        self.assertEqual(channel.commands("1.1"), ["RECEIPT b", "RECEIPT -w", "RECEIPT -w", "RECEIPT c"])
        channel.client.received(frame("ACK", b"", subscription="w", message_id=f"{ids[0]}0"))
        self.assert_failed(channel, Fault.UNKNOWN_MESSAGE, "1.1")

    def test_after_unsubscribe(self) -> None:
        for ack in ("client", "client-individual"):
            channel = self.subscribed("/queue/*", ack=ack)
            first, second = self.acks(channel, MESSAGE, UNREAD_COUNT)
            channel.client.received(unsubscribe("w") + frame("ACK", id=second, receipt="2"))
            channel.client.received(frame("NACK", id=first, receipt="1"))
            self.assertEqual(channel.commands(), ["RECEIPT -w", "RECEIPT 2", "RECEIPT 1"])
            channel.client.ended()
        self.assertEqual((self.metrics.late["ACK"], self.metrics.late["NACK"]), (2, 2))

    def test_before_all_parts_stand(self) -> None:
        """While other parts still open, an ACK of a message that was sent is accepted."""
        for version in ("1.0", "1.1", "1.2"):
            channel = self.connected(version)
            self.feed.watches.holding = True
            channel.client.received(subscribe("w", "/queue/*", ack="client-individual"))
            self.feed.watches.answer()
            self.feed.watches.holding = False
            wire_id = self.publish(MESSAGE)
            (message,) = channel.frames(version)
            names = {
                "1.0": {"message_id": wire_id},
                "1.1": {"message_id": wire_id, "subscription": "w"},
                "1.2": {"id": message.headers.get("ack", "")},
            }[version]
            channel.client.received(unsubscribe("w") + frame("ACK", b"", receipt="a", **names))
            while self.feed.watches:
                self.feed.watches.answer()
            self.assertCountEqual(channel.commands(version), ["RECEIPT +w", "RECEIPT -w", "RECEIPT a"], version)
            channel.client.ended()

    def test_1_0_in_all_subscriptions(self) -> None:
        channel = self.subscribed("/queue/*", "1.0", ack="client-individual", prefetch_count="1")
        channel.client.received(subscribe("m", ack="client", prefetch_count="1"))
        name = self.publish(MESSAGE)
        self.publish(MESSAGE)
        channel.frames("1.0")
        channel.client.received(frame("ACK", b"", message_id=name, receipt="a"))
        self.clock.advance(0)
        _receipt, *messages = channel.frames("1.0")
        self.assertEqual(sorted(each.headers["subscription"] for each in messages), ["m", "w"])

    def test_auto(self) -> None:
        channel = self.subscribed("/queue/*", "1.1")
        name = self.publish(MESSAGE)
        channel.client.received(frame("ACK", b"", subscription="w", message_id=name))
        self.assert_failed(channel, Fault.NOT_ACKNOWLEDGEABLE, "1.1")


class GrowthTests(WildcardCase):
    """Matching destinations that are added to the catalogue join."""

    def test_joins(self) -> None:
        channel, elsewhere = self.subscribed("/queue/*"), self.subscribed("/queue/channel/*")
        self.extend(TAGS, "/topic/news")
        self.assertEqual((channel.frames(), elsewhere.frames()), ([], []))
        self.assertEqual(self.got(channel, MESSAGE, TAGS, "/topic/news", TAGS), [MESSAGE, TAGS, TAGS])
        self.assertEqual(self.got(elsewhere), [])
        channel.client.received(unsubscribe("w"))
        self.assertEqual(channel.commands(), ["RECEIPT -w"])
        self.assertEqual(self.got(channel, MESSAGE, TAGS), [])
        self.extend("/queue/more")
        self.assertEqual(self.got(channel, "/queue/more"), [])

    def test_can_be_subscribed_to_singly(self) -> None:
        self.extend(TAGS)
        channel = self.connected()
        channel.client.received(subscribe("t", TAGS))
        self.assertEqual(channel.commands(), ["RECEIPT +t"])
        self.assertEqual(self.got(channel, TAGS), [TAGS])

    def test_not_what_is_forbidden(self) -> None:
        self.door.principal.forbidden = {TAGS}
        channel = self.subscribed("/queue/*")
        self.extend(TAGS, "/queue/more")
        self.assertEqual(self.got(channel, TAGS, "/queue/more"), ["/queue/more"])

    def test_acknowledged(self) -> None:
        channel = self.subscribed("/queue/*", ack="client")
        self.extend(TAGS)
        self.publish(MESSAGE)
        self.publish(TAGS)
        _, tags = channel.frames()
        self.assertEqual(tags.headers["message-id"][:8], message_id(TAGS, "")[:8])
        channel.client.received(frame("ACK", b"", id=tags.headers["ack"], receipt="a"))
        self.assertEqual(channel.commands(), ["RECEIPT a"])

    def test_while_the_source_is_away(self) -> None:
        """A late part causes no ERROR while the source is unreachable, and joins when it is back."""
        channel = self.subscribed("/queue/*")
        self.feed.watches.fault = SourceUnavailable("gone")
        self.extend(TAGS)
        self.clock.pump([1] * int(3 * SOURCE_PATIENCE))
        self.assertEqual((channel.closed, self.got(channel, MESSAGE, TAGS)), ([], [MESSAGE]))
        self.feed.watches.fault = None
        self.clock.pump([1] * int(SOURCE_PATIENCE + 2))
        self.assertEqual(self.got(channel, MESSAGE, TAGS), [MESSAGE, TAGS])

    def test_while_the_source_does_not_answer(self) -> None:
        channel = self.subscribed("/queue/*")
        self.feed.watches.holding = True
        self.extend(TAGS)
        self.clock.pump([1] * int(2 * SOURCE_PATIENCE + 4))
        self.assertEqual(channel.closed, [])
        self.feed.watches.answer()
        self.assertEqual(self.got(channel, TAGS), [TAGS])

    def test_a_source_that_breaks(self) -> None:
        """A bug in the source ends the client; further new destinations don't join."""
        channel = self.subscribed("/queue/*")
        self.feed.watches.fault = KeyError("a bug")
        self.extend(TAGS, "/queue/more")
        self.assert_failed(channel, Fault.INTERNAL)
        self.assertEqual(sum(self.metrics.subscriptions.values()), 0)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_a_source_that_goes_once_it_stands(self) -> None:
        """Its client waits for a history that can't be read, as with any other subscription."""
        channel = self.subscribed("/queue/*", ack="client", prefetch_count="1")
        self.extend(TAGS)
        self.publish(TAGS)
        self.publish(TAGS)
        (message,) = channel.frames()
        self.feed.replays.fault = SourceUnavailable("gone")
        channel.client.received(frame("ACK", id=message.headers["ack"]))
        self.clock.pump([0, *[RETRY_SECONDS] * 20])
        self.assertEqual(channel.frames(), [])
        self.feed.replays.fault = None
        self.clock.pump([RETRY_SECONDS, 0])
        self.assertEqual([each.command for each in channel.frames()], ["MESSAGE"])

    def test_told_twice(self) -> None:
        """A destination that is added twice gets one part."""
        channel = self.subscribed("/queue/*")
        self.extend(TAGS)
        for follower in self.context.hub.followers:
            follower.added([TAGS])
        self.assertEqual(self.got(channel, TAGS), [TAGS])
        self.assertEqual(self.metrics.subscriptions[TAGS], 1)

    def test_gone_while_the_source_is_away(self) -> None:
        for end in (unsubscribe("w"), frame("DISCONNECT")):
            channel = self.subscribed("/queue/*")
            self.feed.watches.fault = SourceUnavailable("gone")
            self.extend(f"/queue/{len(end)}")
            channel.client.received(end)
            self.feed.watches.fault = None
            self.clock.pump([1] * int(SOURCE_PATIENCE + 2))
            self.assertEqual(self.metrics.subscriptions[f"/queue/{len(end)}"], 0)

    def test_fails_like_any_other_once_it_stands(self) -> None:
        channel = self.subscribed("/queue/*")
        self.extend(TAGS)
        self.context.hub.gap([TAGS], "the test says so")
        self.assert_failed(channel, Fault.HISTORY_LOST)

    def test_many_followers(self) -> None:
        """Many followers are called in several turns of the reactor, but not those that have left meanwhile."""
        channels = [self.subscribed("/queue/*") for _ in range(FOLLOWERS_PER_TURN + 20)]
        self.extend(TAGS)
        self.assertEqual(self.metrics.subscriptions[TAGS], FOLLOWERS_PER_TURN)
        channels[-1].client.ended()
        late = self.subscribed("/queue/*")
        self.clock.advance(0)
        self.assertEqual(self.metrics.subscriptions[TAGS], FOLLOWERS_PER_TURN + 20)
        self.assertEqual(self.got(late, TAGS), [TAGS])


class LimitTests(WildcardCase):
    """Each destination counts as a subscription, and so does the wildcard."""

    limits = replace(Limits(), subscriptions=4)

    def test_too_many(self) -> None:
        self.assertIn("/queue/**", self.refused(Fault.TOO_MANY_SUBSCRIPTIONS, "/queue/**"))

    def test_with_others(self) -> None:
        for more in (subscribe("a"), subscribe("a", "/queue/channel/*")):
            channel = self.subscribed("/queue/*")
            if b"*" not in more:
                channel.client.received(more)
                self.assertEqual(channel.commands(), ["RECEIPT +a"])
                more = subscribe("b")
            channel.client.received(more)
            self.assert_failed(channel, Fault.TOO_MANY_SUBSCRIPTIONS)

    def test_what_joins(self) -> None:
        """A destination above the limit ends no client; the log says which client doesn't get it."""
        log = record_log(self)
        channel = self.subscribed("/queue/*")
        self.extend(TAGS, "/queue/more")
        self.assertEqual(self.got(channel, TAGS, "/queue/more"), [TAGS])
        self.assertEqual(text_of(log).count("does not get /queue/more"), 1)

"""User destinations: /user/queue/message is /queue/message with the events of the token's user only."""

from __future__ import annotations

import json
from typing import Any

from airyd.auth.jwt.claims import Identity
from airyd.auth.jwt.permissions import PermissionCache, PermissionClaims
from airyd.errors import Fault
from airyd.events import (
    AIRY_DESTINATIONS,
    CHANNEL_CONNECTED,
    MESSAGE,
    REFRESH,
    STATUS,
    UNREAD_COUNT,
    FilterKey,
    Row,
    RowFilter,
    message_id,
)
from airyd.stomp.spec import HeartBeat
from tests.client.frames import send, subscribe, unsubscribe
from tests.doubles import Channel, ClientTestCase, Somebody, frame

USER_MESSAGE = "/user/queue/message"
TAGS = "/queue/tags"


class UserCase(ClientTestCase):
    """Clients whose events have the field ``user_id``; by default everybody's token is ann's."""

    heart_beat = HeartBeat(0, 0)
    has_user_destinations = True
    user_fields = {"user_id": "sub"}  # noqa: RUF012  # not changed

    def setUp(self) -> None:
        """Share equal rights, as an authenticator does."""
        super().setUp()
        self.cache = PermissionCache(PermissionClaims(), self.user_fields)
        self.log_in_as("ann")

    def log_in_as(self, user: str, **claims: Any) -> None:
        """Set the principal that the next token gives."""
        principal = self.cache.principal(Identity("somebody", None, None, None), {"sub": user, **claims})
        self.patch(self.door, "principal", principal)

    def subscribed(self, destination: str = USER_MESSAGE, version: str = "1.2", **headers: str) -> Channel:
        """Return the channel of a client whose SUBSCRIBE, with the id ``u``, was answered."""
        channel = self.connected(version)
        channel.client.received(subscribe("u", destination, **headers))
        self.assertEqual(channel.commands(version), ["RECEIPT +u"])
        return channel

    def event(self, user: str, destination: str = MESSAGE, **more: Any) -> str:
        """Publish an event of a user; return its ``message-id``."""
        body = {"id": "1", "conversation_id": "1", "message": {"id": "1"}, "unread_message_count": 1, "timestamp": "-"}
        return self.publish(destination, json.dumps({**body, "user_id": user, **more}).encode())

    def got(self, channel: Channel, version: str = "1.2") -> list[tuple[str, str]]:
        """Return the destinations and ids of the MESSAGEs that came."""
        sent = [each for each in channel.frames(version) if each.command == "MESSAGE"]
        return [(each.headers["destination"], each.headers["message-id"]) for each in sent]

    def refused(self, fault: Fault, destination: str = USER_MESSAGE, **headers: str) -> None:
        """Check that a SUBSCRIBE is refused, and nothing is left of it."""
        channel = self.connected()
        channel.client.received(subscribe("u", destination, **headers))
        self.assertEqual(self.assert_failed(channel, fault).headers["receipt-id"], "+u")
        self.assertEqual(sum(self.metrics.subscriptions.values()), 0)
        self.event("ann")
        self.assertEqual(channel.frames(), [])


class DeliveryTests(UserCase):
    """Which events come, and how their MESSAGEs look."""

    def test_own_events(self) -> None:
        """In each version; the ids are those of the plain destination."""
        for version in ("1.0", "1.1", "1.2"):
            channel = self.subscribed(version=version)
            self.event("bob")
            own = self.event("ann")
            self.assertEqual(self.got(channel, version), [(USER_MESSAGE, own)])
            self.assertTrue(own.startswith(message_id(MESSAGE, "")))

    def test_beside_the_plain_destination(self) -> None:
        """Each has its own MESSAGE, also if both have the same filter."""
        self.log_in_as("ann", only={"user_id": ["ann"]})
        channel = self.subscribed()
        channel.client.received(subscribe("p", MESSAGE))
        channel.frames()
        own = self.event("ann")
        self.assertEqual(sorted(self.got(channel)), [(MESSAGE, own), (USER_MESSAGE, own)])
        channel.client.received(unsubscribe("u"))
        channel.frames()
        own = self.event("ann")
        self.assertEqual(self.got(channel), [(MESSAGE, own)])

    def test_users_apart(self) -> None:
        channels = {}
        for user in ("ann", "bob", "eve"):
            self.log_in_as(user)
            channels[user] = self.subscribed()
        published = {user: self.event(user) for user in channels}
        for user, channel in channels.items():
            self.assertEqual(self.got(channel), [(USER_MESSAGE, published[user])])

    def test_resume(self) -> None:
        """The position of one name resumes the other."""
        start = self.event("bob")
        missed = [self.event("ann"), self.event("bob"), self.event("ann")]
        for destination, expected in ((USER_MESSAGE, missed[::2]), (MESSAGE, missed)):
            channel = self.connected()
            channel.client.received(subscribe("u", destination, last_message_id=start))
            self.clock.advance(0)
            receipt, *messages = channel.frames()
            self.assertEqual((receipt.headers["recovered"], receipt.headers["last-message-id"]), ("true", start))
            found = [(each.headers["destination"], each.headers["message-id"]) for each in messages]
            self.assertEqual(found, [(destination, each) for each in expected])

    def test_position(self) -> None:
        last = self.event("bob")
        channel = self.connected()
        channel.client.received(subscribe("u", USER_MESSAGE) + subscribe("p", MESSAGE))
        self.assertEqual([each.headers["last-message-id"] for each in channel.frames()], [last, last])

    def test_acknowledge(self) -> None:
        """A window counts the visible events; ACK and NACK settle them."""
        for mode in ("client", "client-individual"):
            channel = self.subscribed(ack=mode, prefetch_count="2")
            published = [self.event(user) for user in ("ann", "bob", "ann", "ann", "bob", "ann")]
            own = [published[index] for index in (0, 2, 3, 5)]
            first = [each for each in channel.frames() if each.command == "MESSAGE"]
            self.assertEqual([each.headers["message-id"] for each in first], own[:2])
            self.assertEqual({each.headers["destination"] for each in first}, {USER_MESSAGE})
            for command, message in zip(("ACK", "NACK"), first, strict=True):
                channel.client.received(frame(command, id=message.headers["ack"], receipt=command))
            self.clock.advance(0)
            self.clock.advance(0)
            self.assertEqual(self.got(channel), [(USER_MESSAGE, each) for each in own[2:]])
            channel.client.ended()

    def test_unsubscribe_by_name(self) -> None:
        """In 1.0 the name is the id."""
        channel = self.connected("1.0")
        channel.client.received(frame("SUBSCRIBE", b"", destination=USER_MESSAGE, receipt="+"))
        own = self.event("ann")
        self.assertEqual(self.got(channel, "1.0"), [(USER_MESSAGE, own)])
        channel.client.received(frame("UNSUBSCRIBE", destination=USER_MESSAGE, receipt="-"))
        self.assertEqual(channel.commands("1.0"), ["RECEIPT -"])
        self.event("ann")
        self.assertEqual(channel.frames("1.0"), [])

    def test_counted_by_the_plain_name(self) -> None:
        self.subscribed()
        self.event("ann")
        self.assertEqual((self.metrics.subscriptions[MESSAGE], self.metrics.deliveries[MESSAGE]), (1, 1))


class WildcardTests(UserCase):
    """Patterns that begin with /user/ mean user destinations, and no other pattern does."""

    def meant(self, pattern: str, **claims: Any) -> set[str]:
        """Return the destinations of the MESSAGEs that come by a pattern."""
        self.log_in_as("ann", **claims)
        channel = self.subscribed(pattern)
        for name in AIRY_DESTINATIONS:
            self.event("bob", name)
            self.event("ann", name)
        found = [destination for destination, _ in self.got(channel)]
        channel.client.ended()
        self.assertEqual(len(found), len(set(found)) if pattern.startswith("/user") else 2 * len(set(found)))
        return set(found)

    def test_patterns(self) -> None:
        everything = set(AIRY_DESTINATIONS)
        for pattern, meant in (
            ("/user/queue/*", {USER_MESSAGE, "/user/queue/unread-count"}),
            ("/user/**", {f"/user{name}" for name in everything}),
            ("/user/*/message", {USER_MESSAGE}),
            ("/**", everything),
            ("/*/**", everything),
            ("/queue/*", {MESSAGE, UNREAD_COUNT}),
        ):
            self.assertEqual(self.meant(pattern), meant, pattern)

    def test_rights(self) -> None:
        self.assertEqual(self.meant("/user/**", subscribe=["/user/queue/message"]), {USER_MESSAGE})
        self.assertEqual(self.meant("/**", subscribe=["/user/**", "/queue/unread-count"]), {UNREAD_COUNT})
        for patterns in ([], ["/**"], ["/queue/**"], ["/*/queue/*"]):
            self.log_in_as("ann", subscribe=patterns)
            self.refused(Fault.FORBIDDEN, "/user/queue/*")
        self.log_in_as("")
        self.refused(Fault.FORBIDDEN, "/user/**")

    def test_no_destination(self) -> None:
        for pattern in ("/user/*", "/user/topic/*", "/user/user/**", "/*/queue/message", "/user/airyd/*"):
            self.refused(Fault.UNKNOWN_DESTINATION, pattern)

    def test_acknowledge(self) -> None:
        channel = self.subscribed("/user/queue/*", ack="client")
        for name in (MESSAGE, UNREAD_COUNT):
            self.event("ann", name)
        first, last = channel.frames()
        channel.client.received(frame("ACK", id=last.headers["ack"], receipt="r"))
        self.assertEqual(channel.commands(), ["RECEIPT r"])
        self.assertEqual(self.metrics.acks, 1)
        channel.client.received(frame("ACK", id=first.headers["ack"], receipt="late"))
        self.assertEqual(channel.commands(), ["RECEIPT late"])

    def test_late_destination(self) -> None:
        """One that is added to the catalogue joins; by name it can be subscribed to."""
        self.refused(Fault.UNKNOWN_DESTINATION, f"/user{TAGS}")
        channel, plain = self.subscribed("/user/queue/*"), self.subscribed("/queue/*")
        self.metrics.extend([TAGS])
        self.context.hub.extend([TAGS])
        self.event("bob", TAGS)
        own = self.event("ann", TAGS)
        self.assertEqual(self.got(channel), [(f"/user{TAGS}", own)])
        self.assertEqual([name for name, _ in self.got(plain)], [TAGS, TAGS])
        named = self.subscribed(f"/user{TAGS}")
        own = self.event("ann", TAGS)
        self.assertEqual(self.got(named), [(f"/user{TAGS}", own)])


class RefusalTests(UserCase):
    """Nothing is ever unfiltered."""

    def test_malformed_claim(self) -> None:
        for sub in (None, "", [], [""], ["ann", ""], ["ann", 7], 7, True, {}, {"ann": "ann"}, [["ann"]]):
            self.log_in_as("", sub=sub)
            self.refused(Fault.FORBIDDEN)

    def test_no_rights(self) -> None:
        for patterns in ([], ["/**"], ["/queue/**"], ["/*/queue/message"], ["/user/queue/unread-count"]):
            self.log_in_as("ann", subscribe=patterns)
            self.refused(Fault.FORBIDDEN)
        self.log_in_as("ann", subscribe=["/user/**"])
        self.refused(Fault.FORBIDDEN, MESSAGE)

    def test_principals_without_a_filter(self) -> None:
        """An anonymous one, and any of a plugin."""
        self.patch(self.door, "principal", Somebody())
        for destination in (USER_MESSAGE, "/user/**", "/user/queue/*"):
            self.refused(Fault.FORBIDDEN, destination)

    def test_principal_with_a_filter(self) -> None:
        """A plugin's principal gets what its filter for the user destination lets pass."""

        class Own:
            key = FilterKey("user_id", ("ann",))

            def matches(self, row: Row) -> bool:
                return row.text("user_id") == "ann"

        class Member(Somebody):
            def row_filter(self, destination: str) -> RowFilter | None:
                return Own() if destination == USER_MESSAGE else None

        self.patch(self.door, "principal", Member())
        channel = self.subscribed()
        self.event("bob")
        own = self.event("ann")
        self.assertEqual(self.got(channel), [(USER_MESSAGE, own)])
        channel.client.ended()
        self.refused(Fault.FORBIDDEN, "/user/queue/unread-count")

    def test_other_names(self) -> None:
        """Names are compared as they are."""
        for name in (
            "/user//queue/message",
            "/user/user/queue/message",
            "/user/queue/message/",
            "/user/queue//message",
            "/user/queue%2Fmessage",
            "/user/%71ueue/message",
            "/user/queue/message ",
            r"/user/queue/message\n",
            r"/user\c/queue/message",
            "/user/./queue/message",
            "/user/../queue/message",
            "/User/queue/message",
            "/user",
            "/user/",
            "/user/queue",
            "user/queue/message",
            "//user/queue/message",
            f"/user{STATUS}",
            f"/user{REFRESH}",
            "/user/ann/queue/message",
        ):
            self.refused(Fault.UNKNOWN_DESTINATION, name)

    def test_repeated_header(self) -> None:
        """The first one counts."""
        channel = self.connected()
        names = f"destination:{USER_MESSAGE}\ndestination:{MESSAGE}\n"
        channel.client.received(f"SUBSCRIBE\nid:u\n{names}\n\0".encode())
        self.event("bob")
        own = self.event("ann")
        self.assertEqual(self.got(channel), [(USER_MESSAGE, own)])

    def test_escapes(self) -> None:
        r"""``\c`` and the like are read before the name is compared: none of them is in it."""
        channel = self.connected()
        channel.client.received(subscribe("u", r"/user/queue/m\essage"))
        self.assert_failed(channel, Fault.MALFORMED_FRAME)

    def test_send(self) -> None:
        """Nobody may, whatever the token says, also not in a transaction."""
        self.log_in_as("ann", send=["/**", "/user/**", USER_MESSAGE])
        for frames in (send("r", USER_MESSAGE), send("r", "/user/x"), send("r", f"/user{REFRESH}")):
            channel = self.connected()
            channel.client.received(frames)
            self.assertEqual(self.assert_failed(channel, Fault.FORBIDDEN).headers["receipt-id"], "r")
        channel = self.connected()
        channel.client.received(frame("BEGIN", transaction="t") + send("r", USER_MESSAGE, transaction="t"))
        self.assert_failed(channel, Fault.FORBIDDEN)
        self.assertEqual(self.feed.taken, [])


class RefreshTests(UserCase):
    """A new token's rights and values apply."""

    def refresh(self, channel: Channel, user: str, **claims: Any) -> None:
        """Send another token of the same login, with another value."""
        self.log_in_as(user, **claims)
        channel.client.received(send("r", REFRESH, b"new"))

    def test_other_values(self) -> None:
        for headers in ({}, {"ack": "client-individual"}):
            self.log_in_as("ann")
            channel = self.subscribed(**headers)
            wild = self.subscribed("/user/queue/*", **headers)
            for each in (channel, wild):
                self.refresh(each, "bob")
                self.assertEqual(each.commands(), ["RECEIPT r"])
            self.event("ann")
            own = self.event("bob")
            self.assertEqual(self.got(channel), [(USER_MESSAGE, own)])
            self.assertEqual(self.got(wild), [(USER_MESSAGE, own)])

    def test_ends(self) -> None:
        """A subscription ends that the claims allow no longer; the notice has the name that was subscribed to."""
        for user, claims in (("", {}), ("ann", {"subscribe": ["/queue/**", STATUS]})):
            for destination in (USER_MESSAGE, "/user/*/message"):
                self.log_in_as("ann")
                channel = self.subscribed(destination)
                channel.client.received(subscribe("s", STATUS) + subscribe("p", MESSAGE))
                channel.frames()
                self.refresh(channel, user, **claims)
                notice, receipt = channel.frames()
                ended = {"type": "subscription", "state": "ended", "id": "u", "destination": USER_MESSAGE}
                self.assertEqual((json.loads(notice.body), receipt.command), (ended, "RECEIPT"))
                own = self.event("ann")
                self.assertEqual(self.got(channel), [(MESSAGE, own)])
                channel.client.ended()

    def test_nobody_could_be_told(self) -> None:
        channel = self.subscribed()
        self.refresh(channel, "")
        self.assertIn(USER_MESSAGE, self.assert_failed(channel, Fault.FORBIDDEN).body.decode())

    def test_a_pattern_gets_more(self) -> None:
        self.log_in_as("ann", subscribe=["/user/queue/message"])
        channel = self.subscribed("/user/**")
        self.refresh(channel, "ann")
        channel.frames()
        self.event("bob", CHANNEL_CONNECTED)
        own = self.event("ann", CHANNEL_CONNECTED)
        self.assertEqual(self.got(channel), [(f"/user{CHANNEL_CONNECTED}", own)])


class GapTests(UserCase):
    """A gap names the destination as it was subscribed to."""

    def test_notice(self) -> None:
        channel = self.subscribed()
        channel.client.received(subscribe("s", STATUS) + subscribe("p", MESSAGE))
        channel.frames()
        last = self.event("ann")
        channel.frames()
        self.context.hub.gap([MESSAGE], "a test")
        told = [json.loads(each.body) for each in channel.frames()]
        gap = {"type": "gap", "since": last}
        expected = [{**gap, "destinations": [USER_MESSAGE]}, {**gap, "destinations": [MESSAGE]}]
        self.assertCountEqual(told, expected)

    def test_without_the_status(self) -> None:
        channel = self.subscribed()
        self.context.hub.gap([MESSAGE], "a test")
        self.assert_failed(channel, Fault.HISTORY_LOST)


class SeveralFieldsTests(UserCase):
    """An event must match all fields."""

    user_fields = {"user_id": "sub", "channel_id": "channels"}  # noqa: RUF012  # not changed

    def test_all_must_match(self) -> None:
        self.log_in_as("ann", channels=["c1", "c2"])
        channel = self.subscribed()
        self.event("ann")
        self.event("bob", channel_id="c1")
        self.event("ann", channel_id="c3")
        own = self.event("ann", channel_id="c2")
        self.assertEqual(self.got(channel), [(USER_MESSAGE, own)])
        channel.client.ended()
        self.refused(Fault.FORBIDDEN, "/user/queue/unread-count")  # it has no channel
        self.log_in_as("ann")
        self.refused(Fault.FORBIDDEN)


class WithoutTheOptionTests(UserCase):
    """``/user/...`` is like any other name."""

    has_user_destinations = False
    user_fields = {}  # noqa: RUF012  # not changed

    def test_unknown(self) -> None:
        self.refused(Fault.UNKNOWN_DESTINATION)
        self.refused(Fault.UNKNOWN_DESTINATION, "/user/**")

    def test_a_real_destination(self) -> None:
        """It has no filter, and an id of its own."""
        self.metrics.extend([USER_MESSAGE])
        self.context.hub.extend([USER_MESSAGE])
        self.log_in_as("ann", send=["/user/**"])
        channel, wild = self.subscribed(), self.subscribed("/*/queue/message")
        channel.client.received(send("r", USER_MESSAGE, b'{"user_id":"bob"}'))
        self.clock.advance(0)
        ((name, wire_id),) = self.got(channel)
        self.assertEqual((name, wire_id.partition("-")[0]), (USER_MESSAGE, message_id(USER_MESSAGE, "")[:8]))
        self.assertEqual(self.got(wild), [(name, wire_id)])

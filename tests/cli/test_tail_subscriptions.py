"""What ``airyd tail`` follows: the server's status, what a login allows, and patterns."""

from __future__ import annotations

import json

from airyd.events import AIRY_DESTINATIONS, CHANNEL_CONNECTED, CHANNEL_DISCONNECTED, MESSAGE, UNREAD_COUNT
from tests.cli.fakes import Peer
from tests.cli.tail_case import URL, TailTestCase, positions


class StatusTests(TailTestCase):
    """``/airyd/status``: subscribed to first, reported on standard error, and optional."""

    def test_asked_for_first(self) -> None:
        self.start()
        peer = self.server.peer
        peer.open()
        peer.connect()
        self.assertEqual(
            ["/airyd/status", MESSAGE, UNREAD_COUNT],
            [frame.headers["destination"] for frame in peer.frames if frame.command == "SUBSCRIBE"],
        )

    def test_said(self) -> None:
        self.start()
        peer = self.live()
        self.said()
        peer.status(b'{"type":"source","state":"up"}')
        self.assertEqual("", self.said())
        peer.status(b'{"type":"source","state":"down","destinations":["/queue/message","/other"]}')
        self.assertEqual(
            f"airyd tail: the event source is unreachable: no new events on {MESSAGE} until it is back\n", self.said()
        )
        peer.status(b'{"type":"source","state":"up"}')
        self.assertEqual("airyd tail: the event source is back\n", self.said())
        peer.status(b'{"type":"gap","destinations":["/queue/message"],"since":"m-1"}')
        self.assertIn(f"events of {MESSAGE} may be missing", self.said())
        self.assertEqual("", self.screen.out.text)

    def test_while_a_subscription_waits(self) -> None:
        """A SUBSCRIBE waits while the source is unreachable; the reason is shown at once."""
        self.start()
        peer = self.server.peer
        peer.open()
        peer.connect()
        peer.status(b'{"type":"source","state":"down","destinations":["/queue/message"]}')
        self.assertIn("is unreachable", self.said())

    def test_back_over_a_reconnect(self) -> None:
        self.start()
        self.live().status(b'{"type":"source","state":"down","destinations":["/queue/message"]}')
        self.server.peer.drop()
        self.clock.advance(1)
        self.said()
        self.live().status(b'{"type":"source","state":"up"}')
        self.assertIn("airyd tail: the event source is back\n", self.said())

    def test_server_without_it(self) -> None:
        """An older airyd names the frame; other servers may not. Either way the rest is followed at once."""
        for message, names_frame in (("unknown destination", True), ("Unknown destination", False)):
            running = self.start()
            peer = self.server.peer
            peer.open()
            peer.connect()
            if names_frame:
                peer.refuse(None, message)
            else:
                peer.send("ERROR", message=message)
                peer.close(1002)
            self.assertEqual("", self.said())
            peer = self.live()
            self.assertFalse(peer.asks_status)
            self.assertIn("following", self.said())
            peer.drop()
            self.clock.advance(1)
            self.said()
            self.assertFalse(self.live().asks_status)
            self.end(running)
            self.said()

    def test_other_errors_are_not_about_it(self) -> None:
        self.start()
        peer = self.server.peer
        peer.open()
        peer.connect()
        peer.send("ERROR", message="server restarting")
        peer.close(1012)
        self.assertIn("server restarting; trying again", self.said())
        self.clock.advance(1)
        self.assertTrue(self.live().asks_status)

    def test_followed_by_name(self) -> None:
        """If the user names it, its messages are printed as events, also after a reconnect."""
        self.start(destinations=("/airyd/status",))
        self.live(last_message_id="s-0").message("/airyd/status", "s-1", b"{}")
        self.assertEqual(1, len(self.printed()))
        self.server.peer.drop()
        self.clock.advance(1)
        self.assertEqual({"/airyd/status": None}, positions(self.live()))
        self.assertNotIn("history was lost", self.said())


class AllowedTests(TailTestCase):
    """A login that allows only some destinations: those are followed, and the others are named."""

    def refuse(self, destination: str) -> None:
        """Let the server refuse one, in a connection that has just begun."""
        peer = self.server.peer
        peer.open()
        peer.connect()
        peer.refuse(destination, "403 Forbidden", f"You may not subscribe to {destination}.".encode())

    def test_the_others_are_followed(self) -> None:
        self.start()
        peer = self.server.peer
        peer.open()
        peer.connect()
        peer.confirm(MESSAGE, last_message_id="x-0")
        peer.refuse(UNREAD_COUNT, "403 Forbidden")
        self.assertEqual("", self.said())
        peer = self.live(recovered="true")
        self.assertEqual([MESSAGE], list(peer.subscriptions()))
        self.assertEqual(
            f"airyd tail: connected to {URL}: following {MESSAGE} (not allowed: {UNREAD_COUNT})\n", self.said()
        )
        peer.drop()
        self.clock.advance(1)
        self.said()
        self.assertEqual([MESSAGE], list(self.live(recovered="true").subscriptions()))
        self.assertEqual(f"airyd tail: connected to {URL}: recovered, nothing was missed\n", self.said())

    def test_none_is_allowed(self) -> None:
        running = self.start()
        self.refuse(UNREAD_COUNT)
        self.refuse(MESSAGE)
        self.assertEqual(1, self.successResultOf(running))
        self.assertEqual(
            f"airyd tail: there is nothing to follow: not allowed: {UNREAD_COUNT}, {MESSAGE}\n", self.said()
        )

    def test_another_token(self) -> None:
        """It may allow more, so everything is requested again."""
        tokens = iter(["one", "one", "two", "two"])
        self.start(token=lambda: next(tokens))
        self.refuse(UNREAD_COUNT)
        self.assertEqual([MESSAGE], list(self.live().subscriptions()))
        self.server.peer.drop()
        self.clock.advance(1)
        self.assertEqual([MESSAGE, UNREAD_COUNT], list(self.live().subscriptions()))

    def test_unknown_destination(self) -> None:
        """An unknown destination that the user named is an error."""
        running = self.start()
        peer = self.server.peer
        peer.open()
        peer.connect()
        peer.refuse(UNREAD_COUNT, "unknown destination", b"There is no such one.")
        self.assertEqual(1, self.successResultOf(running))
        self.assertEqual("airyd tail: unknown destination: There is no such one.\n", self.said())


class PatternTests(TailTestCase):
    """Patterns: each known destination of a pattern is resumed at its own position."""

    ALL = "/queue/**"
    OTHER = "/queue/other"

    def start_all(self, *patterns: str) -> Peer:
        self.start(destinations=patterns or (self.ALL,))
        return self.live(last_message_id="x-0")

    def by_pattern(self, peer: Peer, destination: str, message_id: str, pattern: str = ALL) -> None:
        """Send a MESSAGE of the pattern's subscription."""
        subscription = peer.subscriptions()[pattern].headers["id"]
        peer.send("MESSAGE", b"{}", destination=destination, message_id=message_id, subscription=subscription)

    def seen(self) -> list[object]:
        """Return the ids of what was printed."""
        return [json.loads(line)["message-id"] for line in self.screen.out.text.splitlines()]

    def again(self, **receipt: str) -> Peer:
        """Lose the connection, and get the next one live."""
        self.server.peer.drop()
        self.clock.advance(1)
        self.said()
        return self.live(**receipt)

    def refuse_after_return(self, peer: Peer, message: str) -> None:
        """Drop the connection, and let the server refuse the other destination on the next one."""
        peer.drop()
        self.clock.advance(1)
        self.said()
        returned = self.server.peer
        returned.open()
        returned.connect()
        returned.refuse(self.OTHER, message)

    def test_known_destinations_by_name(self) -> None:
        """So Airy's have a position before they have an event."""
        peer = self.start_all()
        self.assertEqual([self.ALL, *AIRY_DESTINATIONS], list(peer.subscriptions()))
        self.assertEqual(f"airyd tail: connected to {URL}: following {self.ALL}\n", self.said())
        self.assertEqual(
            {self.ALL: None, **dict.fromkeys(AIRY_DESTINATIONS, "x-0")}, positions(self.again(recovered="true"))
        )
        self.start(destinations=("/queue/*", "/app/*"))
        self.assertEqual(["/queue/*", "/app/*", MESSAGE, UNREAD_COUNT], list(self.live().subscriptions()))

    def test_no_event_twice(self) -> None:
        """An event of a named destination is not printed again for a pattern, nor for two."""
        peer = self.start_all(self.ALL, "/queue/*")
        peer.message(MESSAGE, "m-1", b"{}")
        self.by_pattern(peer, MESSAGE, "m-1")
        self.by_pattern(peer, self.OTHER, "o-1", "/queue/*")
        self.by_pattern(peer, self.OTHER, "o-1", self.ALL)
        self.by_pattern(peer, self.OTHER, "o-2", self.ALL)
        self.by_pattern(peer, self.OTHER, "o-2", "/queue/*")
        self.assertEqual(["m-1", "o-1", "o-2"], self.seen())

    def test_resumed_singly(self) -> None:
        """This includes destinations that became known by an event."""
        peer = self.start_all()
        self.by_pattern(peer, self.OTHER, "o-1")
        peer.message(MESSAGE, "m-1", b"{}")
        peer = self.again(recovered="true")
        resumed = positions(peer)
        self.assertEqual(("o-1", "m-1"), (resumed[self.OTHER], resumed[MESSAGE]))
        peer.message(self.OTHER, "o-2", b"{}")
        self.by_pattern(peer, self.OTHER, "o-2")
        self.by_pattern(peer, "/queue/new", "n-1")
        self.assertEqual(["o-1", "m-1", "o-2", "n-1"], self.seen())
        self.assertIn(
            f"recovered {', '.join((*AIRY_DESTINATIONS, self.OTHER))}; "
            f"events may be missing on other destinations that match {self.ALL}\n",
            self.said(),
        )

    def test_history_lost(self) -> None:
        self.start_all()
        self.again(recovered="false", last_message_id="y-5")
        said = self.said()
        for destination in AIRY_DESTINATIONS:
            self.assertIn(f"history was lost on {destination}", said)
        self.assertIn(
            f"following {self.ALL}; events may be missing on other destinations that match {self.ALL}\n", said
        )

    def test_some_are_not_allowed(self) -> None:
        self.start(destinations=("/queue/channel/*",))
        peer = self.server.peer
        peer.open()
        peer.connect()
        peer.refuse(CHANNEL_CONNECTED, "403 Forbidden")
        peer = self.live()
        self.assertEqual(["/queue/channel/*", CHANNEL_DISCONNECTED], list(peer.subscriptions()))
        self.assertIn(f"following /queue/channel/* (not allowed: {CHANNEL_CONNECTED})\n", self.said())

    def test_one_is_gone(self) -> None:
        """It is not an error if a destination that the user did not name no longer exists."""
        peer = self.start_all()
        self.by_pattern(peer, self.OTHER, "o-1")
        self.refuse_after_return(peer, "unknown destination")
        self.assertNotIn(self.OTHER, self.live(recovered="true").subscriptions())
        self.assertIn("connected", self.said())

    def test_too_many(self) -> None:
        """If the limit on subscriptions is too low, only the pattern is subscribed to."""
        peer = self.start_all()
        self.by_pattern(peer, self.OTHER, "o-1")
        self.refuse_after_return(peer, "too many subscriptions")
        self.assertEqual([self.ALL], list(self.live().subscriptions()))
        self.assertIn("events may be missing on other destinations", self.said())

    def test_too_many_of_the_pattern_itself(self) -> None:
        """The connection is not tried again at once, over and over."""
        self.start(destinations=(self.ALL,))
        for _ in range(2):
            self.assertEqual("", self.said())
            peer = self.server.peer
            peer.open()
            peer.connect()
            for name in peer.subscriptions():
                if name != self.ALL:
                    peer.confirm(name, last_message_id="x-0")
            peer.refuse(self.ALL, "too many subscriptions")
        self.assertIn("too many subscriptions; trying again in 1.0 s", self.said())

    def test_none_fits(self) -> None:
        running = self.start(destinations=("/nothing/*",))
        peer = self.server.peer
        peer.open()
        peer.connect()
        peer.refuse("/nothing/*", "unknown destination", b"There is none.")
        self.assertEqual(1, self.successResultOf(running))
        self.assertEqual("airyd tail: unknown destination: There is none.\n", self.said())

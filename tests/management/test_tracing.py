"""Traces of connections, users and destinations."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from twisted.logger import Logger, LogPublisher

from airyd.client.client import Client
from airyd.errors import QueryRefused, SourceUnavailable, UnknownDestination
from airyd.events import MESSAGE, REFRESH, UNREAD_COUNT
from airyd.management import connection_trace, destination_trace
from airyd.management.queries import TraceLine, TraceQuery
from airyd.management.trace import Trace
from airyd.management.tracing import MOST_TRACES, Tracer
from airyd.stomp.session import Session
from airyd.websocket.protocol import StompWebSocket
from tests.doubles import EVENT, frame, record_log, text_of
from tests.management.users import User, UserTestCase
from tests.websocket.case import request, text


class TracingCase(UserTestCase):
    """A tracer, and the lines of its traces."""

    def setUp(self) -> None:
        super().setUp()
        self.tracer = Tracer(self.factory, self.context.hub, cast(Any, self.loop), self.wall)
        self.lines: list[TraceLine] = []

    def keep(self, lines: Sequence[TraceLine]) -> None:
        """Take lines."""
        self.lines += lines

    def trace(self, **query: Any) -> Trace:
        """Begin a trace."""
        return self.tracer.start(TraceQuery(**query), self.keep)

    def got(self) -> list[str]:
        """Return direction and command of the lines since the last call."""
        self.loop.turn()
        lines, self.lines = self.lines, []
        return [f"{line.direction} {line.command}" for line in lines]

    def line(self) -> TraceLine:
        """Return the only line since the last call."""
        self.loop.turn()
        (line,), self.lines = self.lines, []
        return line

    def assert_untraced(self) -> None:
        """Require that nothing is left of a trace in any connection."""
        self.loop.turn()
        self.assertEqual(self.factory.observers, {})
        self.assertEqual(self.context.login_watchers, [])
        for channel in self.factory.channels.values():
            self.assertIs(type(channel), StompWebSocket)
            self.assertIs(type(channel.client._session), Session)


class ConnectionTests(TracingCase):
    """The frames of one connection."""

    def test_frames_in_and_out(self) -> None:
        connection, peer = self.logged_in("alice")
        other = self.logged_in("bob")[1]
        self.subscribe(other, MESSAGE)
        trace = self.trace(connection=connection)
        self.subscribe(peer, MESSAGE, receipt="r")
        self.assertEqual(self.got(), ["in SUBSCRIBE", "out RECEIPT"])
        self.publish(MESSAGE)
        self.assertEqual(self.got(), ["out MESSAGE"])
        peer.say(text(b"\n"))
        self.assertEqual(self.got(), ["in HEARTBEAT"])
        self.loop.advance(31)
        self.assertEqual(self.got(), [])
        peer.say(text(frame("UNSUBSCRIBE", id="0")))
        self.assertEqual(self.got(), ["in UNSUBSCRIBE"])
        trace.stop()
        self.subscribe(peer, MESSAGE)
        self.publish(MESSAGE)
        self.assertEqual(self.got(), [])
        self.assertEqual(self.successResultOf(trace.ended), "it was stopped")
        self.assert_untraced()

    def test_nothing_is_kept(self) -> None:
        """A trace that is over is freed at once, without a garbage collection."""
        trace = weakref.ref(self.trace(connection=self.logged_in("alice")[0]))
        found = trace()
        assert found is not None
        found.stop()
        del found
        self.loop.turn()
        self.assertIsNone(trace())

    def test_a_line(self) -> None:
        connection, peer = self.logged_in("alice")
        self.trace(connection=connection, has_bodies=True)
        self.subscribe(peer, MESSAGE, key="a\\cb")
        line = self.line()
        self.assertEqual((line.connection, line.subject, line.time), (connection, "alice", self.wall()))
        self.assertEqual(list(line.headers), [("id", "a:b"), ("destination", MESSAGE)])
        message_id = self.publish(MESSAGE)
        line = self.line()
        self.assertEqual((line.direction, line.body, line.size), ("out", EVENT.decode(), len(EVENT)))
        self.assertEqual(dict(line.headers)["message-id"], message_id)
        self.assertEqual(dict(line.headers)["subscription"], "a:b")

    def test_no_bodies_unless_asked_for(self) -> None:
        connection, peer = self.logged_in("alice")
        self.trace(connection=connection)
        self.subscribe(peer, MESSAGE)
        self.publish(MESSAGE)
        self.loop.turn()
        self.assertEqual([line.body for line in self.lines], [None, None])
        self.assertEqual(self.lines[1].size, len(EVENT))

    def test_a_long_body_is_cut_off(self) -> None:
        connection, peer = self.logged_in("alice")
        self.subscribe(peer, MESSAGE)
        self.trace(connection=connection, has_bodies=True)
        body = EVENT.replace(b'"now"', b'"%s"' % (b"x" * 100_000))
        self.publish(MESSAGE, body)
        line = self.line()
        self.assertEqual((len(line.body or ""), line.size), (65536, len(body)))

    def test_frames_in_pieces(self) -> None:
        """A trace may begin and end within a frame: the frame is carried out, and reported where it ends."""
        connection, peer = self.logged_in("alice")
        encoded = frame("SUBSCRIBE", id="0", destination=MESSAGE, receipt="r")
        for cut in range(1, len(encoded) - 1):
            peer.say(text(encoded[:cut]))
            trace = self.trace(connection=connection)
            peer.say(text(encoded[cut:]))
            self.assertEqual(self.got(), ["in SUBSCRIBE", "out RECEIPT"])
            gone = frame("UNSUBSCRIBE", id="0", receipt="u")
            peer.say(text(gone[: cut % len(gone)]))
            trace.stop()
            peer.say(text(gone[cut % len(gone) :]))
            self.assertEqual([sent.command for sent in self.stomp(peer)], ["RECEIPT", "RECEIPT"])
        self.assertEqual(self.got(), [])

    def test_login_and_secrets(self) -> None:
        """A connection can be traced from its handshake on. No secret is in a line, nor the answer to the handshake."""
        log = record_log(self)
        peer = self.reach()
        self.trace(connection=self.id_of(peer), has_bodies=True)
        peer.say(request(Authorization="Bearer s3cret-1"))
        peer.say(text(frame("CONNECT", accept_version="1.2", Authorization="Bearer s3cret-2", passcode="s3cret-3")))
        peer.say(text(frame("SEND", b"s3cret-4", destination=REFRESH)))
        peer.say(text(frame("SEND", b"s3cret-5", destination=f"{REFRESH}s")))
        self.loop.turn()
        self.assertEqual([line.command for line in self.lines], ["CONNECT", "CONNECTED", "SEND", "SEND", "ERROR"])
        self.assertEqual([line.size for line in self.lines][:4], [0, 0, 8, 8])
        self.assertNotIn("s3cret", repr(self.lines))
        self.assertNotIn("s3cret", text_of(log))

    def test_the_end_of_the_connection(self) -> None:
        connection, peer = self.logged_in("alice")
        trace = self.trace(connection=connection)
        peer.say(text(frame("NONSENSE")))
        self.loop.turn()
        peer.lose()
        self.assertEqual(self.got(), ["out ERROR", "note disconnected"])
        self.assertEqual(self.successResultOf(trace.ended), "the connection has ended")
        self.assert_untraced()

    def test_unknown(self) -> None:
        for connection in ("", "x", f"{self.logged_in()[0]}9", "nobody-1"):
            trace = self.trace(connection=connection)
            self.assertIn("no connection", self.successResultOf(trace.ended))
        self.assertEqual(self.got(), [])


class SubjectTests(TracingCase):
    """The frames of all connections of a user."""

    def test_present_and_later_connections(self) -> None:
        """Connections that log in later are traced from CONNECTED on."""
        first = self.logged_in("alice")[1]
        other = self.logged_in("bob")[1]
        trace = self.trace(subject="alice")
        second = self.logged_in("alice")[1]
        self.logged_in("bob")
        self.assertEqual(self.got(), ["note connected", "out CONNECTED"])
        for peer in (first, second, other):
            self.subscribe(peer, MESSAGE)
        self.assertEqual(self.got(), ["in SUBSCRIBE"] * 2)
        first.lose()
        self.assertEqual(self.got(), ["note disconnected"])
        self.publish(MESSAGE)
        self.assertEqual(self.got(), ["out MESSAGE"])
        self.assertNoResult(trace.ended)
        trace.stop()
        self.assert_untraced()

    def test_many_connections(self) -> None:
        """Connections are looked at in several turns; of very many only the first are traced."""
        self.patch(connection_trace, "CONNECTIONS_PER_TURN", 2)
        self.patch(connection_trace, "MOST_CONNECTIONS", 5)
        peers = [self.logged_in("alice" if number % 3 else "bob")[1] for number in range(15)]
        trace = self.trace(subject="alice")
        for _ in range(10):
            self.loop.turn()
        self.logged_in("alice")
        self.assertEqual(self.got(), ["note full"])
        for peer in peers:
            self.subscribe(peer, MESSAGE)
        self.assertEqual(self.got(), ["in SUBSCRIBE"] * 5)
        trace.stop()
        self.assert_untraced()

    def test_a_login_that_takes_time(self) -> None:
        self.trace(subject="alice")
        self.door.holding = True
        self.door.principal = User("alice")
        peer = self.opened()
        peer.say(text(frame("CONNECT", accept_version="1.2") + frame("SUBSCRIBE", id="0", destination=MESSAGE)))
        self.assertEqual(self.got(), [])
        self.door.answer()
        self.assertEqual(self.got(), ["note connected", "out CONNECTED", "in SUBSCRIBE"])

    def test_two_traces_of_a_connection(self) -> None:
        connection, peer = self.logged_in("alice")
        first, second = self.trace(subject="alice"), self.trace(connection=connection)
        self.subscribe(peer, MESSAGE)
        self.assertEqual(self.got(), ["in SUBSCRIBE"] * 2)
        first.stop()
        self.publish(MESSAGE)
        self.assertEqual(self.got(), ["out MESSAGE"])
        second.stop()
        self.assert_untraced()


class DestinationTests(TracingCase):
    """The events of a destination, and the frames that name it."""

    def test_events(self) -> None:
        """Each event comes once, whether there are no subscribers, or several."""
        trace = self.trace(destination=MESSAGE, has_bodies=True)
        self.assertEqual(self.got(), ["note subscribed"])
        message_id = self.publish(MESSAGE)
        line = self.line()
        self.assertEqual((line.direction, line.command, line.body), ("event", "MESSAGE", EVENT.decode()))
        self.assertEqual(dict(line.headers)["message-id"], message_id)
        self.assertNotIn("subscription", dict(line.headers))
        for _ in range(3):
            self.subscribe(self.logged_in()[1], MESSAGE)
        self.got()
        self.publish(MESSAGE)
        self.publish(UNREAD_COUNT)
        self.assertEqual(self.got(), ["event MESSAGE"])
        trace.stop()
        self.publish(MESSAGE)
        self.assertEqual(self.got(), [])
        self.assert_untraced()
        self.assertEqual(self.metrics.subscriptions[MESSAGE], 3)

    def test_filter(self) -> None:
        self.trace(destination=MESSAGE, has_bodies=True, filter={"conversation_id": ["2", "3"]})
        self.got()
        for number in (b"1", b"2", b"3", b"4"):
            self.publish(MESSAGE, EVENT.replace(b'"conversation_id":"1"', b'"conversation_id":"%b"' % number))
        self.loop.turn()
        self.assertEqual([line.direction for line in self.lines], ["event", "event"])
        self.assertEqual(['"conversation_id":"3"' in (line.body or "") for line in self.lines], [False, True])

    def test_frames_that_name_it(self) -> None:
        """SUBSCRIBE, UNSUBSCRIBE and SEND of all clients, also of those that log in later; others are left out."""
        early = self.logged_in("alice")[1]
        self.subscribe(early, MESSAGE, key="before")
        self.trace(destination=MESSAGE)
        late = self.logged_in("bob")[1]
        self.got()
        for peer in (early, late):
            self.subscribe(peer, MESSAGE, key="1")
            self.subscribe(peer, UNREAD_COUNT, key="2")
            self.subscribe(peer, "/queue/*", key="3")
            self.subscribe(peer, "/queue/channel/*", key="4")
            peer.say(text(frame("SEND", EVENT, destination=UNREAD_COUNT)))
            for key in ("1", "2", "3", "4"):
                peer.say(text(frame("UNSUBSCRIBE", id=key)))
            self.assertEqual(self.got(), [*["in SUBSCRIBE"] * 2, *["in UNSUBSCRIBE"] * 2])
        early.say(text(frame("UNSUBSCRIBE", id="before")))
        self.assertEqual(self.line().subject, "alice")
        late.say(text(frame("SEND", EVENT, destination=MESSAGE)))
        self.assertEqual(self.got(), ["in SEND", "event MESSAGE"])

    def test_many_connections(self) -> None:
        """Sessions are watched and left again in several turns."""
        self.patch(destination_trace, "SESSIONS_PER_TURN", 2)
        peers = [self.logged_in()[1] for _ in range(7)]
        trace = self.trace(destination=MESSAGE)
        for _ in range(5):
            self.loop.turn()
        self.got()
        peers.pop().lose()
        for peer in peers:
            self.subscribe(peer, MESSAGE)
        self.assertEqual(self.got(), ["in SUBSCRIBE"] * 6)
        trace.stop()
        for _ in range(5):
            self.loop.turn()
        self.assert_untraced()

    def test_the_source_cannot_watch(self) -> None:
        self.feed.watches.fault = SourceUnavailable("it is away")
        trace = self.trace(destination=MESSAGE)
        self.assertIn("event source unavailable", self.successResultOf(trace.ended))
        self.assert_untraced()

    def test_a_gap(self) -> None:
        """The trace reports it, and goes on."""
        self.trace(destination=MESSAGE)
        self.got()
        self.context.hub.gap([MESSAGE], "a test")
        self.loop.advance(5)
        self.publish(MESSAGE)
        self.assertEqual(self.got(), ["note gap", "event MESSAGE"])
        self.flushWarnings()

    def test_other_process_has_the_events(self) -> None:
        peer = self.logged_in()[1]
        self.tracer.start(TraceQuery(destination=MESSAGE), self.keep, has_events=False)
        self.subscribe(peer, MESSAGE)
        self.publish(MESSAGE)
        self.assertEqual(self.got(), ["in SUBSCRIBE"])

    def test_unknown(self) -> None:
        self.assertRaises(UnknownDestination, self.trace, destination="/queue/nothing")


class CycleTests(TracingCase):
    """What is frozen with a cycle would never be freed (``airyd.runtime.garbage_collection``)."""

    def count(self) -> int:
        """Return how many connections are in memory, those of other tests included."""
        return sum(isinstance(each, StompWebSocket | Client) for each in gc.get_objects())

    def test_closed_connections_leave_no_cycle(self) -> None:
        """Whether the trace has ended before, or goes on."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        quiet = Logger(observer=LogPublisher())  # test runners keep log events
        for each in (Client, StompWebSocket):
            self.patch(each, "_log", quiet)
        before = self.count()
        for query in ({"subject": "alice"}, {"destination": MESSAGE}):
            for ends_before in (False, True):
                peer = self.logged_in("alice")[1]
                trace = self.trace(**cast(Any, query), seconds=600)
                self.subscribe(peer, MESSAGE)
                self.publish(MESSAGE)
                self.got()
                if ends_before:
                    trace.stop()
                    self.got()
                peer.lose()
                del peer
                self.loop.advance(100)  # the timer wheel keeps cancelled calls until they are due
                self.got()
                self.door.seen.clear()
                self.assertEqual(self.count(), before, query)
                trace.stop()
                del trace
                self.got()


class TracerTests(TracingCase):
    """Which traces begin, and how all end."""

    def test_queries(self) -> None:
        for query in (
            {},
            {"connection": "x", "subject": "y"},
            {"subject": "x", "filter": {"a": ["b"]}},
            {"subject": "x", "seconds": 0},
            {"subject": "x", "seconds": 601},
        ):
            self.assertRaises(QueryRefused, self.trace, **cast(Any, query))
        self.assert_untraced()

    def test_most_traces(self) -> None:
        traces = [self.trace(subject="alice") for _ in range(MOST_TRACES)]
        self.assertRaises(QueryRefused, self.trace, subject="alice")
        traces[3].stop()
        self.trace(subject="alice")

    def test_stop_all(self) -> None:
        connection, _ = self.logged_in("alice")
        traces = [self.trace(subject="alice"), self.trace(connection=connection), self.trace(destination=MESSAGE)]
        self.tracer.stop_all("airyd is stopping")
        self.assertEqual([self.successResultOf(trace.ended) for trace in traces], ["airyd is stopping"] * 3)
        self.assert_untraced()

    def test_a_reload_keeps_traces(self) -> None:
        """Clients that connect after a reload have another context, with the same watchers."""
        self.trace(subject="alice")
        self.factory.context = replace(self.factory.context, grace=1.0)
        self.logged_in("alice")
        self.assertEqual(self.got(), ["note connected", "out CONNECTED"])

"""Pub/Sub over a Redis in memory: epochs, publishing, and lost connections."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, cast

from twisted.internet.defer import CancelledError

from airyd.errors import PayloadFault, SourceUnavailable
from airyd.events import Event, HistoryPage
from airyd.interfaces import SourceContext
from airyd.sources.redis.client import RedisClient
from airyd.sources.redis.pubsub import RedisPubSub
from tests.doubles import record_log, text_of
from tests.sources.redis.fake_case import FakeRedisCase
from tests.sources.redis.fakes import Answer, Error, FakeEndpoint, address_of, words
from tests.sources.support import EPOCH, START, RecordingSink, body

A, B = "/topic/a", "/topic/b"
#: What is in the catalogue later.
C = "/topic/c"
UNKNOWN = HistoryPage((), complete=False, more=False)
PING = words("PING")


def message(number: int, destination: str = A) -> Answer:
    """Return a message as a subscriber gets it."""
    return [b"message", b"p:" + destination.encode(), body(number)]


class PubSubCase(FakeRedisCase):
    """A connected source with two destinations.

    :ivar commands: the server side of the connection that publishes
    :ivar reading: the server side of the one that subscribes
    """

    def setUp(self) -> None:
        self.sink = RecordingSink()
        self.source = self.start_source(
            lambda redis, context: RedisPubSub(redis, "p:", context, history=3), (A, B), self.sink, body_limit=100
        )
        self.commands, self.reading = self.endpoint.sessions
        self.commands.log_in()
        self.log_in()

    def log_in(self) -> None:
        """Log in the subscriber's connection."""
        self.reading = self.endpoint.sessions[-1]
        self.assertEqual(self.reading.log_in(), [PING])
        self.assertEqual(self.reading.asked(), [words("SUBSCRIBE", f"p:{each}") for each in (A, B)])
        self.reading.answer([b"subscribe", b"p:/topic/a", 1], [b"subscribe", b"p:/topic/b", 2])

    def lose(self) -> None:
        """Break the subscriber's connection; it is due to come back."""
        self.reading.lose()
        self.wait(1.2)

    def wait(self, seconds: float) -> None:
        """Advance the clock while the connection for commands is alive."""
        for _ in range(round(seconds * 8)):
            self.clock.advance(0.125)
            self.commands.keep_alive()

    def reconnect(self) -> None:
        """Break the subscriber's connection and let it come back."""
        self.lose()
        self.log_in()

    def watch(self, destination: str = A) -> str:
        """Watch; return the position."""
        position: str = self.successResultOf(self.source.watch(destination))
        return position

    def replay(self, after: str, destination: str = A) -> HistoryPage:
        """Return the page after an id."""
        page: HistoryPage = self.successResultOf(self.source.replay(destination, after, 10))
        return page


class EpochTests(PubSubCase):
    """A connection is an epoch."""

    def test_ids(self) -> None:
        self.successResultOf(self.started)
        position = self.watch()
        self.assertRegex(position, rf"^{EPOCH}-[0-9a-f]{{12}}-0$")
        self.reading.answer(message(1), message(1, B), message(2))
        epoch = position.removesuffix("-0")
        self.assertEqual(self.sink.events, [Event(A, f"{epoch}-1", body(1)), Event(A, f"{epoch}-2", body(2))])
        self.assertEqual(self.watch(B), f"{epoch}-1")
        self.assertEqual(self.source.order(A, f"{epoch}-10"), (EPOCH, 10))

    def test_other_nodes_begin_in_the_same_millisecond(self) -> None:
        """Nodes have different epochs: an id of another node is unknown."""
        position = self.watch()
        mine, self.endpoint = self.endpoint, FakeEndpoint(self.clock)
        context = SourceContext(cast(Any, self.clock), lambda: START, (A, B))
        other = RedisPubSub(RedisClient(address_of(self.endpoint), context.reactor), "p:", context)
        other.start(RecordingSink())
        self.endpoint.sessions[0].log_in()
        self.log_in()
        theirs = self.successResultOf(other.watch(A))
        self.assertEqual(theirs.partition("-")[0], position.partition("-")[0])
        self.assertEqual(self.replay(theirs), UNKNOWN)
        self.assertEqual(self.replay(position), HistoryPage((), complete=True, more=False))
        other.stop()
        self.clock.advance(0)
        self.endpoint = mine

    def test_a_reconnect_is_a_gap(self) -> None:
        """Watched destinations get a gap; older ids are unknown, and newer ids are ordered after them."""
        position = self.watch()
        self.reading.answer(message(1))
        (before,) = self.sink.events
        self.lose()
        self.assertEqual(self.sink.gaps, [])  # said when something can come again: who comes back then stays
        self.log_in()
        ((destinations, reason),) = self.sink.gaps
        self.assertEqual(destinations, (A,))
        self.assertTrue(reason.startswith("the subscription was interrupted: the connection was lost"), reason)
        self.assertEqual(self.replay(position), UNKNOWN)
        self.assertEqual(self.replay(before.id), UNKNOWN)
        self.reading.answer(message(2), message(3))
        self.assertEqual([event.body for event in self.sink.events], [body(1), body(2), body(3)])
        keys = [self.source.order(event.destination, event.id) for event in self.sink.events]
        self.assertEqual(keys, sorted(keys))
        self.assertEqual(self.replay(self.sink.events[1].id).events, (self.sink.events[2],))

    def test_a_reconnect_that_nobody_sees(self) -> None:
        position = self.watch()
        self.source.unwatch(A)
        self.reconnect()
        self.assertEqual(self.sink.gaps, [])
        self.assertEqual(self.replay(position), UNKNOWN)

    def test_a_clock_that_goes_back(self) -> None:
        self.watch()
        self.reading.answer(message(1))
        before = self.source.order(A, self.sink.events[0].id)
        self.clock.rightNow -= 3600
        self.reconnect()
        self.assertGreater(self.source.order(B, self.watch(B)), before)

    def test_what_comes_before_all_channels_are_subscribed(self) -> None:
        """A message before the epoch is ignored."""
        position = self.watch()
        self.lose()
        self.reading = self.endpoint.sessions[-1]
        self.reading.log_in()
        self.reading.answer([b"subscribe", b"p:/topic/a", 1], message(1))
        self.assertEqual((self.sink.events, self.sink.gaps), ([], []))
        self.reading.answer([b"subscribe", b"p:/topic/b", 2])
        self.reading.answer(message(2))
        self.assertEqual([event.body for event in self.sink.events], [body(2)])
        self.assertEqual(len(self.sink.gaps), 1)
        self.assertTrue(self.sink.events[0].id.endswith("-1"))
        self.assertNotEqual(self.sink.events[0].id, position.removesuffix("0") + "1")

    def test_a_channel_that_is_forbidden(self) -> None:
        """The source is not connected until all channels are subscribed."""
        self.lose()
        self.reading = self.endpoint.sessions[-1]
        self.reading.log_in()
        refusal = Error("NOPERM this user has no permissions to access one of the channels used as arguments")
        self.reading.answer([b"subscribe", b"p:/topic/a", 1], refusal)
        self.assertEqual(list(self.source.health()), [f"redis://192.0.2.7:6379/0 (subscriber): {refusal}"])
        self.assertFalse(self.reading.is_open)


class GrowthTests(PubSubCase):
    """A catalogue that grows."""

    def extend(self) -> None:
        """Add a destination to the catalogue."""
        self.source.extend([C])
        self.assertEqual(self.reading.asked(), [words("SUBSCRIBE", "p:/topic/c")])

    def test_subscribed_at_once(self) -> None:
        """The history has events from before the watch; other destinations are not affected."""
        self.watch()
        self.extend()
        self.reading.answer([b"subscribe", b"p:/topic/c", 3], message(1, C))
        self.assertRegex(self.watch(C), r"-1$")
        self.reading.answer(message(2, C), message(3))
        self.assertEqual([event.destination for event in self.sink.events], [C, A])
        self.assertEqual((self.sink.gaps, self.reading.asked()), ([], []))

    def test_a_watch_waits_for_it(self) -> None:
        self.extend()
        watching = self.source.watch(C)
        self.assertNoResult(watching)
        self.reading.answer([b"subscribe", b"p:/topic/c", 3])
        self.assertNoResult(watching)  # it asked as well
        self.reading.answer([b"subscribe", b"p:/topic/c", 3])
        self.assertRegex(self.successResultOf(watching), r"-0$")

    def test_while_there_is_no_connection(self) -> None:
        self.lose()
        self.source.extend([C])
        watching = self.source.watch(C)
        self.log_in()
        self.assertIn(words("SUBSCRIBE", "p:/topic/c"), self.reading.asked())
        confirmed: Answer = [b"subscribe", b"p:/topic/c", 3]
        self.reading.answer(*[confirmed] * 3)
        self.assertRegex(self.successResultOf(watching), r"-0$")

    def test_lost_meanwhile(self) -> None:
        """The next connection subscribes to it."""
        self.extend()
        self.lose()
        self.log_in()
        self.assertEqual(self.reading.asked(), [words("SUBSCRIBE", "p:/topic/c")])
        self.reading.answer([b"subscribe", b"p:/topic/c", 3])
        self.lose()
        self.reading = self.endpoint.sessions[-1]
        self.reading.log_in()
        self.assertEqual(self.reading.asked(), [words("SUBSCRIBE", f"p:{each}") for each in (A, B, C)])

    def test_forbidden(self) -> None:
        """Its watch fails; the others work, after a reconnect too. It works once it is allowed."""
        log = record_log(self)
        self.watch()
        self.extend()
        self.reading.answer(Error("NOPERM no permissions to access one of the channels"))
        self.assertIn("cannot subscribe to the channel of /topic/c", text_of(log))
        watching = self.source.watch(C)
        self.reading.answer(Error("NOPERM no permissions to access one of the channels"))
        self.assertIn("NOPERM", str(self.failureResultOf(watching, SourceUnavailable).value))
        self.reconnect()
        self.reading.answer(Error("NOPERM no permissions to access one of the channels"), message(1))
        self.assertEqual([event.destination for event in self.sink.events], [A])
        self.assertEqual(list(self.source.health()), [])
        watching = self.source.watch(C)
        self.reading.answer([b"subscribe", b"p:/topic/c", 3])
        self.successResultOf(watching)

    def test_stopped(self) -> None:
        """No command is sent after the stop."""
        self.lose()
        self.stop()
        self.source.extend([C])
        self.failureResultOf(self.source.watch(C), SourceUnavailable)


class WatchTests(PubSubCase):
    """Watching and the history."""

    def test_what_one_read_brings_is_one_batch(self) -> None:
        self.watch()
        self.watch(B)
        self.reading.answer(message(1), message(2, B), message(3))
        self.assertEqual(self.sink.batches, 1)
        self.assertEqual([event.body for event in self.sink.events], [body(1), body(2), body(3)])

    def test_the_history_has_what_came_unwatched(self) -> None:
        position = self.watch()
        self.source.unwatch(A)
        self.reading.answer(message(1), message(2))
        self.assertEqual(self.sink.events, [])
        self.assertEqual([event.body for event in self.replay(position).events], [body(1), body(2)])

    def test_the_history_is_bounded(self) -> None:
        position = self.watch()
        self.reading.answer(*map(message, range(4)))
        self.assertEqual(self.replay(position), UNKNOWN)
        self.assertEqual(self.replay(self.sink.events[0].id).events, tuple(self.sink.events[1:]))

    def test_what_is_asked_while_redis_is_away_waits(self) -> None:
        """A replay waits for a connection, because the history may be incomplete."""
        position = self.watch()
        self.lose()
        watching, replaying = self.source.watch(B), self.source.replay(A, position, 10)
        for waiting in (watching, replaying):
            self.assertNoResult(waiting)
        self.log_in()
        self.assertNotEqual(self.successResultOf(watching), position)
        self.assertEqual(self.successResultOf(replaying), UNKNOWN)
        self.assertEqual([destinations for destinations, _ in self.sink.gaps], [(A,)])

    def test_stopped_while_redis_is_away(self) -> None:
        position = self.watch()
        self.lose()
        waiting = [self.source.watch(B), self.source.replay(A, position, 10), self.source.publish(A, b"{}")]
        self.source.stop()
        for each in waiting:
            self.failureResultOf(each, SourceUnavailable)

    def test_what_is_no_event(self) -> None:
        """It is reported under a hash that all nodes share, copied by one of them, and takes no id."""
        position = self.watch()
        self.reading.answer(message(1), [b"message", b"p:/topic/a", b"[]"], message(2))
        name = sha256(b"[]").hexdigest()[:16]
        self.assertEqual(self.sink.refusals, [(A, name, PayloadFault.NOT_JSON_OBJECT)])
        self.assertEqual([event.id for event in self.sink.events], [position[:-1] + "1", position[:-1] + "2"])
        (asked,) = self.commands.asked()
        self.assertEqual([asked[0], *asked[2:]], words("SET", "", "NX", "EX", 60))
        self.assertTrue(asked[1].startswith(b"p:dead-letter:"), asked)
        self.commands.answer("OK")
        (copy,) = self.commands.asked()
        self.assertEqual(copy[6:10], words("channel", "p:/topic/a", "id", name))
        self.assertEqual(copy[-2:], words("payload", "[]"))
        self.commands.answer(b"1-1")

    def test_what_is_no_event_and_unwatched(self) -> None:
        self.reading.answer([b"message", b"p:/topic/a", b"[]"])
        self.assertEqual((self.sink.refusals, self.commands.asked()), ([], []))


class PublishTests(PubSubCase):
    """PUBLISH fires when the event has come back."""

    def test_published(self) -> None:
        position = self.watch()
        publishing = self.source.publish(A, body(1))
        self.assertEqual(self.commands.asked(), [words("PUBLISH", "p:/topic/a", body(1))])
        self.commands.answer(3)
        self.assertNoResult(publishing)
        self.reading.answer(message(1, B), message(2), message(1))
        self.assertEqual(self.successResultOf(publishing), position.removesuffix("0") + "2")

    def test_the_message_comes_first(self) -> None:
        """A message before the reply to PUBLISH may be from another publisher, with the same body."""
        publishing = self.source.publish(A, body(1))
        self.reading.answer(message(1))
        self.assertNoResult(publishing)
        self.commands.answer(2)
        self.assertEqual(self.successResultOf(publishing), self.watch())

    def test_equal_bodies(self) -> None:
        first, second = self.source.publish(A, body(1)), self.source.publish(A, body(1))
        self.commands.answer(1, 1)
        self.reading.answer(message(1))
        self.assertNoResult(second)
        self.reading.answer(message(1))
        ids = [self.successResultOf(each) for each in (first, second)]
        self.assertEqual([event_id.rpartition("-")[2] for event_id in ids], ["1", "2"])

    def test_the_sink_has_it_first(self) -> None:
        self.watch()
        seen: list[int] = []
        publishing = self.source.publish(A, body(1)).addCallback(lambda _: seen.append(len(self.sink.events)))
        self.commands.answer(1)
        self.reading.answer(message(1))
        self.successResultOf(publishing)
        self.assertEqual(seen, [1])

    def test_nobody_is_subscribed(self) -> None:
        """The subscription is lost, or at another Redis: the publish fails."""
        publishing = self.source.publish(A, body(1))
        self.commands.answer(0)
        self.assertIn("no subscriber received", str(self.failureResultOf(publishing, SourceUnavailable).value))

    def test_refused(self) -> None:
        publishing = self.source.publish(A, body(1))
        self.commands.answer(Error("NOPERM this user has no permissions to run the 'publish' command"))
        self.assertIn("NOPERM", str(self.failureResultOf(publishing, SourceUnavailable).value))

    def test_a_lost_connection(self) -> None:
        """On either connection: it is not repeated, and a later message is not taken for it."""
        for session in (self.commands, self.reading):
            publishing = self.source.publish(A, body(1))
            self.assertEqual(len(self.commands.asked()), 1)
            session.lose()
            self.commands.answer(1)
            self.failureResultOf(publishing, SourceUnavailable)
            self.wait(1.2)
            if session is self.commands:
                self.commands = self.endpoint.sessions[-1]
                self.commands.log_in()
            else:
                self.log_in()
            self.assertEqual(self.commands.asked(), [])

    def test_both_connections_are_lost(self) -> None:
        publishing = self.source.publish(A, body(1))
        self.reading.lose()
        self.commands.lose()
        self.failureResultOf(publishing, SourceUnavailable)

    def test_given_up(self) -> None:
        """A cancelled publish gets no id, and does not take another's."""
        gone, publishing = self.source.publish(A, body(1)), self.source.publish(A, body(1))
        self.commands.answer(1)
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.commands.answer(1)
        self.reading.answer(message(1))
        self.successResultOf(publishing)

    def test_it_waits_for_both_connections(self) -> None:
        self.lose()
        publishing = [self.source.publish(A, body(number)) for number in range(3)]
        self.assertEqual(self.commands.asked(), [])
        self.log_in()
        self.assertEqual([words[-1] for words in self.commands.asked()], [body(number) for number in range(3)])
        self.commands.answer(1, 1, 1)
        self.reading.answer(*map(message, range(3)))
        for each in publishing:
            self.successResultOf(each)


class StopTests(PubSubCase):
    """The source can be stopped at any time."""

    def test_while_publishing(self) -> None:
        publishing = self.source.publish(A, body(1))
        self.source.stop()
        self.clock.advance(0)
        self.failureResultOf(publishing, SourceUnavailable)

    def test_in_a_gap(self) -> None:
        """The sink may stop the source within gap."""
        self.watch()
        self.sink.on_gap = self.source.stop
        self.reconnect()
        self.assertFalse(self.reading.is_open)
        self.failureResultOf(self.source.watch(B), SourceUnavailable)

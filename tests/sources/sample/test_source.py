"""The sample source: when it plays, and its events."""

from __future__ import annotations

import re
from itertools import islice, pairwise
from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.events import (
    AIRY_DESTINATIONS,
    CHANNEL_CONNECTED,
    CHANNEL_DISCONNECTED,
    EVENTS,
    MESSAGE,
    UNREAD_COUNT,
    Event,
)
from airyd.interfaces import IEventSource
from airyd.payloads import check
from airyd.sources import make_source
from airyd.sources.sample.conversations import ConversationPlayer, Conversations
from tests.sources.support import START, RecordingSink, make_context


class SampleCase(SynchronousTestCase):
    """Helpers of the cases below."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sink = RecordingSink()

    def source(self, url: str, *more: str) -> IEventSource:
        """Return a started source with these destinations besides the four."""
        source = make_source(url, make_context(self.clock, (*AIRY_DESTINATIONS, *more)))
        self.successResultOf(source.start(self.sink))
        return source

    def watch_all(self, source: IEventSource) -> None:
        """Watch the four destinations."""
        for destination in AIRY_DESTINATIONS:
            self.successResultOf(source.watch(destination))

    def play(self, seconds: float, step: float = 0.125) -> list[Event]:
        """Advance the clock; return the events since then."""
        count = len(self.sink.events)
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
        return self.sink.events[count:]


class PlayingTests(SampleCase):
    """When the made-up feed plays."""

    def test_nothing_before_the_first_watch(self) -> None:
        source = self.source("sample:")
        self.play(10)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for destination in AIRY_DESTINATIONS:
            self.assertTrue(self.successResultOf(source.watch(destination)).endswith("-0"))
        self.assertEqual(self.sink.events, [])
        self.assertEqual(len(self.play(10)), 20)

    def test_rate(self) -> None:
        for rate, seconds, count in (("0.5", 20, 10), ("2", 10, 20), ("8", 10, 80), ("200", 10, 2000)):
            self.setUp()
            self.watch_all(self.source(f"sample:?rate={rate}"))
            self.assertEqual(len(self.play(seconds)), count)

    def test_a_late_reactor_makes_up_for_a_second(self) -> None:
        self.watch_all(self.source("sample:?rate=10"))
        self.clock.advance(0.55)
        self.assertEqual(len(self.sink.events), 5)
        self.assertEqual(len(self.play(600, step=600)), 10)

    def test_it_plays_on_unwatched(self) -> None:
        """A later watch gets later events, and earlier ones from the history."""
        source = self.source("sample:?rate=8")
        position = self.successResultOf(source.watch(MESSAGE))
        self.play(5)
        source.unwatch(MESSAGE)
        seen = len(self.sink.events)
        self.assertEqual(self.play(5), [])
        page = self.successResultOf(source.replay(MESSAGE, position, 1000))
        self.assertTrue(page.complete)
        self.assertGreater(len(page.events), seen)
        self.assertEqual(page.events[:seen], tuple(self.sink.events))

    def test_publishing_mixes_with_it(self) -> None:
        source = self.source("sample:?rate=8")
        self.watch_all(source)
        self.play(1)
        event_id = self.successResultOf(source.publish(MESSAGE, b'{"own":1}'))
        self.assertEqual(self.sink.events[-1], Event(MESSAGE, event_id, b'{"own":1}'))
        self.assertEqual(len(self.play(1)), 8)
        ids = [event.id for event in self.sink.of(MESSAGE)]
        self.assertEqual(ids, sorted(ids, key=lambda each: source.order(MESSAGE, each)))

    def test_events(self) -> None:
        """With ``/events`` in the catalogue each event is also published there, right after its own destination."""
        source = self.source("sample:?rate=8", EVENTS)
        self.watch_all(source)
        self.successResultOf(source.watch(EVENTS))
        came = self.play(10)
        self.assertEqual([event.destination == EVENTS for event in came], [False, True] * 80)
        seen = {event.destination for event in came}
        self.assertEqual(seen - {CHANNEL_DISCONNECTED}, {EVENTS, MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED})
        self.setUp()
        self.watch_all(self.source("sample:?rate=8", "/queue/events"))
        self.assertEqual([event.body for event in self.play(10)], [event.body for event in came[::2]])

    def test_stop(self) -> None:
        source = self.source("sample:")
        self.watch_all(source)
        self.play(5)
        self.successResultOf(source.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.play(5), [])

    def test_stop_by_what_an_event_sets_off(self) -> None:
        source = self.source("sample:?rate=100")
        self.watch_all(source)
        self.sink.on_delivery = lambda: self.successResultOf(source.stop())
        self.clock.advance(1)
        self.assertEqual(self.sink.batches, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_between_both_forms(self) -> None:
        player = ConversationPlayer(Conversations(1, lambda: START), 1, self.clock, with_events=True)
        published: list[str] = []

        def publish(destination: str, body: bytes) -> None:
            published.append(destination)
            player.stop()

        player.start(publish)
        self.clock.advance(1)
        self.assertEqual(published, [CHANNEL_CONNECTED])

    def test_history(self) -> None:
        source = self.source("sample:?rate=100&history=10")
        position = self.successResultOf(source.watch(MESSAGE))
        self.play(5)
        self.assertFalse(self.successResultOf(source.replay(MESSAGE, position, 10)).complete)


class ConversationTests(SynchronousTestCase):
    """The made-up events: 4,000, one each quarter of a second."""

    def setUp(self) -> None:
        self.made = self.make(1, 4000)
        self.payloads: list[tuple[str, dict[str, Any]]] = [
            (destination, msgspec.json.decode(each)) for destination, each in self.made
        ]

    def make(self, seed: int, count: int) -> list[tuple[str, bytes]]:
        """Return the first events of a seed."""
        clock = Clock()
        made = []
        for each in islice(Conversations(seed, lambda: START + clock.seconds()), count):
            made.append(each)
            clock.advance(0.25)
        return made

    def of(self, destination: str) -> list[dict[str, Any]]:
        """Return the payloads of a destination."""
        return [payload for each, payload in self.payloads if each == destination]

    def test_valid(self) -> None:
        for destination, each in self.made:
            check(destination, each, 1000)

    def test_reproducible(self) -> None:
        self.assertEqual(self.make(1, 300), self.made[:300])
        self.assertNotEqual(self.make(2, 300), self.made[:300])
        for seed in (0, -5, 1 << 62):
            self.assertEqual(self.make(seed, 50), self.make(seed, 50))

    def test_all_destinations(self) -> None:
        self.assertEqual({destination for destination, _ in self.made}, set(AIRY_DESTINATIONS))
        self.assertEqual({destination for destination, _ in self.made[:10]} - {CHANNEL_DISCONNECTED}, {
            MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED,
        })  # fmt: skip

    def test_as_documented(self) -> None:
        """Every field of the document, no other, and in the document's order."""
        for payload in self.of(MESSAGE):
            self.assertEqual(list(payload), ["conversation_id", "channel_id", "message"])
            message = payload["message"]
            self.assertEqual(list(message), ["id", "content", "state", "sender_type", "sent_at"])
            self.assertEqual(list(message["content"]), ["text", "type"])
            self.assertIn(message["state"], ("PENDING", "DELIVERED", "FAILED"))
            self.assertNotIn("{", message["content"]["text"])
        for payload in self.of(UNREAD_COUNT):
            self.assertEqual(list(payload), ["conversation_id", "unread_message_count", "timestamp"])
        for payload in self.of(CHANNEL_CONNECTED) + self.of(CHANNEL_DISCONNECTED):
            self.assertEqual(
                [name for name in payload if name != "image_url"], ["id", "name", "source", "source_channel_id"]
            )
            self.assertIsInstance(payload.get("image_url", ""), str)

    def test_events(self) -> None:
        """Events on ``/events`` repeat the others in the format of Airy 0.41 and later."""
        made = Conversations(1, lambda: START)
        types = set()
        for _ in range(4000):
            (destination, body), (also, event) = made.both_forms()
            check(also, event, 1000)
            self.assertEqual(also, EVENTS)
            original, typed = msgspec.json.decode(body), msgspec.json.decode(event)
            kind, payload = typed["type"], typed["payload"]
            types.add((destination, kind))
            if destination == MESSAGE:
                message, old = payload.pop("message"), original.pop("message")
                self.assertEqual(payload, original)
                for name in ("id", "content", "sent_at"):
                    self.assertEqual(message[name], old[name])
                self.assertEqual(message["delivery_state"], old["state"].lower())
                self.assertEqual(message["from_contact"], old["sender_type"] == "SOURCE_CONTACT")
                self.assertEqual(kind == "message.updated", not message["from_contact"] and old["state"] != "PENDING")
                self.assertTrue(message["source"] and message["sender"]["id"])
            elif destination == UNREAD_COUNT:
                self.assertEqual(
                    (payload["subject"], payload["identifier"]), ("conversation", original["conversation_id"])
                )
                self.assertEqual(payload["metadata"], {"unread_count": original["unread_message_count"]})
            else:
                self.assertIs(payload.pop("connected"), destination == CHANNEL_CONNECTED)
                self.assertEqual({**payload.pop("metadata"), **payload}, original)
        self.assertEqual(types, {
            (MESSAGE, "message.created"), (MESSAGE, "message.updated"), (UNREAD_COUNT, "metadata.updated"),
            (CHANNEL_CONNECTED, "channel.updated"), (CHANNEL_DISCONNECTED, "channel.updated"),
        })  # fmt: skip

    def test_dates(self) -> None:
        """Dates have Airy's format, follow the wall clock, and increase within a conversation."""
        form = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        for payload in self.of(MESSAGE):
            self.assertRegex(payload["message"]["sent_at"], form)
        latest: dict[str, str] = {}
        for payload in self.of(UNREAD_COUNT):
            self.assertRegex(payload["timestamp"], form)
            self.assertGreater(payload["timestamp"], latest.get(payload["conversation_id"], ""))
            latest[payload["conversation_id"]] = payload["timestamp"]
        self.assertEqual(self.of(MESSAGE)[0]["message"]["sent_at"], "2021-01-12T14:49:05.750Z")

    def test_dates_go_on_when_the_clock_does_not(self) -> None:
        """Counts never share a date, because clients keep only the latest count."""
        stamps = [
            msgspec.json.decode(each)["timestamp"]
            for destination, each in islice(Conversations(1, lambda: START), 500)
            if destination == UNREAD_COUNT
        ]
        self.assertEqual(stamps, sorted(set(stamps)))

    def test_answers_are_pending_first(self) -> None:
        """A message of the company is published as PENDING, then with its result."""
        states: dict[str, list[str]] = {}
        first: dict[str, dict[str, Any]] = {}
        for payload in self.of(MESSAGE):
            message = payload["message"]
            states.setdefault(message["id"], []).append(message["state"])
            original = first.setdefault(message["id"], payload)
            self.assertEqual(payload, {**original, "message": {**original["message"], "state": message["state"]}})
        ways = {tuple(each) for each in states.values()}
        self.assertEqual(ways - {("PENDING",)}, {("DELIVERED",), ("PENDING", "DELIVERED"), ("PENDING", "FAILED")})

    def test_counts_go_up_and_are_reset(self) -> None:
        counts: dict[str, list[int]] = {}
        for payload in self.of(UNREAD_COUNT):
            counts.setdefault(payload["conversation_id"], [0]).append(payload["unread_message_count"])
        self.assertGreater(len(counts), 10)
        for each in counts.values():
            for before, after in pairwise(each):
                self.assertIn(after, (0, before + 1))
        self.assertGreater(max(map(max, counts.values())), 1)

    def test_channels_come_and_go(self) -> None:
        """A channel connects before its messages, and disconnects only after that."""
        connected: set[str] = set()
        sources = set()
        for destination, payload in self.payloads:
            if destination == CHANNEL_CONNECTED:
                self.assertNotIn(payload["id"], connected)
                connected.add(payload["id"])
                sources.add(payload["source"])
            elif destination == CHANNEL_DISCONNECTED:
                connected.remove(payload["id"])
            elif destination == MESSAGE and payload["message"]["state"] == "PENDING":
                self.assertIn(payload["channel_id"], connected)
        self.assertEqual(sources, {"facebook", "google", "twilio.sms", "twilio.whatsapp", "chat_plugin"})
        self.assertTrue(self.of(CHANNEL_DISCONNECTED))

    def test_many_scripts(self) -> None:
        """The bytes are UTF-8, not escapes, beyond Latin and beyond the first plane."""
        text = b"".join(each for _, each in self.made).decode()
        self.assertNotIn("\\u", text)
        for start, end in (("\u00c0", "\u024f"), ("\u3040", "\u30ff"), ("\u4e00", "\u9fff"),
                           ("\U0001f300", "\U0001faff")):  # fmt: skip
            self.assertTrue(any(start <= each <= end for each in text), start)

"""Recorded events, played at their own times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import ConfigurationError
from airyd.events import AIRY_DESTINATIONS, CHANNEL_CONNECTED, MESSAGE, UNREAD_COUNT
from airyd.interfaces import IEventSource
from airyd.sources import make_source
from tests.sources.support import RecordingSink, make_context

RESERVED_PREFIX = "/queue/own"


def line(at: object, destination: str = RESERVED_PREFIX, payload: str = "{}") -> str:
    """Return a line of a recording."""
    return f'{{"destination": "{destination}", "payload": {payload}, "at": {at}}}\n'


#: What is said of a payload whose members are not those of its destination.
UNFIT = "the payload does not fit its destination: "


class PlaybackCase(SynchronousTestCase):
    """Helpers of the cases below."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sink = RecordingSink()
        self.path = Path(self.mktemp())

    def source(
        self, content: str | bytes, parameters: str = "", own: Sequence[str] = (RESERVED_PREFIX,)
    ) -> IEventSource:
        """Return a source over a file with the content; not started."""
        self.path.write_bytes(content if isinstance(content, bytes) else content.encode())
        context = make_context(self.clock, (*AIRY_DESTINATIONS, *own))
        return make_source(f"sample:?file={quote(str(self.path))}{parameters}", context)

    def watching(self, content: str | bytes, parameters: str = "") -> IEventSource:
        """Return a started source that is watched."""
        source = self.source(content, parameters)
        self.successResultOf(source.start(self.sink))
        for destination in (*AIRY_DESTINATIONS, RESERVED_PREFIX):
            self.successResultOf(source.watch(destination))
        return source

    def bodies(self) -> list[bytes]:
        """Return the bodies delivered so far."""
        return [event.body for event in self.sink.events]


class FileTests(PlaybackCase):
    """Valid and invalid recordings."""

    def refused(self, content: str | bytes, parameters: str = "") -> str:
        """Require that the file is refused at once; return the reason without the file's name."""
        error = self.assertRaises(ConfigurationError, self.source, content, parameters)
        self.assertEqual(len(str(error).splitlines()), 1)
        self.assertIn("sample: ", str(error))
        return str(error).replace(f"--source sample: file {self.path}", "FILE")

    def test_byte_for_byte(self) -> None:
        payloads = ['{ "a" :1.0,  "b":[ ] }', '{"é":"\\u00e9 \U0001f600"}', '{"a":1,"a":2}', '{"n":1e999}']
        content = "".join(line(0, RESERVED_PREFIX, payload) for payload in payloads)
        self.watching(content)
        self.clock.advance(0)
        self.assertEqual(self.bodies(), [payload.encode() for payload in payloads])

    def test_layout(self) -> None:
        """Blank lines, line ends of either kind, none at the end, spaces, and members in any order are fine."""
        content = '\n\r\n  {"at":0 ,"payload": {"a":1} ,"destination":"/queue/own"}\r\n\n' + line(1.5).strip()
        self.watching(content)
        self.clock.advance(2)
        self.assertEqual(self.bodies(), [b'{"a":1}', b"{}"])

    def test_missing_file(self) -> None:
        for path in ("/nonexistent/events.jsonl", "/", "", "%00"):
            error = self.assertRaises(ConfigurationError, make_source, f"sample:?file={path}", make_context())
            self.assertIn(f"--source sample: file {path.replace('%00', chr(0))}".rstrip(), str(error))

    def test_no_events(self) -> None:
        for content in ("", "\n \n"):
            self.assertEqual(self.refused(content), "FILE: it has no events; write one on each line")

    def test_not_such_an_object(self) -> None:
        for bad in (
            "x",
            "[]",
            "{}",
            '{"destination":"/queue/own","payload":{}}',
            '{"destination":"/queue/own","at":0}',
            '{"destination":"/queue/own","payload":{},"at":0,"delay":1}',
            '{"destination":5,"payload":{},"at":0}',
            line('"0"'),
            line(-1),
            line("1e999"),
            line("NaN"),
            "\ufeff" + line(0),
        ):
            text = self.refused(line(0) + "\n" + bad)
            start = "FILE, line 3: not an object with 'destination', 'payload' and 'at': "
            self.assertTrue(text.startswith(start), text)

    def test_destination_outside_the_catalogue(self) -> None:
        self.assertEqual(
            self.refused(line(0, "/queue/other")),
            "FILE, line 1: '/queue/other' is not in the catalogue (see --destination)",
        )

    def test_payload_rules(self) -> None:
        for destination, payload, reason in (
            (RESERVED_PREFIX, "[]", "the body is not a JSON object: "),
            (RESERVED_PREFIX, "null", "the body is not a JSON object: "),
            (MESSAGE, "{}", UNFIT),
            (UNREAD_COUNT, '{"conversation_id":"","unread_message_count":true,"timestamp":""}', UNFIT),
            (CHANNEL_CONNECTED, '{"id":1}', UNFIT),
            (RESERVED_PREFIX, '{"a":"' + "x" * 300_000 + '"}', "the limit is 262144"),
        ):
            text = self.refused(line(0, destination, payload))
            self.assertTrue(text.startswith("FILE, line 1: "), text)
            self.assertIn(reason, text)

    def test_not_utf8(self) -> None:
        """Nesting is limited in the payload and elsewhere."""
        for bad in (line(0, RESERVED_PREFIX, '{"a":"?"}'), line(0, "/queue/?")):
            wrong = bad.encode().replace(b"?", b"\xff")
            self.assertEqual(self.refused(wrong), f"FILE, line 1: not UTF-8: invalid byte at offset {bad.index('?')}")

    def test_too_deep(self) -> None:
        deep = '{"a":' + "[" * 5000 + "]" * 5000 + "}"
        self.assertEqual(self.refused(line(0) + line(1, RESERVED_PREFIX, deep)), "FILE, line 2: nested too deeply")

    def test_time_goes_back(self) -> None:
        self.assertEqual(
            self.refused(line(0) + line(2.5) + line(2.25)), "FILE, line 3: 'at' goes back from 2.5 to 2.25"
        )

    def test_parameters(self) -> None:
        self.assertIn("unknown parameter 'rate'", self.refused(line(0), "&rate=5"))
        self.assertIn("unknown parameter 'seed'", self.refused(line(0), "&seed=5"))
        self.assertIn("must be 0 or 1", self.refused(line(0), "&loop=yes"))

    def test_too_short_a_loop(self) -> None:
        self.assertIn("'at' must be at least 0.1", self.refused(line(0) + line(0.05), "&loop=1"))


class TimeTests(PlaybackCase):
    """When the events come."""

    def numbered(self, *times: float) -> str:
        """Return a recording of numbered events at these times."""
        return "".join(line(at, RESERVED_PREFIX, f'{{"n":{number}}}') for number, at in enumerate(times))

    def numbers(self) -> list[int]:
        """Return the numbers delivered so far."""
        return [int(each[5:-1]) for each in self.bodies()]

    def test_from_the_first_watch_on(self) -> None:
        source = self.source(self.numbered(0, 0.5, 0.5, 3))
        self.successResultOf(source.start(self.sink))
        self.clock.advance(100)
        position = self.successResultOf(source.watch(RESERVED_PREFIX))
        self.assertTrue(position.endswith("-0"))
        self.assertEqual(self.numbers(), [])
        self.clock.advance(0)
        self.assertEqual(self.numbers(), [0])
        self.clock.advance(0.25)
        self.successResultOf(source.watch(MESSAGE))
        self.assertEqual(self.numbers(), [0])
        self.clock.advance(0.25)
        self.assertEqual(self.numbers(), [0, 1, 2])
        self.clock.advance(2.25)
        self.assertEqual(self.numbers(), [0, 1, 2])
        self.clock.advance(0.25)
        self.assertEqual(self.numbers(), [0, 1, 2, 3])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late(self) -> None:
        """Late events are published at once and in order; they don't delay later ones."""
        self.watching(self.numbered(1, 2, 3, 10))
        self.clock.advance(5)
        self.assertEqual(self.numbers(), [0, 1, 2])
        self.clock.advance(4.75)
        self.assertEqual(self.numbers(), [0, 1, 2])
        self.clock.advance(0.25)
        self.assertEqual(self.numbers(), [0, 1, 2, 3])

    def test_loop(self) -> None:
        self.watching(self.numbered(0.5, 1), "&loop=1")
        for expected in ([], [0], [0, 1], [0, 1, 0], [0, 1, 0, 1], [0, 1, 0, 1, 0]):
            self.assertEqual(self.numbers(), expected)
            self.clock.advance(0.5)

    def test_loop_of_one(self) -> None:
        self.watching(self.numbered(2), "&loop=1")
        self.clock.pump([1] * 6)
        self.assertEqual(self.numbers(), [0, 0, 0])

    def test_loop_after_a_long_sleep(self) -> None:
        """After a suspend one pass is caught up on, not a thousand."""
        self.watching(self.numbered(0.5, 1), "&loop=1")
        self.clock.advance(1000)
        self.clock.pump([0] * 10)
        self.assertLessEqual(len(self.numbers()), 6)
        count = len(self.numbers())
        self.clock.pump([0.5] * 10)
        self.assertEqual(self.numbers()[count:], [0, 1] * 5)

    def test_stop(self) -> None:
        source = self.watching(self.numbered(0, 1), "&loop=1")
        self.clock.advance(0.5)
        self.successResultOf(source.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(5)
        self.assertEqual(self.numbers(), [0])

    def test_stop_before_the_first_watch(self) -> None:
        source = self.source(self.numbered(0, 1))
        self.successResultOf(source.start(self.sink))
        self.successResultOf(source.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_by_what_an_event_sets_off(self) -> None:
        source = self.watching(self.numbered(1, 1, 2), "&loop=1")
        self.sink.on_delivery = lambda: self.successResultOf(source.stop())
        self.clock.advance(1)
        self.assertEqual(self.sink.batches, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_history(self) -> None:
        source = self.watching(self.numbered(1, 2, 3), "&history=2")
        self.clock.advance(5)
        ids = [event.id for event in self.sink.events]
        self.assertTrue(self.successResultOf(source.replay(RESERVED_PREFIX, ids[0], 10)).complete)
        self.assertFalse(self.successResultOf(source.replay(RESERVED_PREFIX, ids[0].replace("-1", "-0"), 10)).complete)

"""The lines of ``airyd tail``."""

from __future__ import annotations

import json
from datetime import datetime

from twisted.trial.unittest import SynchronousTestCase

from airyd.cli.render import Renderer, StatusNotices, json_line, summary
from airyd.events import AIRY_DESTINATIONS, CHANNEL_CONNECTED, CHANNEL_DISCONNECTED, EVENTS, MESSAGE, UNREAD_COUNT

UUID = "1f3c6a2b-4b2c-4e3b-8f0f-5f3a9d11b8ce"
UP = b'{"type":"source","state":"up"}'
AWAY = "the event source is unreachable: no new events on {} until it is back"
BACK = "the event source is back"


def message(conversation_id: object = UUID, **fields: object) -> bytes:
    """Return a message's body."""
    return json.dumps({"conversation_id": conversation_id, "message": {"id": "m", **fields}}).encode()


def now() -> datetime:
    """Return a fixed time."""
    return datetime(2021, 1, 12, 12, 4, 31)


class SummaryTests(SynchronousTestCase):
    """One sentence for each of Airy's kinds, in the forms of all its releases."""

    def check(self, table: list[tuple[str, bytes, str]]) -> None:
        for destination, body, expected in table:
            self.assertEqual(expected, summary(destination, body), body)

    def test_message(self) -> None:
        text = {"type": "text", "text": "Hello"}
        who = "conversation 1f3c… source_contact"
        self.check(
            [
                (MESSAGE, message(content=text, sender_type="source_contact", state="DELIVERED"), f"{who}: Hello"),
                (
                    MESSAGE,
                    message(content=text, sender_type="SOURCE_CONTACT", state="PENDING"),
                    f"{who}: Hello (pending)",
                ),
                (
                    MESSAGE,
                    message(content=text, sender_type="source_contact", delivery_state="failed"),
                    f"{who}: Hello (failed)",
                ),
                (MESSAGE, message(content=text), "conversation 1f3c…: Hello"),
                (MESSAGE, message("case 7", content=text), "conversation case 7: Hello"),
                (MESSAGE, message("x" * 40, content=text), f"conversation {'x' * 23}…: Hello"),
                (MESSAGE, message(content=text, sender_type=5, state=None), "conversation 1f3c…: Hello"),
            ]
        )

    def test_content(self) -> None:
        """An object, an array, a source's raw string, or whatever comes next."""
        start = "conversation 1f3c…: "
        for content, expected in [
            ([{"type": "text", "text": "one"}, {"type": "image", "url": "u"}], "one [image]"),
            ("plain", "plain"),
            ('{"text":"inside"}', "inside"),
            ('{"message":{"mid":"x","text":"deeper"}}', "deeper"),
            ('{"postback":1}', '{"postback":1}'),
            ("{no JSON", "{no JSON"),
            ({"message": {"text": "source"}}, "source"),
            ({"unknown": True}, '{"unknown":true}'),
            (None, "null"),
            ([], "[]"),
            (7, "7"),
            ("x" * 1000, "x" * 299 + "…"),
        ]:
            self.assertEqual(start + expected, summary(MESSAGE, message(content=content)))

    def test_others(self) -> None:
        self.check(
            [
                (
                    UNREAD_COUNT,
                    b'{"conversation_id":"c","unread_message_count":3,"timestamp":"t"}',
                    "conversation c: 3 unread",
                ),
                (CHANNEL_CONNECTED, b'{"id":"c","name":"my page","source":"facebook"}', "channel c facebook: my page"),
                (CHANNEL_DISCONNECTED, b'{"id":"c","metadata":{"name":"n"},"source":"google"}', "channel c google: n"),
                (CHANNEL_CONNECTED, b'{"id":"c"}', "channel c"),
                ("/queue/own", b'{"type":"message.created"}', '{"type":"message.created"}'),
            ]
        )

    def test_events(self) -> None:
        """Those of ``/events`` have a type, and in their payload what the four destinations have, or something else."""
        said = message(content={"text": "Hello"}, from_contact=True, delivery_state="delivered")
        answered = message(content={"text": "Hello"}, from_contact=False, delivery_state="pending")
        self.check(
            [
                (EVENTS, b'{"type":"%b","payload":%b,"timestamp":1}' % (kind.encode(), payload), f"{kind}: {expected}")
                for kind, payload, expected in (
                    ("message", message(content="Hello", sender_type="app_user"), "conversation 1f3c… app_user: Hello"),
                    ("message.created", said, "conversation 1f3c… contact: Hello"),
                    ("message.updated", answered, "conversation 1f3c… user: Hello (pending)"),
                    ("channel", b'{"id":"c","name":"my page","connected":true}', "channel c: my page"),
                    (
                        "channel.updated",
                        b'{"id":"c","source":"google","connected":false}',
                        "channel c google (disconnected)",
                    ),
                    (
                        "metadata.updated",
                        b'{"subject":"conversation","identifier":"%b","metadata":{"unread_count":3}}' % UUID.encode(),
                        'conversation 1f3c…: {"unread_count":3}',
                    ),
                    (
                        "component.updated",
                        b'{"subject":"component","identifier":"web","metadata":{}}',
                        "component web: {}",
                    ),
                    ("tag.updated", b'{"id": "t", "name": "flag"}', '{"id":"t","name":"flag"}'),
                    ("message.created", b'{"id":7}', '{"id":7}'),
                    ("", b'{"text":"%b"}' % (b"x" * 1000), '{"text":"' + "x" * 290 + "…"),
                )
            ]
        )

    def test_not_as_documented(self) -> None:
        """A body in an unknown form is shown as it is."""
        for destination in (EVENTS, *AIRY_DESTINATIONS):
            for body in [
                b"{}",
                b'{"type":7,"payload":{}}',
                b"[1]",
                b'{"id":7}',
                b'{"message":"x","conversation_id":"c"}',
                b"no JSON",
                b"[" * 99_999,
            ]:
                self.assertEqual(body.decode(), summary(destination, body))
        self.assertEqual("\ufffd", summary(MESSAGE, b"\xff"))


class LineTests(SynchronousTestCase):
    """The whole line on a terminal."""

    def test_plain(self) -> None:
        body = message(content={"type": "text", "text": "Hello"}, sender_type="source_contact")
        self.assertEqual(
            "12:04:31 message  conversation 1f3c… source_contact: Hello",
            Renderer([MESSAGE], now, False).line(MESSAGE, body),
        )

    def test_columns(self) -> None:
        """The sentences begin in one column, whatever is followed."""
        renderer = Renderer(AIRY_DESTINATIONS, now, False)
        self.assertEqual("12:04:31 channel/disconnected  {}", renderer.line(CHANNEL_DISCONNECTED, b"{}"))
        self.assertEqual("12:04:31 message               {}", renderer.line(MESSAGE, b"{}"))

    def test_colours(self) -> None:
        renderer = Renderer([MESSAGE, "/events"], now, True)
        self.assertEqual("\x1b[2m12:04:31\x1b[0m \x1b[32mmessage\x1b[0m  {}", renderer.line(MESSAGE, b"{}"))
        self.assertEqual("\x1b[2m12:04:31\x1b[0m \x1b[35m/events\x1b[0m  {}", renderer.line("/events", b"{}"))

    def test_user_destination(self) -> None:
        """Its events look like those of its destination; the name says that they are the user's own."""
        renderer = Renderer(["/user/queue/message"], now, True)
        body = message(content={"text": "Hello"})
        self.assertEqual(
            f"\x1b[2m12:04:31\x1b[0m \x1b[32m/user/queue/message\x1b[0m  {summary(MESSAGE, body)}",
            renderer.line("/user/queue/message", body),
        )

    def test_controls(self) -> None:
        """Control characters never reach the terminal: neither escaped in JSON nor raw, nor in ids or names."""
        bad = "\x1b[2J\x07\x9b31m\r\n\x7f\u202e\u2028\ud800"
        fields = {"conversation_id": bad, "id": bad, "name": bad, "source": bad, "unread_message_count": 1}
        payload = {**fields, "message": {"id": "m", "content": bad, "sender_type": bad, "state": bad}}
        body = {**payload, "type": f"message.{bad}", "payload": payload}
        renderer = Renderer(AIRY_DESTINATIONS, now, False)
        for destination in (*AIRY_DESTINATIONS, "/events", f"/{bad}"):
            for raw in (json.dumps(body), json.dumps(body, ensure_ascii=False), bad):
                line = renderer.line(destination, raw.encode("utf-8", "replace"))
                self.assertTrue(line.replace("…", "").isprintable(), ascii(line))

    def test_people_write_all_sorts(self) -> None:
        text = "naïve 你好 👩\u200d👧"
        self.assertIn(text, Renderer([MESSAGE], now, False).line(MESSAGE, message(content=text)))


class JsonLineTests(SynchronousTestCase):
    """One line of JSON, which holds the body as it was published."""

    def check(self, body: bytes, payload: bytes) -> None:
        line = json_line(MESSAGE, "ab-1", body)
        expected = b'{"destination":"/queue/message","message-id":"ab-1","payload":%b}\n' % payload
        self.assertEqual(expected, line)
        json.loads(line, parse_int=str)

    def test_byte_for_byte(self) -> None:
        for body in [
            b'{"a":1.50,"b":1e3,"b":null}',
            '{"ä":"🎉\u2028"}'.encode(),
            rb'{"nul":"\u0000","surrogate":"\ud800"}',
            b'{"long":%b}' % (b"9" * 5000),
            b'{ "spaces" : [ 1 , 2 ] }',
        ]:
            self.check(body, body)

    def test_stays_one_line(self) -> None:
        self.check(b'{\r\n  "a": "\\n"\n}\n', b'{    "a": "\\n" } ')

    def test_not_json(self) -> None:
        """Another server's: as a string, so that the line is JSON all the same."""
        self.check(b"hello\nworld", rb'"hello\nworld"')
        self.check(b"", b'""')
        self.check(b"\xff", '"\ufffd"'.encode())
        self.check(b'{"a":"\xff"}', rb'"{\"a\":\"' + "\ufffd".encode() + rb'\"}"')
        self.check(b'{"a":NaN}', rb'"{\"a\":NaN}"')
        self.check(b'{"a":1}{', rb'"{\"a\":1}{"')

    def test_odd_names(self) -> None:
        line = json_line('/a"b\n', "i\\d", b"{}")
        self.assertEqual({"destination": '/a"b\n', "message-id": "i\\d", "payload": {}}, json.loads(line))


def down(*names: str) -> bytes:
    """Return the notice that the source of these destinations is unreachable."""
    listed = ",".join(f'"{name}"' for name in names)
    return b'{"type":"source","state":"down","destinations":[%b]}' % listed.encode()


class StatusNoticesTests(SynchronousTestCase):
    """Notices and their lines."""

    def setUp(self) -> None:
        self.notices = StatusNotices(lambda name: name in ("/a", "/b"))

    def test_source(self) -> None:
        """Each change is reported once; other destinations are not reported."""
        for body, line in [
            (UP, None),
            (down("/c"), None),
            (down("/a", "/c"), AWAY.format("/a")),
            (down("/a"), None),
            (down("/a", "/b"), AWAY.format("/a, /b")),
            (down("/b"), AWAY.format("/b")),
            (UP, BACK),
            (UP, None),
        ]:
            self.assertEqual(self.notices.line(body), line)

    def test_gap(self) -> None:
        body = b'{"type":"gap","destinations":["/a","/c"],"since":"x-1"}'
        told = "events of /a may be missing before this point: the server missed some"
        self.assertEqual(self.notices.line(body), told)
        self.assertIsNone(self.notices.line(body.replace(b"/a", b"/d")))
        self.assertIsNone(self.notices.line(body), "of another subscription to /a, such as a pattern's")
        self.assertEqual(self.notices.line(body.replace(b"x-1", b"x-2")), told)

    def test_draining(self) -> None:
        self.assertEqual(self.notices.line(b'{"type":"draining","within":1.52}'), "the server stops within 1.5 s")
        for within in (b"0", b"0.0", b"0.04"):
            self.assertEqual(self.notices.line(b'{"type":"draining","within":%b}' % within), "the server is stopping")

    def test_token(self) -> None:
        self.assertEqual(self.notices.line(b'{"type":"token","within":59.2}'), "the token expires in 59 s")
        self.assertEqual(self.notices.line(b'{"type":"token","within":0.2}'), "the token expires now")

    def test_unknown(self) -> None:
        """Unknown types and members, and bodies that are not JSON, are ignored."""
        for body in (
            b"",
            b"\xff",
            b"[" * 100_000,
            b"[]",
            b"{}",
            b'{"type":"new"}',
            b'{"type":"source"}',
            b'{"type":"source","state":"down","destinations":"/a"}',
            b'{"type":"source","state":"down","destinations":[1,null]}',
            b'{"type":"draining","within":"soon"}',
        ):
            self.assertIsNone(self.notices.line(body))
        self.assertEqual(self.notices.line(down("/a").replace(b"{", b'{"more":1,', 1)), AWAY.format("/a"))

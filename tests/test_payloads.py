"""The rules for payloads."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import PayloadRefused
from airyd.events import AIRY_DESTINATIONS, CHANNEL_CONNECTED, CHANNEL_DISCONNECTED, EVENTS, MESSAGE, UNREAD_COUNT
from airyd.limits import KIB
from airyd.payloads import check

RESERVED_PREFIX = "/queue/own"
LIMIT = 256 * KIB

#: A payload for each of Airy's destinations, as in Airy's documentation.
DOCUMENTED: dict[str, dict[str, Any]] = {
    MESSAGE: {
        "conversation_id": "d8a1e0f4-93a6-4f0e-8a1c-25d9a5f1c001",
        "channel_id": "d8a1e0f4-93a6-4f0e-8a1c-25d9a5f1c002",
        "message": {
            "id": "d8a1e0f4-93a6-4f0e-8a1c-25d9a5f1c003",
            "content": {"text": "Grüß Gott \U0001f44b", "type": "text"},
            "state": "DELIVERED",
            "sender_type": "SOURCE_CONTACT",
            "sent_at": "2021-01-12T14:49:05.000Z",
        },
    },
    UNREAD_COUNT: {
        "conversation_id": "d8a1e0f4-93a6-4f0e-8a1c-25d9a5f1c001",
        "unread_message_count": 42,
        "timestamp": "2021-01-12T14:49:05.000Z",
    },
    CHANNEL_CONNECTED: {
        "id": "d8a1e0f4-93a6-4f0e-8a1c-25d9a5f1c002",
        "name": "my page 1",
        "source": "facebook",
        "source_channel_id": "fb-page-id-1",
        "image_url": "http://example.org/avatar.jpeg",
    },
    CHANNEL_DISCONNECTED: {
        "id": "d8a1e0f4-93a6-4f0e-8a1c-25d9a5f1c002",
        "name": "my page 1",
        "source": "facebook",
        "source_channel_id": "fb-page-id-1",
    },
    EVENTS: {
        "type": "metadata.updated",
        "payload": {
            "subject": "conversation",
            "identifier": "d8a1e0f4-93a6-4f0e-8a1c-25d9a5f1c001",
            "metadata": {"contact": {"displayName": "Grace"}, "isUserTyping": True},
        },
    },
}

NOT_STRINGS: tuple[object, ...] = (None, 5, 1.5, True, [], {}, ["x"])
NOT_COUNTS: tuple[object, ...] = (None, -1, -(10**30), 1.5, True, False, "3", [], {})
NOT_MESSAGES: tuple[object, ...] = (None, "x", 5, [], [{"id": "x"}], {})

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def encode(payload: object) -> bytes:
    """Return compact JSON, as Airy writes it."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def changed(destination: str, path: str, *value: object) -> bytes:
    """Return the documented payload with one field changed or removed."""
    payload = json.loads(encode(DOCUMENTED[destination]))
    *parents, name = path.split(".")
    holder = payload
    for parent in parents:
        holder = holder[parent]
    del holder[name]
    if value:
        holder[name] = value[0]
    return encode(payload)


class PayloadCase(SynchronousTestCase):
    """What the test cases below share."""

    def refused(self, kind: str, destination: str, body: bytes, limit: int = LIMIT) -> str:
        """Check that the body is refused with this fault; return the reason."""
        error = self.assertRaises(PayloadRefused, check, destination, body, limit)
        self.assertEqual(error.kind, kind, body[:80])
        reason = str(error)
        self.assertEqual(reason.splitlines(), [reason], "one line")
        return reason


class SizeTests(PayloadCase):
    """The limit of a body's size."""

    def test_limit(self) -> None:
        body = b'{"a":"' + b"x" * 92 + b'"}'
        check(RESERVED_PREFIX, body, 100)
        self.assertEqual(self.refused("too_big", RESERVED_PREFIX, body, 99), "the body has 100 bytes; the limit is 99")

    def test_size_is_in_bytes(self) -> None:
        body = encode({"a": "ä" * 10})
        self.refused("too_big", RESERVED_PREFIX, body, len(body.decode()))


class EncodingTests(PayloadCase):
    """All of a body is UTF-8."""

    def test_in_a_field_that_is_not_read(self) -> None:
        for body in (b'{"unknown":"\xff"}', b'{"\xc3":1}', b'{"a":[{"b":"x\xc3"}]}', b'{"a":1}\xff'):
            for destination in (RESERVED_PREFIX, EVENTS, *AIRY_DESTINATIONS):
                self.refused("not_utf8", destination, body)

    def test_in_a_field_that_is_read(self) -> None:
        self.assertEqual(
            self.refused("not_utf8", CHANNEL_CONNECTED, b'{"id":"\xff"}'),
            "the body is not UTF-8: invalid byte at offset 7",
        )

    def test_forms_that_browsers_refuse(self) -> None:
        surrogate, overlong, beyond, other_charset = b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"gr\xfc\xdf"
        for raw in (surrogate, overlong, beyond, other_charset):
            self.refused("not_utf8", RESERVED_PREFIX, b'{"a":"' + raw + b'"}')

    def test_other_encodings(self) -> None:
        for encoding in ("utf-16", "utf-32"):
            self.refused("not_utf8", RESERVED_PREFIX, '{"a":1}'.encode(encoding))
        self.refused("not_json_object", RESERVED_PREFIX, '{"a":1}'.encode("utf-16-be"))


class JsonTests(PayloadCase):
    """A body is one JSON object."""

    def test_an_object(self) -> None:
        for body in (b"{}", b' \t\r\n{"a" : 1}\n', b'{"a":null,"a":[]}', b'{"":{"":""}}', b'{"a":"\x7f"}'):
            check(RESERVED_PREFIX, body, LIMIT)

    def test_other_json(self) -> None:
        for body in (b"[]", b"[{}]", b"1", b'"{}"', b"null", b"true"):
            for destination in (RESERVED_PREFIX, EVENTS, *AIRY_DESTINATIONS):
                self.refused("not_json_object", destination, body)

    def test_not_json(self) -> None:
        for body in (
            b"", b" ", b"{", b"{}x", b"{}{}", b"{}\x00", b"\x00", b"{a:1}", b"{'a':1}", b'{"a"}', b'{"a":1,}',
            b'{"a":[1,]}', b'{"a":01}', b'{"a":1.}', b'{"a":.5}', b'{"a":+1}', b'{"a":1e}', b'{"a":0x1}', b'{"a":tru}',
            b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":"\n"}', b'{"a":"\x00"}', b'{"a":"\\x41"}',
            b'{"a":"\\u12"}', b'{"a":1/**/}', b'{"a":1 "b":2}', b"hello", b'{"a":"',
        ):  # fmt: skip
            self.refused("not_json_object", RESERVED_PREFIX, body)

    def test_byte_order_mark(self) -> None:
        """``JSON.parse`` refuses a byte order mark, as RFC 8259 does."""
        self.refused("not_json_object", RESERVED_PREFIX, b"\xef\xbb\xbf{}")

    def test_broken_behind_a_wrong_field(self) -> None:
        """A body that is not JSON is reported as such, even if a field is wrong, too."""
        self.refused("not_json_object", CHANNEL_CONNECTED, b'{"id":5,"name":"x"')

    def test_numbers_of_any_size_in_fields_that_are_not_read(self) -> None:
        for number in (b"1e999", b"9" * 5000, b"-0", b"1E-400", b"0.1e+1"):
            check(RESERVED_PREFIX, b'{"a":' + number + b"}", LIMIT)
            check(CHANNEL_CONNECTED, b'{"id":"x","a":' + number + b"}", LIMIT)

    def test_half_a_surrogate_pair(self) -> None:
        """``JSON.stringify`` writes such an escape for half an emoji, and ``JSON.parse`` accepts it."""
        for text in (rb"\ud83d", rb"\ude00", rb"\uD83D.", rb"x\ud83d\ud83d\ude00\ude00", rb"\\\ud83d", rb"\ud83d\n"):
            check(RESERVED_PREFIX, b'{"a":"' + text + b'"}', LIMIT)
            check(RESERVED_PREFIX, b'{"' + text + b'":1}', LIMIT)
            check(CHANNEL_CONNECTED, b'{"id":"' + text + b'","name":"' + text + b'"}', LIMIT)

    def test_half_a_surrogate_pair_excuses_nothing_else(self) -> None:
        half = rb'"\ud83d"'
        self.refused("not_json_object", RESERVED_PREFIX, b'{"a":' + half)
        self.refused("not_json_object", RESERVED_PREFIX, b'{"a":' + half + rb',"b":"\q"}')
        self.refused("not_json_object", RESERVED_PREFIX, b"[" + half + b"]")
        self.refused("bad_field", CHANNEL_CONNECTED, b'{"id":5,"a":' + half + b"}")
        self.refused("bad_field", CHANNEL_CONNECTED, b'{"name":' + half + b"}")

    @given(st.dictionaries(st.text(), JSON, max_size=4), st.booleans())
    def test_whatever_json_dumps_writes(self, payload: dict[str, object], ascii_only: bool) -> None:
        check(RESERVED_PREFIX, json.dumps(payload, ensure_ascii=ascii_only).encode("utf-8"), 1 << 30)

    @given(st.text(st.characters(categories=["Cs", "L", "Po"])))
    def test_text_with_halves_of_pairs(self, text: str) -> None:
        check(RESERVED_PREFIX, json.dumps({text: text}).encode(), 1 << 30)

    @given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\ud8ea01 ', max_size=60).map(str.encode))
    def test_nothing_else_is_raised(self, body: bytes) -> None:
        for destination in (RESERVED_PREFIX, MESSAGE):
            try:
                check(destination, body, LIMIT)
            except PayloadRefused:
                continue
            self.assertIsInstance(json.loads(body), dict)


class DepthTests(PayloadCase):
    """The limit of a body's nesting."""

    def test_deep(self) -> None:
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            for depth in (2_000, 40_000):
                for destination in (RESERVED_PREFIX, MESSAGE):
                    self.refused("too_deep", destination, b'{"a":' + opening * depth + b"1" + closing * depth + b"}")

    def test_deep_and_cut_off(self) -> None:
        self.refused("too_deep", RESERVED_PREFIX, b'{"a":' + b"[" * 200_000)

    def test_deep_behind_a_wrong_field(self) -> None:
        self.refused("too_deep", CHANNEL_CONNECTED, b'{"id":5,"a":' + b"[" * 5000 + b"]" * 5000 + b"}")

    def test_usual_nesting(self) -> None:
        check(RESERVED_PREFIX, b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", LIMIT)


class FieldTests(PayloadCase):
    """The documented fields of Airy's destinations."""

    def test_as_documented(self) -> None:
        for destination, payload in DOCUMENTED.items():
            check(destination, encode(payload), LIMIT)

    def test_ids_and_time_stamps_are_strings(self) -> None:
        for destination, path in (
            (MESSAGE, "conversation_id"),
            (MESSAGE, "message.id"),
            (UNREAD_COUNT, "conversation_id"),
            (UNREAD_COUNT, "timestamp"),
            (CHANNEL_CONNECTED, "id"),
            (CHANNEL_DISCONNECTED, "id"),
        ):
            for body in (changed(destination, path), *(changed(destination, path, wrong) for wrong in NOT_STRINGS)):
                reason = self.refused("bad_field", destination, body)
                self.assertTrue(reason.startswith("the payload does not fit its destination: "), reason)
            for fine in ("", "x", "not a UUID", "2021-01-12", "\U0001f600"):
                check(destination, changed(destination, path, fine), LIMIT)

    def test_the_count_is_a_whole_number(self) -> None:
        name = "unread_message_count"
        self.refused("bad_field", UNREAD_COUNT, changed(UNREAD_COUNT, name))
        for wrong in NOT_COUNTS:
            self.refused("bad_field", UNREAD_COUNT, changed(UNREAD_COUNT, name, wrong))
        for fine in (0, 1, 2**31, 2**53 + 1, 2**64, 10**30):
            check(UNREAD_COUNT, changed(UNREAD_COUNT, name, fine), LIMIT)

    def test_the_message_is_an_object(self) -> None:
        self.refused("bad_field", MESSAGE, changed(MESSAGE, "message"))
        for wrong in NOT_MESSAGES:
            self.refused("bad_field", MESSAGE, changed(MESSAGE, "message", wrong))

    def test_an_airy_payload_on_another_of_its_destinations(self) -> None:
        self.refused("bad_field", MESSAGE, encode(DOCUMENTED[UNREAD_COUNT]))
        self.refused("bad_field", UNREAD_COUNT, encode(DOCUMENTED[MESSAGE]))
        self.refused("bad_field", CHANNEL_CONNECTED, encode(DOCUMENTED[MESSAGE]))

    def test_other_destinations_have_no_fields(self) -> None:
        for body in (b"{}", b'{"id":5}', b'{"type":5,"payload":null}'):
            for destination in (RESERVED_PREFIX, "/queue/events", "/events/more"):
                check(destination, body, LIMIT)

    def test_an_event_has_a_type_and_a_payload(self) -> None:
        for path, wrongs in (("type", NOT_STRINGS), ("payload", (None, "x", 5, True, [], [{}]))):
            self.assertIn(path, self.refused("bad_field", EVENTS, changed(EVENTS, path)))
            for wrong in wrongs:
                self.assertIn(f"$.{path}", self.refused("bad_field", EVENTS, changed(EVENTS, path, wrong)))
        for fine in ("", "message", "never.heard.of"):
            check(EVENTS, changed(EVENTS, "type", fine), LIMIT)
        for payload in ({}, {"message": None}, {"id": 5}):
            check(EVENTS, changed(EVENTS, "payload", payload), LIMIT)
        self.refused("bad_field", EVENTS, encode(DOCUMENTED[MESSAGE]))

    def test_escaped_names_are_names(self) -> None:
        check(CHANNEL_CONNECTED, rb'{"\u0069d":"x"}', LIMIT)
        self.refused("bad_field", CHANNEL_CONNECTED, rb'{"\u0069d":5}')

    def test_a_repeated_field_must_be_right_each_time(self) -> None:
        check(CHANNEL_CONNECTED, b'{"id":"x","id":"y"}', LIMIT)
        self.refused("bad_field", CHANNEL_CONNECTED, b'{"id":"x","id":5}')
        self.refused("bad_field", CHANNEL_CONNECTED, b'{"id":5,"id":"x"}')

    def test_the_reason_shows_nothing_of_the_content(self) -> None:
        for destination, body in (
            (RESERVED_PREFIX, b'{"secret":"s3cret"'),
            (RESERVED_PREFIX, b'["s3cret"]'),
            (RESERVED_PREFIX, b'{"s3cret":"\xff"}'),
            (RESERVED_PREFIX, b'{"a":"s3cret\\q"}'),
            (RESERVED_PREFIX, b's3cret'),
            (MESSAGE, b'{"s3cret":"s3cret","conversation_id":"s3cret"}'),
            (MESSAGE, changed(MESSAGE, "message", "s3cret")),
            (UNREAD_COUNT, changed(UNREAD_COUNT, "unread_message_count", "s3cret")),
            (EVENTS, b'{"type":"s3cret","payload":"s3cret"}'),
        ):  # fmt: skip
            error = self.assertRaises(PayloadRefused, check, destination, body, LIMIT)
            self.assertNotIn("s3cret", str(error))
            self.assertNotIn("s3cret", repr(error))
            self.assertIsNone(error.__cause__)


class ReleaseTests(PayloadCase):
    """The payloads that releases of Airy send (AIRY.md) are accepted."""

    def test_messages(self) -> None:
        message: dict[str, Any] = DOCUMENTED[MESSAGE]["message"]
        without_state = {name: value for name, value in message.items() if name != "state"}
        for form in (
            message,
            {**message, "sender_type": "source_contact", "state": "delivered"},
            {**without_state, "delivery_state": "PENDING"},
            {"id": "facebook:mid.$x", "content": "x", "state": "?", "sender_type": "app_user", "sent_at": None},
            {**message, "content": [{"type": "text", "text": "x"}, {"type": "image", "url": "http://example.org/x"}]},
            {**message, "content": '{"text":"raw"}'},
            {**message, "content": None, "source": "twilio.sms", "metadata": {"user": {"data": [1, {"x": None}]}}},
            {**message, "sent_at": 1610462945000},
            {"id": "x"},
        ):
            check(MESSAGE, changed(MESSAGE, "message", form), LIMIT)
        check(MESSAGE, changed(MESSAGE, "channel_id"), LIMIT)
        check(MESSAGE, changed(MESSAGE, "channel_id", None), LIMIT)

    def test_channels(self) -> None:
        for destination in (CHANNEL_CONNECTED, CHANNEL_DISCONNECTED):
            for form in (
                {"id": "x"},
                {"id": "x", "name": None, "source": None, "source_channel_id": None, "image_url": None},
                {"id": "x", "source": "chat_plugin", "metadata": {"name": "x", "image_url": "http://example.org/x"}},
            ):
                check(destination, encode(form), LIMIT)

    def test_events(self) -> None:
        """Since 0.8.1 the types are ``message`` and so on, since 0.29 ``message.created`` and so on."""
        conversation = DOCUMENTED[MESSAGE]
        channel = {"id": "x", "source": "facebook", "source_channel_id": "1", "connected": True, "metadata": None}
        for form in (
            {"type": "message", "payload": conversation},
            {"type": "message.created", "payload": conversation, "timestamp": 1610462945000},
            {"type": "channel", "payload": channel},
            {"type": "channel.updated", "payload": channel, "timestamp": None},
            {"type": "tag.updated", "payload": {"id": "x", "name": "flag", "color": "tag-red"}},
            {"type": "component.updated", "payload": {"subject": "component", "identifier": "x", "metadata": {}}},
        ):
            check(EVENTS, encode(form), LIMIT)

    def test_unread_counts(self) -> None:
        check(UNREAD_COUNT, changed(UNREAD_COUNT, "timestamp", "2021-01-12T14:49:05Z"), LIMIT)
        check(UNREAD_COUNT, encode({**DOCUMENTED[UNREAD_COUNT], "channel_id": 7}), LIMIT)

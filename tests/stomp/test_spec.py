"""Tests of airyd.stomp.spec."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.stomp.spec import (
    FROM_CLIENT,
    FROM_SERVER,
    WITH_BODY,
    AckMode,
    HeartBeat,
    Version,
    ack_id,
    escape,
    negotiate_heart_beat,
    negotiate_version,
    parse_ack_id,
    unescape,
)
from tests.stomp.wire import any_text

V1_0, V1_1, V1_2 = Version


class VersionTests(SynchronousTestCase):
    """Version negotiation, and the versions' rules."""

    def test_the_newest_in_common_wins(self) -> None:
        for accept, expected in {
            None: V1_0,
            "1.0": V1_0,
            "1.1": V1_1,
            "1.2": V1_2,
            "1.0,1.1,1.2": V1_2,
            "1.2,1.1,1.0": V1_2,
            "1.1,1.0": V1_1,
            " 1.0 , 1.1 ": V1_1,
            "1.1,2.0": V1_1,
            "2.0": None,
            "1.20": None,
            "": None,
            ",": None,
            "1": None,
        }.items():
            self.assertIs(negotiate_version(accept), expected, accept)

    def test_subprotocols(self) -> None:
        self.assertEqual([v.rules.subprotocol for v in Version], ["v10.stomp", "v11.stomp", "v12.stomp"])

    def test_what_the_first_version_lacks(self) -> None:
        for version, exists in ((V1_0, False), (V1_1, True), (V1_2, True)):
            self.assertEqual(version.rules.heart_beats, exists)
            self.assertEqual(version.rules.nack, exists)
            self.assertEqual(version.rules.needs_subscription_id, exists)
            self.assertEqual(version.rules.trims_headers, not exists)

    def test_who_may_have_a_body(self) -> None:
        self.assertEqual(WITH_BODY, {"SEND", "MESSAGE", "ERROR"})
        self.assertEqual(set(FROM_CLIENT) & set(FROM_SERVER), set())

    def test_ack_modes(self) -> None:
        self.assertEqual([mode.value for mode in AckMode], ["auto", "client", "client-individual"])


class EscapeTests(SynchronousTestCase):
    """STOMP 1.2, "Value Encoding", and what 1.1 and 1.0 make of it."""

    def test_escape(self) -> None:
        for version, text, expected in (
            (V1_2, "a:b\\c\nd\re", r"a\cb\\c\nd\re"),
            (V1_1, "a:b\\c\nd", r"a\cb\\c\nd"),
            (V1_1, "a\rb", "a\rb"),
            (V1_0, "a:b\\c", "a:b\\c"),
            (None, "a:b\\c", "a:b\\c"),
        ):
            self.assertEqual(escape(text, version), expected)

    def test_what_cannot_be_represented_becomes_a_space(self) -> None:
        for version in (V1_0, None):
            self.assertEqual(escape("a\nb\rc\0d", version), "a b c d")
        self.assertEqual(escape("a\0b", V1_1), "a b")
        self.assertEqual(escape("a\0b", V1_2), "a b")

    def test_unescape(self) -> None:
        for version, text, expected in (
            (V1_2, r"a\cb\\c\nd\re", "a:b\\c\nd\re"),
            (V1_2, r"\\n", "\\n"),
            (V1_2, r"\\\n", "\\\n"),
            (V1_1, r"\c\\\n", ":\\\n"),
            (V1_0, r"\c\x\\", r"\c\x\\"),
            (V1_2, "plain", "plain"),
        ):
            self.assertEqual(unescape(text, version), expected)

    def test_other_escapes_are_refused(self) -> None:
        for version, text in (
            (V1_2, r"\t"),
            (V1_2, "end\\"),
            (V1_2, r"\C"),
            (V1_2, "\\\r"),
            (V1_1, r"\r"),
            (V1_1, r"\t"),
        ):
            self.assertRaises(ValueError, unescape, text, version)

    @given(any_text, st.sampled_from([V1_1, V1_2]))
    def test_round_trip(self, text: str, version: Version) -> None:
        escaped = escape(text, version)
        self.assertEqual(unescape(escaped, version), text)
        self.assertNotIn("\n", escaped)
        self.assertNotIn(":", escaped)


class HeartBeatTests(SynchronousTestCase):
    """STOMP 1.2, "Heart-beating"."""

    def test_parse(self) -> None:
        self.assertEqual(HeartBeat.parse("30000,20000"), (30000, 20000))
        self.assertEqual(HeartBeat.parse("0,0"), (0, 0))
        self.assertEqual(HeartBeat.parse(" 1 , 2 "), (1, 2))
        self.assertEqual(str(HeartBeat(1, 2)), "1,2")

    def test_malformed(self) -> None:
        for text in (
            "",
            ",",
            "1",
            "1,",
            ",1",
            "1,2,3",
            "-1,0",
            "1.5,0",
            "a,b",
            "1;2",
            "1_0,2",
            "\u0661,1",
            "9" * 11 + ",0",
        ):
            self.assertRaises(ValueError, HeartBeat.parse, text)

    def test_negotiate(self) -> None:
        for server, client, expected in (
            ((30000, 30000), (30000, 30000), (30000, 30000)),
            ((10000, 20000), (5000, 15000), (15000, 20000)),
            ((10000, 20000), (40000, 1000), (10000, 40000)),
            ((0, 20000), (5000, 15000), (0, 20000)),
            ((10000, 0), (5000, 15000), (15000, 0)),
            ((10000, 20000), (0, 15000), (15000, 0)),
            ((10000, 20000), (5000, 0), (0, 20000)),
            ((0, 0), (1, 1), (0, 0)),
            ((1, 1), (0, 0), (0, 0)),
        ):
            self.assertEqual(negotiate_heart_beat(HeartBeat(*server), HeartBeat(*client)), expected)


class AckIdTests(SynchronousTestCase):
    """The ``ack`` header of a MESSAGE."""

    @given(st.integers(0, 10**9), st.text(min_size=1))
    def test_round_trip(self, ordinal: int, message_id: str) -> None:
        self.assertEqual(parse_ack_id(ack_id(ordinal, message_id)), (ordinal, message_id))

    def test_anything_else_is_none(self) -> None:
        for text in ("", "-", "1", "1-", "-1", "x-1", "01-x", "+1-x", " 1-x", "\u0661-x", "9" * 30 + "-x"):
            self.assertIsNone(parse_ack_id(text), text)

"""Message ids, and the form of destinations and event ids."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.events import AIRY_DESTINATIONS, DESTINATION, EVENT_ID, destination_tag, event_id_of, message_id

event_ids = st.from_regex(EVENT_ID, fullmatch=True)
destinations = st.from_regex(DESTINATION, fullmatch=True)


class MessageIdTests(SynchronousTestCase):
    """The ``message-id`` header: the destination's tag and the source's id."""

    def test_tags_never_change(self) -> None:
        # A client may resume with an id after an upgrade, and on another node.
        self.assertEqual(
            {name: destination_tag(name) for name in AIRY_DESTINATIONS},
            {
                "/queue/message": "c102d7ca",
                "/queue/unread-count": "96f83778",
                "/queue/channel/connected": "fd74bb41",
                "/queue/channel/disconnected": "3931bd68",
            },
        )

    @given(destinations, event_ids)
    def test_round_trip(self, destination: str, event_id: str) -> None:
        self.assertEqual(event_id_of(destination, message_id(destination, event_id)), event_id)

    @given(destinations, event_ids)
    def test_it_needs_no_escaping(self, destination: str, event_id: str) -> None:
        self.assertRegex(message_id(destination, event_id), r"\A[0-9a-f]{8}-[0-9A-Za-z._-]+\Z")

    def test_of_another_destination(self) -> None:
        for destination in AIRY_DESTINATIONS[1:]:
            self.assertIsNone(event_id_of(destination, message_id("/queue/message", "5-1")))

    def test_malformed(self) -> None:
        tag = destination_tag("/events")
        for text in (
            "",
            "-",
            tag,
            f"{tag}-",
            f"{tag}5-1",
            f"-{tag}-5",
            f"{tag.upper()}-5-1x y",
            f"{tag}-a:b",
            f"{tag}-5\n",
        ):
            self.assertIsNone(event_id_of("/events", text), text)
        self.assertIsNone(event_id_of("/events", f"{tag}-{'5' * 101}"))


class PatternTests(SynchronousTestCase):
    """The form of destinations and event ids."""

    def test_destinations(self) -> None:
        for name in (*AIRY_DESTINATIONS, "/events", "/a.b-c_d~+@%20"):
            self.assertRegex(name, DESTINATION)
        for name in ("", "/", "events", "/a b", "/a\n", "/a:b", "/a\\b", "/a/*", "/a*", "/ü", "/" + "a" * 201):
            self.assertNotRegex(name, DESTINATION)

    def test_event_ids(self) -> None:
        for text in ("0", "1700000000000-1", "a.b_c-D"):
            self.assertRegex(text, EVENT_ID)
        for text in ("", "a b", "a:b", "1\n", "ü"):
            self.assertIsNone(EVENT_ID.match(text))

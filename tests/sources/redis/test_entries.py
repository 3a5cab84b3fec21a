"""The conversion of stream entries to events, and refused entries."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import PayloadFault
from airyd.events import MESSAGE, Event
from airyd.sources.redis.entries import Entries, read_entries
from airyd.sources.redis.protocol import RawEntry

GOOD = b'{"conversation_id":"c","message":{"id":"m"}}'


class EntryTests(SynchronousTestCase):
    """Each entry is an event, is refused, or is airyd's own."""

    def read(self, *fields: list[bytes] | None, limit: int = 1000) -> Entries:
        """Read entries 1-0, 2-0 and so on with these fields."""
        raw: list[RawEntry] = [(b"%d-0" % number, each) for number, each in enumerate(fields, 1)]
        return read_entries(MESSAGE, raw, limit)

    def faults(self, entries: Entries) -> list[tuple[str, bytes | None, PayloadFault]]:
        """Return what was refused."""
        return [(refused.event_id, refused.body, refused.refusal.fault) for refused in entries.refused]

    def test_events(self) -> None:
        entries = self.read([b"payload", GOOD], [b"payload", b" " + GOOD])
        self.assertEqual(entries.events, [Event(MESSAGE, "1-0", GOOD), Event(MESSAGE, "2-0", b" " + GOOD)])
        self.assertEqual((entries.refused, entries.last), ([], "2-0"))
        self.assertEqual(entries.size, 2 * len(GOOD) + 1)

    def test_other_fields_are_ignored(self) -> None:
        entries = self.read(
            [b"trace", b"payload", b"payload", GOOD, b"payload", b"{}"], [b"payload", GOOD, b"\xff", b""]
        )
        self.assertEqual([event.body for event in entries.events], [GOOD, GOOD])

    def test_a_field_name_is_not_a_value(self) -> None:
        self.assertEqual(
            self.faults(self.read([b"kind", b"payload", b"body", GOOD])), [("1-0", None, PayloadFault.NO_PAYLOAD)]
        )

    def test_refused(self) -> None:
        entries = self.read(
            [b"body", GOOD],
            [b"Payload", GOOD],
            [b"payload", b"no"],
            [b"payload", b"\xff"],
            [b"payload", b"{}"],
            [b"payload", b""],
            [b"payload", GOOD],
            [b"payload", b"x" * 101],
            limit=100,
        )
        self.assertEqual(
            self.faults(entries),
            [
                ("1-0", None, PayloadFault.NO_PAYLOAD),
                ("2-0", None, PayloadFault.NO_PAYLOAD),
                ("3-0", b"no", PayloadFault.NOT_JSON_OBJECT),
                ("4-0", b"\xff", PayloadFault.NOT_UTF8),
                ("5-0", b"{}", PayloadFault.BAD_FIELD),
                ("6-0", b"", PayloadFault.NOT_JSON_OBJECT),
                ("8-0", b"x" * 101, PayloadFault.TOO_BIG),
            ],
        )
        self.assertEqual([event.id for event in entries.events], ["7-0"])
        self.assertEqual(entries.last, "8-0")

    def test_airyds_own(self) -> None:
        entries = self.read([b"payload", GOOD], [b"airyd-position", b""])
        self.assertEqual([event.id for event in entries.events], ["1-0"])
        self.assertEqual((entries.refused, entries.last), ([], "2-0"))

    def test_an_entry_that_is_gone(self) -> None:
        self.assertEqual(
            self.read([b"payload", GOOD], None), Entries([Event(MESSAGE, "1-0", GOOD)], [], "2-0", len(GOOD))
        )

    def test_the_size_is_of_all_fields(self) -> None:
        """Refused entries count towards the size."""
        self.assertGreater(self.read([b"body", b"x" * 500]).size, 500)
        self.assertGreater(self.read([b"payload", GOOD, b"rest", b"x" * 500]).size, 500)

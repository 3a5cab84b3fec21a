"""The JSON Schemas of the payloads accept the same bodies as the rules of msgspec (``airyd.payloads``)."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator
from twisted.trial.unittest import SynchronousTestCase

from airyd.contracts.asyncapi import ContractScope, asyncapi_document
from airyd.errors import PayloadRefused
from airyd.events import AIRY_DESTINATIONS, EVENTS, MESSAGE, UNREAD_COUNT
from airyd.limits import Limits
from airyd.payloads import check
from tests.test_payloads import DOCUMENTED, JSON, NOT_COUNTS, NOT_MESSAGES, NOT_STRINGS, changed, encode

OTHER = "/queue/other"
DESTINATIONS = (*AIRY_DESTINATIONS, EVENTS, OTHER)
DOCUMENT = asyncapi_document(ContractScope(DESTINATIONS, False, (), False, Limits()))
#: The fields that the rules are about, in any object.
FIELDS = ("conversation_id", "message", "unread_message_count", "timestamp", "id", "type", "payload")


def without_whole_floats(value: Any) -> Any:
    """Return the value with whole numbers written as such, since JSON Schema does not tell 1.0 from 1."""
    if isinstance(value, dict):
        return {name: without_whole_floats(member) for name, member in value.items()}
    if isinstance(value, list):
        return [without_whole_floats(member) for member in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


VALUES = JSON.map(without_whole_floats)


def payload_schema(destination: str) -> dict[str, Any]:
    """Return the schema of a destination's payloads, which can stand alone."""
    channels: dict[str, Any] = DOCUMENT["channels"]
    channel = next(each for each in channels.values() if each["address"] == destination)
    return {**channel["messages"]["event"]["payload"], "components": DOCUMENT["components"]}


#: The validators of both drafts: AsyncAPI takes draft 7, other programs take the newest.
VALIDATORS = {
    destination: [kind(payload_schema(destination)) for kind in (Draft7Validator, Draft202012Validator)]
    for destination in DESTINATIONS
}


def is_published(destination: str, body: bytes) -> bool:
    """Return whether airyd takes the body."""
    try:
        check(destination, body, 1 << 30)
    except PayloadRefused:
        return False
    return True


class PayloadSchemaTests(SynchronousTestCase):
    """Both accept a body, or both refuse it."""

    def agree(self, destination: str, body: bytes) -> bool:
        """Check that the schemas say of a body what airyd says; return that."""
        taken = is_published(destination, body)
        for validator in VALIDATORS[destination]:
            self.assertEqual(validator.is_valid(json.loads(body)), taken, (destination, body))
        return taken

    def test_documented(self) -> None:
        for destination, payload in DOCUMENTED.items():
            self.assertTrue(self.agree(destination, encode(payload)))

    def test_schemas_are_valid(self) -> None:
        for validators in VALIDATORS.values():
            for validator in validators:
                validator.check_schema(validator.schema)

    def test_wrong_fields(self) -> None:
        """Each field that is missing or of another type is refused by both."""
        wrong: dict[tuple[str, str], tuple[object, ...]] = {
            (MESSAGE, "conversation_id"): NOT_STRINGS,
            (MESSAGE, "message.id"): NOT_STRINGS,
            (MESSAGE, "message"): NOT_MESSAGES,
            (UNREAD_COUNT, "conversation_id"): NOT_STRINGS,
            (UNREAD_COUNT, "timestamp"): NOT_STRINGS,
            (UNREAD_COUNT, "unread_message_count"): NOT_COUNTS,
            (EVENTS, "type"): NOT_STRINGS,
            (EVENTS, "payload"): (None, "x", 5, True, [], [{}]),
            **{(destination, "id"): NOT_STRINGS for destination in AIRY_DESTINATIONS[2:]},
        }
        for (destination, path), values in wrong.items():
            self.assertFalse(self.agree(destination, changed(destination, path)))
            for value in values:
                self.assertFalse(self.agree(destination, changed(destination, path, value)))

    def test_each_payload_on_each_destination(self) -> None:
        for payload in DOCUMENTED.values():
            for destination in DESTINATIONS:
                self.agree(destination, encode(payload))

    def test_other_json(self) -> None:
        for body in (b"{}", b"[]", b"[{}]", b"1", b'"{}"', b"null", b"true"):
            for destination in DESTINATIONS:
                self.agree(destination, body)

    def test_large_counts(self) -> None:
        for count in (0, 2**53 + 1, 2**64, 10**30):
            self.assertTrue(self.agree(UNREAD_COUNT, changed(UNREAD_COUNT, "unread_message_count", count)))

    def test_whole_number_with_a_fraction(self) -> None:
        """This is the one difference: for JSON Schema, 1.0 is an integer."""
        body = changed(UNREAD_COUNT, "unread_message_count", 1.0)
        self.assertFalse(is_published(UNREAD_COUNT, body))
        for validator in VALIDATORS[UNREAD_COUNT]:
            self.assertTrue(validator.is_valid(json.loads(body)))

    @given(st.sampled_from(DESTINATIONS), VALUES)
    def test_any_json(self, destination: str, value: object) -> None:
        self.agree(destination, encode(value))

    @given(
        st.sampled_from(DESTINATIONS),
        st.dictionaries(
            st.sampled_from(FIELDS),
            st.text() | st.integers() | st.dictionaries(st.sampled_from(FIELDS), st.text() | st.integers()),
        ),
    )
    def test_any_fields(self, destination: str, payload: dict[str, object]) -> None:
        self.agree(destination, encode(payload))

    @given(st.sampled_from([*DOCUMENTED]), st.data())
    def test_one_field_changed(self, destination: str, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from([*DOCUMENTED[destination]]))
        self.agree(destination, changed(destination, path, data.draw(VALUES)))

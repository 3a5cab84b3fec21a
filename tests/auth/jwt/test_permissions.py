"""Permissions from claims; equal ones are shared."""

from __future__ import annotations

import gc
from typing import Any

from zope.interface.verify import verifyObject

from airyd.auth.jwt.row_claims import ClaimRowFilter
from airyd.errors import LoginFault
from airyd.events import CHANNEL_CONNECTED, CHANNEL_DISCONNECTED, EVENTS, MESSAGE, UNREAD_COUNT, Event
from airyd.hub.row_filter import LazyRow
from airyd.interfaces import IPrincipal
from tests.auth.case import AccessCase, bearer, claims, token


class RightsTests(AccessCase):
    """Claims of a token, and what they allow."""

    def bearer_of(self, spec: str = "jwt:secret-env=SECRET", **more: Any) -> IPrincipal:
        """Return the principal of a token with these claims."""
        return self.let_in(self.made(spec), bearer(token(claims(**more))))

    def refusal(self, **more: Any) -> LoginFault:
        """Return why a token with these claims is refused."""
        return self.refused(self.made(), bearer(token(claims(**more))))

    def test_without_claims(self) -> None:
        """Without claims every destination may be subscribed to, none may be sent to, no event is hidden."""
        principal = self.bearer_of()
        verifyObject(IPrincipal, principal)
        for destination in (MESSAGE, UNREAD_COUNT, "/events"):
            self.assertTrue(principal.may_subscribe(destination))
            self.assertFalse(principal.may_send(destination))
            self.assertIsNone(principal.row_filter(destination))

    def test_subscribe(self) -> None:
        principal = self.bearer_of(subscribe=["/queue/channel/*", "/queue/message"])
        self.assertTrue(principal.may_subscribe(MESSAGE) and principal.may_subscribe(CHANNEL_CONNECTED))
        self.assertFalse(principal.may_subscribe(UNREAD_COUNT) or principal.may_subscribe("/queue/channel"))
        self.assertFalse(self.bearer_of(subscribe=[]).may_subscribe(MESSAGE))

    def test_send(self) -> None:
        principal = self.bearer_of(send=["/queue/**"])
        self.assertTrue(principal.may_send(MESSAGE) and principal.may_send(CHANNEL_CONNECTED))
        self.assertFalse(principal.may_send("/events"))
        self.assertTrue(principal.may_subscribe("/events"))

    def test_what_airyd_tells_by_itself(self) -> None:
        """Everybody may subscribe to it, nobody may SEND to it."""
        principal = self.bearer_of(subscribe=["/queue/*"], send=["/**"], only={"channel_id": ["c"]})
        self.assertTrue(principal.may_subscribe("/airyd/status"))
        self.assertFalse(principal.may_send("/airyd/status") or principal.may_send("/airyd/token"))
        self.assertTrue(principal.may_send("/airydx"))
        self.assertIsNone(principal.row_filter("/airyd/status"))

    def test_other_names(self) -> None:
        spec = r"jwt:secret-env=SECRET:subscribe-claim=https://a.example/sub:send-claim=w:only-claim=o:missing-claim=m"
        named = {"https://a.example/sub": ["/a"], "w": ["/b"], "o": {"channel_id": ["c"]}, "m": "allow"}
        principal = self.bearer_of(spec, **named, subscribe=["/c"], send=["/c"])
        self.assertEqual([principal.may_subscribe(name) for name in ("/a", "/b", "/c")], [True, False, False])
        self.assertEqual([principal.may_send(name) for name in ("/a", "/b", "/c")], [False, True, False])
        self.assertIsNotNone(principal.row_filter(MESSAGE))

    def test_what_is_not_understood_lets_nobody_in(self) -> None:
        wrongs: tuple[dict[str, Any], ...] = (
            {"subscribe": "/queue/*"},
            {"subscribe": None, "send": {"/queue/*": True}},
            {"subscribe": ["queue"]},
            {"subscribe": ["/queue/m*"]},
            {"subscribe": ["/**/message"]},
            {"send": ["/queue/**", 7]},
            {"only": ["c1"]},
            {"only": {}},
            {"only": {"channel_id": "c1"}},
            {"only": {"channel_id": [1]}},
            {"only": {"channel_id": ["c1"]}, "missing": "deny"},
            {"missing": True},
        )
        for wrong in wrongs:
            self.assertEqual(self.refusal(**wrong), LoginFault.CLAIM, wrong)

    def test_null_is_no_list(self) -> None:
        for name in ("subscribe", "send", "only"):
            refused = self.refused(self.made(), bearer(token({**claims(), name: None})))
            self.assertEqual(refused, LoginFault.CLAIM, name)

    def test_equal_ones_are_shared(self) -> None:
        """Ten thousand clients with the same claims keep one set of patterns and one filter."""
        door = self.made()
        rights = {"subscribe": ["/b", "/a"], "only": {"x": ["2", "1"], "channel_id": ["c"]}, "missing": "allow"}
        again = {"only": {"channel_id": ["c"], "x": ["1", "2", "2"]}, "missing": "allow", "subscribe": ["/a", "/b"]}
        first, second = (self.let_in(door, bearer(token(claims(sub=n, **r)))) for n, r in (("a", rights), ("b", again)))
        self.assertEqual((first.name, second.name), ("a", "b"))
        self.assertIs(first.row_filter(MESSAGE), second.row_filter(MESSAGE))
        third = self.let_in(door, bearer(token(claims(only={"x": ["1", "2"], "channel_id": ["c"]}))))
        self.assertNotEqual(first.row_filter(MESSAGE), third.row_filter(MESSAGE))

    def test_filters_compare_by_value(self) -> None:
        """Equal filters compare equal, also across authenticators."""
        only = {"channel_id": ["c1", "c2"]}
        first, second = (self.bearer_of(only=only).row_filter(MESSAGE) for _ in range(2))
        self.assertIsNot(first, second)
        self.assertEqual((first, hash(first)), (second, hash(second)))
        self.assertNotEqual(first, self.bearer_of(only=only, missing="allow").row_filter(MESSAGE))
        self.assertNotEqual(first, "something else")

    def test_nothing_is_kept_of_those_who_left(self) -> None:
        from airyd.auth.jwt.permissions import PermissionCache, PermissionClaims

        table = PermissionCache(PermissionClaims())
        kept = [table.permissions(claims(subscribe=[f"/queue/{number}"])) for number in range(100)]
        self.assertEqual(len(table), 100)
        del kept
        gc.collect()
        self.assertEqual(len(table), 0)


class RowTests(AccessCase):
    """Which events pass a row filter."""

    def passes(self, destination: str, body: str, **more: Any) -> bool:
        """Say whether an event passes the filter of a token with these claims."""
        row_filter = self.let_in(self.made(), bearer(token(claims(**more)))).row_filter(destination)
        assert row_filter is not None
        return row_filter.matches(LazyRow(Event(destination, "1", body.encode())))

    def test_where_the_field_is(self) -> None:
        only = {"channel_id": ["c1", "c2"]}
        for destination, body, passes in (
            (MESSAGE, '{"conversation_id":"x","channel_id":"c1","message":{"id":"1"}}', True),
            (MESSAGE, '{"conversation_id":"x","channel_id":"c3","message":{"id":"1"}}', False),
            (MESSAGE, '{"id":"c1","message":{"id":"1","channel_id":"c1"}}', False),
            (CHANNEL_CONNECTED, '{"id":"c2"}', True),
            (CHANNEL_DISCONNECTED, '{"id":"c3"}', False),
            (CHANNEL_CONNECTED, '{"id":"x","channel_id":"c1"}', False),
            ("/queue/own", '{"channel_id":"c1"}', True),
            ("/queue/own", '{"id":"c1"}', False),
            (EVENTS, '{"type":"message.created","payload":{"channel_id":"c1"}}', True),
            (EVENTS, '{"type":"message.created","payload":{"channel_id":"c3"},"channel_id":"c1"}', False),
            (EVENTS, '{"type":"channel.updated","payload":{"id":"c1"}}', True),
            (EVENTS, '{"type":"channel.updated","payload":{"id":"c3","channel_id":"c1"}}', False),
            (EVENTS, '{"channel_id":"c1"}', False),
            (EVENTS, '{"type":"message.created","payload":"c1","channel_id":"c1"}', False),
        ):
            self.assertEqual(self.passes(destination, body, only=only), passes, (destination, body))

    def test_missing(self) -> None:
        """An event without the field is hidden, unless the token says otherwise."""
        only = {"channel_id": ["c1"]}
        for destination, body in (
            (UNREAD_COUNT, '{"conversation_id":"x","unread_message_count":1,"timestamp":"now"}'),
            (MESSAGE, '{"conversation_id":"x"}'),
            (MESSAGE, '{"channel_id":null}'),
            (MESSAGE, '{"channel_id":["c1"]}'),
            (MESSAGE, '{"channel_id":1}'),
            (EVENTS, '{"type":"tag.updated","payload":{"id":"c1"}}'),
        ):
            self.assertFalse(self.passes(destination, body, only=only), body)
            self.assertTrue(self.passes(destination, body, only=only, missing="allow"), body)
        self.assertFalse(self.passes(MESSAGE, '{"channel_id":"c2"}', only=only, missing="allow"))

    def test_a_destination_without_the_field_is_refused(self) -> None:
        only = {"channel_id": ["c1"]}
        door = self.made()
        strict = self.let_in(door, bearer(token(claims(only=only))))
        self.assertFalse(strict.may_subscribe(UNREAD_COUNT))
        self.assertTrue(strict.may_subscribe(MESSAGE) and strict.may_subscribe("/events"))
        self.assertTrue(
            self.let_in(door, bearer(token(claims(only=only, missing="allow")))).may_subscribe(UNREAD_COUNT)
        )
        by_conversation = self.let_in(door, bearer(token(claims(only={"conversation_id": ["x"]}))))
        self.assertFalse(by_conversation.may_subscribe(CHANNEL_CONNECTED))
        self.assertTrue(by_conversation.may_subscribe(UNREAD_COUNT))

    def test_all_fields_must_match(self) -> None:
        only = {"channel_id": ["c1"], "source": ["facebook"]}
        self.assertTrue(self.passes(MESSAGE, '{"channel_id":"c1","source":"facebook"}', only=only))
        self.assertFalse(self.passes(MESSAGE, '{"channel_id":"c1","source":"google"}', only=only))
        self.assertFalse(self.passes(MESSAGE, '{"channel_id":"c1"}', only=only))

    def test_no_value_hides_all(self) -> None:
        self.assertFalse(self.passes(MESSAGE, '{"channel_id":""}', only={"channel_id": []}))

    def test_as_it_is_written(self) -> None:
        """Escapes and lone surrogates, which JSON allows, don't break the filter."""
        only = {"channel_id": ["c1", "é/"]}
        for body, passes in (
            (r'{"channel_id":"\u00e9\/"}', True),
            (r'{"ch\u0061nnel_id":"c1"}', True),
            (r'{"text":"\ud83d","channel_id":"c1"}', True),
            (r'{"\ud83d":1,"channel_id":"c1"}', True),
            (r'{"channel_id":"c1\ud83d"}', False),
        ):
            self.assertEqual(self.passes(MESSAGE, body, only=only), passes, body)


class DeepTests(AccessCase):
    """A body nested nearly too deeply to be published."""

    def test_it_is_hidden(self) -> None:
        """Deeper in the call stack it cannot be parsed; then the filter hides the event."""
        deep = Event(MESSAGE, "1-1", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
        fields = {"channel_id": frozenset(["1"])}
        for row_filter in (ClaimRowFilter(fields, {}), ClaimRowFilter({}, fields)):
            self.assertFalse(row_filter.matches(LazyRow(deep)))

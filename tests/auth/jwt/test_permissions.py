"""Permissions from claims; equal ones are shared."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from twisted.internet.interfaces import IReactorCore
from zope.interface.verify import verifyObject

from airyd.auth import make_authenticator
from airyd.auth.jwt.claims import ClaimRules, Identity, check_claims, read_object
from airyd.auth.jwt.permissions import PermissionCache, PermissionClaims
from airyd.auth.jwt.row_claims import ClaimRowFilter
from airyd.errors import LoginFault
from airyd.events import CHANNEL_CONNECTED, CHANNEL_DISCONNECTED, EVENTS, MESSAGE, UNREAD_COUNT, Event
from airyd.hub.row_filter import LazyRow
from airyd.interfaces import AuthenticatorContext, IPrincipal
from airyd.patterns import Pattern
from tests.auth.case import NOW, SECRET, USER, AccessCase, bearer, claims, token


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
        table = PermissionCache(PermissionClaims())
        ann = Identity("ann", None, None, None)
        kept = [table.principal(ann, claims(subscribe=[f"/queue/{number}"])) for number in range(100)]
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


class UserDestinationTests(AccessCase):
    """What the claims allow of user destinations, and which events they have."""

    fields: Mapping[str, str] = MappingProxyType({"user_id": "sub"})

    def bearer_of(self, fields: Mapping[str, str] | None = None, **more: Any) -> IPrincipal:
        """Return the principal of a token with these claims beside Airy's."""
        cache = PermissionCache(PermissionClaims(), self.fields if fields is None else fields)
        return cache.principal(Identity(USER, None, None, None), read_object(json.dumps(claims(**more)).encode()))

    def seen(self, principal: IPrincipal, destination: str = MESSAGE, **fields: Any) -> bool:
        """Return whether an event with these fields can be seen on the user destination."""
        row_filter = principal.row_filter(f"/user{destination}")
        assert row_filter is not None
        return row_filter.matches(LazyRow(Event(destination, "1", json.dumps(fields).encode())))

    def test_own_events(self) -> None:
        principal = self.bearer_of()
        verifyObject(IPrincipal, principal)
        for destination in (MESSAGE, UNREAD_COUNT, CHANNEL_CONNECTED, "/own"):
            self.assertTrue(principal.may_subscribe(f"/user{destination}"))
        self.assertIsNone(principal.row_filter(MESSAGE))
        self.assertTrue(self.seen(principal, user_id=USER))
        for wrong in ("bob", "", None, 7, [USER], {"id": USER}, USER.upper(), f"{USER} "):
            self.assertFalse(self.seen(principal, user_id=wrong), wrong)
        self.assertFalse(self.seen(principal, owner=USER))
        self.assertTrue(self.seen(principal, "/events", type="message.created", payload={"user_id": USER}))
        self.assertFalse(self.seen(principal, "/events", type="message.created", payload={}, user_id=USER))

    def test_several_values(self) -> None:
        """A list of any length, in any order, with repetitions; equal ones give equal filters."""
        channels = [f"c{number}" for number in range(2000)]
        first = self.bearer_of({"channel_id": "channels"}, channels=channels)
        second = self.bearer_of({"channel_id": "channels"}, channels=[*reversed(channels), *channels])
        self.assertEqual(first.row_filter(f"/user{MESSAGE}"), second.row_filter(f"/user{MESSAGE}"))
        for channel, passes in (("c0", True), ("c1999", True), ("c2000", False), ("c", False)):
            self.assertEqual(self.seen(first, channel_id=channel), passes, channel)

    def test_malformed_claim(self) -> None:
        """The login succeeds, and everything else is allowed."""
        for wrong in (None, "", [], [""], ["a", ""], ["a", 7], ["a", None], [["a"]], 7, 0, 1.5, True, {}, {"a": "b"}):
            principal = self.bearer_of({"user_id": "owner"}, **({} if wrong is None else {"owner": wrong}))
            self.assertFalse(principal.may_subscribe(f"/user{MESSAGE}"), wrong)
            self.assertIsNone(principal.row_filter(f"/user{MESSAGE}"), wrong)
            self.assertTrue(principal.may_subscribe(MESSAGE), wrong)
        null = PermissionCache(PermissionClaims(), {"user_id": "owner"}).principal(
            Identity(USER, None, None, None), {"owner": None}
        )
        self.assertFalse(null.may_subscribe(f"/user{MESSAGE}"))
        self.assertFalse(self.bearer_of({"user_id": "User_id"}).may_subscribe(f"/user{MESSAGE}"))

    def test_several_fields(self) -> None:
        """An event must match all of them; each needs its claim, and a place in the destination's bodies."""
        fields = {"user_id": "sub", "channel_id": "channels"}
        principal = self.bearer_of(fields, channels=["c1", "c2"])
        self.assertTrue(self.seen(principal, user_id=USER, channel_id="c2"))
        self.assertFalse(self.seen(principal, user_id=USER, channel_id="c3"))
        self.assertFalse(self.seen(principal, user_id=USER))
        self.assertFalse(self.seen(principal, channel_id="c2"))
        self.assertTrue(principal.may_subscribe(f"/user{CHANNEL_CONNECTED}"))
        self.assertFalse(principal.may_subscribe(f"/user{UNREAD_COUNT}"))
        self.assertFalse(self.bearer_of(fields).may_subscribe(f"/user{MESSAGE}"))

    def test_a_destination_without_the_field(self) -> None:
        principal = self.bearer_of({"conversation_id": "sub"}, missing="allow", only={"source": ["x"]})
        self.assertTrue(principal.may_subscribe(f"/user{UNREAD_COUNT}"))
        self.assertFalse(principal.may_subscribe(f"/user{CHANNEL_DISCONNECTED}"))
        self.assertTrue(principal.may_subscribe(CHANNEL_DISCONNECTED))

    def test_patterns(self) -> None:
        """Only those that begin with /user/ mean user destinations, and these mean nothing else."""
        user, plain = f"/user{MESSAGE}", MESSAGE
        for patterns, allowed in (
            (None, {user, plain}),
            ([], set()),
            (["/**"], {plain}),
            (["/queue/**"], {plain}),
            (["/*/queue/message"], set()),
            (["/*/queue/**"], set()),
            (["/*/*/*"], set()),
            (["/user/**"], {user}),
            (["/user/queue/*"], {user}),
            (["/user/*/message"], {user}),
            ([user], {user}),
            (["/user/*", "/user", "/users/**", "/user//queue/message"], set()),
            (["/queue/*", "/user/queue/message"], {user, plain}),
        ):
            principal = self.bearer_of(subscribe=patterns)
            found = {name for name in (user, plain) if principal.may_subscribe(name)}
            self.assertEqual(found, allowed, patterns)

    def test_thousands_of_names(self) -> None:
        """They are looked up: a client with such a token may subscribe, and refresh the token, often."""
        names = [f"/user/app/room-{number}" for number in range(2000)]
        principal = self.bearer_of(subscribe=[*names, "/queue/*"], send=[name.removeprefix("/user") for name in names])
        asked: list[str] = []
        matches = Pattern.matches

        def count(pattern: Pattern, destination: str) -> bool:
            asked.append(pattern.text)
            return matches(pattern, destination)

        self.patch(Pattern, "matches", count)
        for room, is_allowed in (("1999", True), ("2000", False)):
            may = principal.may_subscribe(f"/user/app/room-{room}"), principal.may_send(f"/app/room-{room}")
            self.assertEqual(may, (is_allowed, is_allowed))
        self.assertTrue(principal.may_subscribe(MESSAGE))
        self.assertEqual(asked, ["/queue/*"])

    def test_only_applies_too(self) -> None:
        principal = self.bearer_of(only={"channel_id": ["c1"]})
        self.assertTrue(self.seen(principal, user_id=USER, channel_id="c1"))
        self.assertFalse(self.seen(principal, user_id=USER, channel_id="c2"))
        self.assertFalse(self.seen(principal, user_id="bob", channel_id="c1"))
        self.assertFalse(self.seen(principal, user_id=USER))
        self.assertFalse(principal.may_subscribe(f"/user{UNREAD_COUNT}"))

    def test_a_missing_field_of_the_user_hides_the_event(self) -> None:
        """Even with ``missing: allow``, which is about the fields of ``only``."""
        principal = self.bearer_of(only={"channel_id": ["c1"]}, missing="allow")
        self.assertTrue(self.seen(principal, user_id=USER))
        self.assertTrue(self.seen(principal, user_id=USER, channel_id="c1"))
        self.assertFalse(self.seen(principal, user_id=USER, channel_id="c2"))
        self.assertFalse(self.seen(principal, channel_id="c1"))
        self.assertTrue(principal.may_subscribe(f"/user{UNREAD_COUNT}"))

    def test_the_same_field_in_both(self) -> None:
        """The values that are in both."""
        for more in ({}, {"missing": "allow"}):
            principal = self.bearer_of(
                {"channel_id": "channels"}, channels=["c1", "c2"], only={"channel_id": ["c2", "c3"]}, **more
            )
            found = [self.seen(principal, channel_id=each) for each in ("c1", "c2", "c3")]
            self.assertEqual(found, [False, True, False])
            self.assertFalse(self.seen(principal, conversation_id="x"))
            none = self.bearer_of({"channel_id": "sub"}, only={"channel_id": ["c2"]}, **more)
            self.assertFalse(self.seen(none, channel_id="c2") or self.seen(none, channel_id=USER))

    def test_without_the_option(self) -> None:
        """``/user/...`` is a destination like any other then."""
        principal = self.bearer_of({}, subscribe=["/**"], only={"channel_id": ["c1"]})
        self.assertTrue(principal.may_subscribe("/user/x"))
        self.assertTrue(self.seen(principal, "/x", channel_id="c1"))

    def test_the_option_reaches_the_login(self) -> None:
        context = AuthenticatorContext(
            cast(IReactorCore, self.clock),
            lambda: NOW,
            {"SECRET": SECRET},
            user_destinations={"user_id": "user_id"},
        )
        door = make_authenticator("jwt:secret-env=SECRET", context)
        self.assertTrue(self.seen(self.let_in(door, bearer(token())), user_id=USER))

    def test_one_filter_for_equal_claims(self) -> None:
        cache = PermissionCache(PermissionClaims(), {"team": "team"})
        first, second = (
            cache.principal(Identity(name, None, None, None), {"team": "t1"}).row_filter(f"/user{MESSAGE}")
            for name in ("ann", "bob")
        )
        self.assertIs(first, second)

    def test_little_is_kept_for_a_user(self) -> None:
        """A principal with a filter of its own takes less than 600 bytes."""
        cache = PermissionCache(PermissionClaims(), self.fields)

        def principal(number: int, **more: Any) -> IPrincipal:
            made = claims(sub=f"user-{number:031}", exp=number + 2e9, iat=number + 2e9, **more)
            made["jti"] = made["sub"]
            text = json.dumps(made).encode()
            read = read_object(text)
            return cache.principal(check_claims(read, ClaimRules(), 2e9 - 1), read)

        for more in ({}, {"subscribe": ["/user/**"]}):
            keep = [principal(0, **more)] * 2000
            gc.collect()
            tracemalloc.start()
            try:
                for number in range(len(keep)):
                    keep[number] = principal(number, **more)
                gc.collect()
                self.assertLess(tracemalloc.get_traced_memory()[0] / len(keep), 600)
            finally:
                tracemalloc.stop()


class DeepTests(AccessCase):
    """A body nested nearly too deeply to be published."""

    def test_it_is_hidden(self) -> None:
        """Deeper in the call stack it cannot be parsed; then the filter hides the event."""
        deep = Event(MESSAGE, "1-1", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
        fields = {"channel_id": frozenset(["1"])}
        for row_filter in (ClaimRowFilter(fields, {}), ClaimRowFilter({}, fields)):
            self.assertFalse(row_filter.matches(LazyRow(deep)))

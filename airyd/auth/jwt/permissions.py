"""Permissions from claims: the destinations a token may subscribe and send to, and its row filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from types import MappingProxyType
from typing import Final
from weakref import WeakValueDictionary, ref

from zope.interface import implementer

from airyd.auth.jwt.claims import Claims, Identity
from airyd.auth.jwt.row_claims import ClaimRowFilter
from airyd.errors import LoginFault, LoginRefused
from airyd.events import RESERVED_PREFIX, USER_PREFIX, RowFilter, plain_destination
from airyd.interfaces import IRevocable
from airyd.limits import LONGEST_PATTERN
from airyd.patterns import ANY_SEGMENT, Pattern

_ALLOW: Final = "allow"
#: How many row filters are remembered to be shared.
_RECENT: Final = 1024

_Fields = dict[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class PermissionClaims:
    """The names of the claims that grant permissions.

    :ivar subscribe: a list of patterns; without it every destination is allowed
    :ivar send: a list of patterns; without it no destination is allowed
    :ivar only: an object of fields, each with a list of the values that may be seen
    :ivar missing: ``"allow"`` passes events that lack such a field
    """

    subscribe: str = "subscribe"
    send: str = "send"
    only: str = "only"
    missing: str = "missing"


class _Patterns:
    """A list of patterns, of which a token may have thousands; those without an asterisk are looked up."""

    __slots__ = ("_names", "_wild")

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._names = frozenset(pattern.text for pattern in patterns if ANY_SEGMENT not in pattern.text)
        self._wild = tuple(pattern for pattern in patterns if ANY_SEGMENT in pattern.text)

    def match(self, destination: str, prefix: str = "") -> bool:
        """Return whether a pattern that begins with the prefix matches a destination that begins with it."""
        return destination in self._names or any(
            pattern.matches(destination) for pattern in self._wild if pattern.text.startswith(prefix)
        )


class Permissions:
    """The destinations that principals may subscribe and send to; made and shared by :class:`PermissionCache`.

    Nobody may SEND to airyd's own destinations (``/airyd/...``).

    :ivar authority: the cache that made it, which stands for its authenticator
    """

    __slots__ = ("__weakref__", "_send", "_subscribe", "authority")

    def __init__(
        self, authority: PermissionCache, subscribe: Sequence[Pattern] | None, send: Sequence[Pattern]
    ) -> None:
        self.authority = authority
        self._subscribe = None if subscribe is None else _Patterns(subscribe)
        self._send = _Patterns(send)

    def may_subscribe(self, destination: str) -> bool:
        """Return whether the claims allow a destination.

        Only patterns that begin with ``/user/`` allow user destinations.
        """
        prefix = USER_PREFIX if self.authority.is_user_destination(destination) else ""
        return self._subscribe is None or self._subscribe.match(destination, prefix)

    def may_send(self, destination: str) -> bool:
        """See ``IPrincipal``."""
        return not destination.startswith(RESERVED_PREFIX) and self._send.match(destination)


@implementer(IRevocable)
class TokenPrincipal:
    """The principal of a token. Principals with equal claims share their permissions, and usually their filters.

    airyd's own destinations (``/airyd/...``) are open to every subscriber, without a row filter.

    :param row_filter: which events of plain destinations are visible; None for all
    :param user_filter: which events of user destinations are visible; None if none may be subscribed to
    """

    __slots__ = ("_permissions", "_row_filter", "_user_filter", "expires", "issued", "jti", "name")

    def __init__(
        self,
        identity: Identity,
        permissions: Permissions,
        row_filter: ClaimRowFilter | None,
        user_filter: ClaimRowFilter | None,
    ) -> None:
        self.name, self.expires, self.jti, self.issued = identity
        self._permissions = permissions
        self._row_filter = row_filter
        self._user_filter = user_filter

    @property
    def authority(self) -> object:
        """See ``IPrincipal``."""
        return self._permissions.authority

    def may_subscribe(self, destination: str) -> bool:
        """See ``IPrincipal``."""
        if destination.startswith(RESERVED_PREFIX):
            return True
        if not self._permissions.may_subscribe(destination):
            return False
        if self._permissions.authority.is_user_destination(destination):
            return self._user_filter is not None and self._user_filter.may_match(plain_destination(destination))
        return self._row_filter is None or self._row_filter.may_match(destination)

    def may_send(self, destination: str) -> bool:
        """See ``IPrincipal``."""
        return self._permissions.may_send(destination)

    def row_filter(self, destination: str) -> RowFilter | None:
        """See ``IPrincipal``."""
        if destination.startswith(RESERVED_PREFIX):
            return None
        is_user_destination = self._permissions.authority.is_user_destination(destination)
        return self._user_filter if is_user_destination else self._row_filter


_Key = tuple[tuple[str, ...] | None, tuple[str, ...]]


class PermissionCache:
    """Makes principals from claims; those with equal claims share what is equal. Each authenticator has one cache.

    Permissions are shared always. Equal filters are shared among principals that log in about the same time: a table
    of all filters would take 150 bytes for each of the many clients that have a filter of their own.

    :param user_fields: the claim for each field that the events of user destinations are filtered by; empty if there
        are no user destinations
    """

    def __init__(self, names: PermissionClaims, user_fields: Mapping[str, str] = MappingProxyType({})) -> None:
        self._names = names
        self._user_fields = user_fields
        self._shared: WeakValueDictionary[_Key, Permissions] = WeakValueDictionary()
        self._recent: dict[int, ref[ClaimRowFilter]] = {}

    def __len__(self) -> int:
        return len(self._shared)

    def is_user_destination(self, destination: str) -> bool:
        """Return whether a name is that of a user destination."""
        return bool(self._user_fields) and destination.startswith(USER_PREFIX)

    def principal(self, identity: Identity, claims: Claims) -> TokenPrincipal:
        """Return the principal of a token; a malformed claim refuses the login.

        A malformed claim of user destinations refuses only these.

        Errors: ``LoginRefused``.
        """
        names = self._names
        only, optional = _only(claims, names)
        user = _user_values(claims, self._user_fields)
        row_filter = self._share(ClaimRowFilter(only, optional)) if only or optional else None
        user_filter = None
        if user is not None:
            for field, values in user.items():
                user[field] = values & only.get(field, optional.pop(field, values))
            user_filter = self._share(ClaimRowFilter({**only, **user}, optional))
        return TokenPrincipal(identity, self._permissions(claims), row_filter, user_filter)

    def _permissions(self, claims: Claims) -> Permissions:
        names = self._names
        key = subscribe, send = _texts(claims, names.subscribe), _texts(claims, names.send) or ()
        permissions = self._shared.get(key)
        if permissions is None:
            subscribed = None if subscribe is None else _patterns(names.subscribe, subscribe)
            permissions = self._shared[key] = Permissions(self, subscribed, _patterns(names.send, send))
        return permissions

    def _share(self, row_filter: ClaimRowFilter) -> ClaimRowFilter:
        """Return an equal filter that was made not long ago, or this one."""
        place = hash(row_filter) % _RECENT
        reference = self._recent.get(place)
        known = None if reference is None else reference()
        if known == row_filter:
            return known
        self._recent[place] = ref(row_filter)
        return row_filter


def _texts(claims: Claims, name: str) -> tuple[str, ...] | None:
    if name not in claims:
        return None
    return _list(claims[name], name)


def _list(value: object, name: str) -> tuple[str, ...]:
    """Return a list of strings sorted and without duplicates, so that equal claims compare equal."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise LoginRefused(LoginFault.CLAIM, f"the claim {name!r} is not a list of strings")
    return tuple(sorted(set(value)))


def _patterns(name: str, texts: Sequence[str]) -> Sequence[Pattern]:
    try:
        return tuple(_pattern(text) if len(text) <= LONGEST_PATTERN else Pattern(text) for text in texts)
    except ValueError as error:
        raise LoginRefused(LoginFault.CLAIM, f"the claim {name!r}: {error}") from None


#: Cached, because many clients share few patterns; long ones match nothing, and would only take memory.
_pattern = lru_cache(maxsize=1000)(Pattern)


def _only(claims: Claims, names: PermissionClaims) -> tuple[_Fields, _Fields]:
    """Return the visible values of the fields that an event must have, and of those that it may lack."""
    missing = claims.get(names.missing)
    if missing not in (None, _ALLOW):
        raise LoginRefused(LoginFault.CLAIM, f'the claim {names.missing!r} is not "{_ALLOW}"')
    if names.only not in claims:
        return {}, {}
    only = claims[names.only]
    if not isinstance(only, Mapping) or not only:
        raise LoginRefused(LoginFault.CLAIM, f"the claim {names.only!r} is not an object with fields")
    # Many tokens name the same few fields, which they share.
    fields = {intern(field): frozenset(_list(each, f"{names.only}.{field}"[:100])) for field, each in only.items()}
    return ({}, fields) if missing == _ALLOW else (fields, {})


def _user_values(claims: Claims, user_fields: Mapping[str, str]) -> _Fields | None:
    """Return the values of each field of user destinations; None without such fields, or if a claim is malformed.

    A claim must be text or a list of texts. No text may be empty: an event without an owner may have an empty field.
    """
    found = {}
    for field, claim in user_fields.items():
        value = claims.get(claim)
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(each, str) and each for each in values):
            return None
        found[field] = frozenset(values)
    return found or None

"""Permissions from claims: the destinations a token may subscribe and send to, and its row filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from weakref import WeakValueDictionary

from zope.interface import implementer

from airyd.auth.jwt.claims import Claims, Identity
from airyd.auth.jwt.row_claims import ClaimRowFilter
from airyd.errors import LoginFault, LoginRefused
from airyd.events import RESERVED_PREFIX, RowFilter
from airyd.interfaces import IRevocable
from airyd.patterns import Pattern

_ALLOW: Final = "allow"


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


class Permissions:
    """What a principal may do; made and shared by :class:`PermissionCache`.

    airyd's own destinations (``/airyd/...``) are open to every subscriber, without a row filter; nobody may SEND to
    them.

    :ivar authority: the cache that made it, which stands for its authenticator
    :ivar row_filter: which events are visible; None for all
    """

    __slots__ = ("__weakref__", "_send", "_subscribe", "authority", "row_filter")

    def __init__(
        self,
        authority: PermissionCache,
        subscribe: Sequence[Pattern] | None,
        send: Sequence[Pattern],
        row_filter: ClaimRowFilter | None,
    ) -> None:
        self.authority = authority
        self._subscribe = subscribe
        self._send = send
        self.row_filter = row_filter

    def may_subscribe(self, destination: str) -> bool:
        """See ``IPrincipal``."""
        if destination.startswith(RESERVED_PREFIX):
            return True
        if self.row_filter is not None and not self.row_filter.may_match(destination):
            return False
        return self._subscribe is None or any(pattern.matches(destination) for pattern in self._subscribe)

    def may_send(self, destination: str) -> bool:
        """See ``IPrincipal``."""
        return not destination.startswith(RESERVED_PREFIX) and any(
            pattern.matches(destination) for pattern in self._send
        )


@implementer(IRevocable)
class TokenPrincipal:
    """The principal of a token. Principals with equal claims share their permissions."""

    __slots__ = ("_permissions", "expires", "issued", "jti", "name")

    def __init__(self, identity: Identity, permissions: Permissions) -> None:
        self.name, self.expires, self.jti, self.issued = identity
        self._permissions = permissions

    @property
    def authority(self) -> object:
        """See ``IPrincipal``."""
        return self._permissions.authority

    def may_subscribe(self, destination: str) -> bool:
        """See ``IPrincipal``."""
        return self._permissions.may_subscribe(destination)

    def may_send(self, destination: str) -> bool:
        """See ``IPrincipal``."""
        return self._permissions.may_send(destination)

    def row_filter(self, destination: str) -> RowFilter | None:
        """See ``IPrincipal``."""
        return None if destination.startswith(RESERVED_PREFIX) else self._permissions.row_filter


_Key = tuple[tuple[str, ...] | None, tuple[str, ...], ClaimRowFilter | None]


class PermissionCache:
    """Makes permissions from claims; principals with equal claims share them. Each authenticator has one cache."""

    def __init__(self, names: PermissionClaims) -> None:
        self._names = names
        self._shared: WeakValueDictionary[_Key, Permissions] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._shared)

    def permissions(self, claims: Claims) -> Permissions:
        """Return what the claims allow; a malformed claim refuses the login.

        Errors: ``LoginRefused``.
        """
        names = self._names
        subscribe, send = _texts(claims, names.subscribe), _texts(claims, names.send) or ()
        key = (subscribe, send, _row_filter(claims, names))
        permissions = self._shared.get(key)
        if permissions is None:
            subscribed = None if subscribe is None else _patterns(names.subscribe, subscribe)
            permissions = self._shared[key] = Permissions(self, subscribed, _patterns(names.send, send), key[2])
        return permissions


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
        return tuple(map(_pattern, texts))
    except ValueError as error:
        raise LoginRefused(LoginFault.CLAIM, f"the claim {name!r}: {error}") from None


#: Cached, because many clients share few patterns.
_pattern = lru_cache(maxsize=1000)(Pattern)


def _row_filter(claims: Claims, names: PermissionClaims) -> ClaimRowFilter | None:
    missing = claims.get(names.missing)
    if missing not in (None, _ALLOW):
        raise LoginRefused(LoginFault.CLAIM, f'the claim {names.missing!r} is not "{_ALLOW}"')
    if names.only not in claims:
        return None
    only = claims[names.only]
    if not isinstance(only, Mapping) or not only:
        raise LoginRefused(LoginFault.CLAIM, f"the claim {names.only!r} is not an object with fields")
    fields = {field: frozenset(_list(values, f"{names.only}.{field}"[:100])) for field, values in only.items()}
    return ClaimRowFilter({}, fields) if missing == _ALLOW else ClaimRowFilter(fields, {})

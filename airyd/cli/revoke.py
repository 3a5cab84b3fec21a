"""The command ``airyd revoke``: revokes tokens through the admin page, or in the event source itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NoReturn

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorCore, IReactorTime
from zope.interface import implementer

from airyd.cli.admin_client import AdminClient, RequestFailed
from airyd.cli.terminal import Console, visible
from airyd.errors import ConfigurationError, PayloadRefused, SourceUnavailable
from airyd.events import Event
from airyd.interfaces import IEventSink, IEventSource, IRevocationKeeper, SourceContext
from airyd.limits import SOURCE_PATIENCE
from airyd.revocation import Revocation, RevocationKind
from airyd.sources import make_source
from airyd.sources.routing import without_patterns

_UNSURE: Final = "it may be revoked or not: revoking it again is safe"


class RevokeFailed(Exception):
    """The token may not be revoked on all servers; the text says why in one line."""


def keeper_of(url: str, reactor: IReactorCore, wall: Callable[[], float], environ: Mapping[str, str]) -> IEventSource:
    """Return the source that a URL names, without starting it.

    Errors: ``ConfigurationError`` if it does not store revocations; the text contains no password.
    """
    try:
        source = make_source(without_patterns(url), SourceContext(reactor, wall, (), environ=environ))
    except ConfigurationError as error:
        raise ConfigurationError(f"--source: {error}") from None
    if not IRevocationKeeper.providedBy(source):
        raise ConfigurationError(
            f"--source {url.partition(':')[0]}: this source stores no revocations; use the server's admin page"
        )
    return source


async def revoke_in_source(source: IEventSource, revocation: Revocation, clock: IReactorTime) -> Revocation:
    """Store a revocation in a source from :func:`keeper_of`, for all servers that use it.

    Errors: :class:`RevokeFailed`.
    """

    def late(result: object, seconds: float) -> NoReturn:
        raise SourceUnavailable("; ".join(source.health()) or f"no answer within {seconds:g} s")

    starting = maybeDeferred(source.start, _Nobody())
    starting.addErrback(lambda failure: failure.trap(SourceUnavailable) and None)  # stopped before it was reached
    try:
        await IRevocationKeeper(source).revocations.add(revocation).addTimeout(SOURCE_PATIENCE, clock, late)
    except SourceUnavailable as error:
        raise RevokeFailed(f"{str(error).rstrip('.')}; {_UNSURE}") from None
    finally:
        await source.stop()
    return revocation


def revoke_by_admin(client: AdminClient, kind: RevocationKind, name: str) -> Revocation:
    """Revoke through a server's admin page; return the revocation that it made.

    Errors: :class:`RevokeFailed`.
    """
    try:
        reply = client.post("revoke", json.dumps({kind.value: name}).encode(), _UNSURE)
    except RequestFailed as error:
        raise RevokeFailed(str(error)) from None
    if reply.status >= 500:
        raise RevokeFailed(f"{reply.reason.rstrip('.')}; {_UNSURE}")
    if reply.status != 200:
        raise RevokeFailed(reply.reason)
    match reply.value:
        case {"at": int() | float() as at, "until": int() | float() as until} if math.isfinite(at + until):
            return Revocation(kind, name, at, until)
    raise RevokeFailed("the answer does not say what was revoked: is this airyd's admin page?")


def print_revocation(done: Revocation, console: Console) -> None:
    """Print the revocation: as text on a terminal, as JSON in a pipe.

    Errors: ``OutputClosed``.
    """
    kind, name, at, until = done
    if not console.terminal:
        console.write(json.dumps({kind.value: name, "at": at, "until": until}).encode() + b"\n")
        return
    of_subject = f"all tokens of {name} that were issued until {_time(at)}"
    what = f"the token {name}" if kind is RevocationKind.JTI else of_subject
    console.show(visible(f"revoked until {_time(until)}: {what}"))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@implementer(IEventSink)
class _Nobody:
    """A sink that ignores everything."""

    def deliver(self, events: Sequence[Event]) -> None:
        """See ``IEventSink``."""

    def gap(self, destinations: Sequence[str], reason: str) -> None:
        """See ``IEventSink``."""

    def refused(self, destination: str, event_id: str, refusal: PayloadRefused) -> None:
        """See ``IEventSink``."""

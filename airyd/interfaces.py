"""The interfaces between the parts of airyd: event source, sink, authenticator, principal, channel.

``docs/architecture.rst`` has an overview. ``docs/plugins.rst`` shows those that a plugin may use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads, IReactorProcess, IReactorSocket, IReactorTime
from zope.interface import Attribute, Interface

from airyd.errors import Fault, PayloadRefused, StompError
from airyd.events import Event, HistoryPage, InvalidEntry, RowFilter
from airyd.limits import Limits
from airyd.revocation import Revocation


class IServerReactor(IReactorCore, IReactorTime, IReactorFromThreads, IReactorProcess, IReactorSocket):
    """The reactor interfaces that the server uses, besides those of endpoints; every POSIX reactor provides them."""

    sigTerm = Attribute("The handler that the reactor installs for SIGTERM; called with the number and a frame.")


class IEventSink(Interface):
    """Receives the events of a source; the hub implements it. Call it in the reactor's thread only."""

    def deliver(events: Sequence[Event]) -> None:
        """Receive a batch of events, in the feed's order for each destination.

        The sink may call the source from within this call, for instance ``unwatch`` or ``stop``.
        """

    def gap(destinations: Sequence[str], reason: str) -> None:
        """Receive the report that the source may have missed events of these destinations; ``reason`` is for the log.

        Before it returns, the sink calls ``unwatch`` for each of them whose ``watch`` has fired, then ``watch`` with
        ``after_gap`` if the destination still has subscriptions. For the others it calls nothing.
        """

    def refused(destination: str, event_id: str, refusal: PayloadRefused) -> None:
        """Receive the report that an entry of the feed is not a valid event, and that the source left it out."""


class IEventSource(Interface):
    """A feed of events.

    The source chooses the ids: 1 to 100 ASCII letters, digits, dots, hyphens and underscores
    (``airyd.events.EVENT_ID``). They are ordered within a destination. If the feed loses its history at a restart, ids
    contain an epoch, so that an id from before the restart is unknown and never names another event.

    A method that returns a Deferred does not raise: its errors come from the Deferred.
    """

    def start(sink: IEventSink) -> Deferred[None]:
        """Start the source; called once. Fires when the feed has been reached for the first time.

        Until then airyd is not ready (``/readyz``), but clients may connect: ``watch``, ``replay`` and ``publish`` may
        be called; they wait for the feed, or fail. A source that cannot reach its feed keeps trying: after a failed
        start, airyd stays unready until it is restarted. The source must not call the sink before the first ``watch``.
        """

    def stop() -> Deferred[None]:
        """Stop the source; fires when it delivers nothing more and all its connections are closed."""

    def extend(destinations: Sequence[str]) -> None:
        """Also serve these destinations; from now on they may be watched, replayed and published to."""

    def watch(destination: str, after_gap: bool = False) -> Deferred[str]:
        """Start delivering a destination's events to the sink.

        Fires with a position (an id): the sink gets every event ordered after it, and no others. The
        first of these arrives after the Deferred has fired. Called only for a destination that is not
        watched.

        With ``after_gap`` the sink watches anew after a gap. If the source knows which events it still has and has not
        delivered, the position comes before all of these. Otherwise this is a watch like any other; a source that
        never knows may ignore the argument.

        Errors: ``SourceUnavailable``.
        """

    def unwatch(destination: str) -> None:
        """Stop delivering a destination's events; the sink may still get events that are in flight."""

    def replay(destination: str, after: str, limit: int) -> Deferred[HistoryPage]:
        """Read at most ``limit`` events of the history that follow the id ``after``.

        ``after`` is an event's id or a position. If it is unknown, belongs to another source, or events after
        it are lost, fires with ``HistoryPage((), complete=False, more=False)``. The history must be read
        late enough to have every event delivered before this call: the caller keeps only those delivered from now on.

        Errors: ``SourceUnavailable``.
        """

    def order(destination: str, event_id: str) -> tuple[int, ...]:
        """Return a key that orders a destination's ids of one epoch.

        Raises ``ValueError`` for a text that is not an id of this source.
        """

    def publish(destination: str, body: bytes) -> Deferred[str]:
        """Add an event to the feed; fires with its id when the feed has accepted it.

        Events of one destination are published in the order of the calls. The caller has checked the body. If the
        destination is watched, the sink gets the event, too, with the same id. The caller cancels the Deferred after 10
        seconds (``airyd.limits.SOURCE_PATIENCE``); the feed may still accept the event then.

        Errors: ``SourceUnavailable``.
        """

    def health() -> Sequence[str]:
        """Return the problems of the source, one short text each, without secrets; empty if there are none."""


class Lag(NamedTuple):
    """How far a destination is behind its feed.

    :ivar entries: the number of entries of the feed that were not read yet
    :ivar seconds: how long ago the oldest of them was added; 0 if there are none. While the feed does not answer, the
        time since it last answered
    """

    entries: int
    seconds: float


class IMeasuredSource(IEventSource):
    """A source whose feed says when its events were added, so that its delay can be measured."""

    def age(destination: str, event_id: str) -> float | None:
        """Return how many seconds ago an event was added to the feed, at least 0; None if its id does not say it."""

    def lags() -> Mapping[str, Lag]:
        """Return how far each destination that is watched now is behind its feed, for those of which it is known."""

    def reaches() -> Mapping[str, float]:
        """Return how many seconds the history of each destination that is watched now reaches back, where known."""


class IHistorySource(IEventSource):
    """A source that keeps past events, so that a client which reads slowly can get them later (``replay``)."""

    def keeps_history(destination: str) -> bool:
        """Return whether the source keeps past events of a destination."""


class IBrowsableSource(IEventSource):
    """A source in whose history the admin page can look, whether or not a destination is watched."""

    def newest(destination: str, limit: int) -> Deferred[Sequence[Event]]:
        """Read the newest events of the history, at most ``limit``, oldest first; fewer if they are large.

        Errors: ``SourceUnavailable``.
        """

    def find(destination: str, event_id: str) -> Deferred[Event | InvalidEntry | None]:
        """Find an entry of the feed by the id that the feed gave it.

        Fires with the event, with why the entry is not a valid event, or with None if there is no such entry.

        Errors: ``SourceUnavailable``.
        """


class IStatusSource(IEventSource):
    """The source of ``/airyd/status``: notices about the server itself (``airyd.notices``)."""

    def state() -> Event:
        """Return the event that each subscription gets first: the present state of the server."""

    def notice(body: bytes) -> Event:
        """Return a notice to one client as an event, with an id of its own."""


class IRevocationStore(Interface):
    """Stores revocations for all processes that use the same source; starts and stops with that source."""

    def follow(learn: Callable[[Sequence[Revocation]], None]) -> Deferred[None]:
        """Report the stored revocations, then each new one; called at most once, after the start.

        Fires when all revocations that are stored now were reported, however long that takes. A revocation may be
        reported twice. It stays in force even if the store loses it.
        """

    def add(revocation: Revocation) -> Deferred[None]:
        """Store a revocation; fires when it is stored. Repeating it is harmless.

        Errors: ``SourceUnavailable``.
        """

    def health() -> Sequence[str]:
        """Return why new revocations may be missed, one short text each, without secrets; empty if all is well."""


class IRevocationKeeper(Interface):
    """Provided by an ``IEventSource`` that also stores revocations.

    With any other source, a revocation is known only to the process that received it, until that process ends.
    """

    revocations = Attribute("The store: an IRevocationStore.")


class SourceContext(NamedTuple):
    """The reactor, clock and settings of a source, passed in so that tests can replace them.

    :ivar reactor: makes connections, and has monotonic time (``IReactorTime``)
    :ivar wall: returns the wall-clock time in seconds since 1970
    :ivar destinations: the destinations that this source serves; ``extend`` adds more
    :ivar body_limit: largest body of an event, in bytes
    :ivar environ: the process' environment
    :ivar round_trip: called by sources that use Redis, with the seconds of each round trip, for the metrics
    """

    reactor: IReactorCore
    wall: Callable[[], float]
    destinations: Sequence[str]
    body_limit: int = Limits().body
    environ: Mapping[str, str] = MappingProxyType({})
    round_trip: Callable[[float], None] = lambda seconds: None


class Reload(NamedTuple):
    """A reload that was prepared and can't fail any more.

    :ivar changes: what it changes, one short text each, without secrets
    :ivar apply: puts it into force; returns None, or a Deferred that fires when all processes have done so
    :ivar cancel: gives it up
    """

    changes: Sequence[str]
    apply: Callable[[], Deferred[None] | None]
    cancel: Callable[[], None] = lambda: None


class IReloadable(Interface):
    """Provided by an event source or authenticator that can change its files and limits while it runs.

    Without it, a reload leaves the object as it is.
    """

    def prepare_reload(fresh: Any) -> Reload:
        """Prepare to take over what another object of the same URL or spec has read from the files as they are now.

        :param fresh: this other object; it is never started

        Errors: ``ConfigurationError``; then nothing changes.
        """


class IEventSourceParser(Interface):
    """A plugin (``twisted.plugin``) that makes event sources from URLs of one scheme.

    The plugin's module must be cheap to import: import the source's own modules within ``parse``.
    """

    scheme = Attribute("The URL scheme, such as ``redis``: a str.")
    help = Attribute("A few lines for ``--help-sources``: the URL's form and its parameters: a str.")
    shared = Attribute(
        "Whether all processes with the same URL read the same feed; ids may differ: a bool. "
        "If False, airyd refuses ``--workers``."
    )

    def parse(url: str, context: SourceContext) -> IEventSource:
        """Make the source that the URL names, without opening anything.

        Errors: ``ConfigurationError`` whose text contains no password.
        """


class Opening(NamedTuple):
    """The credentials in a client's opening handshake; ``repr`` hides them.

    Texts have one character per byte (latin-1), because HTTP does not define the bytes 80 to FF.

    :ivar authorization: the ``Authorization`` header, of which there is at most one
    :ivar cookie: the ``Cookie`` headers, joined with ``"; "``; the page's origin has been checked
    """

    authorization: str | None = None
    cookie: str | None = None

    def __repr__(self) -> str:
        return "Opening(...)"


#: An opening handshake without credentials.
NO_OPENING: Final = Opening()


class Credentials(NamedTuple):
    """The credentials in a client's CONNECT frame and opening handshake; ``repr`` hides them.

    :ivar headers: all headers of the frame
    :ivar peer: the client's address, for logs
    """

    login: str | None
    passcode: str | None
    headers: Mapping[str, str]
    opening: Opening = NO_OPENING
    peer: str = "nobody"

    def __repr__(self) -> str:
        return "Credentials(...)"


class IPrincipal(Interface):
    """The user of a client, and the user's rights."""

    name = Attribute("The user's name, for logs and metrics: a str.")
    authority = Attribute(
        "The authenticator that vouches for the name, or an object that stands for it. Principals with equal names "
        "and equal authorities are the same user."
    )
    expires = Attribute("The time at which the login ends, in seconds since 1970 (wall clock), or None.")

    def may_subscribe(destination: str) -> bool:
        """Return whether this client may subscribe to the destination, which may be a user destination."""

    def may_send(destination: str) -> bool:
        """Return whether this client may publish to the destination."""

    def row_filter(destination: str) -> RowFilter | None:
        """Return the filter that selects this client's events of the destination; None for all events.

        Of a user destination (``/user/...``), nobody gets all events: None refuses the subscription.
        """


class IRevocable(IPrincipal):
    """A principal that logged in with a token, which can be revoked; its name is the token's subject."""

    jti = Attribute("The token's id, the claim ``jti``: a str, or None.")
    issued = Attribute("The earliest time at which the token was issued, in seconds since 1970 (wall clock), or None.")


class IAuthenticator(Interface):
    """Checks the credentials of clients and returns their principals."""

    public = Attribute("Whether it may be used on an address that is not loopback: a bool.")
    cookies = Attribute("Whether it accepts cookies, which browsers send for requests of any page: a bool.")
    revocable = Attribute("Whether its principals are ``IRevocable``: a bool.")

    def start() -> None:
        """Start background work, such as fetching keys; called once."""

    def stop() -> None:
        """Stop; Deferreds of ``authenticate`` that have not fired may never fire."""

    def takes(credentials: Credentials) -> bool:
        """Return whether this authenticator checks this kind of credentials, valid or not."""

    def authenticate(credentials: Credentials) -> IPrincipal | Deferred[IPrincipal]:
        """Check the credentials of one CONNECT; returns a Deferred only if the check takes time.

        Errors: ``LoginRefused``, ``LoginUnavailable``, raised or from the Deferred.
        """

    def health() -> Sequence[str]:
        """Return why nobody can log in, one short text each, without secrets; empty if logins work."""

    def warnings() -> Sequence[str]:
        """Return the problems that do not prevent logins, in the same form."""


class AuthenticatorContext(NamedTuple):
    """The reactor, clock and environment of an authenticator, passed in so that tests can replace them.

    :ivar reactor: makes connections, and has monotonic time (``IReactorTime``)
    :ivar wall: returns the wall-clock time in seconds since 1970
    :ivar environ: the process' environment
    :ivar token_size: the largest size of a token, in bytes
    :ivar user_destinations: the claim for each field, of ``--user-destinations``; empty if there are none
    """

    reactor: IReactorCore
    wall: Callable[[], float]
    environ: Mapping[str, str] = MappingProxyType({})
    token_size: int = Limits().token_size
    user_destinations: Mapping[str, str] = MappingProxyType({})


class Readiness(NamedTuple):
    """Whether a server, or a part of it, is ready for clients; each problem is one short text without secrets.

    :ivar reasons: why it is not ready; empty if it is
    :ivar warnings: problems that do not keep it from being ready
    """

    reasons: Sequence[str] = ()
    warnings: Sequence[str] = ()


class IAuthenticatorParser(Interface):
    """A plugin (``twisted.plugin``) that makes authenticators from ``name:word:word`` specs."""

    name = Attribute("The spec's first word: a str.")
    help = Attribute("A few lines for ``--help-auth``: a str.")

    def parse(arguments: str, context: AuthenticatorContext) -> IAuthenticator:
        """Make the authenticator; ``arguments`` is the text after the spec's first colon, or empty.

        Errors: ``ConfigurationError`` whose text contains no secret.
        """


class IChannel(Interface):
    """One client's WebSocket connection, as the hub uses it; bytes are sent to it as whole WebSocket frames."""

    direct = Attribute(
        "A callable like ``socket.send``: sends bytes now and returns how many the kernel took. "
        "None while bytes are queued, with TLS, and once the connection closes."
    )
    peer = Attribute("The client's address, for logs: a str.")
    buffered = Attribute("Bytes that are queued for this client: an int.")

    def take_opening() -> Opening:
        """Return the credentials of the opening handshake, and forget them."""

    def send(wire: bytes) -> None:
        """Send framed bytes now, or queue them; ignored once the channel is closing."""

    def ping() -> None:
        """Send a ping; any bytes from the client count as an answer."""

    def send_rest(wire: bytes, count: int) -> None:
        """Queue the rest after ``direct(wire)`` sent only ``count`` bytes (0 if it raised)."""

    def pause() -> None:
        """Stop reading from the client."""

    def resume() -> None:
        """Read from the client again."""

    def close(fault: Fault | None) -> bool:
        """Close the connection after everything sent so far; the close code is the fault's, or 1000 without a fault.

        Returns whether the WebSocket was open: only then can bytes that were sent reach the client. During the opening
        handshake it is not open, and a fault becomes an HTTP error.
        """


class IChannelOwner(Interface):
    """The client, as its channel calls it."""

    def direct_changed() -> None:
        """React to a change of ``channel.direct``: it has become None, or a callable again."""

    def drained() -> None:
        """Continue sending: nothing is buffered for this client any more."""

    def fail(error: StompError) -> None:
        """End the connection with an ERROR, for instance because too many bytes are buffered for the client."""

    def ended() -> None:
        """Stop sending: the connection is closing or lost."""

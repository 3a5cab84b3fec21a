"""The interfaces between the floors (zope.interface; see docs/architecture.rst)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads, IReactorProcess, IReactorSocket, IReactorTime
from zope.interface import Attribute, Interface

from airyd.errors import Fault, PayloadRefused, StompError
from airyd.events import Event, Replay, RowFilter
from airyd.limits import Limits
from airyd.revocation import Revocation


class IServerReactor(IReactorCore, IReactorTime, IReactorFromThreads, IReactorProcess, IReactorSocket):
    """What the server asks of Twisted's reactor, besides what endpoints need. Every reactor of POSIX provides it."""

    sigTerm = Attribute("What the reactor installs for SIGTERM: called with a signal's number and a frame.")


class IEventSink(Interface):
    """Where an event source delivers: the hub."""

    def deliver(events: Sequence[Event]) -> None:
        """Take a batch as it came from the feed, in order per destination."""

    def gap(destinations: Sequence[str], reason: str) -> None:
        """Learn that events of these destinations may have been missed."""

    def refused(destination: str, event_id: str, refusal: PayloadRefused) -> None:
        """Learn that something in the feed was no event, and was left out."""


class IEventSource(Interface):
    """A feed of events.

    Ids are the source's own text (``airyd.events.EVENT_ID``), ordered within a destination, and
    carry an epoch where the feed itself has none, so that an id from before a restart is
    recognised as unknown and never mistaken for another event's.
    """

    def start(sink: IEventSink) -> Deferred[None]:
        """Begin; called once. Fires when the source was reached for the first time.

        The sink must not be called before the first ``watch``.
        """

    def stop() -> Deferred[None]:
        """End; fires when nothing is delivered any more and all connections are closed."""

    def extend(destinations: Sequence[str]) -> None:
        """Learn that the catalogue has these, too: from now on they may be watched, read and published to."""

    def watch(destination: str, after_gap: bool = False) -> Deferred[str]:
        """Deliver this destination's events from now on.

        Fires with the position (an id) from which on every event reaches the sink: each event
        ordered after it, none up to it, and the first of them after this has fired. Called only for a
        destination that isn't watched.

        The sink sets ``after_gap`` to go on after a gap of this destination, which it has unwatched since. The
        source then goes on with all events that it still has and has not delivered, if it knows them; otherwise
        the watch is a new one. A source without such knowledge may ignore the argument.

        Errors: ``SourceUnavailable``.
        """

    def unwatch(destination: str) -> None:
        """Stop delivering this destination's events; the sink may still see what was under way."""

    def replay(destination: str, after: str, limit: int) -> Deferred[Replay]:
        """Read at most ``limit`` events of the history that come after the id ``after``.

        ``after`` is an event's id or a position. An id that is unknown, not this source's, or after which
        something is gone, gives ``Replay((), complete=False, more=False)``. The page must not be older than this
        call: the caller holds what is delivered from now on, not what was before.

        Errors: ``SourceUnavailable``.
        """

    def order(destination: str, event_id: str) -> tuple[int, ...]:
        """Return a key that orders a destination's ids of one epoch.

        Raises ``ValueError`` for what is not an id of this source.
        """

    def publish(destination: str, body: bytes) -> Deferred[str]:
        """Add an event to the feed; fires with its id when the feed has taken it.

        Calls for one destination are taken in their order. The body was checked by the caller.

        Errors: ``SourceUnavailable``.
        """

    def health() -> Sequence[str]:
        """Say what is wrong, one short text each, without secrets; empty when all is well."""


class IStatusSource(IEventSource):
    """The feed of ``/airyd/status``: what airyd says of itself (``airyd.notices``)."""

    def state() -> Event:
        """Return the event that each subscription begins with."""

    def notice(body: bytes) -> Event:
        """Return the event of a notice to one client, with an id of its own."""


class IRevocationStore(Interface):
    """Keeps revocations where all who have the same source find them.

    It begins and ends with that source.
    """

    def follow(learn: Callable[[Sequence[Revocation]], None]) -> Deferred[None]:
        """Tell of all that are kept, and of each that comes, by whomever; called at most once, after the start.

        Fires when all were told that were kept by now, however long that takes. One may be told again, and what was
        told once holds whatever becomes of the store.
        """

    def add(revocation: Revocation) -> Deferred[None]:
        """Keep it; fires when it is kept. Harmless when repeated.

        Errors: ``SourceUnavailable``.
        """

    def health() -> Sequence[str]:
        """Say why revocations may not be heard of, one short text each, without secrets; empty when all is well."""


class IRevocationKeeper(Interface):
    """A source that keeps revocations, too: what an ``IEventSource`` may provide beside.

    With any other source they are known to the process that was told, and end with it.
    """

    revocations = Attribute("Where they are kept: an IRevocationStore.")


class SourceContext(NamedTuple):
    """What a source may use of its surroundings, so that tests can give it others.

    :ivar reactor: monotonic time (``IReactorTime``), connections
    :ivar wall: the wall-clock time in seconds since 1970
    :ivar destinations: the catalogue
    :ivar body_limit: bytes that an event's body may have
    :ivar environ: the process' environment
    """

    reactor: IReactorCore
    wall: Callable[[], float]
    destinations: Sequence[str]
    body_limit: int = Limits().body
    environ: Mapping[str, str] = MappingProxyType({})


class IEventSourceParser(Interface):
    """A plugin (``twisted.plugin``) that makes event sources from URLs of one scheme.

    The plugin object must be cheap to import: import what the source needs within ``parse``.
    """

    scheme = Attribute("The URL scheme, such as ``redis``: a str.")
    help = Attribute("A few lines for ``--help-sources``: the URL's form and its parameters: a str.")
    shared = Attribute("Whether processes with the same URL have the same feed, if not the same ids: a bool.")

    def parse(url: str, context: SourceContext) -> IEventSource:
        """Make the source that the URL names; nothing is opened yet.

        Errors: ``ConfigurationError`` whose text shows no password.
        """


class Opening(NamedTuple):
    """What a client showed in its opening handshake; ``repr`` shows nothing of it.

    Texts have one character per byte (latin-1), since HTTP does not say what the bytes 80 to FF mean.

    :ivar authorization: the ``Authorization`` header; there is never more than one
    :ivar cookie: the ``Cookie`` headers, joined with ``"; "``; only of pages whose origin may connect
    """

    authorization: str | None = None
    cookie: str | None = None

    def __repr__(self) -> str:
        return "Opening(...)"


#: Nothing was shown.
NO_OPENING: Final = Opening()


class Credentials(NamedTuple):
    """What a client showed in its CONNECT frame, and before; ``repr`` shows nothing of it.

    :ivar headers: all headers of the frame
    :ivar peer: who is at the other end, for logs
    """

    login: str | None
    passcode: str | None
    headers: Mapping[str, str]
    opening: Opening = NO_OPENING
    peer: str = "nobody"

    def __repr__(self) -> str:
        return "Credentials(...)"


class IPrincipal(Interface):
    """Who a client is, and what it may do."""

    name = Attribute("For logs and metrics: a str.")
    authority = Attribute(
        "Who vouches for the name: the authenticator, or an object that stands for it. Principals whose names and "
        "authorities are equal are the same user."
    )
    expires = Attribute("Wall-clock seconds since 1970 at which the login ends, or None.")

    def may_subscribe(destination: str) -> bool:
        """Say whether this client may subscribe to the destination."""

    def may_send(destination: str) -> bool:
        """Say whether this client may publish to the destination."""

    def row_filter(destination: str) -> RowFilter | None:
        """Return the filter of what this client sees of the destination; None: all of it."""


class IRevocable(IPrincipal):
    """A principal that came with a token, which can be revoked; its subject is the principal's name."""

    jti = Attribute("The token's own name: a str, or None.")
    issued = Attribute("Wall-clock seconds since 1970 at which the token was issued at the earliest, or None.")


class IAuthenticator(Interface):
    """Decides who a client is."""

    public = Attribute("Whether it may stand on an address that isn't loopback: a bool.")
    cookies = Attribute("Whether it takes cookies, which a browser sends whatever page asks: a bool.")
    revocable = Attribute("Whether those whom it lets in are ``IRevocable``: a bool.")

    def start() -> None:
        """Begin to look after what is needed; called once."""

    def stop() -> None:
        """End; who waits for an answer may not get one any more."""

    def takes(credentials: Credentials) -> bool:
        """Say whether the credentials are of the kind that this one looks at, be they good or bad."""

    def authenticate(credentials: Credentials) -> IPrincipal | Deferred[IPrincipal]:
        """Look at the credentials of one CONNECT; a Deferred only if that takes a while.

        Errors: ``LoginRefused``, ``LoginUnavailable``, raised or from the Deferred.
        """

    def health() -> Sequence[str]:
        """Say why nobody can log in, one short text each, without secrets; empty when somebody can."""

    def warnings() -> Sequence[str]:
        """Say what is wrong although logins work, in the same form."""


class AccessContext(NamedTuple):
    """What an authenticator may use of its surroundings, so that tests can give it others.

    :ivar reactor: monotonic time (``IReactorTime``), connections
    :ivar wall: the wall-clock time in seconds since 1970
    :ivar environ: the process' environment
    """

    reactor: IReactorCore
    wall: Callable[[], float]
    environ: Mapping[str, str] = MappingProxyType({})


class Readiness(NamedTuple):
    """How a server, or a part of it, is: one short text for each thing, without secrets.

    :ivar reasons: why clients should not be sent to it; empty when they may be
    :ivar warnings: what is wrong although they may be
    """

    reasons: Sequence[str] = ()
    warnings: Sequence[str] = ()


class IAuthenticatorParser(Interface):
    """A plugin (``twisted.plugin``) that makes authenticators from ``name:word:word`` specs."""

    name = Attribute("The spec's first word: a str.")
    help = Attribute("A few lines for ``--help-auth``: a str.")

    def parse(arguments: str, context: AccessContext) -> IAuthenticator:
        """Make the authenticator; ``arguments`` is what follows the first colon, or empty.

        Errors: ``ConfigurationError`` whose text shows no secret.
        """


class IChannel(Interface):
    """One client's connection as the hub sees it: bytes that are framed already go down."""

    direct = Attribute(
        "A callable that sends bytes now and returns how many the kernel took, as ``socket.send`` "
        "does; None while bytes are queued, on TLS, and from the close on."
    )
    peer = Attribute("Who is at the other end, for logs: a str.")
    buffered = Attribute("Bytes that wait to be sent to this client: an int.")

    def take_opening() -> Opening:
        """Give away what the client showed in its opening handshake: the channel forgets it."""

    def send(wire: bytes) -> None:
        """Send framed bytes, now or after what waits; ignored once the channel is closing."""

    def ping() -> None:
        """Ask the client to show that it is there; any bytes of it are an answer."""

    def send_rest(wire: bytes, count: int) -> None:
        """Take over after ``direct(wire)`` took only ``count`` bytes (or raised: 0)."""

    def pause() -> None:
        """Read nothing from the client for now."""

    def resume() -> None:
        """Read again."""

    def close(fault: Fault | None) -> bool:
        """End the connection after what was sent before: with the fault's close code, or 1000.

        Returns whether anything could be sent: not during the opening handshake, which then gets an HTTP answer.
        """


class IChannelOwner(Interface):
    """Who hears from a channel."""

    def direct_changed() -> None:
        """``channel.direct`` has become None, or is a callable again."""

    def drained() -> None:
        """Nothing is buffered for this client any more."""

    def fail(error: StompError) -> None:
        """The client must go: what it does not read is more than may be buffered for it."""

    def ended() -> None:
        """Nothing can be sent any more: the connection is closing or lost."""

"""Redis Pub/Sub as an event source (``mode=pubsub``), with an in-memory history, since Redis keeps no messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from secrets import token_hex
from typing import Final, cast

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import ResponseError
from zope.interface import implementer

from airyd import payloads
from airyd.deferreds import all_of
from airyd.errors import PayloadRefused, SourceUnavailable
from airyd.events import Event, HistoryPage, InvalidEntry
from airyd.interfaces import (
    IBrowsableSource,
    IEventSink,
    IHistorySource,
    IReloadable,
    IRevocationKeeper,
    Reload,
    SourceContext,
)
from airyd.sources.history import HISTORY, HISTORY_BYTES, UNKNOWN, History
from airyd.sources.redis.client import RedisClient
from airyd.sources.redis.connection import REPLY_PATIENCE, NotConnected
from airyd.sources.redis.dead_letters import DeadLetters
from airyd.sources.redis.entries import RefusedEntry
from airyd.sources.redis.protocol import Message
from airyd.sources.redis.revocation_stream import RevocationStream

#: Seconds between two PINGs that check whether a silent subscription is alive.
PING_EVERY: Final = 5.0
#: Seconds without a PONG after which Redis is also asked over the other connection; and seconds after its answer there
#: for which the subscription may still stay silent before it counts as dead.
_ASK_ELSEWHERE: Final = REPLY_PATIENCE / 2
_ANSWERED_ELSEWHERE: Final = 1.0

_ID: Final = re.compile(r"((0|[1-9][0-9]{0,15})-[0-9a-f]{12})-(0|[1-9][0-9]{0,19})\Z")


class _PubSubChannel:
    """The channel of a destination, and its history since the connection began.

    :ivar is_new: whether it was added later, and no connection has subscribed to it yet
    :ivar is_watched: whether its events are delivered to the sink
    :ivar published: bodies published by this node that have not come back yet, each with a Deferred for its id
    """

    def __init__(self, key: bytes, destination: str, history: History) -> None:
        self.key = key
        self.destination = destination
        self.is_new = False
        self.history = history
        self.is_watched = False
        self.published: list[tuple[bytes, Deferred[str]]] = []

    def pop_publisher(self, body: bytes) -> Deferred[str] | None:
        """Return the Deferred of the first pending publish with this body; equal bodies are interchangeable."""
        for index, (published, waiting) in enumerate(self.published):
            if published == body:
                del self.published[index]
                return waiting
        return None


@implementer(IBrowsableSource, IHistorySource, IRevocationKeeper, IReloadable)
class RedisPubSub:
    """Subscribes to the channel ``<prefix><destination>`` of each destination; a message is the body of an event.

    Ids are ``<epoch>-<number>``. An epoch is one connection of one node: the time of its start in milliseconds since
    1970, and random digits, because other nodes may start in the same millisecond. The numbers of a destination count
    from 1. An id of an earlier connection cannot be resumed from.

    :param prefix: the prefix of the channels
    :param history: events kept per destination
    :param history_bytes: bytes of bodies kept per destination
    :ivar revocations: see ``IRevocationKeeper``
    """

    _log = Logger()

    def __init__(
        self,
        redis: RedisClient,
        prefix: str,
        context: SourceContext,
        history: int = HISTORY,
        history_bytes: int = HISTORY_BYTES,
    ) -> None:
        self._clock = cast(IReactorTime, context.reactor)
        self._redis = redis
        self._prefix = prefix
        self._wall = context.wall
        self._body_limit = context.body_limit
        self._bounds = (history, history_bytes)
        self._channels = {self._key(name): self._channel(name) for name in context.destinations}
        self._commands = redis.connection("commands", keep_alive=True)
        self._reading = redis.connection("subscriber", subscriber=self)
        self._dead_letters = DeadLetters(self._commands, prefix, "channel", self._clock)
        self.revocations = RevocationStream(redis, self._commands, prefix, self._clock, context.wall)
        self._sink: IEventSink | None = None
        self._checking: Deferred[None] | None = None
        self._silence: str | None = None
        self._asking_elsewhere: Deferred[None] | None = None
        self._answered_elsewhere: float | None = None
        self._began = 0
        self._epoch = ""
        self._interruption: str | None = None

    def start(self, sink: IEventSink) -> Deferred[None]:
        """Start (``IEventSource``)."""
        self._sink = sink
        self._redis.start()
        for connection in (self._commands, self._reading):
            connection.start()
        self._checking = Deferred.fromCoroutine(self._keep_checking())
        self._checking.addErrback(lambda failure: failure.trap(CancelledError, SourceUnavailable) and None)  # stopped
        self._checking.addErrback(lambda failure: self._log.failure("checking the subscription has ended", failure))
        both = all_of([self._commands.connected(), self._reading.connected()])
        return Deferred.fromCoroutine(both).addCallback(lambda _: None)

    def stop(self) -> Deferred[None]:
        """Stop (``IEventSource``)."""
        self._sink = None
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()
        self._fail_publishers(f"{self._redis.name}: not running")
        ends = [self.revocations.stop(), self._commands.stop(), self._reading.stop(), self._redis.stop()]
        return gatherResults(ends).addCallback(lambda _: None)

    def prepare_reload(self, fresh: RedisPubSub) -> Reload:
        """Prepare to use new passwords, TLS files and the new limit of bodies (``IReloadable``)."""
        reload = self._redis.prepare_reload(fresh._redis)

        def apply_all() -> None:
            reload.apply()
            self._body_limit = fresh._body_limit

        return Reload(reload.changes, apply_all)

    def extend(self, destinations: Sequence[str]) -> None:
        """Subscribe to more channels, now or on the next connection (``IEventSource``)."""
        for name in destinations:
            channel = self._channels[self._key(name)] = self._channel(name)
            channel.is_new = True
            self._start_subscribing(channel)

    def _start_subscribing(self, channel: _PubSubChannel) -> None:
        Deferred.fromCoroutine(self._ensure_subscribed(channel)).addErrback(
            self._subscribing_failed, channel.destination
        )

    def _subscribing_failed(self, failure: Failure, destination: str) -> None:
        failure.trap(SourceUnavailable)
        self._log.warn(
            "cannot subscribe to the channel of {destination}: {reason}",
            destination=destination,
            reason=str(failure.value),
        )

    async def _ensure_subscribed(self, channel: _PubSubChannel) -> None:
        """Wait until a connection is subscribed to this channel."""
        await self._reading.connected()
        if not channel.is_new:
            return
        try:  # concurrent callers may repeat the SUBSCRIBE: it does no harm
            await self._reading.command("SUBSCRIBE", channel.key)
        except ResponseError as error:
            raise SourceUnavailable(f"{self._redis.name} refuses to subscribe: {error}") from None
        channel.is_new = False

    def watch(self, destination: str, after_gap: bool = False) -> Deferred[str]:
        """Deliver this destination's events from now on (``IEventSource``)."""
        return Deferred.fromCoroutine(self._watch(self._channels[self._key(destination)]))

    def unwatch(self, destination: str) -> None:
        """Stop delivering this destination's events (``IEventSource``); its history goes on."""
        self._channels[self._key(destination)].is_watched = False

    def replay(self, destination: str, after: str, limit: int) -> Deferred[HistoryPage]:
        """Read a page of history (``IEventSource``); waits for a connection, because a lost one ends the history."""
        return Deferred.fromCoroutine(self._page(self._channels[self._key(destination)], after, limit))

    def keeps_history(self, destination: str) -> bool:
        """Return whether past events are kept (``IHistorySource``)."""
        return min(self._bounds) > 0

    def newest(self, destination: str, limit: int) -> Deferred[Sequence[Event]]:
        """Read the newest events of this connection (``IBrowsableSource``)."""
        return Deferred.fromCoroutine(self._newest(self._channels[self._key(destination)], limit))

    def find(self, destination: str, event_id: str) -> Deferred[Event | InvalidEntry | None]:
        """Find an event of this connection, or a dead letter by its hash (``IBrowsableSource``)."""
        return Deferred.fromCoroutine(self._find(self._channels[self._key(destination)], event_id))

    def order(self, destination: str, event_id: str) -> tuple[int, int]:
        """Return the time of an id's epoch, and its number (``IEventSource``)."""
        match = _ID.match(event_id)
        if match is None:
            raise ValueError("not an id of Redis Pub/Sub")
        return int(match[2]), int(match[3])

    def publish(self, destination: str, body: bytes) -> Deferred[str]:
        """Publish an event (``IEventSource``); fires when it has come back over the subscription."""
        return Deferred.fromCoroutine(self._publish(self._key(destination), body))

    def health(self) -> Sequence[str]:
        """Return which connection is missing, and why (``IEventSource``)."""
        troubles = {"commands": self._commands.trouble, "subscriber": self._reading.trouble or self._silence}
        return [f"{self._redis.name} ({purpose}): {trouble}" for purpose, trouble in troubles.items() if trouble]

    @property
    def channels(self) -> Sequence[bytes]:
        """The channels of all destinations, watched or not, so that their histories are complete.

        Channels added later are subscribed to one by one: if Redis refuses one, the others must not be affected.
        """
        return tuple(key for key, channel in self._channels.items() if not channel.is_new)

    def subscribed(self) -> None:
        """See ``ChannelSubscriber``."""
        self._began = max(self._began + 1, int(self._wall() * 1000))
        self._epoch = f"{self._began}-{token_hex(6)}"
        for channel in self._channels.values():
            channel.history = History(*self._bounds)
        watched = [channel.destination for channel in self._channels.values() if channel.is_watched]
        if watched and self._sink is not None:
            self._sink.gap(watched, f"the subscription was interrupted: {self._interruption}")
        for channel in tuple(self._channels.values()):
            if channel.is_new:
                self._start_subscribing(channel)

    def connection_lost(self, reason: str) -> None:
        """See ``ChannelSubscriber``."""
        self._interruption = reason
        self._fail_publishers(f"{self._redis.name}: {reason}")

    def messages_received(self, messages: list[Message]) -> None:
        """See ``ChannelSubscriber``."""
        self._silence = None
        events: list[Event] = []
        published: list[tuple[Deferred[str], str]] = []
        for key, body in messages:
            channel = self._channels[key]
            try:
                payloads.check(channel.destination, body, self._body_limit)
            except PayloadRefused as refusal:
                self._refuse(key, channel, body, refusal)
                continue
            event = Event(channel.destination, self._id(channel.history.last + 1), body)
            channel.history.append(event)
            if channel.is_watched:
                events.append(event)
            if channel.published and (waiting := channel.pop_publisher(body)) is not None:
                published.append((waiting, event.id))
        if events and self._sink is not None:
            self._sink.deliver(events)
        for waiting, event_id in published:
            waiting.callback(event_id)

    def _refuse(self, key: bytes, channel: _PubSubChannel, body: bytes, refusal: PayloadRefused) -> None:
        """Report an invalid message. It has no id that all nodes know, so a hash of its body stands for the id."""
        if channel.is_watched and self._sink is not None:
            name = sha256(body).hexdigest()[:16]
            self._sink.refused(channel.destination, name, refusal)
            self._dead_letters.copy(key, RefusedEntry(name, body, refusal))

    def _fail_publishers(self, reason: str) -> None:
        """Fail all pending publishes: their events will not come back."""
        for channel in self._channels.values():
            published, channel.published = channel.published, []
            for _, waiting in published:
                waiting.errback(NotConnected(reason))

    async def _watch(self, channel: _PubSubChannel) -> str:
        await self._ensure_subscribed(channel)
        channel.is_watched = True
        return self._id(channel.history.last)

    async def _page(self, channel: _PubSubChannel, after: str, limit: int) -> HistoryPage:
        await self._ensure_subscribed(channel)
        match = _ID.match(after)
        if match is None or match[1] != self._epoch:
            return UNKNOWN
        return channel.history.after(int(match[3]), limit)

    async def _newest(self, channel: _PubSubChannel, limit: int) -> Sequence[Event]:
        await self._ensure_subscribed(channel)
        return channel.history.newest(limit)

    async def _find(self, channel: _PubSubChannel, event_id: str) -> Event | InvalidEntry | None:
        await self._ensure_subscribed(channel)
        match = _ID.match(event_id)
        if match is None:
            return await self._dead_letters.find(channel.key, event_id)
        return channel.history.find(int(match[3])) if match[1] == self._epoch else None

    async def _publish(self, key: bytes, body: bytes) -> str:
        channel = self._channels[key]
        await self._ensure_subscribed(channel)
        await self._commands.connected()
        came_back: Deferred[str] = Deferred()
        mine = (body, came_back)
        channel.published.append(mine)
        try:
            receivers = await self._commands.command("PUBLISH", key, body)
            if receivers == 0:
                raise SourceUnavailable(f"{self._redis.name}: no subscriber received the event, not even this airyd")
            return await came_back
        except ResponseError as error:
            raise SourceUnavailable(f"{self._redis.name} refuses the event: {error}") from None
        finally:
            if mine in channel.published:
                channel.published.remove(mine)
            came_back.addErrback(lambda failure: None)  # it may have failed before the reply to PUBLISH

    async def _keep_checking(self) -> None:
        """Send a PING now and then, because a dead subscription looks like one without messages."""
        while True:
            await deferLater(self._clock, PING_EVERY)
            await self._reading.connected()
            try:
                with suppress(SourceUnavailable, ResponseError):  # the connection reports this itself
                    await self._reading.command("PING", patience=_ASK_ELSEWHERE, is_dead=self._is_dead)
            finally:
                self._silence = self._answered_elsewhere = None
                asking, self._asking_elsewhere = self._asking_elsewhere, None
                if asking is not None:
                    asking.cancel()

    def _is_dead(self, silence: float) -> bool:
        """Return whether the subscription is dead: Redis answers over the other connection, so it is not merely busy.

        Waiting for a busy Redis loses nothing. Closing a subscription loses all messages until the next one.
        """
        if self._asking_elsewhere is None:
            self._asking_elsewhere = Deferred.fromCoroutine(self._ask_elsewhere())
            self._asking_elsewhere.addErrback(lambda failure: failure.trap(CancelledError, SourceUnavailable) and None)
        if silence >= REPLY_PATIENCE:
            self._silence = f"no reply within {REPLY_PATIENCE:g} seconds"
        since = self._answered_elsewhere
        return since is not None and self._clock.seconds() - since >= _ANSWERED_ELSEWHERE

    async def _ask_elsewhere(self) -> None:
        """Send PING over the other connection, and record when Redis answers."""
        while self._answered_elsewhere is None:
            await self._commands.connected()
            with suppress(NotConnected):
                with suppress(ResponseError):  # an error is an answer too
                    await self._commands.command("PING")
                self._answered_elsewhere = self._clock.seconds()

    def _channel(self, destination: str) -> _PubSubChannel:
        return _PubSubChannel(self._key(destination), destination, History(*self._bounds))

    def _key(self, destination: str) -> bytes:
        return f"{self._prefix}{destination}".encode()

    def _id(self, number: int) -> str:
        return f"{self._epoch}-{number}"

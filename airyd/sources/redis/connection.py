"""Connections to Redis that log in, reconnect, detect a dead server, and carry commands and subscriptions.

Twisted's ``ClientService`` isn't used: the login would have to happen in its ``prepareConnection``, and if the
connection is lost there, Twisted raises ``NoTransition``, an error of its own state machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Protocol, TypeVar, cast

from twisted.application.internet import backoffPolicy
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import ResponseError

from airyd.deferreds import all_of
from airyd.errors import SourceUnavailable
from airyd.hostnames import one_line, why_not_connected
from airyd.sources.redis.address import Address, Password
from airyd.sources.redis.protocol import Message, RedisFactory, RedisProtocol, RedisReply, Word
from airyd.sources.redis.server_info import ServerInfo, read_replication_id, read_server_info

#: If a reply is due and no byte has come from Redis for this many seconds, the connection counts as dead: a stopped
#: server, or a network that drops all packets, does not close it.
REPLY_PATIENCE: Final = 5.0
#: Seconds between attempts to connect: the first and the longest delay; up to a second is added at random.
_FIRST_DELAY: Final = 0.1
_LAST_DELAY: Final = 5.0
#: Seconds that closing a connection may take.
_CLOSE_PATIENCE: Final = 1.0
#: Seconds between two keep-alive commands: Redis may close an idle connection after ``timeout`` seconds.
KEEP_ALIVE: Final = 1.0
#: Errors of a Redis that executes no commands for now, or has become a replica: the command may be repeated.
_NOT_NOW: Final = ("LOADING ", "MASTERDOWN ", "BUSY ", "UNBLOCKED ")
#: Redis is at ``maxmemory``: it refuses writes, and every MULTI.
_OUT_OF_MEMORY: Final = "OOM "
#: Attempts to read a stream that keeps changing.
_READ_ATTEMPTS: Final = 10
_WRONG_PASSWORD: Final = "WRONGPASS "  # noqa: S105  # an error of Redis
#: A replica refuses a write.
_READ_ONLY: Final = "READONLY "

T = TypeVar("T")

#: The trouble of a connection before its first attempt has ended.
NOT_TRIED: Final = "not connected yet"


class NotConnected(SourceUnavailable):
    """There is no connection, or it was lost before the reply."""


class NotExecuted(NotConnected):
    """Redis replied that it does not execute the command now; airyd has closed the connection for that reason."""


class _Login(NamedTuple):
    """The results of a login; :class:`RedisConnection` explains the fields."""

    client_id: int
    replication_id: str
    server_info: ServerInfo


class ChannelSubscriber(Protocol):
    """Subscribes to Pub/Sub channels over a connection.

    :ivar channels: the channels to subscribe to
    """

    @property
    def channels(self) -> Sequence[bytes]:
        """The channels to subscribe to."""

    def subscribed(self) -> None:
        """A new connection has subscribed to all channels; called before :meth:`RedisConnection.connected` fires."""

    def messages_received(self, messages: list[Message]) -> None:
        """Process the messages of one read, in order."""

    def connection_lost(self, reason: str) -> None:
        """React to the loss of the connection."""


class RedisConnection:
    """Keeps one connection to Redis, logged in, and sends commands over it in order.

    :param is_numbered: whether to read :attr:`client_id` at login
    :param purpose: what the connection is for, in the log
    :param must_be_master: whether to accept only a master; the connection is closed when a replica refuses a write
    :param keep_alive: whether to send HELLO at login and every ``KEEP_ALIVE`` seconds. If the master has become a
        replica, the connection is closed: the address may lead to the new master now
    :param subscriber: subscribes to channels over the connection, which then takes no commands but PING and SUBSCRIBE
    :param round_trip: called with the seconds of each command, except for those that may wait longer than others

    :ivar trouble: why there is no connection, without secrets; None while connected
    :ivar generation: the number of connections so far
    :ivar client_id: the CLIENT ID of the current connection
    :ivar replication_id: the master's unique ``master_replid``; "" unless ``must_be_master``
    :ivar server_info: what HELLO said of the server, if ``keep_alive``
    """

    _log = Logger()

    def __init__(
        self,
        address: Address,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        purpose: str,
        *,
        is_numbered: bool = True,
        must_be_master: bool = False,
        keep_alive: bool = False,
        subscriber: ChannelSubscriber | None = None,
        round_trip: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.trouble: str | None = NOT_TRIED
        self.generation = 0
        self.client_id = 0
        self.replication_id = ""
        self.server_info = ServerInfo()
        self._address = address
        self._endpoint = endpoint
        self._clock = clock
        self._password = Password(address)
        self._purpose = purpose
        self._delay = backoffPolicy(_FIRST_DELAY, _LAST_DELAY, factor=2.0)
        self._is_numbered = is_numbered
        self._must_be_master = must_be_master
        self._keeps_alive = keep_alive
        self._subscriber = subscriber
        self._round_trip = round_trip
        self._protocol: RedisProtocol | None = None
        self._waiting: list[Deferred[None]] = []
        self._keeping: Deferred[None] | None = None
        self._is_running = False
        self._unanswered = 0
        self._next_hello: IDelayedCall | None = None
        self._finding_master: Deferred[None] | None = None
        self._refused_writes = 0
        self._patient_until = 0.0

    @property
    def name(self) -> str:
        """The name of the address, for logs and errors."""
        return self._address.name

    def start(self) -> None:
        """Connect, and reconnect whenever the connection is lost."""
        self._is_running = True
        self._keeping = Deferred.fromCoroutine(self._keep_connected())
        self._keeping.addErrback(self._keeping_failed)

    def stop(self) -> Deferred[None]:
        """Close the connection; fires when it is closed. Deferreds of :meth:`connected` that have not fired fail."""
        self._is_running = False
        keeping, self._keeping = self._keeping, None
        protocol, self._protocol = self._protocol, None
        self.trouble = "stopped"
        self._stop_hello()
        if self._finding_master is not None:
            self._finding_master.cancel()
        closed: Deferred[None] = succeed(None)
        if protocol is not None:
            bound = self._clock.callLater(_CLOSE_PATIENCE, protocol.hang_up, "stopped")
            closed = protocol.whenDisconnected().addCallback(lambda _: bound.cancel() if bound.active() else None)
            protocol.transport.loseConnection()
        if keeping is not None:
            keeping.cancel()
        while self._waiting:
            self._waiting.pop(0).errback(self._stopped())
        return closed

    def connected(self) -> Deferred[None]:
        """Wait for a connection; fires at once if there is one.

        Errors: ``SourceUnavailable`` if this is stopped.
        """
        if self._protocol is not None and not self._protocol.is_over:
            return succeed(None)
        if not self._is_running:
            return fail(self._stopped())
        waiter: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return waiter

    def command(
        self, *words: Word, patience: float = REPLY_PATIENCE, is_dead: Callable[[float], bool] | None = None
    ) -> Deferred[RedisReply]:
        """Send a command over the current connection; fires with the reply.

        :param patience: seconds without any byte from Redis after which the connection is closed; a reply may take
            longer while bytes arrive
        :param is_dead: called after each such silence, with its length in seconds; the connection is closed only if
            this returns True

        Errors: ``ResponseError`` with the error of Redis; ``NotConnected`` if there is no connection, or it is lost
        before the reply: then Redis may have executed the command.
        """
        if self._protocol is None or self._protocol.is_over:
            return fail(NotConnected(f"{self._address.name}: {self.trouble or 'the connection is closing'}"))
        return self._send(self._protocol, words, patience, is_dead)

    def pipeline(self, commands: Sequence[bytes], *, patience: float = REPLY_PATIENCE) -> Deferred[list[RedisReply]]:
        """Send encoded commands in one write; fires with all replies, after the last one.

        Redis executes the later commands right after the first one, even if that blocks.

        Errors: as for :meth:`command`, except that an error of a later command is its reply.
        """
        if self._protocol is None or self._protocol.is_over:
            return fail(NotConnected(f"{self._address.name}: {self.trouble or 'the connection is closing'}"))
        sent = self._protocol.execute_all(commands).addCallback(_first_succeeded)
        return self._supervise(self._protocol, sent, patience)

    async def transaction(self, *commands: Sequence[Word]) -> list[RedisReply]:
        """Execute commands in one MULTI, and return their replies; an error of one command is its reply.

        At ``maxmemory`` Redis refuses every MULTI. Commands that read one stream, one of which is XINFO STREAM, are
        then sent without MULTI (:meth:`_read_unchanged`).

        Errors: as for :meth:`command`.
        """
        try:
            replies = await all_of([self.command(*words) for words in (("MULTI",), *commands, ("EXEC",))])
        except ResponseError as error:
            info = next((words for words in commands if words[0] == "XINFO"), None)
            if info is None or not str(error).startswith(_OUT_OF_MEMORY):
                raise
            return await self._read_unchanged(commands, info)
        done = replies[-1]
        if not isinstance(done, list):
            raise SourceUnavailable(f"{self._address.name}: a transaction was not executed")
        return done

    async def _read_unchanged(self, commands: Sequence[Sequence[Word]], info: Sequence[Word]) -> list[RedisReply]:
        """Read a stream until it does not change during the read: two XINFOs around it must be equal.

        Each change shows in XINFO. XADD changes the last id and ``entries-added``. XDEL changes the largest deleted id
        or the length. Trimming changes the first entry and the length. DEL and a new stream change the counters. (DEL
        and RESTORE of the same stream would not show, but at ``maxmemory`` Redis refuses RESTORE.)
        """
        for _ in range(_READ_ATTEMPTS):
            asked = (info, *commands, info)
            before, *replies, after = await all_of([answer_of(self.command(*words)) for words in asked])
            if before == after or (isinstance(before, Exception) and str(before) == str(after)):
                return replies
        raise SourceUnavailable(f"{self._address.name}: the stream kept changing while it was read")

    def _send(
        self,
        protocol: RedisProtocol,
        words: Sequence[Word],
        patience: float,
        is_dead: Callable[[float], bool] | None = None,
    ) -> Deferred[RedisReply]:
        return self._supervise(protocol, protocol.execute_command(*words), patience, is_dead)

    def _supervise(
        self,
        protocol: RedisProtocol,
        sent: Deferred[T],
        patience: float,
        is_dead: Callable[[float], bool] | None = None,
    ) -> Deferred[T]:
        """Close the connection if the reply does not come; turn failures into those of :meth:`command`."""
        self._unanswered += 1
        sent_at = self._clock.seconds()
        reads, silence = protocol.reads, 0.0
        overdue = self._clock.callLater(patience, lambda: wait(patience))

        def wait(passed: float) -> None:
            nonlocal overdue, reads, silence
            # If bytes have arrived, Redis is alive: the reply waits behind a large one.
            silence = silence + passed if protocol.reads == reads else 0.0
            reads = protocol.reads
            if silence and (is_dead is None or is_dead(silence)):
                protocol.time_out(silence)
            else:
                again = min(patience, REPLY_PATIENCE)
                overdue = self._clock.callLater(again, wait, again)

        def finish(result: T | Failure) -> T | Failure:
            self._unanswered -= 1
            if overdue.active():
                overdue.cancel()
            if patience == REPLY_PATIENCE and (not isinstance(result, Failure) or result.check(ResponseError)):
                self._round_trip(self._clock.seconds() - sent_at)
            if not isinstance(result, Failure) or result.check(CancelledError):
                return result
            if result.check(ResponseError):
                error = one_line(result.value)
                was_over = protocol.is_over  # because of an earlier reply in the same read
                if not (error.startswith((_READ_ONLY, *_NOT_NOW)) if was_over else self._must_hang_up(error)):
                    return result
                if not was_over:
                    protocol.hang_up(error)
                raise NotExecuted(f"{self._address.name}: {protocol.end}")
            raise NotConnected(f"{self._address.name}: {protocol.end}")

        return sent.addBoth(finish)

    def _must_hang_up(self, error: str) -> bool:
        """Return whether to close the connection after an error of Redis.

        If Redis refuses write after write (READONLY), the connection is closed with the back-off of reconnects: as
        long as there is no master, airyd must not reconnect for every write.
        """
        if not error.startswith(_READ_ONLY):
            return error.startswith(_NOT_NOW)
        if self._must_be_master:
            return True
        now = self._clock.seconds()
        if now < self._patient_until:
            return False
        self._patient_until = now + self._delay(self._refused_writes)
        self._refused_writes += 1
        if not self.server_info.is_replica:
            return True
        # It was a replica when the connection was made: leave it only for a master.
        if self._finding_master is None or self._finding_master.called:
            self._finding_master = Deferred.fromCoroutine(self._find_master())
            self._finding_master.addErrback(
                lambda failure: (
                    failure.trap(CancelledError, ConnectError, OSError, ResponseError, SourceUnavailable) and None
                )
            ).addErrback(lambda failure: self._log.failure("cannot look for the master", failure))
        return False

    async def _find_master(self) -> None:
        """Open a second connection; if the address now leads to a master, close the current one."""
        protocol, login = await self._connect()
        protocol.transport.abortConnection()
        if login.server_info.is_replica is False and self._protocol is not None:
            self._protocol.hang_up("connected to a replica, but the address now leads to a master")

    async def _keep_connected(self) -> None:
        attempt = 0
        while self._is_running:
            try:
                protocol, login = await self._connect()
            except (ConnectError, OSError, ResponseError, SourceUnavailable) as error:
                attempt += 1
                self._set_trouble(why_not_connected(error, self._address.host).removeprefix(f"{self._address.name}: "))
            else:
                attempt = 0
                self._logged_in(protocol, login)
                await protocol.whenDisconnected()
                self._protocol = None
                self._stop_hello()
                self._set_trouble(protocol.end)
                if self._subscriber is not None:
                    self._subscriber.connection_lost(protocol.end)
            if self._is_running:  # a callback of connected() may have called stop()
                await deferLater(self._clock, self._delay(attempt))

    async def _connect(self) -> tuple[RedisProtocol, _Login]:
        scheme = self._address.name.partition(":")[0]
        factory = RedisFactory(scheme, None if self._subscriber is None else self._messages_received)
        protocol = cast(RedisProtocol, await self._endpoint.connect(factory))
        address = self._address
        client_id, replication_id, info = 0, "", ServerInfo()
        try:
            await self._authenticate(protocol)
            if address.database:
                await self._send(protocol, ("SELECT", address.database), REPLY_PATIENCE)
            if self._is_numbered:
                number = await self._send(protocol, ("CLIENT", "ID"), REPLY_PATIENCE)
                client_id = cast(int, number)
            if self._keeps_alive:
                with suppress(ResponseError):  # Redis 5 has no HELLO
                    info = read_server_info(await self._send(protocol, ("HELLO",), REPLY_PATIENCE))
            # While Redis loads its data it answers all of the above, but not PING.
            with suppress(ResponseError):  # PING may be forbidden; then the next command shows whether Redis is ready
                pong = await self._send(protocol, ("PING",), REPLY_PATIENCE)
                if pong != b"PONG":  # for example a mail server, whose "+OK" is valid RESP
                    protocol.reject()
                    raise SourceUnavailable(protocol.end)
            if self._must_be_master:
                replication_id = read_replication_id(
                    await self._send(protocol, ("INFO", "replication"), REPLY_PATIENCE)
                )
            if self._subscriber is not None:
                channels = self._subscriber.channels
                await all_of([self._send(protocol, ("SUBSCRIBE", each), REPLY_PATIENCE) for each in channels])
        except (ResponseError, SourceUnavailable, CancelledError):
            protocol.transport.abortConnection()
            raise
        return protocol, _Login(client_id, replication_id, info)

    async def _authenticate(self, protocol: RedisProtocol) -> None:
        password, refused = self._password.read(), None
        while password is not None and password != refused:
            login = (self._address.user, password) if self._address.user else (password,)
            try:
                await self._send(protocol, ("AUTH", *login), REPLY_PATIENCE)
            except ResponseError as error:
                if not str(error).startswith(_WRONG_PASSWORD):
                    raise
                # The file may have changed meanwhile.
                refused, password = password, self._password.read()
                if password == refused:
                    raise
            else:
                return

    def _messages_received(self, protocol: RedisProtocol, messages: list[Message]) -> None:
        if protocol is self._protocol and self._subscriber is not None:  # otherwise not all channels are subscribed yet
            self._subscriber.messages_received(messages)

    def _logged_in(self, protocol: RedisProtocol, login: _Login) -> None:
        self._protocol = protocol
        self.client_id, self.replication_id, self.server_info = login
        if self.server_info.is_replica is False:
            self._refused_writes = 0
        if self._keeps_alive:
            self._next_hello = self._clock.callLater(KEEP_ALIVE, self._ask_hello, protocol)
        self.trouble = None
        self.generation += 1
        self._log.info("connected to {redis} for {purpose}", redis=self._address.name, purpose=self._purpose)
        if self._subscriber is not None:
            self._subscriber.subscribed()
        while self._waiting:  # a callback may cancel another waiter
            self._waiting.pop(0).callback(None)

    def _ask_hello(self, protocol: RedisProtocol) -> None:
        self._next_hello = self._clock.callLater(KEEP_ALIVE, self._ask_hello, protocol)
        if self._unanswered or protocol.is_over:  # do not queue behind a blocking XREAD
            return
        word = "HELLO" if self.server_info.is_known else "PING"
        asking = self._send(protocol, (word,), REPLY_PATIENCE)
        asking.addCallback(self._hello_answered, protocol)
        asking.addErrback(lambda failure: failure.trap(ResponseError, SourceUnavailable) and None)

    def _hello_answered(self, reply: RedisReply, protocol: RedisProtocol) -> None:
        was_replica, now = self.server_info.is_replica, read_server_info(reply)
        if not now.is_known or protocol is not self._protocol:
            return
        self.server_info = now
        if was_replica is False and now.is_replica:
            protocol.hang_up("the master has become a replica")

    def _stop_hello(self) -> None:
        if self._next_hello is not None and self._next_hello.active():
            self._next_hello.cancel()

    def _set_trouble(self, trouble: str) -> None:
        if trouble != self.trouble and self._is_running:
            self._log.warn(
                "not connected to {redis} for {purpose}: {trouble}",
                redis=self._address.name,
                purpose=self._purpose,
                trouble=trouble,
            )
            self.trouble = trouble

    def _keeping_failed(self, failure: Failure) -> None:
        if self._is_running:
            self._log.failure("connecting to Redis has ended", failure)

    def _stopped(self) -> SourceUnavailable:
        return SourceUnavailable(f"{self._address.name}: not running")


def _first_succeeded(replies: list[RedisReply]) -> list[RedisReply]:
    if isinstance(replies[0], Exception):
        raise replies[0]
    return replies


def answer_of(asking: Deferred[RedisReply]) -> Deferred[RedisReply]:
    """Return an error of Redis as the reply, as EXEC does for its commands."""

    def refused(failure: Failure) -> RedisReply:
        failure.trap(ResponseError)
        return cast(Exception, failure.value)

    return asking.addErrback(refused)

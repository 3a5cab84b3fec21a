"""Redis Sentinel: who is the master now, and an end to every connection to one that was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, NoReturn, cast

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorCore,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger
from txredisapi import ResponseError
from zope.interface import implementer

from airyd.deferreds import all_of
from airyd.errors import SourceUnavailable
from airyd.hostnames import AnyNameEndpoint
from airyd.sources.redis.address import CONNECT_PATIENCE, SentinelAddress
from airyd.sources.redis.connection import RedisClient, RedisConnection
from airyd.sources.redis.protocol import RedisProtocol

#: Seconds between two rounds of questions: a master that was replaced may feed us for about so long.
ASK_EVERY: Final = 1.0
#: Seconds that a sentinel may take to answer; then it counts as away.
ASK_PATIENCE: Final = 1.0


class MasterAddress(NamedTuple):
    """A master, as a sentinel knows it.

    :ivar epoch: the number of the failover that made it the master; of two masters the one with the higher is right
    """

    epoch: int
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Sentinels:
    """Asks all sentinels, over a connection to each, and believes the one that knows of the latest failover.

    :param service: the name under which they watch the master
    :param changed: called when the master is another one than before

    :ivar known: the master, as of the last round
    """

    _log = Logger()

    def __init__(
        self,
        connections: Sequence[RedisConnection],
        service: str,
        clock: IReactorTime,
        changed: Callable[[MasterAddress], None],
    ) -> None:
        self.known: MasterAddress | None = None
        self._connections = connections
        self._service = service
        self._clock = clock
        self._changed = changed
        self._watching: Deferred[None] | None = None

    def start(self) -> None:
        """Begin to ask."""
        for connection in self._connections:
            connection.start()
        self._watching = Deferred.fromCoroutine(self._watch())
        self._watching.addErrback(lambda failure: failure.trap(CancelledError) and None)  # stopped
        self._watching.addErrback(lambda failure: self._log.failure("nobody asks the sentinels any more", failure))

    def stop(self) -> Deferred[None]:
        """Ask no more; fires when all connections are closed."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
        return gatherResults([connection.stop() for connection in self._connections]).addCallback(lambda _: None)

    async def master(self) -> MasterAddress:
        """Ask, and return who is the master now.

        Raises ``SourceUnavailable`` if no sentinel knows.
        """
        troubles = await self._ask_all()
        if self.known is None or len(troubles) == len(self._connections):
            raise SourceUnavailable(f"no sentinel knows the master: {'; '.join(troubles)}")
        return self.known

    async def _watch(self) -> None:
        while True:
            await deferLater(self._clock, ASK_EVERY)
            await self._ask_all()

    def _ask_all(self) -> Deferred[list[str]]:
        """Ask all; fires, at the latest after twice ``ASK_PATIENCE``, with the reasons of those who did not answer."""
        done: Deferred[list[str]] = Deferred()
        answers: list[MasterAddress] = []
        troubles: list[str] = []
        asked = len(self._connections)

        async def ask(connection: RedisConnection) -> None:
            try:
                answers.append(await self._ask(connection))
            except (ResponseError, SourceUnavailable) as error:
                troubles.append(str(error))
            if done.called:  # whoever answers late is asked again in the next round
                return
            is_clear = 2 * len(answers) > asked and (self.known is None or max(answers) >= self.known)
            if is_clear or len(answers) + len(troubles) == asked:
                self._update_master(answers)
                done.callback(troubles)

        for connection in self._connections:
            Deferred.fromCoroutine(ask(connection)).addErrback(
                lambda failure: self._log.failure("cannot ask a sentinel", failure)
            )
        return done

    async def _ask(self, connection: RedisConnection) -> MasterAddress:
        def late(result: object, timeout: float) -> NoReturn:
            raise SourceUnavailable(f"{connection.name}: {connection.trouble}")

        await connection.connected().addTimeout(ASK_PATIENCE, self._clock, late)
        # The former names the new master as soon as that has been promoted; only the latter has the epoch.
        where, about = await all_of(
            [
                connection.command("SENTINEL", word, self._service, patience=ASK_PATIENCE)
                for word in ("GET-MASTER-ADDR-BY-NAME", "MASTER")
            ]
        )
        if not isinstance(where, list) or not isinstance(about, list):
            raise SourceUnavailable(f"{connection.name} knows no master {self._service!r}")
        try:
            host, port = cast(list[bytes], where)
            facts = dict(zip(cast(list[bytes], about[::2]), cast(list[bytes], about[1::2]), strict=True))
            return MasterAddress(int(facts[b"config-epoch"]), host.decode(), int(port))
        except (KeyError, ValueError) as error:
            raise SourceUnavailable(f"{connection.name} gives an answer that makes no sense: {error!r}") from None

    def _update_master(self, answers: list[MasterAddress]) -> None:
        """Believe the latest; but an older one than is known only when most say so: an operator has begun anew."""
        if not answers:
            return
        latest, known = max(answers), self.known
        if latest == known or (known is not None and latest < known and 2 * len(answers) <= len(self._connections)):
            return
        self.known = latest
        self._log.info("the master of {service} is {master}", service=self._service, master=str(latest))
        if known is not None:
            self._changed(latest)


@implementer(IStreamClientEndpoint)
class _MasterEndpoint:
    """Connects to the master, and hangs up as soon as another one takes its place.

    A master that was cut off from its sentinels stays one for those who can still reach it: it has to be left.
    """

    def __init__(self, reactor: IReactorCore, sentinels: Callable[[], Sentinels]) -> None:
        self._reactor = reactor
        self._sentinels = sentinels
        self._open: dict[RedisProtocol, MasterAddress] = {}

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See ``IStreamClientEndpoint``; the factory makes a ``RedisProtocol``."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        sentinels = self._sentinels()
        master = await sentinels.master()
        endpoint = AnyNameEndpoint(self._reactor, master.host, master.port, CONNECT_PATIENCE)
        protocol = cast(RedisProtocol, await endpoint.connect(factory))
        if sentinels.known != master:
            protocol.transport.abortConnection()
            raise SourceUnavailable(f"{master} is the master no more")
        self._open[protocol] = master
        protocol.whenDisconnected().addCallback(self._open.pop)
        return cast(IProtocol, protocol)

    def hang_up_others(self, master: MasterAddress) -> None:
        """End all connections but those to this one."""
        for protocol, its in list(self._open.items()):
            if its != master:
                protocol.hang_up(f"the master is now {master}")


class SentinelClient(RedisClient):
    """The master that sentinels name."""

    must_be_master = True

    def __init__(self, address: SentinelAddress, reactor: IReactorCore) -> None:
        clock = cast(IReactorTime, reactor)
        endpoint = _MasterEndpoint(reactor, lambda: self._sentinels)
        connections = [
            RedisConnection(each, each.endpoint(reactor), clock, "its word", is_numbered=False)
            for each in address.sentinels
        ]
        self._sentinels = Sentinels(connections, address.service, clock, endpoint.hang_up_others)
        super().__init__(address.master, reactor, endpoint)

    def start(self) -> None:
        """Begin to ask the sentinels."""
        self._sentinels.start()

    def stop(self) -> Deferred[None]:
        """End; fires when all connections are closed."""
        return self._sentinels.stop()

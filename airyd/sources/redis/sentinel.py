"""Redis Sentinel: asks the sentinels for the master, and closes connections to a former master."""

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
from airyd.interfaces import Reload
from airyd.sources.redis.address import CONNECT_PATIENCE, SentinelAddress
from airyd.sources.redis.client import RedisClient
from airyd.sources.redis.connection import RedisConnection
from airyd.sources.redis.protocol import RedisProtocol

#: Seconds between two rounds of questions: events of a replaced master may arrive for about that long.
ASK_EVERY: Final = 1.0
#: Seconds that a sentinel may take to answer before the round ignores it.
ASK_PATIENCE: Final = 1.0


class MasterAddress(NamedTuple):
    """The address of a master, as a sentinel reports it.

    :ivar epoch: the number of the failover that made it the master; the highest epoch is the newest
    """

    epoch: int
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Sentinels:
    """Asks all sentinels, over a connection to each, and believes the one that knows the latest failover.

    :param service: the master's name in the sentinels' configuration
    :param changed: called with the new master when it changes

    :ivar known: the master as of the last round, or None
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
        """Start asking the sentinels."""
        for connection in self._connections:
            connection.start()
        self._watching = Deferred.fromCoroutine(self._watch())
        self._watching.addErrback(lambda failure: failure.trap(CancelledError) and None)  # stopped
        self._watching.addErrback(lambda failure: self._log.failure("asking the sentinels has ended", failure))

    def stop(self) -> Deferred[None]:
        """Stop asking; fires when all connections are closed."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
        return gatherResults([connection.stop() for connection in self._connections]).addCallback(lambda _: None)

    async def master(self) -> MasterAddress:
        """Ask the sentinels, and return the current master.

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
        """Ask all sentinels; fires within twice ``ASK_PATIENCE`` with the reasons of those that did not answer."""
        done: Deferred[list[str]] = Deferred()
        answers: list[MasterAddress] = []
        troubles: list[str] = []
        asked = len(self._connections)

        async def ask(connection: RedisConnection) -> None:
            try:
                answers.append(await self._ask(connection))
            except (ResponseError, SourceUnavailable) as error:
                troubles.append(str(error))
            if done.called:  # too late: the next round asks again
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
        # GET-MASTER-ADDR-BY-NAME names the new master as soon as it is promoted, but only MASTER has the epoch.
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
            raise SourceUnavailable(f"{connection.name} gives an invalid answer: {error!r}") from None

    def _update_master(self, answers: list[MasterAddress]) -> None:
        """Accept the latest master; an older one only if most name it, because the sentinels may be set up anew."""
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
    """Connects to the master, and closes these connections as soon as another master takes its place.

    A master cut off from its sentinels still takes connections and writes, so airyd must leave it.
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
            raise SourceUnavailable(f"{master} is no longer the master")
        self._open[protocol] = master
        protocol.whenDisconnected().addCallback(self._open.pop)
        return cast(IProtocol, protocol)

    def hang_up_others(self, master: MasterAddress) -> None:
        """Close all connections but those to this master."""
        for protocol, its in list(self._open.items()):
            if its != master:
                protocol.hang_up(f"the master is now {master}")


class SentinelClient(RedisClient):
    """Makes connections to the master that the sentinels name."""

    must_be_master = True

    def __init__(
        self,
        address: SentinelAddress,
        reactor: IReactorCore,
        round_trip: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        clock = cast(IReactorTime, reactor)
        endpoint = _MasterEndpoint(reactor, lambda: self._sentinels)
        connections = [
            RedisConnection(each, each.endpoint(reactor), clock, "the master's address", is_numbered=False)
            for each in address.sentinels
        ]
        self._sentinels = Sentinels(connections, address.service, clock, endpoint.hang_up_others)
        super().__init__(address.master, reactor, endpoint, round_trip)

    def prepare_reload(self, fresh: RedisClient) -> Reload:
        """See ``RedisClient``; the endpoint, which asks this client's sentinels, stays."""
        changes = super().prepare_reload(fresh).changes

        def apply() -> None:
            self._address = fresh._address

        return Reload(changes, apply)

    def start(self) -> None:
        """Start asking the sentinels."""
        self._sentinels.start()

    def stop(self) -> Deferred[None]:
        """Stop; fires when all connections are closed."""
        return self._sentinels.stop()

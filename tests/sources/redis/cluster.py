"""Three redis-servers, one of them the master, and three sentinels, all of the tests' own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.patience import PATIENCE
from tests.sources.redis.server import Connection, RedisServer, Refused

SERVICE: Final = "mymaster"
#: Milliseconds without an answer after which a sentinel takes a server for dead. It sends its first PING to a new
#: master after a second, or after this time if that is less: with less, each failover leads to another one.
DOWN_AFTER: Final = 1500
_QUORUM: Final = 2


class Sentinel(RedisServer):
    """One sentinel.

    :param master: what it watches
    :param settings: lines of its configuration, beside those that all have
    :param password: of its own, or ""
    """

    def __init__(self, master: RedisServer, *settings: str, password: str = "") -> None:
        if password:
            settings = (*settings, f"requirepass {password}", f"sentinel sentinel-pass {password}")
        self._password = password
        self._settings = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} {_QUORUM}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}",
            f"sentinel failover-timeout {SERVICE} 3000",
            *settings,
        ]
        super().__init__()

    def command(self) -> list[str]:
        """Return its command line; once it has run, the configuration is its own."""
        file = Path(self.directory, "sentinel.conf")
        if not self.is_settled:
            file.write_text(
                "\n".join([f"port {self.port}", "bind 127.0.0.1", f"dir {self.directory}", *self._settings])
            )
        return [self.program, str(file), "--sentinel"]

    def connect(self, patience: float = PATIENCE) -> Connection:
        """Open a connection, logged in."""
        connection = super().connect(patience)
        if self._password:
            connection.call("AUTH", self._password)
        return connection

    def ask(self, *words: str) -> Any:
        """Return the answer to one command."""
        connection = self.connect()
        try:
            return connection.call("SENTINEL", *words)
        finally:
            connection.close()

    def facts(self) -> dict[bytes, bytes]:
        """Return what it says of the master."""
        flat = self.ask("MASTER", SERVICE)
        return dict(zip(flat[::2], flat[1::2], strict=True))

    @property
    def master_port(self) -> int:
        """Where it says that the master is."""
        return int(self.ask("GET-MASTER-ADDR-BY-NAME", SERVICE)[1])


class Cluster:
    """A ready cluster: the replicas have all of the master's data, and the sentinels know each other.

    :param options: of the servers' command line, beside those for replication
    :param sentinel_password: of the sentinels
    """

    def __init__(self, *options: str, sentinel_password: str = "") -> None:
        quick = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *options)
        self.servers: list[RedisServer] = []
        self.sentinels: list[Sentinel] = []
        try:
            self.servers.append(RedisServer(*quick))
            for _ in range(2):
                self.servers.append(RedisServer(*quick, "--replicaof", "127.0.0.1", str(self.servers[0].port)))
            wait_until(lambda: self.replicas_of(self.servers[0]) == 2)
            self.sentinels += [Sentinel(self.servers[0], password=sentinel_password) for _ in range(3)]
            wait_until(self._is_watched)
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """What a source's URL has between its scheme and its parameters."""
        listed = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"{listed}/{SERVICE}"

    @property
    def master(self) -> RedisServer:
        """The master, as most sentinels say."""
        votes = [sentinel.master_port for sentinel in self.sentinels]
        port = max(votes, key=votes.count)
        return next(server for server in self.servers if server.port == port)

    def others(self, master: RedisServer) -> list[RedisServer]:
        """Return all servers but one."""
        return [server for server in self.servers if server is not master]

    def replicas_of(self, server: RedisServer) -> int:
        """Return how many replicas are level with a server."""
        return sum(line.startswith("slave") and "state=online" in line for line in replication(server))

    def _is_watched(self) -> bool:
        return all(
            (facts[b"num-slaves"], facts[b"num-other-sentinels"]) == (b"2", b"2")
            for facts in (sentinel.facts() for sentinel in self.sentinels)
        )

    def wait_for_another(self, old: RedisServer) -> RedisServer:
        """Wait until all sentinels name the same new master, and it is one; return it."""
        wait_until(lambda: len({sentinel.master_port for sentinel in self.sentinels} | {old.port}) == 2)
        wait_until(lambda: self.master is not old)
        new = self.master
        wait_until(lambda: "role:master" in replication(new))
        return new

    def heal(self) -> None:
        """Start what was killed, and wait until all are replicas of the master, and level with it."""
        for server in [*self.servers, *self.sentinels]:
            if not server.is_running:
                server.start()
        wait_until(lambda: self.replicas_of(self.master) == 2)
        wait_until(self._is_watched)

    def close(self) -> None:
        """End all."""
        for server in [*self.sentinels, *self.servers]:
            server.close()


def replication(server: RedisServer) -> list[str]:
    """Return the lines of a server's ``INFO replication``."""
    connection = server.connect()
    try:
        text: bytes = connection.call("INFO", "replication")
    finally:
        connection.close()
    return text.decode().splitlines()


def wait_until(condition: Callable[[], object], within: float = PATIENCE) -> None:
    """Wait, without a reactor, until a condition is true; a server that can't be reached makes it false."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, Refused):
            if condition():
                return
        time.sleep(0.02)
    raise AssertionError("did not happen in time")

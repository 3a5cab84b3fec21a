"""Faults with Sentinel: what happens to its servers, and what must be true of the clients' events.

A publisher that waits for a replica loses nothing, and no client hears of a gap. If events are lost with their master,
the clients that got them must hear of a gap before they get later events.
"""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Final

from tests.chaos.careful import CarefulPublisher, UnsureCursor, UnsureHistory
from tests.chaos.client import HISTORY_LOST, Client, Ending, Refusal
from tests.chaos.faults import BY_NAME, Fault
from tests.chaos.ledger import Id
from tests.chaos.listener import Listener
from tests.chaos.nodes import Node
from tests.chaos.publisher import PREFIX
from tests.chaos.stage import DESTINATIONS, Stage
from tests.chaos.verdict import BaseJudge, Verdict
from tests.sources.redis.cluster import Cluster, wait_until
from tests.sources.redis.server import RedisServer

#: Events of each destination that are lost with a master.
DOOMED: Final = 5


class FailoverStage(Stage):
    """The stage with a cluster in place of one Redis.

    :ivar cluster: the cluster
    :ivar careful: the publisher
    """

    def make_redis(self) -> RedisServer:
        """Start the cluster; return its first master."""
        self.cluster = Cluster()
        return self.cluster.servers[0]

    def make_node(self, plant: str) -> Node:
        """Start a node that follows the sentinels."""
        return Node(
            self.redis.port, plant, is_linked=False, source=f"redis+sentinel://{self.cluster.url}?prefix={PREFIX}"
        )

    def make_feed(self, rate: float, random: Random) -> None:
        """Make the histories and the publisher."""
        unsure = [UnsureHistory(destination) for destination in DESTINATIONS]
        self.histories = [*unsure]
        self.publisher = self.careful = CarefulPublisher(self.cluster, unsure, rate, random)

    def close(self) -> None:
        """End all processes."""
        super().close()
        self.cluster.close()

    def mend(self, old: RedisServer) -> None:
        """Make a replaced master follow the new one, as the sentinels do later, too; wait until all are in step."""
        new = self.cluster.wait_for_another(old)
        if not old.is_running:
            old.start()
        connection = old.connect()
        connection.call("REPLICAOF", "127.0.0.1", new.port)
        connection.close()
        wait_until(lambda: self.cluster.replicas_of(new) == 2)


def _stage(stage: Stage) -> FailoverStage:
    assert isinstance(stage, FailoverStage)
    return stage


def _kill_master(stage: Stage) -> None:
    with stage.outage():
        master = _stage(stage).cluster.master
        master.kill()
        _stage(stage).mend(master)


def _stop_master(stage: Stage) -> None:
    """Stop the master until it is replaced; when it continues, it still believes it is the master."""
    with stage.outage():
        master = _stage(stage).cluster.master
        master.pause()
        _stage(stage).cluster.wait_for_another(master)
        master.resume()
        stage.sleep(3)
        _stage(stage).mend(master)


def _ask_for_failover(stage: Stage) -> None:
    """Follow publishing.rst: pause writes first, or the old master would take events that the new one lacks."""
    with stage.outage():
        master = _stage(stage).cluster.master
        connection = master.connect()
        connection.call("CLIENT", "PAUSE", 10_000, "WRITE")
        connection.close()
        stage.random.choice(_stage(stage).cluster.sentinels).ask("FAILOVER", "mymaster")
        _stage(stage).mend(master)


def _lose(stage: Stage) -> None:
    """Kill the master while it has events that no replica has."""
    cluster, publisher = _stage(stage).cluster, _stage(stage).careful
    with stage.outage(), publisher.alone():
        publisher.settle_now()
        master = cluster.master
        for replica in cluster.others(master):
            _configure(replica, "wrong")
        connection = master.connect()
        connection.call("CLIENT", "KILL", "TYPE", "replica")
        connection.close()
        had = [(node, node.received) for node in stage.nodes]
        wanted = [(node, count + DOOMED * len(DESTINATIONS)) for node, count in had if count is not None]
        publisher.doom(DOOMED)
        # A node without clients for one of the destinations gets fewer.
        with suppress(AssertionError):
            wait_until(lambda: all((node.received or 0) >= count for node, count in wanted), within=stage.slack)
        master.kill()
        for replica in cluster.others(master):
            _configure(replica, "")
        _stage(stage).mend(master)


def _configure(replica: RedisServer, password: str) -> None:
    connection = replica.connect()
    connection.call("CONFIG", "SET", "masterauth", password)
    connection.close()


def _kill_replica(stage: Stage) -> None:
    cluster = _stage(stage).cluster
    with stage.outage():
        replica = stage.random.choice(cluster.others(cluster.master))
        replica.kill()
        stage.sleep(2)
        replica.start()
        connection = replica.connect()
        connection.call("REPLICAOF", "127.0.0.1", cluster.master.port)
        connection.close()
        wait_until(lambda: cluster.replicas_of(cluster.master) == 2)


def _kill_sentinel(stage: Stage) -> None:
    sentinel = stage.random.choice(_stage(stage).cluster.sentinels)
    sentinel.kill()
    stage.sleep(3)
    sentinel.start()


FAULTS: Final = (
    Fault("kill -9 master", _kill_master, is_of_redis=True),
    Fault("SIGSTOP master", _stop_master, is_of_redis=True),
    Fault("SENTINEL FAILOVER", _ask_for_failover, is_of_redis=True),
    Fault("lose with the master", _lose, is_of_redis=True),
    Fault("kill -9 replica", _kill_replica, is_of_redis=True),
    Fault("kill -9 sentinel", _kill_sentinel, is_of_redis=True),
    *(BY_NAME[name] for name in ("kill -9 node", "SIGTERM node", "hop")),
)


class FailoverJudge(BaseJudge):
    """The judge of failovers."""

    def __init__(self, stage: FailoverStage) -> None:
        super().__init__(stage)
        doomed = [each for client in stage.crowd.clients for each in _doomed(client)]
        self._lost = {(destination, event_id): when for destination, event_id, when in doomed}

    def _add_client(self, found: Verdict, client: Client, faults: list[str]) -> None:
        faults += [f"missing, and still there: {hole}" for hole in client.holes]
        if isinstance(client, Listener):
            found.told += len(client.told)
            faults += client.closes
            for told in client.told:
                lost = [when for (name, _), when in self._lost.items() if name == told.history.destination]
                if not any(when <= told.when for when in lost):
                    faults.append(f"a gap that is none: {told}")

    def _is_right(self, refusal: Refusal) -> bool:
        return (refusal.destination, refusal.position) in self._lost

    def _add_gap(self, found: Verdict, client: Client, ending: Ending, faults: list[str]) -> bool:
        if ending.error != HISTORY_LOST:
            return False
        if any(ending.opened <= when <= ending.when for _, _, when in _doomed(client)):
            found.missed += 1
        elif any(when <= ending.when for when in self._lost.values()) and self._in_outage(ending.when):
            found.along += 1
        else:
            faults.append(f"history lost, but nothing was: {ending}")
        return True


def _doomed(client: Client) -> list[tuple[str, Id, float]]:
    """Return the lost events that a client got: destination, id, and when it got them."""
    return [
        (feed.history.destination, event_id, when)
        for feed in client.feeds
        for cursor in feed.cursors
        if isinstance(cursor, UnsureCursor)
        for event_id, when in cursor.doomed
    ]

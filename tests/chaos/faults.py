"""The faults of Redis, the links, the nodes and the clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tests.chaos.ledger import History
from tests.chaos.publisher import key_of
from tests.chaos.stage import Stage
from tests.sources.redis.server import Word


class Fault(NamedTuple):
    """A fault that lasts for a while.

    :ivar inject: causes the fault, and ends it
    :ivar is_of_redis: whether it is a fault of Redis itself; only one of these may happen at a time
    :ivar weight: how often it is chosen, relative to others
    """

    name: str
    inject: Callable[[Stage], None]
    is_of_redis: bool
    weight: float = 1.0


def _kill_redis(stage: Stage) -> None:
    with stage.outage():
        stage.redis.kill()
        stage.sleep(stage.random.uniform(0.1, 3))
        stage.redis.start()


def _stop_redis(stage: Stage) -> None:
    with stage.outage():
        stage.redis.pause()
        stage.sleep(20)
        stage.redis.resume()


def _unread(stage: Stage) -> int:
    """Return the number of events to destroy before anybody can read them: often none."""
    return stage.random.choice((0, 0, 1, 3, 20))


def _some(stage: Stage) -> list[History]:
    return stage.random.sample(stage.histories, stage.random.randint(1, len(stage.histories) - 1))


def _flush(stage: Stage) -> None:
    stage.publisher.destroy([("FLUSHALL",)], stage.histories, unread=_unread(stage), told=False)


def _trim(stage: Stage) -> None:
    chosen = _some(stage)
    commands: Sequence[Sequence[Word]] = [("XTRIM", key_of(each.destination), "MAXLEN", "0") for each in chosen]
    stage.publisher.destroy(commands, chosen, unread=_unread(stage), told=True)


def _delete(stage: Stage) -> None:
    chosen = _some(stage)
    commands: Sequence[Sequence[Word]] = [("DEL", key_of(each.destination)) for each in chosen]
    stage.publisher.destroy(commands, chosen, unread=_unread(stage), told=False)


def _overwrite(stage: Stage) -> None:
    chosen = _some(stage)
    keys = [key_of(each.destination) for each in chosen]
    with stage.outage():
        stage.publisher.destroy([("SET", key, "no stream") for key in keys], chosen, unread=_unread(stage), told=False)
        stage.sleep(stage.random.uniform(0.1, 5))
        connection = stage.redis.connect()
        connection.call("DEL", *keys)
        connection.close()


def _cut_link(stage: Stage) -> None:
    link = stage.random.choice(stage.nodes).link
    if stage.random.random() < 0.5:
        link.cut()
        return
    with stage.outage():
        link.down()
        stage.sleep(stage.random.uniform(0.5, 4))
        link.up()


def _block_link(stage: Stage) -> None:
    link = stage.random.choice(stage.nodes).link
    with stage.outage():
        link.block()
        stage.sleep(stage.random.choice((1, 4, 12)))
        link.unblock()


def _kill_node(stage: Stage) -> None:
    node = stage.random.choice(stage.nodes)
    node.kill()
    stage.sleep(stage.random.uniform(0, 2))
    node.start()


def _terminate_node(stage: Stage) -> None:
    node = stage.random.choice(stage.nodes)
    node.terminate()
    stage.sleep(stage.random.uniform(0, 2))
    node.start()


def _hop(stage: Stage) -> None:
    before, stage.crowd.restlessness = stage.crowd.restlessness, 1.0
    stage.sleep(4)
    stage.crowd.restlessness = before


FAULTS: Final = (
    Fault("kill -9 redis", _kill_redis, is_of_redis=True),
    Fault("SIGSTOP redis", _stop_redis, is_of_redis=True, weight=0.3),
    Fault("FLUSHALL", _flush, is_of_redis=True),
    Fault("XTRIM", _trim, is_of_redis=True, weight=2),
    Fault("DEL", _delete, is_of_redis=True),
    Fault("SET over the key", _overwrite, is_of_redis=True),
    Fault("cut link", _cut_link, is_of_redis=False),
    Fault("black hole", _block_link, is_of_redis=False),
    Fault("kill -9 node", _kill_node, is_of_redis=False),
    Fault("SIGTERM node", _terminate_node, is_of_redis=False),
    Fault("hop", _hop, is_of_redis=False),
)
BY_NAME: Final = {fault.name: fault for fault in FAULTS}

"""What a Redis says of itself: in reply to HELLO, which needs no right, and to INFO."""

from __future__ import annotations

from typing import NamedTuple

from airyd.errors import SourceUnavailable
from airyd.sources.redis.protocol import RedisReply


class ServerInfo(NamedTuple):
    """The facts of one reply to HELLO; each is None if the server does not tell it, or may not be asked.

    :ivar version: such as ``(7, 0, 15)``
    :ivar is_replica: whether it follows a master
    :ivar is_cluster: whether it runs in cluster mode
    """

    version: tuple[int, ...] | None = None
    is_replica: bool | None = None
    is_cluster: bool | None = None

    @property
    def is_known(self) -> bool:
        """Whether the server has told anything."""
        return any(fact is not None for fact in self)


def read_server_info(reply: RedisReply) -> ServerInfo:
    """Read the reply, names and values by turns (RESP2)."""
    if not isinstance(reply, list):
        return ServerInfo()
    facts = {name: value for name, value in zip(reply[::2], reply[1::2], strict=False) if isinstance(name, bytes)}
    version, role, mode = (facts.get(name) for name in (b"version", b"role", b"mode"))
    numbers = version.split(b".") if isinstance(version, bytes) else []
    return ServerInfo(
        tuple(map(int, numbers)) if numbers and all(each.isdigit() for each in numbers) else None,
        None if role is None else role != b"master",
        None if mode is None else mode == b"cluster",
    )


def read_replication_id(reply: RedisReply) -> str:
    """Return the id of a master's replication history, from ``INFO replication``.

    Raises ``SourceUnavailable`` if it is no master.
    """
    lines = reply.decode("ascii", "replace").splitlines() if isinstance(reply, bytes) else []
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    if facts.get("role") != "master" or "master_replid" not in facts:
        raise SourceUnavailable("what the sentinels name is no master (yet)")
    return facts["master_replid"]

"""The version, role and mode of a Redis, from HELLO, and its replication id, from INFO."""

from __future__ import annotations

from typing import NamedTuple

from airyd.errors import SourceUnavailable
from airyd.sources.redis.protocol import RedisReply


class ServerInfo(NamedTuple):
    """What a reply to HELLO says; each field is None if the server does not say.

    :ivar version: such as ``(7, 0, 15)``
    :ivar is_replica: whether it replicates a master
    :ivar is_cluster: whether it runs in cluster mode
    """

    version: tuple[int, ...] | None = None
    is_replica: bool | None = None
    is_cluster: bool | None = None

    @property
    def is_known(self) -> bool:
        """Whether any field is known."""
        return any(fact is not None for fact in self)


def read_server_info(reply: RedisReply) -> ServerInfo:
    """Parse a reply to HELLO: alternating names and values (RESP2)."""
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
    """Return the ``master_replid`` of a master, from the reply to ``INFO replication``.

    Raises ``SourceUnavailable`` if the server is not a master.
    """
    lines = reply.decode("ascii", "replace").splitlines() if isinstance(reply, bytes) else []
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    if facts.get("role") != "master" or "master_replid" not in facts:
        raise SourceUnavailable("the server that the sentinels name is not a master (yet)")
    return facts["master_replid"]

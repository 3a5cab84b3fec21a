"""What a Redis says of itself in reply to HELLO, which needs no right."""

from __future__ import annotations

from typing import Final, NamedTuple

from airyd.sources.redis.protocol import Reply


class Hello(NamedTuple):
    """The facts of one reply; each is None if the server does not tell it.

    :ivar version: such as ``(7, 0, 15)``
    :ivar is_replica: whether it follows a master
    :ivar is_cluster: whether it runs in cluster mode
    """

    version: tuple[int, ...] | None = None
    is_replica: bool | None = None
    is_cluster: bool | None = None


#: A server that does not know HELLO, or may not be asked.
UNKNOWN: Final = Hello()


def read_hello(reply: Reply) -> Hello:
    """Read the reply, names and values by turns (RESP2)."""
    if not isinstance(reply, list):
        return UNKNOWN
    facts = {name: value for name, value in zip(reply[::2], reply[1::2], strict=False) if isinstance(name, bytes)}
    version, role, mode = (facts.get(name) for name in (b"version", b"role", b"mode"))
    numbers = version.split(b".") if isinstance(version, bytes) else []
    return Hello(
        tuple(map(int, numbers)) if numbers and all(each.isdigit() for each in numbers) else None,
        None if role is None else role != b"master",
        None if mode is None else mode == b"cluster",
    )

"""Finds out which user's process is at the other end of a connection on this machine."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

#: The kernel's tables of TCP sockets (proc(5)): one per line, after a line of headings.
_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")
#: The columns of a line: the own address, the peer's, and the number of the user.
_LOCAL, _REMOTE, _USER = 1, 2, 7
#: The user, process and group of ``SO_PEERCRED`` (unix(7)).
_CREDENTIALS: Final = struct.Struct("3i")


def owner_of_peer(connection: socket.socket) -> int | None:
    """Return the number of the user who has the other end; None if that can't be known.

    Call it when the peer has answered: until a TCP connection is accepted, the kernel calls root its owner.
    """
    if connection.family == socket.AF_UNIX:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, user, _ = _CREDENTIALS.unpack(credentials)
        return int(user)
    host, port = connection.getpeername()[:2]
    own_host, own_port = connection.getsockname()[:2]
    theirs, ours = _in_table(host, port), _in_table(own_host, own_port)
    for table in _TABLES:
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[_LOCAL] in theirs and columns[_REMOTE] in ours:
                return int(columns[_USER])
    return None


def _in_table(host: str, port: int) -> tuple[str, ...]:
    """Return an address as the tables have it; one of IPv4 can also be that of an IPv6 socket."""
    address = ip_address(host)
    if isinstance(address, IPv4Address):
        return tuple(f"{_words(packed)}:{port:04X}" for packed in (address.packed, _mapped(address).packed))
    return (f"{_words(address.packed)}:{port:04X}",)


def _mapped(address: IPv4Address) -> IPv6Address:
    return IPv6Address(b"\x00" * 10 + b"\xff\xff" + address.packed)


def _words(packed: bytes) -> str:
    """Return the words of 32 bits of an address, each as a number in the byte order of this machine."""
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))

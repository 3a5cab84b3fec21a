"""The log of connections: a line when a client connects, one when it logs in, and one when it disconnects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.logger import Logger, LogLevel

from airyd.interfaces import IPrincipal

#: The namespace of these lines.
CONNECTIONS: Final = "airyd.connections"
#: Not an attribute of the class, which would replace the namespace.
_log: Final = Logger(namespace=CONNECTIONS)
#: Characters of a user's name in a line.
_LONGEST: Final = 200


class ConnectionRecord:
    """What the log keeps about an open connection.

    :ivar opened_at: when it was opened, in seconds of the clock
    :ivar subject: the name of the client's user; None before the login
    :ivar events: MESSAGEs that it was sent; too few by those that its groups count (``airyd.hub.fanout.Audience``)
    :ivar sent: bytes on the wire that it has received; None if the kernel does not count them
    :ivar received: bytes on the wire that it has sent, or None
    """

    __slots__ = ("events", "opened_at", "received", "sent", "subject")

    def __init__(self, opened_at: float) -> None:
        self.opened_at = opened_at
        self.subject: str | None = None
        self.events = 0
        self.sent: int | None = None
        self.received: int | None = None


class ConnectionLog:
    """Writes the lines.

    :param level: their level; None for no lines
    :param seconds: returns the time of a monotonic clock

    :ivar level: may be changed; it holds for connections that are opened later
    """

    def __init__(self, level: LogLevel | None, seconds: Callable[[], float]) -> None:
        self.level = level
        self._seconds = seconds

    def opened(self, peer: str) -> ConnectionRecord | None:
        """Log that a client has opened a WebSocket; return the record of the connection, or None if it has none."""
        if self.level is None:
            return None
        _log.emit(self.level, "{peer} connected", peer=peer)
        return ConnectionRecord(self._seconds())

    def logged_in(self, record: ConnectionRecord, peer: str, principal: IPrincipal) -> None:
        """Log that the client has logged in."""
        name = str(principal.name)
        if len(name) > _LONGEST or not name.isprintable():  # else the principal's own text: no copy per connection
            name = "".join(each if each.isprintable() else "?" for each in name[:_LONGEST])
        record.subject = name
        _log.emit(self.level or LogLevel.debug, "{peer} logged in as {subject}", peer=peer, subject=record.subject)

    def closed(self, record: ConnectionRecord, peer: str, reason: str) -> None:
        """Log that the connection has ended.

        :param reason: a kind of ``airyd.metrics.Metrics.connections_closed``
        """
        counted = {} if record.sent is None else {"sent": record.sent, "received": record.received}
        _log.emit(
            self.level or LogLevel.debug,
            "{peer} disconnected: {reason}, after {seconds} s, {events} events, {sent} bytes sent, {received} received"
            if counted
            else "{peer} disconnected: {reason}, after {seconds} s, {events} events",
            peer=peer,
            subject=record.subject,
            reason=reason,
            seconds=round(self._seconds() - record.opened_at, 3),
            events=record.events,
            **counted,
        )

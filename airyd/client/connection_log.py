"""The log of connections: a line when a client connects, one when it logs in, and one when it disconnects."""

from __future__ import annotations

from typing import Final

from twisted.logger import Logger, LogLevel

from airyd.interfaces import IPrincipal

#: The namespace of these lines.
CONNECTIONS: Final = "airyd.connections"
#: Not an attribute of the class, which would replace the namespace.
_log: Final = Logger(namespace=CONNECTIONS)
#: Characters of a user's name in a line, and of a user agent.
LONGEST_NAME: Final = 200


def printable(text: str) -> str:
    """Return at most :data:`LONGEST_NAME` characters of a text, with ``?`` for each that is not printable."""
    text = text[:LONGEST_NAME]
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)


class ConnectionRecord:
    """What the log keeps about an open connection.

    :ivar subject: the name of the client's user; None before the login
    :ivar sent: bytes on the wire that it has received; None if the kernel does not count them
    :ivar received: bytes on the wire that it has sent, or None
    """

    __slots__ = ("received", "sent", "subject")

    def __init__(self) -> None:
        self.subject: str | None = None
        self.sent: int | None = None
        self.received: int | None = None


class ConnectionLog:
    """Writes the lines.

    :param level: their level; None for no lines

    :ivar level: may be changed; it holds for connections that are opened later
    """

    def __init__(self, level: LogLevel | None) -> None:
        self.level = level

    def opened(self, peer: str) -> ConnectionRecord | None:
        """Log that a client has opened a WebSocket; return the record of the connection, or None if it has none."""
        if self.level is None:
            return None
        _log.emit(self.level, "{peer} connected", peer=peer)
        return ConnectionRecord()

    def logged_in(self, record: ConnectionRecord, peer: str, principal: IPrincipal) -> None:
        """Log that the client has logged in."""
        record.subject = printable(str(principal.name))
        _log.emit(self.level or LogLevel.debug, "{peer} logged in as {subject}", peer=peer, subject=record.subject)

    def closed(self, record: ConnectionRecord, peer: str, reason: str, seconds: float, events: int) -> None:
        """Log that the connection has ended.

        :param reason: a kind of ``airyd.metrics.Metrics.connections_closed``
        :param seconds: how long it was open
        :param events: MESSAGEs that the client was sent
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
            seconds=round(seconds, 3),
            events=events,
            **counted,
        )

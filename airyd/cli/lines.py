"""Lines from standard input, at the pace of whoever takes them."""

from __future__ import annotations

import os
from collections import deque
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IPushProducer, IReactorFDSet, IReadDescriptor
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

_READ_SIZE: Final = 64 * 1024
#: Lines that are read ahead.
_AHEAD: Final = 64


class LineTooLong(Exception):
    """A line is longer than any server would take; the text says which."""


class Line(NamedTuple):
    """A line of the input.

    :ivar number: counted from 1 on; None if the text came from elsewhere
    :ivar text: without the line's end
    """

    number: int | None
    text: bytes


@implementer(IReadDescriptor, IPushProducer)
class DescriptorReader:
    """Feeds a protocol from a file descriptor, without making the descriptor non-blocking.

    ``StandardIO`` would: on a terminal that also changes what standard output and the shell see.
    The reactor says when there is something to read, and one read then does not block.
    """

    disconnecting = False

    def __init__(self, reactor: IReactorFDSet, descriptor: int, receiver: IProtocol) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._receiver: IProtocol | None = receiver

    def start(self) -> None:
        """Begin to read."""
        if self._receiver is not None:
            # The receiver asks no more of its transport than pausing, resuming and an end.
            self._receiver.makeConnection(self)  # type: ignore[arg-type]  # a transport in what a line receiver asks of one
            self._reactor.addReader(self)

    def fileno(self) -> int:
        """Return the descriptor, for the reactor."""
        return self._descriptor

    def logPrefix(self) -> str:
        """Name this reader in logs."""
        return "input"

    def doRead(self) -> None:
        """Read what is there and pass it on; the end of the input is the connection's end."""
        if self._receiver is None:
            return
        try:
            data = os.read(self._descriptor, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self.connectionLost(Failure(error))
            return
        if data:
            self._receiver.dataReceived(data)
        else:
            self.connectionLost(Failure(ConnectionDone()))

    def connectionLost(self, reason: Failure) -> None:
        """End: nothing more is read."""
        self._reactor.removeReader(self)
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.connectionLost(reason)

    def pauseProducing(self) -> None:
        """Stop reading for now."""
        self._reactor.removeReader(self)

    def resumeProducing(self) -> None:
        """Read on."""
        if self._receiver is not None:
            self._reactor.addReader(self)

    def stopProducing(self) -> None:
        """Stop for good."""
        self.connectionLost(Failure(ConnectionDone()))

    loseConnection = stopProducing


class LineQueue(LineReceiver):
    """Hands out lines that aren't blank, one by one, and reads no more than a few ahead."""

    delimiter = b"\n"
    MAX_LENGTH = 16 * 1024 * 1024

    def __init__(self) -> None:
        self._count = 0
        self._lines: deque[Line] = deque()
        self._waiting: Deferred[Line | None] | None = None
        self._ended: Failure | None = None

    def next_line(self) -> Deferred[Line | None]:
        """Fire with the next line, or with None at the end of the input.

        Called again only after it has fired. Errors: :class:`LineTooLong`, ``OSError``.
        """
        line: Deferred[Line | None] = Deferred()
        self._waiting = line
        self._hand_out()
        if self.paused and len(self._lines) < _AHEAD // 2:
            self.resumeProducing()
        return line

    def lineReceived(self, line: bytes) -> None:
        """Take a line in."""
        self._count += 1
        text = line.removesuffix(b"\r")
        if text and not text.isspace():
            self._lines.append(Line(self._count, text))
            self._hand_out()
        if len(self._lines) >= _AHEAD:
            self.pauseProducing()

    def lineLengthExceeded(self, line: bytes) -> None:
        """End the reading at a line that has no end in sight."""
        self.clearLineBuffer()
        self._end(Failure(LineTooLong(f"line {self._count + 1} is longer than {self.MAX_LENGTH} bytes")))
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Take the last line, which need not have an end."""
        rest = self.clearLineBuffer()
        if rest and self._ended is None:
            self.lineReceived(rest)
        self._end(reason)

    def _end(self, reason: Failure) -> None:
        if self._ended is None:
            self._ended = reason
        self._hand_out()

    def _hand_out(self) -> None:
        waiting = self._waiting
        if waiting is None:
            return
        if self._lines:
            self._waiting = None
            waiting.callback(self._lines.popleft())
        elif self._ended is not None:
            self._waiting = None
            if self._ended.check(ConnectionDone):
                waiting.callback(None)
            else:
                waiting.errback(self._ended)

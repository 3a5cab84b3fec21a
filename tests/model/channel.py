"""A connection in memory whose kernel takes as many bytes as the test allows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from zope.interface import implementer

from airyd.errors import Fault, StompError
from airyd.interfaces import NO_OPENING, IChannel, Opening
from tests.integration.wire import TEXT, decode, whole_frames


class Owner(Protocol):
    """What a channel calls (``airyd.interfaces.IChannelOwner``)."""

    def direct_changed(self) -> None:
        """``direct`` is another."""

    def drained(self) -> None:
        """Nothing is queued any more."""

    def fall_behind(self) -> None:
        """Many bytes wait; called after more were queued."""

    def fail(self, error: StompError) -> None:
        """The client is too slow."""


class Idle:
    """An owner that only takes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def direct_changed(self) -> None:
        """Take it down."""
        self.heard.append("direct_changed")

    def drained(self) -> None:
        """Take it down."""
        self.heard.append("drained")

    def fall_behind(self) -> None:
        """Take it down."""
        self.heard.append("fall_behind")

    def fail(self, error: StompError) -> None:
        """Take it down."""
        self.heard.append(error.fault.kind)


class Message(NamedTuple):
    """A STOMP frame that was handed over.

    :ivar end: where in the stream its last byte is
    """

    command: str
    headers: dict[str, str]
    body: bytes
    end: int


def unframe(stream: bytes, start: int = 0) -> Iterator[tuple[bytes, int]]:
    """Yield ``(payload, end)`` of each whole WebSocket text message."""
    for first, payload, end in whole_frames(stream, start):
        assert first == 0x80 | TEXT, f"byte {end - len(payload)} is of no text message"
        yield payload, end


def parse(payload: bytes, end: int = 0) -> Message:
    """Read one frame; nothing in it is escaped."""
    frame = decode(payload, TEXT, "1.0")
    return Message(frame.command, frame.headers, frame.body, end)


def messages(wire: bytes) -> list[Message]:
    """Return the frames of a stream that must end with a whole one."""
    parsed = [parse(payload, end) for payload, end in unframe(wire)]
    assert (parsed[-1].end if parsed else 0) == len(wire), "the stream ends within a frame"
    return parsed


@implementer(IChannel)
class MemoryChannel:
    """Does what ``airyd.websocket.protocol`` does with what goes out.

    :param bound: bytes that may be queued; more fail the owner
    :param mark: bytes that may be queued before the owner falls behind with the next
    :param tls: whether ``direct`` is never there
    :ivar wire: all bytes that were handed over, in the order in which the client gets them
    :ivar taken: how many of them the kernel took
    :ivar room: how many more it takes now; None: any number
    :ivar sends: the size of each call of ``direct``
    :ivar handed: called after bytes were handed over; must not call airyd
    :ivar reenter: called at the end of ``send`` and ``send_rest``; may call airyd, as a transport may
    """

    peer = "memory"

    def __init__(
        self, owner: Owner | None = None, bound: int = 1 << 21, tls: bool = False, mark: int = sys.maxsize
    ) -> None:
        self.owner: Owner = Idle() if owner is None else owner
        self.bound = bound
        self.mark = mark
        self.tls = tls
        self.wire = bytearray()
        self.taken = 0
        self.room: int | None = None
        self.sends: list[int] = []
        self.stalls = 0
        self.is_closed = False
        self.closes: list[Fault | None] = []
        self.direct: Callable[[bytes], int] | None = None if tls else self._kernel
        self.handed: Callable[[], None] = lambda: None
        self.reenter: Callable[[], None] = lambda: None

    def take_opening(self) -> Opening:
        """See ``IChannel``."""
        return NO_OPENING

    def ping(self) -> None:
        """See ``IChannel``: the model's clients have heart-beats."""
        raise AssertionError("a ping for a client with heart-beats")

    @property
    def buffered(self) -> int:
        """Bytes that wait."""
        return len(self.wire) - self.taken

    @property
    def frames(self) -> list[Message]:
        """All frames that were handed over; the last must be whole."""
        return messages(bytes(self.wire))

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of all MESSAGEs."""
        return [frame.body for frame in self.frames if frame.command == "MESSAGE"]

    def _kernel(self, data: bytes) -> int:
        if self.is_closed:
            raise OSError("the socket is closed")
        assert not self.buffered, "a direct send overtakes what is queued"
        self.sends.append(len(data))
        count = len(data) if self.room is None else min(self.room, len(data))
        if not count:
            raise BlockingIOError
        if self.room is not None:
            self.room -= count
        self.wire += data[:count]
        self.taken += count
        if count == len(data):
            self.handed()
        return count

    def send(self, wire: bytes) -> None:
        """See ``IChannel``."""
        if self.is_closed:
            return
        direct = self.direct
        if direct is not None:
            try:
                count = direct(wire)
            except OSError:
                count = 0
            if count != len(wire):
                self.send_rest(wire, count)
            else:
                self.reenter()
        elif self.buffered + len(wire) <= self.bound:
            is_behind = self.buffered > self.mark
            self.wire += wire
            self.handed()
            if is_behind:
                self.owner.fall_behind()
            self.reenter()
        else:
            self.owner.fail(StompError(Fault.SLOW_CONSUMER, "too slow"))

    def send_rest(self, wire: bytes, count: int) -> None:
        """See ``IChannel``."""
        assert self.direct is not None or self.is_closed, "a channel that is queued was sent to directly"
        self.direct = None
        self.stalls += 1
        if not self.is_closed:
            self.wire += wire[count:]
        self.handed()
        self.owner.direct_changed()
        self.reenter()

    def say(self, wire: bytes) -> None:
        """Send a frame that is not a MESSAGE, whatever is queued."""
        if self.direct is not None:
            self.send(wire)
        elif not self.is_closed:
            self.wire += wire
            self.handed()

    def drain(self, room: int | None = None) -> None:
        """Let the client read: the kernel takes so many more bytes; None: all that come."""
        self.room = room
        waiting = self.buffered
        if self.is_closed or not waiting:
            return
        count = waiting if room is None else min(room, waiting)
        self.taken += count
        if room is not None:
            self.room = room - count
        if self.buffered:
            return
        if not self.tls:
            self.direct = self._kernel
            self.owner.direct_changed()
        self.owner.drained()

    def pause(self) -> None:
        """See ``IChannel``; what a client sends does not come this way."""

    def resume(self) -> None:
        """See ``IChannel``."""

    def close(self, fault: Fault | None) -> bool:
        """See ``IChannel``."""
        self.closes.append(fault)
        self.is_closed = True
        self.direct = None
        return True

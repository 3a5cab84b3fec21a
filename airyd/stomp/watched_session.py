"""A session that reports the frames that it reads, while its connection is traced.

A session is replaced by one of these, with the same state, and later by a plain one again. So the sessions of
connections that are not traced check nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from airyd.stomp.frames import Frame
from airyd.stomp.requests import Request
from airyd.stomp.session import Session

#: The command that stands for a heart-beat of the client.
HEARTBEAT_COMMAND: Final = "HEARTBEAT"

FrameObserver = Callable[[Frame], None]
_S = TypeVar("_S", bound=Session)


class WatchedSession(Session):
    """A session with observers, which are called with each frame before it becomes a request; they must not raise.

    :ivar observers: by the keys of those who added them
    """

    __slots__ = ("observers",)

    observers: dict[object, FrameObserver]

    def receive(self, data: bytes) -> Sequence[Request]:
        """See ``Session``."""
        if data and self._need_parser().is_between_frames and not data.strip(b"\r\n"):
            self._report(Frame(HEARTBEAT_COMMAND))
        return super().receive(data)

    def _recall(self, data: bytes) -> Sequence[Request]:
        """Return nothing: the observers get the frames of all requests."""
        return ()

    def _to_request(self, frame: Frame) -> Request:
        self._report(frame)
        return super()._to_request(frame)

    def _report(self, frame: Frame) -> None:
        for observer in self.observers.values():
            observer(frame)


def watched(session: Session, key: object, observer: FrameObserver) -> WatchedSession:
    """Return a session in the same state, or the same session, that also calls this observer."""
    if not isinstance(session, WatchedSession):
        session = _move(session, WatchedSession)
        session.observers = {}
    session.observers[key] = observer
    return session


def unwatched(session: Session, key: object) -> Session:
    """Return a session in the same state, or the same session, without the observer of this key."""
    if not isinstance(session, WatchedSession):
        return session
    session.observers.pop(key, None)
    return session if session.observers else _move(session, Session)


def _move(session: Session, kind: type[_S]) -> _S:
    """Return a session of another class that takes over the state of this one, which must not be used any more."""
    moved = kind.__new__(kind)
    for name in Session.__slots__:
        setattr(moved, name, getattr(session, name))
    return moved

"""Observes what single connections send, while they are traced; others are not touched.

For that time a connection's class is :class:`TracedWebSocket`, whose objects have the same attributes, and its
``direct`` is a function that also calls the observers. So nothing is checked for each delivery, and no connection keeps
a reference to observers. What the client gets, and when, stays the same.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from airyd.websocket.protocol import StompWebSocket, WireObserver


class TracedWebSocket(StompWebSocket):
    """A connection that calls its observers with all that it sends."""

    __slots__ = ()

    @property
    def _observers(self) -> list[WireObserver]:
        return self.factory.observers[self]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See ``IProtocol``."""
        for observer in self.factory.observers.pop(self):
            observer.closed(self._close_kind or self.how_it_closed)
        self.__class__ = StompWebSocket  # type: ignore[assignment]  # it is one, and has no observers any more
        self.connectionLost(reason)

    def write(self, data: bytes) -> None:
        """See ``WebSocketConnection``."""
        if self.direct is not None:  # it calls the observers
            super().write(data)
            return
        was_over = self._client.is_over
        super().write(data)
        if was_over or not self._client.is_over:  # else the bytes were too many, and were dropped
            for observer in self._observers:
                observer.sent(data)

    def _open_direct(self) -> None:
        super()._open_direct()
        if self.direct is not None:
            self.direct = _observed(self.direct, self._observers)


def _observed(send: Callable[[bytes], int], observers: list[WireObserver]) -> Callable[[bytes], int]:
    """Return a ``socket.send`` that also calls the observers, once for all bytes.

    The socket may take only a part of them, or none: the rest is queued then.
    """

    def observed_send(wire: bytes) -> int:
        for observer in observers:
            observer.sent(wire)
        return send(wire)

    return observed_send


def observe(channel: StompWebSocket, observer: WireObserver) -> None:
    """Call the observer with all that a connection sends from now on, until it is lost or :func:`stop_observing`."""
    observers = channel.factory.observers.setdefault(channel, [])
    observers.append(observer)
    if len(observers) == 1:
        _change_class(channel, TracedWebSocket)


def stop_observing(channel: StompWebSocket, observer: WireObserver) -> None:
    """End what :func:`observe` began, unless the connection is lost."""
    observers = channel.factory.observers.get(channel)
    if observers is None:
        return
    observers.remove(observer)
    if not observers:
        _change_class(channel, StompWebSocket)
        del channel.factory.observers[channel]


def _change_class(channel: StompWebSocket, kind: type[StompWebSocket]) -> None:
    channel.__class__ = kind  # both have the same attributes
    channel.direct_replaced()

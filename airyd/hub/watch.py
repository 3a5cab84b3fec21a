"""Keeps the source watching a destination as long as somebody needs its events."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.errors import Fault, SourceUnavailable, StompError
from airyd.interfaces import IEventSource


class Watch:
    """Counts who needs the events, and watches while there are some.

    :param began: called when the source watches, at each :meth:`need` too if it does already; after :meth:`renew`
        with the position before, else with None
    :param failed: called when the source can't watch

    :ivar position: the id of the last event that the source delivered, or from which on it does; None while the
        source isn't watching
    """

    __slots__ = ("_began", "_failed", "_is_asked", "_left", "_name", "_source", "_users", "position")

    _log = Logger()

    def __init__(
        self, name: str, source: IEventSource, began: Callable[[str | None], None], failed: Callable[[StompError], None]
    ) -> None:
        self.position: str | None = None
        self._name = name
        self._source = source
        self._began = began
        self._failed = failed
        self._users = 0
        self._is_asked = False
        self._left: str | None = None

    def need(self) -> None:
        """Count one more, and watch if it is the first."""
        self._users += 1
        if self.position is not None:
            self._began(None)
        elif not self._is_asked:
            self._ask()

    def release(self) -> None:
        """Count one less; with the last one the source stops watching."""
        self._users -= 1
        if not self._users and self.position is not None:
            self._end()

    def renew(self) -> None:
        """Watch from another position on: what comes until then is lost. Call it while the source watches."""
        self._left = self.position
        self._end()
        self._ask()

    def _ask(self) -> None:
        self._is_asked = True
        watching = self._source.watch(self._name)
        watching.addCallbacks(self._watched, self._unwatchable).addErrback(self._broken)

    def _end(self) -> None:
        self.position = None
        self._source.unwatch(self._name)

    def _watched(self, position: str) -> None:
        self._is_asked = False
        left, self._left = self._left, None
        if not self._users:  # they left meanwhile
            self._source.unwatch(self._name)
            return
        self.position = position
        self._began(left)

    def _unwatchable(self, failure: Failure) -> None:
        self._is_asked = False
        self._left = None
        if not isinstance(failure.value, SourceUnavailable):
            failure.raiseException()
        self._log.warn(
            "cannot watch {destination}: {reason}",
            destination=self._name,
            reason=str(failure.value),
            once_a_minute=f"watch {self._name}",
        )
        self._failed(failure.value.stomp_error())

    def _broken(self, failure: Failure) -> None:
        self._log.failure("cannot watch {destination}", failure, destination=self._name)
        self._failed(StompError(Fault.INTERNAL, "The event source failed."))

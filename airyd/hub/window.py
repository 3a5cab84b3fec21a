"""The window of a subscription with client acknowledgement."""

from __future__ import annotations


class Window:
    """The unacknowledged messages of a subscription, oldest first (STOMP 1.2, "ACK").

    :param size: how many there may be
    """

    __slots__ = ("_outstanding", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._outstanding: dict[str, None] = {}

    @property
    def room(self) -> int:
        """How many more messages may be sent."""
        return self.size - len(self._outstanding)

    def add(self, event_id: str) -> None:
        """Take down a message that was sent."""
        self._outstanding[event_id] = None

    @property
    def outstanding(self) -> list[str]:
        """The messages that wait for an answer, oldest first, in a new list."""
        return list(self._outstanding)

    def settle(self, event_id: str, cumulative: bool) -> list[str]:
        """Settle a message, and with ``cumulative`` all before it; return those that were (none: unknown id)."""
        if event_id not in self._outstanding:
            return []
        if not cumulative:
            del self._outstanding[event_id]
            return [event_id]
        settled = []
        for outstanding in self._outstanding:
            settled.append(outstanding)
            if outstanding == event_id:
                break
        for outstanding in settled:
            del self._outstanding[outstanding]
        return settled

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

    def settle(self, event_id: str, cumulative: bool) -> int:
        """Settle a message, and with ``cumulative`` all before it; return how many that were (0: unknown id)."""
        if event_id not in self._outstanding:
            return 0
        if not cumulative:
            del self._outstanding[event_id]
            return 1
        settled = []
        for outstanding in self._outstanding:
            settled.append(outstanding)
            if outstanding == event_id:
                break
        for outstanding in settled:
            del self._outstanding[outstanding]
        return len(settled)

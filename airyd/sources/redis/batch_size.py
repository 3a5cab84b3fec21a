"""How many entries to ask Redis for at once."""

from __future__ import annotations

from typing import Final

from airyd.limits import KIB, MIB

#: Bytes that a reply should have, whatever the size of the entries; and the least that this is lowered to.
REPLY_BYTES: Final = MIB
_LEAST_BYTES: Final = 16 * KIB
#: Entries of the first reply of a connection, of all streams together, and of one stream at most.
FIRST: Final = 16
_MOST: Final = 5000
#: Replies without a loss after which more bytes are tried again.
_PATIENCE: Final = 100


class BatchSize:
    """Learns from each reply how many entries the next one may have.

    It asks for at most twice as many as came last, because large entries may follow small ones. After a reply that was
    lost it asks for fewer, down to one entry of one stream: Redis closes a connection whose reply is larger than
    ``client-output-buffer-limit``, and the same question would have the same answer.

    :ivar count: entries of each stream
    :ivar streams: how many streams to ask for at once; None for all
    """

    def __init__(self) -> None:
        self.count = FIRST
        self.streams: int | None = None
        self._bytes = REPLY_BYTES
        self._replies = 0

    def reconnected(self, streams: int) -> None:
        """Ask for few: the connection is new, and entries of any size may wait.

        :param streams: how many are read
        """
        self.count = min(self.count, max(1, FIRST // max(streams, 1)))

    def reply_received(self, *, most: int, entries: int, size: int, streams: int) -> None:
        """Learn from a reply that had entries.

        :param most: how many entries of one stream it had
        :param entries: how many in all
        :param size: their bytes
        :param streams: how many streams are read
        """
        streams = max(streams, 1)
        fitting = self._bytes * entries // max(size, 1)
        fewest = min(2 * self.count, max(1, FIRST // streams))
        self.count = max(1, min(fitting // streams, max(2 * most, fewest), _MOST))
        if self.streams is not None:
            self.streams = max(1, min(2 * self.streams, fitting))
            if self.streams >= streams:
                self.streams = None
        self._replies += 1
        if self._replies >= _PATIENCE:
            self._replies = 0
            self._bytes = min(2 * self._bytes, REPLY_BYTES)

    def all_read(self) -> None:
        """Ask for all streams again: none of them has an entry that was not read."""
        self.streams = None

    def reply_lost(self, streams: int) -> None:
        """Ask for fewer: the connection was lost before the reply.

        :param streams: how many were asked for
        """
        if self.count > 1:
            self.count = max(1, min(self.count, FIRST) // 4)
        else:
            self.streams = max(1, min(self.streams or streams, streams) // 4)
        self._replies = 0
        self._bytes = max(self._bytes // 2, _LEAST_BYTES)

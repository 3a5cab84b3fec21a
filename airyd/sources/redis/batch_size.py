"""The COUNT of each XREAD and XRANGE, adapted to the size of entries and to lost replies."""

from __future__ import annotations

from typing import Final

from airyd.limits import KIB, MIB

#: The target size of a reply in bytes, and the least to which lost replies lower it.
REPLY_BYTES: Final = MIB
_LEAST_BYTES: Final = 16 * KIB
#: Entries in the first reply of a connection, over all streams; and the maximum for one stream in any reply.
FIRST: Final = 16
_MOST: Final = 5000
#: Replies in a row after which the target size is raised again.
_PATIENCE: Final = 100


class BatchSize:
    """Learns from each reply how many entries to request next.

    It requests at most twice as many as came last, because large entries may follow small ones. After a lost reply it
    requests fewer, down to one entry of one stream: Redis closes a connection whose reply is larger than
    ``client-output-buffer-limit``, and would do so again for the same command.

    :ivar count: entries to request of each stream
    :ivar streams: streams to request at once; None for all
    """

    def __init__(self) -> None:
        self.count = FIRST
        self.streams: int | None = None
        self._bytes = REPLY_BYTES
        self._replies = 0

    def reconnected(self, streams: int) -> None:
        """Request few entries: the connection is new, and entries of any size may be waiting.

        :param streams: how many streams are read
        """
        self.count = min(self.count, max(1, FIRST // max(streams, 1)))

    def reply_received(self, *, most: int, entries: int, size: int, streams: int) -> None:
        """Adapt to a reply with entries.

        :param most: the most entries of one stream in it
        :param entries: its entries over all streams
        :param size: the bytes of these entries
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
        """Request all streams again: none of them has an unread entry."""
        self.streams = None

    def reply_lost(self, streams: int) -> None:
        """Request fewer entries: the connection was lost before the reply.

        :param streams: how many streams were requested
        """
        if self.count > 1:
            self.count = max(1, min(self.count, FIRST) // 4)
        else:
            self.streams = max(1, min(self.streams or streams, streams) // 4)
        self._replies = 0
        self._bytes = max(self._bytes // 2, _LEAST_BYTES)

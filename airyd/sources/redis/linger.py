"""How long a reader waits before its next XREAD, so that events which come fast share one reply of Redis."""

from __future__ import annotations

from typing import Final

#: Replies in a row that come fast, before the reader waits for the first time.
_FIRST_FAST: Final = 8
#: The most such replies, after waits that brought nothing.
_MOST_FAST: Final = 1024
#: Entries that a reply after a wait must have, or the wait brought nothing: without it, each had come alone.
_USEFUL: Final = 2


class Linger:
    """Learns from each reply whether to wait.

    Redis spends most of its time for each reply, less for each entry in it. A reply is fast if it comes within half of
    the wait after the one before. After some fast replies the reader waits each time, and so gets at most one reply for
    each wait. It stops when two waits in a row brought fewer than two entries: the events come slowly again, or their
    publisher waits until each has been delivered. Then twice as many fast replies are needed before it waits again.

    :param seconds: the length of a wait; 0 for none
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = 0.0
        self._fast = 0
        self._fast_needed = _FIRST_FAST
        self._useless = 0
        self._is_waiting = False

    def after_reply(self, now: float, entries: int, is_full: bool) -> float:
        """Return how many seconds to wait after a reply.

        :param now: the time of the reply, in seconds
        :param entries: the number of entries in it
        :param is_full: whether it had as many entries as were asked for, so that more may be there
        """
        if not self._seconds:
            return 0.0
        elapsed, self._last = now - self._last, now
        if self._is_waiting:
            self._judge(entries)
        else:
            self._fast = self._fast + 1 if elapsed < self._seconds / 2 else 0
            self._is_waiting = self._fast >= self._fast_needed
        return self._seconds if self._is_waiting and not is_full else 0.0

    def _judge(self, entries: int) -> None:
        if entries >= _USEFUL:
            self._useless = 0
            self._fast_needed = _FIRST_FAST
            return
        self._useless += 1
        if self._useless == 2:
            self._is_waiting = False
            self._useless = self._fast = 0
            self._fast_needed = min(2 * self._fast_needed, _MOST_FAST)

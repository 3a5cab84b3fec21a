"""The replay of history to one subscription: for a resume, and for a client that acknowledges messages.

The steps of a resume are: hold, replay, merge, go live. While a page of the history is being read, live events are
held. After the last page, the held events that it did not contain are sent. Then the subscription is *level with the
feed*: it has every event that the feed has delivered.

The subscription of a client that acknowledges keeps its replay until it ends. Its *window* limits how many
unacknowledged messages it may have. When the window is full, the replay pauses; when there is room again, it continues
with the history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.deferreds import result_of
from airyd.errors import Fault, SourceUnavailable, StompError
from airyd.events import Event, HistoryPage, RowFilter
from airyd.hub.shared_pages import SharedPages
from airyd.limits import HELD_BYTES, HELD_EVENTS, REPLAY_BUFFER, REPLAY_PAGE, REPLAY_PIECE, REPLAY_PIECE_BYTES
from airyd.metrics import REPLAY_LOST, Metrics

#: A paused replay checks that its position is still in the history: after so many live events, and not more often than
#: once in so many seconds.
PROBE_EVERY = 50
PROBE_SECONDS = 5.0
#: Seconds until a replay that was answered reads again, if the source could not be reached.
RETRY_SECONDS = 1.0


class ReplayState(Enum):
    """The state of a replay; see docs/architecture.rst, "Resume"."""

    READING = auto()  # a page of the history is being read or sent; live events are held
    PAUSED = auto()  # the window or the client's buffer is full; live events are dropped, the history has them
    LIVE = auto()  # the history is read; events that the feed delivers late, up to ``last``, are dropped
    ENDED = auto()  # nothing more is sent


class ReplayTarget(Protocol):
    """The subscription that a replay sends to."""

    @property
    def position(self) -> str:
        """The id of the last event that the feed delivered to the hub."""

    @property
    def buffered(self) -> int:
        """The bytes that are buffered for the client."""

    @property
    def buffered_mark(self) -> int | None:
        """Above how many buffered bytes the client reads from the history; None if the source keeps none."""

    def seconds(self) -> float:
        """Return the reactor's time."""

    def resumed(self, recovered: bool) -> None:
        """Answer the SUBSCRIBE, before the first event is sent.

        :param recovered: whether all events after the client's position follow. If not, the subscription continues
            from the feed's position: with a window this replay goes live, without one it ends
        """

    def send_events(self, events: Sequence[Event]) -> Sequence[Event]:
        """Send the MESSAGEs of events at once; return the events that the row filter lets pass."""

    def join(self) -> None:
        """Move the subscription to a group, since it is level with the feed."""

    def later(self, call: Callable[[], None], seconds: float = 0.0) -> None:
        """Call back in a later turn of the reactor, or after so many seconds."""

    def in_turn(self, call: Callable[[], None]) -> None:
        """Call back now, or in a later turn of the reactor: one replay sends per turn (``TurnQueue``)."""

    def report_gap(self, since: str | None) -> None:
        """See ``airyd.hub.pacing.NoticeReceiver``."""

    def fail(self, error: StompError) -> None:
        """End the client's connection."""


class Window:
    """The unacknowledged messages of a subscription, oldest first (STOMP 1.2, "ACK").

    :param size: the most messages that may be unacknowledged
    """

    __slots__ = ("_outstanding", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._outstanding: dict[str, None] = {}

    @property
    def room(self) -> int:
        """How many more messages may be sent without an acknowledgement."""
        return self.size - len(self._outstanding)

    def add(self, event_id: str) -> None:
        """Add a message that was sent."""
        self._outstanding[event_id] = None

    @property
    def outstanding(self) -> list[str]:
        """The event ids of the unacknowledged messages, oldest first, as a new list."""
        return list(self._outstanding)

    def settle(self, event_id: str, cumulative: bool) -> list[str]:
        """Settle a message, which was acknowledged (or refused, by NACK); return the event ids that are settled now.

        :param event_id: its event; an unknown one settles nothing
        :param cumulative: whether all messages before it are settled, too
        """
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


class ReplayCursor:
    """Brings one subscription from a position to the live feed, and serves it from then on if it has a window.

    :param last: the id of the last event that the subscription has, or the position to start from
    :param window: the limit on unacknowledged messages; None for ``ack:auto``
    :param is_answered: whether the SUBSCRIBE has been answered; then it waits, for as long as it takes, for a source
        that cannot be reached

    :ivar row_filter: selects the live events that :meth:`feed` gets; None for all
    """

    __slots__ = (
        "_began",
        "_destination",
        "_established",
        "_feed_position",
        "_gap_position",
        "_held",
        "_held_bytes",
        "_key",
        "_last",
        "_metrics",
        "_passed",
        "_probed_at",
        "_scheduled",
        "_source",
        "_state",
        "_target",
        "row_filter",
        "window",
    )

    _log = Logger()

    def __init__(
        self,
        source: SharedPages,
        destination: str,
        last: str,
        target: ReplayTarget,
        window: Window | None,
        metrics: Metrics,
        is_answered: bool = False,
    ) -> None:
        self.window = window
        self.row_filter: RowFilter | None = None
        self._source = source
        self._destination = destination
        self._target = target
        self._metrics = metrics
        self._state = ReplayState.PAUSED
        self._began: float | None = None  # when a resume began, until it has caught up for the first time
        self._established = is_answered
        self._scheduled = False
        self._held: list[Event] | None = None
        self._held_bytes = 0
        self._passed = 0
        self._probed_at = float("-inf")
        self._last = last
        self._key: tuple[int, ...] = ()  # orders _last among the ids of the destination
        self._feed_position = ""  # the feed's position when the last read began; later live events are held
        self._gap_position: str | None = None  # after a gap: the feed's position, until the history was read

    @property
    def last(self) -> str:
        """The id of the last event that the subscription has, or the position that it started from."""
        return self._last

    @property
    def is_over(self) -> bool:
        """Whether :meth:`end` was called."""
        return self._state is ReplayState.ENDED

    @property
    def is_behind(self) -> bool:
        """Whether the feed may have delivered events that the subscription does not have."""
        return self._state in (ReplayState.READING, ReplayState.PAUSED)

    def catch_up(self) -> None:
        """Replay the events after the client's position, then go live."""
        self._began = self._target.seconds()
        self._read()

    def pass_over(self, position: str) -> None:
        """Move the position of a live replay to that of the feed: the row filter hides all events between the two.

        Without this, the replay would read them all after a pause, and might find that some have left the history.
        """
        if self._state is ReplayState.LIVE and self.row_filter is not None:
            key = self._source.order(self._destination, position)
            if key > self._key:
                self._last, self._key = position, key

    def fail(self, error: StompError) -> None:
        """End the client's connection."""
        self._target.fail(error)

    def forget_held(self) -> None:
        """Drop the held live events, which an old row filter chose; a later page has those that a new one shows."""
        if self._state is ReplayState.READING and self._target.position != self._feed_position:
            self._held = None

    def go_live(self, position: str) -> None:
        """Go live from a position of the feed, without reading the history."""
        self._established = True
        self._held = None
        self._last = position
        self._key = self._source.order(self._destination, position)
        self._state = ReplayState.LIVE

    def end(self) -> None:
        """Stop; a page that is still being read is dropped when it arrives."""
        self._state = ReplayState.ENDED
        self._held = None

    def renewed(self) -> ReplayCursor:
        """Return a new replay that continues where this one ended, after a gap; :meth:`start_after_gap` starts it."""
        cursor = ReplayCursor(
            self._source, self._destination, self._last, self._target, self.window, self._metrics, self._established
        )
        cursor._gap_position = self._target.position
        return cursor

    def start_after_gap(self) -> None:
        """Start after a gap: read at once if there is room, so that live events are held from now on."""
        if self._has_room():
            self._read()

    def feed(self, events: Sequence[Event], before: str) -> None:
        """Take the live events of a batch that the row filter lets pass, at least one, in order.

        :param before: the feed's position before the batch
        """
        self.pass_over(before)
        if self._state is ReplayState.READING:
            self._hold(events)
        elif self._state is ReplayState.LIVE:
            self._send_new(events)
            self._join_if_level()
        elif self._state is ReplayState.PAUSED:
            self._let_pass(len(events))

    def continue_reading(self) -> None:
        """Continue reading if the replay is paused and has room; call this when the client's buffer is empty."""
        self._join_if_level()
        if self._state is ReplayState.PAUSED and not self._scheduled and self._has_room():
            # In a later turn, so that a long history does not delay other clients, and several ACKs that arrive
            # together cause one read.
            self._scheduled = True
            self._target.later(self._read_on)

    def settle(self, event_id: str, cumulative: bool) -> list[str]:
        """Settle messages as ``Window.settle`` does, and continue if there is room now."""
        settled = [] if self.window is None else self.window.settle(event_id, cumulative)
        self.continue_reading()
        return settled

    def _has_room(self) -> bool:
        return self._target.buffered <= REPLAY_BUFFER and (self.window is None or self.window.room > 0)

    def _read_on(self) -> None:
        self._scheduled = False
        if self._state is ReplayState.PAUSED and self._has_room():
            self._read()

    def _read(self) -> None:
        self._state = ReplayState.READING
        self._feed_position = self._target.position
        self._held = []
        self._held_bytes = 0
        limit = REPLAY_PAGE if self.window is None else min(REPLAY_PAGE, self.window.room)
        reading = self._source.replay(self._destination, self._last, limit)
        page = result_of(reading)
        if page is not None and page.complete and not page.events:
            self._replay(page, ())  # there is nothing to send, so it need not wait for its turn
        else:
            reading.addCallback(self._page).addErrback(self._unreadable)

    def _hold(self, events: Sequence[Event]) -> None:
        if self._held is None:
            return
        self._held.extend(events)
        self._held_bytes += sum(len(event.body) for event in events)
        if len(self._held) > HELD_EVENTS or self._held_bytes > HELD_BYTES:
            self._held = None  # too many: they will be read from the history

    def _page(self, page: HistoryPage) -> None:
        if self.is_over:
            return
        if not page.complete:
            self._incomplete()
            return
        # When hundreds reconnect at once, sending their pages must not delay the live events of all others.
        self._target.in_turn(lambda: self._replay(page, page.events))

    def _replay(self, page: HistoryPage, rest: Sequence[Event]) -> None:
        """Send the rest of a page, piece by piece."""
        if not self._established and not self.is_over:
            self._established = True
            self._target.resumed(True)
        self._gap_position = None
        # The subscription may have ended since the page arrived. It may also have ended just now: an UNSUBSCRIBE that
        # waited for the answer is carried out at once.
        if self.is_over:
            return
        if rest and self._target.buffered <= REPLAY_BUFFER:
            piece = _piece(rest)
            self._metrics.replayed += len(piece)
            if not self._send(piece):
                return
            rest = rest[len(piece) :]
            if rest:
                self._target.in_turn(lambda: self._replay(page, rest))
                return
        held, self._held = self._held, None
        if rest:
            held = None  # the rest is read again when the client's buffer is empty
        self._key = self._source.order(self._destination, self._last)
        if page.more or held is None:
            self._state = ReplayState.PAUSED
            self.continue_reading()
        else:
            self._state = ReplayState.LIVE
            if self._began is not None:
                self._metrics.replay_time.observe(self._target.seconds() - self._began)
                self._began = None
            self._send_new(held)
            self._join_if_level()

    def _send(self, events: Sequence[Event]) -> bool:
        """Send events, at least one; return whether the replay continues."""
        seen = self._target.send_events(events)
        if self.window is not None:
            for event in seen:
                self.window.add(event.id)
        self._last = events[-1].id
        return not self.is_over  # the send may have ended the client, if it is too slow

    def _send_new(self, events: Sequence[Event]) -> None:
        for event in events:
            key = self._source.order(self._destination, event.id)
            if key <= self._key:
                continue  # a page contained it
            mark = self._target.buffered_mark
            if (self.window is not None and self.window.room <= 0) or (
                mark is not None and self._target.buffered > mark
            ):
                self._state = ReplayState.PAUSED
                return
            if not self._send((event,)):
                return
            self._key = key

    def _join_if_level(self) -> None:
        # The history may be ahead of the feed. Then the feed will still deliver events that were replayed already, and
        # only a replay drops those; a group would send them again. A client that has bytes to read would soon leave the
        # group again.
        if (
            self._state is ReplayState.LIVE
            and self.window is None
            and (not self._target.buffered or self._target.buffered_mark is None)
            and self._source.order(self._destination, self._target.position) >= self._key
        ):
            self._target.join()

    def _let_pass(self, count: int) -> None:
        # A paused replay reads nothing, so it would not notice that its position has left the history.
        self._passed += count
        now = self._target.seconds()
        if self._passed >= PROBE_EVERY and now - self._probed_at >= PROBE_SECONDS:
            self._passed = 0
            self._probed_at = now
            probe = self._source.replay(self._destination, self._last, 1)
            probe.addCallback(self._probed, self._last).addErrback(self._unprobed)

    def _probed(self, page: HistoryPage, last: str) -> None:
        if self._state is ReplayState.PAUSED and self._last == last and not page.complete:
            self._incomplete()

    def _unprobed(self, failure: Failure) -> None:
        if not failure.check(SourceUnavailable):  # else wait for the next probe
            self._unreadable(failure)

    def _incomplete(self) -> None:
        self._began = None
        if not self._established:
            self._established = True
            self._held = None
            self._target.resumed(False)
            return
        self._metrics.replays[REPLAY_LOST] += 1
        held, self._held = self._held, None
        begin, self._gap_position = self._gap_position, None
        self._target.report_gap(self._last)
        if self.is_over:
            return
        if begin is not None and held is not None and begin == self._feed_position:
            self.go_live(begin)
            self._send_new(held)  # all events that the feed delivered after the gap
        elif begin is not None and begin != self._last:  # events after the gap were dropped; the history may have them
            self._last = begin
            self._state = ReplayState.PAUSED
            self.continue_reading()
            return
        else:
            # The history may have been ahead of the feed, which then still delivers events that were replayed already.
            last, order = self._last, self._source.order
            self.go_live(self._target.position)
            if order(self._destination, last) > self._key:
                self.go_live(last)
        self._join_if_level()

    def _unreadable(self, failure: Failure) -> None:
        if self.is_over:
            return
        if isinstance(failure.value, SourceUnavailable) and self._established:
            self._state = ReplayState.PAUSED
            self._held = None
            self._scheduled = True
            self._target.later(self._read_on, RETRY_SECONDS)
        elif isinstance(failure.value, SourceUnavailable):
            self._target.fail(failure.value.stomp_error())
        else:
            self._log.failure("replay of {destination} failed", failure, destination=self._destination)
            self._target.fail(StompError(Fault.INTERNAL, "The replay failed."))


def _piece(events: Sequence[Event]) -> Sequence[Event]:
    """Return as many of the first events, at least one, as are sent in one turn of the reactor."""
    size = 0
    for count, event in enumerate(events[:REPLAY_PIECE], 1):
        size += len(event.body)
        if size >= REPLAY_PIECE_BYTES:
            return events[:count]
    return events[:REPLAY_PIECE]

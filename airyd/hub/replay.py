"""One subscription's way through the history, its window and its pace: for those that can't be in a group.

Resume is: hold, replay, merge, go live. While a page of the history is read, live events are held;
after the last page, what was held and not in the page follows, and the subscription is level. A
subscription with client acknowledgement stays here for good: it never has more than its window
of unacknowledged messages on the way, and reads on from the history when there is room again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.errors import Fault, SourceUnavailable, StompError
from airyd.events import Event, Replay
from airyd.interfaces import IEventSource
from airyd.limits import HELD_BYTES, HELD_EVENTS, REPLAY_BUFFER, REPLAY_PAGE, REPLAY_PIECE, REPLAY_PIECE_BYTES
from airyd.metrics import REPLAY_LOST, Metrics

#: While a window is full, the position is looked up in the history once per this many events that pass it.
PROBE_EVERY = 50


class ReplayState(Enum):
    """Where a replay is; see docs/architecture.rst, "Resume"."""

    READING = auto()  # a page of the history is under way; live events are held
    PAUSED = auto()  # the window or the client's buffer is full; live events pass by, the history has them
    LIVE = auto()  # level with the feed, but for events up to ``last`` that the feed may still bring
    ENDED = auto()


class ReplayTarget(Protocol):
    """The subscription that a replay sends to."""

    @property
    def position(self) -> str:
        """The id of the last event that the feed brought to the hub."""

    @property
    def buffered(self) -> int:
        """The bytes that wait for this client."""

    def resumed(self, recovered: bool) -> None:
        """Learn, before the first event is sent, whether all that came after the client's position follows.

        If not, the subscription lets this replay go live from where the feed is, or ends it.
        """

    def send_events(self, events: Sequence[Event]) -> Sequence[Event]:
        """Send the MESSAGEs of events at once; return the events that no filter hides from this subscription."""

    def join(self) -> None:
        """Let a group take over: the feed and this subscription are at the same event."""

    def later(self, call: Callable[[], None]) -> None:
        """Call back in another turn of the reactor."""

    def in_turn(self, call: Callable[[], None]) -> None:
        """Call back when it is this subscription's turn: of all that have much to send, one per turn of the reactor."""

    def report_gap(self, since: str | None) -> None:
        """See ``airyd.hub.pacing.NoticeReceiver``."""

    def fail(self, error: StompError) -> None:
        """End the client's connection."""


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
        """Add a message that was sent."""
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


class ReplayCursor:
    """Brings one subscription from a position to the live feed, and keeps it there if it has a window.

    :param last: the id of the last event that the subscription has, or the position to start from
    :param window: the bound on unacknowledged messages; None for ``ack:auto``
    """

    __slots__ = (
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
        "_scheduled",
        "_source",
        "_state",
        "_target",
        "window",
    )

    _log = Logger()

    def __init__(
        self,
        source: IEventSource,
        destination: str,
        last: str,
        target: ReplayTarget,
        window: Window | None,
        metrics: Metrics,
    ) -> None:
        self.window = window
        self._source = source
        self._destination = destination
        self._target = target
        self._metrics = metrics
        self._state = ReplayState.PAUSED
        self._established = False
        self._scheduled = False
        self._held: list[Event] | None = None
        self._held_bytes = 0
        self._passed = 0
        self._last = last
        self._key: tuple[int, ...] = ()
        self._feed_position = ""  # when the last read began; all that came since is held
        self._gap_position: str | None = None  # at which the feed went on after a gap, until it is needed

    @property
    def last(self) -> str:
        """The id of the last event that the subscription has, or the position that it started from."""
        return self._last

    @property
    def is_over(self) -> bool:
        """Whether :meth:`end` was called."""
        return self._state is ReplayState.ENDED

    def catch_up(self) -> None:
        """Start from the position that the client named: replay what came after it, then go live."""
        self._read()

    def go_live(self, position: str) -> None:
        """Start from where the feed is."""
        self._established = True
        self._held = None
        self._last = position
        self._key = self._source.order(self._destination, position)
        self._state = ReplayState.LIVE

    def end(self) -> None:
        """Stop; whatever is under way is dropped when it comes."""
        self._state = ReplayState.ENDED
        self._held = None

    def renewed(self) -> ReplayCursor:
        """Return another one that goes on from where this one is, with :meth:`go_on`, after a gap in the feed."""
        after = ReplayCursor(self._source, self._destination, self._last, self._target, self.window, self._metrics)
        after._established = self._established
        after._gap_position = self._target.position
        return after

    def go_on(self) -> None:
        """Start after a gap: read at once, so that what comes from now on is held."""
        if self._has_room():
            self._read()

    def feed(self, events: Sequence[Event]) -> None:
        """Take a batch of live events, in order."""
        if self._state is ReplayState.READING:
            self._hold(events)
        elif self._state is ReplayState.LIVE:
            self._send_new(events)
            self._join_if_level()
        elif self._state is ReplayState.PAUSED:
            self._let_pass(len(events))

    def proceed(self) -> None:
        """Read on, if room was what this replay waited for; call it when the client's buffer was sent."""
        if self._state is ReplayState.PAUSED and not self._scheduled and self._has_room():
            # In another turn: a long history must not hold up everybody else, nor a chunk of ACKs read page by page.
            self._scheduled = True
            self._target.later(self._read_on)

    def settle(self, event_id: str, cumulative: bool) -> list[str]:
        """Settle messages of the window and return which: none if this one isn't outstanding."""
        settled = [] if self.window is None else self.window.settle(event_id, cumulative)
        self.proceed()
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
        reading.addCallback(self._page).addErrback(self._unreadable)

    def _hold(self, events: Sequence[Event]) -> None:
        if self._held is None:
            return
        self._held.extend(events)
        self._held_bytes += sum(len(event.body) for event in events)
        if len(self._held) > HELD_EVENTS or self._held_bytes > HELD_BYTES:
            self._held = None  # too far behind: the history has them, and paging goes on

    def _page(self, page: Replay) -> None:
        if self.is_over:
            return
        if not page.complete:
            self._incomplete()
            return
        # When hundreds come back at once, their pages must not hold up the live events of all others.
        self._target.in_turn(lambda: self._replay(page, page.events))

    def _replay(self, page: Replay, rest: Sequence[Event]) -> None:
        """Send the rest of a page, piece by piece."""
        if not self._established and not self.is_over:
            self._established = True
            self._target.resumed(True)
        self._gap_position = None
        if self.is_over:  # now, or since the page came: somebody waited for this to unsubscribe
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
            held = None  # the rest is read again, when the client has read what it was sent
        self._key = self._source.order(self._destination, self._last)
        if page.more or held is None:
            self._state = ReplayState.PAUSED
            self.proceed()
        else:
            self._state = ReplayState.LIVE
            self._send_new(held)
            self._join_if_level()

    def _send(self, events: Sequence[Event]) -> bool:
        """Send events, one at least; say whether there is still somebody to send to."""
        seen = self._target.send_events(events)
        if self.window is not None:
            for event in seen:
                self.window.add(event.id)
        self._last = events[-1].id
        return not self.is_over  # the send may have found the client too slow

    def _send_new(self, events: Sequence[Event]) -> None:
        for event in events:
            key = self._source.order(self._destination, event.id)
            if key <= self._key:
                continue  # the replay had it
            if self.window is not None and self.window.room <= 0:
                self._state = ReplayState.PAUSED
                return
            if not self._send((event,)):
                return
            self._key = key

    def _join_if_level(self) -> None:
        # A replay may be ahead of the feed: then the feed's events up to the last replayed one are still to be dropped.
        if (
            self._state is ReplayState.LIVE
            and self.window is None
            and self._source.order(self._destination, self._target.position) >= self._key
        ):
            self._target.join()

    def _let_pass(self, count: int) -> None:
        # A client that acknowledges nothing would not notice that its position leaves the history: look now and then.
        self._passed += count
        if self._passed >= PROBE_EVERY:
            self._passed = 0
            probe = self._source.replay(self._destination, self._last, 1)
            probe.addCallback(self._probed, self._last).addErrback(self._unprobed)

    def _probed(self, page: Replay, last: str) -> None:
        if self._state is ReplayState.PAUSED and self._last == last and not page.complete:
            self._incomplete()

    def _unprobed(self, failure: Failure) -> None:
        if not failure.check(SourceUnavailable):  # else a later one will tell
            self._unreadable(failure)

    def _incomplete(self) -> None:
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
            self._send_new(held)  # all that the feed brought after the gap
        elif begin is not None and begin != self._last:  # some of that passed by; the history may have it
            self._last = begin
            self._state = ReplayState.PAUSED
            self.proceed()
            return
        else:
            self.go_live(self._target.position)
        self._join_if_level()

    def _unreadable(self, failure: Failure) -> None:
        if self.is_over:
            return
        if isinstance(failure.value, SourceUnavailable):
            self._target.fail(failure.value.stomp_error())
        else:
            self._log.failure("replay of {destination} failed", failure, destination=self._destination)
            self._target.fail(StompError(Fault.INTERNAL, "The replay failed."))


def _piece(events: Sequence[Event]) -> Sequence[Event]:
    """Return as many of these events, one at least, as are sent at once."""
    size = 0
    for count, event in enumerate(events[:REPLAY_PIECE], 1):
        size += len(event.body)
        if size >= REPLAY_PIECE_BYTES:
            return events[:count]
    return events[:REPLAY_PIECE]

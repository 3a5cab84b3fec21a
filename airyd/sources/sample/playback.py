"""RecordedEvent events: a file of JSON lines, played at its own times."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Annotated, Final, NamedTuple

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from airyd.errors import ConfigurationError
from airyd.files import read_bytes
from airyd.payloads import check

#: A recording that is played in a loop must last as long as this, in seconds.
SHORTEST_LOOP: Final = 0.1
#: Bytes of a recording, all of which is kept.
MOST_BYTES: Final = 256 * 1024 * 1024


class RecordedEvent(NamedTuple):
    """One line of a recording.

    :ivar at: seconds from the beginning
    """

    at: float
    destination: str
    body: bytes


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    destination: str
    payload: msgspec.Raw
    at: Annotated[float, msgspec.Meta(ge=0)]


_DECODER: Final = msgspec.json.Decoder(_Line)


def read_recording(path: str, destinations: Container[str], body_limit: int) -> list[RecordedEvent]:
    """Return the lines of a file, each ``{"destination": …, "payload": …, "at": seconds}``.

    A body has the bytes that the payload has in the file. Blank lines are skipped.

    Errors: ``ConfigurationError`` with the number of the first line that is wrong, and why: not such
    an object, a destination not among ``destinations``, a payload that breaks the payload rules
    (``airyd.payloads``), or a time before that of the line above.
    """
    content = read_bytes("sample: file", path, MOST_BYTES)
    recording: list[RecordedEvent] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            recorded = _read_line(line, destinations, body_limit)
            if recording and recorded.at < recording[-1].at:
                raise ValueError(f"'at' goes back from {recording[-1].at:g} to {recorded.at:g}")
        except RecursionError:
            raise ConfigurationError(f"sample: file {path}, line {number}: nested too deep") from None
        except ValueError as error:
            raise ConfigurationError(f"sample: file {path}, line {number}: {error}") from None
        recording.append(recorded)
    if not recording:
        raise ConfigurationError(f"sample: file {path}: there are no events in it; write one a line")
    return recording


def _read_line(line: bytes, destinations: Container[str], body_limit: int) -> RecordedEvent:
    """Return what the line holds; ``ValueError`` says what is wrong with it."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: invalid byte at offset {error.start}") from None
    try:
        read = _DECODER.decode(line)
    except msgspec.DecodeError as error:
        raise ValueError(f"not an object with 'destination', 'payload' and 'at': {error}") from None
    if read.destination not in destinations:
        raise ValueError(f"{read.destination!r} is not in the catalogue (see --destination)")
    body = bytes(read.payload)
    check(read.destination, body, body_limit)
    return RecordedEvent(read.at, read.destination, body)


class RecordingPlayer:
    """Publishes a recording once, or over and over.

    :param clock: its times count from ``start`` on
    """

    def __init__(self, recording: Sequence[RecordedEvent], loop: bool, clock: IReactorTime) -> None:
        if loop and recording[-1].at < SHORTEST_LOOP:
            raise ConfigurationError(f"sample: to loop, the last event's 'at' must be at least {SHORTEST_LOOP:g}")
        self._recording = recording
        self._loop = loop
        self._clock = clock
        self._next = 0
        self._begin = 0.0
        self._publish: Callable[[str, bytes], object] | None = None
        self._call: IDelayedCall | None = None

    def start(self, publish: Callable[[str, bytes], object]) -> None:
        """Begin; what is due at once is published in the reactor's next turn."""
        self._publish = publish
        self._begin = self._clock.seconds()
        self._schedule()

    def stop(self) -> None:
        """End."""
        self._publish = None
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _schedule(self) -> None:
        now = self._clock.seconds()
        if self._next == len(self._recording):
            if not self._loop:
                return
            self._next = 0
            length = self._recording[-1].at
            # After the process has slept, one pass is made up for, not all of them.
            self._begin = max(self._begin + length, now - length)
        due = self._begin + self._recording[self._next].at
        self._call = self._clock.callLater(max(0.0, due - now), self._play)

    def _play(self) -> None:
        """Publish what has the same time as the next event, or is late."""
        self._call = None
        elapsed = max(self._clock.seconds() - self._begin, self._recording[self._next].at)
        while self._next < len(self._recording) and self._recording[self._next].at <= elapsed:
            recorded = self._recording[self._next]
            self._next += 1
            if self._publish is None:  # stopped by what an event set off
                return
            self._publish(recorded.destination, recorded.body)
        if self._publish is not None:
            self._schedule()

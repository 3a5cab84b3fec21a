"""The player of recorded events: reads a file of JSON lines and publishes each at its time."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Annotated, Final, NamedTuple

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from airyd.errors import ConfigurationError
from airyd.files import read_bytes
from airyd.payloads import check

#: The shortest recording that may be looped, in seconds.
SHORTEST_LOOP: Final = 0.1
#: The maximum size of a recording in bytes; it is kept in memory.
MOST_BYTES: Final = 256 * 1024 * 1024


class RecordedEvent(NamedTuple):
    """One line of a recording.

    :ivar at: seconds since the start
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

    A body keeps the bytes of the payload in the file. Blank lines are skipped.

    Errors: ``ConfigurationError`` with the number of the first wrong line, and the reason: not such an
    object, a destination not among ``destinations``, a payload that breaks the payload rules
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
            raise ConfigurationError(f"sample: file {path}, line {number}: nested too deeply") from None
        except ValueError as error:
            raise ConfigurationError(f"sample: file {path}, line {number}: {error}") from None
        recording.append(recorded)
    if not recording:
        raise ConfigurationError(f"sample: file {path}: it has no events; write one on each line")
    return recording


def _read_line(line: bytes, destinations: Container[str], body_limit: int) -> RecordedEvent:
    """Return the event of a line; ``ValueError`` says what is wrong with it."""
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
    """Publishes a recording once, or in a loop.

    :param clock: for the times, which count from :meth:`start`
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
        """Start; events due at once are published in the reactor's next turn."""
        self._publish = publish
        self._begin = self._clock.seconds()
        self._schedule()

    def stop(self) -> None:
        """Stop."""
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
            # After a suspend of the process, catch up on one pass only.
            self._begin = max(self._begin + length, now - length)
        due = self._begin + self._recording[self._next].at
        self._call = self._clock.callLater(max(0.0, due - now), self._play)

    def _play(self) -> None:
        """Publish the next event, and all others that are due."""
        self._call = None
        elapsed = max(self._clock.seconds() - self._begin, self._recording[self._next].at)
        while self._next < len(self._recording) and self._recording[self._next].at <= elapsed:
            recorded = self._recording[self._next]
            self._next += 1
            if self._publish is None:  # an event caused the stop
                return
            self._publish(recorded.destination, recorded.body)
        if self._publish is not None:
            self._schedule()

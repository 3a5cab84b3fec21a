"""The command ``airyd publish``: posts an event, or each line of standard input, to the admin page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Final, NamedTuple
from urllib.parse import quote

from airyd.cli.admin_client import AdminClient, Reply, RequestFailed
from airyd.cli.terminal import Console, OutputClosed, visible

#: Seconds between two updates of the progress line.
_PROGRESS_EVERY: Final = 0.1
#: The statuses that refuse a single event; any other 4xx would refuse every event.
_EVENT_REFUSALS: Final = frozenset((400, 413, 422))
_UNSURE: Final = "the event may have been published: publishing it again may publish it twice"


#: Longest line, in bytes: more than any server accepts.
_LONGEST_LINE: Final = 16 * 1024 * 1024


class EventRefused(Exception):
    """The server refuses this event; the text is its reason."""


class EventUnconfirmed(Exception):
    """The server can't say whether it has published this event; the text is its reason."""


class PublishFailed(Exception):
    """No more events can be published; the text says why in one line."""


class Line(NamedTuple):
    """A line of the input.

    :ivar number: counted from 1; None for the BODY of the command line
    :ivar text: without the line end
    """

    number: int | None
    text: bytes


def read_lines(stream: BinaryIO, longest: int = _LONGEST_LINE) -> Iterator[Line]:
    """Yield the lines that are not blank; errors: :class:`PublishFailed`."""
    number = 0
    try:
        while line := stream.readline(longest + 1):
            number += 1
            if len(line) > longest:
                raise PublishFailed(f"stopped: line {number} is longer than {longest} bytes")
            text = line.removesuffix(b"\n").removesuffix(b"\r")
            if text and not text.isspace():
                yield Line(number, text)
    except OSError as error:
        raise PublishFailed(f"cannot read standard input: {error.strerror or error}") from None


class Publisher:
    """Posts events of one destination and returns their ids."""

    def __init__(self, client: AdminClient, destination: str) -> None:
        self._client = client
        self._path = f"publish/{quote(destination.removeprefix('/'))}"

    def publish(self, body: bytes) -> str:
        """Post one event and return its ``message-id``.

        A failed post is never repeated, because that could publish the event twice.

        Errors: :class:`EventRefused`, :class:`EventUnconfirmed`; ``RequestFailed`` and :class:`PublishFailed` if
        further events would fail as well.
        """
        return _id_of(self._client.post(self._path, body, _UNSURE))


def publish_lines(publisher: Publisher, lines: Iterable[Line], console: Console, seconds: Callable[[], float]) -> int:
    """Publish line after line, and report ids and refusals; return the exit status."""
    report = _Report(console, seconds)
    try:
        for line in lines:
            report.at = line
            try:
                report.published(publisher.publish(line.text))
            except EventRefused as refusal:
                report.refused(str(refusal))
            except EventUnconfirmed as error:
                report.unconfirmed(str(error))
            except (RequestFailed, PublishFailed) as error:
                report.failed(f"{report.where()}{error}")
                break
    except PublishFailed as error:
        report.failed(str(error))
    except OutputClosed as closed:
        report.failed(closed.reason or "standard output was closed; stopped")
    finally:
        report.end()
    return report.status


class _Report:
    """Reports results: as text on a terminal, as JSON lines in a pipe."""

    def __init__(self, console: Console, seconds: Callable[[], float]) -> None:
        self._console = console
        self._seconds = seconds
        self._started = self._looked = seconds()
        self._published = 0
        self._refused = 0
        self._unconfirmed = 0
        self.at: Line | None = None
        self.status = 0

    def where(self) -> str:
        return "" if self.at is None or self.at.number is None else f"line {self.at.number}: "

    def published(self, event_id: str) -> None:
        self._published += 1
        if self._console.terminal:
            self._console.show(visible(event_id))
        else:
            self._console.write(json.dumps({"id": event_id}).encode() + b"\n")
        self._progress()

    def refused(self, reason: str) -> None:
        self._refused += 1
        self.status = 1
        self._console.say(f"{self.where()}refused: {reason}")
        self._progress()

    def unconfirmed(self, reason: str) -> None:
        self._unconfirmed += 1
        self.status = 1
        self._console.say(f"{self.where()}not confirmed: {reason.rstrip('.')}; {_UNSURE}")
        self._progress()

    def failed(self, reason: str) -> None:
        self.status = 1
        self._console.say(reason)

    def end(self) -> None:
        """Print the totals, except for a single event of the command line."""
        self._console.clear_progress()
        if self.at is None or self.at.number is not None:
            self._console.say(self._count())

    def _progress(self) -> None:
        now = self._seconds()
        if self.at is not None and self.at.number is not None and now - self._looked >= _PROGRESS_EVERY:
            self._looked = now
            self._console.progress(self._count())

    def _count(self) -> str:
        took = self._seconds() - self._started
        rate = f", {self._published / took:.0f}/s" if took > 0 else ""
        refused = f", {self._refused} refused" if self._refused else ""
        unconfirmed = f", {self._unconfirmed} not confirmed" if self._unconfirmed else ""
        return f"{self._published} published{refused}{unconfirmed}{rate}"


def _id_of(reply: Reply) -> str:
    """Return the event's id in a successful response."""
    if reply.status == 200:
        match reply.value:
            case {"id": str(event_id)}:
                return event_id
        raise PublishFailed("the answer has no id: is this airyd's admin page?")
    if reply.status in _EVENT_REFUSALS:
        raise EventRefused(reply.reason)
    if reply.status >= 500:
        raise EventUnconfirmed(reply.reason)
    raise PublishFailed(reply.reason)

"""Events to the admin endpoint, one after another over one connection (the work of ``airyd publish``)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

from twisted.internet.interfaces import IReactorTime

from airyd.cli.admin_client import AdminEndpoint, PostFailed, Reply
from airyd.cli.lines import Line, LineTooLong
from airyd.cli.terminal import Console, OutputClosed, visible

#: Seconds between two looks at the progress.
_PROGRESS_EVERY: Final = 0.1
#: What the server may say of one event; any other refusal would meet every event.
_EVENT_REFUSALS: Final = frozenset((400, 413, 422))
_UNSURE: Final = "the event may have been published: publishing it again may publish it twice"


class Refused(Exception):
    """The server does not take this event; the text is its reason."""


class Unconfirmed(Exception):
    """The server does not know whether it has published this event; the text is its reason."""


class PublishFailed(Exception):
    """Nothing more can be published; the text says why in one line."""


class Publisher:
    """Posts events of one destination and gives back their ids.

    :param endpoint: takes them
    """

    def __init__(self, endpoint: AdminEndpoint, destination: str) -> None:
        self._endpoint = endpoint
        self._path = f"publish/{quote(destination.removeprefix('/'))}"

    async def publish(self, body: bytes) -> str:
        """Post one event and return its ``message-id``.

        Never repeated by itself: a second try could publish the event twice.

        Errors: :class:`Refused`, :class:`Unconfirmed`, :class:`PublishFailed`.
        """
        try:
            return _id_of(await self._endpoint.post(self._path, body, _UNSURE))
        except PostFailed as error:
            raise PublishFailed(str(error)) from error


async def publish_lines(
    publisher: Publisher, next_line: Callable[[], Awaitable[Line | None]], console: Console, clock: IReactorTime
) -> int:
    """Publish line after line, saying ids and refusals; return the exit status.

    :param next_line: gives the next event, or None when there is no more
    """
    report = _Report(console, clock)
    try:
        while (line := await next_line()) is not None:
            report.at = line
            try:
                report.published(await publisher.publish(line.text))
            except Refused as refusal:
                report.refused(str(refusal))
            except Unconfirmed as error:
                report.unconfirmed(str(error))
    except PublishFailed as error:
        report.failed(f"{report.where()}{error}")
    except (LineTooLong, OSError) as error:
        report.failed(f"cannot read on: {error}")
    except OutputClosed as closed:
        report.failed(closed.reason or "nobody reads the ids any more; stopped")
    finally:
        report.end()
    return report.status


class _Report:
    """What a person or a program is told of the publishing."""

    def __init__(self, console: Console, clock: IReactorTime) -> None:
        self._console = console
        self._clock = clock
        self._started = self._looked = clock.seconds()
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
        """Sum up, unless there was just the one event of the command line."""
        self._console.clear_progress()
        if self.at is None or self.at.number is not None:
            self._console.say(self._count())

    def _progress(self) -> None:
        now = self._clock.seconds()
        if self.at is not None and self.at.number is not None and now - self._looked >= _PROGRESS_EVERY:
            self._looked = now
            self._console.progress(self._count())

    def _count(self) -> str:
        took = self._clock.seconds() - self._started
        rate = f", {self._published / took:.0f}/s" if took > 0 else ""
        refused = f", {self._refused} refused" if self._refused else ""
        unconfirmed = f", {self._unconfirmed} not confirmed" if self._unconfirmed else ""
        return f"{self._published} published{refused}{unconfirmed}{rate}"


def _id_of(reply: Reply) -> str:
    """Return the id that a good answer holds."""
    if reply.status == 200:
        match reply.value:
            case {"id": str(event_id)}:
                return event_id
        raise PublishFailed("the answer holds no id: is this airyd's admin endpoint?")
    if reply.status in _EVENT_REFUSALS:
        raise Refused(reply.reason)
    if reply.status >= 500:
        raise Unconfirmed(reply.reason)
    raise PublishFailed(reply.reason)

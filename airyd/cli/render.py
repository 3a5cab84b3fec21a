"""The output of ``airyd tail``: one line of text or of JSON for each event, and lines for status notices."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, NoReturn

from airyd.cli.terminal import visible
from airyd.events import (
    CHANNEL_CONNECTED,
    CHANNEL_DISCONNECTED,
    EVENTS,
    MESSAGE,
    UNREAD_COUNT,
    USER_PREFIX,
    plain_destination,
)

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_LONGEST_ID: Final = 24
_LONGEST_TEXT: Final = 300
_LINE_ENDS = str.maketrans({"\n": " ", "\r": " "})

_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"
_COLOURS: Final = {
    MESSAGE: "\x1b[32m",
    UNREAD_COUNT: "\x1b[33m",
    CHANNEL_CONNECTED: "\x1b[36m",
    CHANNEL_DISCONNECTED: "\x1b[31m",
}
_OTHER_COLOUR: Final = "\x1b[35m"


class Renderer:
    """Makes the lines for a terminal.

    :param destinations: the subscribed destinations, for the width of their column
    :param now: returns the local time
    :param colour: whether to colour the destination
    """

    def __init__(self, destinations: Sequence[str], now: Callable[[], datetime], colour: bool) -> None:
        self._now = now
        self._colour = colour
        self._width = max((len(_label(d)) for d in destinations), default=0)

    def line(self, destination: str, body: bytes) -> str:
        """Return the event as one line without a line end; control characters of the event are escaped."""
        time = f"{self._now():%H:%M:%S}"
        label = visible(_label(destination)).ljust(self._width)
        if self._colour:
            time = f"{_DIM}{time}{_RESET}"
            label = f"{_COLOURS.get(_plain(destination), _OTHER_COLOUR)}{label}{_RESET}"
        return f"{time} {label}  {visible(summary(destination, body))}"


def json_line(destination: str, message_id: str, body: bytes) -> bytes:
    """Return the event as one line of JSON with a line end; it contains the body as it was published.

    Line ends between the body's tokens become spaces. A body that is not JSON becomes a string; airyd sends no such
    body.
    """
    text = body.decode("utf-8", "replace")
    payload = text.translate(_LINE_ENDS) if _is_json(body) else _dump(text)
    head = f'{{"destination":{_dump(destination)},"message-id":{_dump(message_id)}'
    return f'{head},"payload":{payload}}}\n'.encode()


def summary(destination: str, body: bytes) -> str:
    """Return a summary of the event in one line: a sentence for Airy's destinations, else the body's text."""
    text = body.decode("utf-8", "replace")
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        return text
    summarise = _SUMMARIES.get(_plain(destination))
    sentence = summarise(payload) if summarise else None
    return text if sentence is None else sentence


def _message(payload: object) -> str | None:
    match payload:
        case {"conversation_id": str(conversation), "message": dict(message)}:
            sender = message.get("sender_type", message.get("from_contact"))
            if isinstance(sender, bool):  # Airy 0.17 put from_contact in the place of sender_type
                sender = "contact" if sender else "user"
            state = message.get("delivery_state", message.get("state"))
            who = f"conversation {_short(conversation)}" + (f" {sender.lower()}" if isinstance(sender, str) else "")
            note = f" ({state.lower()})" if isinstance(state, str) and state.lower() != "delivered" else ""
            return f"{who}: {_cut(_content(message.get('content')))}{note}"
    return None


def _unread_count(payload: object) -> str | None:
    match payload:
        case {"conversation_id": str(conversation), "unread_message_count": int(count)}:
            return f"conversation {_short(conversation)}: {count} unread"
    return None


def _channel(payload: object) -> str | None:
    match payload:
        case {"id": str(channel), **fields}:
            # Airy 0.8.1 moved the name into the metadata.
            metadata = fields.get("metadata")
            name = fields.get("name", metadata.get("name") if isinstance(metadata, dict) else None)
            source = fields.get("source")
            what = f"channel {_short(channel)}" + (f" {source}" if isinstance(source, str) else "")
            note = " (disconnected)" if fields.get("connected") is False else ""
            return (f"{what}: {_cut(name)}" if isinstance(name, str) else what) + note
    return None


def _metadata(payload: object) -> str | None:
    match payload:
        case {"subject": str(subject), "identifier": str(identifier), "metadata": dict(metadata)}:
            return f"{subject} {_short(identifier)}: {_cut(_dump(metadata))}"
    return None


def _event(event: object) -> str | None:
    """Summarise an event of ``/events`` by its type: ``message``, or since Airy 0.29 ``message.created``."""
    match event:
        case {"type": str(kind), "payload": payload}:
            summarise = _EVENT_SUMMARIES.get(kind.partition(".")[0])
            sentence = summarise(payload) if summarise else None
            return f"{kind}: {_cut(_dump(payload)) if sentence is None else sentence}"
    return None


_SUMMARIES: Final[Mapping[str, Callable[[object], str | None]]] = {
    MESSAGE: _message,
    UNREAD_COUNT: _unread_count,
    CHANNEL_CONNECTED: _channel,
    CHANNEL_DISCONNECTED: _channel,
    EVENTS: _event,
}
_EVENT_SUMMARIES: Final[Mapping[str, Callable[[object], str | None]]] = {
    "message": _message,
    "channel": _channel,
    "metadata": _metadata,
    "component": _metadata,
}


def _content(content: object) -> str:
    """Return the text in a message's content, in each of Airy's forms: object, array, or a source's raw string."""
    match content:
        case str():
            return _raw_content(content)
        case [_, *_]:
            return " ".join(_content(part) for part in content)
        case {"text": str(text)} | {"message": {"text": str(text)}}:
            return text
        case {"type": str(kind)}:
            return f"[{kind}]"
    return _dump(content)


def _raw_content(text: str) -> str:
    if text.startswith("{"):
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            return text
        match content:
            case {"text": str(inner)} | {"message": {"text": str(inner)}}:
                return inner
    return text


def _plain(destination: str) -> str:
    """Return the destination that a user destination filters, whose events look the same; others as they are."""
    return plain_destination(destination) if destination.startswith(USER_PREFIX) else destination


def _label(destination: str) -> str:
    return destination.removeprefix("/queue/") if destination in _SUMMARIES else destination


def _short(identifier: str) -> str:
    if _UUID.match(identifier):
        return f"{identifier[:4]}…"
    return identifier if len(identifier) <= _LONGEST_ID else f"{identifier[: _LONGEST_ID - 1]}…"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _is_json(body: bytes) -> bool:
    try:
        # JSON allows numbers of any length, but not NaN.
        json.loads(body.decode("utf-8"), parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class StatusNotices:
    """Turns notices of ``/airyd/status`` into lines for the user (docs/protocol.rst, "Status").

    It remembers the lines of all connections and repeats none.

    :param is_followed: returns whether a destination is subscribed to
    """

    def __init__(self, is_followed: Callable[[str], bool]) -> None:
        self._is_followed = is_followed
        self._away: list[str] = []
        self._gaps: dict[str, object] = {}

    def line(self, body: bytes) -> str | None:
        """Return the line for a notice; None if there is nothing to say or the notice is unknown."""
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            return None
        match message:
            case {"type": "source", "state": "up"}:
                return self._source([])
            case {"type": "source", "state": "down", "destinations": [*names]}:
                return self._source(self._followed(names))
            case {"type": "gap", "destinations": [*names], "since": since}:
                return self._gap(self._followed(names), since)
            case {"type": "draining", "within": int() | float() as seconds}:
                shown = f"{seconds:.1f}"
                return "the server is stopping" if shown == "0.0" else f"the server stops within {shown} s"
            case {"type": "token", "within": int() | float() as seconds}:
                shown = f"{seconds:.0f}"
                return "the token expires now" if shown == "0" else f"the token expires in {shown} s"
        return None

    def _followed(self, names: Sequence[object]) -> list[str]:
        return [name for name in names if isinstance(name, str) and self._is_followed(name)]

    def _gap(self, names: list[str], since: object) -> str | None:
        # Each subscription of a gap gets its own notice, and tail may have two: by name and by pattern.
        new = [name for name in names if self._gaps.get(name) != since]
        self._gaps.update((name, since) for name in new)
        if not new:
            return None
        return f"events of {', '.join(new)} may be missing before this point: the server missed some"

    def _source(self, away: list[str]) -> str | None:
        before, self._away = self._away, away
        if before == away:
            return None
        if not away:
            return "the event source is back"
        return f"the event source is unreachable: no new events on {', '.join(away)} until it is back"

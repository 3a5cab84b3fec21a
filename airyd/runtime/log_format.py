"""The formats of ``--log-format``: Twisted's text, or JSON with one object per line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, formatEvent

TEXT: Final = "text"
JSON: Final = "json"
FORMATS: Final = (TEXT, JSON)
#: The field in which a worker sends the fields of a line to the parent.
WORKER_FIELDS: Final = "log_worker_fields"
#: Members of each object; a field with such a name gets a trailing underscore.
_MEMBERS: Final = ("time", "level", "event", "namespace")
#: Fields that are left out of lines of Twisted's old log.
_NO_FIELDS: Final = ("failure", "format", "isError", "message", "once_a_minute", "printed", "system", "time", "why")


def use_format(observer: ILogObserver, name: str) -> None:
    """Set the format of the observer that twistd made for its log.

    :param name: one of :data:`FORMATS`
    """
    if name == JSON and isinstance(observer, FileLogObserver):
        observer.formatEvent = json_line


def json_line(event: LogEvent) -> str:
    """Return a line of the log as a JSON object: time, level, event, namespace, and the fields of the event."""
    level = event.get("log_level")
    members = {
        "time": _timestamp(event.get("log_time")),
        "level": "info" if level is None else level.name,
        "event": event_text(event),
        "namespace": event.get("log_namespace", "-"),
    }
    fields = event[WORKER_FIELDS] if WORKER_FIELDS in event else fields_of(event)
    # ASCII, since text of clients may have half a surrogate pair.
    return json.dumps({**members, **fields}) + "\n"


def event_text(event: LogEvent) -> str:
    """Return the text of a line, without the traceback, which is a field."""
    return event["text"] if WORKER_FIELDS in event else formatEvent(event)


def fields_of(event: LogEvent) -> dict[str, Any]:
    """Return the fields of a line as JSON can hold them."""
    is_old = event.get("log_namespace") == "log_legacy"
    fields = {}
    for name, value in event.items():
        if not name.startswith("log_") and name != "once_a_minute" and not (is_old and name in _NO_FIELDS):
            fields[f"{name}_" if name in _MEMBERS else name] = _plain(value)
    if "log_failure" in event:
        fields["traceback"] = event["log_failure"].getTraceback()
    return fields


def _plain(value: object) -> Any:
    """Return a value that JSON can hold; an object becomes its text."""
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # the log must not raise
        return f"<{type(value).__name__}>"


def _timestamp(seconds: float | None) -> str | None:
    """Return the time in RFC 3339, UTC, with milliseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

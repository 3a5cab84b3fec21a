"""What a server says on ``/airyd/status``, in words for a person (docs/protocol.rst, "Status")."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence


class Notices:
    """Turns messages of ``/airyd/status`` into lines; remembers what it said, over all connections.

    :param is_followed: says whether a destination is of interest
    """

    def __init__(self, is_followed: Callable[[str], bool]) -> None:
        self._is_followed = is_followed
        self._away: list[str] = []

    def line(self, body: bytes) -> str | None:
        """Return what to say of a message; None for nothing, also for what is not known here."""
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            return None
        match message:
            case {"type": "source", "state": "up"}:
                return self._source([])
            case {"type": "source", "state": "down", "destinations": [*names]}:
                return self._source(self._followed(names))
            case {"type": "gap", "destinations": [*names]} if followed := self._followed(names):
                return f"events of {', '.join(followed)} may be missing before this point: the server missed some"
            case {"type": "draining", "within": int() | float() as seconds}:
                return f"the server stops within {seconds:.1f} s"
            case {"type": "token", "within": int() | float() as seconds}:
                return f"the token expires in {seconds:.0f} s"
        return None

    def _followed(self, names: Sequence[object]) -> list[str]:
        return [name for name in names if isinstance(name, str) and self._is_followed(name)]

    def _source(self, away: list[str]) -> str | None:
        before, self._away = self._away, away
        if before == away:
            return None
        if not away:
            return "the event source is back"
        return f"the event source is away: nothing new comes on {', '.join(away)} until it is back"

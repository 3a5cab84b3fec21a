"""What airyd says of itself on ``/airyd/status``: the bodies of its messages (docs/protocol.rst, "Status")."""

from __future__ import annotations

import json
from collections.abc import Sequence


def sources(down: Sequence[str]) -> bytes:
    """Return the state of the event sources; ``down`` are the destinations whose source is away."""
    if not down:
        return _body({"type": "source", "state": "up"})
    return _body({"type": "source", "state": "down", "destinations": down})


def gap(destination: str, since: str) -> bytes:
    """Say that events of a destination may be missing after a ``message-id``."""
    return _body({"type": "gap", "destinations": [destination], "since": since})


def subscription_ended(subscription: str, destination: str) -> bytes:
    """Say that a subscription has ended, because a new token does not allow it."""
    return _body({"type": "subscription", "state": "ended", "id": subscription, "destination": destination})


def token_expires(within: float) -> bytes:
    """Say in how many seconds the client's login ends."""
    return _body({"type": "token", "within": max(round(within, 3), 0)})


def draining(within: float) -> bytes:
    """Say within how many seconds the server ends the connection."""
    return _body({"type": "draining", "within": round(within, 3)})


def _body(notice: object) -> bytes:
    return json.dumps(notice, separators=(",", ":")).encode()

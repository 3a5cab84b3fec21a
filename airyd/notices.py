"""The JSON bodies of notices on ``/airyd/status`` (docs/protocol.rst, "Status")."""

from __future__ import annotations

import json
from collections.abc import Sequence


def sources(down: Sequence[str]) -> bytes:
    """Return the notice of the event sources' state; ``down`` are the destinations whose source is unreachable."""
    if not down:
        return _body({"type": "source", "state": "up"})
    return _body({"type": "source", "state": "down", "destinations": down})


def gap(destination: str, since: str) -> bytes:
    """Return the notice that events of a destination may be missing after the ``message-id`` ``since``."""
    return _body({"type": "gap", "destinations": [destination], "since": since})


def subscription_ended(subscription: str, destination: str) -> bytes:
    """Return the notice that a subscription has ended because the new token does not allow it."""
    return _body({"type": "subscription", "state": "ended", "id": subscription, "destination": destination})


def token_expires(within: float) -> bytes:
    """Return the notice that the client's login expires in ``within`` seconds."""
    return _body({"type": "token", "within": max(round(within, 3), 0)})


def draining(within: float) -> bytes:
    """Return the notice that the server closes the connection within ``within`` seconds."""
    return _body({"type": "draining", "within": round(within, 3)})


def _body(notice: object) -> bytes:
    return json.dumps(notice, separators=(",", ":")).encode()

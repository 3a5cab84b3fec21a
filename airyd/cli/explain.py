"""The command ``airyd explain``: says what happened to an event, for one connection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import msgspec

from airyd.cli.nodes import Node, ask_all
from airyd.cli.terminal import Console, visible
from airyd.management.queries import DeliveryOutcome

_UNANSWERED: Final = (DeliveryOutcome.NO_CONNECTION, DeliveryOutcome.UNKNOWN)


def explain(nodes: Sequence[Node], event: str, connection_id: str, destination: str | None, console: Console) -> int:
    """Print what the node of the connection says; return the exit status, which is 1 if that is not known.

    Errors: ``OutputClosed``.
    """
    asked = ask_all(nodes, lambda node: node.explain(event, connection_id, destination), console)
    # The connection is on one node; all others say that they don't have it.
    answers = sorted(asked.answers, key=lambda each: each[1].outcome is DeliveryOutcome.NO_CONNECTION)
    for node, reply in answers[:1]:
        if console.terminal:
            console.show(visible(f"{reply.outcome.value}: {reply.text}"))
        else:
            said = {"node": node.url, **msgspec.to_builtins(reply)}
            del said["type"]
            console.write(json.dumps(said).encode() + b"\n")
        return 1 if reply.outcome in _UNANSWERED else 0
    return 1

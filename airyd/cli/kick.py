"""The command ``airyd kick``: ends a connection, or all connections of a user, on several nodes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from airyd.cli.nodes import UNSURE_KICK, Node, ask_all, report_missing
from airyd.cli.terminal import Console, visible
from airyd.management.queries import KickReply


def kick_connection(nodes: Sequence[Node], connection_id: str, reason: str, console: Console) -> int:
    """End one connection; return the exit status, which is 1 if no node has it.

    Errors: ``OutputClosed``.
    """
    nobody = f"there is no connection {connection_id} (any more)"
    return _kick(nodes, lambda node: node.kick(connection_id, reason), nobody, console)


def kick_subject(nodes: Sequence[Node], subject: str, reason: str, console: Console) -> int:
    """End all connections of a user; return the exit status, which is 1 if there is none.

    Errors: ``OutputClosed``.
    """
    return _kick(nodes, lambda node: node.kick_subject(subject, reason), f"{subject} has no connection", console)


def _kick(nodes: Sequence[Node], kick: Callable[[Node], KickReply], nobody: str, console: Console) -> int:
    asked = ask_all(nodes, kick, console, UNSURE_KICK)
    is_complete = asked.is_complete
    for node, reply in asked.answers:
        is_complete = not report_missing(node, reply.missing, console) and is_complete
        if console.terminal:
            plural = "" if reply.disconnected == 1 else "s"
            console.show(visible(f"{node.url}: {reply.disconnected} connection{plural} ended"))
        else:
            console.write(json.dumps({"node": node.url, "disconnected": reply.disconnected}).encode() + b"\n")
    total = sum(reply.disconnected for _, reply in asked.answers)
    if not total and is_complete:
        console.say(nobody)
    return 0 if total and is_complete else 1

"""The command ``airyd drain``: drains nodes without ending them, or takes that back."""

from __future__ import annotations

import json
from collections.abc import Sequence

from airyd.cli.nodes import UNSURE_DRAIN, Node, ask_all, report_missing
from airyd.cli.terminal import Console, visible


def drain(nodes: Sequence[Node], is_on: bool, console: Console) -> int:
    """Begin or end to drain all nodes; return the exit status, which is 1 if one of them did not do it.

    Errors: ``OutputClosed``.
    """
    asked = ask_all(nodes, lambda node: node.drain(is_on), console, UNSURE_DRAIN)
    is_complete = asked.is_complete
    for node, reply in asked.answers:
        is_complete = not report_missing(node, reply.missing, console) and is_complete
        if console.terminal:
            plural = "" if reply.connections == 1 else "s"
            state = "draining" if reply.draining else "serving clients"
            console.show(visible(f"{node.url}: {state}, {reply.connections} connection{plural}"))
        else:
            said = {"node": node.url, "draining": reply.draining, "connections": reply.connections}
            console.write(json.dumps(said).encode() + b"\n")
    return 0 if is_complete else 1

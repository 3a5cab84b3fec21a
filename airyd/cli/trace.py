"""The command ``airyd trace``: prints the frames of a connection, a user or a destination on several nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from queue import SimpleQueue
from typing import Any, Final

import msgspec

from airyd.cli.admin_client import ServerEvent
from airyd.cli.nodes import Node, NodeFailed, in_thread
from airyd.cli.terminal import Console, visible
from airyd.management.queries import TraceLine

_DIM: Final = 2
#: The colours of the directions on a terminal (ECMA-48, SGR).
_COLOURS: Final[Mapping[str, int]] = {"in": 36, "out": 32, "event": 35, "note": 33}

#: A node, and what it says; at the end of its trace why it failed, or None.
_Said = tuple[Node, ServerEvent | BaseException | None]


def trace(
    nodes: Sequence[Node], connection_id: str | None, parameters: Sequence[tuple[str, str]], console: Console
) -> int:
    """Print the lines of all nodes as they come; return the exit status, which is 1 if a node fails.

    A node that does not have what is traced does not count, unless no node has it.

    :param connection_id: the connection; None for a user or a destination
    :param parameters: those of the request

    Errors: ``OutputClosed``.
    """
    said: SimpleQueue[_Said] = SimpleQueue()
    for node in nodes:
        _follow(node, connection_id, parameters, said)
    running, absent = len(nodes), list[NodeFailed]()
    has_opened, status = False, 0
    while running:
        node, what = said.get()
        match what:
            case ServerEvent(name="open"):
                has_opened = True
                console.say(f"following on {node.url}")
            case ServerEvent(name="line", value=value):
                _show(node, value, len(nodes) > 1, console)
            case ServerEvent(name="dropped", value={"events": int(number)}):
                console.say(f"{node.url}: {number} lines are missing here, because they were not read in time")
            case ServerEvent(name="end", value={"reason": str(reason)}):
                console.say(f"the trace on {node.url} has ended: {reason}")
            case None:
                running -= 1
            case NodeFailed(is_absent=True):
                running -= 1
                absent.append(what)
            case NodeFailed():
                running -= 1
                status = 1
                console.say(str(what))
            case BaseException():
                raise what
    if has_opened:
        return status
    for failure in absent:
        console.say(str(failure))
    return 1


def _follow(
    node: Node, connection_id: str | None, parameters: Sequence[tuple[str, str]], said: SimpleQueue[_Said]
) -> None:
    """Follow a trace on a node, in a thread; pass on what the node says, and at the end an exception or None."""

    def follow() -> None:
        with closing(node):
            if connection_id is not None and node.connection(connection_id) is None:
                raise NodeFailed(f"{node.url}: there is no connection {connection_id} (any more)", is_absent=True)
            name = ""
            for event in node.trace(parameters):
                said.put((node, event))
                name = event.name
            if name != "end":
                raise NodeFailed(f"{node.url}: the connection was lost")

    in_thread(follow).add_done_callback(lambda done: said.put((node, done.exception())))


def _show(node: Node, value: object, has_nodes: bool, console: Console) -> None:
    if not console.terminal:
        fields: dict[str, Any] = value if isinstance(value, dict) else {}
        console.write(json.dumps({"node": node.url, **fields}).encode() + b"\n")
        return
    try:
        line = msgspec.convert(value, TraceLine)
    except msgspec.ValidationError:
        console.say(f"{node.url}: a line is not understood")
        return
    for text in trace_lines(line, node.url if has_nodes else None, console.colour):
        console.show(text)


def trace_lines(line: TraceLine, node: str | None, has_colours: bool) -> Iterator[str]:
    """Yield a frame in one line, and its body in another.

    :param node: the node's URL; None if there is only one
    """
    time = f"{datetime.fromtimestamp(line.time):%H:%M:%S.%f}"[:-3]
    place = [visible(each) for each in (node, line.connection, line.subject) if each is not None]
    where = f" [{' '.join(place)}]" if place else ""
    headers = "".join(f" {visible(f'{name}:{value}')}" for name, value in line.headers)
    size = f" ({line.size} bytes)" if line.size else ""
    command = f"{visible(line.direction):5} {visible(line.command)}"
    if has_colours:
        colour = _COLOURS.get(line.direction)
        time, where = f"\x1b[{_DIM}m{time}\x1b[0m", f"\x1b[{_DIM}m{where}\x1b[0m"
        command = command if colour is None else f"\x1b[{colour}m{command}\x1b[0m"
    yield f"{time} {command}{where}{headers}{size}"
    if line.body is not None:
        yield f"             {visible(line.body)}"

"""The hot path of an event from the feed to the socket is as short as docs/architecture.rst says."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from airyd.hub.batches import write
from airyd.hub.destination import Destination
from airyd.hub.fanout import Audience, Group
from airyd.hub.filter_index import FilterIndex
from airyd.hub.hub import Hub
from airyd.hub.recipients import Recipients
from airyd.stomp import message as encoding
from airyd.websocket import frames as wsframe
from airyd.websocket.protocol import StompWebSocket

#: All that runs, in the order in which a reader meets it; the last two only for a socket that is full.
PATH: Final[tuple[Callable[..., Any], ...]] = (
    Hub.deliver,
    Hub._pass_on,
    Destination.deliver,
    FilterIndex.select,
    Destination._append,
    encoding.message_tail,
    Audience.append,
    Hub._schedule,
    Hub._flush,
    Audience.start_batch,
    Audience.advance,
    Group.advance,
    Group.write,
    write,
    wsframe.websocket_framing,
    wsframe.text_header,
    Recipients.serve,
    Group._send,
    StompWebSocket.send_rest,
    Group.refresh,
)
MOST_LINES: Final = 350
_DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "architecture.rst"


def own_calls(function: Callable[..., Any]) -> set[str]:
    """Return the names of what a function calls."""
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function)))
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls}


class HotPathTests(SynchronousTestCase):
    """From ``deliver`` to the socket."""

    def test_it_is_short(self) -> None:
        lines = sum(len(inspect.getsource(function).splitlines()) for function in PATH)
        self.assertLessEqual(lines, MOST_LINES)

    def test_nothing_is_left_out(self) -> None:
        """Each function is called by one before it: by its name, by the reactor, or as the group's framing."""
        reached = {"deliver", "_flush", "framing"}
        for function in PATH:
            name = function.__name__
            self.assertIn("framing" if name == "websocket_framing" else name, reached)
            reached |= own_calls(function)

    def test_the_document_shows_it(self) -> None:
        """The document lists the functions in their order."""
        text = _DOCUMENT.read_text()
        places = [text.find(f"``{function.__qualname__}``") for function in PATH]
        self.assertNotIn(-1, places)
        self.assertEqual(places, sorted(places))

"""``airyd trace``."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import msgspec

from airyd.cli import admin_client
from airyd.cli.nodes import Node
from airyd.cli.trace import trace, trace_lines
from airyd.management.queries import TraceLine
from tests.cli.fakes import Screen
from tests.cli.node_case import ABSENT, NOW, UNREACHABLE, NodesCase, answer, details, row
from tests.cli.web import Answer

LINE = TraceLine(
    time=NOW,
    direction="out",
    command="MESSAGE",
    connection="c-1",
    subject="ann",
    headers=[("destination", "/queue/message"), ("passcode", "***"), ("a", "b\x1b")],
    size=5,
)
END = ("end", {"reason": "its time is over"})


def stream(*events: tuple[str, Any]) -> Answer:
    """Return a stream of server-sent events, with a comment before each."""
    texts = [f": still here\n\nevent: {name}\ndata: {json.dumps(value)}\n\n" for name, value in events]
    return 200, "".join(texts).encode()


class TraceTests(NodesCase):
    """What is printed."""

    def trace(self, *nodes: Node, connection_id: str | None = None) -> int:
        """Trace; return the exit status."""
        return trace(nodes, connection_id, [("subject", "a&b"), ("seconds", "60")], self.screen.console)

    def test_pipe(self) -> None:
        """Each frame is a JSON line with its node; the rest is on standard error."""
        line = msgspec.to_builtins(LINE)
        node, web = self.node({"GET trace": stream(("line", line), ("dropped", {"events": 3}), ("line", line), END)})
        self.assertEqual(self.trace(node), 0)
        said = {"node": node.url, **json.loads(json.dumps(line))}
        self.assertEqual(self.printed(), [said, said])
        self.assertEqual(
            self.screen.err.text,
            f"airyd: following on {node.url}\n"
            f"airyd: {node.url}: 3 lines are missing here, because they were not read in time\n"
            f"airyd: the trace on {node.url} has ended: its time is over\n",
        )
        self.assertEqual(web.requests, ["GET /api/v1/trace?subject=a%26b&seconds=60"])

    def test_several_nodes(self) -> None:
        """Each is followed; one that is down does not end the others, but counts."""
        line = msgspec.to_builtins(LINE)
        nodes = [self.node({"GET trace": stream(("line", line), END)})[0] for _ in range(2)]
        self.assertEqual(self.trace(nodes[0], self.at(UNREACHABLE), nodes[1]), 1)
        self.assertEqual({each["node"] for each in self.printed()}, {node.url for node in nodes})
        self.assertIn(f"airyd: cannot reach {UNREACHABLE}: connection refused\n", self.screen.err.text)

    def test_connection_of_another_node(self) -> None:
        """A connection is on one node. The others are not mentioned."""
        has_not, web = self.node({})
        has, _ = self.node({"GET connections/c-1": answer(details(row(1))), "GET trace": stream(END)})
        self.assertEqual(self.trace(has_not, has, connection_id="c-1"), 0)
        self.assertNotIn(has_not.url, self.screen.err.text)
        self.assertEqual(web.requests, ["GET /api/v1/connections/c-1"])

    def test_nowhere(self) -> None:
        node, _ = self.node({})
        self.assertEqual(self.trace(node, connection_id="c-1"), 1)
        self.assertEqual(self.screen.err.text, f"airyd: {node.url}: there is no connection c-1 (any more)\n")

    def test_refused(self) -> None:
        for refusal, said in (
            (ABSENT, "there is no connection with this id (any more)"),
            ((403, b'{"error": "bodies needs the full token"}'), "bodies needs the full token"),
            ((503, b'{"error": "too many traces"}'), "too many traces"),
        ):
            self.screen = Screen("airyd")
            node, _ = self.node({"GET trace": refusal})
            self.assertEqual(self.trace(node), 1)
            self.assertEqual(self.screen.err.text, f"airyd: {node.url}: {said}\n")

    def test_connection_lost(self) -> None:
        """A stream that ends without a reason was cut off."""
        node, _ = self.node({"GET trace": stream(("line", msgspec.to_builtins(LINE)))})
        self.assertEqual(self.trace(node), 1)
        self.assertIn(f"airyd: {node.url}: the connection was lost\n", self.screen.err.text)

    def test_connection_lost_in_the_middle(self) -> None:
        """In the middle of a chunk; the frames before it are printed."""
        node, web = self.node({})
        _, text = stream(("line", msgspec.to_builtins(LINE)))
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        web.refusal = b"%b%x\r\n%b\r\n10\r\nevent" % (head, len(text), text)
        self.assertEqual(self.trace(node), 1)
        self.assertEqual(len(self.printed()), 1)
        self.assertIn(f"airyd: {node.url}: the connection was lost\n", self.screen.err.text)

    def test_silent_node(self) -> None:
        """A node that sends nothing, not even a comment, is given up."""
        self.patch(admin_client, "_ANSWER_PATIENCE", 0.2)
        node, web = self.node({})
        web.answer = lambda body: None
        self.assertEqual(self.trace(node), 1)
        self.assertEqual(self.screen.err.text, f"airyd: {node.url}: no answer within 0 s\n")

    def test_terminal(self) -> None:
        self.on_terminal()
        line = msgspec.structs.replace(LINE, body='{"a": "\x07"}')
        node, _ = self.node({"GET trace": stream(("line", msgspec.to_builtins(line)), END)})
        self.assertEqual(self.trace(node), 0)
        time = f"{datetime.fromtimestamp(NOW):%H:%M:%S}.000"
        self.assertEqual(
            self.screen.out.text,
            f"{time} out   MESSAGE [c-1 ann] destination:/queue/message passcode:*** a:b\\x1b (5 bytes)\n"
            '             {"a": "\\x07"}\n',
        )

    def test_colours(self) -> None:
        """Only the time, the direction and the connection have colours."""
        (text,) = trace_lines(msgspec.structs.replace(LINE, direction="x\x1b"), UNREACHABLE, has_colours=True)
        self.assertIn(f"x\\x1b MESSAGE\x1b[2m [{UNREACHABLE} c-1 ann]\x1b[0m destination:", text)
        (text,) = trace_lines(LINE, None, has_colours=True)
        self.assertIn("\x1b[32mout   MESSAGE\x1b[0m", text)

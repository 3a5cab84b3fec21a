"""``airyd connections``."""

from __future__ import annotations

import json

import msgspec

from airyd.cli.connections import list_connections, show_connection
from airyd.cli.nodes import Node
from airyd.cli.urls import node_name
from airyd.management.queries import ConnectionState, SortKey, SubscriptionInfo
from tests.cli.fakes import Screen
from tests.cli.node_case import NOW, UNREACHABLE, NodesCase, answer, details, page, row


class ListTests(NodesCase):
    """The list."""

    def list(self, *nodes: Node, sort: SortKey = SortKey.AGE, limit: int | None = None) -> int:
        """Print the list; return the exit status."""
        return list_connections(nodes, {}, sort, limit, self.screen.console, NOW)

    def test_pipe(self) -> None:
        """Each connection is a JSON line with its node."""
        node, _ = self.node({"GET connections": page(row(1))})
        self.assertEqual(self.list(node), 0)
        self.assertEqual(self.printed(), [{"node": node.url, **msgspec.to_builtins(row(1))}])

    def test_sorted(self) -> None:
        """The connections of several nodes are sorted together."""
        one, _ = self.node({"GET connections": page(row(1, buffered=9, lag=None), row(4, buffered=1, lag=2.0))})
        two, _ = self.node({"GET connections": page(row(2, buffered=5, lag=3.0), row(3, lag=0.0))})
        for sort, order in (
            (SortKey.AGE, "4321"),
            (SortKey.BUFFERED, "1243"),
            (SortKey.LAG, "2431"),
            (SortKey.DELIVERIES, "4321"),
        ):
            self.screen = Screen("airyd")
            self.assertEqual(self.list(one, two, sort=sort), 0)
            self.assertEqual([each["id"] for each in self.printed()], [f"c-{each}" for each in order])

    def test_limit(self) -> None:
        one, _ = self.node({"GET connections": page(row(1), row(3))})
        two, _ = self.node({"GET connections": page(row(2), row(4))})
        self.assertEqual(self.list(one, two, limit=3), 0)
        self.assertEqual([each["id"] for each in self.printed()], ["c-4", "c-3", "c-2"])

    def test_terminal(self) -> None:
        self.on_terminal()
        slow = row(120, state=ConnectionState.SLOW, buffered=1536, lag=61.0, agent="Mozilla\x1b[2J")
        node, _ = self.node({"GET connections": page(slow, row(5, subject=None, lag=None))})
        self.assertEqual(self.list(node), 0)
        self.assertEqual(
            self.screen.out.text,
            "id     user  address        state    lag  buffered  events  subscriptions    age  agent\n"
            "c-120  ann   127.0.0.1:120  slow   1 min   1.5 KiB     120              1  2 min  Mozilla\\x1b[2J\n"
            "c-5    -     127.0.0.1:5    live       -       0 B       5              1  5.0 s  -\n",
        )

    def test_several_nodes_on_a_terminal(self) -> None:
        """The first column is the node."""
        self.on_terminal()
        nodes = [self.node({"GET connections": page(row(number))})[0] for number in (1, 2)]
        self.assertEqual(self.list(*nodes), 0)
        self.assertEqual(
            [line.split()[:2] for line in self.screen.out.text.splitlines()],
            [["node", "id"], [node_name(nodes[1].url), "c-2"], [node_name(nodes[0].url), "c-1"]],
        )

    def test_colours(self) -> None:
        self.screen = Screen("airyd", terminal=True, environ={"TERM": "xterm"})
        node, _ = self.node({"GET connections": page(row(1, state=ConnectionState.SLOW), row(2))})
        self.list(node)
        self.assertEqual(self.screen.out.text.count("\x1b[31m"), 1)
        self.assertEqual(self.screen.out.text.count("\x1b[0m"), 1)

    def test_none(self) -> None:
        self.on_terminal()
        node, _ = self.node({"GET connections": page()})
        self.assertEqual(self.list(node), 0)
        self.assertEqual((self.screen.out.text, self.screen.err.text), ("", "airyd: there are no connections\n"))

    def test_one_node_is_down(self) -> None:
        """The others are listed, and the exit status is 1."""
        node, _ = self.node({"GET connections": page(row(1))})
        self.assertEqual(self.list(self.at(UNREACHABLE), node), 1)
        self.assertEqual([each["id"] for each in self.printed()], ["c-1"])
        self.assertEqual(self.screen.err.text, f"airyd: cannot reach {UNREACHABLE}: connection refused\n")

    def test_worker_without_an_answer(self) -> None:
        node, _ = self.node({"GET connections": page(row(1), missing=["worker-2"])})
        self.assertEqual(self.list(node), 1)
        self.assertEqual(
            self.screen.err.text, f"airyd: {node.url}: no answer from worker-2, whose connections are missing\n"
        )


class DetailTests(NodesCase):
    """One connection in full."""

    def show(self, *nodes: Node) -> int:
        """Print connection ``c/1``; return the exit status."""
        return show_connection(nodes, "c/1", self.screen.console, NOW)

    def test_pipe(self) -> None:
        """The node that has it answers; the id is percent-encoded in the path."""
        shown = details(row(1))
        has_not, _ = self.node({})
        has, _ = self.node({"GET connections/c%2F1": answer(shown)})
        self.assertEqual(self.show(has_not, has), 0)
        self.assertEqual(self.printed(), [{"node": has.url, **json.loads(msgspec.json.encode(shown))}])
        self.assertEqual(self.screen.err.text, "")

    def test_terminal(self) -> None:
        self.on_terminal()
        subscription = SubscriptionInfo(
            id="sub-0",
            destination="/queue/message",
            state=ConnectionState.CATCHING_UP,
            ack="client",
            position="a-1",
            lag=2.5,
            window=10,
            unacknowledged=3,
            filter=None,
        )
        node, _ = self.node({"GET connections/c%2F1": answer(details(row(1, agent="a\x1b"), subscription))})
        self.assertEqual(self.show(node), 0)
        text = self.screen.out.text
        self.assertIn("agent       a\\x1b\n", text)
        self.assertIn("buffered    0 B of at most 4.0 KiB\n", text)
        self.assertIn("sends one every 10 s, expects none; the client was heard 3.0 s ago\n", text)
        self.assertRegex(text, r"login       expires .* \(in 10 min\)\n")
        self.assertRegex(text, r"sub-0 +/queue/message +catching-up +2\.5 s +a-1 +client +3 of 10 +-\n\Z")

    def test_nowhere(self) -> None:
        nodes = [self.node({})[0] for _ in range(2)]
        self.assertEqual(self.show(*nodes), 1)
        self.assertEqual(
            (self.screen.out.text, self.screen.err.text), ("", "airyd: there is no connection c/1 (any more)\n")
        )

    def test_perhaps_on_a_node_that_is_down(self) -> None:
        """Then nothing is said about the connection."""
        self.assertEqual(self.show(self.node({})[0], self.at(UNREACHABLE)), 1)
        self.assertEqual(self.screen.err.text, f"airyd: cannot reach {UNREACHABLE}: connection refused\n")

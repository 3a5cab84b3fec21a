"""Asking several nodes."""

from __future__ import annotations

from threading import Event

from airyd.cli import nodes
from airyd.cli.nodes import NodeFailed, ask_all
from airyd.management.queries import SortKey
from tests.cli.fakes import Screen
from tests.cli.node_case import UNREACHABLE, NodesCase, answer, overview, page, row
from tests.patience import PATIENCE


class NodeTests(NodesCase):
    """One node."""

    def test_overview(self) -> None:
        node, web = self.node({"GET overview": answer(overview(connections=7))})
        self.assertEqual(node.overview(), overview(connections=7))
        self.assertEqual(web.headers[0]["authorization"], "Bearer the-token")

    def test_pages(self) -> None:
        """All pages are read, with the cursor of the page before."""
        node, web = self.node({})
        pages = [page(row(1), row(2), next="a b"), page(next="c"), page(row(3), missing=["worker-2"])]
        web.answer = lambda body: pages[len(web.requests) - 1]
        rows, missing = node.connections({"subject": "a&b"}, SortKey.LAG, None)
        self.assertEqual([each.id for each in rows], ["c-1", "c-2", "c-3"])
        self.assertEqual(missing, ["worker-2"])
        first = "GET /api/v1/connections?subject=a%26b&sort=lag&limit=1000"
        self.assertEqual(web.requests, [first, f"{first}&cursor=a+b", f"{first}&cursor=c"])

    def test_limit(self) -> None:
        """No more connections are asked for than wanted."""
        node, web = self.node({})
        pages = [page(row(1), row(2), next="a"), page(row(3), next="b")]
        web.answer = lambda body: pages[len(web.requests) - 1]
        self.assertEqual(len(node.connections({}, SortKey.AGE, 3)[0]), 3)
        self.assertEqual(web.requests[1], "GET /api/v1/connections?sort=age&limit=1&cursor=a")

    def test_failures(self) -> None:
        for given, reason in (
            ((401, b'{"error": "the token is wrong"}'), "the token is wrong"),
            ((200, b"{}"), "the answer is not understood: is this airyd's admin page, of this version?"),
            ((200, b"<html>"), "the answer is not understood: is this airyd's admin page, of this version?"),
        ):
            node, _ = self.node({"GET overview": given})
            failure = self.assertRaises(NodeFailed, node.overview)
            self.assertEqual(str(failure), f"{node.url}: {reason}")

    def test_unreachable(self) -> None:
        """The URL is there once."""
        failure = self.assertRaises(NodeFailed, self.at(UNREACHABLE).overview)
        self.assertEqual(str(failure), f"cannot reach {UNREACHABLE}: connection refused")

    def test_page_that_is_not_airyds(self) -> None:
        """A 404 of another server does not mean that the connection is absent."""
        node, web = self.node({})
        web.answer = lambda body: (404, b"<title>Not here</title>")
        failure = self.assertRaises(NodeFailed, node.connection, "c-1")
        self.assertIn("Not here", str(failure))


class AskAllTests(NodesCase):
    """Several nodes at once."""

    def test_one_is_down(self) -> None:
        up, _ = self.node({"GET overview": answer(overview())})
        asked = ask_all([self.at(UNREACHABLE), up], lambda node: node.overview(), self.screen.console)
        self.assertEqual(asked.answers, [(up, overview())])
        self.assertFalse(asked.is_complete)
        self.assertEqual(self.screen.err.text, f"airyd: cannot reach {UNREACHABLE}: connection refused\n")

    def test_one_hangs(self) -> None:
        """The others are asked meanwhile, and their answers come in the order of the nodes."""
        asked = Event()
        slow, web = self.node({})
        fast, fast_web = self.node({})

        def wait_for_the_other(body: bytes) -> tuple[int, bytes]:
            asked.wait(PATIENCE)
            return answer(overview(connections=1))

        def tell_the_other(body: bytes) -> tuple[int, bytes]:
            asked.set()
            return answer(overview(connections=2))

        web.answer, fast_web.answer = wait_for_the_other, tell_the_other
        answers = ask_all([slow, fast], lambda node: node.overview().connections, self.screen.console).answers
        self.assertEqual(answers, [(slow, 1), (fast, 2)])

    def test_one_that_hangs_is_named(self) -> None:
        """On a terminal the user sees for whom the command waits; the line is removed afterwards."""
        self.patch(nodes, "_PROGRESS_AFTER", 0)
        named = Event()
        screen = Screen(follows=True)
        write = screen.err.write

        def note(data: object) -> int:
            named.set()
            return write(data)

        self.patch(screen.err, "write", note)
        node, web = self.node({})

        def wait_for_the_line(body: bytes) -> tuple[int, bytes]:
            named.wait(PATIENCE)
            return answer(overview())

        web.answer = wait_for_the_line
        ask_all([node], lambda node: node.overview(), screen.console)
        self.assertEqual(screen.err.text, f"\r\x1b[Kairyd: waiting for {node.url}\r\x1b[K")

    def test_errors_of_the_program(self) -> None:
        """They are raised, not hidden in a thread."""
        node, _ = self.node({})
        self.assertRaises(ZeroDivisionError, ask_all, [node], lambda node: 1 // 0, self.screen.console)

"""``airyd kick``, ``airyd drain`` and ``airyd explain``."""

from __future__ import annotations

from airyd.cli.drain import drain
from airyd.cli.explain import explain
from airyd.cli.kick import kick_connection, kick_subject
from airyd.management.queries import DeliveryOutcome, DrainReply, ExplainReply, KickReply
from tests.cli.fakes import Screen
from tests.cli.node_case import UNREACHABLE, NodesCase, answer

FORBIDDEN = (403, b'{"error": "it needs the full token"}')


class KickTests(NodesCase):
    """Ending connections."""

    def test_subject(self) -> None:
        """All nodes are asked, and each says how many connections there were."""
        one, web = self.node({"DELETE connections": answer(KickReply(disconnected=2))})
        two, _ = self.node({"DELETE connections": answer(KickReply(disconnected=0))})
        self.assertEqual(kick_subject([one, two], "a&b", "for a reason", self.screen.console), 0)
        self.assertEqual(self.printed(), [{"node": one.url, "disconnected": 2}, {"node": two.url, "disconnected": 0}])
        self.assertEqual(web.requests, ["DELETE /api/v1/connections?subject=a%26b&reason=for+a+reason"])
        self.assertEqual(web.headers[0]["x-airyd-request"], "1")

    def test_nobody(self) -> None:
        node, _ = self.node({"DELETE connections": answer(KickReply(disconnected=0))})
        self.assertEqual(kick_subject([node], "ann", "", self.screen.console), 1)
        self.assertEqual(self.screen.err.text, "airyd: ann has no connection\n")

    def test_connection(self) -> None:
        """A node that does not have it counts as none."""
        has_not, _ = self.node({})
        has, web = self.node({"DELETE connections/c-1": answer(KickReply(disconnected=1))})
        self.on_terminal()
        self.assertEqual(kick_connection([has_not, has], "c-1", "", self.screen.console), 0)
        self.assertEqual(self.screen.out.text, f"{has_not.url}: 0 connections ended\n{has.url}: 1 connection ended\n")
        self.assertEqual(web.requests, ["DELETE /api/v1/connections/c-1?reason="])

    def test_no_such_connection(self) -> None:
        self.assertEqual(kick_connection([self.node({})[0]], "c-1", "", self.screen.console), 1)
        self.assertEqual(self.screen.err.text, "airyd: there is no connection c-1 (any more)\n")

    def test_not_on_all_nodes(self) -> None:
        """The exit status is 1 if a node or a worker may still have the user."""
        good, _ = self.node({"DELETE connections": answer(KickReply(disconnected=2))})
        forbidden, _ = self.node({"DELETE connections": FORBIDDEN})
        partly, _ = self.node({"DELETE connections": answer(KickReply(disconnected=1, missing=["worker-1"]))})
        for bad, said in (
            (forbidden, f"{forbidden.url}: it needs the full token"),
            (partly, f"{partly.url}: no answer from worker-1, whose connections are missing"),
            (self.at(UNREACHABLE), f"cannot reach {UNREACHABLE}: connection refused"),
        ):
            self.screen = Screen("airyd")
            self.assertEqual(kick_subject([bad, good], "ann", "", self.screen.console), 1)
            self.assertIn({"node": good.url, "disconnected": 2}, self.printed())
            self.assertEqual(self.screen.err.text, f"airyd: {said}\n")


class DrainTests(NodesCase):
    """Draining."""

    def test_on(self) -> None:
        node, web = self.node({"POST drain": answer(DrainReply(draining=True, connections=7))})
        self.assertEqual(drain([node], True, self.screen.console), 0)
        self.assertEqual(self.printed(), [{"node": node.url, "draining": True, "connections": 7}])
        self.assertEqual(web.requests, ["POST /api/v1/drain"])

    def test_off(self) -> None:
        node, _ = self.node({"DELETE drain": answer(DrainReply(draining=False, connections=1))})
        self.on_terminal()
        self.assertEqual(drain([node], False, self.screen.console), 0)
        self.assertEqual(self.screen.out.text, f"{node.url}: serving clients, 1 connection\n")

    def test_one_is_down(self) -> None:
        node, _ = self.node({"POST drain": answer(DrainReply(draining=True, connections=7))})
        self.assertEqual(drain([self.at(UNREACHABLE), node], True, self.screen.console), 1)
        self.assertEqual(len(self.printed()), 1)


class ExplainTests(NodesCase):
    """What happened to an event."""

    def explain(self, *replies: ExplainReply) -> int:
        """Ask a node for each reply; return the exit status."""
        nodes = [self.node({"GET explain": answer(each)})[0] for each in replies]
        return explain(nodes, "e-1", "c-1", None, self.screen.console)

    def test_the_node_that_knows(self) -> None:
        absent = ExplainReply(outcome=DeliveryOutcome.NO_CONNECTION, text="There is none.")
        hidden = ExplainReply(
            outcome=DeliveryOutcome.FILTERED, text="The filter hides it.", destination="/a", field="x"
        )
        self.assertEqual(self.explain(absent, hidden), 0)
        (said,) = self.printed()
        self.assertEqual(
            {name: said[name] for name in ("outcome", "text", "destination", "field")},
            {"outcome": "filtered", "text": "The filter hides it.", "destination": "/a", "field": "x"},
        )

    def test_terminal(self) -> None:
        self.on_terminal()
        self.assertEqual(self.explain(ExplainReply(outcome=DeliveryOutcome.SENT, text="It was sent.\x1b")), 0)
        self.assertEqual(self.screen.out.text, "sent: It was sent.\\x1b\n")

    def test_no_connection(self) -> None:
        absent = ExplainReply(outcome=DeliveryOutcome.NO_CONNECTION, text="There is none.")
        self.assertEqual(self.explain(absent, absent), 1)
        self.assertEqual(len(self.printed()), 1)

    def test_unknown(self) -> None:
        self.assertEqual(self.explain(ExplainReply(outcome=DeliveryOutcome.UNKNOWN, text="Too old.")), 1)

    def test_parameters(self) -> None:
        node, web = self.node({})
        self.assertEqual(explain([node], "e 1", "c-1", "/a", self.screen.console), 1)
        self.assertEqual(web.requests, ["GET /api/v1/explain?event=e+1&connection=c-1&destination=%2Fa"])

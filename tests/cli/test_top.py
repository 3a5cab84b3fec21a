"""``airyd top`` without a screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from airyd.cli.nodes import Node
from airyd.cli.top import NodeSample, Wanted, print_samples, take_sample
from airyd.management.queries import OverviewReply, SortKey
from tests.cli.node_case import ABSENT, NOW, UNREACHABLE, NodesCase, answer, overview, page, row
from tests.cli.web import Answer

WANTED = Wanted(SortKey.LAG, 10)


def one_after_another(answers: Sequence[Answer]) -> Callable[[bytes], Answer]:
    """Return what gives each of these answers once, and then the last one again."""
    left = list(answers)
    return lambda body: left.pop(0) if len(left) > 1 else left[0]


class SampleTests(NodesCase):
    """One look at a node."""

    def sample(self, before: OverviewReply | None, now: OverviewReply) -> NodeSample:
        """Look at a node with some figures."""
        node, web = self.node({"GET overview": answer(now), "GET connections": page(row(1))})
        sample = take_sample(node, before, WANTED)
        self.assertEqual(web.requests[1], "GET /api/v1/connections?sort=lag&limit=10")
        self.assertEqual((sample.overview, sample.connections), (now, [row(1)]))
        return sample

    def test_first(self) -> None:
        sample = self.sample(None, overview())
        self.assertEqual((sample.events_per_second, sample.deliveries_per_second), (None, None))

    def test_rates(self) -> None:
        sample = self.sample(overview(), overview(time=NOW + 4, events=110, deliveries=1200))
        self.assertEqual((sample.events_per_second, sample.deliveries_per_second), (2.5, 50))

    def test_new_start(self) -> None:
        """The counters began again, so that the rates are not known; they are never negative."""
        sample = self.sample(overview(), overview(time=NOW + 4, events=10, deliveries=0))
        self.assertEqual((sample.events_per_second, sample.deliveries_per_second), (0, 0))

    def test_clock_set_back(self) -> None:
        self.assertIsNone(self.sample(overview(), overview(time=NOW - 4)).events_per_second)

    def test_down(self) -> None:
        sample = take_sample(self.at(UNREACHABLE), overview(), WANTED)
        self.assertIsNone(sample.overview)
        self.assertEqual(sample.failure, f"cannot reach {UNREACHABLE}: connection refused")


class LineTests(NodesCase):
    """Lines on a dumb terminal, and in a pipe."""

    def growing(self) -> Node:
        """Return a node whose counters grow."""
        node, web = self.node({})
        web.answer = one_after_another(
            [answer(overview(time=NOW + each, events=100 * each, warnings=["w"])) for each in range(9)]
        )
        return node

    def print(self, *nodes: Node, count: int) -> int:
        """Print lines; return the exit status."""
        return print_samples(nodes, 0.001, count, self.screen.console)

    def test_pipe(self) -> None:
        node = self.growing()
        self.assertEqual(self.print(node, count=2), 0)
        first, second = self.printed()
        self.assertEqual((first["node"], first["time"], second["time"]), (node.url, NOW + 1, NOW + 2))
        self.assertEqual((first["events_per_second"], first["deliveries_per_second"]), (100, 0))
        self.assertEqual((first["connections"], first["lag_seconds"], first["warnings"]), (5, 1.5, ["w"]))

    def test_terminal(self) -> None:
        self.on_terminal()
        node = self.growing()
        self.assertEqual(self.print(node, count=1), 0)
        self.assertEqual(
            self.screen.out.text,
            f"{datetime.fromtimestamp(NOW + 1):%H:%M:%S} {node.url}, ready, 5 connections (2 slow, 1 catching up), "
            "100 events/s, 0 deliveries/s, lag 1.5 s, 2.0 KiB buffered\n",
        )

    def test_one_is_down(self) -> None:
        """It is said once, and the others have as many lines as wanted."""
        node = self.growing()
        self.assertEqual(self.print(self.at(UNREACHABLE), node, count=3), 1)
        self.assertEqual([each["node"] for each in self.printed()], [node.url] * 3)
        self.assertEqual(self.screen.err.text, f"airyd: cannot reach {UNREACHABLE}: connection refused\n")

    def test_comes_back(self) -> None:
        node, web = self.node({})
        web.answer = one_after_another([ABSENT, *(answer(overview(time=NOW + each)) for each in range(9))])
        self.assertEqual(self.print(node, count=3), 0)
        self.assertEqual([each["time"] for each in self.printed()], [NOW + 1, NOW + 2])
        self.assertEqual(self.screen.err.text.count("\n"), 1)

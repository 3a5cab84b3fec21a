"""The command ``airyd top``: watches nodes, each in a thread of its own, and prints lines where there is no screen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from datetime import datetime
from queue import SimpleQueue
from threading import Event
from typing import Final, NamedTuple

from airyd.cli.nodes import Node, NodeFailed, in_thread
from airyd.cli.tables import byte_size, duration, rate
from airyd.cli.terminal import Console, visible
from airyd.management.queries import ConnectionRow, OverviewReply, SortKey

#: The figures of a node that a JSON line has.
_FIGURES: Final = ("time", "ready", "connections", "sessions", "slow", "catching_up", "buffered", "lag_seconds")
#: Seconds that watches have to close their connections at the end.
_CLOSING: Final = 0.5


class NodeSample(NamedTuple):
    """What one look at a node showed.

    :ivar overview: None if the node did not answer
    :ivar events_per_second: since the look before; None if that is not known, also ``deliveries_per_second``
    :ivar connections: the first ones in the order that was asked for
    :ivar failure: why the node did not answer; None if it did
    """

    url: str
    overview: OverviewReply | None
    events_per_second: float | None = None
    deliveries_per_second: float | None = None
    connections: Sequence[ConnectionRow] = ()
    failure: str | None = None


class Wanted(NamedTuple):
    """What connections a look shows."""

    sort: SortKey
    rows: int


def take_sample(node: Node, before: OverviewReply | None, wanted: Wanted) -> NodeSample:
    """Look at a node.

    :param before: what the look before showed, for the rates
    """
    try:
        overview = node.overview()
        rows = node.page({}, wanted.sort, wanted.rows).connections if wanted.rows else ()
    except NodeFailed as error:
        return NodeSample(node.url, None, failure=str(error))
    passed = 0.0 if before is None else overview.time - before.time
    if before is None or passed <= 0:
        return NodeSample(node.url, overview, connections=rows)
    # The counters of a node that was started anew begin at 0.
    events = max(0, overview.events - before.events) / passed
    deliveries = max(0, overview.deliveries - before.deliveries) / passed
    return NodeSample(node.url, overview, events, deliveries, rows)


class NodeWatch:
    """Looks at a node again and again.

    :param interval: seconds between two looks
    :param wanted: returns what connections to ask for
    :param on_sample: called in the thread of this watch
    """

    def __init__(
        self, node: Node, interval: float, wanted: Callable[[], Wanted], on_sample: Callable[[NodeSample], None]
    ) -> None:
        self._node = node
        self._interval = interval
        self._wanted = wanted
        self._on_sample = on_sample
        self._wake = Event()
        self._is_over = False

    def start(self) -> Future[None]:
        """Begin, in a thread; return what happens to it."""
        return in_thread(self._run)

    def look(self) -> None:
        """Look now in place of later."""
        self._wake.set()

    def stop(self) -> None:
        """Look no more."""
        self._is_over = True
        self._wake.set()

    def _run(self) -> None:
        before: OverviewReply | None = None
        with closing(self._node):
            while not self._is_over:
                sample = take_sample(self._node, before, self._wanted())
                before = sample.overview
                self._on_sample(sample)
                self._wake.wait(self._interval)
                self._wake.clear()


def stop_all(watches: Iterable[NodeWatch], running: Iterable[Future[None]]) -> None:
    """Stop watches, and give them a moment to close their connections; one that waits for an answer may not do it.

    :param running: what ``start`` returned
    """
    for watch in watches:
        watch.stop()
    wait(running, _CLOSING)


def print_samples(nodes: Sequence[Node], interval: float, count: int | None, console: Console) -> int:
    """Print a line for each look at each node; return the exit status, which is 1 if a node's last look failed.

    :param count: how many looks at each node; None for no end

    Errors: ``OutputClosed``.
    """
    samples: SimpleQueue[NodeSample | Future[None]] = SimpleQueue()
    watches = {node.url: NodeWatch(node, interval, lambda: Wanted(SortKey.LAG, 0), samples.put) for node in nodes}
    left = dict.fromkeys(watches, count)
    failures: dict[str, str] = {}
    running = [watch.start() for watch in watches.values()]
    for each in running:
        each.add_done_callback(samples.put)
    try:
        while left:
            sample = samples.get()
            if isinstance(sample, Future):
                sample.result()  # a watch ends by itself only if there is an error in it
                continue
            rest = left.get(sample.url, 0)
            if rest == 0 or not _report(sample, failures, console):
                continue
            if rest is not None:
                left[sample.url] = rest - 1
                if rest == 1:
                    del left[sample.url]
    finally:
        stop_all(watches.values(), running)
    return 1 if failures else 0


def _report(sample: NodeSample, failures: dict[str, str], console: Console) -> bool:
    """Print a look, unless it is the first one, which has no rates; return whether it counts.

    :param failures: why the last look at a node failed; the same failure is said once
    """
    if sample.overview is None:
        reason = sample.failure or ""
        if failures.get(sample.url) != reason:
            console.say(reason)
        failures[sample.url] = reason
        return True
    failures.pop(sample.url, None)
    if sample.events_per_second is None:
        return False
    if console.terminal:
        console.show(_text_line(sample, sample.overview))
    else:
        figures = {name: getattr(sample.overview, name) for name in _FIGURES}
        rates = {
            "events_per_second": sample.events_per_second,
            "deliveries_per_second": sample.deliveries_per_second,
            "warnings": list(sample.overview.warnings),
        }
        console.write(json.dumps({"node": sample.url, **figures, **rates}).encode() + b"\n")
    return True


def _text_line(sample: NodeSample, overview: OverviewReply) -> str:
    parts = [
        f"{datetime.fromtimestamp(overview.time):%H:%M:%S} {sample.url}",
        "ready" if overview.ready else "not ready",
        f"{overview.connections} connections ({overview.slow} slow, {overview.catching_up} catching up)",
        f"{rate(sample.events_per_second)} events/s",
        f"{rate(sample.deliveries_per_second)} deliveries/s",
        f"lag {duration(overview.lag_seconds)}",
        f"{byte_size(overview.buffered)} buffered",
    ]
    return visible(", ".join(parts))

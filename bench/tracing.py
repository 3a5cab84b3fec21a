"""What a trace costs other connections: CPU of a delivery while one of many subscribers is traced, and without a trace.

``python -m bench.tracing`` runs both alternately, in one process without a reactor (``bench.counted``), so that the
machine's load affects both alike. It prints both figures and their ratio,
also for a trace of the destination; and for no trace at all, which shows what the ratio is worth.
"""

from __future__ import annotations

import gc
import sys
import time
from statistics import quantiles
from typing import Any, Final

from airyd.management.queries import TraceQuery
from bench.counted import Crowd
from bench.scenarios import MESSAGE

MEMBERS: Final = 1000
#: Events in a block, and pairs of blocks.
EVENTS: Final = 30
ROUNDS: Final = 40
#: The most that a trace may cost: the ratio of both figures.
BOUND: Final = 1.02


def _block(crowd: Crowd) -> list[float]:
    """Return the seconds of CPU of a delivery, for each event."""
    costs = []
    for _ in range(EVENTS):
        begun = time.thread_time()
        crowd.publish()
        costs.append((time.thread_time() - begun) / MEMBERS)
        crowd.received(1)
    return costs


def compare(crowd: Crowd, query: TraceQuery | None) -> tuple[float, float]:
    """Return the seconds of a delivery, without a trace and with one.

    Each is the lower quartile of all events: other programs on the machine only ever add to the time of an event.
    """
    plain: list[float] = []
    traced: list[float] = []
    for number in range(ROUNDS):
        for is_traced in (False, True) if number % 2 else (True, False):
            trace = crowd.airyd.tracer.start(query, lambda lines: None) if is_traced and query is not None else None
            crowd.settle()
            (traced if is_traced else plain).extend(_block(crowd))
            if trace is not None:
                trace.stop()
                crowd.settle()
    return quantiles(plain)[0], quantiles(traced)[0]


def main() -> int:
    """Print the figures; return 1 if one is above the bound."""
    crowd = Crowd()
    crowd.enter(["sub-0"] * MEMBERS)
    protocol: Any = crowd.listeners[MEMBERS // 2].protocol
    gc.collect()
    gc.freeze()
    _block(crowd)
    worst = 0.0
    for name, query in (
        ("nothing", None),
        ("one connection", TraceQuery(connection=protocol.client.id, seconds=600)),
        ("the destination", TraceQuery(destination=MESSAGE, seconds=600)),
    ):
        plain, traced = compare(crowd, query)
        worst = max(worst, traced / plain if query is not None else 0.0)
        figures = f"{plain * 1e6:.3f} µs without, {traced * 1e6:.3f} µs with"
        sys.stdout.write(f"trace of {name}: {figures}, ratio {traced / plain:.3f}\n")
    crowd.close()
    return int(worst > BOUND)


if __name__ == "__main__":
    sys.exit(main())

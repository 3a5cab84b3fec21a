"""Measure what has a limit, and compare it with the limit: ``make bench-check``.

The limits of ``bench.instructions`` are in ``bench/instructions.json``, those of ``bench.promises`` in
:data:`PROMISES`.
The machine should have nothing else to do.

Exit status: 0, 1 (something is beyond its limit), 2 (something can't be measured here, or wrong arguments).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from bench import instructions, promises


class Promise(NamedTuple):
    """A figure of a running daemon.

    :ivar most: its limit
    :ivar measure: measures it; raises ``AssertionError`` if the daemon behaves wrongly
    """

    title: str
    unit: str
    most: float
    measure: Callable[[], float]


PROMISES: Final = (
    Promise("ten compressed messages that are too long: more memory", "MiB", 8, promises.inflated_bombs),
    Promise("a user is revoked: until all clients on two nodes are out", "s", 1, promises.revocation),
)
INSTRUCTIONS: Final = "instructions"
_BEYOND: Final = 1
_UNABLE: Final = 2


def check_promise(promise: Promise) -> int:
    """Measure and print one figure; return the exit status."""
    try:
        found = promise.measure()
    except AssertionError as failure:
        sys.stdout.write(f"NOT MEASURED: {promise.title}: {failure}\n")
        return _UNABLE
    said = f"{promise.title}: {found:.2f} {promise.unit}, at most {promise.most:g} {promise.unit}"
    is_kept = found <= promise.most
    sys.stdout.write(said + "\n" if is_kept else f"MORE THAN ALLOWED: {said}\n")
    return 0 if is_kept else _BEYOND


def _checks() -> Mapping[str, Callable[[], int]]:
    """Return the checks, by their names on the command line."""
    promised = {promise.measure.__name__: partial(check_promise, promise) for promise in PROMISES}
    return {INSTRUCTIONS: partial(instructions.main, []), **promised}


def main(arguments: Sequence[str]) -> int:
    """Run all checks, or those that are named; return the greatest exit status."""
    checks = _checks()
    parser = argparse.ArgumentParser(prog="python -m bench.check", description="Measure what has a limit, and compare.")
    parser.add_argument("--only", action="append", choices=list(checks), help="check only this (repeatable)")
    wanted = parser.parse_args(arguments).only or list(checks)
    return max(checks[name]() for name in wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

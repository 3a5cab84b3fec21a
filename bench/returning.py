"""Clients that resume all at once, in a separate process, because they stand for other machines.

Run it with ``python -m bench.returning PORT PATH POSITION CLIENTS EVENTS``; it prints the seconds until each client had
the events that it had missed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from bench.clients import drain, subscribed


def main(arguments: Sequence[str]) -> None:
    """Let the clients resume, and print the seconds."""
    port, path, position, clients, events = arguments
    begun = time.monotonic()
    subscribers = [subscribed(int(port), path, after=position) for _ in range(int(clients))]
    missing = {each.socket: int(events) - each.rest.count(b"\0") for each in subscribers}
    drain(missing, b"\0", exactly=False)
    sys.stdout.write(f"{time.monotonic() - begun}\n")


if __name__ == "__main__":
    main(sys.argv[1:])

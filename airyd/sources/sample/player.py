"""What the sample source plays: the interface of its players."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: Takes a destination and a body. What it returns needs no care: a running memory feed takes everything.
Publish = Callable[[str, bytes], object]


class Player(Protocol):
    """Something that publishes by itself once it was started."""

    def start(self, publish: Publish) -> None:
        """Begin; called at most once, and nothing is published before it has returned."""
        ...

    def stop(self) -> None:
        """End: nothing is published any more; may be called when it was never started."""
        ...

"""Settings of Python's garbage collector that keep it from scanning long-lived objects.

Thousands of connections are some hundred thousand objects: one full collection at 19,000 connections
takes 100 ms or more, during which no client gets an event. Therefore existing objects are *frozen*: no
collection scans them again. Reference counting still frees them; only an object in a reference cycle
would stay in memory for good. So a connection that closes must leave no cycle
(tests/runtime/test_garbage_collection.py).
"""

from __future__ import annotations

import gc
from typing import Final

#: Connections opened between two freezes. They are some 2,500 objects, which a collection scans in 1 ms.
CONNECTIONS_PER_FREEZE: Final = 128
#: The thresholds of the three generations (``gc.set_threshold``). A burst of events makes many objects but no garbage.
#: The two younger generations have at most 9,000 objects, which a collection scans in 3 ms.
_THRESHOLDS: Final = (3000, 1, 200)


def pause() -> None:
    """Collect nothing until :func:`begin`: modules leave no garbage, and scanning them is a tenth of a start."""
    gc.disable()


def begin() -> None:
    """Freeze the objects that a process has at its start, which take some 30 ms to scan, and set the thresholds."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def spare() -> None:
    """Collect the two younger generations, then freeze all objects."""
    gc.collect(1)
    gc.freeze()

"""The garbage collector, kept from walking through what is no garbage.

Connections live long, and thousands of them are some hundred thousand objects: one full collection at
19,000 connections takes 100 ms or more, in which nobody gets an event. So what is there is *frozen*: no
collection looks at it again. It goes as usual when nothing refers to it any more; only if it became part
of a cycle would it stay for good. That is why a connection that closes must leave no cycle
(tests/runtime/test_garbage_collection.py).
"""

from __future__ import annotations

import gc
from typing import Final

#: Connections opened between two freezes. They are some 2,500 objects, which a collection goes through in 1 ms.
CONNECTIONS: Final = 128
#: New objects until the youngest are looked through, how often that is until the middle ones are, too, and how often
#: this is until all are. A burst of events is many objects, but no garbage; and 9,000 objects are the most that can
#: be young or middle, which takes 3 ms.
_THRESHOLDS: Final = (3000, 1, 200)


def begin() -> None:
    """Spare what a process has loaded when it starts: to walk through it takes some 30 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def spare() -> None:
    """Spare what is there now: look through what is young, and freeze all that is left."""
    gc.collect(1)
    gc.freeze()

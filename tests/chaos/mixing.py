"""Random faults of several kinds at the same time, while clients disconnect and come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Final

from tests.chaos.background import Background
from tests.chaos.stage import Stage

#: How often per second a client disconnects without a fault, and the seconds between two faults of a kind.
RESTLESSNESS: Final = 0.02
PAUSES: Final = (0.5, 8.0)


def mix(stage: Stage, seconds: float, seed: int, kinds: Sequence[Callable[[Random], None]]) -> None:
    """Inject faults for ``seconds`` seconds.

    :param kinds: functions that inject one fault of a kind, and return when it is over
    """
    stage.crowd.restlessness = RESTLESSNESS
    deadline = time.monotonic() + seconds
    tracks: list[Background] = []

    def play(happen: Callable[[Random], None], random: Random) -> None:
        while time.monotonic() < deadline and not any(track.has_failed for track in tracks):
            stage.sleep(random.uniform(*PAUSES))
            happen(random)

    tracks += [Background("a fault", partial(play, kind, Random(seed + n))) for n, kind in enumerate(kinds)]
    for track in tracks:
        track.start()
    for track in tracks:
        track.stop()

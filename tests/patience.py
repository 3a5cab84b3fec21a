"""How long tests wait for what must happen."""

from __future__ import annotations

from typing import Final

#: Seconds after which a test takes it that something never happens. It says nothing about how fast airyd is, and is
#: so long that no busy machine needs it.
PATIENCE: Final = 120.0
#: Seconds for a whole test with a reactor; trial ends it then.
TIMEOUT: Final = 5 * PATIENCE

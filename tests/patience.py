"""How long tests wait before they fail."""

from __future__ import annotations

from typing import Final

#: Seconds that a test waits for something before it fails. So long that it is enough on any busy machine; it says
#: nothing about airyd's speed.
PATIENCE: Final = 120.0
#: Seconds for a whole test with a reactor; trial ends it then.
TIMEOUT: Final = 5 * PATIENCE

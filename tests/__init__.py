"""airyd's tests; they mirror its modules, and run with pytest and with trial alike."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests import inherited

inherited.settle()

# The same examples each time, and as many. How long they take says nothing on a machine that does other work too.
settings.register_profile(
    "airyd",
    max_examples=100,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("airyd")

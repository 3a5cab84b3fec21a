"""airyd's tests: they mirror its modules, and run with both pytest and trial."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests import inherited

inherited.settle()

# The same examples in each run. No deadline: the machine may be busy with other work.
settings.register_profile(
    "airyd",
    max_examples=100,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("airyd")

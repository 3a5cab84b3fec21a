"""airyd's tests; they mirror its modules, and run with pytest and with trial alike."""

from __future__ import annotations

from hypothesis import settings

# How long one example takes says nothing on a machine that does other work too.
settings.register_profile("airyd", parent=settings.default, deadline=None)
settings.load_profile("airyd")

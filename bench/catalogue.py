"""All scenarios, with the project's targets as bounds."""

from __future__ import annotations

from bench import connecting, fanouts, logins, private_scenarios, tls_scenarios
from bench.scenarios import Scenario, Size


def scenarios(size: Size) -> tuple[Scenario, ...]:
    """Return all scenarios in the order in which they run."""
    return (
        *fanouts.fanouts(size),
        *fanouts.compression(),
        *connecting.connections(size),
        *logins.logins(size),
        *private_scenarios.private_streams(size),
        *tls_scenarios.tls(),
        connecting.resume(),
        connecting.workers(size),
        connecting.rolling(size),
        connecting.intake(size),
        fanouts.profile(),
        fanouts.python_clients(),
    )

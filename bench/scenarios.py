"""The words of a benchmark: a scenario, who takes part in it, what is read from it, and what it is to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MESSAGE: Final = "/queue/message"

#: Names of servers, as tables and the command line call them.
AIRYD: Final = "airyd"
AUTOBAHN: Final = "autobahn"
C_EACH: Final = "C each"
C_COALESCE: Final = "C coalesce"

#: The figures that are looked at by name; but for the last two they are called as wsload does.
CPU: Final = "server_cpu_us_per_delivery"
RATE: Final = "deliveries_per_s"
HANDSHAKES: Final = "handshakes_per_s"
CPU_PER_CONNECTION: Final = "server_cpu_us_per_connection"
MEMORY: Final = "server_kib_per_conn_rss_held"
WIRE: Final = "wire_bytes_per_delivery"
SHARE: Final = "busiest_share_pct"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that a measurement brings.

    :ivar key: its name there
    :ivar title: its name in tables, with the unit
    :ivar scale: what to multiply the number by
    :ivar digits: decimals in tables
    :ivar needs_core: whether it counts only if the server's core was busy with the server (``bench.measure``)
    """

    key: str
    title: str
    scale: float = 1.0
    digits: int = 2
    needs_core: bool = False


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure is to keep.

    :ivar limit: in the figure's unit; with ``against`` a multiple of that contender's median
    :ivar against: a contender's name, or None
    :ivar beside: the scenario of that contender, if it is another one
    :ivar of: whose figure it is
    :ivar is_least: whether it is to be at least that, not at most
    """

    key: str
    limit: float
    against: str | None = None
    beside: str | None = None
    of: str = AIRYD
    is_least: bool = False


@dataclass(frozen=True, slots=True)
class Contender:
    """Who takes part in a scenario.

    :ivar server: which server that is
    :ivar options: of airyd, beside those that it always has here
    :ivar load: arguments of the load, beside the scenario's
    """

    name: str
    server: str
    options: tuple[str, ...] = ()
    load: tuple[str, ...] = ()


def contenders(*servers: str) -> tuple[Contender, ...]:
    """Return servers as they are as contenders."""
    return tuple(Contender(name, name) for name in servers)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load.

    :ivar name: for the command line and the JSON
    :ivar driver: what measures it (``bench.run.DRIVERS``)
    :ivar load: arguments of the load, without address and process id
    :ivar saturates: whether the server is to be the bottleneck, so that its core must be busy
    :ivar rounds: at most so many, where a figure hardly varies
    :ivar is_substitute: whether it is for those who have no wsload, or ask for it
    """

    name: str
    title: str
    driver: str
    figures: tuple[Figure, ...]
    contenders: tuple[Contender, ...]
    load: tuple[str, ...] = ()
    bounds: tuple[Bound, ...] = ()
    saturates: bool = False
    rounds: int = 100
    is_substitute: bool = False

    def figure(self, key: str) -> Figure:
        """Return the figure with this key."""
        return next(figure for figure in self.figures if figure.key == key)

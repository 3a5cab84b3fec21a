"""The terms of the benchmarks: scenarios, contenders, figures and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

MESSAGE: Final = "/queue/message"

#: Names of drivers (``bench.run.DRIVERS``).
WSLOAD: Final = "wsload"
BESIDE: Final = "beside"
RESUME: Final = "resume"
LEVEL: Final = "level"
WORKERS: Final = "workers"
ROLLING: Final = "rolling"
PROFILE: Final = "profile"
PAUSES: Final = "pauses"
SIMULATION: Final = "simulation"
CROWD: Final = "crowd"
INTAKE: Final = "intake"
REDIS_LIGHT: Final = "redis-light"
FILTERED: Final = "filtered"
ATTACK: Final = "attack"
PRIVATE: Final = "private"
PRIVATE_IDLE: Final = "private-idle"
HUNDRED_THOUSAND: Final = "hundred-thousand"
TLS_FANOUT: Final = "tls-fanout"
TLS_HANDSHAKES: Final = "tls-handshakes"
TLS_IDLE: Final = "tls-idle"

#: Airy's destinations, and numbers of subscribers; scenarios are compared from the fewest to the most.
SUBSCRIPTIONS: Final = (MESSAGE, "/queue/unread-count", "/queue/channel/connected", "/queue/channel/disconnected")
CROWDS: Final = (100, 1000, 5000)
USUAL: Final = 1000

#: Names of servers in tables and on the command line.
AIRYD: Final = "airyd"
AUTOBAHN: Final = "autobahn"
C_EACH: Final = "C each"
C_COALESCE: Final = "C coalesce"
STREAMS: Final = "Redis Streams"
PUBSUB: Final = "Redis Pub/Sub"
PICOWS: Final = "picows"

#: The keys of figures that code refers to; the first five are wsload's names.
CPU: Final = "server_cpu_us_per_delivery"
RATE: Final = "deliveries_per_s"
HANDSHAKES: Final = "handshakes_per_s"
CPU_PER_CONNECTION: Final = "server_cpu_us_per_connection"
MEMORY: Final = "server_kib_per_conn_rss_held"
WIRE: Final = "wire_bytes_per_delivery"
SHARE: Final = "busiest_share_pct"
PAUSE: Final = "longest_collection_ms"
BEFORE_P99: Final = "before_latency_us_p99"
ROLLING_P99: Final = "rolling_latency_us_p99"
P99_RATIO: Final = "rolling_p99_ratio"
LOST: Final = "lost_clients"
BEATS: Final = "beats_ms_per_s"
EVENT_CPU: Final = "cpu_us_per_event"
BESIDE_RATIO: Final = "cpu_beside_to_alone"
BUILDING: Final = "building_us_more"
RESIDENT: Final = "server_mib_rss"
KERNEL: Final = "kernel_kib_per_conn"
REST_CPU: Final = "rest_us_per_conn_second"
PRIVATE_P50: Final = "private_latency_us_p50"
PRIVATE_P99: Final = "private_latency_us_p99"
CPU_HANDSHAKES: Final = "handshakes_per_cpu_s"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a measurement.

    :ivar key: its name in the measurement
    :ivar title: its name in tables, with the unit
    :ivar scale: a factor for the number
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
    """A bound of a figure.

    :ivar limit: the limit in the figure's unit; with ``against``, a multiple of that contender's median
    :ivar against: a contender's name, or None
    :ivar beside: the scenario of that contender, if it is another one
    :ivar of: the contender whose figure has the bound
    :ivar is_least: whether the limit is a minimum, not a maximum
    """

    key: str
    limit: float
    against: str | None = None
    beside: str | None = None
    of: str = AIRYD
    is_least: bool = False


@dataclass(frozen=True, slots=True)
class Contender:
    """A server with options that takes part in a scenario.

    :ivar server: the name of the server
    :ivar options: additional options of airyd
    :ivar load: additional arguments of the load
    """

    name: str
    server: str
    options: tuple[str, ...] = ()
    load: tuple[str, ...] = ()


def contenders(*servers: str) -> tuple[Contender, ...]:
    """Return a contender without options for each server."""
    return tuple(Contender(name, name) for name in servers)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load.

    :ivar name: its name on the command line and in the JSON
    :ivar driver: the driver that measures it (``bench.run.DRIVERS``)
    :ivar load: arguments of the load, without address and process id
    :ivar saturates: whether the server should be the bottleneck, so that its core must be busy
    :ivar rounds: the most rounds, if its figures hardly vary
    :ivar is_substitute: whether it runs only without wsload, or if it is asked for
    :ivar is_on_request: whether it runs only if the command line names it
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
    is_on_request: bool = False

    def figure(self, key: str) -> Figure:
        """Return the figure with this key."""
        return next(figure for figure in self.figures if figure.key == key)


@dataclass(frozen=True, slots=True)
class Size:
    """The size of each load: seconds, and numbers of connections and events.

    :ivar idle: numbers of idle connections
    :ivar bystanders_seconds: how long subscribers are measured while a storm connects
    :ivar private_null: numbers of simulated clients with a filter of their own
    :ivar private: the number of such clients with sockets
    :ivar rolling: the number of clients while the workers are replaced
    :ivar rolling_seconds: seconds before that
    :ivar hundred_thousand: the number of clients of that scenario
    :ivar private_rate: private events a second that they get together
    """

    seconds: float = 1.2
    warmup: float = 0.4
    light_seconds: int = 6
    idle: tuple[int, ...] = (2000, 8000, 19_000)
    hold: int = 3
    storm: int = 2000
    storm_beside: int = 5000
    bystanders_seconds: int = 4
    intake: int = 300_000
    rolling: int = 5000
    rolling_seconds: int = 10
    intake_to_many: int = 30_000
    private_null: tuple[int, ...] = (1000, 10_000, 50_000)
    private: int = 5000
    hundred_thousand: int = 100_000
    private_rate: int = 5000


FULL: Final = Size()
QUICK: Final = Size(
    seconds=1,
    light_seconds=3,
    idle=(2000,),
    storm=1000,
    storm_beside=2000,
    intake=100_000,
    rolling=1000,
    rolling_seconds=4,
    intake_to_many=10_000,
    private_null=(1000, 5000),
    private=1000,
    hundred_thousand=5000,
    private_rate=500,
)
SIZES: Final[Mapping[str, Size]] = MappingProxyType({"full": FULL, "quick": QUICK})

CPU_FIGURE: Final = Figure(CPU, "server CPU per delivery, µs")
RATE_FIGURE: Final = Figure(RATE, "deliveries/s", digits=0, needs_core=True)
P50: Final = Figure("latency_us_p50", "latency p50, ms", 1e-3)
P99: Final = Figure("latency_us_p99", "latency p99, ms", 1e-3)
LATENCIES: Final = (
    P50,
    Figure("latency_us_p90", "latency p90, ms", 1e-3),
    P99,
    Figure("latency_us_p999", "latency p99.9, ms", 1e-3),
)


def subscribed(destinations: tuple[str, ...]) -> tuple[str, ...]:
    """Return arguments of wsload: each client subscribes to these destinations."""
    return tuple(word for destination in destinations for word in ("-d", destination))


def fanout(crowd: int, subscriptions: tuple[str, ...]) -> tuple[str, ...]:
    """Return arguments of wsload: all subscribers must get each event, in order."""
    return ("fanout", "-n", str(crowd), "--receipt", "--verify", *subscribed(subscriptions))


def times(size: Size) -> tuple[str, ...]:
    """Return arguments of wsload: how long a closed loop takes."""
    return ("--warmup", str(size.warmup), "-t", str(size.seconds))

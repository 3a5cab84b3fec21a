"""What is measured: each scenario's load, the figures read from it, and the bounds they are to keep."""

from __future__ import annotations

from dataclasses import dataclass

MESSAGE = "/queue/message"
AIRY_DESTINATIONS = (MESSAGE, "/queue/unread-count", "/queue/channel/connected", "/queue/channel/disconnected")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that the load generator reports.

    :ivar key: its name there
    :ivar title: its name in the table, with the unit
    :ivar scale: what to multiply the reported number by
    :ivar digits: decimals in the table
    """

    key: str
    title: str
    scale: float = 1.0
    digits: int = 2


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure of airyd may be at most, as a multiple of another server's."""

    key: str
    against: str
    at_most: float


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure of a server is to reach, by itself.

    :ivar is_least: whether it is to be at least that, not at most
    """

    key: str
    server: str
    value: float
    is_least: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load.

    :ivar name: for the command line and the JSON
    :ivar arguments: of the load generator, without address and process id
    :ivar servers: names of those that take part
    :ivar saturates: whether the server is to be the bottleneck, so that its core must be busy
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    figures: tuple[Figure, ...]
    servers: tuple[str, ...]
    saturates: bool = False
    bounds: tuple[Bound, ...] = ()
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class Size:
    """How much of each load: counts of connections, and seconds."""

    subscribers: int = 1000
    seconds: int = 5
    light_seconds: int = 10
    warmup: int = 2
    idle: int = 8000
    hold: int = 12
    storm: int = 2000
    intake: int = 300_000
    intake_to_many: int = 30_000


FULL = Size()
QUICK = Size(seconds=2, light_seconds=3, warmup=1, idle=2000, hold=6, storm=1000, intake=100_000, intake_to_many=10_000)

_CPU = Figure("server_cpu_us_per_delivery", "server CPU per delivery, µs")
_RATE = Figure("deliveries_per_s", "deliveries/s", digits=0)
_ALL = ("airyd", "autobahn", "C each", "C coalesce")
#: The modes of the reference in C differ only in how they fan out.
_ONE_C = ("airyd", "autobahn", "C each")


#: The scenario that needs a redis-server and no load generator, and its servers (bench.intake).
INTAKE = "intake"
INTAKE_ONE = "airyd"
INTAKE_MANY = "airyd x 100"
INTAKE_OTHER = "redis-py"


def scenarios(size: Size) -> tuple[Scenario, ...]:
    """Return the scenarios in the order in which they run."""
    fanout = ("fanout", "-n", str(size.subscribers), "-d", MESSAGE, "--receipt", "--pub", "stomp", "--verify")
    closed_loop = (*fanout, "--rate", "max", "--warmup", str(size.warmup), "-t", str(size.seconds))
    subscribers = f"{size.subscribers:,} subscribers"
    return (
        Scenario(
            "one-in-flight",
            f"{subscribers}, the next event is sent when all have the last",
            (*closed_loop, "--window", "1"),
            (_CPU, _RATE),
            _ALL,
            saturates=True,
            bounds=(Bound(_CPU.key, "autobahn", 0.6),),
        ),
        Scenario(
            "saturated",
            f"{subscribers}, 16 events in flight",
            (*closed_loop, "--window", "16"),
            (_CPU, _RATE),
            _ALL,
            saturates=True,
            bounds=(Bound(_CPU.key, "autobahn", 0.25),),
        ),
        Scenario(
            "light",
            f"{subscribers}, 10 events/s",
            (*fanout, "--rate", "10", "--warmup", str(size.warmup), "-t", str(size.light_seconds)),
            (
                Figure("latency_us_p50", "latency p50, ms", 1e-3),
                Figure("latency_us_p99", "latency p99, ms", 1e-3),
                _CPU,
            ),
            _ALL,
        ),
        Scenario(
            "idle",
            f"{size.idle:,} idle connections, four subscriptions each, heart-beats where the server has them",
            (
                *("idle", "-n", str(size.idle), "--receipt", "--heart-beat", "5000,5000", "--hold", str(size.hold)),
                *(word for destination in AIRY_DESTINATIONS for word in ("-d", destination)),
            ),
            (
                Figure("server_kib_per_conn_rss_held", "memory per connection, KiB"),
                Figure("server_cpu_pct_idle", "server CPU, %"),
            ),
            _ONE_C,
        ),
        Scenario(
            "storm",
            f"{size.storm:,} connections at once: handshake, CONNECT, SUBSCRIBE; three times",
            ("storm", "-n", str(size.storm), "-c", "64", "--rounds", "3", "-d", MESSAGE, "--receipt"),
            (
                Figure("handshakes_per_s", "handshakes/s", digits=0),
                Figure("server_cpu_us_per_connection", "server CPU per connection, µs", digits=0),
            ),
            _ONE_C,
        ),
        Scenario(
            INTAKE,
            f"{size.intake:,} entries of a Redis stream in bulk, to one subscriber; {size.intake_to_many:,} to 100; "
            "redis-py with hiredis only reads",
            (),
            (
                Figure("events_per_s", "events/s", digits=0),
                Figure("cpu_us_per_event", "server CPU per event, µs"),
            ),
            (INTAKE_ONE, INTAKE_MANY, INTAKE_OTHER),
            targets=(
                Target("events_per_s", INTAKE_ONE, 100_000, is_least=True),
                Target("cpu_us_per_event", INTAKE_ONE, 6.0),
            ),
        ),
    )

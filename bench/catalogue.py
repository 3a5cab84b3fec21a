"""All scenarios: their loads, and the targets of the project as bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from airyd.limits import MIB
from bench.scenarios import (
    AIRYD,
    AUTOBAHN,
    C_COALESCE,
    C_EACH,
    CPU,
    CPU_PER_CONNECTION,
    HANDSHAKES,
    MEMORY,
    MESSAGE,
    RATE,
    SHARE,
    WIRE,
    Bound,
    Contender,
    Figure,
    Scenario,
    contenders,
)

#: Names of drivers (``bench.run.DRIVERS``).
WSLOAD: Final = "wsload"
BESIDE: Final = "beside"
RESUME: Final = "resume"
WORKERS: Final = "workers"
CROWD: Final = "crowd"
INTAKE: Final = "intake"

SUBSCRIPTIONS: Final = (MESSAGE, "/queue/unread-count", "/queue/channel/connected", "/queue/channel/disconnected")
#: Numbers of subscribers; what is compared between scenarios goes from the first to the last.
CROWDS: Final = (100, 1000, 5000)
USUAL: Final = 1000


@dataclass(frozen=True, slots=True)
class Size:
    """How much of each load: seconds, and counts of connections and events.

    :ivar idle: numbers of idle connections
    :ivar bystanders_seconds: for those who listen while a storm connects
    """

    seconds: float = 2
    warmup: float = 0.5
    light_seconds: int = 8
    idle: tuple[int, ...] = (2000, 8000, 19_000)
    hold: int = 4
    storm: int = 2000
    storm_beside: int = 5000
    bystanders_seconds: int = 5
    intake: int = 300_000
    intake_to_many: int = 30_000


FULL: Final = Size()
QUICK: Final = Size(
    seconds=1,
    light_seconds=3,
    idle=(2000,),
    storm=1000,
    storm_beside=2000,
    intake=100_000,
    intake_to_many=10_000,
)

_CPU: Final = Figure(CPU, "server CPU per delivery, µs")
_RATE: Final = Figure(RATE, "deliveries/s", digits=0, needs_core=True)
_P50: Final = Figure("latency_us_p50", "latency p50, ms", 1e-3)
_P99: Final = Figure("latency_us_p99", "latency p99, ms", 1e-3)
_LATENCIES: Final = (
    _P50,
    Figure("latency_us_p90", "latency p90, ms", 1e-3),
    _P99,
    Figure("latency_us_p999", "latency p99.9, ms", 1e-3),
)


def scenarios(size: Size) -> tuple[Scenario, ...]:
    """Return all scenarios in the order in which they run."""
    alone = (_resume(), _workers(size), _intake(size), python_clients())
    return (*_fanouts(size), *_compression(), *_connections(size), *alone)


def _fanouts(size: Size) -> Iterator[Scenario]:
    for crowd in CROWDS:
        yield one_in_flight(size, crowd)
    yield one_in_flight(size, USUAL, SUBSCRIPTIONS)
    yield own_ids(size)
    for crowd in CROWDS:
        yield saturated(size, crowd)
    yield saturated(size, USUAL, SUBSCRIPTIONS)
    yield _light(size)
    yield _slow(size)


def one_in_flight(size: Size, crowd: int, subscriptions: tuple[str, ...] = SUBSCRIPTIONS[:1]) -> Scenario:
    """Return the scenario of events that are sent when all subscribers have the last."""
    bounds: tuple[Bound, ...] = (Bound(CPU, 1.25, C_EACH), Bound(CPU, 0.3, AUTOBAHN))
    if crowd == CROWDS[-1]:
        bounds += (Bound(CPU, 1.3, AIRYD, beside=f"one-in-flight-{CROWDS[0]}"),)
    return Scenario(
        f"one-in-flight-{_crowd(crowd, subscriptions)}",
        f"{_described(crowd, subscriptions)}; the next event is sent when all have the last",
        WSLOAD,
        (_CPU, _RATE),
        contenders(AIRYD, AUTOBAHN, C_EACH),
        (*_fanout(crowd, subscriptions), *_closed_loop(size, 1)),
        bounds,
        saturates=True,
    )


def saturated(size: Size, crowd: int, subscriptions: tuple[str, ...] = SUBSCRIPTIONS[:1]) -> Scenario:
    """Return the scenario of sixteen events in flight."""
    return Scenario(
        f"saturated-{_crowd(crowd, subscriptions)}",
        f"{_described(crowd, subscriptions)}; 16 events in flight",
        WSLOAD,
        (_RATE, _CPU),
        contenders(AIRYD, AUTOBAHN, C_EACH, C_COALESCE),
        (*_fanout(crowd, subscriptions), *_closed_loop(size, 16)),
        (
            Bound(RATE, 0.75, C_COALESCE, is_least=True),
            Bound(RATE, 8, C_EACH, is_least=True),
            Bound(RATE, 13, AUTOBAHN, is_least=True),
        ),
        saturates=True,
    )


def own_ids(size: Size) -> Scenario:
    """Return the scenario of subscribers whose MESSAGEs all differ."""
    return Scenario(
        "own-ids",
        f"{USUAL:,} subscribers, each with its own subscription id; the next event is sent when all have the last",
        WSLOAD,
        (_CPU, _RATE),
        contenders(AIRYD, AUTOBAHN, C_EACH),
        (*_fanout(USUAL, SUBSCRIPTIONS[:1]), *_closed_loop(size, 1), "--sub-id", "sub-%i"),
        (Bound(CPU, 2, C_EACH),),
        saturates=True,
    )


def _light(size: Size) -> Scenario:
    return Scenario(
        "light",
        f"{USUAL:,} subscribers, 10 events/s",
        WSLOAD,
        (*_LATENCIES, _CPU),
        contenders(AIRYD, AUTOBAHN, C_EACH),
        (*_fanout(USUAL, SUBSCRIPTIONS[:1]), *_open_loop(size, 10)),
        (Bound(_P50.key, 1.25, C_EACH), Bound(_P99.key, 1.5, C_EACH)),
    )


def _slow(size: Size) -> Scenario:
    stalled = USUAL // 20
    load = ("slow", "-n", str(USUAL), "--slow-rcvbuf", "4096", *_subscribed(SUBSCRIPTIONS[:1]))
    return Scenario(
        "slow-readers",
        f"{USUAL:,} subscribers, 50 events/s; the latency of those who read, without and with 5 % who don't",
        WSLOAD,
        _LATENCIES,
        (
            Contender(AIRYD, AIRYD, load=("--slow", "1")),
            Contender("5 % stalled", AIRYD, load=("--slow", str(stalled))),
        ),
        (*load, *_open_loop(size, 50)),
        (Bound(_P99.key, 1.5, AIRYD, of="5 % stalled"),),
    )


def _compression() -> Iterator[Scenario]:
    for name, events, smaller in (("single", 1, 0.75), ("four", 4, 0.45)):
        yield Scenario(
            f"compression-{name}",
            f"{USUAL:,} subscribers, batches of {events}: none, all, or half of the clients compress",
            CROWD,
            (_CPU, Figure(WIRE, "bytes on the wire per delivery", digits=0)),
            (
                Contender("none", AIRYD, load=("0",)),
                Contender("all", AIRYD, load=("100",)),
                Contender("half", AIRYD, load=("50",)),
            ),
            (str(USUAL), str(events)),
            (
                Bound(CPU, 1.15, "none", of="all"),
                Bound(WIRE, smaller, "none", of="all"),
                Bound(CPU, 1.1, "none", of="half"),
            ),
        )


def python_clients() -> Scenario:
    """Return what takes the place of all that needs wsload, where there is none."""
    return Scenario(
        "python-clients",
        f"{USUAL:,} subscribers in Python; the next event is sent when all have the last",
        CROWD,
        (_CPU,),
        tuple(Contender(name, name, load=("0",)) for name in (AIRYD, AUTOBAHN, C_EACH)),
        (str(USUAL), "1"),
        (Bound(CPU, 1.25, C_EACH), Bound(CPU, 0.3, AUTOBAHN)),
        is_substitute=True,
    )


def _connections(size: Size) -> Iterator[Scenario]:
    for number in size.idle:
        yield idle(size, number)
    yield storm(size)
    yield Scenario(
        "storm-beside",
        f"{size.storm_beside:,} connections at once, while 500 subscribers have 50 events/s: the latter's latency",
        BESIDE,
        (*_LATENCIES, Figure(HANDSHAKES, "handshakes/s", digits=0)),
        contenders(AIRYD, AUTOBAHN, C_EACH),
        ("storm", "-n", str(size.storm_beside), "-c", "1000", "--rounds", "1", *_subscribed(SUBSCRIPTIONS[:1])),
        (Bound(_P99.key, 250),),
        rounds=2,
    )


def idle(size: Size, number: int) -> Scenario:
    """Return the scenario of connections on which nothing happens but heart-beats."""
    # A source address has some 28,000 ports; airyd, Autobahn and wsload share what the machine has of them.
    load = ("idle", "-n", str(number), "--receipt", "--heart-beat", "5000,5000", "--src-addrs", "2")
    return Scenario(
        f"idle-{number}",
        f"{number:,} idle connections, four subscriptions each, heart-beats where the server has them",
        WSLOAD,
        (
            Figure(MEMORY, "memory per connection, KiB"),
            Figure("server_cpu_pct_idle", "server CPU, %"),
        ),
        contenders(AIRYD, AUTOBAHN, C_EACH),
        (*load, "--hold", str(size.hold), *_subscribed(SUBSCRIPTIONS)),
        (Bound(MEMORY, 3.0),),
        rounds=1,
    )


def storm(size: Size) -> Scenario:
    """Return the scenario of many who connect and leave."""
    return Scenario(
        "storm",
        f"{size.storm:,} connections, 64 at once: handshake, CONNECT, SUBSCRIBE; three times",
        WSLOAD,
        (
            Figure(HANDSHAKES, "handshakes/s", digits=0, needs_core=True),
            Figure(CPU_PER_CONNECTION, "server CPU per connection, µs", digits=0),
        ),
        contenders(AIRYD, AUTOBAHN, C_EACH),
        ("storm", "-n", str(size.storm), "-c", "64", "--rounds", "3", *_subscribed(SUBSCRIPTIONS[:1]), "--receipt"),
        (Bound(HANDSHAKES, 2, AUTOBAHN, is_least=True),),
        saturates=True,
    )


def _resume() -> Scenario:
    missed, clients = 5000, 200
    history = ("--source", f"memory:?history={2 * missed}")
    return Scenario(
        "resume",
        f"{clients} clients come back {missed:,} events behind, while 100 others have 50 events/s: the others' latency",
        RESUME,
        (
            *_LATENCIES,
            Figure("level_s", "seconds until all are level"),
            Figure("replayed_per_s", "replayed events/s", digits=0),
        ),
        (Contender(AIRYD, AIRYD, history, ("0",)), Contender("200 return", AIRYD, history, (str(clients),))),
        (str(missed),),
        (Bound(_P99.key, 3, AIRYD, of="200 return"),),
    )


def _workers(size: Size) -> Scenario:
    one, two = "1 worker", "2 workers"
    return Scenario(
        "workers",
        f"{USUAL:,} subscribers, events from Redis one at a time, then a storm of connections; on one core",
        WORKERS,
        (
            _CPU,
            Figure(CPU_PER_CONNECTION, "server CPU per connection, µs", digits=0),
            Figure(SHARE, "clients of the busier worker, %", digits=0),
        ),
        (Contender(one, AIRYD), Contender(two, AIRYD, ("--workers", "2"))),
        (*_fanout(USUAL, SUBSCRIPTIONS[:1]), "--rate", "max", "--window", "1", *_times(size)),
        (
            Bound(CPU, 1.2, one, of=two),
            Bound(CPU_PER_CONNECTION, 1.2, one, of=two),
            Bound(SHARE, 60, of=two),
        ),
    )


def _intake(size: Size) -> Scenario:
    many = "100 subscribers"
    return Scenario(
        "intake",
        f"{size.intake:,} entries of a Redis stream in bulk, to one subscriber; {size.intake_to_many:,} to 100; "
        "redis-py with hiredis only reads",
        INTAKE,
        (
            Figure("events_per_s", "events/s", digits=0),
            Figure("cpu_us_per_event", "server CPU per event, µs"),
        ),
        (
            Contender(AIRYD, AIRYD, load=(str(size.intake), "1")),
            # Its subscribers share a core with Redis: they may lag.
            Contender(many, AIRYD, ("--buffered", str(64 * MIB)), (str(size.intake_to_many), "100")),
            Contender("redis-py", "redis-py", load=(str(size.intake), "0")),
        ),
        bounds=(Bound("events_per_s", 100_000, is_least=True), Bound("cpu_us_per_event", 6.0)),
    )


def _fanout(crowd: int, subscriptions: tuple[str, ...]) -> tuple[str, ...]:
    """Return arguments of wsload: subscribers who must all get each event, in order."""
    return ("fanout", "-n", str(crowd), "--receipt", "--verify", *_subscribed(subscriptions))


def _closed_loop(size: Size, window: int) -> tuple[str, ...]:
    return ("--pub", "stomp", "--rate", "max", "--window", str(window), *_times(size))


def _times(size: Size) -> tuple[str, ...]:
    return ("--warmup", str(size.warmup), "-t", str(size.seconds))


def _open_loop(size: Size, rate: int) -> tuple[str, ...]:
    return ("--pub", "stomp", "--rate", str(rate), "--warmup", "1", "-t", str(size.light_seconds))


def _subscribed(destinations: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for destination in destinations for word in ("-d", destination))


def _crowd(crowd: int, subscriptions: tuple[str, ...]) -> str:
    return str(crowd) if len(subscriptions) == 1 else "four"


def _described(crowd: int, subscriptions: tuple[str, ...]) -> str:
    return f"{crowd:,} subscribers" + (", four subscriptions each" if len(subscriptions) > 1 else "")

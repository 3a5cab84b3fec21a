"""Scenarios of clients that connect, are idle or come back, of workers, and of Redis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from airyd.limits import MIB
from bench.scenarios import (
    AIRYD,
    AUTOBAHN,
    BEATS,
    BEFORE_P99,
    BESIDE,
    C_EACH,
    CPU,
    CPU_FIGURE,
    CPU_PER_CONNECTION,
    HANDSHAKES,
    INTAKE,
    LATENCIES,
    LEVEL,
    LOST,
    MEMORY,
    P99,
    P99_RATIO,
    PAUSE,
    PAUSES,
    PICOWS,
    RESUME,
    ROLLING,
    ROLLING_P99,
    SHARE,
    SIMULATION,
    SUBSCRIPTIONS,
    USUAL,
    WORKERS,
    WSLOAD,
    Bound,
    Contender,
    Figure,
    Scenario,
    Size,
    contenders,
    fanout,
    subscribed,
    times,
)


def connections(size: Size) -> Iterator[Scenario]:
    """Yield the scenarios of clients that only connect."""
    for number in size.idle:
        yield idle(size, number)
    yield _pauses(size)
    yield _beats()
    yield storm(size)
    yield _four(size)
    yield _level(size)
    yield Scenario(
        "storm-beside",
        f"{size.storm_beside:,} connections at once, while 500 subscribers have 50 events/s: the latter's latency",
        BESIDE,
        (*LATENCIES, Figure(HANDSHAKES, "handshakes/s", digits=0)),
        contenders(AIRYD, AUTOBAHN),
        ("storm", "-n", str(size.storm_beside), "-c", "1000", "--rounds", "1", *subscribed(SUBSCRIPTIONS[:1])),
        (Bound(P99.key, 100),),
        rounds=2,
    )


def idle(size: Size, number: int) -> Scenario:
    """Return the scenario of connections with nothing but heart-beats."""
    # A source address has only some 28,000 ports, so there are two.
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
        (*load, "--hold", str(size.hold), *subscribed(SUBSCRIPTIONS)),
        (Bound(MEMORY, 3.0),),
        rounds=1,
    )


def _pauses(size: Size) -> Scenario:
    number = size.idle[-1]
    return Scenario(
        "pauses",
        f"{number:,} connections come and are idle: the longest garbage collection meanwhile",
        PAUSES,
        (Figure(PAUSE, "longest collection, ms", digits=1),),
        contenders(AIRYD),
        idle(size, number).load,
        (Bound(PAUSE, 10),),
        rounds=1,
    )


def _beats() -> Scenario:
    connections = 50_000
    return Scenario(
        "heart-beats",
        f"{connections:,} connections with four subscriptions and heart-beats of 30 s, simulated, without the sends",
        SIMULATION,
        (Figure(BEATS, "CPU per second, ms", digits=1),),
        contenders(AIRYD),
        ("bench.beats", str(connections)),
        (Bound(BEATS, 10),),
        rounds=1,
    )


def storm(size: Size) -> Scenario:
    """Return the scenario of many clients that connect and disconnect."""
    return Scenario(
        "storm",
        f"{size.storm:,} connections, 64 at once: handshake, CONNECT, SUBSCRIBE; three times",
        WSLOAD,
        (
            Figure(HANDSHAKES, "handshakes/s", digits=0, needs_core=True),
            Figure(CPU_PER_CONNECTION, "server CPU per connection, µs", digits=0),
        ),
        # The clients of picows only open the WebSocket.
        (*contenders(AIRYD, AUTOBAHN), Contender(PICOWS, PICOWS, load=("--proto", "raw")), *contenders(C_EACH)),
        ("storm", "-n", str(size.storm), "-c", "64", "--rounds", "3", *subscribed(SUBSCRIPTIONS[:1]), "--receipt"),
        (
            Bound(HANDSHAKES, 2, AUTOBAHN, is_least=True),
            Bound(CPU_PER_CONNECTION, 0.85, PICOWS),
            Bound(HANDSHAKES, 1, PICOWS, is_least=True),
        ),
        saturates=True,
    )


def _four(size: Size) -> Scenario:
    """Return the scenario of clients with several subscriptions."""
    four = "four SUBSCRIBEs"
    return replace(
        storm(size),
        name="storm-four",
        title=f"{size.storm:,} connections, 64 at once, with one SUBSCRIBE or four; three times",
        contenders=(Contender(AIRYD, AIRYD), Contender(four, AIRYD, load=subscribed(SUBSCRIPTIONS[1:]))),
        bounds=(Bound(CPU_PER_CONNECTION, 1.4, AIRYD, of=four),),
    )


def _level(size: Size) -> Scenario:
    """Return the scenario of clients that come back and have missed nothing."""
    resumed = "resumed"
    return replace(
        storm(size),
        name="storm-level",
        title=f"{size.storm:,} connections, 64 at once, that subscribe, or resume at the newest event; three times",
        driver=LEVEL,
        contenders=(Contender(AIRYD, AIRYD), Contender(resumed, AIRYD, load=(resumed,))),
        bounds=(Bound(CPU_PER_CONNECTION, 1.3, AIRYD, of=resumed),),
    )


def resume() -> Scenario:
    """Return the scenario of many clients that come back and resume."""
    missed, clients = 5000, 200
    history = ("--source", f"memory:?history={2 * missed}")
    return Scenario(
        "resume",
        f"{clients} clients come back {missed:,} events behind, while 100 others have 50 events/s: the others' latency",
        RESUME,
        (
            *LATENCIES,
            Figure("level_s", "seconds until all are level"),
            Figure("replayed_per_s", "replayed events/s", digits=0),
        ),
        (Contender(AIRYD, AIRYD, history, ("0",)), Contender("200 return", AIRYD, history, (str(clients),))),
        (str(missed),),
        (Bound(P99.key, 3, AIRYD, of="200 return"),),
        rounds=2,
    )


def workers(size: Size) -> Scenario:
    """Return the scenario that compares one process with two."""
    one, two = "1 worker", "2 workers"
    return Scenario(
        "workers",
        f"{USUAL:,} subscribers, events from Redis one at a time, then a storm of connections; on one core",
        WORKERS,
        (
            CPU_FIGURE,
            Figure(CPU_PER_CONNECTION, "server CPU per connection, µs", digits=0),
            Figure(SHARE, "clients of the busier worker, %", digits=0),
        ),
        (Contender(one, AIRYD), Contender(two, AIRYD, ("--workers", "2"))),
        (*fanout(USUAL, SUBSCRIPTIONS[:1]), "--rate", "max", "--window", "1", *times(size)),
        (
            Bound(CPU, 1.2, one, of=two),
            Bound(CPU_PER_CONNECTION, 1.2, one, of=two),
            Bound(SHARE, 60, of=two),
        ),
        rounds=2,
    )


def rolling(size: Size) -> Scenario:
    """Return the scenario of a rolling restart: who stays must hardly notice it, and who is closed misses nothing."""
    return Scenario(
        "rolling-restart",
        f"{size.rolling:,} subscribers of two workers on one core, five events a second from Redis, and SIGUSR2; "
        "latencies of connections that were open",
        ROLLING,
        (
            Figure(BEFORE_P99, "latency p99 before, ms", 1e-3),
            Figure(ROLLING_P99, "during: latency p99, ms", 1e-3),
            Figure(P99_RATIO, "ratio"),
            Figure(LOST, "clients that did not resume", digits=0),
        ),
        (Contender(AIRYD, AIRYD, ("--workers", "2")),),
        (str(size.rolling), "5"),
        (Bound(P99_RATIO, 2.0), Bound(LOST, 0)),
        rounds=1,
    )


def intake(size: Size) -> Scenario:
    """Return the scenario of a stream that is read in bulk."""
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
            # The subscribers share a core with Redis, so they may lag.
            Contender(many, AIRYD, ("--buffered", str(64 * MIB)), (str(size.intake_to_many), "100")),
            Contender("redis-py", "redis-py", load=(str(size.intake), "0")),
        ),
        bounds=(Bound("events_per_s", 100_000, is_least=True), Bound("cpu_us_per_event", 6.0)),
        rounds=2,
    )

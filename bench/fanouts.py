"""Scenarios of live events for many subscribers."""

from __future__ import annotations

from collections.abc import Iterator

from bench.scenarios import (
    AIRYD,
    AUTOBAHN,
    C_COALESCE,
    C_EACH,
    CPU,
    CPU_FIGURE,
    CROWD,
    CROWDS,
    LATENCIES,
    P50,
    P99,
    PROFILE,
    PUBSUB,
    RATE,
    RATE_FIGURE,
    REDIS_LIGHT,
    STREAMS,
    SUBSCRIPTIONS,
    USUAL,
    WIRE,
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


def fanouts(size: Size) -> Iterator[Scenario]:
    """Yield the scenarios of live events."""
    for crowd in CROWDS:
        yield one_in_flight(size, crowd)
    yield one_in_flight(size, USUAL, SUBSCRIPTIONS)
    yield own_ids(size)
    for crowd in CROWDS:
        yield saturated(size, crowd)
    yield saturated(size, USUAL, SUBSCRIPTIONS)
    yield _light(size)
    yield _redis_light(size)
    yield _slow(size)


def one_in_flight(size: Size, crowd: int, subscriptions: tuple[str, ...] = SUBSCRIPTIONS[:1]) -> Scenario:
    """Return the scenario with one event in flight: the next is sent when all subscribers have it."""
    bounds: tuple[Bound, ...] = (Bound(CPU, 1.25, C_EACH), Bound(CPU, 0.3, AUTOBAHN))
    if crowd == CROWDS[-1]:
        bounds += (Bound(CPU, 1.3, AIRYD, beside=f"one-in-flight-{CROWDS[0]}"),)
    return Scenario(
        f"one-in-flight-{_crowd(crowd, subscriptions)}",
        f"{_described(crowd, subscriptions)}; the next event is sent when all have the last",
        WSLOAD,
        (CPU_FIGURE, RATE_FIGURE),
        contenders(AIRYD, AUTOBAHN, C_EACH),
        (*fanout(crowd, subscriptions), *_closed_loop(size, 1)),
        bounds,
        saturates=True,
    )


def saturated(size: Size, crowd: int, subscriptions: tuple[str, ...] = SUBSCRIPTIONS[:1]) -> Scenario:
    """Return the scenario with sixteen events in flight."""
    bounds: tuple[Bound, ...] = (Bound(RATE, 0.75, C_COALESCE, is_least=True), Bound(RATE, 13, AUTOBAHN, is_least=True))
    servers: tuple[str, ...] = (AIRYD, AUTOBAHN, C_COALESCE)
    if crowd == USUAL and len(subscriptions) == 1:
        bounds = (*bounds, Bound(RATE, 8, C_EACH, is_least=True))
        servers = (*servers, C_EACH)
    return Scenario(
        f"saturated-{_crowd(crowd, subscriptions)}",
        f"{_described(crowd, subscriptions)}; 16 events in flight",
        WSLOAD,
        (RATE_FIGURE, CPU_FIGURE),
        contenders(*servers),
        (*fanout(crowd, subscriptions), *_closed_loop(size, 16)),
        bounds,
        saturates=True,
    )


def own_ids(size: Size) -> Scenario:
    """Return the scenario of subscribers whose MESSAGEs all differ."""
    return Scenario(
        "own-ids",
        f"{USUAL:,} subscribers, each with its own subscription id; the next event is sent when all have the last",
        WSLOAD,
        (CPU_FIGURE, RATE_FIGURE),
        contenders(AIRYD, C_EACH),
        (*fanout(USUAL, SUBSCRIPTIONS[:1]), *_closed_loop(size, 1), "--sub-id", "sub-%i"),
        (Bound(CPU, 2, C_EACH),),
        saturates=True,
    )


def _light(size: Size) -> Scenario:
    return Scenario(
        "light",
        f"{USUAL:,} subscribers, 10 events/s",
        WSLOAD,
        (*LATENCIES, CPU_FIGURE),
        contenders(AIRYD, AUTOBAHN, C_EACH),
        (*fanout(USUAL, SUBSCRIPTIONS[:1]), *_open_loop(size, 10)),
        (Bound(P50.key, 1.25, C_EACH), Bound(P99.key, 1.5, C_EACH)),
    )


def _redis_light(size: Size) -> Scenario:
    return Scenario(
        "redis-light",
        f"{USUAL:,} subscribers, 10 events/s by Redis",
        REDIS_LIGHT,
        (*LATENCIES, CPU_FIGURE),
        (Contender(STREAMS, AIRYD), Contender(PUBSUB, AIRYD, load=("?mode=pubsub",))),
        (*fanout(USUAL, SUBSCRIPTIONS[:1]), *_open_loop(size, 10)),
        (Bound(P50.key, 1.1, PUBSUB, of=STREAMS), Bound(P99.key, 1.2, PUBSUB, of=STREAMS)),
    )


def _slow(size: Size) -> Scenario:
    stalled = USUAL // 20
    load = ("slow", "-n", str(USUAL), "--slow-rcvbuf", "4096", *subscribed(SUBSCRIPTIONS[:1]))
    return Scenario(
        "slow-readers",
        f"{USUAL:,} subscribers, 50 events/s; the latency of those who read, without and with 5 % who don't",
        WSLOAD,
        LATENCIES,
        (
            Contender(AIRYD, AIRYD, load=("--slow", "1")),
            Contender("5 % stalled", AIRYD, load=("--slow", str(stalled))),
        ),
        (*load, *_open_loop(size, 50)),
        (Bound(P99.key, 1.5, AIRYD, of="5 % stalled"),),
    )


def compression() -> Iterator[Scenario]:
    """Yield the scenarios of clients with and without compression."""
    for name, events, smaller in (("single", 1, 0.75), ("four", 4, 0.45), ("sixteen", 16, 0.45)):
        yield Scenario(
            f"compression-{name}",
            f"{USUAL:,} subscribers, batches of {events}: none, all, or half of the clients compress",
            CROWD,
            (CPU_FIGURE, Figure(WIRE, "bytes on the wire per delivery", digits=0)),
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
            rounds=2,
        )


def python_clients() -> Scenario:
    """Return the scenario that replaces those with wsload if it is missing."""
    return Scenario(
        "python-clients",
        f"{USUAL:,} subscribers in Python; the next event is sent when all have the last",
        CROWD,
        (CPU_FIGURE,),
        tuple(Contender(name, name, load=("0",)) for name in (AIRYD, AUTOBAHN, C_EACH)),
        (str(USUAL), "1"),
        (Bound(CPU, 1.25, C_EACH), Bound(CPU, 0.3, AUTOBAHN)),
        is_substitute=True,
    )


def profile() -> Scenario:
    """Return the scenario that shows where airyd spends its time."""
    times = ("--warmup", "0.5", "-t", "6", "--rate", "max")
    loads = {
        "one in flight": ("--window", "1"),
        "saturated": ("--window", "16"),
        "own ids": ("--window", "1", "--sub-id", "sub-%i"),
    }
    return Scenario(
        "profile",
        f"{USUAL:,} subscribers: where airyd's time goes",
        PROFILE,
        (Figure("system_pct", "time in the kernel, %", digits=0),),
        tuple(Contender(name, AIRYD, load=load) for name, load in loads.items()),
        (*fanout(USUAL, SUBSCRIPTIONS[:1]), "--pub", "stomp", *times),
        rounds=1,
    )


def _closed_loop(size: Size, window: int) -> tuple[str, ...]:
    return ("--pub", "stomp", "--rate", "max", "--window", str(window), *times(size))


def _open_loop(size: Size, rate: int) -> tuple[str, ...]:
    return ("--pub", "stomp", "--rate", str(rate), "--warmup", "1", "-t", str(size.light_seconds))


def _crowd(crowd: int, subscriptions: tuple[str, ...]) -> str:
    return str(crowd) if len(subscriptions) == 1 else "four"


def _described(crowd: int, subscriptions: tuple[str, ...]) -> str:
    return f"{crowd:,} subscribers" + (", four subscriptions each" if len(subscriptions) > 1 else "")

"""Scenarios of private streams: clients that each have a row filter of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from bench.logins import LOGIN
from bench.private_streams import OPTIONS
from bench.scenarios import (
    AIRYD,
    BESIDE_RATIO,
    BUILDING,
    C_EACH,
    CPU,
    CPU_FIGURE,
    CPU_PER_CONNECTION,
    EVENT_CPU,
    HUNDRED_THOUSAND,
    KERNEL,
    MEMORY,
    P50,
    P99,
    PRIVATE,
    PRIVATE_IDLE,
    PRIVATE_P50,
    PRIVATE_P99,
    RATE,
    RESIDENT,
    REST_CPU,
    SIMULATION,
    SUBSCRIPTIONS,
    USUAL,
    Bound,
    Contender,
    Figure,
    Scenario,
    Size,
    fanout,
    times,
)

#: Seconds of CPU that each simulation uses, at least.
_SIMULATED: Final = "0.5"
#: Workers of ``hundred-thousand``: each may have 20,000 files.
_WORKERS: Final = 6


def private_streams(size: Size) -> Iterator[Scenario]:
    """Yield the scenarios of private streams."""
    yield _null(size)
    yield _null_beside(size)
    yield _null_building(size)
    yield private(size)
    yield _idle(size)
    yield _hundred_thousand(size)


def _null(size: Size) -> Scenario:
    numbers = size.private_null
    found = [
        Contender(name.format(number), AIRYD, load=(kind, str(number)))
        for kind, name in (("private", "{:,}"), ("acknowledging", "{:,}, ack"))
        for number in numbers
    ]
    unseen = Contender("seen by none", AIRYD, load=("unseen", str(numbers[-1])))
    return Scenario(
        "private-null",
        "so many clients with a filter of their own, simulated; an event that one of them gets, without the send; "
        "the same with ack:client; an event that none of the most clients gets",
        SIMULATION,
        (Figure(EVENT_CPU, "CPU per event, µs", digits=1),),
        (*found, unseen),
        ("bench.private_null", _SIMULATED),
        (
            *(Bound(EVENT_CPU, 20, of=contender.name) for contender in found),
            Bound(EVENT_CPU, 1.2, f"{numbers[0]:,}", of=f"{numbers[-1]:,}"),
        ),
    )


def _null_beside(size: Size) -> Scenario:
    found = [Contender(f"{number:,}", AIRYD, load=("beside", str(number))) for number in size.private_null]
    return Scenario(
        "private-null-beside",
        "1,000 clients without a filter, and so many with one of their own, which are simulated; each event is for "
        "the 1,000 and one of the others",
        SIMULATION,
        (
            Figure(CPU, "CPU per delivery, µs"),
            Figure(BESIDE_RATIO, "the same, x without the others", digits=3),
        ),
        tuple(found),
        ("bench.private_null", _SIMULATED),
        tuple(Bound(BESIDE_RATIO, 1.05, of=contender.name) for contender in found),
    )


def _null_building(size: Size) -> Scenario:
    number = size.private_null[-1]
    return Scenario(
        "private-null-building",
        f"{number:,} clients with a filter of their own connect and subscribe, simulated",
        SIMULATION,
        (Figure(BUILDING, "CPU more than without, µs", digits=1),),
        (Contender(AIRYD, AIRYD, load=("building", str(number))),),
        ("bench.private_null", _SIMULATED),
        (Bound(BUILDING, 60),),
    )


def private(size: Size) -> Scenario:
    """Return the scenario of events that one client each gets."""
    one, one_to_one = "one in flight", "C, 1 client, 1"
    return Scenario(
        "private",
        f"{size.private:,} clients, each with a token and a filter of its own; each event is for one of them; 16 "
        f"events in flight, or one. C each: {USUAL:,} subscribers get each event, one in flight; or one gets it",
        PRIVATE,
        (CPU_FIGURE, Figure(RATE, "deliveries/s", digits=0)),
        (
            Contender(AIRYD, AIRYD, LOGIN, ("16",)),
            Contender(one, AIRYD, LOGIN, ("1",)),
            Contender(C_EACH, C_EACH, load=_fanout(size, USUAL, 1)),
            Contender("C, 1 client, 16", C_EACH, load=_fanout(size, 1, 16)),
            Contender(one_to_one, C_EACH, load=_fanout(size, 1, 1)),
        ),
        (str(size.private),),
        (Bound(CPU, 3, C_EACH), Bound(CPU, 3, one_to_one, of=one)),
    )


def _fanout(size: Size, crowd: int, in_flight: int) -> tuple[str, ...]:
    closed_loop = ("--pub", "stomp", "--rate", "max", "--window", str(in_flight), *times(size))
    return (*fanout(crowd, SUBSCRIPTIONS[:1]), *closed_loop)


def _idle(size: Size) -> Scenario:
    number = min(8000, size.idle[-1])
    return Scenario(
        "private-idle",
        f"{number:,} idle connections with heart-beats, each with a token and a filter of its own, on four or one "
        "subscriptions; the same without filters",
        PRIVATE_IDLE,
        (Figure(MEMORY, "memory per connection, KiB"),),
        tuple(
            Contender(name, AIRYD, (*LOGIN, *OPTIONS), load)
            for name, load in (
                ("four, filtered", ("4", "1")),
                ("four", ("4", "0")),
                ("one, filtered", ("1", "1")),
                ("one", ("1", "0")),
            )
        ),
        (str(number),),
        (Bound(MEMORY, 4.0, of="four, filtered"),),
        rounds=1,
    )


def _hundred_thousand(size: Size) -> Scenario:
    number = size.hundred_thousand
    return Scenario(
        "hundred-thousand",
        f"{number:,} connections to {_WORKERS} workers on one core, each with a token and a filter of its own, four "
        f"subscriptions and heart-beats of 30 s; events from Redis for all, and {size.private_rate:,}/s private ones",
        HUNDRED_THOUSAND,
        (
            Figure(CPU_PER_CONNECTION, "server CPU per connection, µs", digits=0),
            Figure(RESIDENT, "memory of all workers, MiB", digits=0),
            Figure(MEMORY, "memory per connection, KiB"),
            Figure(KERNEL, "kernel memory, both ends, KiB"),
            Figure(REST_CPU, "CPU at rest, µs/connection/s"),
            replace(P50, title="for all: latency p50, ms"),
            replace(P99, title="for all: latency p99, ms"),
            Figure(PRIVATE_P50, "private: latency p50, ms", 1e-3),
            Figure(PRIVATE_P99, "private: latency p99, ms", 1e-3),
        ),
        (Contender(AIRYD, AIRYD, (*LOGIN, *OPTIONS, "--heart-beat", "30000,30000", "--workers", str(_WORKERS))),),
        (str(number), str(size.private_rate)),
        (Bound(MEMORY, 4.0), Bound(REST_CPU, 1.0)),
        rounds=1,
        is_on_request=True,
    )

"""Scenarios of private streams: clients that each have a row filter of their own."""

from __future__ import annotations

from collections.abc import Iterator
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
    EVENT_CPU,
    MEMORY,
    PRIVATE,
    PRIVATE_IDLE,
    RATE,
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


def private_streams(size: Size) -> Iterator[Scenario]:
    """Yield the scenarios of private streams."""
    yield _null(size)
    yield _null_beside(size)
    yield _null_building(size)
    yield private(size)
    yield _idle(size)


def _null(size: Size) -> Scenario:
    numbers = size.private_null
    found = [
        Contender(name.format(number), AIRYD, load=(kind, str(number)))
        for kind, name in (("private", "{:,}"), ("acknowledging", "{:,}, ack"))
        for number in numbers
    ]
    return Scenario(
        "private-null",
        "so many clients with a filter of their own, simulated; an event that one of them gets, without the send; "
        "the same with ack:client",
        SIMULATION,
        (Figure(EVENT_CPU, "CPU per event, µs", digits=1),),
        tuple(found),
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
    one, alone = "one in flight", "C, 1 client"
    by_wsload = ("--pub", "stomp", "--rate", "max", "--window", "1", *times(size))
    return Scenario(
        "private",
        f"{size.private:,} clients, each with a token and a filter of its own; each event is for one of them; 16 "
        f"events in flight, or one. C each has {USUAL:,} subscribers, who all get each event, or one",
        PRIVATE,
        (CPU_FIGURE, Figure(RATE, "deliveries/s", digits=0)),
        (
            Contender(AIRYD, AIRYD, LOGIN, ("16",)),
            Contender(one, AIRYD, LOGIN, ("1",)),
            Contender(C_EACH, C_EACH, load=(*fanout(USUAL, SUBSCRIPTIONS[:1]), *by_wsload)),
            Contender(alone, C_EACH, load=(*fanout(1, SUBSCRIPTIONS[:1]), *by_wsload)),
        ),
        (str(size.private),),
        (Bound(CPU, 3, C_EACH), Bound(CPU, 3, alone, of=one)),
    )


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

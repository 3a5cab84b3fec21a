"""The scenarios of TLS: without it, with ``ssl:``, and with a proxy that ends TLS, whose CPU and memory are added."""

from __future__ import annotations

from collections.abc import Iterator

from bench.scenarios import (
    AIRYD,
    CPU,
    CPU_FIGURE,
    CPU_HANDSHAKES,
    CPU_PER_CONNECTION,
    MEMORY,
    TLS_FANOUT,
    TLS_HANDSHAKES,
    TLS_IDLE,
    USUAL,
    Bound,
    Contender,
    Figure,
    Scenario,
)
from bench.tls import FULL, RESUMED
from bench.tls_fronts import BARE, HAPROXY, NGINX, P_256, PLAIN, RSA_2048, SSL

_WAYS = (PLAIN, SSL, HAPROXY, NGINX)
_CONTENDERS = tuple(Contender(AIRYD if way == SSL else way, AIRYD, load=(way,)) for way in _WAYS)


def tls() -> Iterator[Scenario]:
    """Yield the scenarios of TLS."""
    yield fanout("tls-one-in-flight", USUAL, 1, 2.5)
    yield fanout("tls-saturated", USUAL, 16, 4)
    for name, kind, how in (
        ("tls-handshakes-p256", P_256, FULL),
        ("tls-handshakes-rsa", RSA_2048, FULL),
        ("tls-handshakes-resumed", P_256, RESUMED),
    ):
        yield Scenario(
            name,
            f"TLS 1.3 handshakes, {kind}, {how}; then the client closes",
            TLS_HANDSHAKES,
            (
                Figure(CPU_HANDSHAKES, "handshakes per CPU second", digits=0),
                Figure("server_cpu_us_per_handshake", "server CPU per handshake, µs", digits=0),
            ),
            tuple(
                Contender(AIRYD if way == SSL else way, AIRYD, load=(way, kind, how))
                for way in (SSL, HAPROXY, NGINX, *([BARE] if how == FULL else []))
            ),
            ("1500",),
            (Bound(CPU_HANDSHAKES, 0.7, HAPROXY, is_least=True),) if how == FULL else (),
        )
    yield Scenario(
        "tls-idle",
        "2,000 idle connections, four subscriptions each: airyd and proxy together",
        TLS_IDLE,
        (
            Figure(MEMORY, "memory per connection, KiB"),
            Figure(CPU_PER_CONNECTION, "server CPU per connection, µs", digits=0),
        ),
        (*_CONTENDERS, Contender(BARE, AIRYD, load=(BARE,))),
        ("2000",),
        (Bound(MEMORY, 25),),
        rounds=2,
    )


def fanout(name: str, crowd: int, events: int, limit: float, rounds: int = 100) -> Scenario:
    """Return a scenario of deliveries.

    :param events: how many are sent in one piece
    :param limit: the most that TLS may cost, as a multiple of the cost without it
    """
    how = "one event" if events == 1 else f"{events} events"
    return Scenario(
        name,
        f"{crowd:,} subscribers in Python; the next {how} when all have the last: airyd and proxy together",
        TLS_FANOUT,
        (CPU_FIGURE,),
        _CONTENDERS,
        (str(crowd), str(events)),
        (Bound(CPU, limit, PLAIN), Bound(CPU, 1, HAPROXY), Bound(CPU, 1, NGINX)),
        rounds=rounds,
    )

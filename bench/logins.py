"""Scenarios of clients with tokens: the cost of logins and row filters, and logins with bad tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from airyd.cli.token import mint
from bench.connecting import idle, storm
from bench.scenarios import (
    AIRYD,
    ATTACK,
    AUTOBAHN,
    CPU,
    CPU_FIGURE,
    CPU_PER_CONNECTION,
    FILTERED,
    HANDSHAKES,
    LATENCIES,
    MEMORY,
    P99,
    USUAL,
    Bound,
    Contender,
    Figure,
    Scenario,
    Size,
    contenders,
)
from bench.servers import SECRET, SECRET_VARIABLE

#: Options that admit clients with a token of :func:`token`, in addition to the anonymous publisher.
LOGIN: Final = ("--auth", f"jwt:secret-env={SECRET_VARIABLE}")
#: The channels, one for each row filter.
CHANNELS: Final = tuple(f"channel-{number}" for number in range(10))
#: Bad tokens per second.
BAD: Final = 1000
#: Which of :data:`CHANNELS` each client of ``filtered`` sees.
ALL: Final = "all"
TENTH: Final = "a tenth"
EVERYTHING: Final = "everything"

_USER: Final = "6ae85efa-cd94-44e3-8068-0348fdf9117b"
_DAY: Final = 24 * 60 * 60


def token(channels: Sequence[str] | None) -> str:
    """Return a token like Airy's, valid for a day, that allows subscribing to all of ``/queue/``.

    :param channels: the channels whose events it shows; None: all
    """
    rights: dict[str, object] = {"subscribe": ["/queue/**"]}
    if channels is not None:
        rights |= {"only": {"channel_id": list(channels)}, "missing": "allow"}
    return mint(SECRET.encode(), False, _USER, time.time(), _DAY, rights)


def airy_token() -> str:
    """Return a token with only the claims of Airy's, valid for a day."""
    return mint(SECRET.encode(), False, _USER, time.time(), _DAY, {})


def bad_token() -> str:
    """Return a token that is signed with another secret."""
    return mint(b"not " + SECRET.encode(), False, _USER, time.time(), _DAY, {})


def logins(size: Size) -> Iterator[Scenario]:
    """Yield the scenarios of clients with tokens."""
    number = min(8000, size.idle[-1])
    yield replace(
        storm(size),
        name="logins",
        title=f"{size.storm:,} connections, 64 at once, those of airyd with a token of Airy's (HS256); three times",
        contenders=(_with(airy_token()), Contender("no login", AIRYD), *contenders(AUTOBAHN)),
        bounds=(Bound(HANDSHAKES, 1.6, AUTOBAHN, is_least=True), Bound(CPU_PER_CONNECTION, 1.3, "no login")),
    )
    yield replace(
        idle(size, number),
        name="idle-tokens",
        title=f"{number:,} idle connections, four subscriptions each, with a token, rights and a filter of rows",
        contenders=(_with(token(CHANNELS)), Contender("no login", AIRYD)),
        bounds=(Bound(MEMORY, 3.5),),
    )
    yield Scenario(
        "filtered",
        f"{USUAL:,} subscribers with tokens; ten distinct filters of rows, of which all or one let an event pass",
        FILTERED,
        (CPU_FIGURE, Figure("server_cpu_us_per_event", "server CPU per event, µs", digits=0)),
        (
            Contender("no filter", AIRYD, LOGIN, (EVERYTHING,)),
            Contender("ten, all see it", AIRYD, LOGIN, (ALL,)),
            Contender("ten, a tenth sees it", AIRYD, LOGIN, (TENTH,)),
        ),
        (str(USUAL),),
        (Bound(CPU, 1.15, "no filter", of="ten, all see it"),),
    )
    yield Scenario(
        "bad-tokens",
        f"500 subscribers have 50 events/s, without and with {BAD:,} logins a second with a bad token",
        ATTACK,
        (*LATENCIES, Figure("refused_per_s", "logins refused/s", digits=0)),
        (Contender(AIRYD, AIRYD, LOGIN, ("0",)), Contender("attacked", AIRYD, LOGIN, (str(BAD),))),
        (),
        (Bound(P99.key, 3, AIRYD, of="attacked"),),
        rounds=2,
    )


def _with(shown: str) -> Contender:
    return Contender(AIRYD, AIRYD, LOGIN, ("--stomp-header", f"Authorization:Bearer {shown}"))

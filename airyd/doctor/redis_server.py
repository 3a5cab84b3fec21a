"""Checks of a Redis server: version, role, memory, persistence, output buffers, round trips, clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from twisted.internet.interfaces import IReactorTime
from txredisapi import ResponseError

from airyd.doctor.findings import DoctorReport
from airyd.doctor.redis_probe import RedisProbe, facts_of_info, text_of
from airyd.limits import KIB, MIB
from airyd.sources.redis.batch_size import FIRST, REPLY_BYTES
from airyd.sources.redis.requirements import unmet
from airyd.sources.redis.server_info import ServerInfo

#: The part of ``maxmemory`` from which Redis is nearly full.
_NEARLY_FULL: Final = 0.9
#: Seconds of a round trip: slow, and too slow.
_SLOW: Final = 0.05
_TOO_SLOW: Final = 1.0
_ROUND_TRIPS: Final = 10
#: So many are enough if all of them are too slow.
_SLOW_ENOUGH: Final = 3
#: Seconds between two clocks: ids are times (docs/publishing.rst, "Sentinel"), and tokens expire by the clock.
_SKEW: Final = 1.0
_TOO_MUCH_SKEW: Final = 60.0
#: The default limits of Redis for Pub/Sub clients, in bytes: hard and soft.
_USUAL_PUBSUB: Final = (32 * MIB, 8 * MIB)
#: Fields of INFO that name a server which is not Redis itself, and that server's name.
_KINDS: Final[Mapping[str, str]] = {
    "valkey_version": "Valkey",
    "dragonfly_version": "Dragonfly",
    "garnet_version": "Garnet",
    "kvrocks_version": "Kvrocks",
}
_TRIED_KINDS: Final = ("Redis", "Valkey")


def not_allowed(report: DoctorReport, check: str, subject: str, error: str, right: str) -> None:
    """Report that a check is not possible, because the user lacks a right."""
    report.warn(
        check,
        subject,
        f"not checked, because only the doctor needs this right: {error}",
        f"run the doctor again with a user that has {right}",
    )


async def check_version(probe: RedisProbe, report: DoctorReport) -> None:
    """Check the server's kind, version and mode."""
    known = await probe.info("server")
    info: Mapping[str, str] = {} if isinstance(known, str) else known
    kind, version = kind_and_version(probe.hello, info)
    if not version:
        report.warn(
            "version",
            probe.name,
            "the server does not report its version",
            "airyd needs Redis 7.0 or newer, or Valkey; look at INFO server",
        )
        return
    numbers = version.split(".")
    is_streams = probe.target.mode == "stream"
    # A Valkey that calls itself Valkey has the commands of Redis 7.2 at least.
    comparable = tuple(map(int, numbers)) if kind != "Valkey" and all(map(str.isdigit, numbers)) else None
    mode = probe.hello.get("mode", info.get("redis_mode"))
    missing = unmet(ServerInfo(comparable, None, mode == "cluster"), probe.target.prefix) if is_streams else None
    if missing is not None:
        what, _, advice = missing.partition(": ")
        report.fail("version", probe.name, what, advice or "install a newer Redis, or Valkey")
    elif kind not in _TRIED_KINDS:
        report.warn(
            "version",
            probe.name,
            f"{kind} {version}: airyd is tested with Redis only",
            "try resumes and failures before you rely on it",
        )
    else:
        report.ok("version", probe.name, f"{kind} {version}{', cluster mode' if mode == 'cluster' else ''}")


def kind_and_version(hello: Mapping[str, str], info: Mapping[str, str]) -> tuple[str, str]:
    """Return the server's kind and version, from HELLO and INFO; the version is empty if neither has it.

    Valkey can pretend to be Redis in HELLO (``extended-redis-compatibility``), but not in INFO.
    """
    for field, kind in _KINDS.items():
        if field in info:
            return kind, info[field]
    name = hello.get("server", "redis")
    return name.capitalize(), hello.get("version", info.get("redis_version", ""))


async def check_role(probe: RedisProbe, report: DoctorReport) -> None:
    """Check whether the server is a master, and whether a replica is connected to its master."""
    role = probe.hello.get("role")
    if role in (None, "master"):
        return
    info = await probe.info("replication")
    link = "" if isinstance(info, str) else info.get("master_link_status", "")
    if link == "down":
        report.fail(
            "role",
            probe.name,
            "this is a replica that has lost its master: it gets no new events",
            "name the master, or repair the replica's connection to it",
        )
    else:
        report.warn(
            "role",
            probe.name,
            "this is a replica: events can be read, but nothing can be published or revoked through airyd",
            "name the master, or use redis+sentinel:",
        )


async def check_memory(probe: RedisProbe, report: DoctorReport) -> None:
    """Check the eviction policy, and how much of the memory limit is used."""
    info = await probe.info("memory")
    if isinstance(info, str):
        not_allowed(report, "memory", probe.name, info, "+info")
        return
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    policy = info.get("maxmemory_policy", "unknown")
    if policy.startswith("allkeys-"):
        what = f"maxmemory-policy is {policy}, which can throw a whole stream away"
        if limit:
            advice = "CONFIG SET maxmemory-policy noeviction, and in redis.conf"
            report.fail("eviction", probe.name, f"{what} at {_bytes(limit)}", advice)
        else:
            report.warn(
                "eviction",
                probe.name,
                f"{what} once maxmemory is set",
                "CONFIG SET maxmemory-policy noeviction, and in redis.conf",
            )
    else:
        report.ok("eviction", probe.name, f"maxmemory-policy is {policy}: no stream is thrown away")
    share = f"{_bytes(used)} of {_bytes(limit)} used"
    advice = "raise maxmemory, lower MAXLEN of the publishers' XADD, or remove other keys"
    if not limit:
        report.ok("memory", probe.name, f"{_bytes(used)} used, without a limit")
    elif used >= limit:
        report.fail("memory", probe.name, f"{share}: Redis refuses to add events", advice)
    elif used >= _NEARLY_FULL * limit:
        report.warn("memory", probe.name, f"{share}: soon Redis refuses to add events", advice)
    else:
        report.ok("memory", probe.name, share)


def _bytes(number: int) -> str:
    if number < MIB:
        return f"{number / KIB:.0f} KiB"
    return f"{number / MIB:.0f} MiB" if number < KIB * MIB else f"{number / MIB / KIB:.1f} GiB"


async def check_persistence(probe: RedisProbe, report: DoctorReport, keeps_revocations: bool) -> None:
    """Check what a crash of Redis would lose.

    :param keeps_revocations: whether revoked tokens are kept in Redis
    """
    kept = ["events"] * (probe.target.mode == "stream") + ["revocations"] * keeps_revocations
    if not kept:
        report.ok("persistence", probe.name, "not needed: with Pub/Sub, nothing is kept in Redis")
        return
    what = " and ".join(kept)
    info = await probe.info("persistence")
    if isinstance(info, str):
        not_allowed(report, "persistence", probe.name, info, "+info")
        return
    has_log = info.get("aof_enabled") == "1"
    broken = [
        name
        for name, field in (("append-only file", "aof_last_write_status"), ("snapshot", "rdb_last_bgsave_status"))
        if info.get(field, "ok") != "ok" and (has_log or name == "snapshot")
    ]
    if broken:
        report.fail(
            "persistence",
            probe.name,
            f"the last {' and '.join(broken)} could not be written: Redis may refuse to add events (MISCONF)",
            "look at Redis' log: the disk may be full, or the folder not writable",
        )
        return
    if has_log:
        report.ok("persistence", probe.name, f"an append-only file keeps {what}")
        return
    snapshots = await probe.config("save")
    advice = "CONFIG SET appendonly yes, and in redis.conf"
    if snapshots is None:
        message = f"there is no append-only file: a crash of Redis can lose {what}"
    elif snapshots:
        message = f"there are snapshots only: a crash of Redis loses the {what} since the last one"
    else:
        message = f"nothing is written to disk: a restart of Redis loses all {what}"
    report.warn("persistence", probe.name, message, advice)


async def check_output_buffers(probe: RedisProbe, report: DoctorReport, body_limit: int) -> None:
    """Check ``client-output-buffer-limit`` against the replies that airyd asks for."""
    reply = await probe.ask("CONFIG", "GET", "client-output-buffer-limit")
    if isinstance(reply, ResponseError):
        not_allowed(report, "output-buffer", probe.name, str(reply), "+config|get")
        return
    words = text_of(reply[1]).split() if isinstance(reply, list) and len(reply) > 1 else []
    limits = {words[at]: [_size(word) for word in words[at + 1 : at + 3]] for at in range(0, len(words) - 3, 4)}
    is_streams = probe.target.mode == "stream"
    kind = "normal" if is_streams else "pubsub"
    hard, soft = limits.get(kind, [0, 0])
    # An XREAD's first reply, and XINFO STREAM of up to 16 streams, two entries each.
    enough = (max(REPLY_BYTES, 2 * FIRST * body_limit),) * 2 if is_streams else _USUAL_PUBSUB
    shown = f"client-output-buffer-limit {kind} is {_limit(hard)} hard, {_limit(soft)} soft"
    if 0 < hard < body_limit + KIB:
        report.fail(
            "output-buffer",
            probe.name,
            f"{shown}: Redis closes the connection instead of sending an event of {_bytes(body_limit)}",
            f"CONFIG SET client-output-buffer-limit '{kind} 0 0 0', or lower --body",
        )
    elif 0 < hard < enough[0] or 0 < soft < enough[1]:
        why = "airyd may ask for more at once, and Redis then closes the connection" if is_streams else "a burst of "
        why += "" if is_streams else "events closes airyd's connection, and all clients get history lost"
        usual = "0 0 0" if is_streams else "33554432 8388608 60"
        report.warn(
            "output-buffer",
            probe.name,
            f"{shown}: {why}",
            f"CONFIG SET client-output-buffer-limit '{kind} {usual}'; airyd asks for {_bytes(enough[0])} at most"
            if is_streams
            else f"CONFIG SET client-output-buffer-limit '{kind} {usual}' or more",
        )
    else:
        report.ok("output-buffer", probe.name, shown)


def _size(word: str) -> int:
    return int(word) if word.isdigit() else 0


def _limit(number: int) -> str:
    return _bytes(number) if number else "unlimited"


async def check_round_trips(probe: RedisProbe, report: DoctorReport, clock: IReactorTime) -> None:
    """Measure round trips to the server; the fastest one counts, since this machine may delay others."""
    times: list[float] = []
    for _ in range(_ROUND_TRIPS):
        began = clock.seconds()
        await probe.ask("PING")
        times.append(clock.seconds() - began)
        if len(times) == _SLOW_ENOUGH and min(times) > _TOO_SLOW:
            break
    fastest = min(times)
    shown = f"a round trip takes {fastest * 1000:.1f} ms"
    if fastest >= _TOO_SLOW:
        advice = "look at SLOWLOG and INFO commandstats, and at the network between airyd and Redis"
        report.fail("round-trip", probe.name, f"{shown}: SUBSCRIBE and publishing need several", advice)
    elif fastest >= _SLOW:
        report.warn(
            "round-trip",
            probe.name,
            f"{shown}, which every SUBSCRIBE and every publication waits for",
            "run airyd nearer to Redis, and look at SLOWLOG",
        )
    else:
        report.ok("round-trip", probe.name, shown)


async def check_clock(probe: RedisProbe, report: DoctorReport, wall: Callable[[], float]) -> None:
    """Compare the server's clock with this machine's."""
    before = wall()
    theirs = await _time_of(probe)
    after = wall()
    if isinstance(theirs, ResponseError):  # a user of Sentinel may INFO, but not TIME
        refusal = theirs
        before = wall()
        theirs = await _time_in_info(probe)
        after = wall()
        if theirs is None:
            not_allowed(report, "clock", probe.name, str(refusal), "+time")
            return
    # The server's clock was read at some time between the two.
    skew = max(before - theirs, theirs - after, 0.0)
    shown = f"its clock and this machine's differ by {skew:.1f} s"
    advice = "let both machines set their clocks by NTP (timedatectl)"
    if skew >= _TOO_MUCH_SKEW:
        report.fail(
            "clock", probe.name, f"{shown}: tokens expire at wrong times, and the ages of events are wrong", advice
        )
    elif skew >= _SKEW:
        report.warn("clock", probe.name, f"{shown}: ages of events are wrong by as much", advice)
    else:
        report.ok("clock", probe.name, shown)


async def _time_of(probe: RedisProbe) -> float | ResponseError:
    """Return the time of the server in seconds since 1970, or the error with which it refuses TIME."""
    reply = await probe.ask("TIME")
    if isinstance(reply, ResponseError):
        return reply
    assert isinstance(reply, list)  # noqa: S101  # as Redis documents
    return int(text_of(reply[0])) + int(text_of(reply[1])) / 1e6


async def _time_in_info(probe: RedisProbe) -> float | None:
    """Return the time of the server by INFO; None if the user may not look at it."""
    reply = await probe.ask("INFO", "server")
    given = None if isinstance(reply, ResponseError) else facts_of_info(reply).get("server_time_usec")
    return None if given is None else int(given) / 1e6

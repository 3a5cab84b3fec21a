"""Checks of the streams: type, length, age of the last event, and keys with nearly the right names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from txredisapi import ResponseError

from airyd.doctor.findings import DoctorReport
from airyd.doctor.redis_probe import RedisProbe, facts_of_pairs, is_refused, text_of
from airyd.errors import SourceUnavailable
from airyd.sources.redis.address import Address
from airyd.sources.redis.connection import answer_of
from airyd.sources.redis.entries import POSITION
from airyd.sources.redis.stream_position import StreamInfo, order, read_info

#: A stream this many times longer than ``maxlen`` is not trimmed by its publishers.
_UNTRIMMED: Final = 2
#: Seconds that an id may be ahead of this machine's clock.
_AHEAD: Final = 1.0


async def check_keys(
    probe: RedisProbe, report: DoctorReport, destinations: Sequence[str], wall: Callable[[], float]
) -> None:
    """Check the key of each destination, then look for keys with wrong names."""
    prefix = probe.target.prefix
    is_streams = probe.target.mode == "stream"
    keys = [f"{prefix}{destination}" for destination in destinations]
    for key, reply in zip(keys, await probe.ask_all([("XINFO", "STREAM", key) for key in keys]), strict=True):
        if is_streams:
            await _check_stream(probe, report, key, reply, wall())
        elif not isinstance(reply, ResponseError):
            report.warn(
                "keys",
                probe.name,
                f"{key} is a stream, but with mode=pubsub airyd reads no streams",
                "leave mode=pubsub out of the URL, or let the publishers PUBLISH",
            )
    await _check_dead_letters(probe, report)
    if is_streams:
        await _check_names(probe, report, destinations)
        await _check_databases(probe, report, destinations)


async def _check_stream(probe: RedisProbe, report: DoctorReport, key: str, reply: object, now: float) -> None:
    if isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE"):
        kind = await probe.ask("TYPE", key)
        what = "not a stream" if isinstance(kind, ResponseError) else f"a {text_of(kind)}, not a stream"
        report.fail("keys", probe.name, f"{key} is {what}", f"RENAME {key} {key}-old, and correct what wrote it")
        return
    if isinstance(reply, ResponseError) and is_refused(reply):
        return  # the check of the rights says so
    try:
        info = read_info(reply)  # type: ignore[arg-type]  # a reply of Redis
    except SourceUnavailable:
        return  # the check of the version says so
    if not info.exists:
        report.ok("lag", probe.name, f"{key} does not exist yet: nothing was published")
        return
    _check_entries(probe, report, key, info, now)


def _check_entries(probe: RedisProbe, report: DoctorReport, key: str, info: StreamInfo, now: float) -> None:
    most = probe.target.maxlen
    has_event = info.newest is not None and POSITION not in (info.fields or [])[::2]
    newest = order(info.newest or info.last)[0] / 1000
    age = f"the last event came {max(now - newest, 0):.0f} s ago" if has_event else "the last entry is not an event"
    shown = f"{key} has {info.length} {'entry' if info.length == 1 else 'entries'}, {age}"
    if newest - now > _AHEAD:
        report.warn(
            "lag",
            probe.name,
            f"{key}: the id of the last entry is {newest - now:.0f} s in the future",
            "let publishers XADD with the id *, and set the clock of Redis' machine with NTP",
        )
    elif info.length > _UNTRIMMED * most:
        report.warn(
            "lag",
            probe.name,
            f"{shown}; publishers do not trim it to {most}, so it grows",
            f"let publishers XADD {key} MAXLEN '~' {most} '*' ..., or raise maxlen= in the URL",
        )
    else:
        report.ok("lag", probe.name, shown)


async def _check_dead_letters(probe: RedisProbe, report: DoctorReport) -> None:
    key = f"{probe.target.prefix}dead-letter"
    reply = await probe.ask("XINFO", "STREAM", key)
    if isinstance(reply, ResponseError):
        return
    length = facts_of_pairs(reply).get("length", "0")
    if length != "0":
        report.warn(
            "dead-letters",
            probe.name,
            f"airyd has refused entries of publishers: {key} has {length} of them",
            f"XREVRANGE {key} + - COUNT 10 shows the reasons; correct the publishers, then DEL {key}",
        )


async def _check_names(probe: RedisProbe, report: DoctorReport, destinations: Sequence[str]) -> None:
    """Look for keys whose names a publisher may have got wrong."""
    prefix = probe.target.prefix
    right = {f"{prefix}{destination}" for destination in destinations}
    near = {name: f"{prefix}{each}" for each in destinations for name in near_names(prefix, each) if name not in right}
    replies = await probe.ask_all([("XINFO", "STREAM", name) for name in near])
    refusals = [str(reply) for reply in replies if is_refused(reply)]
    found = 0
    for (name, meant), reply in zip(near.items(), replies, strict=True):
        if not is_refused(reply) and (not isinstance(reply, ResponseError) or str(reply).startswith("WRONGTYPE")):
            found += 1
            report.warn(
                "keys",
                probe.name,
                f"there is a key {name}, which airyd does not read; it may be meant for {meant}",
                f"let publishers XADD {meant} (docs/publishing.rst), or name the prefix= in the URL",
            )
    if found:
        return
    where = f"no wrong names near {prefix}{destinations[0] if destinations else '/'}"
    if len(refusals) == len(replies) > 0:
        report.warn(
            "keys",
            probe.name,
            f"wrong names cannot be looked for: {refusals[0]}",
            "run the doctor again with a user that may read all keys (~*)",
        )
    elif refusals:
        report.ok("keys", probe.name, f"{where} among the keys that this user may read")
    else:
        report.ok("keys", probe.name, where)


def near_names(prefix: str, destination: str) -> Iterator[str]:
    """Yield wrong keys that a publisher may write to instead of the destination's own."""
    bare = destination.lstrip("/")
    own = f"{prefix}{destination}"
    plural = destination.removesuffix("s") if destination.endswith("s") else f"{destination}s"
    seen = {own}
    for name in (destination, plural, f"{destination}/"):
        for key in (
            f"{prefix}{name}",
            f"{prefix}{name.lstrip('/')}",
            name,
            name.lstrip("/"),
            f"{prefix.rstrip(':')}{name}",
            f"{prefix}{name.lstrip('/').replace('/', ':')}",
            f"{prefix.rstrip(':')}/{name}",
        ):
            if key not in seen:
                seen.add(key)
                yield key
    for key in (f"{prefix}/{bare.rpartition('/')[2]}", f"{prefix}{bare.rpartition('/')[2]}", own.upper(), own.lower()):
        if key not in seen:
            seen.add(key)
            yield key


async def _check_databases(probe: RedisProbe, report: DoctorReport, destinations: Sequence[str]) -> None:
    """Look for the same streams in the server's other databases."""
    info = await probe.info("keyspace")
    address = probe.target.address
    own = address.database if isinstance(address, Address) else address.master.database
    if isinstance(info, str):
        return
    others = [int(name.removeprefix("db")) for name in info if name[2:].isdigit() and name != f"db{own}"]
    if not others:
        return
    connection = await probe.second()
    for number in others:
        if isinstance(await answer_of(connection.command("SELECT", number)), ResponseError):
            continue
        for destination in destinations:
            key = f"{probe.target.prefix}{destination}"
            if not isinstance(await answer_of(connection.command("XINFO", "STREAM", key)), ResponseError):
                report.warn(
                    "keys",
                    probe.name,
                    f"database {number} has a stream {key}, too, but airyd reads database {own}",
                    f"let publishers write to database {own}, or give the other number in the URL",
                )
    await connection.stop()

"""Checks the rights of airyd's Redis user, command by command, without changing anything.

Redis checks the rights of a command before it carries it out. So each command is sent with arguments that change
nothing: an XADD with the id 0-0, which no entry can have, or a PUBLISH within a MULTI that is never executed.
docs/publishing.rst, "Least rights", has the same table. Redis writes refused commands to its ACL LOG.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from txredisapi import ResponseError

from airyd.doctor.findings import DoctorReport, Finding, Level
from airyd.doctor.redis_probe import RedisProbe, is_refused
from airyd.errors import SourceUnavailable
from airyd.sources.redis.connection import RedisConnection, answer_of
from airyd.sources.redis.protocol import RedisReply, Word

_NO_RESUMES: Final = "a resume fails"
_NO_LOGINS: Final = "nobody can log in with a token"
_READ_ONLY: Final = "SEND and POST fail, and so do resumes from an empty stream"
_LARGE_CHECKS: Final = "each check for gaps transfers the first and the last entry of each stream"
_NO_COPIES: Final = "refused entries are counted, but not copied"
_OWN_REVOCATIONS: Final = "a revocation applies to this node only"
#: An id that XADD refuses before it reads the stream.
_NO_ID: Final = "0-0"


class RightCheck(NamedTuple):
    """A right, and the commands that show whether the user has it.

    :ivar right: as ACL SETUSER takes it, without the plus
    :ivar keys: the keys or channels that the commands name, as ACL SETUSER takes them; empty if they name none
    :ivar level: how serious it is if the right is missing
    :ivar without: what does not work then
    """

    right: str
    keys: str
    commands: Sequence[Sequence[Word]]
    level: Level
    without: str

    @property
    def name(self) -> str:
        """The command's name with the keys."""
        return " ".join([self.right.replace("|", " ").upper(), self.keys.lstrip("~%RW&")]).strip()


def stream_checks(prefix: str, keys: Sequence[str], has_tokens: bool) -> Iterator[RightCheck]:
    """Yield the checks for Redis Streams."""
    events = f"~{prefix}/*"
    yield RightCheck("ping", "", [("PING",)], Level.WARNING, "airyd notices late that Redis is loading its data")
    yield RightCheck("client|id", "", [("CLIENT", "ID")], Level.FAILURE, "airyd does not get ready")
    yield RightCheck(
        "client|unblock", "", [("CLIENT", "UNBLOCK", 0)], Level.WARNING, "first events are up to 5 seconds late"
    )
    yield RightCheck(
        "xinfo|stream",
        events,
        [("XINFO", "STREAM", key) for key in keys],
        Level.FAILURE,
        "airyd does not get ready",
    )
    scripts: list[tuple[Word, ...]] = [("EVAL_RO", "return 1", 1, key) for key in keys]
    yield RightCheck("eval_ro", events, scripts, Level.WARNING, _LARGE_CHECKS)
    yield RightCheck("xread", events, [_xread(key) for key in keys], Level.FAILURE, "airyd does not get ready")
    yield RightCheck("xrange", events, [_xrange(key) for key in keys], Level.FAILURE, _NO_RESUMES)
    newest: list[tuple[Word, ...]] = [("XREVRANGE", key, "-", "+", "COUNT", 1) for key in keys]
    yield RightCheck("xrevrange", events, newest, Level.WARNING, "the admin page does not show the newest events")
    yield RightCheck("xadd", events, [_xadd(key) for key in keys], Level.WARNING, _READ_ONLY)
    yield from _revocation_checks(prefix, has_tokens)
    copies = [f"{prefix}dead-letter", *(f"{prefix}dead-letter:{key}" for key in keys)]
    yield RightCheck("xadd", f"%W~{prefix}dead-letter*", [_xadd(key) for key in copies], Level.WARNING, _NO_COPIES)


def pubsub_checks(prefix: str, has_tokens: bool) -> Iterator[RightCheck]:
    """Yield the checks for Redis Pub/Sub, except for those of the channels."""
    yield RightCheck("ping", "", [("PING",)], Level.WARNING, "airyd takes each refusal as a sign of life")
    yield from _revocation_checks(prefix, has_tokens)
    copies = f"{prefix}dead-letter"
    yield RightCheck("xadd", f"%W~{copies}*", [_xadd(copies)], Level.WARNING, _NO_COPIES)
    mark: tuple[Word, ...] = ("SET", f"{copies}:0", "", "NX", "XX")  # a syntax error
    yield RightCheck("set", f"%W~{copies}*", [mark], Level.WARNING, _NO_COPIES)


def _revocation_checks(prefix: str, has_tokens: bool) -> Iterator[RightCheck]:
    key = f"{prefix}revocations"
    if has_tokens:
        yield RightCheck("xrange", f"~{key}", [_xrange(key)], Level.FAILURE, _NO_LOGINS)
        yield RightCheck("xread", f"~{key}", [_xread(key)], Level.WARNING, "revocations are up to a second late")
        yield RightCheck("xadd", f"~{key}", [_xadd(key)], Level.WARNING, _OWN_REVOCATIONS)


def _xread(key: str) -> tuple[Word, ...]:
    return ("XREAD", "COUNT", 1, "STREAMS", key, "$")


def _xrange(key: str) -> tuple[Word, ...]:
    return ("XRANGE", key, "+", "-", "COUNT", 1)


def _xadd(key: str) -> tuple[Word, ...]:
    return ("XADD", key, _NO_ID, "payload", "{}")


async def check_rights(probe: RedisProbe, report: DoctorReport, keys: Sequence[str], has_tokens: bool) -> None:
    """Check all rights that airyd uses.

    :param keys: the keys of the streams, or the channels
    :param has_tokens: whether clients log in with tokens, so that revocations are read
    """
    prefix = probe.target.prefix
    if probe.target.mode == "stream":
        for check in stream_checks(prefix, keys, has_tokens):
            _report(probe, report, check, await probe.ask_all(check.commands))
        await _check_transaction(probe, report)
        return
    for check in pubsub_checks(prefix, has_tokens):
        _report(probe, report, check, await probe.ask_all(check.commands))
    await _check_channels(probe, report, keys)


def _report(probe: RedisProbe, report: DoctorReport, check: RightCheck, replies: Sequence[RedisReply]) -> None:
    refusal = next((str(reply) for reply in replies if is_refused(reply)), None)
    if refusal is None:
        report.ok("rights", probe.name, check.name)
        return
    report.add(
        Finding(check.level, "rights", probe.name, f"{check.name}: {refusal}: {check.without}", _how(check, refusal))
    )


def _how(check: RightCheck, refusal: str) -> str:
    """Return how to grant the right."""
    if "NOPERM" not in refusal:
        return f"airyd needs the command {check.right.replace('|', ' ').upper()}: look for rename-command in redis.conf"
    return " ".join(["ACL SETUSER <airyd's user>", f"+{check.right}", check.keys]).strip()


async def _check_transaction(probe: RedisProbe, report: DoctorReport) -> None:
    """Check MULTI and EXEC on a separate connection, which without the right to EXEC would stay in the MULTI."""
    connection = await probe.second()
    multi = RightCheck("multi", "", (), Level.FAILURE, _NO_RESUMES)
    _report(probe, report, multi, [await _ask(connection, "MULTI")])
    _report(probe, report, multi._replace(right="exec"), [await _ask(connection, "EXEC")])
    await connection.stop()


async def _check_channels(probe: RedisProbe, report: DoctorReport, channels: Sequence[str]) -> None:
    """Check PUBLISH in a MULTI that is never executed, then SUBSCRIBE; each connection is closed afterwards."""
    events = f"&{probe.target.prefix}/*"
    publish = RightCheck("publish", events, (), Level.WARNING, "SEND and POST fail")
    connection = await probe.second()
    multi = await _ask(connection, "MULTI")
    if isinstance(multi, ResponseError):
        await _check_publish(probe, report, publish)
    else:
        _report(probe, report, publish, [await _ask(connection, "PUBLISH", each, "") for each in channels])
    await connection.stop()
    subscribe = RightCheck("subscribe", events, (), Level.FAILURE, "airyd does not get ready")
    replies: list[RedisReply] = []
    for channel in channels:  # each on its own connection: events may come on it before the next reply
        connection = await probe.second()
        replies.append(await _ask(connection, "SUBSCRIBE", channel))
        await connection.stop()
    _report(probe, report, subscribe, replies)


async def _check_publish(probe: RedisProbe, report: DoctorReport, publish: RightCheck) -> None:
    """Check PUBLISH without MULTI, on a channel that nobody subscribes to."""
    reply = await probe.ask("PUBLISH", f"{probe.target.prefix}/airyd/doctor", "")
    if is_refused(reply) and "channel" in str(reply):
        report.warn(
            "rights",
            probe.name,
            f"PUBLISH to each channel cannot be checked: {reply!s}",
            f"ACL SETUSER <airyd's user> +multi, or {publish.keys}",
        )
    else:
        _report(probe, report, publish, [reply])


async def _ask(connection: RedisConnection, *words: Word) -> RedisReply:
    try:
        return await answer_of(connection.command(*words))
    except SourceUnavailable as error:  # for example, the connection was closed
        lost: Exception = ResponseError(str(error))
        return lost

"""The console script ``airyd``: options to objects, signals and exceptions to the exit status."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import BinaryIO, Final, NoReturn, TextIO

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.task import react
from twisted.python import usage
from twisted.python.failure import Failure

from airyd.cli.admin_client import make_endpoint
from airyd.cli.connection import CONNECT_PATIENCE
from airyd.cli.following import Following
from airyd.cli.lines import DescriptorReader, Line, LineQueue
from airyd.cli.options import AirydOptions, PublishOptions, RevokeOptions, TailOptions, TokenOptions
from airyd.cli.publish import Publisher, publish_lines
from airyd.cli.render import Renderer, json_line
from airyd.cli.revoke import RevokeFailed, keeper_of, revoke_by_admin, revoke_in_source, tell
from airyd.cli.stomp_client import Received
from airyd.cli.tail import Tail, retry_policy
from airyd.cli.terminal import Console, OutputClosed, visible
from airyd.cli.tls import Authorities
from airyd.cli.token import TokenUnreadable, mint, secrets_of, token_source
from airyd.errors import ConfigurationError
from airyd.hostnames import AnyNameEndpoint
from airyd.revocation import TOKEN_MAX_AGE, new_revocation

_USAGE_ERROR: Final = 2
#: What a shell adds to the number of the signal that ended a program.
_BY_SIGNAL: Final = 128
_STDIN: Final = 0
#: The environment's names for the tokens of a server and of its admin endpoint.
_TOKEN: Final = "AIRYD_TOKEN"  # noqa: S105  # a name
_ADMIN_TOKEN: Final = "AIRYD_ADMIN_TOKEN"  # noqa: S105  # a name


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run ``airyd`` and exit: 0 done, 1 failed, 2 wrong usage, 128 + the signal's number when interrupted."""
    options = AirydOptions()
    try:
        options.parseOptions(sys.argv[1:] if arguments is None else list(arguments))
    except usage.UsageError as error:
        command = " ".join(filter(None, ("airyd", options.subCommand)))
        sys.stderr.write(f"{command}: {visible(str(error))} (see {command} --help)\n")
        sys.exit(_USAGE_ERROR)
    if isinstance(options.subOptions, TokenOptions):
        sys.exit(print_token(options.subOptions, _console(f"airyd {options.subCommand}")))
    react(_run, (options.subOptions, f"airyd {options.subCommand}"))


def _run(reactor: IReactorCore, options: TailOptions | PublishOptions | RevokeOptions, name: str) -> Deferred[None]:
    """Do what the options ask; fails with ``SystemExit`` unless the status is 0, as ``react`` wants it."""
    console = _console(name)
    match options:
        case TailOptions():
            work = tail(reactor, options, console)
        case PublishOptions():
            work = publish(reactor, options, console)
        case RevokeOptions():
            work = revoke(reactor, options, console)
    return interruptible(reactor, work).addCallback(_exit)


def print_token(options: TokenOptions, console: Console) -> int:
    """Make the token that the options ask for, and print it; return the exit status."""
    try:
        token = mint(
            secrets_of(options.secret_file, options.secret_env, os.environ),
            options.is_base64,
            options.subject,
            _now(),
            options.lifetime,
            options.claims,
            options.algorithm,
        )
    except ValueError as error:  # a secret that is none, or a claim that can't be
        console.say(str(error))
        return 1
    with suppress(OutputClosed):
        console.write(token.encode() + b"\n")
        return 0
    return 1


async def tail(reactor: IReactorCore, options: TailOptions, console: Console) -> int:
    """Follow a server's events; return the exit status."""
    try:
        tls = Authorities(options.ca_file).connections(options.host) if options.secure else None
    except ConfigurationError as error:
        console.say(str(error))
        return 1
    renderer = Renderer(Following(options.destinations).known(), datetime.now, console.colour)

    def print_event(event: Received) -> None:
        if console.terminal:
            console.show(renderer.line(event.destination, event.body))
        else:
            console.write(json_line(event.destination, event.message_id, event.body))

    endpoint: IStreamClientEndpoint = AnyNameEndpoint(reactor, options.host, options.port, CONNECT_PATIENCE)
    if tls is not None:
        endpoint = wrapClientTLS(tls, endpoint)
    return await Tail(
        IReactorTime(reactor),
        endpoint,
        options.url,
        options.destinations,
        console,
        print_event,
        options.count,
        retry_policy(),
        token_source(options.token_file, _TOKEN, os.environ),
        tls,
    ).run()


async def publish(reactor: IReactorCore, options: PublishOptions, console: Console) -> int:
    """Publish the body of the command line, or what standard input brings; return the exit status."""
    clock = IReactorTime(reactor)
    try:
        token = token_source(options.token_file, _ADMIN_TOKEN, os.environ)()
        endpoint = make_endpoint(clock, options.url, token, options.ca_file)
    except (ConfigurationError, TokenUnreadable) as error:
        console.say(str(error))
        return 1
    publisher = Publisher(endpoint, options.destination)
    if options.body is not None:
        lines = iter([Line(None, os.fsencode(options.body))])
        return await publish_lines(publisher, lambda: succeed(next(lines, None)), console, clock)
    if sys.stdin is None:
        console.say("standard input is closed: give the event as an argument")
        return 1
    if sys.stdin.isatty():
        console.say("one JSON object on each line; end with Ctrl-D")
    queue = LineQueue()
    DescriptorReader(IReactorFDSet(reactor), _STDIN, queue).start()
    return await publish_lines(publisher, queue.next_line, console, clock)


async def revoke(reactor: IReactorCore, options: RevokeOptions, console: Console) -> int:
    """Revoke what the options name; return the exit status."""
    clock = IReactorTime(reactor)
    try:
        if options.source is not None:
            wanted = new_revocation(options.kind, options.name, _now(), options.token_max_age or TOKEN_MAX_AGE)
            done = await revoke_in_source(keeper_of(options.source, reactor, _now, os.environ), wanted, clock)
        else:
            token = token_source(options.token_file, _ADMIN_TOKEN, os.environ)()
            endpoint = make_endpoint(clock, options.url, token, options.ca_file)
            done = await revoke_by_admin(endpoint, options.kind, options.name)
        tell(done, console)
    except (ConfigurationError, RevokeFailed, TokenUnreadable) as error:
        console.say(str(error))
        return 1
    except OutputClosed as closed:
        console.say(closed.reason or "nobody reads the answer any more; it is revoked")
        return 1
    return 0


def _now() -> float:
    return datetime.now(UTC).timestamp()


def interruptible(reactor: IReactorCore, work: Coroutine[Deferred[object], object, int]) -> Deferred[int]:
    """Run the work and give its exit status, or that of the signal that interrupted it.

    The first SIGINT or SIGTERM cancels the work, which may then say goodbye; the second ends the program at once.
    """
    running = Deferred.fromCoroutine(work)
    received: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if received:
            os._exit(_BY_SIGNAL + number)
        received.append(number)
        IReactorFromThreads(reactor).callFromThread(running.cancel)

    def listen() -> None:
        # The reactor's own handlers, which it has just set, would end it without the goodbye.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, interrupt)

    def status(result: int | Failure) -> int | Failure:
        if not received or (isinstance(result, Failure) and not result.check(CancelledError, ConnectingCancelledError)):
            return result
        return _BY_SIGNAL + received[0]

    reactor.callWhenRunning(listen)
    return running.addBoth(status)


def _exit(status: int) -> None:
    if status:
        raise SystemExit(status)


def _console(name: str) -> Console:
    """Return the console of this process."""
    out, err = _binary(sys.stdout), _binary(sys.stderr)
    encoding = sys.stdout.encoding if sys.stdout else "utf-8"
    return Console(name, out, err, os.environ, encoding)


def _binary(stream: TextIO | None) -> BinaryIO:
    """Return the bytes of a standard stream, or nowhere if the process was started without it."""
    if stream is None:
        return Path(os.devnull).open("wb")
    # Whoever left it non-blocking, to a slow reader, would lose lines.
    with suppress(OSError):
        os.set_blocking(stream.fileno(), True)
    return stream.buffer

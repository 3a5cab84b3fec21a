"""The console script ``airyd``: runs a command, and turns its result, exceptions and signals into the exit status.

The modules of a command are imported when it runs: so ``airyd token`` and ``--help`` start in a third of the time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn, TextIO, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure

from airyd.cli.completion import bash_script, zsh_script
from airyd.cli.daemon_options import AsyncApiOptions, CompletionOptions, ConfigOptions, DoctorOptions, ServeOptions
from airyd.cli.node_options import (
    ConnectionsOptions,
    DrainOptions,
    ExplainOptions,
    KickOptions,
    NodeOptions,
    TopOptions,
    TraceOptions,
)
from airyd.cli.options import (
    HealthOptions,
    OpenApiOptions,
    PublishOptions,
    RevokeOptions,
    TailOptions,
    TokenOptions,
    completions,
    parse,
    top_parser,
)
from airyd.cli.parser import CommandOptions, UsageError
from airyd.cli.terminal import Console, OutputClosed, visible
from airyd.cli.token import TokenUnreadable, mint, secrets_of, token_source
from airyd.errors import ConfigurationError
from airyd.interfaces import IServerReactor
from airyd.limits import Limits
from airyd.revocation import TOKEN_MAX_AGE, Revocation, new_revocation

if TYPE_CHECKING:
    from airyd.cli.admin_client import AdminClient
    from airyd.cli.nodes import Node
    from airyd.cli.stomp_client import Received

_USAGE_ERROR: Final = 2
#: Added to a signal's number for the exit status, as shells do.
_BY_SIGNAL: Final = 128
#: The environment variables with the tokens for a server and for its admin page.
_TOKEN: Final = "AIRYD_TOKEN"  # noqa: S105  # a name
_ADMIN_TOKEN: Final = "AIRYD_ADMIN_TOKEN"  # noqa: S105  # a name


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run ``airyd`` and exit: 0 for success, 1 for failure, 2 for wrong usage, 128 + the number of a signal."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = parse(words)
    except UsageError as error:
        sys.stderr.write(f"{error.command}: {visible(str(error))} (see {error.command} --help)\n")
        sys.exit(_USAGE_ERROR)
    console = _console(f"airyd {words[0]}")
    match options:
        case ServeOptions():
            from airyd.serve import serve

            serve("airyd serve", options.words)
        case ConfigOptions():
            sys.exit(config(options, console))
        case CompletionOptions():
            script = bash_script if options.shell == "bash" else zsh_script
            sys.exit(_print(script(top_parser().offers(), completions()), console))
        case OpenApiOptions():
            from airyd.admin.openapi import openapi_document

            sys.exit(_print(f"{json.dumps(openapi_document(), indent=2)}\n", console))
        case AsyncApiOptions():
            sys.exit(_print(f"{json.dumps(options.document, indent=2)}\n", console))
        case TokenOptions():
            sys.exit(print_token(options, console))
        case PublishOptions():
            sys.exit(interruptible(lambda: publish(options, console)))
        case RevokeOptions(source=None):
            sys.exit(interruptible(lambda: revoke(options, console)))
        case HealthOptions():
            sys.exit(interruptible(lambda: check_health(options, console)))
        case NodeOptions():
            sys.exit(interruptible(lambda: operate(options, console)))
    from twisted.internet import task

    task.react(_run, (options, console))


def _run(reactor: IReactorCore, options: CommandOptions, console: Console) -> Deferred[None]:
    """Run a command that needs a reactor; fails with ``SystemExit`` unless the status is 0, as ``react`` requires."""
    if isinstance(options, TailOptions):
        work = tail(reactor, options, console)
    elif isinstance(options, DoctorOptions):
        work = doctor(reactor, options, console)
    else:
        assert isinstance(options, RevokeOptions)  # noqa: S101  # the other commands need no reactor
        work = revoke_stored(reactor, options, console)
    return interruptible_by_reactor(reactor, work).addCallback(_exit)


def config(options: ConfigOptions, console: Console) -> int:
    """Check a configuration file, or show the effective options; return the exit status."""
    from twisted.internet import reactor

    from airyd.cli.config import check_file, effective

    if options.file is None:
        return _print(effective(options.words, os.environ), console)
    try:
        check_file(options.file, cast(IServerReactor, reactor))
    except ConfigurationError as error:
        console.say(str(error))
        return 1
    return _print(f"{visible(options.file)} is valid\n", console)


def _print(text: str, console: Console) -> int:
    """Write a text to standard output; return the exit status."""
    try:
        console.write(text.encode("utf-8", "backslashreplace"))
    except OutputClosed as closed:
        if closed.reason:
            console.say(closed.reason)
        return 1
    return 0


def print_token(options: TokenOptions, console: Console) -> int:
    """Make a token and print it; return the exit status."""
    try:
        token = mint(
            secrets_of(options.secret_file, options.secret_env, os.environ),
            options.base64,
            options.subject,
            _now(),
            options.lifetime,
            options.claims,
            options.algorithm,
        )
    except ValueError as error:  # a wrong secret or claim
        console.say(str(error))
        return 1
    if len(token) > Limits().token_size:
        console.say(f"only a server with --token-size {len(token)} or more accepts this token")
    with suppress(OutputClosed):
        console.write(token.encode() + b"\n")
        return 0
    return 1


async def tail(reactor: IReactorCore, options: TailOptions, console: Console) -> int:
    """Follow a server's events; return the exit status."""
    from twisted.internet.endpoints import wrapClientTLS

    from airyd.cli.connection import CONNECT_PATIENCE
    from airyd.cli.render import Renderer, json_line
    from airyd.cli.tail import Tail, TailSubscriptions, retry_policy
    from airyd.cli.tls import Authorities
    from airyd.hostnames import AnyNameEndpoint

    try:
        tls = Authorities(options.ca_file).connections(options.host) if options.secure else None
    except ConfigurationError as error:
        console.say(str(error))
        return 1
    renderer = Renderer(TailSubscriptions(options.destinations).known(), datetime.now, console.colour)

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


def publish(options: PublishOptions, console: Console) -> int:
    """Publish the body of the command line, or the lines of standard input; return the exit status."""
    from airyd.cli.publish import Line, Publisher, publish_lines, read_lines

    try:
        client = _admin_client(options)
    except (ConfigurationError, TokenUnreadable) as error:
        console.say(str(error))
        return 1
    with closing(client):
        publisher = Publisher(client, options.destination)
        if options.body is not None:
            return publish_lines(publisher, [Line(None, os.fsencode(options.body))], console, time.monotonic)
        if sys.stdin is None:
            console.say("standard input is closed: give the event as an argument")
            return 1
        if sys.stdin.isatty():
            console.say("one JSON object on each line; end with Ctrl-D")
        return publish_lines(publisher, read_lines(_binary(sys.stdin)), console, time.monotonic)


def revoke(options: RevokeOptions, console: Console) -> int:
    """Revoke through the admin page; return the exit status."""
    from airyd.cli.revoke import RevokeFailed, revoke_by_admin

    try:
        with closing(_admin_client(options)) as client:
            done = revoke_by_admin(client, options.kind, options.name)
    except (ConfigurationError, RevokeFailed, TokenUnreadable) as error:
        console.say(str(error))
        return 1
    return _print_revocation(done, console)


def check_health(options: HealthOptions, console: Console) -> int:
    """Ask a node whether it is ready; return the exit status."""
    from airyd.cli.admin_client import AdminClient
    from airyd.cli.health import health

    try:
        client = AdminClient(options.url, time.monotonic, None, options.ca_file)
        return health(options.url, client, options.live, console)
    except ConfigurationError as error:
        console.say(str(error))
    except OutputClosed as closed:
        if closed.reason:
            console.say(closed.reason)
    return 1


def operate(options: NodeOptions, console: Console) -> int:
    """Ask or change running nodes; return the exit status."""
    from airyd.cli.admin_client import AdminClient
    from airyd.cli.nodes import Node

    try:
        token = token_source(options.token_file, _ADMIN_TOKEN, os.environ)()
        nodes = [
            Node(url, AdminClient(url, time.monotonic, token, options.ca_file if url.startswith("https:") else None))
            for url in options.urls
        ]
        return _operate(options, nodes, console)
    except (ConfigurationError, TokenUnreadable) as error:
        console.say(str(error))
    except OutputClosed as closed:
        if closed.reason:
            console.say(closed.reason)
    return 1


def _operate(options: NodeOptions, nodes: Sequence[Node], console: Console) -> int:
    """Run the command; return the exit status."""
    from airyd.cli.connections import list_connections, show_connection
    from airyd.cli.drain import drain
    from airyd.cli.explain import explain
    from airyd.cli.kick import kick_connection, kick_subject
    from airyd.cli.top import print_samples
    from airyd.cli.trace import trace

    match options:
        case TopOptions():
            from airyd.cli.top_screen import TopScreen, has_screen, show_top  # imports curses

            if options.count is None and has_screen(console, sys.stdin, os.environ):
                return show_top(TopScreen(nodes, options.interval, _now, console.encoding), console)
            return print_samples(nodes, options.interval, options.count, console)
        case ConnectionsOptions(id=None):
            return list_connections(nodes, options.filters, options.sort, options.limit, console, _now())
        case ConnectionsOptions(id=str(connection_id)):
            return show_connection(nodes, connection_id, console, _now())
        case KickOptions(subject=str(subject)):
            return kick_subject(nodes, subject, options.reason, console)
        case KickOptions(id=str(connection_id)):
            return kick_connection(nodes, connection_id, options.reason, console)
        case TraceOptions():
            return trace(nodes, options.id, options.parameters, console)
        case DrainOptions():
            return drain(nodes, options.is_on, console)
    assert isinstance(options, ExplainOptions)  # noqa: S101  # there are no others
    return explain(nodes, options.event, options.id, options.destination, console)


async def revoke_stored(reactor: IReactorCore, options: RevokeOptions, console: Console) -> int:
    """Revoke in the source that the servers read; return the exit status."""
    from airyd.cli.revoke import RevokeFailed, keeper_of, revoke_in_source

    wanted = new_revocation(options.kind, options.name, _now(), options.token_max_age or TOKEN_MAX_AGE)
    try:
        source = keeper_of(options.source or "", reactor, _now, os.environ)
        done = await revoke_in_source(source, wanted, IReactorTime(reactor))
    except (ConfigurationError, RevokeFailed) as error:
        console.say(str(error))
        return 1
    return _print_revocation(done, console)


async def doctor(reactor: IReactorCore, options: DoctorOptions, console: Console) -> int:
    """Examine the options, Redis and this machine; return the exit status."""
    from airyd.cli.doctor import STATUSES, FindingPrinter
    from airyd.doctor.examination import Examination
    from airyd.doctor.findings import DoctorReport

    printer = FindingPrinter(console, options.json)
    report = DoctorReport(printer.show)
    server_reactor = cast(IServerReactor, reactor)
    try:
        await Examination(
            options.configuration, options.settings, server_reactor, time.time, os.environ, report, options.write
        ).run()
        printer.end(report.findings, report.worst)
    except OutputClosed as closed:
        if closed.reason:
            console.say(closed.reason)
        return 1
    return STATUSES[report.worst]


def _print_revocation(done: Revocation, console: Console) -> int:
    from airyd.cli.revoke import print_revocation

    try:
        print_revocation(done, console)
    except OutputClosed as closed:
        console.say(closed.reason or "revoked, but standard output was closed before the answer was written")
        return 1
    return 0


def _admin_client(options: PublishOptions | RevokeOptions) -> AdminClient:
    """Return a client of the admin page; errors: ``ConfigurationError``, ``TokenUnreadable``."""
    from airyd.cli.admin_client import AdminClient

    token = token_source(options.token_file, _ADMIN_TOKEN, os.environ)()
    return AdminClient(options.url, time.monotonic, token, options.ca_file)


def _now() -> float:
    return datetime.now(UTC).timestamp()


def interruptible(work: Callable[[], int]) -> int:
    """Do the work, in which a signal raises ``KeyboardInterrupt``; return its exit status, or the signal's."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    signals = _Signals(interrupt)
    before = signals.listen()
    try:
        status = work()
    except KeyboardInterrupt:
        status = 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return signals.status or status


def interruptible_by_reactor(reactor: IReactorCore, work: Coroutine[Deferred[object], object, int]) -> Deferred[int]:
    """Run the work, which a signal cancels; fire with its exit status, or the signal's."""
    running = Deferred.fromCoroutine(work)
    signals = _Signals(lambda: IReactorFromThreads(reactor).callFromThread(running.cancel))

    def status(result: int | Failure) -> int | Failure:
        is_cancelled = isinstance(result, Failure) and result.check(CancelledError, ConnectingCancelledError)
        return signals.status or result if is_cancelled or not isinstance(result, Failure) else result

    # Replace the reactor's own handlers, which would end it without a DISCONNECT.
    reactor.callWhenRunning(signals.listen)
    return running.addBoth(status)


class _Signals:
    """Handles SIGINT and SIGTERM: the first one interrupts the work, which can end cleanly; the second exits at once.

    :ivar status: the exit status for the first signal; 0 if there was none
    """

    def __init__(self, interrupt: Callable[[], object]) -> None:
        self._interrupt = interrupt
        self.status = 0

    def listen(self) -> Mapping[int, Any]:
        """Install the handlers; return the previous ones."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        return {number: signal.signal(number, self._handle) or signal.SIG_DFL for number in numbers}

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.status:
            os._exit(_BY_SIGNAL + number)
        self.status = _BY_SIGNAL + number
        self._interrupt()


def _exit(status: int) -> None:
    if status:
        raise SystemExit(status)


def _console(name: str) -> Console:
    """Return the console of this process."""
    out, err = _binary(sys.stdout), _binary(sys.stderr)
    encoding = sys.stdout.encoding if sys.stdout else "utf-8"
    return Console(name, out, err, os.environ, encoding)


def _binary(stream: TextIO | None) -> BinaryIO:
    """Return the binary file of a standard stream, or ``/dev/null`` if the process was started without it."""
    if stream is None:
        return Path(os.devnull).open("wb")
    # Another program may have left it non-blocking, so that lines would be lost.
    with suppress(OSError):
        os.set_blocking(stream.fileno(), True)
    return stream.buffer

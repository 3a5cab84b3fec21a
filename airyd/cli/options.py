"""The options, arguments and help texts of the ``airyd`` commands; all are checked before anything is opened."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from airyd.cli.completion import QUESTION, CommandOffers, describe_for_zsh
from airyd.cli.daemon_options import AsyncApiOptions, CompletionOptions, ConfigOptions, DoctorOptions, ServeOptions
from airyd.cli.node_options import (
    ConnectionsOptions,
    DrainOptions,
    ExplainOptions,
    KickOptions,
    TopOptions,
    TraceOptions,
)
from airyd.cli.parser import CommandOptions, CommandParser
from airyd.cli.token import claim
from airyd.cli.urls import ADMIN_URL, QUOTED, WEBSOCKET_PATH, WEBSOCKET_URL, admin_url, health_url, websocket_url
from airyd.cli.values import add_ca_file, add_token_file, destination_name, destination_or_pattern, whole_number
from airyd.events import AIRY_DESTINATIONS
from airyd.revocation import LONGEST_NAME, MOST_TOKEN_MAX_AGE, RevocationKind, is_name
from airyd.spelling import did_you_mean
from airyd.standard_output import print_and_exit

_ADMIN_URL: Final = f"""\
http://HOST:PORT or https://HOST:PORT of the admin page
               [default: {ADMIN_URL}]"""


class TailOptions(CommandOptions):
    """The options of ``airyd tail``."""

    usage = "[URL] [DESTINATION ...]"
    summary = "print events as they arrive"
    description = """\
Print events as they arrive: readable on a terminal, as JSON lines in a pipe.
Reconnects and resumes. Messages about the connection go to standard error."""
    details = f"""\
  URL          ws://HOST:PORT/PATH or wss://HOST:PORT/PATH; the path defaults to
               {WEBSOCKET_PATH} [default: {WEBSOCKET_URL}]
  DESTINATION  what to subscribe to, such as /queue/message, or a pattern in
               quotes: '/queue/*' matches one segment, '/queue/**' one or more
               [default: {AIRY_DESTINATIONS[0]}, {AIRY_DESTINATIONS[1]},
               {AIRY_DESTINATIONS[2]}, {AIRY_DESTINATIONS[3]}]"""

    url = WEBSOCKET_URL
    destinations: Sequence[str] = AIRY_DESTINATIONS
    count: int | None
    token_file: str | None
    ca_file: str | None

    @classmethod
    def add_options(cls, parser: CommandParser) -> None:
        """See :class:`CommandOptions`."""
        parser.option("--count", "-n", metavar="N", type=whole_number, help="exit after N events [default: never]")
        add_token_file(parser, "the token to log in with", "AIRYD_TOKEN")
        add_ca_file(parser, "wss")

    @property
    def host(self) -> str:
        """The URL's host."""
        return urlsplit(self.url).hostname or ""

    @property
    def secure(self) -> bool:
        """Whether the URL requires TLS."""
        return urlsplit(self.url).scheme == "wss"

    @property
    def port(self) -> int:
        """The URL's port, or the default port of its scheme."""
        return urlsplit(self.url).port or (443 if self.secure else 80)

    def check(self, arguments: Sequence[str]) -> None:
        """See :class:`CommandOptions`."""
        names = list(arguments)
        if names and not names[0].startswith("/"):
            self.url = websocket_url(names.pop(0))
        if self.ca_file is not None and not self.secure:
            raise ValueError("--ca-file is for a wss:// URL")
        self.destinations = tuple(dict.fromkeys(map(destination_or_pattern, names))) or AIRY_DESTINATIONS


class PublishOptions(CommandOptions):
    """The options of ``airyd publish``.

    :ivar body: the event's JSON; None to read lines from standard input
    """

    usage = "[URL] DESTINATION [BODY]"
    summary = "publish events through the admin page"
    description = """\
Publish BODY, or each line of standard input, as an event, and print its id.
If a line is refused, the reason goes to standard error, the other lines are
still published, and the exit status is 1."""
    details = f"""\
  URL          {_ADMIN_URL}
  DESTINATION  where to publish, such as /queue/message
  BODY         the event, a JSON object [default: one object per line of
               standard input]"""

    url = ADMIN_URL
    destination: str
    body: str | None = None
    token_file: str | None
    ca_file: str | None

    @classmethod
    def add_options(cls, parser: CommandParser) -> None:
        """See :class:`CommandOptions`."""
        add_token_file(parser, "the admin page's token", "AIRYD_ADMIN_TOKEN")
        add_ca_file(parser, "https")

    def check(self, arguments: Sequence[str]) -> None:
        """See :class:`CommandOptions`."""
        rest = list(arguments)
        if rest and not rest[0].startswith("/"):
            self.url = admin_url(rest.pop(0))
        if self.ca_file is not None and not self.url.startswith("https:"):
            raise ValueError("--ca-file is for an https:// URL")
        match rest:
            case [name]:
                self.destination = destination_name(name)
            case [name, body]:
                self.destination, self.body = destination_name(name), body
            case []:
                raise ValueError("a DESTINATION is needed, such as /queue/message")
            case _:
                raise ValueError(f"too many arguments: one BODY at most (quote it), not {len(rest) - 1}")


class HealthOptions(CommandOptions):
    """The options of ``airyd health``."""

    usage = "[URL]"
    summary = "ask whether a node is ready, for health checks"
    description = """\
Ask the admin page of one node whether it is ready to serve clients (/readyz),
and print the answer. The exit status is 0 if it is, and 1 if it is not or does
not answer within a few seconds. It needs no token."""
    details = f"""\
  URL          http://HOST:PORT, https://HOST:PORT or unix:PATH of the admin page
               [default: {ADMIN_URL}]"""

    url = ADMIN_URL
    live: bool
    ca_file: str | None

    @classmethod
    def add_options(cls, parser: CommandParser) -> None:
        """See :class:`CommandOptions`."""
        text = "ask only whether the process answers (/healthz), ready or not"
        parser.option("--live", action="store_true", help=text)
        add_ca_file(parser, "https")

    def check(self, arguments: Sequence[str]) -> None:
        """See :class:`CommandOptions`."""
        if len(arguments) > 1:
            raise ValueError(f"give one URL at most, not {len(arguments)}")
        if arguments:
            self.url = health_url(arguments[0])
        if self.ca_file is not None and not self.url.startswith("https:"):
            raise ValueError("--ca-file is for an https:// URL")


class TokenOptions(CommandOptions):
    """The options of ``airyd token``.

    :ivar lifetime: seconds until the token expires
    """

    usage = "SUBJECT"
    summary = "print a token for testing"
    description = """\
Print a token for SUBJECT with Airy's claims, for testing: a server started with
--auth jwt:secret-file=... accepts it. With several secrets, the first one signs."""
    details = """\
  SUBJECT      the user's id

example:
  airyd token --secret-file secret --claim 'subscribe=["/queue/*"]' ann > token"""

    subject: str
    secret_file: str | None
    secret_env: str | None
    base64: bool
    algorithm = "HS256"
    lifetime = 3600
    claim: Sequence[tuple[str, Any]] | None

    @classmethod
    def add_options(cls, parser: CommandParser) -> None:
        """See :class:`CommandOptions`."""
        parser.option("--secret-file", metavar="FILE", help="file with the secret")
        parser.option("--secret-env", metavar="NAME", help="name of an environment variable with the secret")
        parser.option("--base64", action="store_true", help="the secret is base64, as Airy's is")
        text = "HS256, HS384 or HS512; must match the server's alg= [default: HS256]"
        parser.option("--alg", dest="algorithm", metavar="NAME", type=_algorithm, help=text)
        text = "seconds until the token expires [default: 3600]"
        parser.option("--for", dest="lifetime", metavar="SECONDS", type=_lifetime, help=text)
        text = "additional claim; the value is JSON or text; repeatable"
        parser.option("--claim", metavar="NAME=VALUE", action="append", type=claim, help=text)

    @property
    def claims(self) -> Mapping[str, Any]:
        """The additional claims; if one is given twice, the last value counts."""
        return dict(self.claim or ())

    def check(self, arguments: Sequence[str]) -> None:
        """See :class:`CommandOptions`."""
        if len(arguments) != 1 or not arguments[0]:
            raise ValueError("one SUBJECT is needed: the user's id")
        (self.subject,) = arguments
        if (self.secret_file is None) == (self.secret_env is None):
            raise ValueError("give the secret by either --secret-file or --secret-env")


class RevokeOptions(CommandOptions):
    """The options of ``airyd revoke``.

    :ivar kind: whether to revoke a token or all tokens of a user
    :ivar name: the token's ``jti``, or the user
    :ivar source: the source to store the revocation in, instead of using the admin page
    :ivar token_max_age: the longest lifetime of a token, in seconds
    """

    usage = "(--jti JTI | --subject SUBJECT) [URL | --source URL]"
    summary = "revoke tokens"
    description = """\
Revoke a token, or all tokens that were issued to a user until now: connections
that use them are closed, and the tokens are refused from now on. The request
goes to the admin page of one server, or to the Redis that all servers read
(--source)."""
    details = f"""\
  URL          {_ADMIN_URL}"""

    kind: RevocationKind
    name: str
    url = ADMIN_URL
    revoked: Sequence[tuple[RevocationKind, str]] | None
    source: str | None
    token_file: str | None
    ca_file: str | None
    token_max_age: int | None

    @classmethod
    def add_options(cls, parser: CommandParser) -> None:
        """See :class:`CommandOptions`."""
        text = "revoke the token with this claim jti"
        parser.option(
            "--jti", dest="revoked", metavar="JTI", action="append", type=_revoked(RevocationKind.JTI), help=text
        )
        text = "revoke all tokens that were issued to this user until now"
        parser.option(
            "--subject",
            dest="revoked",
            metavar="SUBJECT",
            action="append",
            type=_revoked(RevocationKind.SUBJECT),
            help=text,
        )
        text = "the --source of the servers, such as redis://HOST (see twistd airyd --help-sources)"
        parser.option("--source", metavar="URL", help=text)
        add_token_file(parser, "the admin page's token", "AIRYD_ADMIN_TOKEN")
        add_ca_file(parser, "https")
        text = "with --source: the --token-max-age of the servers [default: 86400]"
        parser.option("--token-max-age", metavar="SECONDS", type=_token_max_age, help=text)

    def check(self, arguments: Sequence[str]) -> None:
        """See :class:`CommandOptions`."""
        if self.revoked is None or len(self.revoked) != 1:
            raise ValueError("give what to revoke: one --jti or one --subject")
        ((self.kind, self.name),) = self.revoked
        if len(arguments) > 1 or (arguments and self.source is not None):
            raise ValueError("give either one URL of the admin page, or --source")
        if self.token_max_age is not None and self.source is None:
            raise ValueError("--token-max-age is for --source; a server uses its own setting")
        if arguments:
            self.url = admin_url(arguments[0])
        if self.ca_file is not None and not self.url.startswith("https:"):
            raise ValueError("--ca-file is for an https:// URL (a --source URL has ca-file=)")


class OpenApiOptions(CommandOptions):
    """The command line of ``airyd openapi``, which has no options of its own."""

    usage = ""
    summary = "print the OpenAPI document of the admin page"
    description = """\
Print the OpenAPI 3.1 document of the admin page's API as JSON, without a server.
A running airyd serves it at /api/v1/openapi.json."""
    details = ""

    @classmethod
    def add_options(cls, parser: CommandParser) -> None:
        """See :class:`CommandOptions`."""

    def check(self, arguments: Sequence[str]) -> None:
        """See :class:`CommandOptions`."""
        if arguments:
            raise ValueError("it takes no arguments")


COMMANDS: Final[Mapping[str, type[CommandOptions]]] = {
    "tail": TailOptions,
    "publish": PublishOptions,
    "top": TopOptions,
    "connections": ConnectionsOptions,
    "kick": KickOptions,
    "trace": TraceOptions,
    "explain": ExplainOptions,
    "drain": DrainOptions,
    "health": HealthOptions,
    "token": TokenOptions,
    "revoke": RevokeOptions,
    "serve": ServeOptions,
    "config": ConfigOptions,
    "completion": CompletionOptions,
    "doctor": DoctorOptions,
    "openapi": OpenApiOptions,
    "asyncapi": AsyncApiOptions,
}


def completions() -> dict[str, CommandOffers]:
    """Return what can be completed after each command."""
    return {name: CommandOffers(options.offers(name), options.first) for name, options in COMMANDS.items()}


def top_parser() -> CommandParser:
    """Return the parser for the options before a command."""
    commands = "".join(f"\n  {name:12}{options.summary}" for name, options in COMMANDS.items())
    return CommandParser(
        "airyd",
        "COMMAND ...",
        "Run airyd, watch and operate a running one, publish to it, make or revoke\n"
        "tokens, check its configuration, and find out what is wrong.",
        f"commands:{commands}\n\nairyd COMMAND --help shows the options of a command.",
    )


def parse(words: Sequence[str]) -> CommandOptions:
    """Parse a command line.

    Errors: ``UsageError``; ``SystemExit`` after ``--help`` and ``--version``.
    """
    has_command = bool(words) and words[0] in COMMANDS
    parser = COMMANDS[words[0]].parser(words[0]) if has_command else top_parser()
    if words[-2:-1] == [QUESTION]:
        offers = COMMANDS[words[0]].offers(words[0]) if has_command else parser.offers()
        first = COMMANDS[words[0]].first if has_command else [*COMMANDS]
        print_and_exit(parser.prog, describe_for_zsh(offers, first))
    if not has_command:
        arguments = parser.read(words, argparse.Namespace())
        if not arguments:
            parser.error(f"a command is needed: {', '.join(COMMANDS)}")
        meant = did_you_mean(arguments[0], COMMANDS)
        parser.error(f"there is no command {arguments[0][:QUOTED]!r}{meant} There are: {', '.join(COMMANDS)}")
    options = COMMANDS[words[0]]()
    try:
        if options.parse_daemon_options(words[1:]):
            return options
        options.check(parser.read(words[1:], options))
    except ValueError as error:
        parser.error(str(error))
    return options


def _token_max_age(seconds: str) -> int:
    return whole_number(seconds, MOST_TOKEN_MAX_AGE)


def _lifetime(seconds: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", seconds):
        raise ValueError(f"give a whole number of seconds, 0 or more, not {seconds[:QUOTED]!r}")
    return int(seconds)


def _algorithm(name: str) -> str:
    from airyd.auth.jwt.keys import SECRET_ALGORITHMS  # imports cryptography, which only airyd token needs

    if name not in SECRET_ALGORITHMS:
        raise ValueError(f"give {', '.join(SECRET_ALGORITHMS)}, not {name[:QUOTED]!r}")
    return name


def _revoked(kind: RevocationKind) -> Callable[[str], tuple[RevocationKind, str]]:
    def read(name: str) -> tuple[RevocationKind, str]:
        if not is_name(name):
            raise ValueError(f"give 1 to {LONGEST_NAME} printable characters")
        return kind, name

    return read

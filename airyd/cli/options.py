"""The command line of ``airyd``, checked before anything is opened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from twisted.python import usage

from airyd.cli.token import claim
from airyd.cli.usage import (
    ADMIN_URL,
    WEBSOCKET_PATH,
    WEBSOCKET_URL,
    CommandOptions,
    ProgramOptions,
    admin_url,
    check_command,
    destination,
    destination_or_pattern,
    file_name,
    websocket_url,
    whole,
)
from airyd.events import AIRY_DESTINATIONS
from airyd.revocation import LONGEST_NAME, MOST_TOKEN_MAX_AGE, RevocationKind, is_name

_INDENTED_DESTINATIONS: Final = f"\n{' ' * 15}".join(AIRY_DESTINATIONS)
_CA_FILE_NEEDS: Final = "--ca-file is for a {}:// URL"


class TailOptions(CommandOptions):
    """``airyd tail``.

    :ivar url: checked, with a path
    :ivar destinations: names and patterns, checked, without repetitions
    :ivar count: from 1 on, or None
    :ivar token_file: where the token to log in with is, or None
    :ivar ca_file: where the authorities are that may sign the server's certificate; None for the system's
    """

    synopsis = "tail [options] [URL] [DESTINATION...]"
    longdesc = (
        "Print events as they arrive: for a person on a terminal, as JSON lines in a pipe. Reconnects and resumes; "
        "what happens to the connection is said on standard error."
    )
    epilogue = f"""
Arguments:
  URL          ws://HOST:PORT/PATH or wss://HOST:PORT/PATH, without a path: {WEBSOCKET_PATH}
               [default: {WEBSOCKET_URL}]
  DESTINATION  what to follow, such as /queue/message, or a pattern, in quotes: in '/queue/*' the
               asterisk stands for one segment, in '/queue/**' for one or more
               [default: {_INDENTED_DESTINATIONS}]
"""

    def __init__(self) -> None:
        super().__init__()
        self.url = WEBSOCKET_URL
        self.destinations: tuple[str, ...] = AIRY_DESTINATIONS
        self.count: int | None = None
        self.token_file: str | None = None
        self.ca_file: str | None = None

    @property
    def host(self) -> str:
        """The URL's host."""
        return urlsplit(self.url).hostname or ""

    @property
    def secure(self) -> bool:
        """Whether the URL asks for TLS."""
        return urlsplit(self.url).scheme == "wss"

    @property
    def port(self) -> int:
        """The URL's port, or its scheme's."""
        return urlsplit(self.url).port or (443 if self.secure else 80)

    def opt_token_file(self, path: str) -> None:
        """A file with the token to log in with [default: the environment's AIRYD_TOKEN]."""
        self.token_file = file_name("token-file", path)

    def opt_ca_file(self, path: str) -> None:
        """For wss: a PEM file with the authorities that may sign the certificate [default: the system's]."""
        self.ca_file = file_name("ca-file", path)

    def opt_count(self, number: str) -> None:
        """End after this many events [default: never]."""
        self.count = whole("count", number)

    opt_n = opt_count

    def parseArgs(self, *arguments: str) -> None:
        """Take the URL, if there is one, and the destinations."""
        names = list(arguments)
        if names and not names[0].startswith("/"):
            self.url = websocket_url(names.pop(0))
        if self.ca_file is not None and not self.secure:
            raise usage.UsageError(_CA_FILE_NEEDS.format("wss"))
        self.destinations = tuple(dict.fromkeys(map(destination_or_pattern, names))) or AIRY_DESTINATIONS


class PublishOptions(CommandOptions):
    """``airyd publish``.

    :ivar url: checked, of the admin endpoint
    :ivar destination: checked
    :ivar body: the event's JSON; None: lines of standard input
    :ivar token_file: where the admin endpoint's token is, or None
    :ivar ca_file: where the authorities are that may sign the server's certificate; None for the system's
    """

    synopsis = "publish [options] [URL] DESTINATION [BODY]"
    longdesc = (
        "Publish BODY, or each line of standard input, as an event, and print its id. A refused line is said on "
        "standard error with the reason; the rest goes on, and the exit status is 1."
    )
    epilogue = f"""
Arguments:
  URL          of the admin endpoint, http://HOST:PORT
               [default: {ADMIN_URL}]
  DESTINATION  where to publish, such as /queue/message
  BODY         a JSON object
               [default: lines of standard input, a JSON object on each]
"""

    def __init__(self) -> None:
        super().__init__()
        self.url = ADMIN_URL
        self.destination = ""
        self.body: str | None = None
        self.token_file: str | None = None
        self.ca_file: str | None = None

    def opt_token_file(self, path: str) -> None:
        """A file with the admin endpoint's token [default: the environment's AIRYD_ADMIN_TOKEN]."""
        self.token_file = file_name("token-file", path)

    def opt_ca_file(self, path: str) -> None:
        """For https: a PEM file with the authorities that may sign the certificate [default: the system's]."""
        self.ca_file = file_name("ca-file", path)

    def parseArgs(self, *arguments: str) -> None:
        """Take the URL, if there is one, the destination, and the body, if there is one."""
        rest = list(arguments)
        if rest and not rest[0].startswith("/"):
            self.url = admin_url(rest.pop(0))
        if self.ca_file is not None and not self.url.startswith("https:"):
            raise usage.UsageError(_CA_FILE_NEEDS.format("https"))
        match rest:
            case [name]:
                self.destination = destination(name)
            case [name, body]:
                self.destination, self.body = destination(name), body
            case []:
                raise usage.UsageError("a DESTINATION is needed, such as /queue/message")
            case _:
                raise usage.UsageError(f"too many arguments: one BODY at most (quote it), not {len(rest) - 1}")


class TokenOptions(CommandOptions):
    """``airyd token``.

    :ivar subject: whom the token is for
    :ivar secret_file: where the secret is, or None
    :ivar secret_env: the variable that it is in, or None
    :ivar is_base64: whether it is base64
    :ivar algorithm: what signs the token
    :ivar lifetime: seconds
    :ivar claims: beside Airy's
    """

    synopsis = "token [options] SUBJECT"
    longdesc = (
        "Print a token for SUBJECT with the claims of Airy's, to try things: a server started with "
        "--auth jwt:secret-file=... takes it. Of several secrets the first one signs."
    )
    epilogue = """
Arguments:
  SUBJECT      the user's id

Example:
  airyd token --secret-file secret --claim 'subscribe=["/queue/*"]' ann > token
"""

    def __init__(self) -> None:
        super().__init__()
        self.subject = ""
        self.secret_file: str | None = None
        self.secret_env: str | None = None
        self.is_base64 = False
        self.algorithm = "HS256"
        self.lifetime = 3600
        self.claims: dict[str, Any] = {}

    def opt_secret_file(self, path: str) -> None:
        """A file with the secret."""
        self.secret_file = path

    def opt_secret_env(self, name: str) -> None:
        """The name of an environment variable with the secret."""
        self.secret_env = name

    def opt_base64(self) -> None:
        """The secret is base64, as Airy's."""
        self.is_base64 = True

    def opt_alg(self, name: str) -> None:
        """HS256, HS384 or HS512, as the server's alg= has it [default: HS256]."""
        from airyd.auth.jwt.keys import SECRET_ALGORITHMS

        if name not in SECRET_ALGORITHMS:
            raise usage.UsageError(f"--alg takes {', '.join(SECRET_ALGORITHMS)}, not {name!r}")
        self.algorithm = name

    def opt_for(self, seconds: str) -> None:
        """Seconds until it expires [default: 3600]."""
        if not re.fullmatch("[0-9]{1,10}", seconds):
            raise usage.UsageError(f"--for takes a whole number of seconds from 0 on, not {seconds[:40]!r}")
        self.lifetime = int(seconds)

    def opt_claim(self, text: str) -> None:
        """An additional claim, NAME=JSON or NAME=TEXT; repeatable."""
        try:
            name, value = claim(text)
        except ValueError as error:
            raise usage.UsageError(f"--claim: {error}") from None
        self.claims[name] = value

    def parseArgs(self, *arguments: str) -> None:
        """Take the subject."""
        if len(arguments) != 1 or not arguments[0]:
            raise usage.UsageError("one SUBJECT is needed, the user's id")
        (self.subject,) = arguments
        if (self.secret_file is None) == (self.secret_env is None):
            raise usage.UsageError("give --secret-file or --secret-env, where the secret is")


class RevokeOptions(CommandOptions):
    """``airyd revoke``.

    :ivar kind: what to revoke
    :ivar name: of the token or the user
    :ivar url: checked, of the admin endpoint
    :ivar source: where to keep it, in the admin endpoint's place
    :ivar token_file: where the admin endpoint's token is, or None
    :ivar ca_file: where the authorities are that may sign the admin endpoint's certificate; None for the system's
    :ivar token_max_age: seconds that a token lives at most
    """

    synopsis = "revoke [options] (--jti JTI | --subject SUBJECT) [URL | --source URL]"
    longdesc = (
        "Make a token, or all tokens that a user has by now, good no more: connections that came with one end, and "
        "none comes in. Say so to any server by its admin endpoint, or to the Redis that all of them read."
    )
    epilogue = f"""
Arguments:
  URL          of the admin endpoint, http://HOST:PORT
               [default: {ADMIN_URL}]
"""

    def __init__(self) -> None:
        super().__init__()
        self.kind = RevocationKind.JTI
        self.name = ""
        self.url = ADMIN_URL
        self.source: str | None = None
        self.token_file: str | None = None
        self.ca_file: str | None = None
        self.token_max_age: int | None = None

    def opt_jti(self, name: str) -> None:
        """The claim jti of a token."""
        self._take(RevocationKind.JTI, name)

    def opt_subject(self, name: str) -> None:
        """A user: all tokens that were issued until now."""
        self._take(RevocationKind.SUBJECT, name)

    def _take(self, kind: RevocationKind, name: str) -> None:
        if self.name:
            raise usage.UsageError("give one --jti, or one --subject")
        if not is_name(name):
            raise usage.UsageError(f"--{kind.value} takes 1 to {LONGEST_NAME} printable characters")
        self.kind, self.name = kind, name

    def opt_source(self, url: str) -> None:
        """The servers' own --source, such as redis://HOST (twistd airyd --help-sources)."""
        self.source = url

    def opt_token_file(self, path: str) -> None:
        """A file with the admin endpoint's token [default: the environment's AIRYD_ADMIN_TOKEN]."""
        self.token_file = file_name("token-file", path)

    def opt_ca_file(self, path: str) -> None:
        """For https: a PEM file with the authorities that may sign the certificate [default: the system's]."""
        self.ca_file = file_name("ca-file", path)

    def opt_token_max_age(self, seconds: str) -> None:
        """With --source: seconds that a token lives at most [default: 86400]."""
        self.token_max_age = whole("token-max-age", seconds, MOST_TOKEN_MAX_AGE)

    def parseArgs(self, *arguments: str) -> None:
        """Take the URL, if there is one."""
        if not self.name:
            raise usage.UsageError("give --jti or --subject, what to revoke")
        if len(arguments) > 1 or (arguments and self.source is not None):
            raise usage.UsageError("give one URL, of the admin endpoint, or --source")
        if self.token_max_age is not None and self.source is None:
            raise usage.UsageError("--token-max-age goes with --source; a server has its own")
        if arguments:
            self.url = admin_url(arguments[0])
        if self.ca_file is not None and not self.url.startswith("https:"):
            raise usage.UsageError(f"{_CA_FILE_NEEDS.format('https')} (a --source URL has ca-file=)")


class AirydOptions(ProgramOptions):
    """``airyd``: its sub-commands."""

    synopsis = "[options] COMMAND ..."
    subCommands = (
        ("tail", None, TailOptions, "Print events as they arrive."),
        ("publish", None, PublishOptions, "Publish events through the admin endpoint."),
        ("token", None, TokenOptions, "Print a token to try things with."),
        ("revoke", None, RevokeOptions, "Make tokens good no more."),
    )
    longdesc = "Look into a running airyd, and feed it. The server itself is started with: twistd -n airyd"

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the command line; errors: ``UsageError``."""
        given = list(options or ())
        check_command(given, self.shortOpt, self.longOpt, [name for name, *_ in self.subCommands])
        super().parseOptions(given)

    def postOptions(self) -> None:
        """See to it that there is something to do."""
        if self.subCommand is None:
            raise usage.UsageError("a command is needed: tail, publish, token or revoke")

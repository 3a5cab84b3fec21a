"""The commands that take the daemon's options, and the one that prints completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airyd.cli.completion import Offer
from airyd.cli.parser import CommandOptions, CommandParser
from airyd.cli.urls import QUOTED
from airyd.config.options import OPTIONS, SHOWING
from airyd.spelling import did_you_mean

if TYPE_CHECKING:
    from airyd.config.command_line import Options
    from airyd.config.configuration import Configuration
    from airyd.config.settings import Settings

SHOW = "show"
CHECK = "check"
SHELLS = ("bash", "zsh")


def daemon_offers() -> list[Offer]:
    """Return the daemon's options for completion."""
    offers = [
        Offer((name,), option.value, option.brief, option.choices, option.repeatable)
        for option in OPTIONS.values()
        for name in (f"--{option.name}", f"--no-{option.name}")[: 2 if option.is_switch else 1]
    ]
    return [*offers, *(Offer((f"--{name}",), "", f"print {shown}") for name, shown in SHOWING.items())]


def _read_options(program: str, words: Sequence[str]) -> Options:
    """Read the daemon's options; raises ``ValueError`` for one that is unknown or has a wrong value."""
    from airyd.config.command_line import Options  # imports the daemon, which the other commands don't need

    options = Options(program)
    try:
        options.parseOptions(words)
    except SystemExit as error:
        if not isinstance(error.code, str):  # --help-sources
            raise
        raise ValueError(error.code.removeprefix("airyd: ").removesuffix(" See --help")) from None  # said anyway
    return options


class ServeOptions(CommandOptions):
    """The command line of ``airyd serve``, which the daemon's own parser reads.

    :ivar words: the daemon's options
    """

    usage = ""
    summary = "run the daemon in the foreground"
    description = "Run the daemon in the foreground, with its log on standard output."
    details = ""

    words: Sequence[str] = ()

    @classmethod
    def offers(cls, name: str) -> Sequence[Offer]:
        """See :class:`CommandOptions`."""
        return daemon_offers()

    def parse_daemon_options(self, words: Sequence[str]) -> bool:
        """See :class:`CommandOptions`."""
        self.words = words
        return True


class ConfigOptions(CommandOptions):
    """The command line of ``airyd config``.

    :ivar file: the file to check; None for ``show``
    :ivar words: the daemon's options, for ``show``
    """

    usage = "check FILE | show [OPTION ...]"
    summary = "check a configuration file, or show the effective options"
    description = """\
check reads FILE and all files that it names (keys, passwords, certificates), as
the daemon does at its start, but opens no port and makes no connection. It
ignores options in the environment. The exit status is 0 if the daemon can start
with FILE.

show prints the value of each option, and where it comes from: the options that
follow, the environment, the configuration file, or the default. Secrets are
masked. A running daemon may still use older values of the files and of the
environment."""
    details = """\
  FILE         a configuration file in TOML
  OPTION       an option of the daemon, such as --config FILE"""
    first = (CHECK, SHOW)

    file: str | None = None
    words: Sequence[str] = ()

    @classmethod
    def offers(cls, name: str) -> Sequence[Offer]:
        """See :class:`CommandOptions`."""
        return daemon_offers()

    def parse_daemon_options(self, words: Sequence[str]) -> bool:
        """See :class:`CommandOptions`."""
        self.words = words[1:]
        return words[:1] == [SHOW]

    def check(self, arguments: Sequence[str]) -> None:
        """See :class:`CommandOptions`."""
        if not arguments:
            raise ValueError(f"give {CHECK} FILE, or {SHOW}")
        if arguments[0] not in self.first:
            raise ValueError(
                f"there is no {arguments[0][:QUOTED]!r}{did_you_mean(arguments[0], self.first)} Give "
                f"{CHECK} FILE, or {SHOW}"
            )
        if arguments[0] == SHOW:
            raise ValueError(f"write {SHOW} first, and the daemon's options after it")
        if len(arguments) != 2 or not arguments[1]:
            raise ValueError(f"{CHECK} takes one FILE")
        self.file = arguments[1]


class DoctorOptions(CommandOptions):
    """The command line of ``airyd doctor``: its own options, and those of the daemon.

    :ivar configuration: the daemon's, in all ways in which it is given
    :ivar settings: the daemon's settings
    """

    usage = "[options of the daemon]"
    summary = "check options, Redis and this machine for mistakes"
    description = """\
Check the daemon's options and what they name: Redis, token keys, certificates,
files, ports. Each line begins with a tick (all is well), with ! (look at it), or
with a cross (repair it), and ends with what to do. Without --write nothing is
changed. Run it as the user that airyd runs as."""
    details = """\
  All options of the daemon, such as --config FILE, --source URL or --auth SPEC.
  It also reads those in the environment (AIRYD_...).

exit status:
  0 if all is well, 3 if there is something to look at, 1 if there is something
  to repair, 2 if an option is unknown or has a wrong value"""

    configuration: Configuration
    settings: Settings
    write: bool
    json: bool

    @classmethod
    def offers(cls, name: str) -> Sequence[Offer]:
        """See :class:`CommandOptions`."""
        return [*super().offers(name), *daemon_offers()]

    @classmethod
    def add_options(cls, parser: CommandParser) -> None:
        """See :class:`CommandOptions`."""
        parser.option("--json", action="store_true", help="print one JSON object with all findings")
        text = "send a test event through a stream of its own in Redis, and delete the stream"
        parser.option("--write", action="store_true", help=text)

    def parse_daemon_options(self, words: Sequence[str]) -> bool:
        """See :class:`CommandOptions`; raises ``ValueError`` for an option that is unknown or has a wrong value."""
        if {"--help", "-h", "--version"} & set(words):
            return False
        self.json, self.write = "--json" in words, "--write" in words
        options = _read_options("airyd doctor", [word for word in words if word not in ("--json", "--write")])
        self.configuration, self.settings = options.configuration, options.settings
        return True


class AsyncApiOptions(CommandOptions):
    """The command line of ``airyd asyncapi``, which the daemon's own parser reads.

    :ivar document: the document of a server with these options
    """

    usage = "[options of the daemon]"
    summary = "print the AsyncAPI document of the WebSocket"
    description = """\
Print the AsyncAPI 3 document of a server with these options as JSON, without a
server: its destinations, the headers of all frames, the JSON Schemas of the
payloads, and the errors. A running airyd serves it at /api/v1/asyncapi.json of
its admin page."""
    details = """\
  All options of the daemon, such as --destination NAME or --config FILE.
  It also reads those in the environment (AIRYD_...)."""

    document: Mapping[str, Any]

    @classmethod
    def offers(cls, name: str) -> Sequence[Offer]:
        """See :class:`CommandOptions`."""
        return [*super().offers(name), *daemon_offers()]

    def parse_daemon_options(self, words: Sequence[str]) -> bool:
        """See :class:`CommandOptions`; raises ``ValueError`` for an option that is unknown or has a wrong value."""
        if {"--help", "-h", "--version"} & set(words):
            return False
        settings = _read_options("airyd asyncapi", words).settings
        from airyd.config.contract import configured_asyncapi, configured_urls

        self.document = configured_asyncapi(settings, list(configured_urls(settings)))
        return True


class CompletionOptions(CommandOptions):
    """The command line of ``airyd completion``.

    :ivar shell: one of ``SHELLS``
    """

    usage = "bash | zsh"
    summary = "print a script for completion in a shell"
    description = """\
Print a script that completes the commands and options of airyd, for bash also
those of twistd airyd. Load it with: source <(airyd completion bash)"""
    details = "  bash, zsh    the shell"
    first = SHELLS

    shell = ""

    def check(self, arguments: Sequence[str]) -> None:
        """See :class:`CommandOptions`."""
        if len(arguments) != 1 or arguments[0] not in SHELLS:
            raise ValueError(f"give {' or '.join(SHELLS)}")
        self.shell = arguments[0]

"""Writes the manual pages, docs/man, from the table of options and the commands: ``python -m docs.manual_pages``.

Exit status: 0.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from airyd.cli.completion import Offer
from airyd.cli.options import COMMANDS, top_parser
from airyd.cli.parser import CommandOptions
from airyd.config.config_file import LIMITS_TABLE
from airyd.config.options import LIMIT, OPTIONS, SHOWING, SUBJECTS, Option

FOLDER: Final = Path(__file__).parent / "man"
_SPECIAL: Final = re.compile(r"(?m)^([.'])")

_ENVIRONMENT: Final = {
    "AIRYD_TOKEN": "the token that airyd tail logs in with",
    "AIRYD_ADMIN_TOKEN": "the token of the admin page, for all commands that use it",
    "AIRYD_REDIS_PASSWORD": "the password of Redis, for airyd revoke --source and for the daemon",
    "AIRYD_REDIS_SENTINEL_PASSWORD": "the password of the sentinels",
}
_CONFIG_FILE: Final = """\
log-level = "warn"
listen = ["tcp:8080:interface=127.0.0.1", "unix:/run/airyd/clients.sock"]

[limits]
body = 131072

[[source]]
url = "redis://airyd@redis.example.org/0"
password-file = "/run/credentials/airyd.service/redis-password"

[[auth]]
kind = "jwt"
secret-file = "/run/credentials/airyd.service/jwt-secret"
base64 = true
"""


def pages() -> dict[str, str]:
    """Return the pages by the names of their files."""
    return {"airyd.1": "\n".join(_airyd()) + "\n", "twistd-airyd.8": "\n".join(_twistd_airyd()) + "\n"}


def _text(text: str) -> str:
    """Return a text in roff: a hyphen is a minus sign, as typed, and no line is a request."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("^", r"\(ha")
    return _SPECIAL.sub(r"\\&\1", escaped.replace("~", r"\(ti").replace("`", r"\(ga"))


def _head(name: str, section: int, summary: str, synopsis: list[str]) -> Iterator[str]:
    yield r".\" Written by python -m docs.manual_pages; change the table of options in place of this file."
    yield f'.TH {_text(name.upper())} {section} "" "airyd" "airyd"'
    yield ".SH NAME"
    yield f"{_text(name)} {_text('-')} {_text(summary)}"
    yield ".SH SYNOPSIS"
    for line in synopsis:
        command, _, rest = line.partition(" [")
        yield f".B {_text(command)}"
        yield _text(f"[{rest}") if rest else ".br"
        yield ".br"


def _item(term: str, *paragraphs: str) -> Iterator[str]:
    yield ".TP"
    yield f"\\fB{_text(term)}\\fR"
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield ".br"
        yield _text(paragraph)


def _verbatim(text: str) -> Iterator[str]:
    yield ".PP"
    yield ".nf"
    yield _text(text.rstrip("\n"))
    yield ".fi"


def _offer(offer: Offer) -> Iterator[str]:
    names = ", ".join(f"{name}{'=' if name.startswith('--') else ' '}{offer.value}".strip(" =") for name in offer.names)
    yield from _item(names, f"{offer.text}.")


def _airyd() -> Iterator[str]:
    parser = top_parser()
    yield from _head("airyd", 1, "run and use an event gateway: STOMP over WebSocket", ["airyd [options] COMMAND ..."])
    yield ".SH DESCRIPTION"
    yield _text(" ".join((parser.description or "").split()))
    yield ".SH OPTIONS"
    for offer in parser.offers():
        yield from _offer(offer)
    yield ".SH COMMANDS"
    for name, command in COMMANDS.items():
        yield f".SS {_text(f'airyd {name} [options] {command.usage}'.strip())}"
        for paragraph in command.description.split("\n\n"):
            yield ".PP"
            yield _text(" ".join(paragraph.split()))
        for offer in command.parser(name).offers():
            if "--help" not in offer.names and "--version" not in offer.names:
                yield from _offer(offer)
        if command.details:
            yield from _verbatim(command.details)
        elif command.parse_daemon_options is not CommandOptions.parse_daemon_options:
            yield ".PP"
            yield _text("The options are those of ") + r"\fBtwistd\-airyd\fR(8)."
    yield ".SH ENVIRONMENT"
    for variable, meaning in _ENVIRONMENT.items():
        yield from _item(variable, f"{meaning}.")
    yield ".PP"
    yield r"\fBtwistd\-airyd\fR(8) has the variables of the daemon's options."
    yield ".SH EXIT STATUS"
    yield from _item("0", "success.")
    yield from _item("1", "failure; standard error says why.")
    yield from _item("2", "wrong usage.")
    yield from _item("3", "airyd doctor has found something to look at, but nothing to repair.")
    yield from _item("128 + N", "ended by signal N.")
    yield ".SH SEE ALSO"
    yield r"\fBtwistd\-airyd\fR(8), \fBtwistd\fR(1)"


def _option(option: Option) -> Iterator[str]:
    default = f"Default: {option.default or option.without}." if option.default or option.without else ""
    key = f"[{LIMITS_TABLE}] {option.name}" if option.subject == LIMIT else option.name
    text = option.explanation.removeprefix("Limit: ")
    where = f"Variable: {option.variable}." + (f" Key: {key}." if option.name != "config" else "")
    value = f"={option.value}" if option.value else ""
    yield from _item(f"--{option.name}{value}", *filter(None, (text[0].upper() + text[1:], default, where)))


def _twistd_airyd() -> Iterator[str]:
    synopsis = ["twistd [options of twistd] airyd [options]", "airyd serve [options]", "python -m airyd [options]"]
    yield from _head("twistd-airyd", 8, "the daemon of airyd, an event gateway: STOMP over WebSocket", synopsis)
    yield ".SH DESCRIPTION"
    yield _text(
        "airyd serves Airy's events over STOMP (1.0, 1.1, 1.2) on WebSocket. twistd runs it in the background, with "
        "twistd.log and twistd.pid in the current folder, unless its own options say otherwise. airyd serve and python "
        "-m airyd run it in the foreground, with its log on standard output and without a file for its PID."
    )
    yield ".PP"
    yield _text(
        "Each option can be given in three ways: in the file of --config, in the environment and on the command line. "
        "A later way wins. The values of a repeatable option replace all values of an earlier way. In the environment "
        "white space separates the values of such an option, and an empty variable counts as missing. airyd config "
        "show prints the result, and where each value comes from."
    )
    yield ".SH OPTIONS"
    for subject in SUBJECTS:
        yield f".SS {_text(subject)}"
        for option in OPTIONS.values():
            if option.subject == subject:
                yield from _option(option)
    yield ".SS Options that print something and exit"
    for name, shown in SHOWING.items():
        yield from _item(f"--{name}", f"Print {shown} and exit.")
    yield ".SH CONFIGURATION FILE"
    yield _text(
        "The file is TOML. Each key is the name of an option without the dashes in front; limits are in a table of "
        "their own. A source and an authenticator can be a text, as on the command line, or a table, whose other keys "
        "are its parameters. airyd config check FILE checks a file."
    )
    yield from _verbatim(_CONFIG_FILE)
    yield ".SH SIGNALS"
    yield from _item(
        "SIGTERM",
        "close the connections of all clients, then end with status 0. Another one, at least one second after the "
        "first, ends airyd at once, with its workers.",
    )
    yield from _item("SIGINT", "the same, but end by this signal.")
    yield from _item("SIGHUP", "read the configuration file, and all files that options name, again.")
    yield from _item(
        "SIGUSR2",
        "with --workers, replace the workers one after the other while the others serve; without, only write a line to "
        "the log.",
    )
    yield ".SH EXIT STATUS"
    yield _text("0 after SIGTERM; 1 if an option is wrong, with one line on standard error.")
    yield ".SH SEE ALSO"
    yield r"\fBairyd\fR(1), \fBtwistd\fR(1)"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, page in pages().items():
        (FOLDER / file).write_text(page)
        sys.stdout.write(f"written: docs/man/{file}\n")

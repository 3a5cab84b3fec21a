"""Completion in zsh with Twisted's function ``_twisted``: ``compdef _twisted airyd``."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import Final

from airyd.cli.parser import CommandParser

#: The option with which the function asks for completions; it follows the typed words, before the last word.
QUESTION: Final = "--_shell-completion"


def describe_for_zsh(parser: CommandParser, commands: Sequence[str] = ()) -> str:
    """Return the options and arguments in the form of zsh's ``_arguments``.

    :param commands: the possible values of the first argument
    """
    specs = [f"1:command:({' '.join(commands)})"] if commands else ["*:argument:_default"]
    for action in parser.added:
        text = (action.help or "").replace("[", r"\[").replace("]", r"\]")
        for name in action.option_strings:
            others = " ".join(each for each in action.option_strings if each != name)
            mark = "" if action.nargs is not None else "=" if name.startswith("--") else "+"
            value = f":{action.metavar}:{'_files' if action.metavar == 'FILE' else ' '}" if mark else ""
            specs.append(f"{f'({others})' if others else ''}{name}{mark}[{text}]{value}")
    return "\n".join(
        ["#compdef airyd", "", "_arguments -s \\", *(f"{quote(spec)} \\" for spec in specs), "&& return 0"]
    )

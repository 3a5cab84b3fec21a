"""Completion in bash and zsh: the scripts of ``airyd completion``, and the answer to zsh's function ``_twisted``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from shlex import quote
from typing import Final, NamedTuple

#: The option with which ``_twisted`` asks for completions; it follows the typed words, before the last word.
QUESTION: Final = "--_shell-completion"
_FILE: Final = "FILE"


class Offer(NamedTuple):
    """An option that can be completed.

    :ivar names: with their dashes, such as ``--count`` and ``-n``
    :ivar value: the name of its value in the help; empty if it has none
    :ivar choices: all possible values, if they are few
    """

    names: tuple[str, ...]
    value: str
    text: str
    choices: tuple[str, ...] = ()
    repeatable: bool = False


class CommandOffers(NamedTuple):
    """The completions after a command.

    :ivar first: the possible values of the first argument, if they are few
    """

    offers: Sequence[Offer]
    first: Sequence[str] = ()


def describe_for_zsh(offers: Sequence[Offer], first: Sequence[str] = ()) -> str:
    """Return the options and arguments for zsh's function ``_twisted``.

    :param first: the possible values of the first argument
    """
    return "\n".join(
        [
            "#compdef airyd",
            "",
            "_arguments -s \\",
            *(f"{quote(spec)} \\" for spec in _specs(offers, first)),
            "&& return 0",
        ]
    )


def _specs(offers: Sequence[Offer], first: Sequence[str]) -> Iterator[str]:
    """Yield the arguments of zsh's ``_arguments``."""
    yield f"1:command:({' '.join(first)})" if first else "*:argument:_default"
    if first:
        yield "*:argument:_default"
    for offer in offers:
        text = offer.text.replace("[", r"\[").replace("]", r"\]")
        for name in offer.names:
            others = " ".join(each for each in offer.names if each != name)
            excluded = f"({others})" if others else ""
            mark = "" if not offer.value else "=" if name.startswith("--") else "+"
            action = f"({' '.join(offer.choices)})" if offer.choices else "_files" if offer.value == _FILE else " "
            value = f":{offer.value.replace(':', '')}:{action}" if mark else ""
            yield f"{'*' if offer.repeatable else excluded}{name}{mark}[{text}]{value}"


def zsh_script(top: Sequence[Offer], commands: Mapping[str, CommandOffers]) -> str:
    """Return the script for zsh.

    :param top: the options before a command
    """
    lines = [
        "#compdef airyd",
        "# Completion of airyd in zsh. Put this into a folder of $fpath as _airyd, or run:",
        "# source <(airyd completion zsh)",
        "",
        "_airyd() {",
        "    local context state state_descr line",
        "    typeset -A opt_args",
        "    _arguments -C \\",
        *(f"        {quote(spec)} \\" for spec in list(_specs(top, list(commands)))[2:]),
        f"        '1:command:({' '.join(commands)})' \\",
        "        '*::argument:->arguments' && return",
        "    case $words[1] in",
    ]
    for name, command in commands.items():
        lines += [f"        {name})", "            _arguments -s \\"]
        lines += [f"                {quote(spec)} \\" for spec in _specs(command.offers, command.first)]
        lines += ["                && return", "            ;;"]
    lines += [
        "    esac",
        "    return 1",
        "}",
        "",
        'if [[ $funcstack[1] == _airyd ]]; then _airyd "$@"; else compdef _airyd airyd; fi',
        "",
    ]
    return "\n".join(lines)


_BASH_HEAD: Final = """\
# Completion of airyd, and of twistd airyd, in bash. Put this into ~/.local/share/bash-completion/completions/airyd, or
# run: source <(airyd completion bash)

_airyd_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_airyd_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

# $1: the command, $2: the word before, $3: the word to complete, $4: the place of that word among the arguments.
_airyd_command() {
    case $1:$2 in
"""

_BASH_TAIL: Final = """\

_airyd_complete() {
    local first=$1 command=$2
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    # bash takes the equals sign of --name=value for a word of its own.
    [[ $previous == = ]] && previous=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $current == = ]] && current=
    _airyd_command "$command" "$previous" "$current" $((COMP_CWORD - first))
}

_airyd() {
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        _airyd_words "$_airyd_commands" "${COMP_WORDS[1]}"
    else
        _airyd_complete 1 "${COMP_WORDS[1]}"
    fi
}

_twistd_airyd() {
    COMPREPLY=()
    local place
    for ((place = 1; place < COMP_CWORD; place++)); do
        if [[ ${COMP_WORDS[place]} == airyd ]]; then
            _airyd_complete "$place" serve
            return
        fi
    done
}

complete -o default -F _airyd airyd
complete -o default -F _twistd_airyd twistd
"""


def bash_script(top: Sequence[Offer], commands: Mapping[str, CommandOffers]) -> str:
    """Return the script for bash.

    :param top: the options before a command
    """
    lines = []
    for name, command in commands.items():
        for offer in command.offers:
            if offer.value:
                pattern = "|".join(f"{name}:{each}" for each in offer.names)
                lines.append(f"        {pattern}) {_bash_values(offer)} return ;;")
    lines += ["    esac", "    case $1 in"]
    for name, command in commands.items():
        lines.append(f"        {name})")
        if command.first:
            words = " ".join(command.first)
            lines.append(f'            [[ $3 != -* && $4 == 1 ]] && {{ _airyd_words "{words}" "$3"; return; }}')
        lines.append(f'            [[ $3 == -* ]] && _airyd_words "{_names(command.offers)}" "$3"')
        lines.append("            ;;")
    lines += ["    esac", "}", "", f'_airyd_commands="{" ".join(commands)} {_names(top)}"']
    return _BASH_HEAD + "\n".join(lines) + "\n" + _BASH_TAIL


def _bash_values(offer: Offer) -> str:
    if offer.choices:
        return f'_airyd_words "{" ".join(offer.choices)}" "$3";'
    return '_airyd_files "$3";' if offer.value == _FILE else ""


def _names(offers: Sequence[Offer]) -> str:
    return " ".join(name for offer in offers for name in offer.names)

"""The text of ``--help``: the options by subject, each on one line or two."""

from __future__ import annotations

from collections.abc import Iterator

from airyd.config.options import OPTIONS, SHOWING, SUBJECTS, Option

_COLUMN = 36
_INTRODUCTION = """\

Serves Airy's events over STOMP (1.0, 1.1, 1.2) on WebSocket. Publish with airyd publish, or by POST
to the admin page; watch with airyd tail."""
_END = """
An option marked * is repeatable. Each option can also be in the file of --config (log-level = "warn")
or in the environment (AIRYD_LOG_LEVEL=warn). The environment wins over the file, and the command line
over both. airyd config show prints the result. docs/options.rst and twistd-airyd(8) explain each option."""


def describe_options() -> str:
    """Return the text of ``--help`` without its first line, the usage."""
    return "\n".join([*_lines(), _END, ""])


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    for subject in SUBJECTS:
        yield f"\n{subject}:"
        for option in OPTIONS.values():
            if option.subject == subject:
                yield _line(_name(option), f"{option.brief}{_default(option)}")
    yield "\nThese print something and exit:"
    for name, shown in SHOWING.items():
        yield _line(f"--{name}", shown)


def _line(name: str, text: str) -> str:
    return f"  {name:<{_COLUMN - 2}} {text}"


def _name(option: Option) -> str:
    return f"--{option.name}{'=' if option.value else ''}{option.value}{' *' if option.repeatable else ''}"


def _default(option: Option) -> str:
    return f" [{option.default or option.without}]" if option.default or option.without else ""

"""The inventory of airyd's log: every line that its code can write, and who can cause it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
_LEVELS: Final = frozenset(("debug", "info", "warn", "error", "critical", "failure", "emit"))
_FIELD: Final = re.compile(r"\\\{[^}]*\\\}")

#: Lines that a stranger can cause by connecting, with or without a login, or by reaching the admin page.
STRANGERS: Final = (
    "cannot get keys for tokens from {name}: {reason}",
    "cannot watch {destination}: {reason}",
    "connection of {host} with the PROXY protocol dropped: {reason}",
    "login of {peer} cannot be checked: {reason}",
    "login of {peer} refused, {fault}: {reason}",
    "a new token of {peer} refused, subject: {reason}",
    "refused a body from {origin}: {reason}",
    "refused an event for {destination} from {origin}: {reason}",
    "there are {count} connections, the most allowed: more are dropped",
    "{peer} connected",
    "{peer} disconnected: {reason}, after {seconds} s, {events} events",
    "{peer} disconnected: {reason}, after {seconds} s, {events} events, {sent} bytes sent, {received} received",
    "{peer} does not get {destination}: it has as many subscriptions as are allowed",
    "{peer} gets ERROR {kind}",
    "{peer} logged in as {subject}",
    "{peer}: opening handshake refused with {code}: {reason}",
    "some tokens live longer than --token-max-age {max_age:g}: a revoked one is accepted again after that time",
)
#: Lines about a bug, with a traceback; a stranger might find the bug.
BUGS: Final = (
    "a bug has ended the checks of Redis",
    "a call of the timer wheel failed",
    "a command of {peer} failed",
    "a login failed with {error}",
    "a response of the admin page could not be written",
    "an admin request failed",
    "an order of the parent failed",
    "asking the sentinels has ended",
    "cannot ask a sentinel",
    "cannot copy a refused entry",
    "cannot join {destination}",
    "cannot look for the master",
    "cannot watch {destination}",
    "checking the subscription has ended",
    "connecting to Redis has ended",
    "could not stop accepting from a socket",
    "reading from Redis has ended",
    "reading {key} has ended",
    "replay of {destination} failed",
    "revocations can't be read",
    "the event source failed to start",
    "the keys for tokens cannot be read",
    "the sample feed has ended",
)


def lines() -> Iterator[tuple[str, str]]:
    """Yield the format of each line that the daemon's code can write, and its place; not those of ``airyd tail``."""
    for path in sorted((ROOT / "airyd").rglob("*.py")):
        if "cli" in path.relative_to(ROOT).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _is_log(node.func):
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                for argument in node.args:
                    for text in _texts(argument):
                        yield text, place


def _is_log(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr in _LEVELS and ast.unparse(function.value).endswith("log")
    return isinstance(function, ast.Name) and function.id == "log"


def _texts(argument: ast.expr) -> list[str]:
    """Return the formats that an argument can be."""
    if isinstance(argument, ast.IfExp):
        return _texts(argument.body) + _texts(argument.orelse)
    return [argument.value] if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else []


def pattern_of(line: str) -> re.Pattern[str]:
    """Return a pattern that matches the text of a line with this format."""
    return re.compile(_FIELD.sub(".+?", re.escape(line)))

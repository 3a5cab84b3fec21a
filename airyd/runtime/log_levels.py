"""The levels of ``--log-level``: one for all lines, and others for namespaces, such as ``info,airyd.sources=debug``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from twisted.logger import LogLevel

import airyd
from airyd.client.connection_log import CONNECTIONS
from airyd.spelling import did_you_mean

#: The levels; the first one logs all lines. Twisted logs tracebacks as critical, which every level includes.
LEVELS: Final = ("debug", "info", "warn", "error")
DEBUG: Final = LEVELS[0]
DEFAULT_LEVEL: Final = "info"
#: Twisted's loggers of each factory and port that starts or stops; operators rarely need these lines.
_QUIET: Final = ("log_legacy", "twisted.internet.protocol", "twisted.web")
_NAMESPACE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_OWN: Final = "airyd"


class LogLevels:
    """The levels of an option's value; a namespace has the level of the longest name that begins it.

    Namespaces are the modules and classes that log, such as ``airyd.sources.redis.connection.Connection``.

    Raises ``ValueError`` with a text that says what to give instead.
    """

    def __init__(self, text: str) -> None:
        default, *others = text.split(",")
        if default not in LEVELS:
            raise ValueError(
                f"give {', '.join(LEVELS[:-1])} or {LEVELS[-1]}; levels of namespaces may follow: info,airyd.hub=debug"
            )
        self._given: dict[str, str] = {}
        for each in others:
            namespace, _, level = each.partition("=")
            if level not in LEVELS or not _NAMESPACE.fullmatch(namespace):
                raise ValueError(f"{each!r} must be a namespace and a level, such as airyd.hub=debug")
            if namespace in self._given:
                raise ValueError(f"{namespace} is given twice")
            _check_own(namespace)
            self._given[namespace] = level
        self._default = default
        self._found: dict[str, LogLevel] = {}

    def level_of(self, namespace: str) -> LogLevel:
        """Return the lowest level that is logged for a namespace."""
        found = self._found.get(namespace)
        if found is None:
            found = self._found[namespace] = LogLevel.levelWithName(self._find(namespace))
        return found

    def is_debug(self, namespace: str) -> bool:
        """Return whether all levels are logged for a namespace."""
        return bool(self.level_of(namespace) is LogLevel.debug)

    def _find(self, namespace: str) -> str:
        name = namespace
        while name:
            if name in self._given:
                return self._given[name]
            name = name.rpartition(".")[0]
        is_quiet = any(namespace == quiet or namespace.startswith(f"{quiet}.") for quiet in _QUIET)
        return max(self._default, "warn", key=LEVELS.index) if is_quiet and self._default != DEBUG else self._default


def log_levels(text: str) -> str:
    """Check the value of ``--log-level`` and return it; raises ``ValueError``."""
    LogLevels(text)
    return text


def connections_level(levels: str, is_info: bool) -> LogLevel | None:
    """Return the level of the lines about connections; None if no such line would be logged.

    :param is_info: whether ``--log-connections`` was given
    """
    if not is_info and not LogLevels(levels).is_debug(CONNECTIONS):
        return None
    level: LogLevel = LogLevel.info if is_info else LogLevel.debug
    return level


def _check_own(namespace: str) -> None:
    """Raise ``ValueError`` if a namespace that begins with ``airyd`` does not exist."""
    parts = namespace.split(".")
    if parts[0] != _OWN or namespace == CONNECTIONS:
        return
    folder = Path(airyd.__file__).parent
    for part in parts[1:]:
        if (folder / f"{part}.py").is_file():  # a class may follow
            return
        if not (folder / part).is_dir():
            known = [CONNECTIONS.rpartition(".")[2]] if part == parts[1] else []
            known += [each.stem for each in folder.iterdir() if not each.name.startswith("_")]
            raise ValueError(f"airyd has no namespace {namespace}{did_you_mean(part, known)}")
        folder /= part

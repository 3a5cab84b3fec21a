"""Reads the TOML file of ``--config`` into values of options.

A key is the name of an option. Limits are in the table ``[limits]``. A source or an authenticator is a text, as on the
command line, or a table of its own, ``[[source]]`` with ``url`` or ``[[auth]]`` with ``kind``, whose other keys are its
parameters. ``[user-destinations]`` has a claim for each field.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from airyd.config.given import Given
from airyd.config.options import LIMIT, OFF, ON, OPTIONS, Option
from airyd.errors import ConfigurationError
from airyd.files import read_text
from airyd.spelling import closest, did_you_mean

CONFIG: Final = "config"
LIMITS_TABLE: Final = "limits"
#: The options whose values may be tables, and the key that every such table has.
TABLES: Final = {"source": "url", "auth": "kind"}
_FIELDS: Final = "user-destinations"
#: A path of keys and of numbers of an array of tables.
Path = tuple[str | int, ...]

_PLACE: Final = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
#: What decides where a statement of a valid document ends: texts and comments, brackets, and the ends of lines.
_TOKEN: Final = re.compile(
    r'''"""(?:\\.|[^\\])*?"""(?:"{0,2})|"(?:\\.|[^"\\\n])*"|'''
    r"""'''.*?'''(?:'{0,2})|'[^'\n]*'|#[^\n]*|[\[\]{}\n]""",
    re.DOTALL,
)
#: Python neither reads nor writes numbers of more than 4,300 digits, and raises ``ValueError``.
_LONG_NUMBER: Final = "a number has too many digits"
#: Characters of an unknown key that an error quotes.
_SHOWN: Final = 60


def read_config(name: str, path: str, where: str) -> list[Given]:
    """Return the values in a configuration file.

    :param name: the option that names the file, as errors write it
    :param path: the file, as errors write it
    :param where: the file's absolute path, since a daemon may change its working directory

    Raises ``ConfigurationError``, which names the place of the mistake and never quotes a value.
    """
    try:
        text = read_text(name, where)
    except ConfigurationError as error:
        raise ConfigurationError(str(error).replace(f"{name} {where}: ", f"{name} {path}: ", 1)) from None
    try:
        content = tomllib.loads(text)
        lines = find_lines(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: {_describe(error)}") from None
    except ValueError:
        raise ConfigurationError(f"{path}: {_LONG_NUMBER}") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: arrays or tables are nested too deeply") from None
    return list(_File(path, lines).values(content))


def _describe(error: tomllib.TOMLDecodeError) -> str:
    found = _PLACE.fullmatch(str(error))
    if found is None:
        return str(error)
    reason, line, column = found.groups()
    where = "end of the file" if line is None else f"line {line}, column {column}"
    return f"{where}: {reason[:1].lower()}{reason[1:]}"


def find_lines(text: str) -> dict[Path, int]:
    """Return the line of each key and table of a valid document, which the parser does not return.

    A statement (a table's head, or a key with its value) is a valid document by itself, so the parser reads each one.
    """
    found: dict[Path, int] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    for line, statement in _statements(text):
        content = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table = _table_of(content, counts)
            found.setdefault(table, line)
        else:
            _note(found, table, content, line)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each statement of a valid document, with the number of its first line."""
    start, first, line, depth = 0, 1, 1, 0
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
            case "\n" if depth == 0:
                yield first, text[start : token.end()]
                start, first = token.end(), line + 1
        line += token[0].count("\n")
    yield first, text[start:]


def _table_of(head: Mapping[str, Any], counts: dict[Path, int]) -> Path:
    """Return the path of a table.

    :param head: the document that the table's head alone makes
    :param counts: the number of the last table in each array of tables so far
    """
    at: Path = ()
    content = head
    while content:
        ((name, value),) = content.items()
        at = (*at, name)
        if isinstance(value, list):
            counts[at] = counts.get(at, -1) + 1
            value = value[0]
        if at in counts:
            at = (*at, counts[at])
        content = value
    return at


def _note(found: dict[Path, int], at: Path, content: Mapping[str, Any], line: int) -> None:
    for key, value in content.items():
        found.setdefault((*at, key), line)
        if isinstance(value, dict):
            _note(found, (*at, key), value, line)


class _File:
    """Turns the content of a file into values of options.

    :param lines: the lines of keys and tables
    """

    def __init__(self, path: str, lines: Mapping[Path, int]) -> None:
        self._path = path
        self._lines = lines

    def values(self, content: Mapping[str, Any]) -> Iterator[Given]:
        """Yield all values."""
        for key, value in content.items():
            at: Path = (key,)
            option = OPTIONS.get(key)
            if key == LIMITS_TABLE:
                yield from self._limits(value)
            elif option is None or option.subject == LIMIT or key == CONFIG:
                raise self._unknown(key)
            elif key == _FIELDS and isinstance(value, dict):
                for field, claim in value.items():
                    yield self._given(option, f"{field}={self._text(claim, (key, field))}", (key, field))
            elif not option.repeatable:
                yield self._given(option, self._text(value, at, option), at)
            else:
                if value == []:
                    raise self._error(at, "the list is empty; leave the key out for the default")
                values = (
                    [((key, n), each) for n, each in enumerate(value)] if isinstance(value, list) else [(at, value)]
                )
                for place, each in values:
                    if isinstance(each, dict) and key in TABLES:
                        yield self._table(option, each, place)
                    else:
                        yield self._given(option, self._text(each, at), at)

    def _limits(self, content: object) -> Iterator[Given]:
        limits = [name for name, option in OPTIONS.items() if option.subject == LIMIT]
        if not isinstance(content, dict):
            raise self._error(
                (LIMITS_TABLE,), "must be a table: write [limits], and below it lines such as body = 262144"
            )
        for key, value in content.items():
            at = (LIMITS_TABLE, key)
            if key not in limits:
                elsewhere = key in OPTIONS and key != CONFIG
                hint = "; it belongs above the first table of the file" if elsewhere else did_you_mean(key, limits)
                raise self._error(at, f"there is no such limit{hint}")
            yield self._given(OPTIONS[key], self._text(value, at), at)

    def _unknown(self, key: str) -> ConfigurationError:
        """Return the error for a key that is unknown, or belongs elsewhere."""
        limits = [name for name, option in OPTIONS.items() if option.subject == LIMIT]
        known = [*(name for name in OPTIONS if name not in limits and name != CONFIG), LIMITS_TABLE]
        prefixes = [name for name in known if key.startswith(name)]
        limit = closest(key, limits, 0.8)
        if key == CONFIG:
            reason = "a configuration file can't name another one"
        elif key in OPTIONS:
            reason = f"a limit belongs in the table [{LIMITS_TABLE}]"
        elif closest(key, known) is not None:
            reason = f"there is no such option{did_you_mean(key, known)}"
        elif prefixes:
            reason = f"there is no such option; did you mean {prefixes[0]}?"
        elif limit is not None:
            reason = f"there is no such option; did you mean {limit} in the table [{LIMITS_TABLE}]?"
        else:
            reason = "there is no such option; see twistd airyd --help"
        return self._error((key,), reason)

    def _table(self, option: Option, content: Mapping[str, Any], at: Path) -> Given:
        """Return the value of a table of a source or an authenticator."""
        first = TABLES[option.name]
        if first not in content:
            others = [name for name in content if closest(name, [first]) is not None]
            hint = f"; did you mean {first} in place of {others[0]}?" if others else f": write {first} = ..."
            raise self._error((*at, *others[:1]), f"the table needs the key {first}{hint}")
        start = self._text(content[first], (*at, first))
        rest = {name: value for name, value in content.items() if name != first}
        parameters: Sequence[str]
        if option.name == "source":
            parameters = [f"{quote(key, '')}={self._parameter(value, (*at, key))}" for key, value in rest.items()]
            text = start + ("&" if "?" in start else "?") * bool(parameters) + "&".join(parameters)
        else:
            parameters = [self._word(key, value, (*at, key)) for key, value in rest.items() if value is not False]
            text = ":".join([start, *parameters])
        keys = {name: self._label((*at, name)) for name in content}
        return self._given(option, text, at)._replace(keys=keys)

    def _parameter(self, value: object, at: Path) -> str:
        """Return the value of a parameter in a URL."""
        if isinstance(value, list):
            return ",".join(quote(self._text(each, at), "/*:+") for each in value)
        return quote({True: "1", False: "0"}[value] if isinstance(value, bool) else self._text(value, at), "/*:+,")

    def _word(self, key: str, value: object, at: Path) -> str:
        """Return a parameter of an authenticator, which has a value unless that is true."""
        if value is True:
            return key
        text = ",".join(self._text(each, at) for each in value) if isinstance(value, list) else self._text(value, at)
        if text.endswith("\\"):
            raise self._error(at, "the value must not end with a backslash")
        escaped = re.sub(r"([\\:])", r"\\\1", text)
        return f"{key}={escaped}"

    def _given(self, option: Option, text: str, at: Path) -> Given:
        line = self._line(at)
        path = self._path if self._path.isprintable() else ascii(self._path)  # it may stand in a comment
        origin = path if line is None else f"{path}, line {line}"
        return Given(option, text, origin, self._label(at))

    def _text(self, value: object, at: Path, option: Option | None = None) -> str:
        """Return a value as it would be on the command line."""
        if isinstance(value, bool):
            if option is not None and option.is_switch:
                return "true" if value else "false"
            if option is not None and set(option.choices) == {ON, OFF}:
                return ON if value else OFF
        elif isinstance(value, str | int | float):
            try:
                return str(value)
            except ValueError:
                raise self._error(at, _LONG_NUMBER) from None
        elif isinstance(value, list):
            if option is not None and option.name == "heart-beat":
                return ",".join(self._text(each, at) for each in value)
            raise self._error(at, "takes one value, not a list")
        elif isinstance(value, dict):
            raise self._error(at, "takes a value, not a table")
        raise self._error(at, "give a text in quotes, or a number")

    def _line(self, at: Path) -> int | None:
        while at and at not in self._lines:
            at = at[:-1]
        return self._lines.get(at)

    def _label(self, at: Path) -> str:
        """Return how errors name a key: file, line, table and key."""
        line = self._line(at)
        *tables, key = (str(each)[:_SHOWN] for each in at if isinstance(each, str))
        names = [f"[[{name}]]" if name in TABLES else f"[{name}]" for name in tables]
        if isinstance(at[-1], int):
            key = f"[[{key}]]"
        name = " ".join([*names, key if key.isprintable() else repr(key)])
        return f"{self._path}: {'' if line is None else f'line {line}: '}{name}"

    def _error(self, at: Path, reason: str) -> ConfigurationError:
        return ConfigurationError(f"{self._label(at)}: {reason}")

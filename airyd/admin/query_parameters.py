"""The parameters of a request's path and query: their kinds, how each is read, and the schema that describes it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from airyd.admin.responses import HttpError

#: The most parameters of a query.
_MOST: Final = 100
#: The most characters of a filter's field and of its value.
_LONGEST_FILTER: Final = 1000
#: The most ``filter`` parameters of a query.
_MOST_FILTERS: Final = 20
#: Characters of a parameter's name that an error repeats.
_QUOTED: Final = 40


class ParameterKind(ABC):
    """The kind of a parameter's value."""

    @abstractmethod
    def read(self, text: str) -> Any:
        """Return the value; raises ``ValueError`` with what to give instead."""

    @property
    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the value."""


@dataclass(frozen=True, slots=True)
class Text(ParameterKind):
    """A text of printable characters.

    :ivar longest: the most characters
    :ivar shortest: the fewest
    """

    longest: int
    shortest: int = 1

    def read(self, text: str) -> str:
        """See :class:`ParameterKind`."""
        if not self.shortest <= len(text) <= self.longest or not text.isprintable():
            raise ValueError(f"give {self.shortest} to {self.longest} printable characters")
        return text

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`ParameterKind`."""
        return {"type": "string", "minLength": self.shortest, "maxLength": self.longest}


@dataclass(frozen=True, slots=True)
class Whole(ParameterKind):
    """A whole number.

    :ivar least: the smallest
    :ivar most: the largest
    """

    least: int
    most: int

    def read(self, text: str) -> int:
        """See :class:`ParameterKind`."""
        is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(self.most))
        if not is_number or not self.least <= int(text) <= self.most:
            raise ValueError(f"give a whole number from {self.least} to {self.most}")
        return int(text)

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`ParameterKind`."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Number(ParameterKind):
    """A number, which may have a fraction.

    :ivar least: the smallest
    :ivar most: the largest
    """

    least: float
    most: float

    def read(self, text: str) -> float:
        """See :class:`ParameterKind`."""
        try:
            value = float(text) if text.isascii() and "_" not in text else math.nan
        except ValueError:
            value = math.nan
        if not self.least <= value <= self.most:
            raise ValueError(f"give a number from {self.least:g} to {self.most:g}")
        return value

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`ParameterKind`."""
        return {"type": "number", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Choice(ParameterKind):
    """One of the values of an enumeration."""

    choices: type[Enum]

    def read(self, text: str) -> Enum:
        """See :class:`ParameterKind`."""
        try:
            return self.choices(text)
        except ValueError:
            raise ValueError(f"give {', '.join(each.value for each in self.choices)}") from None

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`ParameterKind`."""
        return {"type": "string", "enum": [each.value for each in self.choices]}


@dataclass(frozen=True, slots=True)
class Switch(ParameterKind):
    """Yes or no: ``true`` or ``false``."""

    def read(self, text: str) -> bool:
        """See :class:`ParameterKind`."""
        if text not in ("true", "false"):
            raise ValueError("give true or false")
        return text == "true"

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`ParameterKind`."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class FieldValue(ParameterKind):
    """A field of an event's body and a value that it may have: ``field:value``."""

    def read(self, text: str) -> tuple[str, str]:
        """See :class:`ParameterKind`."""
        name, colon, value = text.partition(":")
        if not (name and colon) or len(text) > _LONGEST_FILTER:
            raise ValueError(f"give field:value, at most {_LONGEST_FILTER} characters")
        return name, value

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`ParameterKind`."""
        return {"type": "string", "pattern": "^[^:]+:", "maxLength": _LONGEST_FILTER}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a route.

    :ivar text: what it means, in one sentence
    :ivar default: the value if the request does not give it; None if it may be missing
    :ivar is_required: whether a request must give it
    :ivar is_repeatable: whether it may be given several times; its value is then a list
    :ivar needs_full: whether only the full token may give it (and a switch: turn it on)
    """

    name: str
    kind: ParameterKind
    text: str
    default: Any = None
    is_required: bool = False
    is_repeatable: bool = False
    needs_full: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the value."""
        if self.is_repeatable:
            return {"type": "array", "items": self.kind.schema, "maxItems": _MOST_FILTERS}
        default = self.default.value if isinstance(self.default, Enum) else self.default
        return self.kind.schema if default is None else {**self.kind.schema, "default": default}


@dataclass(frozen=True, slots=True)
class ParameterValues:
    """The values of a request's parameters.

    :ivar given: those in the request
    :ivar values: those and the defaults
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    given: frozenset[str] = frozenset()

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def read_query(parameters: Sequence[Parameter], query: str) -> ParameterValues:
    """Return the values in the query of a request.

    :param query: percent-encoded, without the question mark

    Errors: ``HttpError`` (400), for parameters that are unknown, malformed, missing or given twice.
    """
    known = {each.name: each for each in parameters}
    values: dict[str, Any] = {each.name: [] if each.is_repeatable else each.default for each in parameters}
    given: set[str] = set()
    for name, text in _split(query):
        parameter = known.get(name)
        if parameter is None:
            shown = name[:_QUOTED] if name.isprintable() else "this name"
            names = f"; there are {', '.join(known)}" if known else ""
            raise _wrong(f"there is no parameter {shown} here{names}")
        if name in given and not parameter.is_repeatable:
            raise _wrong(f"give {name} once")
        given.add(name)
        try:
            value = parameter.kind.read(text)
        except ValueError as error:
            raise _wrong(f"{name}: {error}") from None
        if not parameter.is_repeatable:
            values[name] = value
        elif len(values[name]) < _MOST_FILTERS:
            values[name].append(value)
        else:
            raise _wrong(f"give {name} at most {_MOST_FILTERS} times")
    for each in parameters:
        if each.is_required and each.name not in given:
            raise _wrong(f"{each.name} is needed")
    return ParameterValues(values, frozenset(given))


def _split(query: str) -> Sequence[tuple[str, str]]:
    """Return the names and values of a query."""
    try:
        query.encode("ascii")
        return parse_qsl(query, True, bool(query), errors="strict", max_num_fields=_MOST)
    except ValueError:  # also UnicodeError
        raise _wrong(f"the query is not at most {_MOST} times name=value, percent-encoded in UTF-8") from None


def _wrong(reason: str) -> HttpError:
    return HttpError(HTTPStatus.BAD_REQUEST, reason)

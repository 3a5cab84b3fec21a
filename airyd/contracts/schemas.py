"""JSON Schemas of structs, described by their docstrings: what follows ``:ivar name:`` describes this property."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from inspect import cleandoc
from typing import Any, Final

import msgspec

_IVAR: Final = re.compile(r"^:ivar (\w+): ", re.MULTILINE)
_ROLE: Final = re.compile(r":\w+:`([^`]*)`")


def struct_schemas(structs: Iterable[type[msgspec.Struct]], hidden: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Return the schemas of these structs, and of those that they refer to, by name.

    They refer to each other in ``#/components/schemas/``.

    :param hidden: properties that are left out
    """
    kinds = list(dict.fromkeys(structs))
    _, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    partial = {each.__name__ for each in kinds if each.__struct_config__.omit_defaults}
    return {name: _describe(schema, hidden, is_partial=name in partial) for name, schema in sorted(components.items())}


def reference(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return a reference to the schema of a struct."""
    return {"$ref": f"#/components/schemas/{struct.__name__}"}


def _describe(schema: dict[str, Any], hidden: Collection[str], *, is_partial: bool) -> dict[str, Any]:
    """Return the schema of a struct or an enumeration with the descriptions of its docstring.

    :param is_partial: whether the JSON leaves out fields that have their defaults
    """
    text, *ivars = _IVAR.split(cleandoc(schema.get("description", "")))  # msgspec 0.22 keeps the indentation
    described = dict(zip(ivars[::2], ivars[1::2], strict=True))
    result = {name: value for name, value in schema.items() if name != "title"}
    result["description"] = plain(text)
    if "properties" not in schema:
        return result
    properties = {}
    for name, value in schema["properties"].items():
        if name not in hidden:
            properties[name] = {key: item for key, item in value.items() if key != "default"}
            if name in described:
                properties[name]["description"] = plain(described[name])
    required = schema.get("required", ()) if is_partial else properties
    return {**result, "properties": properties, "required": [each for each in required if each in properties]}


def plain(text: str) -> str:
    """Return a docstring's text as CommonMark, with JSON's words."""
    text = _ROLE.sub(r"\1", " ".join(text.split())).replace("``", "`")
    return re.sub(r"\bNone\b", "null", text)

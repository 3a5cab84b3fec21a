"""Checks the values that options and arguments of several commands have; errors are ``ValueError``, for the user."""

from __future__ import annotations

from typing import Final

from airyd.cli.parser import CommandParser
from airyd.cli.urls import QUOTED
from airyd.events import DESTINATION
from airyd.limits import LONGEST_PATTERN
from airyd.patterns import ANY_SEGMENT, Pattern

#: The default largest number of an option.
_MOST: Final = 10**15


def add_token_file(parser: CommandParser, what: str, variable: str) -> None:
    """Add ``--token-file``, in place of which an environment variable may have the token."""
    text = f"file with {what} [default: the environment variable {variable}]"
    parser.option("--token-file", metavar="FILE", type=file_name, help=text)


def add_ca_file(parser: CommandParser, scheme: str) -> None:
    """Add ``--ca-file``, for URLs with this scheme."""
    text = f"for {scheme}: PEM file with CA certificates to verify the server with [default: the system's]"
    parser.option("--ca-file", metavar="FILE", type=file_name, help=text)


def whole_number(number: str, most: int = _MOST) -> int:
    """Read a positive whole number."""
    if number.isascii() and number.isdecimal() and len(number) <= len(str(most)) and 0 < int(number) <= most:
        return int(number)
    raise ValueError(f"give a whole number from 1 to {most}, not {number[:QUOTED]!r}")


def file_name(path: str) -> str:
    """Check the path of a file, which is read later."""
    if not path:
        raise ValueError("give the path of a file")
    return path


def destination_name(name: str) -> str:
    """Check the name of a destination."""
    if ANY_SEGMENT in name:
        raise ValueError(f"{name[:QUOTED]!r} is a pattern; name one destination, such as /queue/message")
    if not DESTINATION.match(name):
        raise ValueError(f"{name[:QUOTED]!r} is not a destination; one looks like /queue/message")
    return name


def destination_or_pattern(text: str) -> str:
    """Check the name of a destination, or a pattern (``airyd.patterns``)."""
    if ANY_SEGMENT not in text:
        return destination_name(text)
    if len(text) > LONGEST_PATTERN:
        raise ValueError(f"a pattern has at most {LONGEST_PATTERN} characters")
    return Pattern(text).text

"""The catalogue of destinations: checks names, and reads ``--destinations-file`` at the start and on SIGHUP."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from airyd.config.settings import DestinationsFile
from airyd.errors import ConfigurationError
from airyd.events import DESTINATION, RESERVED_PREFIX, USER_PREFIX
from airyd.files import read_text

OPTION: Final = "--destinations-file"


def check_name(name: str, present: Collection[str], has_user_destinations: bool) -> None:
    """Raise ``ValueError`` with the reason if this name can't be added to the destinations ``present``."""
    if not DESTINATION.match(name):
        raise ValueError("give a path such as /queue/tags, of letters, digits and ._~/+@%-")
    if name.startswith(RESERVED_PREFIX):
        raise ValueError(f"names that begin with {RESERVED_PREFIX} are airyd's own")
    if has_user_destinations and name.startswith(USER_PREFIX):
        raise ValueError(f"with --user-destinations, names that begin with {USER_PREFIX} are user destinations")
    if name in present:
        raise ValueError("this destination exists already")


def read_catalogue(file: DestinationsFile) -> list[str]:
    """Return the whole catalogue. The file has one name per line; a ``#`` begins a comment.

    Raises ``ConfigurationError`` if the file can't be read or has an invalid name, which the error quotes.
    """
    names = dict.fromkeys(file.others)  # a dict finds a name at once, however many there are
    for number, line in enumerate(read_text(OPTION, file.path).splitlines(), 1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        try:
            check_name(name, names, file.has_user_destinations)
        except ValueError as error:
            raise ConfigurationError(f"{OPTION} {file.path}: line {number}: {name[:200]!r}: {error}") from None
        names[name] = None
    return list(names)

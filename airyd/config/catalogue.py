"""The catalogue: the names that destinations may have, and the file that may name more of them while airyd runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from twisted.logger import Logger

from airyd.config.settings import DestinationsFile
from airyd.errors import ConfigurationError
from airyd.events import DESTINATION, OWN, STATUS, share_a_tag
from airyd.files import read_text
from airyd.sources.routing import assign_destinations

OPTION: Final = "--destinations-file"

_log = Logger()


def check_name(name: str, present: Collection[str]) -> None:
    """Raise ``ValueError``, which says why, for what can't be added to these destinations."""
    if not DESTINATION.match(name):
        raise ValueError("give a path such as /queue/tags, of letters, digits and ._~/+@%-")
    if name.startswith(OWN):
        raise ValueError(f"what begins with {OWN} is airyd's own")
    if name in present:
        raise ValueError("it is there already")


def read_catalogue(file: DestinationsFile) -> list[str]:
    """Return the whole catalogue: one name a line of the file; what follows a ``#`` is for people.

    Raises ``ConfigurationError`` if the file can't be read, or names what can't be. The file has no secrets.
    """
    names = list(file.others)
    for number, line in enumerate(read_text(OPTION, file.path).splitlines(), 1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        try:
            check_name(name, names)
        except ValueError as error:
            raise ConfigurationError(f"{OPTION} {file.path}: line {number}: {name[:200]!r}: {error}") from None
        names.append(name)
    return names


def read_additions(file: DestinationsFile, catalogue: Collection[str]) -> list[str]:
    """Return what the file has beyond a catalogue that was read from it earlier.

    Raises ``ConfigurationError`` as :func:`read_catalogue` does, and for a file that lacks some of it.
    """
    names = read_catalogue(file)
    missing = sorted(set(catalogue) - set(names))
    if missing:
        raise ConfigurationError(
            f"{OPTION} {file.path}: it has no more {', '.join(missing)}: restart airyd to take a destination away, "
            "or write it again"
        )
    return [name for name in names if name not in catalogue]


def reload_catalogue(
    file: DestinationsFile | None,
    catalogue: Sequence[str],
    sources: Sequence[str],
    extend: Callable[[Sequence[str]], None],
) -> None:
    """Read the file again, add what is new to the catalogue, and tell the log; what is wrong leaves all as it is.

    :param sources: the URLs of the sources, one of which must have each destination
    :param extend: adds to the catalogue
    """
    if file is None:
        _log.warn("there is nothing to load again: {option} was not given", option=OPTION)
        return
    try:
        names = read_additions(file, catalogue)
        if share_a_tag([*catalogue, *names, STATUS]):
            raise ConfigurationError(
                f"{OPTION} {file.path}: two destinations have the same tag in message ids; rename one"
            )
        assign_destinations(sources, [*catalogue, *names])
    except ConfigurationError as error:
        _log.error("the destinations stay as they are: {reason}", reason=str(error))
        return
    if names:
        extend(names)
    _log.info("destinations added from {path}: {names}", path=file.path, names=", ".join(names) or "none")

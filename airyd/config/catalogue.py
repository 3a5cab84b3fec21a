"""The catalogue of destinations: checks names, and reads ``--destinations-file`` at start and on SIGHUP."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from twisted.logger import Logger

from airyd.config.settings import DestinationsFile
from airyd.errors import ConfigurationError
from airyd.events import DESTINATION, RESERVED_PREFIX, STATUS, USER_PREFIX, share_a_tag
from airyd.files import read_text
from airyd.sources.routing import assign_destinations

OPTION: Final = "--destinations-file"

_log = Logger()


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
    names = list(file.others)
    for number, line in enumerate(read_text(OPTION, file.path).splitlines(), 1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        try:
            check_name(name, names, file.has_user_destinations)
        except ValueError as error:
            raise ConfigurationError(f"{OPTION} {file.path}: line {number}: {name[:200]!r}: {error}") from None
        names.append(name)
    return names


def read_additions(file: DestinationsFile, catalogue: Collection[str]) -> list[str]:
    """Return the names in the file that the current catalogue does not have.

    Raises ``ConfigurationError`` as :func:`read_catalogue` does, and if a name of the catalogue is missing.
    """
    names = read_catalogue(file)
    missing = sorted(set(catalogue) - set(names))
    if missing:
        raise ConfigurationError(
            f"{OPTION} {file.path}: the file lacks {', '.join(missing)}: restart airyd to remove a destination, "
            "or add it to the file again"
        )
    return [name for name in names if name not in catalogue]


def reload_catalogue(
    file: DestinationsFile | None,
    catalogue: Sequence[str],
    sources: Sequence[str],
    extend: Callable[[Sequence[str]], None],
) -> None:
    """Read the file again, add its new destinations and log them; an error in it is logged and changes nothing.

    :param sources: the URLs of the sources; each destination must belong to one of them
    :param extend: adds destinations to the catalogue
    """
    if file is None:
        _log.warn("nothing to reload: {option} was not given", option=OPTION)
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

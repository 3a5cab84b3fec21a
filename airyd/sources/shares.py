"""Which source has which destinations, where there are several: ``?destinations=`` in their URLs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote

from airyd.errors import ConfigurationError
from airyd.patterns import Pattern

#: The parameter of a URL that no source gets to see: patterns, with commas between them.
PARAMETER: Final = "destinations"


class Share(NamedTuple):
    """A source, and its part of the catalogue.

    :ivar url: of the source, without the patterns
    :ivar name: the patterns, as they were given; empty if the source has everything
    """

    url: str
    name: str
    destinations: Sequence[str]


def share_out(urls: Sequence[str], catalogue: Sequence[str]) -> list[Share]:
    """Return what each source has, so that each destination of the catalogue is in one and no other.

    Raises ``ConfigurationError``, whose text shows nothing of a URL but its scheme and its patterns.
    """
    shares = [_share(url, catalogue, is_alone=len(urls) == 1) for url in urls]
    for destination in catalogue:
        owners = [share.name for share in shares if destination in share.destinations]
        if not owners:
            raise ConfigurationError(f"--source: no source has {destination}: add it to the {PARAMETER}= of one")
        if len(owners) > 1:
            both = f" and {PARAMETER}=".join(owners)
            raise ConfigurationError(f"--source: {destination} is in {PARAMETER}={both}: only one source can have it")
    return shares


def _share(url: str, catalogue: Sequence[str], is_alone: bool) -> Share:
    scheme = url.partition(":")[0]
    rest, names = _take_patterns(url)
    if len(names) > 1:
        raise ConfigurationError(f"--source {scheme}: parameter {PARAMETER!r} is given twice")
    if not names:
        if is_alone:
            return Share(url, "", catalogue)
        raise ConfigurationError(
            f"--source {scheme}: where there are several sources, each says what it has, as in ?{PARAMETER}=/queue/*"
        )
    found: dict[str, None] = {}
    for text in names[0].split(","):
        try:
            pattern = Pattern(text)
        except ValueError as error:
            raise ConfigurationError(f"--source {scheme}: {PARAMETER}: {error}") from None
        meant = [destination for destination in catalogue if pattern.matches(destination)]
        if not meant:
            raise ConfigurationError(
                f"--source {scheme}: {PARAMETER}={text} is nothing of the catalogue; there are: {', '.join(catalogue)}"
            )
        found.update(dict.fromkeys(meant))
    return Share(rest, names[0], tuple(found))


def without_patterns(url: str) -> str:
    """Return a source's URL as the source itself gets to see it."""
    return _take_patterns(url)[0]


def _take_patterns(url: str) -> tuple[str, list[str]]:
    """Return the URL without the parameter, and the parameter's values."""
    address, mark, query = url.partition("?")
    parts = query.split("&") if mark else []
    mine = [part for part in parts if _is_mine(part)]
    others = [part for part in parts if part not in mine]
    rest = "&".join(others)
    return f"{address}?{rest}" if others else address, [unquote(part.partition("=")[2]) for part in mine]


def _is_mine(part: str) -> bool:
    name, equals, _ = part.partition("=")
    return bool(equals) and unquote(name) == PARAMETER

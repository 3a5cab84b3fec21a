"""The parser of the query parameters in a ``--source`` URL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote

from airyd.errors import ConfigurationError
from airyd.parameters import NOWHERE, Parameters
from airyd.sources.routing import PARAMETER


class Query(Parameters):
    """The parameters after a URL's ``?``. Names and values may be percent-encoded; a ``+`` is a plus sign.

    :ivar scheme: the URL's scheme
    :ivar rest: the text between the scheme and the ``?``; :meth:`finish` refuses it unless it is empty
    """

    def __init__(self, url: str) -> None:
        address, _, query = url.partition("?")
        self.scheme, _, self.rest = address.partition(":")
        if not url.isprintable():  # a URL parser would leave them out, and connect to another host
            raise ConfigurationError(f"{self.scheme}: the URL has a character that is not printable")
        super().__init__(self.scheme, _pairs(self.scheme, query))

    def flag(self, name: str) -> bool:
        """Return whether a parameter is ``1``, not ``0``; False if it is missing."""
        return self.choice(name, ("0", "1")) == "1"

    def finish(self, elsewhere: Mapping[str, str] = NOWHERE) -> None:
        """Refuse unknown parameters, and text before the ``?``; see :meth:`Parameters.finish`."""
        if self.rest:
            raise self.error("nothing may stand between ':' and '?'")  # it may be a password
        super().finish(elsewhere)

    def describe_unknown(self, number: int, name: str, known: Sequence[str]) -> str:
        """See :meth:`Parameters.describe_unknown`. Every URL also takes ``destinations``, which the router reads."""
        return super().describe_unknown(number, name, [*known, PARAMETER])


def _pairs(scheme: str, query: str) -> Iterator[tuple[str, str]]:
    for part in query.split("&") if query else ():
        name, equals, value = part.partition("=")
        name = unquote(name)
        if not name or not equals:
            # The part may be a piece of a password, so it is not quoted.
            raise ConfigurationError(f"{scheme}: expected name=value after '?' and after each '&'")
        try:
            yield name, unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise ConfigurationError(f"{scheme}: parameter {name!r} is not UTF-8") from None

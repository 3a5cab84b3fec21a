"""Where events come from: sources, found as plugins by the scheme of their URL."""

from __future__ import annotations

import re
from typing import Final

from twisted.plugin import getPlugins

from airyd.errors import ConfigurationError
from airyd.interfaces import IEventSource, IEventSourceParser, SourceContext
from airyd.spelling import did_you_mean

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")

#: See ``airyd.sources.routing``.
_SEVERAL: Final = """\
With more than one --source, each says which destinations it has:
    destinations   patterns with commas between them: /queue/message, /queue/* (any one
                   segment), /queue/** (any number of segments)"""


def make_source(url: str, context: SourceContext) -> IEventSource:
    """Return the source that the URL names, such as ``memory:?history=100``; nothing is opened yet.

    Errors: ``ConfigurationError`` whose text shows no password.
    """
    try:
        return _parser_of(url).parse(url, context)
    except ConfigurationError as error:
        raise ConfigurationError(f"--source {error}") from None


def is_shared(url: str) -> bool:
    """Say whether processes that have this URL have the same feed.

    Raises ``ConfigurationError`` for one that nobody reads.
    """
    try:
        return bool(_parser_of(url).shared)
    except ConfigurationError as error:
        raise ConfigurationError(f"--source {error}") from None


def _parser_of(url: str) -> IEventSourceParser:
    scheme = url.partition(":")[0].lower()
    parsers = {parser.scheme: parser for parser in getPlugins(IEventSourceParser)}
    if scheme in parsers:
        return parsers[scheme]
    known = ", ".join(f"{each}:" for each in sorted(parsers))
    if not _SCHEME.fullmatch(scheme):  # nobody knows what it is: perhaps a password
        raise ConfigurationError(f"must begin with the kind of the source. There are: {known}")
    meant = did_you_mean(scheme, parsers, "{}:")
    raise ConfigurationError(f"{scheme}: there is no such event source{meant} There are: {known}")


def describe_sources() -> str:
    """Return the text of ``--help-sources``: each source's own, in order of their schemes, and what all have."""
    parsers = sorted(getPlugins(IEventSourceParser), key=lambda parser: str(parser.scheme))
    return "\n\n".join([*(parser.help.strip() for parser in parsers), _SEVERAL])

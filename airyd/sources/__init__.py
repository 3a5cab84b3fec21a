"""Event sources: finds the plugin for the scheme of a ``--source`` URL, and the text of ``--help-sources``."""

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
With more than one --source, each URL must name its destinations:
    destinations   patterns separated by commas, such as /queue/message,/queue/channel/*
                   (* matches one segment, ** at the end one or more)"""


def make_source(url: str, context: SourceContext) -> IEventSource:
    """Return the source of a URL such as ``memory:?history=100``; no connection is opened yet.

    Errors: ``ConfigurationError`` whose text shows no password.
    """
    try:
        return _parser_of(url).parse(url, context)
    except ConfigurationError as error:
        raise ConfigurationError(f"--source {error}", error.parameter) from None


def is_shared(url: str) -> bool:
    """Return whether all processes with this URL get the same feed.

    Raises ``ConfigurationError`` for an unknown scheme.
    """
    try:
        return bool(_parser_of(url).shared)
    except ConfigurationError as error:
        raise ConfigurationError(f"--source {error}", error.parameter) from None


def _parser_of(url: str) -> IEventSourceParser:
    scheme = url.partition(":")[0].lower()
    parsers = {parser.scheme: parser for parser in getPlugins(IEventSourceParser)}
    if scheme in parsers:
        return parsers[scheme]
    known = ", ".join(f"{each}:" for each in sorted(parsers))
    if not _SCHEME.fullmatch(scheme):  # do not quote it: it may be a password
        raise ConfigurationError(f"must begin with the kind of the source. There are: {known}")
    meant = did_you_mean(scheme, parsers, "{}:")
    raise ConfigurationError(f"{scheme}: there is no such event source{meant} There are: {known}")


def describe_sources() -> str:
    """Return the text of ``--help-sources``: the help of each source, sorted by scheme, and the common parameter."""
    parsers = sorted(getPlugins(IEventSourceParser), key=lambda parser: str(parser.scheme))
    return "\n\n".join([*(parser.help.strip() for parser in parsers), _SEVERAL])

"""Where events come from: sources, found as plugins by the scheme of their URL."""

from __future__ import annotations

from typing import Final

from twisted.plugin import getPlugins

from airyd.errors import ConfigurationError
from airyd.interfaces import IEventSource, IEventSourceParser, SourceContext

#: See ``airyd.sources.shares``.
_SEVERAL: Final = """\
With more than one --source, each says which destinations it has:
    destinations   patterns with commas between them: /queue/message, /queue/* (any one
                   segment), /queue/** (any number of segments)"""


def make_source(url: str, context: SourceContext) -> IEventSource:
    """Return the source that the URL names, such as ``memory:?history=100``; nothing is opened yet.

    Errors: ``ConfigurationError`` whose text shows no password.
    """
    return _parser_of(url).parse(url, context)


def is_shared(url: str) -> bool:
    """Say whether processes that have this URL have the same feed.

    Raises ``ConfigurationError`` for one that nobody reads.
    """
    return bool(_parser_of(url).shared)


def _parser_of(url: str) -> IEventSourceParser:
    scheme = url.partition(":")[0].lower()
    parsers = list(getPlugins(IEventSourceParser))
    for parser in parsers:
        if parser.scheme == scheme:
            return parser
    known = ", ".join(sorted({f"{parser.scheme}:" for parser in parsers}))
    raise ConfigurationError(f"no event source is called {scheme!r}; there are: {known}")


def describe_sources() -> str:
    """Return the text of ``--help-sources``: each source's own, in order of their schemes, and what all have."""
    parsers = sorted(getPlugins(IEventSourceParser), key=lambda parser: str(parser.scheme))
    return "\n\n".join([*(parser.help.strip() for parser in parsers), _SEVERAL])

"""Where events come from: sources, found as plugins by the scheme of their URL."""

from __future__ import annotations

from twisted.plugin import getPlugins

from airyd.errors import ConfigurationError
from airyd.interfaces import IEventSource, IEventSourceParser, SourceContext


def make_source(url: str, context: SourceContext) -> IEventSource:
    """Return the source that the URL names, such as ``memory:?history=100``; nothing is opened yet.

    Errors: ``ConfigurationError`` whose text shows no password.
    """
    scheme = url.partition(":")[0].lower()
    parsers = list(getPlugins(IEventSourceParser))
    for parser in parsers:
        if parser.scheme == scheme:
            return parser.parse(url, context)
    known = ", ".join(sorted({f"{parser.scheme}:" for parser in parsers}))
    raise ConfigurationError(f"no event source is called {scheme!r}; there are: {known}")


def describe_sources() -> str:
    """Return the text of ``--help-sources``: each source's own, in order of their schemes."""
    parsers = sorted(getPlugins(IEventSourceParser), key=lambda parser: str(parser.scheme))
    return "\n\n".join(parser.help.strip() for parser in parsers)

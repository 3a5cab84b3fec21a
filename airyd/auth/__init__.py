"""Who may come in and do what: authenticators, found as plugins by the first word of their spec."""

from __future__ import annotations

from twisted.plugin import getPlugins

from airyd.errors import ConfigurationError
from airyd.interfaces import AccessContext, IAuthenticator, IAuthenticatorParser
from airyd.spelling import did_you_mean


def make_authenticator(spec: str, context: AccessContext) -> IAuthenticator:
    """Return the authenticator that the spec names, such as ``anonymous:send``.

    Errors: ``ConfigurationError`` that repeats only the spec's first word.
    """
    name, _, arguments = spec.partition(":")
    parsers = list(getPlugins(IAuthenticatorParser))
    for parser in parsers:
        if parser.name == name:
            return parser.parse(arguments, context)
    known = sorted({str(parser.name) for parser in parsers})
    meant = did_you_mean(name, known)
    raise ConfigurationError(f"--auth: there is no authenticator {name!r}{meant} There are: {', '.join(known)}")


def describe_authenticators() -> str:
    """Return the text of ``--help-auth``: each authenticator's own, in order of their names."""
    parsers = sorted(getPlugins(IAuthenticatorParser), key=lambda parser: str(parser.name))
    return "\n\n".join(parser.help.strip() for parser in parsers)

"""Authenticators: finds the plugin that an ``--auth`` names, and the text of ``--help-auth``."""

from __future__ import annotations

from twisted.plugin import getPlugins

from airyd.errors import ConfigurationError
from airyd.interfaces import AuthenticatorContext, IAuthenticator, IAuthenticatorParser
from airyd.spelling import did_you_mean


def make_authenticator(spec: str, context: AuthenticatorContext) -> IAuthenticator:
    """Return the authenticator that a spec such as ``anonymous:send`` names.

    Errors: ``ConfigurationError``, which quotes only the spec's first word.
    """
    name, _, arguments = spec.partition(":")
    parsers = list(getPlugins(IAuthenticatorParser))
    for parser in parsers:
        if parser.name == name:
            try:
                return parser.parse(arguments, context)
            except ConfigurationError as error:
                raise ConfigurationError(str(error), error.parameter, spec) from None
    known = sorted({str(parser.name) for parser in parsers})
    meant = did_you_mean(name, known)
    text = f"--auth: there is no authenticator {name!r}{meant} There are: {', '.join(known)}"
    raise ConfigurationError(text, value=spec)


def describe_authenticators() -> str:
    """Return the text of ``--help-auth``: the help of each authenticator, sorted by name."""
    parsers = sorted(getPlugins(IAuthenticatorParser), key=lambda parser: str(parser.name))
    return "\n\n".join(parser.help.strip() for parser in parsers)

"""The plugins by which twistd finds the source and the authenticator; both are imported when they are asked for."""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import implementer

from airyd.interfaces import (
    AuthenticatorContext,
    IAuthenticator,
    IAuthenticatorParser,
    IEventSource,
    IEventSourceParser,
    SourceContext,
)


@implementer(IPlugin, IEventSourceParser)
class TickerParser:
    """``--source ticker:``."""

    scheme = "ticker"
    shared = False
    help = """\
ticker:[?seconds=N]
    The time, for every destination that somebody watches.
    seconds        from one event to the next (default 1)"""

    def parse(self, url: str, context: SourceContext) -> IEventSource:
        from ticker import parse

        return parse(url, context)


@implementer(IPlugin, IAuthenticatorParser)
class PasscodeParser:
    """``--auth passcode:``."""

    name = "passcode"
    help = """\
passcode:VARIABLE
    Clients that show the passcode in this environment variable are let in."""

    def parse(self, arguments: str, context: AuthenticatorContext) -> IAuthenticator:
        from passcode import parse

        return parse(arguments, context)


ticker = TickerParser()
passcode = PasscodeParser()

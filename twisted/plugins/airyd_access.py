"""The names of airyd's authenticators; what they need is imported when one is asked for."""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import implementer

from airyd.interfaces import IAuthenticator, IAuthenticatorParser


@implementer(IPlugin, IAuthenticatorParser)
class AnonymousParser:
    """``anonymous``, everybody is let in."""

    name = "anonymous"
    help = """\
anonymous[:public][:send]
    Everybody is let in and sees every event.
    public         also when airyd listens on an address that isn't loopback
    send           clients may SEND, too"""

    def parse(self, arguments: str) -> IAuthenticator:
        """Make the authenticator (``IAuthenticatorParser``)."""
        from airyd.access.anonymous import parse

        return parse(arguments)


anonymous = AnonymousParser()

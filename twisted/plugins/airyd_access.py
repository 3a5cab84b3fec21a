"""The names of airyd's authenticators; what they need is imported when one is asked for."""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import implementer

from airyd.interfaces import AccessContext, IAuthenticator, IAuthenticatorParser


@implementer(IPlugin, IAuthenticatorParser)
class AnonymousParser:
    """``anonymous``, everybody is let in."""

    name = "anonymous"
    help = """\
anonymous[:public][:send]
    Everybody is let in and sees every event; beside another --auth, everybody who
    shows neither a token nor a login.
    public         also when airyd listens on an address that isn't loopback
    send           clients may SEND, too"""

    def parse(self, arguments: str, context: AccessContext) -> IAuthenticator:
        """Make the authenticator (``IAuthenticatorParser``)."""
        from airyd.access.anonymous import parse

        return parse(arguments)


@implementer(IPlugin, IAuthenticatorParser)
class TokenParser:
    """``jwt``, whoever shows a good token is let in."""

    name = "jwt"
    help = """\
jwt:WHERE-THE-KEY-IS[:NAME=VALUE...]
    Whoever shows a good JSON Web Token is let in, and may do what it says. The key is
    one of these, and says which algorithm is good:
    secret-file=   a file with the secret of HS256
    secret-env=    the name of an environment variable with the secret of HS256
    key-file=      a PEM file with a public key or certificate (RS256, ES256, EdDSA)
    jwks=          a file, or an https: URL, with a JWK Set; the token's kid chooses
    and further:
    base64         the secret is base64, as Airy's
    ca-file=       who signs the certificate of the jwks' server, as PEM
    issuer=        what the token's iss must be
    audience=      what must be in the token's aud
    leeway=        seconds that clocks may differ (default 0)
    subject-claim= the claim that names the user (default sub)
    allow-eternal  a token may have no exp
    cookie=        the name of a cookie that may hold the token
    subscribe-claim=, send-claim=, only-claim=, missing-claim=
                   the claims with what may be done (default subscribe, send, ...)
    A colon in a value is written \\: unless a slash or a digit follows it."""

    def parse(self, arguments: str, context: AccessContext) -> IAuthenticator:
        """Make the authenticator (``IAuthenticatorParser``)."""
        from airyd.access.jwt import parse

        return parse(arguments, context)


anonymous = AnonymousParser()
jwt = TokenParser()

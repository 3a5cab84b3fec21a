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
        from airyd.auth.anonymous import parse

        return parse(arguments)


@implementer(IPlugin, IAuthenticatorParser)
class TokenParser:
    """``jwt``, whoever shows a good token is let in."""

    name = "jwt"
    help = """\
jwt:WHERE-THE-KEY-IS[:NAME=VALUE...]
    Whoever shows a good JSON Web Token is let in, and may do what it says. The keys of
    an issuer are in one of these, up to 8, and any of them is good:
    secret-file=   a file with secrets, one on each line (HS256)
    secret-env=    the name of an environment variable with the same
    key-file=      a PEM file with public keys or certificates (RS256, ES256, EdDSA)
    jwks=          a file, or an https: URL, with a JWK Set; the token's kid chooses
    and further:
    base64         the secrets are base64, as Airy's
    alg=           the algorithms that are good, such as HS512 or RS256,PS256
                   (default: those in parentheses)
    ca-file=       who signs the certificate of the jwks' server, as PEM
    issuer=        what the token's iss must be
    audience=      what must be in the token's aud
    leeway=        seconds that clocks may differ (default 5 for nbf, 0 for exp and iat)
    subject-claim= the claim that names the user (default sub)
    allow-eternal  a token may have no exp, or one in more than ten years
    cookie=        the name of a cookie that may hold the token
    subscribe-claim=, send-claim=, only-claim=, missing-claim=
                   the claims with what may be done (default subscribe, send, ...)
    A colon in a value is written \\: unless a slash or a digit follows it."""

    def parse(self, arguments: str, context: AccessContext) -> IAuthenticator:
        """Make the authenticator (``IAuthenticatorParser``)."""
        from airyd.auth.jwt.authenticator import parse

        return parse(arguments, context)


anonymous = AnonymousParser()
jwt = TokenParser()

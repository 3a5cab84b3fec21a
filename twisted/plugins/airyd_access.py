"""The twistd plugins of airyd's authenticators, which import an authenticator when it is used."""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import implementer

from airyd.interfaces import AccessContext, IAuthenticator, IAuthenticatorParser


@implementer(IPlugin, IAuthenticatorParser)
class AnonymousParser:
    """The plugin of ``anonymous``, which accepts every client."""

    name = "anonymous"
    help = """\
anonymous[:public][:send]
    Accepts every client, which may see every event; beside another --auth, only
    clients without a token or login.
    public         also allow addresses that aren't loopback
    send           clients may also SEND"""

    def parse(self, arguments: str, context: AccessContext) -> IAuthenticator:
        """Make the authenticator (``IAuthenticatorParser``)."""
        from airyd.auth.anonymous import parse

        return parse(arguments)


@implementer(IPlugin, IAuthenticatorParser)
class TokenParser:
    """The plugin of ``jwt``, which accepts clients with a valid token."""

    name = "jwt"
    help = """\
jwt:WHERE-THE-KEY-IS[:NAME=VALUE...]
    Accepts clients with a valid JSON Web Token, whose claims say what they may do. One
    of these has the keys of the issuer, at most 8; a token may be signed with any:
    secret-file=   a file with secrets, one on each line (HS256)
    secret-env=    the name of an environment variable with the same
    key-file=      a PEM file with public keys or certificates (RS256, ES256, EdDSA)
    jwks=          a file, or an https: URL, with a JWK Set; the token's kid chooses
    Optional:
    base64         the secrets are base64, like Airy's
    alg=           the allowed algorithms, such as HS512 or RS256,PS256
                   (default: those in parentheses)
    ca-file=       trusted certificate authorities for the jwks' server, as PEM
    issuer=        the required iss of the token
    audience=      the required member of the token's aud
    leeway=        seconds that clocks may differ (default 5 for nbf, 0 for exp and iat)
    subject-claim= the claim that names the user (default sub)
    allow-eternal  a token may have no exp, or one more than ten years ahead
    cookie=        the name of a cookie that may hold the token
    subscribe-claim=, send-claim=, only-claim=, missing-claim=
                   the claims with the permissions (default subscribe, send, ...)
    A colon in a value is written \\: unless a slash or a digit follows it."""

    def parse(self, arguments: str, context: AccessContext) -> IAuthenticator:
        """Make the authenticator (``IAuthenticatorParser``)."""
        from airyd.auth.jwt.authenticator import parse

        return parse(arguments, context)


anonymous = AnonymousParser()
jwt = TokenParser()

"""Plugins for ``--auth``: the authenticators ``anonymous`` and ``jwt``, whose modules are imported when used."""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import implementer

from airyd.interfaces import AuthenticatorContext, IAuthenticator, IAuthenticatorParser


@implementer(IPlugin, IAuthenticatorParser)
class AnonymousParser:
    """``anonymous`` accepts every client."""

    name = "anonymous"
    help = """\
anonymous[:public][:send]
    Accepts every client, and each sees every event. Beside another --auth, accepts
    clients that send neither a token nor a login.
    public         allow --listen on addresses other than loopback
    send           clients may also SEND"""

    def parse(self, arguments: str, context: AuthenticatorContext) -> IAuthenticator:
        """Make the authenticator (``IAuthenticatorParser``)."""
        from airyd.auth.anonymous import parse

        return parse(arguments)


@implementer(IPlugin, IAuthenticatorParser)
class TokenParser:
    """``jwt`` accepts clients with a valid JSON Web Token."""

    name = "jwt"
    help = """\
jwt:WHERE-THE-KEY-IS[:NAME=VALUE...]
    Accepts clients with a valid JSON Web Token, whose claims say what they may do. The
    issuer's keys are in one of these; each of the first three has at most 8:
    secret-file=   a file with secrets, one per line (HS256)
    secret-env=    the name of an environment variable with secrets, one per line
    key-file=      a PEM file with public keys or certificates (RS256, ES256, EdDSA)
    jwks=          a file or https: URL with a JWK Set; the token's kid selects the key
    Optional:
    base64         the secrets are base64, as Airy's are
    alg=           accepted algorithms, such as HS512 or RS256,PS256 (default: those in
                   parentheses)
    ca-file=       PEM file with CA certificates to verify the jwks server with
    issuer=        required value of the token's iss
    audience=      value that the token's aud must contain
    leeway=        seconds that clocks may differ (default 5 for nbf, 0 for exp and iat)
    subject-claim= the claim that names the user (default sub)
    allow-eternal  accept tokens without exp, or that expire in more than ten years
    cookie=        the name of a cookie that may hold the token
    subscribe-claim=, send-claim=, only-claim=, missing-claim=
                   the claims that grant rights (default subscribe, send, ...)
    Write a colon in a value as \\: unless a slash or a digit follows it."""

    def parse(self, arguments: str, context: AuthenticatorContext) -> IAuthenticator:
        """Make the authenticator (``IAuthenticatorParser``)."""
        from airyd.auth.jwt.authenticator import parse

        return parse(arguments, context)


anonymous = AnonymousParser()
jwt = TokenParser()

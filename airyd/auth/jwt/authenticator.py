"""The ``jwt`` authenticator: accepts JSON Web Tokens (RFC 7519) of Airy or of an identity provider."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from airyd.addresses import is_loopback_host
from airyd.auth.credentials import find_token
from airyd.auth.jwt.claims import ClaimRules, check_claims, printable
from airyd.auth.jwt.jwks import JwkSet, JwkSetFile, KeySource, StaticKeys
from airyd.auth.jwt.keys import (
    MOST_BYTES,
    PUBLIC_ALGORITHMS,
    SECRET_ALGORITHMS,
    USUAL_PUBLIC_ALGORITHMS,
    USUAL_SECRET_ALGORITHMS,
    VerificationKey,
    is_variable,
    pem_keys,
    read_variable,
    secret_keys,
)
from airyd.auth.jwt.permissions import PermissionCache, PermissionClaims
from airyd.auth.jwt.signature import JoseHeader, read_header, verified_claims
from airyd.auth.spec import Words
from airyd.errors import LoginFault, LoginRefused, LoginUnavailable
from airyd.files import read_file
from airyd.interfaces import AuthenticatorContext, Credentials, IAuthenticator, IPrincipal, IReloadable, Reload
from airyd.request_head import is_token
from airyd.revocation import MOST_LEEWAY
from airyd.spelling import did_you_mean

#: The words that name the place of the keys.
_PLACES: Final = ("secret-file", "secret-env", "key-file", "jwks")
#: The characters of a URL (RFC 3986, section 2).
_URL_CHARACTERS: Final = re.compile(r"[!#$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]+")


@implementer(IAuthenticator, IReloadable)
class TokenAuthenticator:
    """Accepts clients with a valid token.

    :param cookie: the name of the cookie that may hold the token; None for no cookie
    :param wall: the wall-clock time, seconds since 1970
    :param token_size: the most characters of a token
    """

    public: Final = True
    revocable: Final = True

    def __init__(
        self,
        keys: KeySource,
        rules: ClaimRules,
        permissions: PermissionCache,
        cookie: str | None,
        wall: Callable[[], float],
        token_size: int,
    ) -> None:
        self.cookies = cookie is not None
        self._keys = keys
        self._rules = rules
        self._permissions = permissions
        self._cookie = cookie
        self._wall = wall
        self._token_size = token_size

    def start(self) -> None:
        """Start fetching keys (``IAuthenticator``)."""
        self._keys.start()

    def stop(self) -> None:
        """Stop fetching keys (``IAuthenticator``)."""
        self._keys.stop()

    def prepare_reload(self, fresh: TokenAuthenticator) -> Reload:
        """Prepare to use new keys, and the new limit of tokens (``IReloadable``)."""
        reload = self._keys.prepare_reload(fresh._keys)

        def apply_all() -> None:
            reload.apply()
            self._token_size = fresh._token_size

        return Reload(reload.changes, apply_all)

    def takes(self, credentials: Credentials) -> bool:
        """Return whether the credentials contain a token (``IAuthenticator``)."""
        return find_token(credentials, self._cookie) is not None

    def authenticate(self, credentials: Credentials) -> IPrincipal | Deferred[IPrincipal]:
        """Check the token (``IAuthenticator``). It waits only to fetch a key that may be new."""
        token = find_token(credentials, self._cookie)
        if token is None:
            raise LoginRefused(LoginFault.MISSING, "there is no token")
        header = read_header(token, self._token_size)
        keys = self._find(header)
        if not keys:
            renewing = self._keys.refresh()
            if renewing is not None:
                return renewing.addCallback(lambda _: self._principal(token, header, self._find(header)))
        return self._principal(token, header, keys)

    def health(self) -> Sequence[str]:
        """Return why there are no keys (``IAuthenticator``)."""
        return self._keys.health()

    def warnings(self) -> Sequence[str]:
        """Return why the keys may be out of date (``IAuthenticator``)."""
        return self._keys.warnings()

    def _find(self, header: JoseHeader) -> Sequence[VerificationKey]:
        algorithms = self._keys.algorithms
        if header.algorithm not in algorithms:
            wanted = ", ".join(algorithms)
            raise LoginRefused(LoginFault.ALGORITHM, f"alg is {header.algorithm}, but the keys here are for {wanted}")
        return self._keys.find(header.algorithm, header.key_id)

    def _principal(self, token: str, header: JoseHeader, keys: Sequence[VerificationKey]) -> IPrincipal:
        if not keys and not self._keys.is_current:
            raise LoginUnavailable("the key is unknown and may be new, but the keys cannot be fetched")
        if not keys:
            raise LoginRefused(
                LoginFault.UNKNOWN_KEY, f"no {header.algorithm} key has the kid {printable(header.key_id)}"
            )
        claims = verified_claims(token, header, keys)
        return self._permissions.principal(check_claims(claims, self._rules, self._wall()), claims)


def parse(arguments: str, context: AuthenticatorContext) -> TokenAuthenticator:
    """Return the authenticator for the words after ``jwt:`` (see ``--help-auth``).

    The words are read in the order of docs/security.rst, because errors list them in this order.

    Errors: ``ConfigurationError``.
    """
    words = Words("jwt", arguments)
    where = _KeyWords(
        {name: words.text(name) for name in _PLACES}, words.has("base64"), words.text("alg"), words.text("ca-file")
    )
    usual_rules = ClaimRules()
    rules = ClaimRules(
        issuer=words.text("issuer"),
        audience=words.text("audience"),
        leeway=words.number("leeway", usual_rules.leeway, 0, MOST_LEEWAY),
        not_before_leeway=words.number("leeway", usual_rules.not_before_leeway, 0, MOST_LEEWAY),
        subject_claim=words.text("subject-claim") or usual_rules.subject_claim,
        allow_eternal=words.has("allow-eternal"),
    )
    usual = PermissionClaims()
    names = PermissionClaims(
        subscribe=words.text("subscribe-claim") or usual.subscribe,
        send=words.text("send-claim") or usual.send,
        only=words.text("only-claim") or usual.only,
        missing=words.text("missing-claim") or usual.missing,
    )
    cookie = words.text("cookie")
    if cookie is not None and not is_token(cookie):
        raise words.error("parameter 'cookie' takes the name of a cookie (RFC 6265)")
    words.finish()
    permissions = PermissionCache(names, context.user_destinations)
    keys = _keys(words, where, context)
    return TokenAuthenticator(keys, rules, permissions, cookie, context.wall, context.token_size)


class _KeyWords(NamedTuple):
    """The words about keys.

    :ivar places: the value of each word in ``_PLACES``; exactly one must be given
    """

    places: Mapping[str, str | None]
    is_base64: bool
    algorithms: str | None
    ca_file: str | None


def _keys(words: Words, given: _KeyWords, context: AuthenticatorContext) -> KeySource:
    chosen = [(name, value) for name, value in given.places.items() if value is not None]
    if len(chosen) != 1:
        raise words.error(f"give one of {', '.join(f'{name}=' for name in _PLACES)}: the place of the key")
    ((kind, place),) = chosen
    is_secret = kind in ("secret-file", "secret-env")
    if given.is_base64 and not is_secret:
        raise words.error("base64 is for secret-file= and secret-env=")
    if given.ca_file is not None and not _is_url(place, "https"):
        raise words.error("ca-file is for a jwks with https:")
    algorithms = _algorithms(words, given.algorithms, kind, is_secret)
    if kind == "secret-env" and not is_variable(place):
        raise words.error("parameter 'secret-env' takes the name of an environment variable")  # not the secret itself
    try:
        if kind == "secret-env":
            text = read_variable(place, context.environ)
            return StaticKeys(place, secret_keys(text, given.is_base64, algorithms))
        if kind == "secret-file":
            return StaticKeys(place, secret_keys(read_file(place, MOST_BYTES), given.is_base64, algorithms))
        if kind == "key-file":
            return StaticKeys(place, pem_keys(read_file(place, MOST_BYTES), algorithms))
    except ValueError as error:
        raise words.error(f"{kind} {place}: {error}") from None
    return _key_set(words, place, given.ca_file, algorithms, context)


def _algorithms(words: Words, text: str | None, kind: str, is_secret: bool) -> Sequence[str]:
    """Return the algorithms of ``alg=``, or the default ones for this kind of keys."""
    if text is None:
        return USUAL_SECRET_ALGORITHMS if is_secret else USUAL_PUBLIC_ALGORITHMS
    possible = SECRET_ALGORITHMS if is_secret else PUBLIC_ALGORITHMS
    named = tuple(dict.fromkeys(text.split(",")))
    for name in named:
        if name in possible:
            continue
        if name in SECRET_ALGORITHMS or name in PUBLIC_ALGORITHMS:
            # If a public key verified HS256, anybody who has read it could sign tokens.
            raise words.error(f"alg={name} is not for the keys of {kind}=; there are: {', '.join(possible)}")
        meant = did_you_mean(name, possible)
        raise words.error(
            f"parameter 'alg' takes algorithms, with commas between them{meant} There are: {', '.join(possible)}"
        )
    return named


def _key_set(
    words: Words, place: str, ca_file: str | None, algorithms: Sequence[str], context: AuthenticatorContext
) -> JwkSet:
    from airyd.auth.jwt.fetch import fetch, make_agent

    clock = IReactorTime(context.reactor)
    if not _is_url(place, "https", "http") and "://" not in place:
        return JwkSetFile(place, clock, algorithms)
    url = _checked_url(words, place)
    try:
        certificates = None if ca_file is None else read_file(ca_file)
        agent = make_agent(clock, url.geturl(), certificates)
    except ValueError as error:
        raise words.error(f"{'jwks' if ca_file is None else f'ca-file {ca_file}'}: {error}") from None
    name = url._replace(query="").geturl()  # a query may hold a secret
    return JwkSet(name, lambda: Deferred.fromCoroutine(fetch(agent, clock, url.geturl())), clock, algorithms)


def _is_url(place: str, *schemes: str) -> bool:
    return place.partition(":")[0].lower() in schemes


def _checked_url(words: Words, place: str) -> SplitResult:
    wrong = words.error("jwks is a file, or a URL such as https://idp.example.com/keys")
    if not _URL_CHARACTERS.fullmatch(place):
        raise wrong
    try:
        url = urlsplit(place)
        port = url.port
    except ValueError:
        raise wrong from None
    if url.scheme not in ("http", "https") or not url.hostname or url.fragment or port == 0:
        raise wrong
    if url.username is not None or url.password is not None:
        raise words.error("jwks: a user name in the URL is not supported")
    if url.scheme == "http" and not is_loopback_host(url.hostname):
        # An attacker who changes the keys in transit can sign tokens.
        raise words.error("jwks: http: is for loopback only; use https:")
    return url

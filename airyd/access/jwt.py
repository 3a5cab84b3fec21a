"""The authenticator for JSON Web Tokens (RFC 7519), of Airy or of an identity provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from airyd.access.claims import Rules, check_claims, shown
from airyd.access.keys import Key, pem_key, secret_key
from airyd.access.keysets import KeySet, KeySource, OneKey
from airyd.access.rights import RightsClaims, RightsTable, TokenPrincipal
from airyd.access.shown import token_of
from airyd.access.verify import Head, read_claims, read_head
from airyd.access.words import Words
from airyd.addresses import is_loopback_host
from airyd.errors import ConfigurationError, LoginFault, LoginRefused, LoginUnavailable
from airyd.interfaces import AccessContext, Credentials, IAuthenticator, IPrincipal


@implementer(IAuthenticator)
class TokenAuthenticator:
    """Lets in whoever shows a good token.

    :param cookie: the name of the cookie that may hold it; None for no cookie
    :param wall: the wall-clock time, seconds since 1970
    """

    public: Final = True
    revocable: Final = True

    def __init__(
        self, keys: KeySource, rules: Rules, rights: RightsTable, cookie: str | None, wall: Callable[[], float]
    ) -> None:
        self.cookies = cookie is not None
        self._keys = keys
        self._rules = rules
        self._rights = rights
        self._cookie = cookie
        self._wall = wall

    def start(self) -> None:
        """Begin to fetch keys (``IAuthenticator``)."""
        self._keys.start()

    def stop(self) -> None:
        """Fetch no more keys (``IAuthenticator``)."""
        self._keys.stop()

    def takes(self, credentials: Credentials) -> bool:
        """Say whether there is something where a token can be (``IAuthenticator``)."""
        return token_of(credentials, self._cookie) is not None

    def authenticate(self, credentials: Credentials) -> IPrincipal | Deferred[IPrincipal]:
        """Look at the token (``IAuthenticator``). It waits only for a key that may be a new one."""
        token = token_of(credentials, self._cookie)
        if token is None:
            raise LoginRefused(LoginFault.MISSING, "no token was shown")
        head = read_head(token)
        if head.algorithm in self._keys.algorithms and self._keys.find(head.algorithm, head.key_id) is None:
            renewing = self._keys.renew()
            if renewing is not None:
                return renewing.addCallback(lambda _: self._principal(token, head))
        return self._principal(token, head)

    def health(self) -> Sequence[str]:
        """Say why there are no keys (``IAuthenticator``)."""
        return self._keys.health()

    def warnings(self) -> Sequence[str]:
        """Say why the keys may be out of date (``IAuthenticator``)."""
        return self._keys.warnings()

    def _principal(self, token: str, head: Head) -> IPrincipal:
        claims = read_claims(token, head, self._key(head))
        return TokenPrincipal(check_claims(claims, self._rules, self._wall()), self._rights.rights(claims))

    def _key(self, head: Head) -> Key:
        keys = self._keys
        key = keys.find(head.algorithm, head.key_id)
        if key is not None:
            return key
        if head.algorithm not in keys.algorithms:
            wanted = ", ".join(keys.algorithms)
            raise LoginRefused(LoginFault.ALGORITHM, f"alg is {head.algorithm}, and the keys here are for {wanted}")
        if not keys.is_current:
            raise LoginUnavailable("a key that is not known may be a new one, and the keys cannot be fetched")
        raise LoginRefused(LoginFault.UNKNOWN_KEY, f"no {head.algorithm} key has the kid {shown(head.key_id)}")


def parse(arguments: str, context: AccessContext) -> TokenAuthenticator:
    """Return the authenticator for the words behind ``jwt:`` (see ``--help-auth``).

    Errors: ``ConfigurationError``.
    """
    words = Words("jwt", arguments)
    keys = _keys(words, context)
    rules = Rules(
        issuer=words.text("issuer"),
        audience=words.text("audience"),
        leeway=words.seconds("leeway", 0.0),
        subject_claim=words.text("subject-claim") or Rules().subject_claim,
        allow_eternal=words.flag("allow-eternal"),
    )
    usual = RightsClaims()
    names = RightsClaims(
        subscribe=words.text("subscribe-claim") or usual.subscribe,
        send=words.text("send-claim") or usual.send,
        only=words.text("only-claim") or usual.only,
        missing=words.text("missing-claim") or usual.missing,
    )
    cookie = words.text("cookie")
    words.finish()
    return TokenAuthenticator(keys, rules, RightsTable(names), cookie, context.wall)


def _keys(words: Words, context: AccessContext) -> KeySource:
    given = {name: words.text(name) for name in ("secret-file", "secret-env", "key-file", "jwks")}
    is_base64, ca_file = words.flag("base64"), words.text("ca-file")
    chosen = [(name, value) for name, value in given.items() if value is not None]
    if len(chosen) != 1:
        raise words.error(f"give one of {', '.join(f'{name}=' for name in given)}, where the key is")
    ((kind, place),) = chosen
    if is_base64 and kind not in ("secret-file", "secret-env"):
        raise words.error("base64 is for a secret")
    if ca_file is not None and not place.startswith("https:"):
        raise words.error("ca-file is for a jwks on https:")
    where = kind if "://" in place else f"{kind} {place}"  # a URL may hold a secret
    try:
        if kind == "secret-file":
            return OneKey(secret_key(_without_line_end(Path(place).read_bytes()), is_base64))
        if kind == "secret-env":
            return OneKey(secret_key(_without_line_end(context.environ.get(place, "").encode()), is_base64))
        if kind == "key-file":
            return OneKey(pem_key(Path(place).read_bytes()))
        return _key_set(words, place, ca_file, context)
    except ConfigurationError:
        raise
    except ValueError as error:
        raise words.error(f"{where}: {error}") from None
    except OSError as error:
        raise words.error(f"{where}: cannot be read: {error.strerror}") from None


def _without_line_end(secret: bytes) -> bytes:
    return secret.removesuffix(b"\n").removesuffix(b"\r")


def _key_set(words: Words, place: str, ca_file: str | None, context: AccessContext) -> KeySet:
    from airyd.access.fetch import FetchFailed, fetch, make_agent

    clock = IReactorTime(context.reactor)
    if "://" not in place:

        def read() -> bytes:
            try:
                return Path(place).read_bytes()
            except OSError as error:
                raise FetchFailed(f"cannot be read: {error.strerror}") from None

        return KeySet(place, lambda: execute(read), clock)
    url = urlsplit(place)
    _check_url(words, url)
    agent = make_agent(clock, ca_file)
    name = url._replace(query="").geturl()  # a query may hold a secret
    return KeySet(name, lambda: Deferred.fromCoroutine(fetch(agent, clock, place)), clock)


def _check_url(words: Words, url: SplitResult) -> None:
    if url.scheme not in ("http", "https") or not url.hostname or url.fragment or not url.geturl().isascii():
        raise words.error("jwks is a file, or a URL such as https://idp.example.com/keys")
    if url.username is not None or url.password is not None:
        raise words.error("jwks: a user name in the URL is not supported")
    if url.scheme == "http" and not is_loopback_host(url.hostname):
        # Whoever can change the keys on their way can sign tokens.
        raise words.error("jwks: keys by http: are for loopback only; use https:")

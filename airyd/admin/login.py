"""Who sends a request to the admin page: known by a token, by the cookie of a session, or nobody without tokens."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from typing import Final, NamedTuple

from twisted.logger import Logger
from twisted.web.http_headers import Headers

from airyd.admin.access import header_values, read_admin_token
from airyd.admin.responses import HttpError
from airyd.errors import ConfigurationError

#: The option with the file of the token that may only read.
READ_ONLY_OPTION: Final = "--admin-read-token-file"
#: The cookie of a session.
COOKIE: Final = "airyd_session"
#: Seconds for which a session lasts.
SESSION_SECONDS: Final = 12 * 3600
#: The most sessions of each token; a further login ends the oldest one.
_MOST_SESSIONS: Final = 100
#: Random bytes in a cookie.
_COOKIE_BYTES: Final = 32


class AccessLevel(Enum):
    """What the sender of a request may do, as ``GET /api/v1/session`` names it."""

    NONE = "none"  # nothing: there are tokens, and the request has none
    OPEN = "open"  # there are no tokens: read without bodies, publish and revoke by the old paths
    READ = "read"  # read without bodies
    FULL = "full"  # everything


class Caller(NamedTuple):
    """The sender of a request.

    :ivar name: as the log names it, such as ``full token``
    """

    level: AccessLevel
    name: str


class AdminTokens(NamedTuple):
    """The tokens of the admin page, each of which may be missing.

    :ivar full: the one of ``--admin-token-file``
    :ivar read: the one of ``--admin-read-token-file``
    """

    full: str | None = None
    read: str | None = None

    def find(self, shown: str) -> Caller | None:
        """Return whose token this is; None if it is nobody's. The comparison takes constant time."""
        given = shown.encode("utf-8", "surrogatepass")
        is_full = self.full is not None and hmac.compare_digest(given, self.full.encode())
        is_read = self.read is not None and hmac.compare_digest(given, self.read.encode())
        if is_full:
            return Caller(AccessLevel.FULL, "full token")
        return Caller(AccessLevel.READ, "read token") if is_read else None

    def differences(self, other: AdminTokens) -> list[str]:
        """Return the names of the tokens that are not the same, for the log."""
        names = [(self.full, other.full, "admin token"), (self.read, other.read, "admin read token")]
        return [name for ours, theirs, name in names if ours != theirs]


#: Without tokens, whoever reaches the admin page may read, publish and revoke.
NO_TOKENS: Final = AdminTokens()


def read_admin_tokens(full_file: str | None, read_file: str | None) -> AdminTokens:
    """Return the tokens in the files of ``--admin-token-file`` and ``--admin-read-token-file``.

    Errors: ``ConfigurationError`` whose text never quotes a token.
    """
    tokens = AdminTokens(read_admin_token(full_file), read_admin_token(read_file, READ_ONLY_OPTION))
    if tokens.full is not None and tokens.full == tokens.read:
        raise ConfigurationError(f"{READ_ONLY_OPTION} {read_file}: this is the token of --admin-token-file, too")
    return tokens


class _Session(NamedTuple):
    caller: Caller
    end: float


class AdminLogin:
    """Finds out who sends a request, and keeps the sessions of browsers in memory.

    :param seconds: returns a monotonic time
    :ivar tokens: the tokens in force
    """

    _log = Logger()

    def __init__(self, tokens: AdminTokens, seconds: Callable[[], float]) -> None:
        self.tokens = tokens
        self._seconds = seconds
        self._sessions: dict[str, _Session] = {}  # the oldest first

    @property
    def needs_token(self) -> bool:
        """Whether there is a token."""
        return self.tokens != NO_TOKENS

    def change(self, tokens: AdminTokens) -> bool:
        """Use other tokens from now on, which ends all sessions; return whether they are others."""
        if tokens == self.tokens:
            return False
        self.tokens = tokens
        self._sessions.clear()
        return True

    def caller_of(self, headers: Headers) -> Caller:
        """Return the sender of a request: ``Authorization: Bearer TOKEN`` (RFC 6750), or the cookie."""
        if not self.needs_token:
            return Caller(AccessLevel.OPEN, "loopback")
        authorization = header_values(headers, "Authorization")
        if authorization:
            scheme, _, shown = authorization[0].partition(" ")
            found = self.tokens.find(shown.strip(" \t")) if scheme.lower() == "bearer" else None
            if found is None:
                self._log_wrong()
        else:
            found = self._session_of(headers)
        return found or Caller(AccessLevel.NONE, "nobody")

    def log_in(self, token: str, headers: Headers) -> tuple[Caller, str]:
        """Return the sender of a login, and the value of the cookie for the session that begins.

        :param headers: the request's; the session of their cookie ends, because the browser forgets that cookie

        Errors: ``HttpError``: 401 for a wrong token, 403 if there is none.
        """
        if not self.needs_token:
            raise HttpError(
                HTTPStatus.FORBIDDEN,
                "there is no token to log in with: start airyd with --admin-token-file or --admin-read-token-file",
            )
        found = self.tokens.find(token)
        if found is None:
            self._log_wrong()
            raise HttpError(HTTPStatus.UNAUTHORIZED, "this is not a token of airyd", {"WWW-Authenticate": "Bearer"})
        now = self._seconds()
        self._sessions = {value: each for value, each in self._sessions.items() if each.end > now}
        self.log_out(headers)
        caller = Caller(found.level, f"session of {found.name}")
        # Logins by the read token must not end sessions of the full one.
        others = [value for value, each in self._sessions.items() if each.caller == caller]
        if len(others) >= _MOST_SESSIONS:
            del self._sessions[others[0]]
        value = secrets.token_urlsafe(_COOKIE_BYTES)
        self._sessions[value] = _Session(caller, now + SESSION_SECONDS)
        return found, value

    def log_out(self, headers: Headers) -> bool:
        """End the session of a request's cookie, if there is one; return whether there was."""
        ended = [self._sessions.pop(value, None) for value in _cookies(headers)]
        return any(ended)

    def _session_of(self, headers: Headers) -> Caller | None:
        for value in _cookies(headers):
            session = self._sessions.get(value)
            if session is not None and session.end > self._seconds():
                return session.caller
        return None

    def _log_wrong(self) -> None:
        self._log.warn("a request to the admin page has a wrong token", once_a_minute="wrong admin token")


def set_cookie(value: str, scheme: str, headers: Headers) -> str:
    """Return the ``Set-Cookie`` header of a session; an empty value removes the cookie.

    :param scheme: the request's scheme, ``http`` or ``https``
    :param headers: the request's; behind a proxy with TLS, only their ``Origin`` has the scheme of the page
    """
    age = SESSION_SECONDS if value else 0
    is_secure = scheme == "https" or any(each.startswith("https:") for each in header_values(headers, "Origin"))
    secure = "; Secure" if is_secure else ""
    return f"{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"


def _cookies(headers: Headers) -> list[str]:
    """Return the values of all cookies with the session's name (RFC 6265)."""
    pairs = [pair.strip().partition("=") for line in header_values(headers, "Cookie") for pair in line.split(";")]
    return [value for name, _, value in pairs if name == COOKIE]

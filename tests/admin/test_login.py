"""Sessions of browsers: login by a token, the cookie, and the end of a session."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from airyd.admin.login import NO_TOKENS, SESSION_SECONDS, AdminTokens, read_admin_tokens
from airyd.errors import ConfigurationError
from tests.admin.browser import JSON, LIMIT, AdminCase, Response
from tests.admin.test_api import CHANGE, FULL, READ
from tests.doubles import record_log


class SessionCase(AdminCase):
    """Logs in and uses cookies."""

    token: str | None = FULL
    read_token: str | None = READ

    def log_in(self, token: str = FULL, headers: dict[str, str] | None = None) -> Response:
        """Send a login."""
        return self.ask("POST", "/login", {**JSON, **(headers or {})}, b'{"token": "%s"}' % token.encode())

    def cookie(self, token: str = FULL) -> str:
        """Log in and return the cookie as a browser sends it."""
        return self.log_in(token).headers["set-cookie"].partition(";")[0]

    def level(self, cookie: str) -> str:
        """Return the level of a session."""
        level = self.ask("GET", "/api/v1/session", {"Cookie": cookie}).json()["level"]
        assert isinstance(level, str)
        return level


class LoginTests(SessionCase):
    """``POST /login``."""

    def test_cookie(self) -> None:
        answer = self.log_in()
        self.assertEqual((answer.status, answer.body), (204, b""))
        name, *attributes = answer.headers["set-cookie"].split("; ")
        self.assertRegex(name, "^airyd_session=[-_A-Za-z0-9]{43}$")
        self.assertEqual(set(attributes), {"Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"})
        self.assertNotIn(FULL, answer.headers["set-cookie"])

    def test_behind_a_proxy_with_tls(self) -> None:
        """The browser sends the cookie over TLS only."""
        headers = {"Host": "localhost", "Origin": "https://localhost", "Sec-Fetch-Site": "same-origin"}
        self.assertIn("Secure", self.log_in(headers=headers).headers["set-cookie"].split("; "))

    def test_levels(self) -> None:
        for token, level in ((FULL, "full"), (READ, "read")):
            self.assertEqual(self.level(self.cookie(token)), level)
            self.assertEqual(self.level(f"a=b; {self.cookie(token)};c=d"), level)

    def test_what_is_no_session(self) -> None:
        value = self.cookie().partition("=")[2]
        for cookie in ("", "airyd_session", "airyd_session=", f"airyd_session={value}x", f"other={value}", value):
            self.assertEqual(self.level(cookie), "none", cookie)

    def test_a_token_counts_before_a_cookie(self) -> None:
        """A wrong token is not forgiven for a good cookie."""
        headers = {"Cookie": self.cookie(), "Authorization": f"Bearer {READ}"}
        self.assertEqual(self.ask("GET", "/api/v1/session", headers).json()["level"], "read")
        headers["Authorization"] = "Bearer wrong"
        self.assertEqual(self.ask("GET", "/metrics", headers).status, 401)

    def test_changing_by_a_session(self) -> None:
        """The log says whose session it was."""
        events: list[str] = []
        observer = cast(ILogObserver, lambda event: events.append(formatEvent(event)))
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        headers = {**JSON, "Cookie": self.cookie()}
        self.assertEqual(self.ask("POST", "/revoke", headers, b'{"jti": "a"}').status, 200)
        expected = ["admin page: login by full token", "admin page: revoke by session of full token: jti a"]
        self.assertEqual(events, expected)
        self.assertEqual(
            self.ask("POST", "/revoke", {**JSON, "Cookie": self.cookie(READ)}, b'{"jti": "a"}').status, 403
        )

    def test_other_pages(self) -> None:
        self.assertEqual(self.log_in(headers={"Origin": "http://example.org"}).status, 403)
        self.assertEqual(self.log_in(headers={"Content-Type": "text/plain"}).status, 415)
        headers = {"Cookie": self.cookie(), **JSON, "Origin": "http://example.org"}
        self.assertEqual(self.ask("POST", "/revoke", headers, b'{"jti": "a"}').status, 403)

    def test_wrong(self) -> None:
        """A wrong token is never repeated, and logged once a minute."""
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        answer = self.log_in("hunter2hunter2hunter2")
        self.assertEqual((answer.status, answer.headers["www-authenticate"]), (401, "Bearer"))
        self.ask("GET", "/metrics", {"Authorization": "Bearer hunter2hunter2hunter2"})
        self.assertNotIn("hunter2", f"{answer.body!r} {events!r}")
        self.assertEqual([event["once_a_minute"] for event in events], ["wrong admin token"] * 2)

    def test_malformed(self) -> None:
        for body in (
            b"",
            b"{}",
            b"null",
            b'"x"',
            b'{"token": 1}',
            b'{"token": "a", "b": 1}',
            b'{"token": "\xff"}',
            b"[" * 999,
        ):
            self.assertEqual(self.ask("POST", "/login", JSON, body).status, 400, body)
        self.assertEqual(self.log_in("\\ud800").status, 400)
        self.assertEqual(self.log_in("ä").status, 401)

    def test_logout(self) -> None:
        cookie, other = self.cookie(), self.cookie()
        self.assertEqual(self.ask("POST", "/logout", {"Cookie": cookie}).status, 400)
        self.assertEqual(self.level(cookie), "full")
        answer = self.ask("POST", "/logout", {"Cookie": cookie, **CHANGE})
        self.assertEqual(answer.status, 204)
        self.assertTrue(answer.headers["set-cookie"].startswith("airyd_session=; Path=/; Max-Age=0;"))
        self.assertEqual((self.level(cookie), self.level(other)), ("none", "full"))
        self.assertEqual(self.ask("POST", "/logout", CHANGE).status, 204)

    def test_logouts_of_strangers(self) -> None:
        """They leave no line in the log, which anybody could fill with them."""
        log = record_log(self)
        self.assertEqual(self.ask("POST", "/logout", CHANGE).status, 204)
        self.assertEqual(self.ask("POST", "/logout", {"Cookie": "airyd_session=x", **CHANGE}).status, 204)
        self.assertEqual(log, [])
        self.ask("POST", "/logout", {"Cookie": self.cookie(), **CHANGE})
        expected = ["admin page: login by full token", "admin page: logout by session of full token"]
        self.assertEqual([formatEvent(event) for event in log], expected)

    def test_second_login(self) -> None:
        """It ends the browser's first session, whose cookie the browser does not keep."""
        first = self.cookie()
        second = self.log_in(READ, {"Cookie": first}).headers["set-cookie"].partition(";")[0]
        self.assertEqual((self.level(first), self.level(second)), ("none", "read"))

    def test_end(self) -> None:
        cookie = self.cookie()
        self.clock.advance(SESSION_SECONDS - 1)
        self.assertEqual(self.level(cookie), "full")
        self.clock.advance(1)
        self.assertEqual(self.level(cookie), "none")

    def test_most(self) -> None:
        """The 101st login ends the oldest session; sessions that are over don't count."""
        first, second = self.cookie(), self.cookie()
        for _ in range(99):
            self.cookie()
        self.assertEqual((self.level(first), self.level(second)), ("none", "full"))
        self.clock.advance(SESSION_SECONDS)
        late = self.cookie()
        for _ in range(99):
            self.cookie()
        self.assertEqual(self.level(late), "full")

    def test_most_of_each_token(self) -> None:
        """Logins by the read token end no session of the full token."""
        full, read = self.cookie(), self.cookie(READ)
        for _ in range(100):
            self.cookie(READ)
        self.assertEqual((self.level(full), self.level(read)), ("full", "none"))

    def test_other_tokens_end_sessions(self) -> None:
        cookie = self.cookie()
        self.site.change(AdminTokens(FULL, READ), LIMIT)
        self.assertEqual(self.level(cookie), "full")
        self.site.change(AdminTokens(FULL, "another-read-token"), LIMIT)
        self.assertEqual(self.level(cookie), "none")

    def test_two_cookie_headers(self) -> None:
        connection = self.connect()
        line = f"Cookie: {self.cookie()}\r\n".encode()
        connection.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + line + line + b"\r\n")
        self.assertEqual(connection.read().status, 400)


class TlsLoginTests(SessionCase):
    """Over TLS."""

    by_tls = True

    def test_secure(self) -> None:
        self.assertIn("Secure", self.log_in().headers["set-cookie"].split("; "))


class NoTokenLoginTests(SessionCase):
    """Without tokens."""

    token = None
    read_token = None

    def test_nothing_to_log_in_with(self) -> None:
        answer = self.log_in()
        self.assertEqual(answer.status, 403)
        self.assertIn("--admin-token-file", answer.json()["error"])


class TokensTests(SynchronousTestCase):
    """The files of both tokens."""

    def file(self, content: str) -> str:
        """Return the path of a new file."""
        path = Path(self.mktemp())
        path.write_text(content)
        return str(path)

    def test_read(self) -> None:
        self.assertEqual(read_admin_tokens(None, None), NO_TOKENS)
        self.assertEqual(read_admin_tokens(self.file(FULL), self.file(READ)), AdminTokens(FULL, READ))
        self.assertEqual(read_admin_tokens(None, self.file(READ)), AdminTokens(None, READ))

    def test_wrong(self) -> None:
        for content in ("hunter2", FULL):
            path = self.file(content)
            error = self.assertRaises(ConfigurationError, read_admin_tokens, self.file(FULL), path)
            self.assertTrue(str(error).startswith(f"--admin-read-token-file {path}: "), error)
            self.assertNotIn(content, str(error))

    def test_differences(self) -> None:
        both = AdminTokens(FULL, READ)
        self.assertEqual(both.differences(both), [])
        self.assertEqual(both.differences(NO_TOKENS), ["admin token", "admin read token"])
        self.assertEqual(both.differences(AdminTokens(FULL, None)), ["admin read token"])

"""``POST /revoke``."""

from __future__ import annotations

from twisted.internet.defer import fail

from airyd.errors import SourceUnavailable
from airyd.revocation import RevocationKind
from tests.admin.browser import JSON, AdminCase


class RevokeTests(AdminCase):
    """Requests that revoke, and requests that are refused."""

    def test_revoked(self) -> None:
        """The answer says from when on, and until when."""
        for kind in RevocationKind:
            answer = self.ask("POST", "/revoke", JSON, b' {"%s": "\xc3\xa4nn"} ' % kind.value.encode())
            self.assertEqual((answer.status, answer.json()), (200, {kind.value: "änn", "at": 1.5, "until": 2.5}))
        self.assertEqual(self.revoked, [(RevocationKind.JTI, "änn"), (RevocationKind.SUBJECT, "änn")])

    def test_what_names_no_one_thing(self) -> None:
        for body in (
            b"",
            b"{}",
            b"null",
            b"[]",
            b'"jti"',
            b'[["jti", "a"]]',
            b'{"jti": "a", "subject": "a"}',
            b'{"jti": "a", "jti": "b"}',
            b'{"user": "a"}',
            b'{"jti": ""}',
            b'{"jti": 1}',
            b'{"jti": null}',
            b'{"jti": ["a"]}',
            b'{"jti": "a\\n"}',
            b'{"jti": "%s"}' % (b"x" * 256),
            b'{"jti": "\xff"}',
            b'{"jti": ' + b"[" * 900,
        ):
            answer = self.ask("POST", "/revoke", JSON, body)
            self.assertEqual(answer.status, 400, body)
            self.assertIn('{"subject": "..."}', answer.json()["error"])
        self.assertEqual(self.revoked, [])

    def test_not_kept(self) -> None:
        self.kept = fail(SourceUnavailable("It is revoked here, but not kept"))
        answer = self.ask("POST", "/revoke", JSON, b'{"jti": "a"}')
        self.assertEqual((answer.status, answer.json()["error"]), (503, "It is revoked here, but not kept"))

    def test_what_a_page_elsewhere_may_not(self) -> None:
        """The checks are those of publishing."""
        for headers, status in (
            ({"Content-Type": "text/plain"}, 415),
            ({}, 415),
            ({**JSON, "Origin": "http://example.org"}, 403),
            ({**JSON, "Host": "example.org"}, 421),
        ):
            self.assertEqual(self.ask("POST", "/revoke", headers, b'{"jti": "a"}').status, status, headers)
        self.assertEqual(self.ask("GET", "/revoke").headers["allow"], "POST")
        self.assertEqual(self.revoked, [])


class TokenTests(AdminCase):
    """With an admin token."""

    token = "a-token-that-nobody-guesses"  # a test's

    def test_wants_it(self) -> None:
        self.assertEqual(self.ask("POST", "/revoke", JSON, b'{"jti": "a"}').status, 401)
        self.assertEqual(self.revoked, [])
        shown = {**JSON, "Authorization": f"Bearer {self.token}"}
        self.assertEqual(self.ask("POST", "/revoke", shown, b'{"jti": "a"}').status, 200)

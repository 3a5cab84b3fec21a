"""The files of the console."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from airyd.admin.console_files import FOLDER, ConsoleFiles, content_security_policy
from airyd.admin.responses import HttpError
from tests.admin.browser import LISTENERS, AdminCase


class ConsoleTests(AdminCase):
    """The pages, which need no token."""

    token: str | None = "a-token-that-nobody-guesses"

    def test_page(self) -> None:
        answer = self.ask("GET", "/", {"Host": "airyd.example"})
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/html; charset=utf-8"))
        self.assertEqual(answer.body, (FOLDER / "index.html").read_bytes())
        self.assertEqual(answer.headers["cache-control"], "no-cache")
        self.assertEqual(answer.headers["referrer-policy"], "no-referrer")
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        self.assertEqual(policy["default-src"], "'none'")
        self.assertEqual(policy["script-src"], "'self'")
        self.assertEqual(policy["connect-src"], "'self' ws://127.0.0.1:8080")
        self.assertEqual(policy["frame-ancestors"], "'none'")
        self.assertNotIn("unsafe", answer.headers["content-security-policy"])

    def test_all_files(self) -> None:
        for path in FOLDER.iterdir():
            answer = self.ask("GET", f"/console/{path.name}")
            self.assertEqual((answer.status, answer.body), (200, path.read_bytes()), path)

    def test_known(self) -> None:
        etag = self.ask("GET", "/").headers["etag"]
        for known in (etag, f"W/{etag}", f'"x", {etag}'):
            answer = self.ask("GET", "/", {"If-None-Match": known})
            self.assertEqual((answer.status, answer.body, answer.headers["etag"]), (304, b"", etag), known)
        self.assertEqual(self.ask("GET", "/", {"If-None-Match": '"x"'}).status, 200)

    def test_head(self) -> None:
        answer = self.ask("HEAD", "/")
        self.assertEqual(answer.headers["content-length"], str(len((FOLDER / "index.html").read_bytes())))

    def test_nothing_else(self) -> None:
        """Only names of files, no paths."""
        for path in ("/console/x", "/console/..", "/console/..%2Fserver.py"):
            self.assertEqual(self.ask("GET", path).status, 404, path)
        for path in ("/console/", "/console", "/console/../server.py", "/console/%2E%2E/server.py", "/console/a/b.js"):
            self.assertEqual(self.ask("GET", path).status, 401, path)
        self.assertEqual(self.ask("POST", "/").headers["allow"], "GET, HEAD")

    def test_no_demo(self) -> None:
        self.assertEqual(self.ask("GET", "/demo").status, 404)

    def test_listeners_on_all_addresses(self) -> None:
        """The page connects to the host from which it came."""
        for given, host, local, expected in (
            ("ws://0.0.0.0:8080/a", "airyd.example:8081", "192.0.2.7", "ws://airyd.example:8080/a"),
            ("wss://[::]:8080/a", "[2001:db8::1]:8081", "192.0.2.7", "wss://[2001:db8::1]:8080/a"),
            ("ws://10.0.0.1:8080/a", "airyd.example", "192.0.2.7", "ws://10.0.0.1:8080/a"),
            ("ws://0.0.0.0:8080/a", "x; script-src *", "192.0.2.7", "ws://localhost:8080/a"),
        ):
            self.listeners = (given,)
            answer = self.ask("GET", "/api/v1/session", {"Host": host}, local=IPv4Address("TCP", local, 8081))
            self.assertEqual(answer.json()["listeners"], [expected])


class DemoTests(AdminCase):
    """With a ``sample:`` source."""

    has_demo = True

    def test_session(self) -> None:
        self.assertTrue(self.ask("GET", "/api/v1/session").json()["demo"])


class FilesTests(AdminCase):
    """The folder."""

    def test_types(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        for name in ("a.js", "a.css", "a.svg", "a.py", "a"):
            (folder / name).write_text(name)
        files = ConsoleFiles(folder)
        for name, content_type in (("a.js", "text/javascript; charset=utf-8"), ("a.svg", "image/svg+xml")):
            answer = files.respond(name, [], LISTENERS)
            self.assertEqual((answer.content_type, answer.body), (content_type, name.encode()))
            self.assertNotIn("Content-Security-Policy", answer.headers)
        for name in ("a.py", "a", ".", ""):
            self.assertRaises(HttpError, files.respond, name, [], LISTENERS)

    def test_policy(self) -> None:
        policy = content_security_policy(["ws://a:1/x", "ws://a:1/y", "wss://[::1]:2/x"])
        self.assertIn("connect-src 'self' ws://a:1 wss://[::1]:2; ", policy)


class BudgetTests(SynchronousTestCase):
    """The files are small, and none of them could run what a client has sent."""

    def test_size(self) -> None:
        files = [path.read_bytes() for path in FOLDER.iterdir()]
        self.assertLessEqual(sum(map(len, files)), 60 * 1024)
        self.assertLessEqual(sum(content.count(b"\n") for content in files), 1200)

    def test_no_html_from_text(self) -> None:
        """Text becomes nodes of the document, and nothing is inline or comes from another host."""
        for path in FOLDER.iterdir():
            text = path.read_text()
            for pattern in (
                r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser",
                r"localStorage|sessionStorage|document\.cookie",
                r"<script(?![^>]* src=)|<style|<[^>]* (?:style|on\w+)=",
                r"""["'(](?:https?:)?//(?!www\.w3\.org/2000/svg)""",
            ):
                self.assertIsNone(re.search(pattern, text), f"{path.name}: {pattern}")

"""The base of the tests of the console: a browser, and daemons with and without tokens."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from tests.integration.browser import Browser
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon

#: The tokens; the mark in them lets the daemon's log and the browser's output be checked for them.
FULL = "hunter2-may-do-everything"
READ = "hunter2-may-only-read"


class ConsoleCase(DaemonTestCase):
    """A test with the browser of its class. It fails if a page had an error or broke its Content-Security-Policy."""

    browser: ClassVar[Browser]

    @classmethod
    def setUpClass(cls) -> None:
        """Start the browser."""
        super().setUpClass()
        cls.browser = Browser()

    @classmethod
    def tearDownClass(cls) -> None:
        """End the browser."""
        cls.browser.close()
        super().tearDownClass()

    def setUp(self) -> None:
        """Start no daemon yet."""
        self.addCleanup(lambda: self.assertEqual(self.browser.problems(), []))

    def with_tokens(self, *options: str) -> Daemon:
        """Start a daemon with both tokens."""
        tokens = (f"--admin-token-file={self.token_file()}", f"--admin-read-token-file={self.token_file(READ)}")
        return self.own_daemon("--auth=anonymous:send", *tokens, *options)

    def token_file(self, token: str = FULL) -> Path:
        """Write a token into a file."""
        path = Path(self.mktemp()).absolute()
        path.write_text(token)
        path.chmod(0o600)
        return path

    def open_console(self, daemon: Daemon, token: str | None = None, **options: object) -> None:
        """Open the console in a new window, and log in if there is a token."""
        self.admin = f"http://127.0.0.1:{daemon.admin_port}/"
        self.browser.window(self.admin, **options)
        if token is not None:
            self.log_in(token)
        self.browser.see("ready")

    def log_in(self, token: str) -> None:
        """Write the token into the form."""
        self.browser.fill("Token", token)
        self.browser.click("Log in")

    def show(self, page: str, heading: str) -> None:
        """Go to a page of the console, and wait for its heading."""
        self.browser.evaluate(f"location.hash = '#/{page}'")
        self.browser.until(f"document.querySelector('h1')?.textContent === {heading!r}")

    def show_destination(self, name: str) -> None:
        """Go to the page of a destination."""
        self.show(f"destinations/{quote(name, safe='')}", name)

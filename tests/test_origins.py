"""Which web pages may connect."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import ConfigurationError
from airyd.origins import OriginPolicy

PAGE = "http://127.0.0.1:8081"


class DefaultTests(SynchronousTestCase):
    """Without ``--origin``: the host that the client connected to, and the admin page."""

    def setUp(self) -> None:
        self.policy = OriginPolicy((), always=[PAGE])

    def test_programs(self) -> None:
        """They send no origin."""
        self.assertTrue(self.policy.allows(None, "airy.example"))

    def test_own_host(self) -> None:
        for origin, host in (
            ("http://airy.example", "airy.example"),
            ("http://airy.example", "airy.example:80"),
            ("http://airy.example:80", "airy.example"),
            ("https://airy.example", "airy.example:443"),
            ("https://airy.example:443", "airy.example"),
            ("https://airy.example", "airy.example"),
            ("http://airy.example:8080", "airy.example:8080"),
            ("HTTP://Airy.Example:8080", "aiRy.exaMple:8080"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("http://[::1]", "[::1]:80"),
            ("http://[2001:db8::80]", "[2001:db8::80]"),
        ):
            self.assertTrue(self.policy.allows(origin, host), (origin, host))

    def test_foreign(self) -> None:
        for origin, host in (
            ("http://evil.example", "airy.example"),
            ("http://airy.example.evil.example", "airy.example"),
            ("http://evil.example/airy.example", "airy.example"),
            ("http://evil.example#://airy.example", "airy.example"),
            ("http://evilairy.example", "airy.example"),
            ("http://airy.example", "airy.example:8080"),
            ("http://airy.example:8080", "airy.example"),
            ("http://airy.example:80", "airy.example:443"),
            ("https://airy.example", "airy.example:80"),
            ("http://localhost:8080", "127.0.0.1:8080"),
            ("null", "airy.example"),
            ("null", "null"),
            ("file://", "airy.example"),
            ("airy.example", "airy.example"),
            ("*", "airy.example"),
            ("ftp://airy.example", "airy.example"),
            ("\x85http://airy.example", "airy.example"),
            ("http://airy.example\xa0", "airy.example"),
            (" http://airy.example", "airy.example"),
        ):
            self.assertFalse(self.policy.allows(origin, host), (origin, host))

    def test_nothing_equals_nothing(self) -> None:
        """An empty ``Host`` is nobody's own."""
        for origin in ("null", "", "x", "http://", "file://", "http://:80"):
            for host in ("", " ", ":80", ":443"):
                self.assertFalse(self.policy.allows(origin, host), (origin, host))

    def test_admin_page(self) -> None:
        self.assertTrue(self.policy.allows(PAGE, "127.0.0.1:8080"))
        self.assertFalse(self.policy.allows("http://127.0.0.1:8082", "127.0.0.1:8080"))
        self.assertFalse(OriginPolicy(()).allows(PAGE, "127.0.0.1:8080"))


class ListTests(SynchronousTestCase):
    """With ``--origin``: what it says, and nothing else."""

    def test_list(self) -> None:
        policy = OriginPolicy(["https://app.example", "http://Other.example:8443"], always=[PAGE])
        for origin, allowed in (
            (None, True),
            ("https://app.example", True),
            ("https://APP.example:443", True),
            ("http://other.example:8443", True),
            ("http://app.example", False),
            ("https://app.example:8443", False),
            ("https://other.example:8443", False),
            ("https://sub.app.example", False),
            ("https://airy.example", False),
            (PAGE, False),
            ("null", False),
        ):
            self.assertIs(policy.allows(origin, "airy.example"), allowed, origin)

    def test_default_port_in_the_list(self) -> None:
        self.assertTrue(OriginPolicy(["https://app.example:443"]).allows("https://app.example", "x"))

    def test_any(self) -> None:
        policy = OriginPolicy(["https://app.example", "*"])
        for origin in (None, "null", "http://evil.example", "file://"):
            self.assertTrue(policy.allows(origin, "airy.example"), origin)

    def test_null(self) -> None:
        policy = OriginPolicy(["null"])
        self.assertTrue(policy.allows("null", "airy.example"))
        self.assertFalse(policy.allows("http://airy.example", "airy.example"))

    def test_other_schemes(self) -> None:
        self.assertTrue(OriginPolicy(["app+x://app"]).allows("app+x://app", "x"))
        self.assertTrue(OriginPolicy(["http://[2001:db8::1]:8080"]).allows("http://[2001:db8::1]:8080", "x"))

    def test_no_origins(self) -> None:
        """A typing error is told at the start, not found by the users."""
        for wrong in (
            "",
            "app.example",
            "https://",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example?x",
            "https://app.example#x",
            "https://ann@app.example",
            "https://*.app.example",
            "https://app .example",
            "https://app.example:port",
            "https://app.example:0",
            "https://[::1",
            "https://app.example\n",
            "://app.example",
            "**",
        ):
            error = self.assertRaises(ConfigurationError, OriginPolicy, ["https://good.example", wrong])
            self.assertIn("--origin", str(error))
            self.assertIn(repr(wrong), str(error))

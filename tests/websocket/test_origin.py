"""Which web pages may connect."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import ConfigurationError
from airyd.websocket.origin import OriginPolicy, describe_refusal


class DefaultTests(SynchronousTestCase):
    """Without ``--origin``: the host that the client connected to."""

    def setUp(self) -> None:
        self.policy = OriginPolicy(())

    def test_programs(self) -> None:
        """Programs, which send no origin, may connect."""
        self.assertTrue(self.policy.allows(None, "airy.example"))

    def test_own_host(self) -> None:
        for origin, host in (
            ("http://airy.example", "airy.example"),
            ("http://airy.example", "airy.example:80"),
            ("http://airy.example:80", "airy.example"),
            ("https://airy.example", "airy.example:443"),
            ("https://airy.example", "airy.example:80"),
            ("http://airy.example:80", "airy.example:443"),
            ("https://airy.example", "airy.example:"),
            ("https://airy.example", "airy.example."),
            ("https://airy.example.", "airy.example"),
            ("https://airy.example.:8080", "airy.example.:8080"),
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
            ("https://airy.example:8443", "airy.example:443"),
            ("https://airy.example", "airy.example:8443"),
            ("https://airy.example..", "airy.example"),
            ("https://.airy.example", "airy.example"),
            ("capacitor://localhost", "localhost"),
            ("http://localhost:8080", "127.0.0.1:8080"),
            ("http://127.0.0.1:8081", "127.0.0.1:8080"),
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
        """An empty ``Host`` equals no origin."""
        for origin in ("null", "", "x", "http://", "file://", "http://:80"):
            for host in ("", " ", ":80", ":443"):
                self.assertFalse(self.policy.allows(origin, host), (origin, host))


class OwnPagesTests(SynchronousTestCase):
    """Pages of airyd itself."""

    PAGE = "http://127.0.0.1:8081"

    def test_by_default(self) -> None:
        """The page's own host stays allowed."""
        policy = OriginPolicy((), [self.PAGE])
        for origin, allowed in (
            (self.PAGE, True),
            ("http://127.0.0.1:8080", True),
            ("http://127.0.0.1:8082", False),
            ("https://127.0.0.1:8081", False),
            ("http://localhost:8081", False),
        ):
            self.assertIs(policy.allows(origin, "127.0.0.1:8080"), allowed, origin)

    def test_with_a_list(self) -> None:
        """They are added to the list; other pages of the host stay refused."""
        policy = OriginPolicy(["https://app.example"], [self.PAGE])
        for origin, allowed in (
            (self.PAGE, True),
            ("https://app.example", True),
            ("http://127.0.0.1:8080", False),
        ):
            self.assertIs(policy.allows(origin, "127.0.0.1:8080"), allowed, origin)


class ListTests(SynchronousTestCase):
    """With ``--origin``: only the listed origins."""

    def test_list(self) -> None:
        policy = OriginPolicy(["https://app.example", "http://Other.example:8443"])
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
            ("null", False),
        ):
            self.assertIs(policy.allows(origin, "airy.example"), allowed, origin)

    def test_default_port_in_the_list(self) -> None:
        self.assertTrue(OriginPolicy(["https://app.example:443"]).allows("https://app.example", "x"))

    def test_any(self) -> None:
        policy = OriginPolicy(["https://app.example", "*"])
        for origin in (None, "null", "http://evil.example", "file://"):
            self.assertTrue(policy.allows(origin, "airy.example"), origin)

    def test_subdomains(self) -> None:
        policy = OriginPolicy(["https://*.example.com", "https://*.example.org:8443", "HTTP://*.Localhost"])
        for origin, allowed in (
            ("https://a.example.com", True),
            ("https://a.b.example.com", True),
            ("https://A.Example.com:443", True),
            ("https://a.example.com.", True),
            ("https://xn--bcher-kva.example.com", True),
            ("https://a.example.org:8443", True),
            ("http://a.localhost", True),
            ("https://example.com", False),
            ("https://.example.com", False),
            ("https://a..example.com", False),
            ("https://aexample.com", False),
            ("https://evil-example.com", False),
            ("https://a.example.com.evil.example", False),
            ("https://evil.example/.example.com", False),
            ("https://evil.example#.example.com", False),
            ("https://evil.example?.example.com", False),
            ("https://evil.example\\.example.com", False),
            ("https://evil.example:80.example.com", False),
            ("https://ann@a.example.com", False),
            ("https://*.example.com", False),
            ("https://a.example.com\n", False),
            ("http://a.example.com", False),
            ("https://a.example.com:8443", False),
            ("https://a.example.org", False),
            ("null", False),
            ("", False),
        ):
            self.assertIs(policy.allows(origin, "airy.example"), allowed, origin)

    def test_any_port(self) -> None:
        policy = OriginPolicy(["http://localhost:*", "https://*.example.com:*"])
        for origin, allowed in (
            ("http://localhost", True),
            ("http://localhost:5173", True),
            ("https://a.example.com:8443", True),
            ("https://localhost:5173", False),
            ("http://localhost:x", False),
            ("http://127.0.0.1:5173", False),
            ("http://a.localhost:5173", False),
        ):
            self.assertIs(policy.allows(origin, "airy.example"), allowed, origin)

    def test_a_slash_at_the_end(self) -> None:
        """Copied from a browser's address bar."""
        policy = OriginPolicy(["https://app.example/", "http://localhost:5173/", "https://*.example.com/", "file:///"])
        for origin in ("https://app.example", "http://localhost:5173", "https://a.example.com", "file://"):
            self.assertTrue(policy.allows(origin, "x"), origin)
        self.assertFalse(policy.allows("https://app.example/", "x"))

    def test_web_views(self) -> None:
        """Apps load their pages from files, or with schemes of their own."""
        for origin in ("file://", "capacitor://localhost", "ionic://localhost", "chrome-extension://abcdefghijklmnop"):
            self.assertTrue(OriginPolicy([origin]).allows(origin, "x"), origin)
            for other in ("file://", "null", "capacitor://localhost", "http://localhost", "file:///x", "file://x"):
                if other != origin:
                    self.assertFalse(OriginPolicy([origin]).allows(other, "x"), (origin, other))

    def test_too_much(self) -> None:
        """A wildcard needs a domain after it."""
        for wrong in ("https://*", "https://*.com", "https://*.", "https://*.168.1.5", "https://*.*.example.com"):
            error = self.assertRaises(ConfigurationError, OriginPolicy, [wrong])
            self.assertIn("--origin", str(error))
            self.assertIn("*.example.com", str(error))

    def test_null(self) -> None:
        policy = OriginPolicy(["null"])
        self.assertTrue(policy.allows("null", "airy.example"))
        self.assertFalse(policy.allows("http://airy.example", "airy.example"))

    def test_other_schemes(self) -> None:
        self.assertTrue(OriginPolicy(["app+x://app"]).allows("app+x://app", "x"))
        self.assertTrue(OriginPolicy(["http://[2001:db8::1]:8080"]).allows("http://[2001:db8::1]:8080", "x"))

    def test_no_origins(self) -> None:
        """An invalid option is reported at the start."""
        for wrong in (
            "",
            "app.example",
            "https://",
            "https://app.example//",
            "https://app.example/path",
            "https://app.example/*",
            "file:///home",
            "file:",
            "https://app.example?x",
            "https://app.example#x",
            "https://ann@app.example",
            "https://*app.example",
            "https://app.*.example",
            "https://*.[::1]",
            "*.app.example",
            "*://app.example",
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

    def test_other_letters(self) -> None:
        """Browsers send names in ASCII. U+212A would become a ``k``."""
        for wrong in ("https://b\u00fccher.example", "https://\u212aing.example"):
            error = self.assertRaises(ConfigurationError, OriginPolicy, [wrong])
            self.assertIn("https://xn--bcher-kva.example", str(error))
        self.assertTrue(OriginPolicy(["https://xn--bcher-kva.example"]).allows("https://xn--bcher-kva.example", "x"))


class DescribeTests(SynchronousTestCase):
    """How the log describes a refused origin."""

    def test_the_option(self) -> None:
        for origin in ("https://evil.example", "http://localhost:5173", "http://[::1]:8080", "file://", "null"):
            said = describe_refusal(origin)
            self.assertIn(f"--origin {origin} ", f"{said} ".replace(";", " "))
            self.assertTrue(OriginPolicy([origin]).allows(origin, "x"))
        self.assertIn("any web page", describe_refusal("null"))
        self.assertIn("--origin https://app.example would", describe_refusal("HTTPS://App.Example.:443"))

    def test_an_invalid_origin_is_not_repeated(self) -> None:
        """An invalid origin could be a token, a forged log line, or very long."""
        for origin in (
            "Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl",
            "https://eyJhbGciOiJIUzI1NiJ9:e30@app.example",
            "https://app.example\n2026-01-01 forged",
            "https://app.example\x1b[2J",
            "https://app.example\u2028",
            "https://app.example/?token=secret",
            f"https://{'a.' * 10_000}example",
            f"https://{'a' * 64}.example",
            "",
        ):
            said = describe_refusal(origin)
            self.assertEqual(said, describe_refusal("\0"), origin)
            self.assertNotIn("--origin ", said)

    def test_length(self) -> None:
        for size in range(10, 2000, 7):
            self.assertLess(len(describe_refusal(f"https://{'a.' * size}example")), 800)

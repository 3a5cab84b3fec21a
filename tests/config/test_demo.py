"""When there is a demo page, and which origins it can have."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.config.command_line import Options
from airyd.config.demo import demo_origins, has_demo
from airyd.config.settings import Settings
from airyd.websocket.origin import OriginPolicy


def settings(*arguments: str) -> Settings:
    """Return the settings of a command line."""
    options = Options()
    options.parseOptions(arguments)
    return options.settings


class DemoTests(SynchronousTestCase):
    """The page is for made-up events that everybody may read."""

    def test_when(self) -> None:
        for arguments, expected in (
            (["--source=sample:"], True),
            (["--source=SAMPLE:?rate=5", "--auth=anonymous:send"], True),
            (["--source=sample:", "--auth=jwt:secret-file=/x", "--auth=anonymous"], False),
            (["--source=sample:", "--auth=jwt:secret-file=/x"], False),
            (["--source=memory:"], False),
            (["--source=redis://localhost/0?prefix=sample:"], False),
        ):
            self.assertIs(has_demo(settings(*arguments)), expected, arguments)

    def test_origins(self) -> None:
        """Loopback has several names."""
        sample = settings("--source=sample:")
        for url, expected in (
            ("http://127.0.0.1:81/", ["http://127.0.0.1:81", "http://localhost:81", "http://[::1]:81"]),
            ("http://127.0.0.9:81/", ["http://127.0.0.9:81", "http://localhost:81", "http://127.0.0.1:81"]),
            ("https://[::1]:81/", ["https://[::1]:81", "https://localhost:81", "https://127.0.0.1:81"]),
            ("http://192.0.2.1:81/", ["http://192.0.2.1:81"]),
            ("http+unix:/run/admin.sock/", []),
            ("", []),
        ):
            found = demo_origins(sample, url)
            self.assertEqual(found[: len(expected)], expected, url)
            OriginPolicy((), found)
        self.assertEqual(demo_origins(sample, "http://192.0.2.1:81/"), ["http://192.0.2.1:81"])
        self.assertEqual(demo_origins(settings("--source=memory:"), "http://127.0.0.1:81/"), [])

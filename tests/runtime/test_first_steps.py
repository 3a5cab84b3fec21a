"""What ``make run`` prints."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.runtime.first_steps import Hints


class HintsTests(SynchronousTestCase):
    """The addresses are those that the log names."""

    def shown(self, *events: tuple[str, str], has_demo: bool = False) -> list[str]:
        """Return the lines that are shown when the log says this: ``(format, url)``."""
        shown: list[str] = []
        hints = Hints("bin", shown.append)
        for log_format, url in events:
            hints({"log_format": log_format, "url": url, "has_demo": has_demo})
        return [line.strip() for text in shown for line in text.splitlines() if line]

    def test_both(self) -> None:
        lines = self.shown(
            ("airyd admin at {url}", "http://127.0.0.1:81/"),
            ("airyd serves {url}", "ws://127.0.0.1:80/x"),
            ("airyd serves {url}", "ws://127.0.0.1:82/x"),
        )
        self.assertEqual(
            lines,
            [
                "Serving made-up events at ws://127.0.0.1:80/x until Ctrl-C.",
                "In another terminal, try:",
                "bin/airyd tail ws://127.0.0.1:80/x",
                'bin/airyd publish http://127.0.0.1:81 /queue/channel/connected \'{"id": "channel-1"}\'',
                "curl http://127.0.0.1:81/metrics",
                "bin/twistd airyd --help",
            ],
        )

    def test_demo(self) -> None:
        """The demo page is the first thing to try."""
        events = (("airyd admin at {url}", "http://127.0.0.1:81/"), ("airyd serves {url}", "ws://127.0.0.1:80/x"))
        self.assertEqual(self.shown(*events, has_demo=True)[1], "Open this page in a browser: http://127.0.0.1:81/demo")

    def test_no_admin_page(self) -> None:
        lines = self.shown(("airyd serves {url}", "wss://127.0.0.1:80/x"))
        self.assertEqual(lines[2:], ["bin/airyd tail wss://127.0.0.1:80/x", "bin/twistd airyd --help"])

    def test_unix_sockets(self) -> None:
        """``airyd`` can't reach those; curl can."""
        lines = self.shown(
            ("airyd admin at {url}", "http+unix:/run/b.sock/"),
            ("airyd serves {url}", "ws+unix:/run/a.sock/x"),
            has_demo=True,
        )
        self.assertEqual(lines[3], "curl --unix-socket /run/b.sock http://localhost/metrics")
        self.assertIn("--unix-socket /run/b.sock -H", lines[2])
        self.assertEqual(len(lines), 5)

    def test_nothing_listens(self) -> None:
        self.assertEqual(self.shown(("airyd has reached its event source", "")), [])

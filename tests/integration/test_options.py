"""Wrong options end airyd with one readable line and a non-zero status, before anything listens."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import start_twistd
from tests.leaks import leaks
from tests.patience import PATIENCE

#: ``(options, what the one line must contain)``; tests/integration/test_wrong_values.py has all others.
WRONG: tuple[tuple[tuple[str, ...], str], ...] = (
    (("--nonsense",), "nonsense"),
    (("--source=memory:?history=many",), "history"),
    (("--listen=tcp:0",), "anonymous:public"),
    (("--workers=2",), "memory:"),
)


class WrongOptionsTests(SynchronousTestCase):
    """The real program, started as a user starts it."""

    def test_each(self) -> None:
        for options, hint in WRONG:
            process = start_twistd(*options)
            said, _ = process.communicate(timeout=PATIENCE)
            self.assertEqual((process.returncode, len(said.splitlines())), (1, 1), said)
            self.assertIn(hint, said)


class HelpTests(SynchronousTestCase):
    """The output of ``--help`` and similar options."""

    def said(self, *options: str) -> str:
        """Run with these options, which must succeed; return the output."""
        process = start_twistd(*options)
        said, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, said)
        self.assertNotIn("Traceback", said)
        self.assertEqual(leaks(said), [])
        return said

    def test_help_shows_defaults(self) -> None:
        text = " ".join(self.said("--help").split())
        for option, default in [
            ("--listen", "tcp:8080:interface=127.0.0.1"),
            ("--path", "/ws.communication"),
            ("--source", "memory:"),
            ("--admin", "tcp:8081:interface=127.0.0.1"),
            ("--auth", "anonymous"),
            ("--heart-beat", "30000,30000"),
            ("--heart-beat-grace", "65"),
            ("--connect-timeout", "10"),
            ("--subscriptions", "256"),
            ("--buffered", "2097152"),
            ("--workers", "1"),
        ]:
            self.assertIn(f"{option}=", text)
            self.assertIn(default, text)

    def test_sources(self) -> None:
        text = self.said("--help-sources")
        self.assertIn("memory:", text)
        self.assertIn("sample:", text)

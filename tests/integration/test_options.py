"""Wrong options end in one readable line and a non-zero status, before anything listens."""

from __future__ import annotations

import subprocess
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import command, environment
from tests.leaks import leaks
from tests.patience import PATIENCE

#: ``(options, what the one line must name)``
WRONG: tuple[tuple[tuple[str, ...], str], ...] = (
    (("--nonsense",), "nonsense"),
    (("stray",), "stray"),
    (("--listen=nonsense:1",), "nonsense"),
    (("--listen=tcp:port",), "listen"),
    (("--listen=tcp:0",), "anonymous:public"),
    (("--listen=tcp:0:interface=0.0.0.0",), "anonymous:public"),
    (("--path=ws",), "path"),
    (("--source=pigeon:",), "pigeon"),
    (("--source=memory:?history=many",), "history"),
    (("--source=memory:?history=-1",), "history"),
    (("--source=memory:?colour=blue",), "colour"),
    (("--source=sample:?rate=fast",), "rate"),
    (("--source=sample:?file=/nothing/there.jsonl",), "/nothing/there.jsonl"),
    (("--source=memory:", "--source=memory:"), "destinations="),
    (("--source=memory:?destinations=/queue/message",), "/queue/unread-count"),
    (("--source=memory:?destinations=/**", "--source=memory:?destinations=/queue/*"), "/queue/message"),
    (("--destination=queue",), "queue"),
    (("--destination=/a b",), "/a b"),
    (("--auth=nobody",), "nobody"),
    (("--auth=anonymous:fly",), "public, send"),
    (("--admin=tcp:0:interface=0.0.0.0",), "admin"),
    (("--admin=tcp:0",), "admin"),
    (("--heart-beat=30000",), "heart-beat"),
    (("--heart-beat=a,b",), "heart-beat"),
    (("--heart-beat=-1,0",), "heart-beat"),
    (("--heart-beat-grace=never",), "heart-beat-grace"),
    (("--buffered=lots",), "buffered"),
    (("--buffered=-1",), "buffered"),
    (("--connect-timeout=0",), "connect-timeout"),
    (("--origin=no origin",), "origin"),
    (("--workers=0",), "workers"),
    (("--workers=many",), "workers"),
    (("--workers=2",), "memory:"),
    (("--workers=2", "--source=sample:"), "sample:"),
    (("--workers=2", "--source=redis://127.0.0.1:1/0", "--listen=unix:/nowhere/socket"), "unix:"),
    (("--workers=2", "--source=redis://127.0.0.1:1/0?password-file=/nowhere/secret"), "password-file"),
)


def run(*options: str) -> subprocess.Popen[str]:
    """Start ``twistd -n airyd`` with these options, in a directory where it may leave nothing."""
    return subprocess.Popen(
        command(*options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tempfile.gettempdir(),
        env=environment(),
    )


class WrongOptionsTests(SynchronousTestCase):
    """The table above."""

    def test_each(self) -> None:
        failures = []
        for start in range(0, len(WRONG), 4):
            running = [(*case, run(*case[0])) for case in WRONG[start : start + 4]]
            for options, hint, process in running:
                try:
                    said, _ = process.communicate(timeout=PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    failures.append(f"{options}: it runs: {process.communicate()[0]}")
                    continue
                lines = said.strip().splitlines()
                if process.returncode == 0:
                    failures.append(f"{options}: status 0: {lines[-1:]}")
                elif len(lines) != 1 or "Traceback" in said or hint not in said or leaks(said):
                    failures.append(f"{options}: {len(lines)} lines (wanted one with {hint!r}): {lines[-3:]}")
        self.assertEqual([], failures, "\n".join(failures))


class HelpTests(SynchronousTestCase):
    """What is printed on demand."""

    def said(self, *options: str) -> str:
        """Run with these options, which must succeed, and return what was printed."""
        process = run(*options)
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

"""``airyd health``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.cli import health as module
from airyd.cli.admin_client import AdminClient
from airyd.cli.health import health
from tests.cli.fakes import Screen
from tests.cli.node_case import UNREACHABLE
from tests.cli.web import Answer, Web

READY = (200, b'{"ready": true, "reasons": []}')
NOT_READY = (503, b'{"ready": false, "reasons": ["draining", "Redis\\u001b[2J"]}')
WARNING = (200, b'{"ready": true, "reasons": [], "warnings": ["worker-2 hangs"]}')


class HealthTests(SynchronousTestCase):
    """What the command prints, and its exit status."""

    def setUp(self) -> None:
        self.screen = Screen("airyd health")
        self.web = Web()
        self.addCleanup(self.web.close)

    def ask(self, url: str, is_live: bool = False) -> int:
        """Ask the admin page with this URL."""
        client = AdminClient(url, lambda: 0.0)
        self.addCleanup(client.close)
        return health(url, client, is_live, self.screen.console)

    def answered(self, answer: Answer, is_live: bool = False) -> tuple[int, str, str]:
        """Return the exit status, and both outputs, for an answer."""
        self.web.answer = lambda body: answer
        return self.ask(self.web.url, is_live), self.screen.out.text, self.screen.err.text

    def test_ready(self) -> None:
        url = self.web.url
        self.assertEqual(self.answered(READY), (0, f"{url} is ready\n", ""))
        self.assertEqual(self.web.requests, ["GET /readyz"])
        self.assertNotIn("authorization", self.web.headers[0])

    def test_warnings(self) -> None:
        """A node with warnings is ready."""
        self.assertEqual(
            self.answered(WARNING), (0, f"{self.web.url} is ready\n", "airyd health: warning: worker-2 hangs\n")
        )

    def test_not_ready(self) -> None:
        """The reasons are printed, without what a terminal would interpret."""
        expected = f"airyd health: {self.web.url}: not ready: draining; Redis\\x1b[2J\n"
        self.assertEqual(self.answered(NOT_READY), (1, "", expected))

    def test_hostile_answers(self) -> None:
        """Whatever a server answers, little is printed."""
        long, many = b"x" * 1_000_000, b", ".join([b'"x"'] * 10_000)
        for status, answer in (
            (503, b'{"ready": false, "reasons": ["%s"]}' % long),
            (503, b'{"ready": false, "reasons": [%s]}' % many),
            (200, b'{"ready": true, "warnings": ["%s"]}' % long),
            (200, b'{"ready": true, "warnings": [%s]}' % many),
            (500, b'{"error": "%s"}' % long),
            (500, long),
            (200, b"[" * 1_000_000),
        ):
            self.answered((status, answer))
            self.assertLess(len(self.screen.err.text), 2000, answer[:40])
            self.screen = Screen("airyd health")

    def test_live(self) -> None:
        """``--live`` asks whether the process answers."""
        self.assertEqual(self.answered((200, b"ok"), is_live=True), (0, f"{self.web.url} is alive\n", ""))
        self.assertEqual(self.web.requests, ["GET /healthz"])

    def test_not_the_admin_page(self) -> None:
        """Another server on the port, or another path, is not healthy."""
        for answer in ((200, b"ok"), (200, b"[]"), (404, b"<title>Not here</title>"), (503, b"{}"), (200, b"{}")):
            for is_live in (False, True):
                if is_live and answer[0] == 200:
                    continue
                status, out, err = self.answered(answer, is_live)
                self.assertEqual((status, out), (1, ""), answer)
                self.assertTrue(err.startswith(f"airyd health: {self.web.url}: "), err)

    def test_unreachable(self) -> None:
        self.assertEqual(self.ask(UNREACHABLE), 1)
        expected = f"airyd health: cannot reach {UNREACHABLE}: connection refused\n"
        self.assertEqual(self.screen.err.text, expected)

    def test_no_unix_socket(self) -> None:
        self.assertEqual(self.ask("unix:/nonexistent/admin.sock"), 1)
        expected = "airyd health: cannot reach unix:/nonexistent/admin.sock: No such file or directory\n"
        self.assertEqual(self.screen.err.text, expected)

    def test_no_path_of_a_unix_socket(self) -> None:
        """A path that is too long is refused with the reason."""
        self.assertEqual(self.ask(f"unix:/{'x' * 200}"), 1)
        self.assertNotRegex(self.screen.err.text, r"OSError|None")

    def test_no_answer(self) -> None:
        """A node that does not answer in time is not healthy."""
        self.patch(module, "PATIENCE", 0.01)
        self.web.answer = lambda body: None
        self.assertEqual(self.ask(self.web.url), 1)
        self.assertEqual(self.screen.err.text, f"airyd health: {self.web.url}: no answer within 0 s\n")

"""The console when something happens: thousands of clients, a slow one, hostile names, an airyd that dies."""

from __future__ import annotations

import os
import signal

from tests.auth.case import SECRET, token
from tests.integration.console import FULL, ConsoleCase
from tests.integration.payloads import MESSAGE, body
from tests.integration.swarm import State, Swarm
from tests.integration.test_tokens import fresh
from tests.sources.redis.server import RedisServer

CLIENTS = 5000
HOSTILE = '<img src=x onerror="window.attacked=1">\'"&amp;</script>'
ROWS = "document.querySelectorAll('tbody tr').length"


class ManyTests(ConsoleCase):
    """With 5,000 connections."""

    def test_find_slow(self) -> None:
        """From the warning to the slow client: its address, what is queued for it, and its position."""
        daemon = self.with_tokens("--buffered=20000000")
        swarm = Swarm(daemon.port, MESSAGE, CLIENTS)
        self.addCleanup(swarm.close)
        swarm.open(*swarm.members)
        swarm.until(lambda member: member.state is State.LIVE, "live")
        self.open_console(daemon, FULL)
        self.show("connections", "Connections")
        self.browser.see("5,000 connections, page 1")
        self.assertEqual(self.browser.evaluate(ROWS), 50)
        first = self.browser.text("tbody td")
        self.browser.click("Next page", "link")
        self.browser.see("5,000 connections, page 2")
        self.assertNotIn(f"{first}\t", self.browser.text("table"))
        self.browser.click("First page", "link")
        self.browser.see("5,000 connections, page 1")
        self.browser.select("Rows", "1000")
        self.browser.click("Find")
        self.browser.until(f"{ROWS} === 1000")

        slow = self.connect(daemon=daemon, receive_buffer=4096, headers={"User-Agent": "reads-nothing/1"})
        slow.subscribe("/queue/unread-count", "0")
        for n in range(60):
            daemon.request(
                "POST",
                "/api/v1/publish/queue/unread-count",
                body("/queue/unread-count", n, "x" * 200_000),
                {"Content-Type": "application/json", "Authorization": f"Bearer {FULL}"},
            )
        self.show("overview", "Overview")
        self.browser.see("1 slow connection: bytes wait")
        self.browser.evaluate("document.querySelector('.warnings a').click()")
        self.browser.see("1 connection, page 1")
        self.browser.click(self.browser.text("tbody td a"), "link")
        self.browser.see("reads-nothing/1")
        self.browser.until("document.querySelector('dl .state').textContent === 'slow'")
        self.assertIn("iB of at most 19.1 MiB", self.browser.text("dl"))
        self.browser.see("catching-up")  # its subscription, which reads from the history


class HostileTests(ConsoleCase):
    """Text from clients is never HTML."""

    def test_names(self) -> None:
        """A user, a user agent, a filter, a subscription's id, a header and a body."""
        secret = self.token_file(SECRET)
        daemon = self.own_daemon(f"--auth=jwt:secret-file={secret}", f"--admin-token-file={self.token_file()}")
        client = self.open(daemon, headers={"User-Agent": HOSTILE})
        client.connect(Authorization=token(fresh(sub=HOSTILE, only={"channel_id": [HOSTILE]})))
        client.send("SUBSCRIBE", id=HOSTILE, destination=MESSAGE, receipt="r")
        client.receive()
        self.open_console(daemon, FULL)
        self.show("connections", "Connections")
        self.browser.until(f"{ROWS} === 1")
        self.assertEqual(self.browser.text("table").count(HOSTILE), 2)
        name = self.browser.text("tbody td")
        self.browser.click(HOSTILE, "link")
        self.browser.until(f"document.querySelector('[name=subject]').value === {HOSTILE!r}")
        self.browser.until(f"{ROWS} === 1")
        self.show(f"connections/{name}", f"Connection {name}")
        self.browser.until(f"{ROWS} === 1")
        self.assertIn(HOSTILE, self.browser.text("table"))
        self.browser.see(f"All connections of {HOSTILE}")
        self.show_destination(MESSAGE)
        self.browser.click("Start the live tail")
        self.browser.see("subscribed")
        answer = daemon.request(
            "POST",
            "/api/v1/publish/queue/message",
            body(MESSAGE, 1, HOSTILE.replace('"', "")),
            {"Content-Type": "application/json", "Authorization": f"Bearer {FULL}"},
        )
        self.assertEqual(answer[0], 200, answer)
        self.browser.until("document.querySelector('.trace').textContent.includes('<img src=x')")
        self.browser.click("Show")
        self.browser.until("document.querySelector('tbody').textContent.includes('<img src=x')")
        self.assertEqual(self.browser.evaluate("[window.attacked ?? 0, document.images.length]"), [0, 0])

    def test_address(self) -> None:
        """What is in the address of the page does no harm either, however malformed it is."""
        daemon = self.own_daemon()
        self.open_console(daemon)
        for page in (
            f"destinations/{HOSTILE}",
            f"connections/{HOSTILE}",
            "trace?subject=<b>",
            "%",
            "connections/%E0%A4",
        ):
            self.browser.goto("about:blank")
            self.browser.goto(f"{self.admin}#/{page}")
            self.browser.until("document.querySelector('h1')")
            self.assertEqual(self.browser.problems(), [], page)
        self.assertEqual(self.browser.evaluate("[window.attacked ?? 0, document.images.length]"), [0, 0])


class RestartTests(ConsoleCase):
    """An airyd that dies and comes back on the same port."""

    def test_open(self) -> None:
        """Without tokens, the page goes on by itself; a trace says that it is over."""
        daemon = self.own_daemon()
        self.open_console(daemon)
        self.show("trace?destination=/queue/message", "Trace")
        self.browser.click("Start")
        self.browser.see("subscribed")
        os.kill(daemon.pid, signal.SIGKILL)
        self.browser.see("airyd has not answered since")
        self.browser.see("The connection to airyd is lost.")
        self.show("connections", "Connections")
        self.browser.see("airyd does not answer.")
        again = self.own_daemon(admin_port=daemon.admin_port)
        self.browser.until("document.querySelector('#lost').hidden")
        self.browser.see("Nobody is connected.")
        client = self.connect(daemon=again)
        self.browser.see("1 connection, page 1")
        client.disconnect()

    def test_token(self) -> None:
        """The sessions have ended with the process: the page asks for the token."""
        daemon = self.with_tokens()
        token = self.token_file()
        self.open_console(daemon, FULL)
        self.show("nodes", "Nodes")
        os.kill(daemon.pid, signal.SIGKILL)
        self.browser.see("airyd has not answered since")
        self.own_daemon(f"--admin-token-file={token}", admin_port=daemon.admin_port)
        self.browser.see("Give the token of")
        self.log_in(FULL)
        self.browser.see("Versions and sources")


class WorkersTests(ConsoleCase):
    """With several processes."""

    def test_hanging_worker(self) -> None:
        """The page names the worker that does not answer, and shows the others."""
        redis = RedisServer()
        self.addCleanup(redis.close)
        daemon = self.with_tokens("--workers=2", f"--source=redis://127.0.0.1:{redis.port}/0")
        client = self.connect(daemon=daemon)
        self.open_console(daemon, FULL)
        self.show("nodes", "Nodes")
        names = "[...document.querySelectorAll('tbody tr')].map((row) => row.cells[0].textContent).join()"
        self.browser.until(f"{names} === 'parent,worker-1,worker-2'")
        self.show("connections", "Connections")
        self.browser.see("1 connection, page 1")
        process = self.browser.evaluate("document.querySelector('tbody tr').cells[9].textContent")
        self.show("nodes", "Nodes")
        self.browser.until(f"{names} === 'parent,worker-1,worker-2'")
        pid = int(
            self.browser.evaluate(
                "[...document.querySelectorAll('tbody tr')]"
                f".find((row) => row.cells[0].textContent === '{process}').cells[2].textContent"
            )
        )
        os.kill(pid, signal.SIGSTOP)
        try:
            self.browser.see(f"{process} did not answer in time: their figures are missing.")
            self.show("connections", "Connections")
            self.browser.see(f"{process} did not answer in time: their connections are missing.")
        finally:
            os.kill(pid, signal.SIGCONT)
        self.browser.see("1 connection, page 1")
        client.disconnect()

"""The console in a real browser: each page and each action, with each token and without."""

from __future__ import annotations

import json
import re

from tests.integration.console import FULL, READ, ConsoleCase
from tests.integration.daemon import Daemon
from tests.integration.payloads import MESSAGE, body
from tests.integration.raw import RawClient

PAGES = ("Overview", "Destinations", "Connections", "Trace", "Publish", "Nodes")
#: The rows of the first table on the page, as texts.
ROWS = "[...document.querySelectorAll('tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText))"
ALERT = "[role=alert]:not([hidden])"


class ConsoleTests(ConsoleCase):
    """With the full token."""

    def serve(self) -> tuple[Daemon, RawClient]:
        """Start a daemon with a subscriber, and log in."""
        daemon = self.with_tokens()
        client = self.connect(daemon=daemon, headers={"User-Agent": "tester/1"})
        client.subscribe(MESSAGE, "0")
        self.open_console(daemon, FULL)
        return daemon, client

    def publish(self, client: RawClient, number: int, text: str = "") -> str:
        """Publish an event by the client's SEND, and wait until it has come back; return its message-id."""
        client.send("SEND", {"destination": MESSAGE}, body(MESSAGE, number, text))
        return client.message("0").headers["message-id"]

    def connection_id(self) -> str:
        """Return the id of the only connection, as the table shows it."""
        self.show("connections", "Connections")
        self.browser.until(f"{ROWS}.length === 1")
        return str(self.browser.evaluate(f"{ROWS}[0][0]"))

    def test_login(self) -> None:
        """The token is in no URL, no storage, and no cookie that scripts can read."""
        daemon = self.with_tokens()
        self.browser.window(f"http://127.0.0.1:{daemon.admin_port}/#/nodes")
        self.log_in("a-token-of-nobody")
        self.browser.see("this is not a token of airyd")
        self.log_in(FULL)
        self.browser.see("Versions and sources")  # the page that was asked for
        kept = "[localStorage.length, sessionStorage.length, document.cookie, location.search, location.hash]"
        self.assertEqual(self.browser.evaluate(kept), [0, 0, "", "", "#/nodes"])
        self.browser.click("Log out")
        self.browser.see("Give the token of")
        self.assertNotIn("Processes", self.browser.text("body"))

    def test_login_that_ends(self) -> None:
        """Whoever is logged out elsewhere gets the login, and then the same page again."""
        self.serve()
        self.show("nodes", "Nodes")
        self.browser.evaluate("fetch('/logout', {method: 'POST', headers: {'X-Airyd-Request': '1'}}).then(() => null)")
        self.browser.see("Give the token of")
        self.log_in(FULL)
        self.browser.see("Versions and sources")

    def test_overview(self) -> None:
        _, client = self.serve()
        self.publish(client, 1)
        self.show("overview", "Overview")
        self.browser.see("No warnings.")
        self.browser.until("document.querySelector('figure output').textContent === '1'")
        labels = "[...document.querySelectorAll('figure svg')].map((each) => each.getAttribute('aria-label'))"
        shown = self.browser.evaluate(labels)
        self.assertEqual([each.partition(",")[0] for each in shown][:3], ["Connections", "Events", "Deliveries"])
        self.browser.until("/M.*L/.test(document.querySelector('.line').getAttribute('d'))")  # two samples or more
        facts = self.browser.text("dl + h2 + dl").split("\n")
        self.assertEqual(facts[facts.index("Events") + 1], "1")

    def test_destinations(self) -> None:
        _, client = self.serve()
        message_id = self.publish(client, 1)
        self.show("destinations", "Destinations")
        self.browser.until(f"{ROWS}.some((row) => row[0] === '{MESSAGE}' && row.includes('{message_id}'))")
        self.browser.click(MESSAGE, "link")
        self.browser.until(f"document.querySelector('h1').textContent === '{MESSAGE}'")

    def test_history(self) -> None:
        _, client = self.serve()
        ids = [self.publish(client, n, f"text {n}") for n in range(30)]
        self.show_destination(MESSAGE)
        self.browser.until(f"{ROWS}.length === 20")
        rows = self.browser.evaluate(ROWS)
        self.assertEqual([row[1] for row in rows], ids[10:])
        self.assertEqual(json.loads(rows[0][3])["n"], 10)
        self.browser.fill("After message-id", ids[3])
        self.browser.click("Show")
        self.browser.until(f"{ROWS}[0][1] === '{ids[4]}'")
        self.browser.click("Next page")
        self.browser.until(f"{ROWS}[0][1] === '{ids[24]}'")
        self.assertEqual(len(self.browser.evaluate(ROWS)), 6)
        self.browser.fill("After message-id", "")
        self.browser.fill("Filter", "conversation_id:another")
        self.browser.click("Show")
        self.browser.see("The filter hides")
        self.browser.see("There are no events here.")
        self.browser.fill("After message-id", "00000000-1-1")
        self.browser.fill("Filter", "")
        self.browser.click("Show")
        self.browser.see("are lost, or the history does not know it")

    def test_live_tail(self) -> None:
        _, client = self.serve()
        self.show_destination(MESSAGE)
        self.browser.click("Start the live tail")
        self.browser.see("subscribed")
        message_id = self.publish(client, 1, "so that it can be seen")
        self.browser.until(f"document.querySelector('.trace').textContent.includes('{message_id}')")
        self.assertIn("so that it can be seen", self.browser.text(".trace"))
        self.browser.click("Stop")
        self.browser.see("it was stopped")

    def test_publish(self) -> None:
        _, client = self.serve()
        self.show("publish", "Publish a test event")
        self.browser.fill("Destination", MESSAGE)
        self.browser.click("Copy the newest event")
        self.browser.until("document.querySelector('textarea').placeholder.startsWith('This destination has no event')")
        self.browser.fill("Event", "{}")
        self.browser.click("Publish")
        self.browser.until("document.querySelector('form .bad')?.textContent.includes('conversation_id')")
        self.browser.fill("Event", body(MESSAGE, 7, "é").decode())
        self.browser.click("Publish")
        self.browser.see("Published as")
        self.assertEqual(client.message("0").body, body(MESSAGE, 7, "é"))
        self.browser.fill("Event", "")
        self.browser.click("Copy the newest event")
        self.browser.until("document.querySelector('textarea').value !== ''")
        self.browser.click("Publish")
        self.assertEqual(client.message("0").body, body(MESSAGE, 7, "é"))

    def test_connections(self) -> None:
        daemon, client = self.serve()
        other = self.connect(daemon=daemon)
        self.show("connections", "Connections")
        self.browser.see("2 connections, page 1")
        self.assertIn("tester/1", self.browser.text("table"))
        self.browser.fill("Destination", MESSAGE)
        self.browser.select("Sort by", "buffered")
        self.browser.click("Find")
        self.browser.see("1 connection, page 1")
        self.browser.select("State", "slow")
        self.browser.click("Find")
        self.browser.see("No connection matches.")
        self.browser.evaluate("history.go(-2)")
        self.browser.see("2 connections, page 1")
        other.disconnect()
        self.browser.see("1 connection, page 1")  # without a reload
        client.disconnect()
        self.browser.see("Nobody is connected.")

    def test_connection(self) -> None:
        _, client = self.serve()
        message_id = self.publish(client, 1)
        name = self.connection_id()
        self.browser.click(name, "link")
        self.browser.see("Heart-beats")
        shown = self.browser.text("dl").split("\n")
        facts = dict(zip(shown[::2], shown[1::2], strict=True))
        self.assertEqual((facts["User"], facts["State"], facts["Agent"]), ("anonymous", "live", "tester/1"))
        self.browser.until(f"{ROWS}.some((row) => row[0] === '{MESSAGE}' && row[3] === '{message_id}')")
        self.browser.fill("message-id, or the feed's id", message_id)
        self.browser.click("Explain")
        self.browser.see("sent: ")

    def test_kick(self) -> None:
        _, client = self.serve()
        name = self.connection_id()
        self.show(f"connections/{name}", f"Connection {name}")
        self.browser.see("This connection")
        self.browser.evaluate("document.querySelector('summary').click()")
        self.browser.fill("Reason, for the client to see", "maintenance of your account")
        self.browser.click("Disconnect it")
        error, code = client.error()
        self.assertEqual((error.headers["message"], code), ("disconnected by operator", 1008))
        self.assertIn(b"maintenance of your account", error.body)
        self.browser.see("Disconnected: 1.")
        self.browser.see("there is no connection with this id")

    def test_kick_user(self) -> None:
        daemon, client = self.serve()
        name = self.connection_id()
        other = self.connect(daemon=daemon)
        self.show(f"connections/{name}", f"Connection {name}")
        self.browser.see("All connections of anonymous")
        self.browser.evaluate("document.querySelectorAll('summary')[1].click()")
        self.browser.click("Disconnect them")
        for each in (client, other):
            self.assertEqual(each.error()[1], 1008)
        self.browser.see("Disconnected: 2.")

    def test_trace(self) -> None:
        """Of a connection: frames in both directions, without secrets and without bodies."""
        _, client = self.serve()
        name = self.connection_id()
        self.show(f"trace?connection={name}", "Trace")
        self.browser.click("Start")
        self.browser.see("The trace runs.")
        client.send("SUBSCRIBE", id="1", destination=MESSAGE, receipt="r", Authorization="hunter2")
        self.browser.until("/RECEIPT/.test(document.querySelector('.trace').textContent)")
        shown = self.browser.text(".trace")
        self.assertRegex(shown, r"→ airyd\s+SUBSCRIBE")
        self.assertRegex(shown, r"← airyd\s+RECEIPT")
        self.assertNotIn("hunter2", shown)
        client.send("SEND", {"destination": MESSAGE}, body(MESSAGE, 1, "not shown"))
        self.browser.until("/SEND/.test(document.querySelector('.trace').textContent)")
        self.assertNotIn("not shown", self.browser.text(".trace"))
        client.abort()
        self.browser.see("The trace has ended")

    def test_drain(self) -> None:
        _, client = self.serve()
        self.show("nodes", "Nodes")
        self.browser.until(f"{ROWS}.length === 1 && {ROWS}[0][1].includes('ready')")
        self.browser.evaluate("document.querySelectorAll('summary')[0].click()")
        self.browser.click("Drain now")
        self.browser.see("The node drains")
        self.assertEqual(client.error()[1], 1012)
        self.browser.until(f"{ROWS}[0][1].startsWith('draining')")
        self.browser.see("not ready")
        self.browser.evaluate("document.querySelectorAll('summary')[1].click()")
        self.browser.click("Serve clients again")
        self.browser.see("The node serves clients again.")
        self.browser.until(f"{ROWS}[0][1].startsWith('ready')")

    def test_time_zone(self) -> None:
        """Times are in the reader's zone, with UTC beside them."""
        daemon, _ = self.serve()
        self.open_console(daemon, FULL, timezoneId="Asia/Kolkata")
        self.show("connections", "Connections")
        self.browser.until("document.querySelector('td time')")
        shown, title = self.browser.evaluate(
            "[document.querySelector('td time').innerText, document.querySelector('td time').title]"
        )
        minutes = [int(hours) * 60 + int(rest) for hours, rest in re.findall(r"(\d\d):(\d\d):\d\d", f"{shown} {title}")]
        self.assertEqual((minutes[0] - minutes[1]) % (24 * 60), 5 * 60 + 30)
        self.assertTrue(title.endswith(" UTC"))


class LevelTests(ConsoleCase):
    """With the read token and without tokens."""

    def test_read(self) -> None:
        """What needs the full token says so, and bodies are not asked for."""
        daemon = self.with_tokens()
        client = self.connect(daemon=daemon)
        client.subscribe(MESSAGE, "0")
        client.send("SEND", {"destination": MESSAGE}, body(MESSAGE, 1, "unseen"))
        client.message("0")
        self.open_console(daemon, READ)
        self.browser.see("read token")
        self.show_destination(MESSAGE)
        self.browser.see("needs the full token")
        self.assertNotIn("unseen", self.browser.text())
        self.browser.click("Start the live tail")
        self.browser.see("subscribed")
        buttons = "[...document.querySelectorAll('main button:disabled')].map((each) => each.innerText)"
        self.assertEqual(self.browser.evaluate(buttons), ["Copy the newest event", "Publish"])
        self.show("nodes", "Nodes")
        self.browser.evaluate("document.querySelectorAll('summary').forEach((each) => each.click())")
        self.browser.see("This needs the full token; yours may only read.")
        self.assertEqual(self.browser.evaluate(buttons), ["Drain now", "Serve clients again"])

    def test_open(self) -> None:
        """Without tokens, one may read and publish."""
        daemon = self.own_daemon("--auth=anonymous:send")
        client = self.connect(daemon=daemon)
        client.subscribe(MESSAGE, "0")
        self.open_console(daemon)
        self.browser.see("no tokens")
        self.show("publish", "Publish a test event")
        self.browser.fill("Destination", MESSAGE)
        self.browser.fill("Event", body(MESSAGE, 1).decode())
        self.browser.click("Publish")
        self.browser.see("Published as")
        self.assertEqual(client.message("0").body, body(MESSAGE, 1))
        self.show("nodes", "Nodes")
        self.browser.evaluate("document.querySelectorAll('summary').forEach((each) => each.click())")
        self.browser.see("start airyd with --admin-token-file")


class AccessibilityTests(ConsoleCase):
    """Of all pages."""

    def visit(self, daemon: Daemon, token: str, **options: object) -> list[str]:
        """Log in, and return the headings and addresses of all pages."""
        self.open_console(daemon, token, **options)
        self.show("connections", "Connections")
        self.browser.until(f"{ROWS}.length > 0")
        name = self.browser.evaluate(f"{ROWS}[0][0]")
        return [
            *(page.lower() for page in PAGES),
            f"connections/{name}",
            f"destinations/{MESSAGE.replace('/', '%2F')}",
            "connections?state=slow",
            "connections/nobody",
        ]

    def serve(self) -> Daemon:
        """Start a daemon with a client and an event."""
        daemon = self.with_tokens()
        client = self.connect(daemon=daemon)
        client.subscribe(MESSAGE, "0")
        client.send("SEND", {"destination": MESSAGE}, body(MESSAGE, 1))
        client.message("0")
        return daemon

    def arrive(self, page: str) -> None:
        """Go to a page, and wait until it has loaded."""
        self.browser.evaluate(f"location.hash = '#/{page}'")
        self.browser.until(
            "document.querySelector('h1') && !document.querySelector('main').innerText.includes('Loading…')"
        )

    def test_axe(self) -> None:
        """axe-core finds nothing serious, in light and in dark, with either token."""
        daemon = self.serve()
        for scheme, token in (("light", FULL), ("dark", READ)):
            self.browser.window(f"http://127.0.0.1:{daemon.admin_port}/", colorScheme=scheme)
            self.browser.see("Give the token of")
            self.assertEqual(self.browser.axe(), [], scheme)
            for page in self.visit(daemon, token, colorScheme=scheme):
                if page != "connections/nobody":
                    self.arrive(page)
                self.browser.evaluate("document.querySelectorAll('summary').forEach((each) => each.click())")
                self.assertEqual(self.browser.axe(), [], f"{page} in {scheme}")

    def test_phone(self) -> None:
        """No page is wider than a phone."""
        for page in self.visit(self.serve(), FULL, viewport={"width": 360, "height": 740}):
            if page != "connections/nobody":
                self.arrive(page)
            self.assertEqual(self.browser.evaluate("document.documentElement.scrollWidth"), 360, page)

    def test_keyboard(self) -> None:
        """The first key leads past the head; a link opens with Enter; the new page has the focus."""
        self.visit(self.serve(), FULL)
        self.browser.goto(f"{self.admin}#/overview")
        self.browser.see("No warnings.")
        focused = "document.activeElement.textContent"
        self.browser.press("Tab")
        self.assertEqual(self.browser.evaluate(focused), "Skip to the content")
        for page in PAGES[:2]:
            self.browser.press("Tab")
            self.assertEqual(self.browser.evaluate(focused), page.lower())
        self.browser.press("Enter")
        self.browser.until("document.activeElement.id === 'main'")
        self.browser.until(f"{ROWS}.length > 0")
        self.browser.press("Tab")
        self.browser.press("Tab")
        self.browser.until("document.activeElement.closest('td')")  # the link in the first row, past the table
        chosen = self.browser.evaluate(focused)
        self.browser.until("performance.getEntriesByName(location.origin + '/api/v1/destinations').length > 2")
        self.assertEqual(self.browser.evaluate(focused), chosen)  # new figures leave the focus where it is

"""The demo page in a real Chromium, with a real daemon whose events the tests publish."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

from tests.integration.case import DaemonTestCase
from tests.integration.console import ConsoleCase
from tests.integration.raw import RawClient
from tests.leaks import MARK

#: A sample: source whose own first event comes after a quarter of an hour.
QUIET = "--source=sample:?rate=0.001"
MESSAGE = "/queue/message"
UNREAD = "/queue/unread-count"
CONNECTED = "/queue/channel/connected"
DISCONNECTED = "/queue/channel/disconnected"

#: What a reader sees.
LOOK = """(() => {
  const text = (element) => element.innerText.trim();
  const all = (selector) => [...document.querySelectorAll(selector)].filter((each) => each.checkVisibility());
  return {
    title: document.title,
    state: text(document.querySelector("#state")),
    button: text(document.querySelector("#cut")),
    resumed: all("#resumed").map(text).join(),
    empty: all(".empty").map(text),
    conversations: all("#conversations button").map((each) => [...each.children].slice(0, 3).map(text)),
    chosen: all("#conversations [aria-current=true]").map((each) => text(each.firstChild)),
    messages: all("#messages p").map(text).reverse(),
    notes: all("#messages small").map(text).reverse(),
    channels: all("#channels li").map(text),
    frames: all("#frames summary").map(text).filter((each) => !each.includes("heart-beat")),
    raw: all("#frames pre").map(text),
    images: document.images.length,
    focused: text(document.activeElement),
    excess: document.documentElement.scrollWidth - innerWidth,
  };
})()"""


class DemoTests(ConsoleCase):
    """A page that loads, shows what comes, and misses nothing. No test may leave an error in the browser's console."""

    def setUp(self) -> None:
        """Start a daemon with a history of its own."""
        super().setUp()
        self.daemon = self.own_daemon(QUIET)
        self.count = 0

    def open_demo(self, host: str = "127.0.0.1", **options: object) -> None:
        """Open the page in a new window, and wait until all its subscriptions are live."""
        self.browser.window(f"http://{host}:{self.daemon.admin_port}/demo", **options)
        self.live(4)

    def live(self, receipts: int) -> None:
        """Wait until the page shows so many RECEIPTs."""
        self.until(f"document.querySelector('#frames').textContent.split(' RECEIPT').length > {receipts}")

    def stay_away(self) -> None:
        """From now on the page connects again only when it is told to."""
        self.browser.evaluate(
            "{ const start = setTimeout; window.setTimeout = (act, wait) => (wait < 1000 ? start(act, wait) : 0); }"
        )

    def cut(self) -> None:
        """Cut the connection until the test clicks on "Connect now"."""
        self.stay_away()
        self.browser.click("Cut my connection")

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        self.browser.until(script)

    def look(self) -> dict[str, Any]:
        """Return what the page shows."""
        seen: dict[str, Any] = self.browser.evaluate(LOOK)
        return seen

    def message(self, conversation: str, text: str, **fields: str) -> str:
        """Publish a message of a contact; return its ``message-id``."""
        self.count += 1
        message = {
            "id": f"m{self.count}",
            "content": {"text": text, "type": "text"},
            "state": "DELIVERED",
            "sender_type": "SOURCE_CONTACT",
            "sent_at": f"2026-11-01T10:00:00.{self.count:03}Z",
            **fields,
        }
        body = {"conversation_id": conversation, "channel_id": "shop", "message": message}
        return self.publish(MESSAGE, body)

    def unread(self, conversation: str, count: int, at: int) -> str:
        """Publish an unread count; return its ``message-id``."""
        stamp = f"2026-11-01T10:00:{at:02}.000Z"
        return self.publish(
            UNREAD, {"conversation_id": conversation, "unread_message_count": count, "timestamp": stamp}
        )

    def channel(self, destination: str) -> str:
        """Publish that the channel has changed; return the ``message-id``."""
        return self.publish(destination, {"id": "shop", "name": "Harbour Books", "source": "facebook"})

    def publish(self, destination: str, body: dict[str, Any]) -> str:
        """Publish an event."""
        return self.daemon.publish(destination, json.dumps(body).encode())

    def see(self, text: str) -> None:
        """Wait until the list of messages has this text."""
        self.until(f"document.querySelector('#messages').textContent.includes({json.dumps(text)})")

    def test_inbox(self) -> None:
        self.open_demo()
        seen = self.look()
        self.assertEqual((seen["state"], seen["conversations"], seen["channels"]), ("Connected", [], []))
        self.assertEqual(len(seen["empty"]), 3)
        self.channel(CONNECTED)
        self.message("first", "Do you open on Sunday?")
        self.unread("first", 1, at=1)
        self.message("second", "Thanks!")
        self.unread("second", 2, at=2)
        self.unread("second", 1, at=1)  # older than the last
        self.until("document.title.startsWith('(3)')")
        self.see("Do you open on Sunday?")
        seen = self.look()
        self.assertEqual(
            seen["conversations"],
            [["Harbour Books · seco", "2", "Thanks!"], ["Harbour Books · firs", "1", "Do you open on Sunday?"]],
        )
        self.assertEqual(seen["messages"], ["Do you open on Sunday?"])
        self.assertEqual(seen["channels"], ["Harbour Books (facebook): connected"])
        self.assertEqual(seen["empty"], [])

        self.message("first", "Yes.", id="answer", state="PENDING", sender_type="APP_USER")
        self.see("PENDING")
        self.message("first", "Yes.", id="answer", state="DELIVERED", sender_type="APP_USER")
        self.unread("first", 0, at=9)
        self.channel(DISCONNECTED)
        self.until("document.title.startsWith('(2)')")
        self.until("document.querySelector('#channels').textContent.includes('disconnected')")
        self.until("!document.querySelector('#messages').textContent.includes('PENDING')")
        self.assertEqual(self.look()["messages"], ["Do you open on Sunday?", "Yes."])

    def test_history(self) -> None:
        """A page that is opened later begins with what happened before."""
        self.channel(CONNECTED)  # the page cannot ask for the first event
        self.channel(CONNECTED)
        self.message("first", "Lost")
        for number in range(5):
            self.message("first", f"Question {number}")
        self.open_demo("localhost")
        self.see("Question 4")
        self.assertEqual(self.look()["messages"], [f"Question {number}" for number in range(5)])
        self.assertEqual(self.look()["channels"], ["Harbour Books (facebook): connected"])

    def test_cut(self) -> None:
        """What happens while the page has no connection comes after it, once each."""
        self.open_demo()
        self.message("first", "Before")
        self.unread("first", 1, at=1)
        self.see("Before")
        self.cut()
        self.assertIn("Disconnected (you cut it)", self.look()["state"])
        for number in range(30):
            self.message("first", f"Question {number}")
        self.unread("first", 31, at=2)
        self.channel(CONNECTED)
        self.assertEqual(self.look()["messages"], ["Before"])
        self.browser.click("Connect now")
        self.until("/ 0 are missing/.test(document.querySelector('#resumed').textContent)")
        seen = self.look()
        self.assertIn("recovered:true. Of 32 events meanwhile 32 came, 0 are missing.", seen["resumed"])
        self.assertEqual(seen["state"], "Connected")
        self.assertEqual(seen["messages"], ["Before", *(f"Question {number}" for number in range(30))])
        missed = [note.endswith("came while you were away") for note in seen["notes"]]
        self.assertEqual(missed, [False] + 30 * [True])
        self.assertTrue(seen["title"].startswith("(31)"))
        self.assertEqual(sum(frame.endswith("recovered:true") for frame in seen["frames"]), 4)
        self.message("first", "After")
        self.see("After")
        self.assertEqual(len(self.look()["messages"]), 32)

    def test_connects_again_by_itself(self) -> None:
        self.open_demo()
        self.browser.click("Cut my connection")
        self.until("/^You were away/.test(document.querySelector('#resumed').textContent)")
        self.assertIn(" 0 are missing", self.look()["resumed"])

    def test_restart(self) -> None:
        """A daemon that lost its history says so, and the page begins anew."""
        self.open_demo()
        self.message("first", "Before")
        self.see("Before")
        port, admin = self.daemon.port, self.daemon.admin_port
        self.daemon.kill()
        self.until("document.querySelector('#state').className === 'lost'")
        self.until("document.querySelector('#cut').textContent === 'Connect now'")
        self.daemon = self.own_daemon(QUIET, port=port, admin_port=admin)
        self.until("/recovered:false/.test(document.querySelector('#resumed').textContent)")
        self.assertEqual((self.look()["state"], self.look()["messages"]), ("Connected", []))
        self.message("second", "After")
        self.see("After")

    def test_frames(self) -> None:
        self.open_demo()
        self.channel(CONNECTED)
        self.until("/MESSAGE/.test(document.querySelector('#frames').textContent)")
        frames = self.look()["frames"]
        newest_first = [frame.rpartition(" /queue")[0] or frame for frame in frames]
        self.assertEqual(newest_first[0].split()[-1], "MESSAGE")
        self.assertEqual([frame.split()[-1] for frame in newest_first[-2:]], ["CONNECTED", "CONNECT"])
        self.assertEqual(sum("SUBSCRIBE" in frame for frame in frames), 4)
        self.browser.evaluate(
            "[...document.querySelectorAll('summary')].find((each) => / MESSAGE/.test(each.textContent)).click()"
        )
        (raw,) = self.look()["raw"]
        self.assertTrue(raw.startswith("MESSAGE\nsubscription:"), raw)
        self.assertTrue(raw.endswith('"source": "facebook"}^@'), raw)
        self.until("document.querySelector('#pause').checked")  # so that it stays where it is
        self.channel(DISCONNECTED)
        self.until("document.querySelector('#channels').textContent.includes('disconnected')")
        self.assertEqual(len(self.look()["frames"]), len(frames))
        self.browser.click("Pause", role="checkbox")
        self.until("document.querySelector('#frames').textContent.split(' MESSAGE').length === 3")

    def test_markup(self) -> None:
        """What comes from airyd is text."""
        self.open_demo()
        markup = "<img src=x onerror=\"document.title='run'\"><b>bold</b>"
        self.publish(CONNECTED, {"id": "shop", "name": markup, "source": markup})
        self.message(markup, markup)
        self.see(markup)
        seen = self.look()
        self.assertEqual((seen["images"], seen["messages"]), (0, [markup]))
        self.assertIn(markup, seen["channels"][0])
        self.assertNotIn("run", seen["title"])

    def test_odd_bodies(self) -> None:
        """All bodies that airyd lets pass are shown."""
        self.open_demo()
        self.publish(CONNECTED, {"id": "shop"})
        self.publish(MESSAGE, {"conversation_id": "c", "message": {"id": "m"}})
        self.publish(MESSAGE, {"conversation_id": "c", "message": {"id": "n", "content": "text", "sent_at": 5}})
        self.publish(MESSAGE, {"conversation_id": "d", "message": {"id": "n", "state": 7}, "channel_id": 7})
        self.message("c", "After")
        self.see("After")

    def test_keyboard(self) -> None:
        self.open_demo()
        for name in ("first", "second", "third"):
            self.message(name, f"From {name}")
        self.until("document.querySelectorAll('#conversations li').length === 3")
        self.browser.evaluate("document.querySelector('#conversations [aria-current=true]').focus()")
        self.browser.press("Shift+Tab")
        self.browser.press("Enter")
        self.see("From second")
        self.message("second", "Again")  # which moves the row with the focus to the top
        self.see("Again")
        seen = self.look()
        self.assertEqual(seen["chosen"], [seen["conversations"][0][0]])
        self.assertIn("Again", seen["focused"])
        self.browser.press("Tab")
        self.browser.press("Enter")
        self.see("From third")
        self.stay_away()
        self.browser.evaluate("document.querySelector('#cut').focus()")
        self.browser.press("Enter")
        self.assertIn("Disconnected", self.look()["state"])

    def test_accessible(self) -> None:
        """axe-core has no serious finding: light, dark, and on a phone, where nothing is too wide."""
        self.channel(CONNECTED)
        for options in ({"colorScheme": "light"}, {"colorScheme": "dark"}, {"viewport": {"width": 360, "height": 740}}):
            self.open_demo(**options)
            self.assertEqual(self.browser.axe(), [], options)
            self.message("first", "Do you open on Sunday? " + 20 * "long")
            self.unread("first", 1, at=1)
            self.see("Sunday")
            self.cut()
            self.assertEqual(self.browser.axe(), [], options)
            self.message("first", "Missed")
            self.browser.click("Connect now")
            self.until("/ 0 are missing/.test(document.querySelector('#resumed').textContent)")
            self.browser.evaluate("document.querySelector('#frames summary').click()")
            self.assertEqual(self.browser.axe(), [], options)
            self.assertLessEqual(self.look()["excess"], 0, options)


class AccessTests(DaemonTestCase):
    """While there is a demo page, and only then, pages of the admin page's origin may connect."""

    def setUp(self) -> None:
        """Start a daemon with a configuration file."""
        self.path = Path(self.mktemp()).absolute()
        self.path.write_text("")
        self.key = Path(self.mktemp()).absolute()
        self.key.write_text(f"a-secret-of-32-bytes-or-more-{MARK}")
        self.key.chmod(0o600)
        self.daemon = self.own_daemon(f"--config={self.path}", QUIET, "--log-level=debug")

    def reload(self, *lines: str) -> None:
        """Change the settings."""
        self.path.write_text("\n".join(lines))
        start = len(self.daemon.log)
        os.kill(self.daemon.pid, signal.SIGHUP)
        self.daemon.wait_for_log(re.compile("settings reloaded"), start)

    def status(self, origin: str) -> int:
        """Return the status of an opening handshake of a page."""
        client = RawClient(self.daemon.port, headers={"Origin": origin})
        self.addCleanup(client.abort)
        return client.ask().status

    def test_reload(self) -> None:
        pages = [f"http://{host}:{self.daemon.admin_port}" for host in ("127.0.0.1", "localhost")]
        self.assertEqual([self.status(each) for each in (*pages, "http://127.0.0.1:1")], [101, 101, 403])
        self.reload("origin = ['https://app.example']")
        self.assertEqual([self.status(each) for each in (*pages, "https://app.example")], [101, 101, 101])
        self.assertEqual(self.status(f"http://127.0.0.1:{self.daemon.port}"), 403)
        self.assertEqual(self.daemon.request("GET", "/demo")[0], 200)
        self.reload(f"auth = 'jwt:secret-file={self.key}'")
        self.assertEqual([self.status(each) for each in pages], [403, 403])
        self.assertEqual(self.daemon.request("GET", "/demo")[0], 404)

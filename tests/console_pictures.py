"""Takes the pictures of the console in docs/pictures, in a real browser: ``python -m tests.console_pictures``.

A real airyd plays made-up conversations to some clients. One of them reads nothing, so that there is a slow one.

Exit status: 0.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.auth.case import SECRET, token
from tests.integration.browser import Browser
from tests.integration.daemon import TREE, Daemon
from tests.integration.payloads import CHANNEL_DISCONNECTED, DESTINATIONS, MESSAGE, UNREAD_COUNT, body
from tests.integration.raw import RawClient
from tests.integration.test_tokens import fresh

FOLDER: Final = TREE / "docs" / "pictures"
#: Bytes that a picture may have.
LARGEST: Final = 100 * 1024
#: The names of the pictures.
PICTURES: Final = (
    "console-login.png",
    "console-overview.png",
    "console-destinations.png",
    "console-destination.png",
    "console-connections.png",
    "console-connection.png",
    "console-trace.png",
    "console-publish.png",
    "console-nodes.png",
)
_HEIGHT: Final = 580
_TOKEN: Final = "hunter2-may-do-everything"
_USERS: Final = ("emma", "liam", "zoe", "noah", "mia", "ben")
_AGENTS: Final = ("Firefox/131.0", "Chrome/130.0", "Safari/18.0")
#: Seconds before the picture of the overview, so that its charts have something to show.
_HISTORY: Final = 90


def _client(daemon: Daemon, number: int, user: str) -> RawClient:
    """Connect a client with a user's token."""
    client = RawClient(daemon.port, headers={"User-Agent": f"Mozilla/5.0 {_AGENTS[number % len(_AGENTS)]}"})
    client.handshake()
    client.connect(Authorization=token(fresh(sub=user)))
    return client


def _follow(client: RawClient) -> None:
    """Read what a client gets, and answer pings, until its connection ends."""
    with suppress(AssertionError, OSError):
        while True:
            client.receive()


def _slow_client(daemon: Daemon) -> RawClient:
    """Connect a client that reads nothing, and publish more than it can take."""
    client = RawClient(daemon.port, headers={"User-Agent": "report-export/2.4"}, receive_buffer=4096)
    client.handshake()
    client.connect(Authorization=token(fresh(sub="export")))
    client.subscribe(CHANNEL_DISCONNECTED, "0")
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {_TOKEN}"}
    for n in range(40):
        daemon.request("POST", f"/publish{CHANNEL_DISCONNECTED}", body(CHANNEL_DISCONNECTED, n, "x" * 200_000), headers)
    return client


class Photographer:
    """A browser that takes the pictures."""

    def __init__(self, admin: str) -> None:
        self._admin = admin
        self.browser = Browser()
        self.browser.window(admin, viewport={"width": 1120, "height": _HEIGHT}, timezoneId="UTC")

    def go(self, page: str, heading: str) -> None:
        """Show a page of the console."""
        self.browser.evaluate(f"location.hash = '#/{page}'")
        self.browser.until(f"document.querySelector('h1').textContent.startsWith({heading!r})")
        self.browser.until("!document.querySelector('main').innerText.includes('Loading…')")

    def take(self, name: str, height: int = _HEIGHT) -> None:
        """Save the picture of what is shown; raise ``AssertionError`` if it is too large.

        :param height: pixels, fewer where there is much text
        """
        path = FOLDER / name
        self.browser.shot(str(path), height)
        size = path.stat().st_size
        assert size <= LARGEST, f"{name} has {size} bytes"
        sys.stdout.write(f"written: docs/pictures/{name} ({size} bytes)\n")


def take_all(daemon: Daemon) -> None:
    """Take all pictures."""
    clients = [_client(daemon, n, _USERS[n % len(_USERS)]) for n in range(20)]
    for client in clients:
        for number, destination in enumerate(DESTINATIONS):
            client.send("SUBSCRIBE", id=f"sub-{number}", destination=destination)
        threading.Thread(target=_follow, args=(client,), daemon=True).start()
    camera = Photographer(f"http://127.0.0.1:{daemon.admin_port}/")
    browser = camera.browser
    browser.see("Give the token of")
    camera.take("console-login.png")
    browser.fill("Token", _TOKEN)
    browser.click("Log in")
    browser.see("No warnings.")
    time.sleep(_HISTORY)
    slow = _slow_client(daemon)
    browser.see("1 slow connection: bytes wait")
    camera.take("console-overview.png")
    camera.go("destinations", "Destinations")
    camera.take("console-destinations.png")
    camera.go(f"destinations/{quote(UNREAD_COUNT, safe='')}", UNREAD_COUNT)
    camera.take("console-destination.png", 460)
    camera.go("connections?sort=buffered", "Connections")
    camera.take("console-connections.png", 400)
    browser.evaluate("document.querySelector('tbody a').click()")
    browser.see("report-export/2.4")
    camera.take("console-connection.png")
    camera.go("connections?subject=emma", "Connections")
    name = browser.text("tbody td")
    camera.go(f"trace?connection={name}", "Trace")
    browser.evaluate("document.querySelector('[name=bodies]').click()")
    browser.click("Start")
    browser.until("document.querySelectorAll('.trace li').length > 8")
    camera.take("console-trace.png", 400)
    camera.go("publish", "Publish")
    browser.fill("Destination", MESSAGE)
    browser.click("Copy the newest event")
    browser.until("document.querySelector('textarea').value !== ''")
    browser.click("Publish")
    browser.see("Published as")
    camera.take("console-publish.png")
    camera.go("nodes", "Nodes")
    camera.take("console-nodes.png")
    browser.close()
    for client in (*clients, slow):
        client.abort()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        files = {"secret": SECRET, "token": _TOKEN}
        for name, content in files.items():
            Path(directory, name).write_text(content)
            Path(directory, name).chmod(0o600)
        server = Daemon(
            "--source=sample:?rate=12",
            f"--auth=jwt:secret-file={directory}/secret",
            f"--admin-token-file={directory}/token",
            "--buffered=20000000",
        )
        try:
            take_all(server)
        finally:
            server.kill()

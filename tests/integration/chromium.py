"""A real, headless Chromium on a page that the test serves; the page reports events in JSON."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SkipTest

from tests.integration.node import CLIENTS
from tests.patience import PATIENCE
from tests.sources.redis.certificates import key_pin

_STOMPJS: Final = CLIENTS / "node_modules" / "stompjs7" / "bundles" / "stomp.umd.js"
_PAGE: Final = """<!doctype html><title>airyd's test</title><script src="stomp.js"></script><script>
let said = Promise.resolve();
function say(event, fields) {
  const body = JSON.stringify({event, ...fields});
  said = said.then(() => fetch("said", {method: "POST", body}));
}
window.WebSocket = class extends WebSocket {
  constructor(...words) {
    super(...words);
    this.addEventListener("open", () => say("open", {extensions: this.extensions, protocol: this.protocol}));
    this.addEventListener("close", ({code, reason}) => say("closed", {code, reason}));
  }
};
const {url, destination} = %s;
const client = new StompJs.Client({
  brokerURL: url,
  reconnectDelay: 0,
  onConnect() {
    client.watchForReceipt("live", () => say("live"));
    client.subscribe(destination, ({headers, body}) => say("message", {headers, body}), {receipt: "live"});
  },
  onStompError: ({headers}) => say("error", {headers}),
});
client.activate();
</script>
"""


class _Handler(BaseHTTPRequestHandler):
    """Serves the page and its script, and receives the page's reports."""

    def __init__(self, page: bytes, told: queue.Queue[dict[str, Any]], *arguments: Any) -> None:
        self._page = page
        self._told = told
        super().__init__(*arguments)

    def do_GET(self) -> None:
        found = {"/": (self._page, "text/html"), "/stomp.js": (_STOMPJS.read_bytes(), "text/javascript")}
        content, kind = found.get(self.path, (b"", "text/plain"))
        self.send_response(200 if content else 404)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self._told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""


class Chromium:
    """A browser with a page that subscribes to a destination with stompjs, as ``sub-0``.

    :param url: the URL of the WebSocket
    :param certificate: a PEM file with a certificate that the browser trusts, too
    """

    def __init__(self, url: str, destination: str, certificate: str | None = None) -> None:
        program = shutil.which("chromium")
        if program is None or not _STOMPJS.is_file():
            raise SkipTest("needs chromium, and `npm ci` in tests/clients")
        self._told: queue.Queue[dict[str, Any]] = queue.Queue()
        page = (_PAGE % json.dumps({"url": url, "destination": destination})).encode()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, page, self._told))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._directory = Path(tempfile.mkdtemp(prefix="airyd-chromium-"))
        self._log = (self._directory / "log").open("wb")
        self._process = subprocess.Popen(
            [
                program,
                "--headless=new",
                "--no-sandbox",  # Chromium does not start as root with its sandbox; it loads only the page above
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--no-first-run",
                f"--user-data-dir={self._directory / 'profile'}",
                *([] if certificate is None else [f"--ignore-certificate-errors-spki-list={key_pin(certificate)}"]),
                f"http://127.0.0.1:{self._server.server_address[1]}/",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # end all of its processes together
            env={**os.environ, "HOME": str(self._directory)},
        )

    def wait(self, event: str) -> dict[str, Any]:
        """Return the page's next report, which must be of this kind."""
        try:
            told = self._told.get(timeout=PATIENCE)
        except queue.Empty:
            log = (self._directory / "log").read_text("utf-8", "replace")
            raise AssertionError(f"the page reported nothing; the browser's log:\n{log[-3000:]}") from None
        if told["event"] != event:
            raise AssertionError(f"wanted {event}, got {told}")
        return told

    def close(self) -> None:
        """End the browser."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._directory, ignore_errors=True)

"""Runs the client programs of ``tests/clients`` in node, and exchanges JSON lines with them."""

from __future__ import annotations

import base64
import json
import queue
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SkipTest

from tests.leaks import leaks
from tests.patience import PATIENCE

CLIENTS: Final = Path(__file__).resolve().parents[1] / "clients"
#: A message's body as the programs print it: base64, in which all JSON looks like a token.
_BODY: Final = re.compile(r'"(?:body|text)":"[\w+/=]*"')


class NodeClient:
    """One client program.

    :ivar seen: every event of the program that was read, oldest first
    """

    def __init__(self, program: str, **config: Any) -> None:
        node = shutil.which("node")
        if node is None or not (CLIENTS / "node_modules").is_dir():
            raise SkipTest("needs node, and `npm ci` in tests/clients")
        self._process = subprocess.Popen(
            [node, str(CLIENTS / program), json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=CLIENTS,
        )
        self.seen: list[dict[str, Any]] = []
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._written += line
            self._lines.put(line)
        self._lines.put(b"")

    def tell(self, what: str, **fields: Any) -> None:
        """Send the program a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **fields}).encode() + b"\n")
        self._process.stdin.flush()

    def next(self, within: float = PATIENCE) -> dict[str, Any]:
        """Return the program's next event of any kind."""
        event = self.poll(within)
        if event is None:
            raise AssertionError(f"the client said nothing more after {self.seen[-5:]}")
        return event

    def poll(self, within: float) -> dict[str, Any] | None:
        """Return the next event; None if none comes within ``seconds``."""
        try:
            line = self._lines.get(timeout=max(within, 0.001))
        except queue.Empty:
            return None
        try:
            event: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError:
            rest = [line]
            while line:
                line = self._lines.get(timeout=PATIENCE)
                rest.append(line)
            raise AssertionError(f"the client program failed: {b''.join(rest).decode()}") from None
        self.seen.append(event)
        return event

    def wait(self, event: str, when: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """Read events until one of this kind comes for which ``when`` is true; return it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            taken = self.next(deadline - time.monotonic())
            if taken["event"] == event and when(taken):
                return taken

    def wait_all(self, event: str, count: int) -> list[dict[str, Any]]:
        """Read events until ``count`` of this kind have come; return them."""
        return [self.wait(event) for _ in range(count)]

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return the events of this kind that were read."""
        return [taken for taken in self.seen if taken["event"] == event]

    def close(self) -> None:
        """Kill the program; raise ``AssertionError`` if it printed a secret."""
        self._process.kill()
        self._process.wait()
        self._reader.join(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        if found := leaks(_BODY.sub("", self._written.decode("utf-8", "replace"))):
            raise AssertionError(f"a client printed {found}")


def body_of(message: dict[str, Any]) -> bytes:
    """Return the bytes of a message's body, as the client got it."""
    return base64.b64decode(message["body"])


def as_field(body: bytes) -> str:
    """Return a body in the form that the programs expect."""
    return base64.b64encode(body).decode()

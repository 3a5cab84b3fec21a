"""Measures airyd's promises in seconds and MiB with real daemons; ``bench.check`` compares them with the limits."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from airyd.cli.token import mint
from airyd.limits import MIB, WEBSOCKET_MESSAGE
from bench.scenarios import MESSAGE
from bench.servers import SECRET
from tests.inflating import RSV1, deflated
from tests.integration.daemon import Daemon
from tests.integration.raw import RawClient
from tests.integration.wire import TEXT, websocket_frame
from tests.sources.redis.server import RedisServer

BOMBS: Final = 10
#: Clients per node, on two nodes, whose user is revoked.
REVOKED: Final = 20

_OFFER: Final = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
_HOUR: Final = 3600
_USER: Final = "ann"


def inflated_bombs() -> float:
    """Return how many MiB ten messages that inflate to more than the limit add to the daemon's peak memory.

    Raises ``AssertionError`` unless each is refused with 1009.
    """
    bomb = websocket_frame(TEXT, deflated(b"\n" * (4 * WEBSOCKET_MESSAGE), level=9), rsv=RSV1)
    with ExitStack() as stack:
        daemon = stack.enter_context(_daemon())
        clients = [_connected(stack, daemon, headers=_OFFER) for _ in range(BOMBS)]
        before = _peak(daemon.pid)
        for client in clients:
            client.send_bytes(bomb)
        codes = {client.close_code() for client in clients}
        if codes != {1009}:
            raise AssertionError(f"closed with {codes}, not with 1009")
        return (_peak(daemon.pid) - before) / MIB


def revocation() -> float:
    """Return the seconds from the response to ``POST /revoke`` until all clients of that user are closed, on two nodes.

    Raises ``AssertionError`` unless each gets the ERROR for a revoked token.
    """
    with ExitStack() as stack:
        redis = RedisServer()
        stack.callback(redis.close)
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="airyd-bench-"))
        secret = Path(directory, "secret")
        secret.write_text(SECRET)
        options = (f"--source=redis://127.0.0.1:{redis.port}/0", f"--auth=jwt:secret-file={secret}")
        nodes = [stack.enter_context(_daemon(*options)) for _ in range(2)]
        shown = mint(SECRET.encode(), False, _USER, time.time() - 5, _HOUR, {"subscribe": ["/queue/**"]})
        clients = [_connected(stack, node, token=shown) for node in nodes for _ in range(REVOKED)]
        for client in clients:
            client.subscribe(MESSAGE, "0")
        asked = json.dumps({"subject": _USER}).encode()
        status, answer = nodes[0].request("POST", "/revoke", asked, {"Content-Type": "application/json"})
        if status != 200:
            raise AssertionError(f"POST /revoke gave {status}: {answer!r}")
        begun = time.monotonic()
        for client in clients:
            error, _ = client.error()
            if error.headers["message"] != "401 token revoked":
                raise AssertionError(f"a client got {error}")
        return time.monotonic() - begun


@contextmanager
def _daemon(*options: str) -> Iterator[Daemon]:
    daemon = Daemon(*options)
    try:
        yield daemon
    finally:
        daemon.kill()


def _connected(
    stack: ExitStack, daemon: Daemon, token: str | None = None, headers: dict[str, str] | None = None
) -> RawClient:
    client = RawClient(daemon.port, headers={**(headers or {})})
    stack.callback(client.abort)
    client.handshake()
    client.connect(**({} if token is None else {"passcode": token}))
    return client


def _peak(pid: int) -> int:
    """Return the peak memory of a process in bytes (proc(5), ``VmHWM``)."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024

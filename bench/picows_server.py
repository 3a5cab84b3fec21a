"""A server with picows, a WebSocket library in C, on uvloop: it accepts connections, and speaks no STOMP.

Run it with ``python -m bench.picows_server``; it prints the address that it serves.
"""

from __future__ import annotations

import sys

import uvloop
from picows import WSFrame, WSListener, WSTransport, WSUpgradeRequest, ws_create_server

from bench.autobahn_server import BACKLOG


class Silent(WSListener):
    """One client, whose messages are ignored."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Ignore a frame."""


def accept(request: WSUpgradeRequest) -> WSListener:
    """Accept each client."""
    return Silent()


async def main() -> None:
    """Serve on a free port of the loopback interface until the process is stopped."""
    server = await ws_create_server(accept, "127.0.0.1", 0, backlog=BACKLOG)
    sys.stdout.write(f"picows serves ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())

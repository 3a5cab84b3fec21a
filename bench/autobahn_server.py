"""The baseline: the simplest fan-out server with Autobahn, one ``sendMessage`` per client.

It speaks just enough STOMP 1.2 for the load generator: one frame per WebSocket message, no
escapes, no errors. Autobahn's options, transport and timers have their defaults.

Run it with ``python -m bench.autobahn_server``; it prints the address that it serves.
"""

from __future__ import annotations

import sys
from itertools import count

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorTCP
from twisted.internet.task import react

#: Connections that may wait to be accepted. Twisted's 50 would turn a storm of handshakes into a
#: measurement of TCP's retransmission timer.
BACKLOG = 4096

CONNECTED = b"CONNECTED\nversion:1.2\nheart-beat:0,0\nserver:autobahn\n\n\x00"


class Subscribers:
    """The clients by destination and subscription id."""

    def __init__(self) -> None:
        self._clients: dict[bytes, dict[bytes, set[StompOverAutobahn]]] = {}
        self._numbers = count(1)

    def add(self, destination: bytes, subscription: bytes, client: StompOverAutobahn) -> None:
        """Subscribe a client to a destination."""
        self._clients.setdefault(destination, {}).setdefault(subscription, set()).add(client)

    def remove(self, client: StompOverAutobahn) -> None:
        """Remove a client that has disconnected."""
        for groups in self._clients.values():
            for clients in groups.values():
                clients.discard(client)

    def publish(self, destination: bytes, body: bytes) -> None:
        """Send ``body`` to every subscriber of ``destination``, as one MESSAGE each."""
        number = next(self._numbers)
        for subscription, clients in self._clients.get(destination, {}).items():
            message = (
                b"MESSAGE\nsubscription:%b\nmessage-id:%d\ndestination:%b\n"
                b"content-type:application/json\ncontent-length:%d\n\n%b\x00"
            ) % (subscription, number, destination, len(body), body)
            for client in clients:
                client.sendMessage(message)


class StompOverAutobahn(WebSocketServerProtocol):
    """One client of the baseline."""

    factory: StompFactory

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Carry out one STOMP frame."""
        head, _, rest = payload.partition(b"\n\n")
        command, *lines = head.split(b"\n")
        headers = dict(line.split(b":", 1) for line in lines)
        subscribers = self.factory.subscribers
        if command == b"CONNECT":
            self.sendMessage(CONNECTED)
        elif command == b"SUBSCRIBE":
            subscribers.add(headers[b"destination"], headers[b"id"], self)
        elif command == b"SEND":
            subscribers.publish(headers[b"destination"], rest[: int(headers[b"content-length"])])
        if b"receipt" in headers:
            self.sendMessage(b"RECEIPT\nreceipt-id:%b\n\n\x00" % headers[b"receipt"])

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Remove the client."""
        self.factory.subscribers.remove(self)


class StompFactory(WebSocketServerFactory):
    """Makes the clients, and has what they share."""

    def __init__(self) -> None:
        super().__init__(protocols=["v12.stomp"])
        self.protocol = StompOverAutobahn
        self.subscribers = Subscribers()


async def main(reactor: IReactorTCP) -> None:
    """Serve on a free port of the loopback interface until the process is stopped."""
    endpoint = serverFromString(reactor, f"tcp:0:interface=127.0.0.1:backlog={BACKLOG}")
    port = await endpoint.listen(StompFactory())
    sys.stdout.write(f"autobahn serves ws://127.0.0.1:{port.getHost().port}/\n")
    sys.stdout.flush()
    await Deferred()


if __name__ == "__main__":
    react(main)

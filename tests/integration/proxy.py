"""A TCP proxy that a test can cut or block, so that a client loses its connection while the server stays."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Forwards bytes both ways between a port of its own and the server's.

    :ivar port: where clients connect
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._up = True
        self._flows = threading.Event()
        self._flows.set()
        self._stuck: list[threading.Event] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if not self._up:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                pair = (client, server)
                self._pairs.add(pair)
            for source, sink in [pair, pair[::-1]]:
                threading.Thread(target=self._pump, args=(source, sink, pair), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, pair: tuple[socket.socket, socket.socket]) -> None:
        flows = self._flows
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                flows.wait()
                sink.sendall(data)
        self._end(pair)

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for end in pair:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut(self) -> None:
        """End all connections without a WebSocket close; new ones are taken."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._end(pair)

    def down(self) -> None:
        """End all connections, and new ones at once, until :meth:`up`."""
        with self._lock:
            self._up = False
        self.cut()

    def up(self) -> None:
        """Forward again."""
        with self._lock:
            self._up = True

    def lead_to(self, target: int) -> None:
        """Connect new clients to another port; connections that are open stay where they are."""
        self._target = target

    def block(self) -> None:
        """Be a black hole until :meth:`unblock`: connections stay, new ones are taken, and no byte comes through."""
        self._flows.clear()

    def unblock(self) -> None:
        """Let through again, at first what came meanwhile."""
        self._flows.set()

    def unblock_new(self) -> None:
        """Let new connections through; those that are there stay as they are."""
        self._stuck.append(self._flows)
        self._flows = threading.Event()
        self._flows.set()

    def close(self) -> None:
        """End everything."""
        self.unblock()
        for flows in self._stuck:
            flows.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.down()

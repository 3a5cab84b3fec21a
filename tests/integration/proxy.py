"""A TCP proxy that a test can cut or block, so that a client loses its connection while the server stays."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Forwards bytes both ways between its own port and the server's.

    :ivar port: the port for clients
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
        """End all connections without a WebSocket close, and accept new ones."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._end(pair)

    def down(self) -> None:
        """End all connections; until :meth:`up`, end new ones immediately."""
        with self._lock:
            self._up = False
        self.cut()

    def up(self) -> None:
        """Forward new connections again."""
        with self._lock:
            self._up = True

    def lead_to(self, target: int) -> None:
        """Connect new clients to another port; open connections stay."""
        self._target = target

    def block(self) -> None:
        """Forward no bytes until :meth:`unblock`; connections stay open, and new ones are accepted."""
        self._flows.clear()

    def unblock(self) -> None:
        """Forward again, beginning with the bytes that came meanwhile."""
        self._flows.set()

    def unblock_new(self) -> None:
        """Forward new connections; present ones stay blocked."""
        self._stuck.append(self._flows)
        self._flows = threading.Event()
        self._flows.set()

    def close(self) -> None:
        """Stop the proxy and all connections."""
        self.unblock()
        for flows in self._stuck:
            flows.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.down()

"""What OpenSSL itself takes for a connection: ``python -m bench.tls_bare PEM`` answers TLS handshakes, and no more.

Its connections are made as airyd makes them. It keeps them, and their clients' first bytes are read.
"""

from __future__ import annotations

import selectors
import socket
import sys
from typing import cast

from OpenSSL import SSL

from airyd.tls import server_tls
from bench.run import raise_file_limit


def main(pem: str) -> None:
    """Serve until the process is ended."""
    raise_file_limit()
    tls = server_tls(pem, pem)
    with selectors.EpollSelector() as selector, socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        selector.register(listening, selectors.EVENT_READ)
        sys.stdout.write(f"serves ws://127.0.0.1:{listening.getsockname()[1]}/\n")
        sys.stdout.flush()
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    accepted, _ = listening.accept()
                    accepted.setblocking(False)
                    selector.register(accepted, selectors.EVENT_READ, tls.accepted(accepted, None))
                    continue
                try:
                    cast(SSL.Connection, key.data).recv(1 << 14)
                except SSL.WantReadError:
                    continue
                except SSL.Error:
                    selector.unregister(key.fileobj)
                    cast(socket.socket, key.fileobj).close()


if __name__ == "__main__":
    main(sys.argv[1])

"""Where to listen: endpoint strings read, listened on, and named for the log."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure

from airyd.addresses import split_endpoint
from airyd.errors import ConfigurationError
from airyd.transport import keep_alive

#: Connections that wait to be accepted; Twisted's 50 loses some when all clients come back at once.
_BACKLOG: Final = 1024


class Place(NamedTuple):
    """Where an option says to listen.

    :ivar option: such as ``--listen``
    :ivar description: its value, a Twisted endpoint string
    """

    option: str
    description: str
    endpoint: IStreamServerEndpoint

    @classmethod
    def read(cls, option: str, description: str, reactor: Any) -> Place:
        """Read an endpoint string; nothing is opened yet.

        :param reactor: who will be asked to listen

        Raises ``ConfigurationError`` for what Twisted doesn't understand.
        """
        try:
            words, named = split_endpoint(description)
        except ValueError as error:
            raise ConfigurationError(f"{option} {description}: {error}") from None
        is_plain = words[0] in ("tcp", "tcp6", "ssl", "unix") and len(words) <= 2 and "backlog" not in named
        backlog = f":backlog={_BACKLOG}" if is_plain else ""
        try:
            endpoint: IStreamServerEndpoint = serverFromString(reactor, description + backlog)
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise ConfigurationError(f"{option} {description}: no endpoint that Twisted understands: {error}") from None
        return cls(option, description, endpoint)

    def scheme(self, plain: str) -> str:
        """Return what the URL of a port here begins with: ``ws`` becomes ``wss`` where it is TLS."""
        return f"{plain}s" if self.description.startswith("ssl:") else plain

    def listen(self, factory: IProtocolFactory) -> IListeningPort:
        """Listen now, or end the program with a line that says why not."""
        ports: list[IListeningPort] = []
        failures: list[Failure] = []
        # Twisted's endpoints answer at once.
        self.endpoint.listen(factory).addCallbacks(ports.append, failures.append)
        if ports:
            if isinstance(ports[0], tcp.Port):
                keep_alive(ports[0].socket)
            return ports[0]
        reason = failures[0].value if failures else "it does not answer at once"
        if isinstance(reason, CannotListenError):
            reason = reason.socketError
        raise SystemExit(f"airyd: {self.option} {self.description}: cannot listen there: {reason}")


def url_of(scheme: str, port: IListeningPort, path: str) -> str:
    """Return what a user calls a port that is listened on, such as ``ws://127.0.0.1:8080/ws``."""
    address = port.getHost()
    if isinstance(address, IPv6Address):
        return f"{scheme}://[{address.host}]:{address.port}{path}"
    if isinstance(address, IPv4Address):
        return f"{scheme}://{address.host}:{address.port}{path}"
    if isinstance(address, UNIXAddress):
        name = address.name.decode() if address.name else "?"
        return f"{scheme}+unix:{name}{path}"
    return f"{address} {path}"

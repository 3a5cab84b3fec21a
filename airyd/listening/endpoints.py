"""Listening endpoints: makes them from endpoint strings, checks that they are free, and listens."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, cast

from OpenSSL.SSL import Error as TlsError
from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
    serverFromString,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure

from airyd.errors import ConfigurationError
from airyd.interfaces import Reload
from airyd.listening.endpoint_strings import EndpointText, read_endpoint
from airyd.listening.proxy_protocol import trusting_endpoint
from airyd.openssl import openssl_reason
from airyd.tls import ReplaceableTls, TlsEndpoint, certificate_end, read_certificate_folder, server_tls
from airyd.trusted_proxies import NO_PROXIES, TrustedProxies
from airyd.websocket.transport import keep_alive

#: The most connections that wait to be accepted; with Twisted's 50, some are lost when all clients reconnect at once.
_BACKLOG: Final = 1024
#: Hints for the user if a socket can't listen, by error number.
_HINTS: Final[Mapping[int, str]] = {
    errno.EADDRINUSE: "something listens there already",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "ports below 1024 need root, or the capability CAP_NET_BIND_SERVICE",
}
_UNIX_HINTS: Final[Mapping[int, str]] = {
    errno.EADDRINUSE: "there is a file with this name; remove it if no program listens there",
    errno.EACCES: "this user may not write to the folder",
    errno.ENOENT: "make the folder first",
}


class ListeningEndpoint(NamedTuple):
    """An endpoint that an option names.

    :ivar option: such as ``--listen``
    :ivar description: its value, a Twisted endpoint string
    :ivar text: the parsed string
    :ivar tls: the certificates, if it has TLS
    """

    option: str
    description: str
    text: EndpointText
    endpoint: IStreamServerEndpoint
    tls: ReplaceableTls | None = None

    @classmethod
    def read(
        cls, option: str, description: str, reactor: object, proxies: TrustedProxies = NO_PROXIES
    ) -> ListeningEndpoint:
        """Make the endpoint of a string without opening anything.

        :param reactor: the reactor, or its stand-in, that will listen
        :param proxies: who may connect to an endpoint of the PROXY protocol

        Raises ``ConfigurationError`` if the string can't be used.
        """
        text = read_text(option, description)
        try:
            endpoint, tls = _make_endpoint(text, description, reactor, proxies)
            if tls is not None:
                tls.certificate_end = certificate_end(_certificate_files(text.wrapped or text))
        except ValueError as error:
            raise ConfigurationError(f"{option} {description}: {error}") from None
        return cls(option, description, text, endpoint, tls)

    @property
    def certificate_end(self) -> float | None:
        """With TLS, when the first certificate of its chain ends, in seconds since 1970; else None."""
        return None if self.tls is None else self.tls.certificate_end

    @property
    def short_name(self) -> str:
        """The kind of the endpoint and its port, such as ``ssl:8443``, for metrics."""
        text = self.text.wrapped or self.text
        return text.kind if text.port is None else f"{text.kind}:{text.port}"

    def scheme(self, plain: str) -> str:
        """Return the scheme of this endpoint's URLs: with TLS ``ws`` becomes ``wss``."""
        return f"{plain}s" if self.text.is_tls else plain

    def prepare_reload(self, fresh: ListeningEndpoint) -> Reload:
        """Prepare to use the certificates of an endpoint of the same string for new connections."""
        ours, theirs = self.tls, fresh.tls
        if ours is None or theirs is None:
            return Reload((), lambda: None)
        changed = [f"certificate of {self.option} {self.description}"] * ours.has_other_certificates(theirs)
        return Reload(changed, partial(ours.replace, theirs))

    def listen(self, factory: IProtocolFactory) -> IListeningPort:
        """Listen, or end the program with one line that says why that failed."""
        hints = _UNIX_HINTS if (self.text.wrapped or self.text).kind == "unix" else _HINTS
        port, reason = _result(hints, self.endpoint.listen, factory)
        if not reason and not IListeningPort.providedBy(port):
            reason = "endpoints of this kind do not listen"
        if reason:
            end_program(f"{self.option} {self.description}: cannot listen there: {reason}")
        if isinstance(port, tcp.Port):
            keep_alive(port.socket)
        listening: IListeningPort = port
        return listening


def read_text(option: str, description: str) -> EndpointText:
    """Parse an endpoint string; raises ``ConfigurationError`` that names the option."""
    try:
        return read_endpoint(description)
    except ValueError as error:
        raise ConfigurationError(f"{option} {description}: {error}") from None


def check_distinct(endpoints: Iterable[ListeningEndpoint]) -> None:
    """Raise ``ConfigurationError`` if two of these endpoints conflict."""
    for one, other in combinations(endpoints, 2):
        if one.text.overlaps(other.text):
            raise ConfigurationError(
                f"{other.option} {other.description}: {one.option} {one.description} listens there already; "
                "give each its own address"
            )


def check_free(option: str, description: str) -> None:
    """Raise ``ConfigurationError`` if the TCP port or the path of the unix socket is not free now.

    When a daemon listens, it has lost its terminal and could not show the error, so this is checked first. Other kinds
    of endpoints are not checked.
    """
    text = read_text(option, description)
    text = text.wrapped or text
    try:
        if text.kind == "unix":
            _check_socket_path(text.parameters["address"])
        elif text.kind in ("tcp", "tcp6", "ssl"):
            _check_port(text)
    except OSError as error:
        hints = _UNIX_HINTS if text.kind == "unix" else _HINTS
        raise ConfigurationError(f"{option} {description}: cannot listen there: {_reason(error, hints)}") from None


def _check_port(text: EndpointText) -> None:
    interface = text.parameters.get("interface", "::" if text.kind == "tcp6" else "")
    with socket.socket(socket.AF_INET6 if ":" in interface else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((interface, text.port or 0))


def _check_socket_path(address: str) -> None:
    """Raise ``OSError`` if a socket can't be made at a path.

    A socket there is allowed: Twisted replaces it if no program holds its lock file.
    """
    path = Path(address).absolute()
    if not path.parent.is_dir():
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    if not os.access(path.parent, os.W_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    if path.exists() and not path.is_socket():
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def end_program(reason: str) -> NoReturn:
    """End the program with one line and status 1, before the reactor runs.

    twistd has replaced ``sys.stderr`` with its log, so the line is written to the log and to the real standard error.
    """
    line = f"airyd: {reason}"
    if sys.__stderr__ is not None and sys.stderr is not sys.__stderr__:
        print(line, file=sys.__stderr__, flush=True)
    raise SystemExit(line)


def _make_endpoint(
    text: EndpointText, description: str, reactor: object, proxies: TrustedProxies = NO_PROXIES
) -> tuple[IStreamServerEndpoint, ReplaceableTls | None]:
    """Return the endpoint of a parsed string, and its TLS; raises ``ValueError`` with one line if it can't be made."""
    get = text.parameters.get
    backlog = int(get("backlog", _BACKLOG))
    interface = get("interface", "")
    if text.wrapped is not None:
        return _make_proxy_endpoint(text.wrapped, description.partition(":")[2], reactor, proxies)
    tls = None
    match text.kind:
        case "tcp":
            return TCP4ServerEndpoint(reactor, text.port, backlog, interface), None
        case "tcp6":
            return TCP6ServerEndpoint(reactor, text.port, backlog, interface or "::"), None
        case "ssl":
            tls = _tls_of(text)
            return cast(
                IStreamServerEndpoint, TlsEndpoint(TCP4ServerEndpoint(reactor, text.port, backlog, interface), tls)
            ), tls
        case "unix":
            mode = int(get("mode", "666"), 8)
            return UNIXServerEndpoint(reactor, get("address"), backlog, mode, get("lockfile", "1") == "1"), None
        case "tls":
            certificates = read_certificate_folder(get("path", ""))
    endpoint, reason = _result({}, serverFromString, reactor, description)
    if text.kind == "systemd":
        if reason:
            raise ValueError(_what_systemd_passed())
        _check_adopted(endpoint)
    if reason:
        raise ValueError(f"the plugin for {text.kind}: refuses it: {reason}")
    if text.kind == "tls":
        # Twisted's chooser of certificates keeps those that it has read.
        tls = ReplaceableTls(endpoint.connectionCreator, certificates)
        endpoint = TlsEndpoint(endpoint.endpoint, tls)
    made: IStreamServerEndpoint = endpoint
    return made, tls


def _tls_of(text: EndpointText) -> ReplaceableTls:
    """Return the TLS of an ``ssl:`` endpoint."""
    get = text.parameters.get
    key = get("privateKey", "")
    return server_tls(key, get("certKey", key), get("extraCertChain"), get("dhParameters"))


def _make_proxy_endpoint(
    text: EndpointText, description: str, reactor: object, proxies: TrustedProxies
) -> tuple[IStreamServerEndpoint, ReplaceableTls | None]:
    """Return the endpoint behind ``haproxy:``, for trusted proxies; the header comes before TLS, as HAProxy sends it.

    Raises ``ValueError`` if no proxy is trusted.
    """
    tls = None
    if text.kind == "ssl":
        tls = _tls_of(text)
        parameters = {
            name: value for name, value in text.parameters.items() if name in ("port", "interface", "backlog")
        }
        text = EndpointText("tcp", parameters)
    wrapped, other_tls = _make_endpoint(text, description, reactor)
    if not proxies:
        raise ValueError("give --trust-proxy NETWORK too: only proxies in it may connect with the PROXY protocol")
    endpoint = trusting_endpoint(wrapped, proxies)
    if tls is None:
        return endpoint, other_tls
    return cast(IStreamServerEndpoint, TlsEndpoint(endpoint, tls)), tls


def _certificate_files(text: EndpointText) -> Sequence[str]:
    """Return the files with the certificates of a TLS endpoint."""
    get = text.parameters.get
    if text.kind == "ssl":
        return [path for path in (get("certKey") or get("privateKey"), get("extraCertChain")) if path is not None]
    if text.kind == "tls":
        return [str(path) for path in Path(get("path", "")).rglob("*.pem")]
    return ()


def _check_adopted(endpoint: AdoptedStreamServerEndpoint) -> None:
    """Raise ``ValueError`` unless systemd's socket listens and has the address family that the string says.

    The family decides whether other machines can reach the socket.
    """
    try:
        family = _family_of_adopted(endpoint.fileno)
    except OSError as error:
        raise ValueError(f"the descriptor that systemd has passed is not a socket: {error.strerror}") from None
    if family != endpoint.addressFamily:
        raise ValueError(f"the socket that systemd has passed has domain={family.name.removeprefix('AF_')}")


def _passed_sockets() -> list[str]:
    """Return the name of each socket that systemd has passed to this process; Twisted leaves that variable set."""
    names = "" if "LISTEN_PID" in os.environ else os.environ.get("LISTEN_FDNAMES", "")
    return names.split(":") if names else []


def _passed_names() -> str:
    return " and ".join(sorted(set(_passed_sockets())))


def unused_sockets(endpoints: Iterable[str]) -> list[str]:
    """Return the names of sockets that systemd has passed, but that none of these endpoint strings names."""
    passed = _passed_sockets()
    unused = set(passed)
    for text in map(read_endpoint, endpoints):
        parameters = (text.wrapped or text).parameters
        index = int(parameters.get("index", len(passed)))
        unused -= {parameters.get("name", ""), *passed[index : index + 1]}
    return sorted(unused)


def _what_systemd_passed() -> str:
    names = _passed_names()
    if names:
        return f"systemd has passed no such socket, but {names}; give the FileDescriptorName= of the socket unit"
    return (
        "systemd has passed no socket to this process; start airyd through a socket unit, or give an address to listen "
        "on, such as tcp:8080:interface=127.0.0.1"
    )


@cache
def _family_of_adopted(descriptor: int) -> socket.AddressFamily:
    """Return the address family of a socket that systemd has passed.

    The result is kept for reloads: Twisted closes the descriptor when it listens, and another file may get its number.

    Raises ``OSError`` if it is not a socket, and ``ValueError`` if it does not listen.
    """
    duplicate = os.dup(descriptor)
    try:
        adopted = socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise
    with adopted:
        if not adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ValueError("the socket that systemd has passed does not listen; it needs ListenStream=")
        return adopted.family


def _result(hints: Mapping[int, str], function: Callable[..., Any], *arguments: object) -> tuple[Any, str]:
    """Call a function, perhaps of a plugin, that may raise any exception or return a Deferred.

    Return its result and ``""``, or None and the reason for the failure in one line.

    :param hints: texts to add to the system's error text, by error number
    """
    results: list[Any] = []
    failures: list[Failure] = []
    maybeDeferred(function, *arguments).addCallbacks(results.append, failures.append)
    if results:
        return results[0], ""
    return None, _reason(failures[0].value, hints) if failures else "it does not answer at once"


def _reason(error: object, hints: Mapping[int, str]) -> str:
    if isinstance(error, CannotListenError):
        error = error.socketError
    if error == "Cannot acquire lock":  # Twisted's error for the lock file of a unix socket
        return "another program listens there"
    if isinstance(error, OSError) and error.strerror:
        hint = hints.get(error.errno or 0)
        names = _passed_names()
        if error.errno == errno.EADDRINUSE and names:
            hint = f"systemd has passed the socket {names}; if it is this one, write systemd:domain=INET:name={names}"
        return f"{error.strerror}; {hint}" if hint else error.strerror
    if isinstance(error, TlsError):
        return openssl_reason(error)
    return " ".join(f"{type(error).__name__}: {error}".split())


def websocket_urls(
    endpoints: Sequence[ListeningEndpoint], ports: Sequence[IListeningPort], paths: Sequence[str]
) -> list[str]:
    """Return the URLs of WebSocket listeners that browsers can connect to; unix sockets have none."""
    return [
        url_of(endpoint.scheme("ws"), port, path)
        for endpoint, port in zip(endpoints, ports, strict=False)  # while they are opened, there are fewer ports
        if isinstance(port.getHost(), (IPv4Address, IPv6Address))
        for path in paths
    ]


def url_of(scheme: str, port: IListeningPort, path: str) -> str:
    """Return the URL of a listening port, such as ``ws://127.0.0.1:8080/ws``."""
    address = port.getHost()
    if isinstance(address, IPv6Address):
        return f"{scheme}://[{address.host}]:{address.port}{path}"
    if isinstance(address, IPv4Address):
        return f"{scheme}://{address.host}:{address.port}{path}"
    if isinstance(address, UNIXAddress):
        name = address.name.decode() if address.name else "?"
        return f"{scheme}+unix:{name}{path}"
    return f"{address} {path}"

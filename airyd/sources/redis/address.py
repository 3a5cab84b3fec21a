"""The addresses and logins of Redis servers and sentinels, parsed from ``--source redis://`` URLs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from twisted.internet.interfaces import IReactorCore, IStreamClientEndpoint
from twisted.logger import Logger

from airyd.errors import ConfigurationError
from airyd.files import read_bytes, read_line
from airyd.hostnames import AnyNameEndpoint
from airyd.sources.url_query import Query

#: The environment variable with the password, so that the password need not be in the URL and in process listings.
PASSWORD_VARIABLE: Final = "AIRYD_REDIS_PASSWORD"  # noqa: S105  # a name
#: The environment variable with the sentinels' own password.
SENTINEL_PASSWORD_VARIABLE: Final = "AIRYD_REDIS_SENTINEL_PASSWORD"  # noqa: S105  # a name
DEFAULT_PORT: Final = 6379
DEFAULT_SENTINEL_PORT: Final = 26379
#: Seconds that opening a connection may take.
CONNECT_PATIENCE: Final = 5
DEFAULT_PREFIX: Final = "airyd:"
DEFAULT_MAXLEN: Final = 10_000
#: Seconds that a reader waits for more when events come fast.
DEFAULT_LINGER: Final = 0.01


class Address(NamedTuple):
    """The address of a Redis, with the login. Logs and errors may show only :attr:`name`.

    :ivar name: for logs and errors, such as ``redis://127.0.0.1:6379/0``: no user, no password
    :ivar ca_file: PEM file of the trusted certificate authorities; None for the system's
    :ivar cert_file: PEM file of the client's certificate chain; its key is in :attr:`key_file`
    :ivar password: the password when the address was read
    :ivar password_file: the file with the password, as it is now
    """

    name: str
    host: str
    port: int
    path: str | None
    tls: bool
    database: int
    user: str | None
    password: str | None
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    password_file: str | None = None

    def tls_contents(self) -> list[bytes]:
        """Return what the TLS files hold now; raises ``ConfigurationError`` if one can't be read."""
        files = [self.ca_file, self.cert_file, self.key_file]
        return [read_bytes(self.name, path) for path in files if path is not None]

    def endpoint(self, reactor: IReactorCore) -> IStreamClientEndpoint:
        """Return the endpoint to connect to.

        Raises ``ConfigurationError`` if a certificate or key can't be read.
        """
        from twisted.internet.endpoints import UNIXClientEndpoint, wrapClientTLS

        if self.path is not None:
            return UNIXClientEndpoint(reactor, self.path, timeout=CONNECT_PATIENCE)
        plain = AnyNameEndpoint(reactor, self.host, self.port, CONNECT_PATIENCE)
        if not self.tls:
            return plain
        from airyd.sources.redis.tls import client_options

        return wrapClientTLS(client_options(self.name, self.host, self.ca_file, self.cert_file, self.key_file), plain)


class Password:
    """The password for the logins of one connection; if it is in a file, each login reads it again.

    If the file can't be used, the last password stays in use: it may be good, and the file may be half written.
    """

    _log = Logger()

    def __init__(self, address: Address) -> None:
        self._address = address
        self._password = address.password
        self._trouble: str | None = None

    def read(self) -> str | None:
        """Return the password as it is now; None for a login without one."""
        address = self._address
        if address.password_file is None:
            return self._password
        try:
            self._password, trouble = read_line("password file", address.password_file), None
        except ConfigurationError as error:
            trouble = str(error)
        if trouble is not None and trouble != self._trouble:
            self._log.warn("{redis}: the last password stays in use: {trouble}", redis=address.name, trouble=trouble)
        self._trouble = trouble
        return self._password


class SentinelAddress(NamedTuple):
    """A Redis master that sentinels name.

    :ivar sentinels: the addresses of the sentinels, with their own password
    :ivar service: the master's name in the sentinels' configuration
    :ivar master: the login and database of the master, without host and port
    """

    sentinels: tuple[Address, ...]
    service: str
    master: Address


def read_address(url: str, query: Query, environ: Mapping[str, str]) -> Address:
    """Return the address in a URL: host, login, database, and the TLS and password parameters.

    Errors: ``ConfigurationError`` whose text shows neither user nor password.
    """
    scheme = query.scheme.lower()
    tls = scheme == "rediss"
    is_unix = scheme == "redis+unix"
    form = f"{scheme}:///path of the socket" if is_unix else f"{scheme}://HOST[:PORT][/DB]"
    parts = _split(url, query, form)
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    place = parts.netloc.rpartition("@")[2]
    path: str | None = None
    if is_unix:
        if place or not parts.path.strip("/"):
            raise query.error(f"name the socket: write {form}, such as redis+unix:///run/redis/redis-server.sock")
        host, port = "localhost", DEFAULT_PORT
        database = query.integer("db", 0, 0, 1_000_000)
        path = unquote(parts.path)
        name = f"{scheme}://{path}"
    else:
        if not query.rest.startswith("//") and (query.rest or ":" not in url):
            raise query.error(f"write {form}")
        if "," in place:
            raise query.error(
                "give only one host; to ask sentinels for the master, write "
                "redis+sentinel://HOST[:PORT],HOST[:PORT]/NAME-OF-THE-MASTER"
            )
        host, port = _host_and_port(place, DEFAULT_PORT, query)
        database = _database(parts.path.strip("/") or "0", "the host", query)
        name = f"{scheme}://{_bracketed(host)}:{port}/{database}"
    cert_file, key_file = (query.text(each) if tls else None for each in ("cert-file", "key-file"))
    if (cert_file is None) != (key_file is None):
        raise query.error("cert-file and key-file need each other: give both")
    return Address(
        name=name,
        host=host,
        port=port,
        path=path,
        tls=tls,
        database=database,
        user=user,
        password=_password(password, query, environ.get(PASSWORD_VARIABLE), "password-file"),
        password_file=query.text("password-file"),
        ca_file=query.text("ca-file") if tls else None,
        cert_file=cert_file,
        key_file=key_file,
    )


def _split(url: str, query: Query, form: str) -> SplitResult:
    """Split the part before the parameters; errors do not quote it, because it may contain a password."""
    try:
        parts = urlsplit(url.partition("?")[0])
    except ValueError:
        raise query.error(f"the address is not {form}") from None
    if parts.fragment or "#" in url.partition("?")[0] or "@" in parts.path:
        raise query.error(f"the address is not {form}; in a user's name or a password write %2F for '/', %23 for '#'")
    return parts


def _host_and_port(place: str, default_port: int, query: Query) -> tuple[str, int]:
    """Return the host and the port of ``host``, ``host:port`` or ``[IPv6 address]:port``; each part is optional."""
    host, colon, text = place.rpartition(":")
    if not colon or place.endswith("]"):
        host, text = place, ""
    if not host.startswith("[") and ":" in host:
        raise query.error("write an IPv6 address in brackets, such as [::1]:6379")
    port = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if text and not 1 <= port <= 65535:
        raise query.error("the port, after the colon, must be a number from 1 to 65535")
    host = host.strip("[]").lower() or "localhost"
    try:
        host.encode("idna")  # as the resolver does it
    except UnicodeError:
        raise query.error("the host is not a name that can be looked up: a part of it is empty or too long") from None
    return host, port or default_port


def _database(text: str, what: str, query: Query) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise query.error(f"after {what} write the number of the database, such as /0")
    return int(text)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def read_sentinel_address(url: str, query: Query, environ: Mapping[str, str]) -> SentinelAddress:
    """Return the address in a URL ``redis+sentinel://[user:password@]host[:port],.../service[/db]``.

    Errors: ``ConfigurationError`` whose text shows neither user nor password.
    """
    scheme = query.scheme.lower()
    form = f"{scheme}://HOST[:PORT],.../NAME-OF-THE-MASTER[/DB]"
    parts = _split(url, query, form)
    login, _, hosts = parts.netloc.rpartition("@")
    service, slash, database = parts.path.removeprefix("/").partition("/")
    if not service or not all(place.partition(":")[0] for place in hosts.split(",")):
        raise query.error(f"write {form}")
    named = [_host_and_port(place, DEFAULT_SENTINEL_PORT, query) for place in hosts.split(",")]
    number = _database(database if slash else "0", "the master's name", query)
    user, _, password = login.partition(":")
    own = _password(None, query, environ.get(SENTINEL_PASSWORD_VARIABLE), "sentinel-password-file")
    sentinels = [
        Address(f"sentinel {_bracketed(host)}:{port}", host, port, None, False, 0, None, own, None, None, None)
        for host, port in named
    ]
    sentinels = [each._replace(password_file=query.text("sentinel-password-file")) for each in sentinels]
    listed = ",".join(each.name.partition(" ")[2] for each in sentinels)
    return SentinelAddress(
        tuple(sentinels),
        service=unquote(service),
        master=Address(
            name=f"{scheme}://{listed}/{service}/{number}",
            host="",
            port=0,
            path=None,
            tls=False,
            database=number,
            user=unquote(user) or None,
            password=_password(unquote(password) or None, query, environ.get(PASSWORD_VARIABLE), "password-file"),
            password_file=query.text("password-file"),
            ca_file=None,
            cert_file=None,
            key_file=None,
        ),
    )


def _password(password: str | None, query: Query, other: str | None, name: str) -> str | None:
    """Return the password in the address, in the file, or in the environment, or None."""
    file = query.text(name)
    if password is not None and file is not None:
        raise query.error(f"give the password once: in the address, or with {name}")
    if file is not None:
        return read_line(f"{query.scheme}: {name}", file)
    return password if password is not None else other or None

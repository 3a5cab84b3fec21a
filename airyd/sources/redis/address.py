"""Where a Redis is and how to log in there: the URL of ``--source redis://``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IReactorCore, IStreamClientEndpoint

from airyd.errors import ConfigurationError
from airyd.sources.query import Query

#: The environment's name for the password, so that it need not be in the URL, and thereby in a process listing.
PASSWORD_VARIABLE: Final = "AIRYD_REDIS_PASSWORD"  # noqa: S105  # a name
#: The same for the sentinels' own password.
SENTINEL_PASSWORD_VARIABLE: Final = "AIRYD_REDIS_SENTINEL_PASSWORD"  # noqa: S105  # a name
DEFAULT_PORT: Final = 6379
DEFAULT_SENTINEL_PORT: Final = 26379
#: Seconds that opening a connection may take.
CONNECT_PATIENCE: Final = 5
DEFAULT_PREFIX: Final = "airyd:"
DEFAULT_MAXLEN: Final = 10_000


class Address(NamedTuple):
    """A Redis and the login there. Only :attr:`name` may be shown.

    :ivar name: for logs and errors, such as ``redis://127.0.0.1:6379/0``: no user, no password
    :ivar ca_file: PEM file of the authorities that sign the server's certificate; None for the system's
    :ivar cert_file: PEM file of the client's certificate chain, with :attr:`key_file` for its key
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

    def endpoint(self, reactor: IReactorCore) -> IStreamClientEndpoint:
        """Return where to connect to.

        Raises ``ConfigurationError`` if a certificate or key can't be read.
        """
        from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS

        if self.path is not None:
            return UNIXClientEndpoint(reactor, self.path, timeout=CONNECT_PATIENCE)
        plain = HostnameEndpoint(reactor, self.host, self.port, timeout=CONNECT_PATIENCE)
        return wrapClientTLS(self._tls_options(), plain) if self.tls else plain

    def _tls_options(self) -> IOpenSSLClientConnectionCreator:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from cryptography.x509 import load_pem_x509_certificates
        from OpenSSL.crypto import Error as PemError
        from OpenSSL.SSL import Error as TlsError
        from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS, trustRootFromCertificates

        try:
            trust = None
            if self.ca_file is not None:
                authorities = [Certificate.loadPEM(pem) for pem in _pem_blocks(Path(self.ca_file).read_bytes())]
                if not authorities:
                    raise ValueError(f"there is no certificate in {self.ca_file}")
                trust = trustRootFromCertificates(authorities)
            client: dict[str, Any] = {}
            if self.cert_file is not None and self.key_file is not None:
                certificate, *chain = load_pem_x509_certificates(Path(self.cert_file).read_bytes())
                key = load_pem_private_key(Path(self.key_file).read_bytes(), password=None)
                # Not as a PrivateCertificate: that holds no chain, and objects which pyOpenSSL takes no more.
                client = {"certificate": certificate, "privateKey": key, "extraCertChain": chain}
                CertificateOptions(**client).getContext()  # raises, if they do not belong together
        except (OSError, PemError, TlsError, TypeError, ValueError) as error:
            raise ConfigurationError(f"{self.name}: cannot use the certificate or key: {error}") from None
        return optionsForClientTLS(self.host, trustRoot=trust, extraCertificateOptions=client)


def _pem_blocks(text: bytes) -> list[bytes]:
    end = b"-----END CERTIFICATE-----"
    return [block + end for block in text.split(end)[:-1]]


class SentinelAddress(NamedTuple):
    """A Redis whose place is known to sentinels.

    :ivar sentinels: where they are, and their own password
    :ivar service: the name under which they watch the master
    :ivar master: the login there, without a place
    """

    sentinels: tuple[Address, ...]
    service: str
    master: Address


def read_address(url: str, query: Query, environ: Mapping[str, str]) -> Address:
    """Read the part of a URL before its parameters, and the parameters that belong to it.

    Errors: ``ConfigurationError`` whose text shows neither user nor password.
    """
    scheme = query.scheme.lower()
    tls = scheme == "rediss"
    is_unix = scheme == "redis+unix"
    try:
        parts = urlsplit(url.partition("?")[0])
        port = parts.port or DEFAULT_PORT
    except ValueError:
        raise query.error("the address is not host[:port][/db]") from None
    if parts.fragment or (is_unix and parts.hostname):
        raise query.error("the address is not " + ("///path of the socket" if is_unix else "host[:port][/db]"))
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if is_unix:
        database = query.integer("db", 0, 0, 1_000_000)
        path = unquote(parts.path)
        name = f"{scheme}://{path}"
        if not parts.path.strip("/"):
            raise query.error("name the socket: redis+unix:///run/redis/redis-server.sock")
    else:
        path = None
        text = parts.path.strip("/")
        if text and not (text.isascii() and text.isdigit() and len(text) < 7):
            raise query.error("behind the host comes the number of the database, such as /0")
        database = int(text or 0)
        name = f"{scheme}://{_bracketed(parts.hostname or 'localhost')}:{port}/{database}"
    cert_file, key_file = (query.text(each) if tls else None for each in ("cert-file", "key-file"))
    if (cert_file is None) != (key_file is None):
        raise query.error("cert-file and key-file go together")
    return Address(
        name=name,
        host=parts.hostname or "localhost",
        port=port,
        path=path,
        tls=tls,
        database=database,
        user=user,
        password=_password(password, query, environ.get(PASSWORD_VARIABLE), "password-file"),
        ca_file=query.text("ca-file") if tls else None,
        cert_file=cert_file,
        key_file=key_file,
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def read_sentinel_address(url: str, query: Query, environ: Mapping[str, str]) -> SentinelAddress:
    """Read the same parts of a URL ``redis+sentinel://[user:password@]host[:port],.../service[/db]``.

    Errors: ``ConfigurationError`` whose text shows neither user nor password.
    """
    scheme = query.scheme.lower()
    wrong = query.error("the address is not host[:port],.../name of the master[/db]")
    try:
        parts = urlsplit(url.partition("?")[0])
        login, _, hosts = parts.netloc.rpartition("@")
        places = [urlsplit(f"//{each}") for each in hosts.split(",")]
        named = [(place.hostname or "", place.port or DEFAULT_SENTINEL_PORT) for place in places]
    except ValueError:
        raise wrong from None
    service, slash, database = parts.path.removeprefix("/").partition("/")
    is_number = database.isascii() and database.isdigit() and len(database) < 7
    # An @ in the path is one in a password, with a slash before it.
    if not all(host for host, _ in named) or not service or parts.fragment or "@" in parts.path:
        raise wrong
    if slash and not is_number:
        raise query.error("behind the master's name comes the number of the database, such as /0")
    user, _, password = login.partition(":")
    own = _password(None, query, environ.get(SENTINEL_PASSWORD_VARIABLE), "sentinel-password-file")
    sentinels = [
        Address(f"sentinel {_bracketed(host)}:{port}", host, port, None, False, 0, None, own, None, None, None)
        for host, port in named
    ]
    listed = ",".join(each.name.partition(" ")[2] for each in sentinels)
    return SentinelAddress(
        tuple(sentinels),
        service=unquote(service),
        master=Address(
            name=f"{scheme}://{listed}/{service}/{int(database or 0)}",
            host="",
            port=0,
            path=None,
            tls=False,
            database=int(database or 0),
            user=unquote(user) or None,
            password=_password(unquote(password) or None, query, environ.get(PASSWORD_VARIABLE), "password-file"),
            ca_file=None,
            cert_file=None,
            key_file=None,
        ),
    )


def _password(password: str | None, query: Query, other: str | None, name: str) -> str | None:
    """Return the password: the one in the address, that in a file, or another."""
    file = query.text(name)
    if password is not None and file is not None:
        raise query.error(f"give the password once: in the address, or with {name}")
    if file is not None:
        try:
            return Path(file).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise query.error(f"cannot read {name} {file}: {type(error).__name__}") from None
    return password if password is not None else other or None

"""The order of the examination: options, files, names, each source, logins, certificates, open files, ports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from twisted.internet.error import ConnectError

from airyd.admin.login import NO_TOKENS, READ_ONLY_OPTION, read_admin_tokens
from airyd.auth.spec import Words
from airyd.config.configuration import Configuration
from airyd.config.given import COMMAND_LINE
from airyd.config.settings import Settings
from airyd.doctor import redis_server
from airyd.doctor.certificates import check_client_file, check_peer, check_server_files, check_server_folder
from airyd.doctor.findings import DoctorReport, Level
from airyd.doctor.machine import NamedFile, check_files, check_name, check_open_files, check_port
from airyd.doctor.redis_probe import RedisProbe
from airyd.doctor.redis_rights import check_rights
from airyd.doctor.redis_streams import check_keys
from airyd.doctor.running import AdminToken, check_running
from airyd.doctor.tokens import check_authenticators
from airyd.doctor.write_check import check_writing
from airyd.errors import ConfigurationError, SourceUnavailable
from airyd.interfaces import AuthenticatorContext, IServerReactor, SourceContext
from airyd.listening.endpoint_strings import EndpointText
from airyd.listening.endpoints import read_text
from airyd.sources import make_source
from airyd.sources.redis.address import Address, SentinelAddress
from airyd.sources.redis.url import RedisUrl, read_url
from airyd.sources.routing import Assignment, assign_destinations
from airyd.sources.url_query import Query
from airyd.tap import check_daemon

_REDIS: Final = ("redis", "rediss", "redis+unix", "redis+sentinel")
#: Parameters of a Redis URL that name files, and whether the files are secret.
_URL_FILES: Final[Mapping[str, bool]] = {
    "password-file": True,
    "sentinel-password-file": True,
    "ca-file": False,
    "cert-file": False,
    "key-file": True,
}
#: Words of ``--auth jwt:`` that name files, and whether the files are secret.
_AUTH_FILES: Final[Mapping[str, bool]] = {"secret-file": True, "key-file": False, "jwks": False, "ca-file": False}
#: Parameters of endpoints that name files, and whether the files are secret.
_ENDPOINT_FILES: Final[Mapping[str, bool]] = {
    "privateKey": True,
    "certKey": False,
    "extraCertChain": False,
    "dhParameters": False,
    "path": False,
}


class Examination:
    """Examines the settings of a daemon, what they name, and this machine.

    :param configuration: has the place of each option, for errors
    :param wall: returns the wall-clock time in seconds since 1970
    :param environ: the environment of the daemon
    :param is_writing: whether a test event may be written to Redis
    """

    def __init__(
        self,
        configuration: Configuration,
        settings: Settings,
        reactor: IServerReactor,
        wall: Callable[[], float],
        environ: Mapping[str, str],
        report: DoctorReport,
        is_writing: bool,
    ) -> None:
        self._configuration = configuration
        self._settings = settings
        self._reactor = reactor
        self._wall = wall
        self._report = report
        self._is_writing = is_writing
        self._names: set[str] = set()
        self._sources = SourceContext(reactor, wall, settings.destinations, settings.limits.body, environ)
        self._logins = AuthenticatorContext(
            reactor, wall, environ, settings.limits.token_size, dict(settings.user_destinations)
        )

    async def run(self) -> None:
        """Run all checks; what they find is in the report."""
        settings, report = self._settings, self._report
        check_files(report, dict.fromkeys(self._files()))
        for host in self._key_hosts():
            await self._check_name(host)
        has_tokens = await check_authenticators(settings.auth, self._logins, report, self._configuration.located)
        self._check_command_line()
        for assigned in self._assignments():
            await self._check_source(assigned, has_tokens)
        for option, text in self._endpoints():
            self._check_endpoint(option, text)
        check_open_files(report)
        for option, description in self._descriptions():
            await check_port(report, option, description)
        await self._check_running()
        self._check_options()

    def _check_options(self) -> None:
        """Make the daemon's service without starting it; this finds options that exclude each other."""
        failed = {finding.check for finding in self._report.findings if finding.level is Level.FAILURE}
        if failed & {"token-keys", "source", "port"}:
            return  # this check would only repeat one of these
        try:
            check_daemon(self._settings, self._reactor)
        except ConfigurationError as error:
            option, _, text = str(self._configuration.located(error)).partition(": ")
            advice = "airyd does not start with these options: correct them (twistd airyd --help)"
            self._report.fail("options", option, text, advice)
        else:
            self._report.ok("options", "all options", "airyd can start with them")

    # What the options name.

    def _descriptions(self) -> Iterator[tuple[str, str]]:
        yield from (("--listen", each) for each in self._settings.listen)
        if self._settings.admin is not None:
            yield "--admin", self._settings.admin

    def _endpoints(self) -> Iterator[tuple[str, EndpointText]]:
        for option, description in self._descriptions():
            try:
                text = read_text(option, description)
            except ConfigurationError:
                continue  # the check of the ports says so
            yield option, text.wrapped or text

    def _files(self) -> Iterator[NamedFile]:
        settings = self._settings
        if self._configuration.path is not None:
            yield NamedFile("--config", self._configuration.path, any(map(_has_password, settings.sources)))
        if settings.admin_token_file is not None:
            yield NamedFile("--admin-token-file", settings.admin_token_file, True)
        if settings.admin_read_token_file is not None:
            yield NamedFile(READ_ONLY_OPTION, settings.admin_read_token_file, True)
        if settings.destinations_file is not None:
            yield NamedFile("--destinations-file", settings.destinations_file.path, False)
        for url in settings.sources:
            try:
                query = Query(url)
            except ConfigurationError:
                continue  # the check of the source says so
            if query.scheme.lower() in _REDIS:
                yield from _named(f"--source {query.scheme}: ", query.text, _URL_FILES)
        for words in self._words():
            yield from _named("--auth jwt: ", words.text, _AUTH_FILES)
        for option, text in self._endpoints():
            yield from _named(f"{option} {text.kind}: ", text.parameters.get, _ENDPOINT_FILES)

    def _words(self) -> Iterator[Words]:
        for spec in self._settings.auth:
            name, _, arguments = spec.partition(":")
            if name == "jwt":
                yield Words(name, arguments)

    def _key_hosts(self) -> Iterator[str]:
        for words in self._words():
            place = _text(words.text, "jwks") or ""
            try:
                host = urlsplit(place).hostname if "://" in place else None
            except ValueError:
                continue  # the check of the keys says so
            if host:
                yield host

    def _assignments(self) -> Sequence[Assignment]:
        try:
            return assign_destinations(self._settings.sources, self._settings.destinations)
        except ConfigurationError as error:
            advice = "see twistd airyd --help-sources"
            self._report.fail("source", "--source", str(error).removeprefix("--source").lstrip(": "), advice)
            return ()

    # Checks that need more than one fact.

    async def _check_name(self, host: str) -> bool:
        """Check a host name, but only once; return False if it was checked now and cannot be resolved."""
        if host in self._names:
            return True
        self._names.add(host)
        return await check_name(self._report, host, self._reactor)

    async def _check_running(self) -> None:
        admin = next((text for option, text in self._endpoints() if option == "--admin"), None)
        try:
            tokens = read_admin_tokens(self._settings.admin_token_file, self._settings.admin_read_token_file)
        except ConfigurationError:
            tokens = NO_TOKENS  # the checks of the files and of the options say so
        if admin is not None:
            path = self._settings.admin_read_token_file or self._settings.admin_token_file
            token = tokens.full if tokens.read is None else tokens.read
            await check_running(self._report, admin, AdminToken(token, _readers(path)))

    def _check_command_line(self) -> None:
        """Look for passwords on the command line of the daemon."""
        for given in self._configuration.values.get("source", ()):
            if given.origin == COMMAND_LINE and _has_password(given.text):
                self._report.warn(
                    "source",
                    f"--source {given.text.partition(':')[0]}",
                    "its password is on the command line, which every user of this machine can see",
                    "use password-file= or AIRYD_REDIS_PASSWORD instead",
                )

    def _check_endpoint(self, option: str, text: EndpointText) -> None:
        if text.kind == "ssl":
            get = text.parameters.get
            paths = [get("certKey", get("privateKey", "")), *filter(None, [get("extraCertChain")])]
            check_server_files(self._report, f"{option} certKey", paths, self._wall())
        elif text.kind == "tls":
            check_server_folder(self._report, f"{option} path", text.parameters["path"], self._wall())

    async def _check_source(self, assigned: Assignment, has_tokens: bool) -> None:
        scheme = assigned.url.partition(":")[0].lower()
        context = self._sources._replace(destinations=assigned.destinations)
        try:
            target = read_url(assigned.url, context) if scheme in _REDIS else None
            if target is None:
                make_source(assigned.url, context)
        except ConfigurationError as error:
            text = str(self._configuration.located(error)).removeprefix("--source ").removeprefix(f"{scheme}: ")
            self._report.fail("source", f"--source {scheme}", text, "correct it; see twistd airyd --help-sources")
            return
        if target is None:
            self._report.ok("source", f"--source {scheme}", "needs no server")
            return
        address = target.address
        hosts = [each.host for each in address.sentinels] if isinstance(address, SentinelAddress) else [address.host]
        for host in hosts if not isinstance(address, Address) or address.path is None else ():
            await self._check_name(host)
        probe = RedisProbe(target, self._reactor)
        try:
            trouble = await probe.connect()
            if trouble is not None:
                self._report.fail("connection", probe.name, trouble, _connect_advice(trouble))
                return
            self._report.ok("connection", probe.name, "Redis answers")
            await self._check_redis(probe, target, assigned, context, has_tokens)
        except (ConnectError, SourceUnavailable) as error:
            advice = "run the doctor again; if it happens again, look at Redis' log"
            self._report.fail("connection", probe.name, f"lost while it was examined: {error}", advice)
        finally:
            await probe.close()

    async def _check_redis(
        self, probe: RedisProbe, target: RedisUrl, assigned: Assignment, context: SourceContext, has_tokens: bool
    ) -> None:
        report, now = self._report, self._wall()
        await redis_server.check_version(probe, report)
        await redis_server.check_role(probe, report)
        keys = [f"{target.prefix}{name}" for name in assigned.destinations]
        await check_rights(probe, report, keys, has_tokens)
        await redis_server.check_memory(probe, report)
        await redis_server.check_persistence(probe, report, has_tokens)
        await redis_server.check_output_buffers(probe, report, context.body_limit)
        await check_keys(probe, report, assigned.destinations, self._wall)
        await redis_server.check_round_trips(probe, report, self._reactor)
        await redis_server.check_clock(probe, report, self._wall)
        if isinstance(target.address, Address) and target.address.tls:
            await check_peer(report, target.address, self._reactor, now)
            for name, path in (("ca-file", target.address.ca_file), ("cert-file", target.address.cert_file)):
                if path is not None:
                    check_client_file(report, name, path, now)
        if self._is_writing:
            await check_writing(probe, report, assigned.url, context)


def _has_password(url: str) -> bool:
    try:
        return urlsplit(url).password is not None
    except ValueError:
        return False


def _text(read: Callable[[str], str | None], name: str) -> str | None:
    """Return a parameter, or None if it is wrong, which another check reports."""
    try:
        return read(name)
    except ConfigurationError:
        return None


def _named(start: str, read: Callable[[str], str | None], files: Mapping[str, bool]) -> Iterator[NamedFile]:
    for name, is_secret in files.items():
        path = _text(read, name)
        if path and "://" not in path:
            yield NamedFile(f"{start}{name}", path, is_secret)


def _connect_advice(trouble: str) -> str:
    """Return what to do about a Redis that can't be connected to."""
    if "no sentinel" in trouble:
        return "correct the sentinels' addresses and the master's name; redis-cli -p 26379 SENTINEL MASTERS shows it"
    if "cannot be resolved" in trouble:
        return "correct the name in the URL, or the resolver (/etc/resolv.conf, /etc/hosts)"
    if "refused" in trouble and "TLS" not in trouble:
        return "start Redis, correct host and port, or let it listen on this address (bind in redis.conf)"
    if trouble.startswith(("NOAUTH", "WRONGPASS", "ERR AUTH", "ERR invalid password")):
        return "give the user in the URL and the password with password-file= or AIRYD_REDIS_PASSWORD"
    if trouble.startswith("NOPERM"):
        return "give airyd's user this right (docs/publishing.rst, Least rights)"
    if trouble.startswith("DENIED"):
        return "set a password in Redis, or let it listen on the address that airyd connects to (protected-mode)"
    if trouble.startswith(("LOADING", "BUSY", "MASTERDOWN")):
        return "wait, then run the doctor again"
    return "correct the URL, or repair the network or the server (redis-cli shows whether it answers)"


def _readers(path: str | None) -> set[int]:
    """Return the users who can read a token's file in any case: root, this one, and the owner of the file."""
    users = {0, os.geteuid()}
    if path is not None:
        with suppress(OSError):
            users.add(Path(path).stat().st_uid)
    return users

"""Files' rights, open files and ports."""

from __future__ import annotations

import resource
import shutil
import socket
import tempfile

from airyd.doctor.findings import Level
from tests.doctor.case import LocalCase
from tests.leaks import MARK


class FileTests(LocalCase):
    """The files that options name."""

    async def test_missing(self) -> None:
        none = f"{self.folder}/none"
        for option, named in [
            (f"--admin-token-file={none}", "--admin-token-file"),
            (f"--admin-read-token-file={none}", "--admin-read-token-file"),
            (f"--auth=jwt:secret-file={none}", "--auth jwt: secret-file"),
            (f"--auth=jwt:jwks={none}", "--auth jwt: jwks"),
            (f"--source=redis://127.0.0.1:1?password-file={none}", "--source redis: password-file"),
            (f"--source=rediss://127.0.0.1:1?ca-file={none}", "--source rediss: ca-file"),
            (f"--listen=ssl:0:privateKey={none}", "--listen ssl: privateKey"),
            (f"--listen=tls:{none}:0", "--listen tls: path"),
        ]:
            report = await self.examine(option)
            self.has(report, Level.FAILURE, "file", f"{named} {none}: there is no such file", "chmod")

    async def test_modes(self) -> None:
        for mode, level, advice in [
            (0o600, Level.OK, ""),
            (0o640, Level.OK, ""),
            (0o644, Level.WARNING, "chmod o-r "),
            (0o666, Level.FAILURE, "chmod o-w "),
        ]:
            path = self.file("secret", MARK * 8, mode)
            report = await self.examine(f"--auth=jwt:secret-file={path}")
            self.has(report, level, "file", f"mode {mode:o}", advice)

    async def test_public(self) -> None:
        """A file that is not secret may be readable by all, but not writable."""
        for mode, level in [(0o644, Level.OK), (0o646, Level.FAILURE)]:
            path = self.file("destinations", "/queue/tags", mode)
            self.has(await self.examine(f"--destinations-file={path}"), level, "file", f"{path}: ")

    async def test_none(self) -> None:
        self.assertEqual(self.of_check(await self.examine(), "file"), [])


class OpenFilesTests(LocalCase):
    """The limit of open files."""

    async def test_limits(self) -> None:
        for hard, level, text in [
            (resource.RLIM_INFINITY, Level.OK, "there is none"),
            (20_000, Level.OK, "it is 20000, enough for 19900 clients"),
            (1024, Level.WARNING, "it is 1024, enough for 924 clients"),
            (64, Level.FAILURE, "it is 64: airyd can serve only one client"),
        ]:
            self.patch(resource, "getrlimit", lambda which, hard=hard: (hard, hard))
            self.has(await self.examine(), level, "open-files", text, "LimitNOFILE" if level else "")


class PortTests(LocalCase):
    """The ports of ``--listen`` and ``--admin``."""

    async def test_free(self) -> None:
        report = await self.examine("--listen=tcp:0:interface=127.0.0.1", "--admin=tcp:0:interface=127.0.0.1")
        self.assertEqual(len(self.of_check(report, "port")), 2)
        self.all_well(report, "port")

    async def test_taken(self) -> None:
        """Another program listens there."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            other.settimeout(0)
            port = other.getsockname()[1]
            for option in ("listen", "admin"):
                report = await self.examine(f"--{option}=tcp:{port}:interface=127.0.0.1")
                subject = f"--{option} tcp:{port}:interface=127.0.0.1"
                self.has(report, Level.FAILURE, "port", f"{subject}: cannot listen there: Address already", "ss -ltnp")

    async def test_address(self) -> None:
        report = await self.examine("--listen=tcp:0:interface=192.0.2.7", "--auth=anonymous:public")
        self.has(report, Level.FAILURE, "port", "this machine has no such address", "address of this machine")

    async def test_socket(self) -> None:
        folder = tempfile.mkdtemp()  # the test's own folder has too long a name for a socket
        self.addCleanup(shutil.rmtree, folder)
        report = await self.examine(f"--listen=unix:{folder}/none/socket")
        self.has(report, Level.FAILURE, "port", "make the folder first", "")
        report = await self.examine(f"--listen=unix:{folder}/socket")
        self.all_well(report, "port")

    async def test_not_an_endpoint(self) -> None:
        report = await self.examine("--listen=tcp:99999")
        self.has(report, Level.FAILURE, "port", "a number from 0 to 65535", "")


class OptionTests(LocalCase):
    """Options that do not fit together."""

    async def test_well(self) -> None:
        self.all_well(await self.examine(), "options")

    async def test_anybody(self) -> None:
        report = await self.examine("--listen=tcp:0")
        self.has(report, Level.FAILURE, "options", "with --auth anonymous, anybody could connect there", "--help")

    async def test_systemd(self) -> None:
        """A socket that systemd passes to the unit, and not to the doctor, is not missed."""
        for listen, level in [
            ("systemd:domain=UNIX:index=0", Level.OK),
            ("systemd:domain=INET:index=0", Level.FAILURE),  # anybody could connect without a login
            ("haproxy:systemd:domain=INET:index=0", Level.FAILURE),
        ]:
            report = await self.examine(f"--listen={listen}")
            self.assertEqual([each.level for each in self.of_check(report, "options")], [level])
            self.has(report, Level.OK, "port", "systemd opens it")
        report = await self.examine("--listen=systemd:domain=INET:index=0", "--auth=anonymous:public")
        self.all_well(report, "options")

    async def test_password(self) -> None:
        """A password on the command line; not one in a file, or in the environment."""
        url = f"redis://u:{MARK}@127.0.0.1:1/0"
        report = await self.examine(f"--source={url}")
        self.has(report, Level.WARNING, "source", "its password is on the command line", "password-file=")
        config = self.file("airyd.toml", f'source = ["{url}"]\n', 0o644)
        report = await self.examine(f"--config={config}")
        self.assertEqual(self.of_check(report, "source"), [])
        self.has(report, Level.WARNING, "file", "every user of this machine can read this secret", "chmod o-r")

    async def test_workers(self) -> None:
        report = await self.examine("--workers=2")
        self.has(report, Level.FAILURE, "options", "each process would have its own events", "--help")

    async def test_sources(self) -> None:
        report = await self.examine("--source=memory:", "--source=sample:")
        self.has(report, Level.FAILURE, "source", "each must name its destinations", "--help-sources")
        report = await self.examine("--source=redsi://h")
        self.has(report, Level.FAILURE, "source", "did you mean redis:?", "--help-sources")

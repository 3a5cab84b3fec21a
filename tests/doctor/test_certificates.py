"""Certificates of endpoints and of Redis: names, chain, end."""

from __future__ import annotations

import os
from pathlib import Path

from airyd.doctor.findings import DoctorReport, Level
from tests.doctor.case import DoctorCase, LocalCase
from tests.sources.redis.certificates import Certificates
from tests.sources.redis.server import RedisServer


class EndpointTests(LocalCase):
    """The certificate of ``--listen ssl:``."""

    def setUp(self) -> None:
        super().setUp()
        self.certificates = Certificates(self.folder)

    async def certificate(self, days: tuple[int, int], *names: str, more: str = "") -> DoctorReport:
        """Examine an endpoint with a certificate for these names that is valid from and until these days."""
        certificate, key = self.certificates.issue("own", *(names or ("airy.example", "*.airy.example")), days=days)
        listen = f"--listen=ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}{more}"
        return await self.examine(listen)

    def trust(self, path: str) -> None:
        """Let the system trust an authority alone."""
        self.addCleanup(os.environ.pop, "SSL_CERT_FILE", None)
        os.environ["SSL_CERT_FILE"] = path

    async def test_end(self) -> None:
        self.has(await self.certificate((-10, 90)), Level.OK, "certificate", "it is valid until 20")
        self.has(await self.certificate((-10, 3)), Level.WARNING, "certificate", ", in 3 days", "renew it")
        self.has(await self.certificate((-10, -1)), Level.FAILURE, "certificate", "it expired on ", "renew it")
        self.has(await self.certificate((1, 90)), Level.FAILURE, "certificate", "it is not valid before ", "clock")

    async def test_names(self) -> None:
        report = await self.certificate((-10, 90))
        self.has(report, Level.OK, "certificate", "own.pem: it is for airy.example, *.airy.example")

    async def test_no_name(self) -> None:
        """A certificate with a common name alone, which browsers and airyd tail ignore."""
        certificate, key = self.certificates.issue_without_names("bare")
        report = await self.examine(f"--listen=ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}")
        self.has(report, Level.FAILURE, "certificate", "it names no host in subjectAltName", "get one with the names")

    async def test_other_key(self) -> None:
        key, certificate = self.certificates.client_key, self.certificates.server
        report = await self.examine(f"--listen=ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}")
        self.has(report, Level.FAILURE, "options", "does not belong to the first certificate", "correct them")

    async def test_chain(self) -> None:
        self.trust(self.certificates.ca)
        self.has(await self.certificate((-10, 90)), Level.OK, "certificate", "its chain leads to an authority")
        (self.folder / "other").mkdir()
        self.trust(Certificates(self.folder / "other", "another").ca)
        report = await self.certificate((-10, 90))
        self.has(report, Level.WARNING, "certificate", "it has no chain (", "fullchain.pem")
        report = await self.certificate((-10, 90), more=f":extraCertChain={self.certificates.ca}")
        self.has(report, Level.WARNING, "certificate", "its chain leads to no authority", "install the root")

    async def test_folder(self) -> None:
        """The certificates in the folder of a ``tls:`` endpoint."""
        folder = self.folder / "served"
        folder.mkdir()
        certificate, key = self.certificates.issue("own", "airy.example", days=(-10, 3))
        (folder / "airy.pem").write_bytes(Path(key).read_bytes() + Path(certificate).read_bytes())
        (folder / "key.pem").write_bytes(Path(key).read_bytes())
        report = await self.examine(f"--listen=tls:{folder}:0:interface=127.0.0.1")
        self.has(report, Level.WARNING, "certificate", "served/airy.pem: it expires on ", "renew it")
        self.has(report, Level.OK, "certificate", "served/airy.pem: it is for airy.example")
        self.flushWarnings()  # of Twisted's plugin for tls:, which uses what pyOpenSSL calls old

    async def test_missing(self) -> None:
        none = self.folder / "none.pem"
        report = await self.examine(f"--listen=ssl:0:privateKey={self.certificates.server_key}:certKey={none}")
        self.has(report, Level.FAILURE, "certificate", "there is no such file", "fullchain.pem")
        self.has(report, Level.FAILURE, "file", "certKey", "")
        self.has(report, Level.FAILURE, "options", "there is no such file", "correct them")


class RedisTests(DoctorCase):
    """Redis with TLS."""

    def make_server(self) -> RedisServer:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)
        self.certificates = Certificates(self.folder)
        return self.own_server("--tls-auth-clients", "no", tls=self.certificates)

    async def tls(self, parameters: str = "", host: str = "localhost") -> DoctorReport:
        """Examine the server over TLS."""
        return await self.examine(url=f"rediss://{host}:{self.server.port}/0?prefix={self.prefix}{parameters}")

    async def test_end(self) -> None:
        """The server's certificate, which is valid for a day, and the files that the URL names."""
        files = f"&ca-file={self.certificates.ca}&cert-file={self.certificates.client}"
        report = await self.tls(f"{files}&key-file={self.certificates.client_key}")
        self.all_well(report, "connection")
        address = f"rediss://localhost:{self.server.port}/0"
        for subject in (address, f"ca-file {self.certificates.ca}", f"cert-file {self.certificates.client}"):
            self.has(report, Level.WARNING, "certificate", f"{subject}: it expires on ", "renew it")

    async def test_untrusted(self) -> None:
        report = await self.tls()
        self.has(report, Level.FAILURE, "connection", "certificate is not trusted", "")

    async def test_other_name(self) -> None:
        self.certificates.server, self.certificates.server_key = self.certificates.issue("other", "localhost")
        self.server = self.own_server("--tls-auth-clients", "no", tls=self.certificates)
        report = await self.tls(f"&ca-file={self.certificates.ca}", host="127.0.0.1")
        self.has(report, Level.FAILURE, "connection", "the server's certificate is for another name", "")

    async def test_no_tls(self) -> None:
        """A URL without TLS for a server with TLS."""
        report = await self.examine(url=f"redis://localhost:{self.server.port}/0")
        self.has(report, Level.FAILURE, "connection", "write rediss:", "")

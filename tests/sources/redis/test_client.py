"""A reload of a Redis source: passwords, TLS files and the limit of bodies."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import ConfigurationError
from airyd.interfaces import IReloadable, SourceContext
from airyd.sources import make_source
from tests.sources.redis.certificates import Certificates


class ReloadTests(SynchronousTestCase):
    """Each kind of URL."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.password = self.directory / "password"
        self.password.write_text("first-hunter2")

    def source(self, url: str) -> IReloadable:
        """Return the source of a URL."""
        context = SourceContext(cast(IReactorCore, Clock()), lambda: 1.7e9, ["/queue/message"])
        return cast(IReloadable, make_source(url, context))

    def changes(self, url: str) -> list[str]:
        """Return what a reload changes after the password was, and apply it; a second reload changes nothing."""
        source = self.source(url)
        self.assertTrue(IReloadable.providedBy(source))
        self.assertEqual(source.prepare_reload(self.source(url)).changes, [])
        self.password.write_text("second-hunter2")
        reload = source.prepare_reload(self.source(url))
        reload.apply()
        self.assertEqual(source.prepare_reload(self.source(url)).changes, [])
        return list(reload.changes)

    def test_password(self) -> None:
        for url, name in (
            ("redis://airyd@192.0.2.7/0?", "redis://192.0.2.7:6379/0"),
            ("redis://192.0.2.7/0?mode=pubsub&", "redis://192.0.2.7:6379/0"),
            ("redis+unix:///run/redis.sock?", "redis+unix:///run/redis.sock"),
            ("redis+sentinel://192.0.2.7/master?", "redis+sentinel://192.0.2.7:26379/master/0"),
        ):
            self.password.write_text("first-hunter2")
            self.assertEqual(self.changes(f"{url}password-file={self.password}"), [f"password of {name}"])

    def test_tls_files(self) -> None:
        """A new client certificate is used; one that does not fit its key is refused."""
        files = Certificates(self.directory)
        url = f"rediss://192.0.2.7?ca-file={files.ca}&cert-file={files.client}&key-file={files.client_key}"
        source = self.source(url)
        for old, new in ((files.client, files.server), (files.client_key, files.server_key)):
            Path(old).write_bytes(Path(new).read_bytes())
            if old == files.client:
                self.assertRaises(ConfigurationError, self.source, url)
        self.assertEqual(source.prepare_reload(self.source(url)).changes, ["TLS files of rediss://192.0.2.7:6379/0"])

"""Sources are found by the scheme of their URL."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from twisted.internet.utils import getProcessOutputAndValue
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

import airyd
from airyd.errors import ConfigurationError
from airyd.interfaces import IEventSource, IEventSourceParser
from airyd.sources import describe_sources, is_shared, make_source
from tests.sources.support import make_context


class FindingTests(SynchronousTestCase):
    """URLs, and the text of ``--help-sources``."""

    def test_parsers(self) -> None:
        for parser in getPlugins(IEventSourceParser):
            verifyObject(IEventSourceParser, parser)

    def test_known(self) -> None:
        for url in (
            "memory:",
            "MEMORY:",
            "memory",
            "memory:?history=0&history-bytes=0",
            "sample:",
            "sample:?rate=0.5",
            "redis:",
        ):
            verifyObject(IEventSource, make_source(url, make_context()))

    def test_shared(self) -> None:
        """Only Redis has the same events for several processes."""
        self.assertEqual([is_shared(url) for url in ("memory:", "sample:?rate=1", "memory")], [False] * 3)
        self.assertTrue(all(is_shared(url) for url in ("redis:", "REDISS://host", "redis+unix:///socket")))
        self.assertRaises(ConfigurationError, is_shared, "kafka://host")

    def test_unknown(self) -> None:
        error = self.assertRaises(ConfigurationError, make_source, "kafka://user:s3cret@host/", make_context())
        self.assertIn("--source kafka: ", str(error))
        self.assertIn("memory:, redis:, redis+sentinel:, redis+unix:, rediss:, sample:", str(error))
        self.assertNotIn("s3cret", str(error))

    def test_what_was_meant(self) -> None:
        for url, meant in (
            ("redis+tls://us3r:s3cret@host/", "rediss:"),
            ("reddis://us3r:s3cret@host/", "redis:"),
            ("redis+sentinels://us3r:s3cret@host/m", "redis+sentinel:"),
            ("memry:", "memory:"),
        ):
            error = self.assertRaises(ConfigurationError, make_source, url, make_context())
            self.assertIn(f"did you mean {meant}?", str(error))
            self.assertNotIn("s3cret", str(error))

    def test_no_scheme(self) -> None:
        """The error doesn't quote the text, which may be a password."""
        for url in ("", "us3r_s3cret@host", "//host", "%"):
            error = self.assertRaises(ConfigurationError, make_source, url, make_context())
            self.assertIn("--source must begin with", str(error))
            self.assertNotIn("s3cret", str(error))

    def test_wrong_parameters(self) -> None:
        for url in (
            "memory:?history=-1",
            "memory:?history-bytes=64MiB",
            "memory:?history_bytes=1",
            "memory:?history=1&history=2",
            "memory://host",
            "memory:?rate=5",
            "sample:?rate=0",
            "sample:?rate=fast",
            "sample:?seed=x",
            "sample:?loop=1",
            "sample:x.jsonl",
            "redis://host/0?maxlen=0",
            "redis://host/0?max-len=5",
            "redis://host/0?mode=list",
            "redis://host/0?history=5",
            "redis://host/0?mode=pubsub&maxlen=5",
            "redis://host/0?mode=pubsub&history=-1",
            "redis://host/0?ca-file=x",
            "redis+unix:///run/redis.sock?db=x",
            "redis+sentinel://host/mymaster?sentinel=1",
        ):
            error = self.assertRaises(ConfigurationError, make_source, url, make_context())
            self.assertEqual(len(str(error).splitlines()), 1)

    def test_help(self) -> None:
        text = describe_sources()
        self.assertLess(text.index("memory:["), text.index("sample:["))
        for word in (
            "history",
            "history-bytes",
            "rate",
            "seed",
            "file",
            "loop",
            "mode",
            "maxlen",
            "linger",
            "password-file",
            "sentinel-password-file",
            "cert-file",
        ):
            self.assertIn(word, text)
        self.assertEqual([line for line in text.splitlines() if len(line) > 88], [])


@pytest.mark.integration
class LazinessTests(TestCase):
    """Listing the sources is cheap."""

    async def test_naming_imports_none(self) -> None:
        """``twistd --help`` loads every plugin file: neither a source nor a reactor may come with it."""
        program = (
            "import sys; from airyd.sources import describe_sources; from airyd.auth import describe_authenticators;"
            "describe_sources(); describe_authenticators();"
            "import twisted.plugins.airyd_sources, twisted.plugins.airyd_authenticators;"
            "print(*(n for n in sys.modules if n in ('twisted.internet.reactor', 'msgspec')"
            " or n.startswith(('airyd.sources.', 'airyd.auth.'))))"
        )
        root = str(Path(airyd.__file__).parent.parent)
        out, err, code = await getProcessOutputAndValue(
            sys.executable, ["-c", program], env={"PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}
        )
        self.assertEqual((out.strip(), err.strip(), code), (b"", b"", 0))

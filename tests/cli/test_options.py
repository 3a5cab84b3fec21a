"""Command lines of ``airyd``."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from airyd import __version__
from airyd.cli.main import main
from airyd.cli.node_options import ConnectionsOptions, DrainOptions, NodeOptions, TraceOptions
from airyd.cli.options import PublishOptions, RevokeOptions, TailOptions, parse
from airyd.cli.parser import CommandOptions, UsageError
from airyd.cli.urls import ADMIN_URL, WEBSOCKET_URL
from airyd.events import AIRY_DESTINATIONS, MESSAGE
from airyd.management.queries import SortKey
from airyd.revocation import RevocationKind


class TailTests(SynchronousTestCase):
    """``airyd tail``."""

    def parse(self, *arguments: str) -> TailOptions:
        options = parse(["tail", *arguments])
        assert isinstance(options, TailOptions)
        return options

    def test_defaults(self) -> None:
        options = self.parse()
        self.assertEqual((WEBSOCKET_URL, AIRY_DESTINATIONS, None), (options.url, options.destinations, options.count))

    def test_url(self) -> None:
        for text, url, host, port, secure in [
            ("ws://localhost:81", "ws://localhost:81/ws.communication", "localhost", 81, False),
            ("ws://localhost/", "ws://localhost/ws.communication", "localhost", 80, False),
            ("wss://airy.example/other?x=1", "wss://airy.example/other?x=1", "airy.example", 443, True),
            ("ws://[::1]:8080", "ws://[::1]:8080/ws.communication", "::1", 8080, False),
        ]:
            options = self.parse(text)
            self.assertEqual((url, host, port, secure), (options.url, options.host, options.port, options.secure))

    def test_destinations(self) -> None:
        """With or without a URL: a destination begins with a slash; one that is named twice is followed once."""
        self.assertEqual((MESSAGE, "/events"), self.parse(MESSAGE, "/events", MESSAGE).destinations)
        options = self.parse("ws://h:1/p", "/events")
        self.assertEqual(("ws://h:1/p", ("/events",)), (options.url, options.destinations))

    def test_count(self) -> None:
        self.assertEqual(3, self.parse("--count", "3", MESSAGE).count)
        self.assertEqual(3, self.parse("-n3").count)

    def test_pattern(self) -> None:
        self.assertEqual(("/queue/**", "/app/*/x"), self.parse("/queue/**", "/app/*/x").destinations)

    def test_options_anywhere(self) -> None:
        for arguments in [["-n", "3", "ws://h", MESSAGE], ["ws://h", "--count=3", MESSAGE], ["ws://h", MESSAGE, "-n3"]]:
            options = self.parse(*arguments)
            self.assertEqual(
                ("ws://h/ws.communication", (MESSAGE,), 3), (options.url, options.destinations, options.count)
            )

    def test_wrong(self) -> None:
        for arguments in [
            ["http://127.0.0.1:8080/"],
            ["queue/message"],
            ["ws://"],
            ["ws://h:99999/"],
            ["ws://h:0/"],
            ["ws://h/#fragment"],
            ["ws://h/a b"],
            ["ws://user:secret@h/"],
            ["ws://h/", "queue"],
            ["/queue/a b"],
            ["/"],
            ["--count", "0"],
            ["--count=-1"],
            ["--count", "x"],
            ["--count", ""],
            ["--count="],
            ["-n", ""],
            ["/queue/message", "--count"],
            ["--mumble"],
            ["-n", "3", "-x"],
        ]:
            error = self.assertRaises(UsageError, self.parse, *arguments)
            self.assertNotIn("\n", str(error))
            self.assertNotIn("secret", str(error))


class PublishTests(SynchronousTestCase):
    """``airyd publish``."""

    def parse(self, *arguments: str) -> PublishOptions:
        options = parse(["publish", *arguments])
        assert isinstance(options, PublishOptions)
        return options

    def test_arguments(self) -> None:
        for arguments, url, body in [
            ([MESSAGE], ADMIN_URL, None),
            ([MESSAGE, "{}"], ADMIN_URL, "{}"),
            (["http://localhost:1", MESSAGE], "http://localhost:1", None),
            (["https://h/admin/", MESSAGE, "{}"], "https://h/admin/", "{}"),
        ]:
            options = self.parse(*arguments)
            self.assertEqual((url, MESSAGE, body), (options.url, options.destination, options.body))

    def test_wrong(self) -> None:
        for arguments in [
            [],
            ["http://h"],
            ["ws://h", MESSAGE],
            ["http://h?x=1", MESSAGE],
            [MESSAGE, "{}", "more"],
            ["{}"],
            ["http://h", "queue", "{}"],
        ]:
            self.assertNotIn("\n", str(self.assertRaises(UsageError, self.parse, *arguments)))


class RevokeTests(SynchronousTestCase):
    """``airyd revoke``."""

    def parse(self, *arguments: str) -> RevokeOptions:
        options = parse(["revoke", *arguments])
        assert isinstance(options, RevokeOptions)
        return options

    def test_what(self) -> None:
        for arguments, kind, name in [
            (["--jti", "j 1"], RevocationKind.JTI, "j 1"),
            (["--subject=ä"], RevocationKind.SUBJECT, "ä"),
            (["http://h:1", "--subject", "ann"], RevocationKind.SUBJECT, "ann"),
            (["--jti", "-x"], RevocationKind.JTI, "-x"),
            (["--jti", "--jti"], RevocationKind.JTI, "--jti"),
            (["--subj", "ann"], RevocationKind.SUBJECT, "ann"),
        ]:
            options = self.parse(*arguments)
            self.assertEqual((options.kind, options.name), (kind, name))

    def test_where(self) -> None:
        self.assertEqual(self.parse("--jti=j").url, ADMIN_URL)
        self.assertEqual(self.parse("--jti=j", "http://h:1").url, "http://h:1")
        options = self.parse("--jti=j", "--source=redis://h", "--token-max-age=60")
        self.assertEqual((options.source, options.token_max_age), ("redis://h", 60))

    def test_wrong(self) -> None:
        for arguments in [
            [],
            ["http://h:1"],
            ["--jti="],
            ["--jti=a\nb"],
            [f"--subject={'x' * 256}"],
            ["--jti=a", "--subject=b"],
            ["--jti=a", "--jti=b"],
            ["--jti=a", "redis://h"],
            ["--jti=a", "http://h:1", "http://h:2"],
            ["--jti=a", "http://h:1", "--source=redis://h"],
            ["--jti=a", "--token-max-age=60"],
            ["--jti=a", "--source=redis://h", "--token-max-age=0"],
            ["--jti=a", "--source=redis://h", f"--token-max-age={'9' * 30}"],
        ]:
            self.assertRaises(UsageError, self.parse, *arguments)


class WithoutOptions(CommandOptions):
    """A command with neither options nor arguments."""

    usage = ""
    description = "Do it."
    details = ""


class CommandTests(SynchronousTestCase):
    """Help, versions and usage errors."""

    def run_main(self, *arguments: str) -> tuple[object, str, str]:
        """Return the exit status, and what was written."""
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        self.patch(os, "environ", {**os.environ, "COLUMNS": "80"})
        status = self.assertRaises(SystemExit, main, arguments).code
        return status, out.getvalue(), err.getvalue()

    def check_help(self, *arguments: str, holds: Sequence[str]) -> None:
        status, out, err = self.run_main(*arguments)
        self.assertEqual((0, ""), (status, err))
        for text in holds:
            self.assertIn(text, out)
        self.assertEqual([], [line for line in out.splitlines() if len(line) > 81])

    def test_help(self) -> None:
        self.check_help("--help", holds=["usage: airyd [options] COMMAND", "tail", "publish", "serve"])
        self.check_help("tail", "--help", holds=["usage: airyd tail", WEBSOCKET_URL, *AIRY_DESTINATIONS, "--count"])
        self.check_help("publish", "--help", holds=["usage: airyd publish", ADMIN_URL, "DESTINATION", "BODY"])

    def test_no_options(self) -> None:
        """A command without options of its own has the common ones."""
        self.assertEqual([["--help", "-h"], ["--version"]], [list(each.names) for each in WithoutOptions.offers("x")])
        self.assertEqual(["word"], WithoutOptions.parser("x").read(["word"], WithoutOptions()))

    def test_version(self) -> None:
        for arguments in (["--version"], ["tail", "--version"], ["--version", "tail"]):
            self.assertEqual((0, f"airyd {__version__}\n", ""), self.run_main(*arguments))

    def test_wrong_usage(self) -> None:
        """A usage error is one line that names the help, and status 2."""
        for arguments, start, end in [
            ([], "airyd: a command is needed", "(see airyd --help)\n"),
            (["mumble"], "airyd: ", "(see airyd --help)\n"),
            (["tail", "--mumble"], "airyd tail: ", "(see airyd tail --help)\n"),
            (["tail", "x\x1b"], "airyd tail: ", "(see airyd tail --help)\n"),
            (["publish"], "airyd publish: a DESTINATION is needed", "(see airyd publish --help)\n"),
        ]:
            status, out, err = self.run_main(*arguments)
            self.assertEqual((2, ""), (status, out))
            self.assertTrue(err.startswith(start) and err.endswith(end) and err[:-1].isprintable(), err)


class NodeTests(SynchronousTestCase):
    """The commands that ask nodes."""

    def parse(self, *arguments: str) -> NodeOptions:
        options = parse(arguments)
        assert isinstance(options, NodeOptions)
        return options

    def test_nodes(self) -> None:
        """Each node is asked once, however often and with whatever end its URL is given."""
        self.assertEqual(self.parse("top").urls, (ADMIN_URL,))
        urls = self.parse("kick", "--admin=http://a:1/", "c-1", "--admin", "https://b/x", "--admin=http://a:1").urls
        self.assertEqual(urls, ("http://a:1", "https://b/x"))

    def test_connections(self) -> None:
        options = self.parse("connections", "--state=slow", "--subject", "ann", "--sort=lag", "--limit=5")
        assert isinstance(options, ConnectionsOptions)
        self.assertEqual((options.id, options.filters), (None, {"state": "slow", "subject": "ann"}))
        self.assertEqual((options.sort, options.limit), (SortKey.LAG, 5))

    def test_trace(self) -> None:
        for words, parameters in (
            (["c-1"], [("connection", "c-1"), ("seconds", "60")]),
            (["--subject=ann", "--seconds=5", "--bodies"], [("subject", "ann"), ("seconds", "5"), ("bodies", "true")]),
            (
                ["--destination=/a", "--filter=x:1", "--filter=y:"],
                [("destination", "/a"), ("seconds", "60"), ("filter", "x:1"), ("filter", "y:")],
            ),
        ):
            options = self.parse("trace", *words)
            assert isinstance(options, TraceOptions)
            self.assertEqual(options.parameters, parameters)

    def test_drain(self) -> None:
        for word, is_on in (("on", True), ("off", False)):
            options = self.parse("drain", word)
            assert isinstance(options, DrainOptions)
            self.assertEqual(options.is_on, is_on)

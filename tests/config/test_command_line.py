"""The options of ``twistd airyd``: settings, defaults, help and errors."""

from __future__ import annotations

import os
import re
import sys
from io import StringIO
from pathlib import Path
from typing import Any, cast

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

import airyd
from airyd.config.command_line import Options
from airyd.config.options import OPTIONS, SHOWING, SUBJECTS
from airyd.config.settings import Settings
from airyd.events import AIRY_DESTINATIONS
from airyd.limits import LIMITS, Limits
from airyd.stomp.spec import HeartBeat

#: ``(option, default as --help shows it)``
DEFAULTS = (
    ("--listen", "tcp:8080:interface=127.0.0.1"),
    ("--path", "/ws.communication"),
    ("--source", "memory:"),
    ("--auth", "anonymous"),
    ("--admin", "tcp:8081:interface=127.0.0.1"),
    ("--heart-beat", "30000,30000"),
    ("--heart-beat-grace", "65.0"),
    ("--ping-interval", "30.0"),
    ("--token-max-age", "86400"),
    ("--workers", "1"),
    ("--compression", "on"),
    ("--drain-notice", "0.0"),
    ("--drain-seconds", "3.0"),
    ("--log-level", "info"),
    ("--log-format", "text"),
    ("--proxy-header", "x-forwarded-for"),
    ("--connect-timeout", "10"),
    ("--request-head", "16384"),
    ("--connect-frame", "16384"),
    ("--frame", "327680"),
    ("--body", "262144"),
    ("--headers", "100"),
    ("--header-line", "8192"),
    ("--subscriptions", "256"),
    ("--transactions", "16"),
    ("--transaction-bytes", "1048576"),
    ("--buffered", "2097152"),
    ("--buffered-mark", "131072"),
    ("--token-size", "8192"),
)
#: ``(arguments, what the refusal must name)``
WRONG = (
    (["--nonsense"], ["nonsense"]),
    (["--listen"], ["--listen"]),
    (["stray"], ["stray", "--help"]),
    (["--path="], ["--path"]),
    (["--path=ws"], ["--path", "ws"]),
    (["--path=/a b"], ["--path"]),
    (["--path=/a?b"], ["--path"]),
    (["--path=/a#b"], ["--path"]),
    (["--path=/ä"], ["--path"]),
    (["--path=/a\nb"], ["--path"]),
    (["--path=/a\tb"], ["--path"]),
    (["--path=/a;b"], ["--path /a;b"]),
    (["--path=//a"], ["--path //a"]),
    (["--path=/a", "--path=b"], ["--path b"]),
    (["--log-level=loud"], ["--log-level loud", "debug, info"]),
    (["--log-level=airyd.hub=debug"], ["--log-level airyd.hub=debug", "info,airyd.hub=debug"]),
    (["--log-level=info,airyd.hub"], ["'airyd.hub'", "airyd.hub=debug"]),
    (["--log-level=info,airyd.hubb=debug"], ["airyd.hubb", "did you mean hub?"]),
    (["--log-level=info,airyd.connection=debug"], ["did you mean connections?"]),
    (["--log-level=info,airyd.hub.hob=debug"], ["airyd.hub.hob", "did you mean hub?"]),
    (["--log-level=info,a b=debug"], ["'a b=debug'"]),
    (["--log-level=info,twisted=debug,twisted=warn"], ["twisted is given twice"]),
    (["--log-format=yaml"], ["--log-format yaml", "text or json"]),
    (["--log-connections", "--log-connections"], ["--log-connections is given twice"]),
    (["--no-log-connections", "--log-connections"], ["--log-connections and --no-log-connections are both given"]),
    (["--log-connections", "--no-log-connections"], ["--log-connections and --no-log-connections are both given"]),
    (["--trust-proxy=10.0.0.1/8"], ["--trust-proxy 10.0.0.1/8", "did you mean 10.0.0.0/8?"]),
    (["--trust-proxy=proxy.example.org"], ["--trust-proxy proxy.example.org", "10.0.0.0/8"]),
    (["--trust-proxy="], ["--trust-proxy is empty"]),
    (["--proxy-header=X-Real-IP"], ["--proxy-header X-Real-IP", "x-forwarded-for or forwarded"]),
    (["--path=/a", "--path=/a"], ["--path /a", "twice"]),
    (["--destination="], ["--destination"]),
    (["--destination=queue"], ["--destination", "queue"]),
    (["--destination=/a b"], ["--destination"]),
    (["--destination=/a:b"], ["--destination"]),
    (["--destination=/x\n"], ["--destination"]),
    (["--destination=/" + "x" * 201], ["--destination"]),
    (["--destination=/x", "--destination=/x"], ["--destination /x"]),
    (["--destination=/queue/message"], ["--destination /queue/message"]),
    *(
        (["--auth=jwt:x", f"--user-destinations={wrong}"], [f"--user-destinations{' ' * bool(wrong)}{wrong}"])
        for wrong in (
            "",
            "=",
            "user",
            "user=",
            "=sub",
            "us er=sub",
            "user= sub",
            "user=\x7f",
            "a=exp",
        )
    ),
    (["--auth=jwt:x", "--user-destinations=a=b", "--user-destinations=a=c"], ["--user-destinations a=c", "twice"]),
    (["--user-destinations=a=b"], ["--user-destinations", "--auth jwt"]),
    (["--user-destinations=a=b", "--auth=anonymous", "--auth=anonymous:public"], ["--user-destinations", "--auth jwt"]),
    (["--destination=/user/x", "--auth=jwt:x", "--user-destinations=a=b"], ["--destination /user/x", "/user/"]),
    (["--auth=jwt:x", "--user-destinations=a=b", "--destination=/user/x"], ["--destination /user/x", "/user/"]),
    (["--admin="], ["--admin"]),
    (["--admin=tcp:8081"], ["--admin", "loopback"]),
    (["--admin=tcp:8081:interface=0.0.0.0"], ["--admin", "loopback"]),
    (["--admin=ssl:8081:interface=127.0.0.1"], ["--admin"]),
    (["--admin=None"], ["--admin"]),
    (["--heart-beat="], ["--heart-beat"]),
    (["--heart-beat=30000"], ["--heart-beat"]),
    (["--heart-beat=30000,"], ["--heart-beat"]),
    (["--heart-beat=-1,0"], ["--heart-beat"]),
    (["--heart-beat=1.5,0"], ["--heart-beat"]),
    (["--heart-beat=1,2,3"], ["--heart-beat"]),
    (["--heart-beat-grace=x"], ["--heart-beat-grace", "x"]),
    (["--token-max-age=0"], ["--token-max-age", "whole number"]),
    (["--token-max-age=1d"], ["--token-max-age", "whole number"]),
    (["--token-max-age=9999999999"], ["--token-max-age", "from 1 to"]),
    (["--token-size=1023"], ["--token-size 1023", "from 1024 to 131072"]),
    (["--token-size=131073"], ["--token-size 131073", "from 1024 to 131072"]),
    (["--heart-beat-grace="], ["--heart-beat-grace"]),
    (["--heart-beat-grace=-1"], ["--heart-beat-grace"]),
    (["--heart-beat-grace=nan"], ["--heart-beat-grace"]),
    (["--heart-beat-grace=inf"], ["--heart-beat-grace"]),
    (["--ping-interval="], ["--ping-interval", "number of seconds"]),
    (["--ping-interval=-1"], ["--ping-interval", "number of seconds"]),
    (["--ping-interval=0.01"], ["--ping-interval 0.01", "0.1 seconds or more"]),
    (["--workers="], ["--workers"]),
    (["--workers=0"], ["--workers 0", "auto"]),
    (["--workers=-1"], ["--workers"]),
    (["--workers=65"], ["--workers 65", "64"]),
    (["--workers=1.5"], ["--workers"]),
    (["--workers=Auto"], ["--workers"]),
    (["--workers=" + "9" * 5000], ["--workers"]),
    (["--compression="], ["--compression"]),
    (["--compression=1"], ["--compression", "on or off"]),
    (["--body=327680"], ["--body", "--frame"]),
    (["--frame=1000"], ["--body", "--frame"]),
)


class OptionsTests(SynchronousTestCase):
    """Settings, and refusals in one line."""

    def parsed(self, *arguments: str) -> Settings:
        """Return the settings of a command line."""
        options = Options()
        options.parseOptions(arguments)
        return options.settings

    def refusal(self, *arguments: str) -> str:
        """Return the error of a wrong command line, which must be one line with a status other than 0."""
        said = self.assertRaises(SystemExit, self.parsed, *arguments).code
        assert isinstance(said, str), said
        self.assertTrue(said.startswith("airyd: "), said)
        self.assertEqual(len(said.splitlines()), 1, said)
        return said

    def printed(self, *arguments: str) -> str:
        """Return the text that an option prints; the program then ends with status 0."""
        out = StringIO()
        self.patch(sys, "stdout", out)
        ended = self.assertRaises(SystemExit, self.parsed, *arguments)
        self.assertIn(ended.code, (0, None))
        return out.getvalue().strip()

    def test_defaults(self) -> None:
        self.assertEqual(
            self.parsed(),
            Settings(
                listen=["tcp:8080:interface=127.0.0.1"],
                paths=["/ws.communication"],
                sources=["memory:"],
                destinations=list(AIRY_DESTINATIONS),
                auth=["anonymous"],
                admin="tcp:8081:interface=127.0.0.1",
                admin_token_file=None,
                admin_read_token_file=None,
                origins=[],
                heart_beat=HeartBeat(30000, 30000),
                grace=65.0,
                compression=True,
                limits=Limits(),
                workers=1,
                log_level="info",
            ),
        )

    def test_log_and_proxies(self) -> None:
        settings = self.parsed(
            "--log-level=warn,airyd.sources.redis=debug,twisted=info",
            "--log-format=json",
            "--log-connections",
            "--trust-proxy=10.0.0.0/8",
            "--trust-proxy=unix",
            "--proxy-header=forwarded",
        )
        self.assertEqual(settings.log_level, "warn,airyd.sources.redis=debug,twisted=info")
        self.assertEqual((settings.log_format, settings.log_connections), ("json", True))
        self.assertEqual((settings.trust_proxy, settings.proxy_header), (("10.0.0.0/8", "unix"), "forwarded"))
        self.patch(os, "environ", {**os.environ, "AIRYD_LOG_CONNECTIONS": "true"})
        self.assertTrue(self.parsed().log_connections)
        self.assertFalse(self.parsed("--no-log-connections").log_connections)

    def test_help_shows_every_default(self) -> None:
        text = str(Options())
        for option, default in DEFAULTS:
            (line,) = re.findall(rf"^  {option}=.*$", text, re.MULTILINE)
            self.assertTrue(line.endswith(f" [{default}]"), line)

    def test_help_shows_all(self) -> None:
        """The table above has every option with a default, and every option has its line."""
        text = str(Options())
        shown = re.findall(r"^  --([a-z-]+)", text, re.MULTILINE)
        self.assertEqual(
            {name for name, option in OPTIONS.items() if option.default}, {name[2:] for name, _ in DEFAULTS}
        )
        self.assertEqual(len(shown), len(set(shown)))
        self.assertEqual(set(shown), {*OPTIONS, *SHOWING})
        self.assertNotIn("None", text)

    def test_help_is_short(self) -> None:
        """Each option has one line, under its subject, and the whole fits on a page."""
        lines = str(Options()).splitlines()
        self.assertLess(len(lines), 85)
        self.assertLessEqual(max(map(len, lines)), 120)
        self.assertEqual([line[:-1] for line in lines if line[:-1] in SUBJECTS], list(SUBJECTS))

    def test_each_limit_is_an_option(self) -> None:
        for name, default, _ in LIMITS:
            settings = self.parsed(f"--{name.replace('_', '-')}={default + 1}")
            self.assertEqual(settings.limits, Limits(**{name: default + 1}))

    def test_token_size(self) -> None:
        for size in (1024, 131_072):
            self.assertEqual(self.parsed(f"--token-size={size}").limits.token_size, size)

    def test_limits_refused(self) -> None:
        for name, _, _ in LIMITS:
            option = f"--{name.replace('_', '-')}"
            for wrong in ("0", "-1", "x", "", "1.5", " 1", "1k", "٣", "9" * 5000):
                self.assertIn(option, self.refusal(f"{option}={wrong}"))

    def test_values(self) -> None:
        settings = self.parsed(
            "--listen=tcp:1:interface=127.0.0.1",
            "--listen",
            "unix:/run/x",
            "--path=/",
            "--path=/ws.events",
            "--source=sample:?rate=5",
            "--destination=/events",
            "--destination=/queue/tags",
            "--auth=anonymous:send",
            "--auth=jwt:jwks=/keys",
            "--admin=unix:/run/admin",
            "--origin=https://app.example",
            "--origin=*",
            "--heart-beat=0,5000",
            "--heart-beat-grace=0.5",
            "--ping-interval=7.5",
        )
        self.assertEqual(settings.listen, ["tcp:1:interface=127.0.0.1", "unix:/run/x"])
        self.assertEqual((settings.paths, settings.sources), (["/", "/ws.events"], ["sample:?rate=5"]))
        self.assertEqual(settings.destinations, [*AIRY_DESTINATIONS, "/events", "/queue/tags"])
        self.assertEqual((settings.auth, settings.admin), (["anonymous:send", "jwt:jwks=/keys"], "unix:/run/admin"))
        self.assertEqual(settings.origins, ["https://app.example", "*"])
        self.assertEqual((settings.heart_beat, settings.grace), (HeartBeat(0, 5000), 0.5))
        self.assertEqual(settings.ping_interval, 7.5)

    def test_destinations_file(self) -> None:
        """The whole catalogue is read; the file's name is kept, whatever the working directory becomes."""
        path = Path(self.mktemp())
        path.write_text("/queue/b\n")
        settings = self.parsed(f"--destinations-file={path}", "--destination=/queue/a")
        self.assertEqual(settings.destinations, [*AIRY_DESTINATIONS, "/queue/a", "/queue/b"])
        assert settings.destinations_file is not None
        self.assertEqual(settings.destinations_file.path, str(path.absolute()))
        for wrong in ([f"--destinations-file={path}", "--destination=/queue/b"], ["--destinations-file=/nothing"]):
            self.assertIn("--destinations-file", self.refusal(*wrong))

    def test_user_destinations(self) -> None:
        """Each field with its claim, which may be a URL; a file of destinations then has no user destinations."""
        path = Path(self.mktemp())
        path.write_text("/users/b\n")
        settings = self.parsed(
            f"--destinations-file={path}",
            "--auth=anonymous",
            "--auth=jwt:jwks=/keys",
            "--user-destinations=user_id=sub",
            "--user-destinations=team=https://a.example/?x=y",
        )
        self.assertEqual(settings.user_destinations, (("user_id", "sub"), ("team", "https://a.example/?x=y")))
        self.assertIn("/users/b", settings.destinations)
        path.write_text("/user/b\n")
        words = (f"--destinations-file={path}", "--auth=jwt:jwks=/keys")
        self.assertIn("/user/b", self.parsed(*words).destinations)
        said = self.refusal(*words, "--user-destinations=user_id=sub")
        self.assertIn("'/user/b': with --user-destinations,", said)

    def test_workers(self) -> None:
        self.assertEqual(self.parsed("--workers=3").workers, 3)
        self.patch(os, "sched_getaffinity", lambda _: {0, 2, 5, 6})
        self.assertEqual(self.parsed("--workers=auto").workers, 4)

    def test_drain(self) -> None:
        """Both times together are at most 300 seconds, because systemd waits for so long."""
        settings = self.parsed("--drain-notice=290", "--drain-seconds=10")
        self.assertEqual((settings.drain_notice, settings.drain_seconds), (290.0, 10.0))
        said = self.refusal("--drain-notice=290", "--drain-seconds=10.5")
        self.assertIn("are 300.5 seconds together; give at most 300", said)

    def test_admin_with_a_token(self) -> None:
        """With a token, and only then, it may listen on any address."""
        settings = self.parsed("--admin=tcp:8081", "--admin-token-file=/token")
        self.assertEqual((settings.admin, settings.admin_token_file), ("tcp:8081", "/token"))
        self.assertIn("--admin-token-file", self.refusal("--admin=tcp:8081"))

    def test_no_admin(self) -> None:
        self.assertIsNone(self.parsed("--admin=none").admin)

    def test_no_heart_beats(self) -> None:
        self.assertEqual(self.parsed("--heart-beat=0,0").heart_beat, HeartBeat(0, 0))

    def test_nothing_is_shared(self) -> None:
        """One command line leaves nothing to the next."""
        self.parsed("--destination=/events", "--listen=unix:/x", "--origin=*", "--path=/x")
        self.assertEqual(self.parsed().destinations, list(AIRY_DESTINATIONS))
        self.assertEqual((self.parsed().origins, len(self.parsed().listen)), ([], 1))
        self.assertEqual(self.parsed().paths, ["/ws.communication"])

    def test_wrong(self) -> None:
        for arguments, names in WRONG:
            said = self.refusal(*arguments)
            for name in names:
                self.assertIn(name, said, arguments)

    def test_help_on_sources(self) -> None:
        text = self.printed("--help-sources")
        for word in ("memory:[", "sample:[", "history-bytes  ", "rate  ", "seed  ", "sample:?file", "destinations  "):
            self.assertEqual(text.count(word), 1, word)

    def test_help_on_auth(self) -> None:
        text = self.printed("--help-auth")
        self.assertEqual(text.count("anonymous[:public]"), 1)

    def test_version(self) -> None:
        self.assertEqual(self.printed("--version"), f"airyd {airyd.__version__}")

    def test_is_what_twistd_expects(self) -> None:
        options: Any = Options()
        self.assertIsInstance(options, usage.Options)
        self.assertTrue(cast(str, options.getUsage()))

"""The three ways in which options are given: precedence, places in errors, and a second reading."""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from airyd.config.config_file import find_lines
from airyd.config.configuration import Configuration
from airyd.config.option_values import switch
from airyd.config.options import LIMIT, OPTIONS, PROCESS, Option
from airyd.config.settings import Settings
from airyd.errors import ConfigurationError
from airyd.events import AIRY_DESTINATIONS
from airyd.stomp.spec import HeartBeat

#: ``(content, what the error says after the file's name)``
WRONG = (
    ("log-levle = 1", "line 1: log-levle: there is no such option; did you mean log-level?"),
    ("\n# a\nlog_level = 'warn'", "line 3: log_level: there is no such option; did you mean log-level?"),
    ("sources = ['memory:']", "line 1: sources: there is no such option; did you mean source?"),
    ("[authenticators]", "line 1: authenticators: there is no such option; did you mean auth?"),
    ("[limit]\nbody = 1", "line 1: limit: there is no such option; did you mean limits?"),
    ("bufered = 1", "line 1: bufered: there is no such option; did you mean buffered in the table [limits]?"),
    ("qqq = 1", "line 1: qqq: there is no such option; see twistd airyd --help"),
    ("body = 1", "line 1: body: a limit belongs in the table [limits]"),
    ("config = 'x'", "line 1: config: a configuration file can't name another one"),
    ("limits = 5", "line 1: limits: must be a table"),
    ("[limits]\nbdy = 1", "line 2: [limits] bdy: there is no such limit; did you mean body?"),
    ("[limits]\nlog-level = 'warn'", "line 2: [limits] log-level: there is no such limit; it belongs above"),
    ("[limits]\nbody = 'x'", "line 2: [limits] body x: give a whole number"),
    ("[limits]\nbody = 5\nframe = 4", "line 2: [limits] body 5: it must be below --frame, which is 4"),
    ("workers = true", "line 1: workers: give a text in quotes, or a number"),
    ("workers = 1979-05-27", "line 1: workers: give a text in quotes, or a number"),
    ("workers = [1]", "line 1: workers: takes one value, not a list"),
    ("[workers]", "line 1: workers: takes a value, not a table"),
    ("workers = 65", "line 1: workers 65: give a number from 1"),
    ("listen = []", "line 1: listen: the list is empty"),
    ("listen = [1979-05-27]", "line 1: listen: give a text"),
    ("destination = [\n'/a',\n'b',\n]", "line 1: destination b: give a path"),
    ("path = ['/a', '/a']", "line 1: path /a: this path is given twice"),
    ("auth = 'jwt:x'\n[user-destinations]\na = 'exp'", "line 3: [user-destinations] a a=exp: the claim exp"),
    ("[user-destinations]\na = 'sub'", "line 2: [user-destinations] a needs --auth jwt"),
    ("[[source]]\nurl = 'memory:'\n[[source]]\nuri = 'x:'", "line 4: [[source]] uri: the table needs the key url; did"),
    ("[[source]]\nhistory = 5", "line 1: [[source]]: the table needs the key url: write url = ..."),
    ("[[source]]\nurl = 5.5\nx.y = 1", "line 3: [[source]] x: takes a value, not a table"),
    ("[[auth]]\nkind = 'jwt'\njwks = 'a\\\\'", "line 3: [[auth]] jwks: the value must not end with a backslash"),
    ("admin = 'tcp:8081'", "line 1: admin tcp:8081: "),
    ("destinations-file = '/nowhere'", "line 1: destinations-file /nowhere: there is no such file"),
    ('a = "sesame\nb = 1', "line 1, column 12: "),
    ("a = 'sesame", "end of the file: "),
    ("a = 1\na = 2\n", "line 2, column "),
    ("a = " + "[" * 5000, "arrays or tables are nested too deeply"),
    ("a" + ".a" * 5000 + " = 1", "arrays or tables are nested too deeply"),
    (f"workers = {'9' * 5000}", "a number has too many digits"),
    (f"workers = 0x{'f' * 5000}", "line 1: workers: a number has too many digits"),
)


class ConfigurationTests(SynchronousTestCase):
    """Settings of a file, the environment and the command line."""

    def setUp(self) -> None:
        self.file = Path(self.mktemp()).absolute()

    def configured(
        self, content: str, environ: Mapping[str, str] | None = None, *arguments: tuple[str, str]
    ) -> Configuration:
        """Return the configuration of these three."""
        self.file.write_text(content)
        return Configuration((("config", str(self.file)), *arguments), environ or {})

    def settings(
        self, content: str = "", environ: Mapping[str, str] | None = None, *arguments: tuple[str, str]
    ) -> Settings:
        """Return the settings of these three."""
        return self.configured(content, environ, *arguments).read()

    def refusal(self, content: str, environ: Mapping[str, str] | None = None, *arguments: tuple[str, str]) -> str:
        """Return the error of these three, which is one line."""
        said = str(self.assertRaises(ConfigurationError, self.settings, content, environ, *arguments))
        self.assertEqual(len(said.splitlines()), 1)
        return said

    def test_a_later_way_wins(self) -> None:
        content = "log-level = 'debug'\nworkers = 2\nheart-beat-grace = 1\n"
        environ = {"AIRYD_WORKERS": "3", "AIRYD_HEART_BEAT_GRACE": "2.5"}
        found = self.settings(content, environ, ("heart-beat-grace", "4"))
        self.assertEqual((found.log_level, found.workers, found.grace), ("debug", 3, 4.0))
        self.assertEqual(found.ping_interval, 30.0)

    def test_a_list_is_replaced(self) -> None:
        """A later way has all values of an option that may be repeated."""
        content = "path = ['/a', '/b']\ndestination = ['/x', '/y']\norigin = 'https://a.example'\n"
        environ = {"AIRYD_DESTINATION": " /u\n/v ", "AIRYD_PATH": "/c"}
        found = self.settings(content, environ, ("path", "/d"), ("path", "/e"))
        self.assertEqual(found.paths, ["/d", "/e"])
        self.assertEqual(found.destinations, [*AIRY_DESTINATIONS, "/u", "/v"])
        self.assertEqual(found.origins, ["https://a.example"])

    def test_every_option_has_a_variable(self) -> None:
        """Each option is read from its variable, which the error for a wrong value names."""
        wrong = "nothing:there"
        for name, option in OPTIONS.items():
            variable = f"AIRYD_{name.upper().replace('-', '_')}"
            self.assertEqual(option.variable, variable)
            with contextlib.suppress(ValueError):
                option.read(wrong)  # this may be right, until somebody uses it
                continue
            with self.assertRaises(ConfigurationError) as caught:
                Configuration((), {variable: wrong}).read()
            self.assertEqual(str(caught.exception).partition(":")[0], f"{variable} nothing")

    def test_variables_that_are_not_options(self) -> None:
        """Kubernetes sets some, the unit has AIRYD_OPTIONS, and an empty one counts as missing."""
        environ = {
            "AIRYD_OPTIONS": "--nonsense",
            "AIRYD_SERVICE_HOST": "10.0.0.1",
            "AIRYD_PORT": "tcp://10.0.0.1:8080",
            "AIRYD_LOG_LEVEL": "",
            "AIRYD_NO_SUCH": "1",
        }
        self.assertEqual(Configuration((), environ).read(), Configuration((), {}).read())

    def test_the_file_of_the_environment(self) -> None:
        self.file.write_text("workers = 3\n")
        environ = {"AIRYD_CONFIG": str(self.file)}
        self.assertEqual(Configuration((), environ).read().workers, 3)
        other = Path(self.mktemp())
        other.write_text("workers = 4\n")
        self.assertEqual(Configuration((("config", str(other)),), environ).read().workers, 4)

    def test_every_kind_of_value(self) -> None:
        found = self.settings("""
            listen = "tcp:1:interface=127.0.0.1"
            compression = false
            heart-beat = [0, 5000]
            heart-beat-grace = 0.5
            user-destinations = ["team=groups"]
            source = ["memory:?history=5"]
            auth = [{kind = "anonymous"}, "jwt:jwks=/keys"]

            [limits]
            body = 1000
            token-size = 4096
        """)
        self.assertEqual(found.listen, ["tcp:1:interface=127.0.0.1"])
        self.assertEqual((found.compression, found.heart_beat, found.grace), (False, HeartBeat(0, 5000), 0.5))
        self.assertEqual((found.limits.body, found.limits.token_size), (1000, 4096))
        self.assertEqual((found.sources, found.auth), (["memory:?history=5"], ["anonymous", "jwt:jwks=/keys"]))
        self.assertEqual(found.user_destinations, (("team", "groups"),))

    def test_tables_of_sources_and_authenticators(self) -> None:
        """Their keys are the parameters; characters that mean something in a URL or a spec are only characters."""
        found = self.settings(r"""
            [[source]]
            url = "redis://airyd@redis.example.org/0"
            password-file = "/a b/c&d"
            maxlen = 500
            destinations = ["/queue/message", "/queue/channel/*"]

            [[source]]
            url = "sample:?rate=5"
            loop = true
            destinations = "/queue/unread-count"

            [[auth]]
            kind = "jwt"
            secret-file = 'C:\keys:x'
            base64 = true
            allow-eternal = false
            alg = ["HS256", "HS512"]
            leeway = 5

            [user-destinations]
            user_id = "sub"
        """)
        self.assertEqual(
            found.sources,
            [
                "redis://airyd@redis.example.org/0?password-file=/a%20b/c%26d&maxlen=500"
                "&destinations=/queue/message,/queue/channel/*",
                "sample:?rate=5&loop=1&destinations=/queue/unread-count",
            ],
        )
        self.assertEqual(found.auth, [r"jwt:secret-file=C\:\\keys\:x:base64:alg=HS256,HS512:leeway=5"])
        self.assertEqual(found.user_destinations, (("user_id", "sub"),))

    def test_each_limit_is_in_the_table(self) -> None:
        limits = [option for option in OPTIONS.values() if option.subject == LIMIT]
        content = "[limits]\n" + "".join(f"{option.name} = {int(option.default) + 1}\n" for option in limits)
        found = self.settings(content).limits
        for option in limits:
            self.assertEqual(getattr(found, option.name.replace("-", "_")), int(option.default) + 1)

    def test_wrong(self) -> None:
        for content, expected in WRONG:
            said = self.refusal(content)
            self.assertTrue(said.startswith(f"{self.file}: {expected}"), said)
            self.assertNotIn("sesame", said)

    def test_two_values_that_do_not_fit(self) -> None:
        """The error has the place of the value that was given, or of the greater one."""
        for content, environ, expected in (
            ("drain-seconds = 301", {}, f"{self.file}: line 1: drain-seconds 301: --drain-notice and --drain-seconds"),
            ("\ndrain-notice = 298", {}, f"{self.file}: line 2: drain-notice 298: --drain-notice and"),
            ("drain-notice = 1\ndrain-seconds = 300", {}, f"{self.file}: line 2: drain-seconds 300: "),
            ("drain-notice = 100", {"AIRYD_DRAIN_SECONDS": "201"}, "AIRYD_DRAIN_SECONDS 201: "),
            ("[limits]\nframe = 1000", {}, f"{self.file}: line 2: [limits] frame 1000: it must be above --body, which"),
            ("[limits]\nbody = 999999", {}, f"{self.file}: line 2: [limits] body 999999: it must be below --frame, "),
            ("", {"AIRYD_FRAME": "1000"}, "AIRYD_FRAME 1000: it must be above --body, which is 262144"),
        ):
            said = str(self.assertRaises(ConfigurationError, self.configured(content, environ).read))
            self.assertTrue(said.startswith(expected), said)

    def test_later_errors_have_the_place(self) -> None:
        """What other rooms find wrong is reported with the place of the value."""
        content = "[[source]]\nurl='memory:'\n\n[[source]]\nurl='sample:'\nhistry=5\n[[auth]]\nkind='x'"
        configured = self.configured(content, {"AIRYD_LISTEN": "tcp:1 unix:/x", "AIRYD_PATH": "/a"}, ("admin", "none"))
        configured.read()
        second = "sample:?histry=5"
        for error, parameter, value, expected in (
            ("--source sample: unknown 'histry'", "histry", second, f"{self.file}: line 6: [[source]] histry sample: "),
            ("--source sample: it is wrong", "", second, f"{self.file}: line 4: [[source]] sample: it is wrong"),
            ("--auth: there is no authenticator 'x'", "", "x", f"{self.file}: line 7: [[auth]]: there is no"),
            ("--listen unix:/x: no", "", "", "AIRYD_LISTEN unix:/x: no"),
            ("--admin none: no", "", "", "--admin none: no"),
            ("--body 5: no", "", "", "--body 5: no"),
            ("something else", "", "", "something else"),
        ):
            said = str(configured.located(ConfigurationError(error, parameter, value)))
            self.assertTrue(said.startswith(expected), said)

    def test_an_option_below_a_table(self) -> None:
        """TOML puts a key below a table's head into the table: the error says where it belongs."""
        configured = self.configured("[[source]]\nurl='memory:'\nlog-level='warn'\n")
        configured.read()
        error = ConfigurationError("--source memory: unknown parameter 'log-level'.", "log-level")
        said = str(configured.located(error))
        self.assertIn("line 3: [[source]] log-level memory: unknown parameter 'log-level'. The option log-level", said)

    def test_a_switch(self) -> None:
        """An option without a value on the command line is true or false elsewhere, and any way may win."""
        self.addCleanup(cast(dict[str, Option], OPTIONS).pop, "try", None)
        cast(dict[str, Option], OPTIONS)["try"] = Option("try", PROCESS, "", "a test", "A test.", switch)
        for content, environ, arguments, expected in (
            ("try = true", {}, (), True),
            ("try = false", {}, (), False),
            ("try = true", {"AIRYD_TRY": "off"}, (), False),
            ("", {"AIRYD_TRY": "Yes"}, (), True),
            ("try = true", {"AIRYD_TRY": "1"}, (("try", "false"),), False),
        ):
            configured = self.configured(content, environ, *arguments)
            configured.read()
            self.assertIs(configured.values["try"][0].read(), expected)

    def test_no_secret_in_a_repr(self) -> None:
        configured = self.configured("source = 'redis://u:sesame@h'")
        configured.read()
        self.assertNotIn("sesame", repr(configured.values))

    def test_another_working_directory(self) -> None:
        """A relative file is found again after the working directory has changed, as it does in a daemon."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "a.toml").write_text("workers = 2\n")
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(folder)
        configured = Configuration((("config", "a.toml"),), {})
        os.chdir("/")
        self.assertEqual(configured.read().workers, 2)

    def test_read_again(self) -> None:
        """A second reading has the file's new values; the environment and the command line stay as at the start."""
        environ = {"AIRYD_PATH": "/a"}
        configured = self.configured("log-level = 'warn'\nworkers = 2\npath='/z'", environ, ("workers", "3"))
        first = configured.read()
        environ["AIRYD_PATH"] = "/b"
        self.file.write_text("log-level = 'debug'\nworkers = 4\npath='/y'\n")
        self.assertEqual(configured.read(), first._replace(log_level="debug"))
        self.file.write_text("log-level = 'loud'\n")
        said = str(self.assertRaises(ConfigurationError, configured.read))
        self.assertTrue(said.startswith(f"{self.file}: line 1: log-level loud: give debug, info, warn or error"), said)


class FindLinesTests(SynchronousTestCase):
    """The lines of keys."""

    def test_statements_of_several_lines(self) -> None:
        text = '\n# c\na = [\n  1, # ]\n  2,\n]\r\nb.c = """\n[x]\n"""\n[t]\nd = {e = 1}\n'
        text += "[[s]]\n[[s]]\nf = 1\n[s.u]\ng = 1\n"
        self.assertEqual(
            find_lines(text),
            {
                ("a",): 3,
                ("b",): 7,
                ("b", "c"): 7,
                ("t",): 10,
                ("t", "d"): 11,
                ("t", "d", "e"): 11,
                ("s", 0): 12,
                ("s", 1): 13,
                ("s", 1, "f"): 14,
                ("s", 1, "u"): 15,
                ("s", 1, "u", "g"): 16,
            },
        )

    def test_texts_with_brackets_and_quotes(self) -> None:
        """What looks like the end of a statement within a text or a comment is none."""
        text = (
            "a = '''\n]x'''''  # [\n"
            'b = "[\\"{"\n'
            'c = """\n\\"""[\n"""""\n'
            "d = '[\"'\n"
            "[t]  # {\n"
            'e = [\n  "]", # ]\n  [1, {f = "}"}],\n'
            "  '''\n]'''\n]\n"
            "\"g.h\" = 1\n'[i' = {j = 2}"
        )
        self.assertEqual(
            find_lines(text),
            {
                ("a",): 1,
                ("b",): 3,
                ("c",): 4,
                ("d",): 7,
                ("t",): 8,
                ("t", "e"): 9,
                ("t", "g.h"): 15,
                ("t", "[i"): 16,
                ("t", "[i", "j"): 16,
            },
        )

    def test_the_parser_reads_each_line_once(self) -> None:
        """A long list with brackets in each line takes no longer than its length says."""
        read = 0
        loads = tomllib.loads

        def counted(text: str) -> dict[str, Any]:
            nonlocal read
            read += len(text)
            return loads(text)

        self.patch(tomllib, "loads", counted)
        text = "a = [\n" + '  {b = ["c"]},\n' * 1000 + "]\nd = 1\n"
        self.assertEqual(find_lines(text), {("a",): 1, ("d",): 1003})
        self.assertEqual(read, len(text))

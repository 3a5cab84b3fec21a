"""``airyd config``: what it accepts, refuses and shows."""

from __future__ import annotations

import io
import os
import sys
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from airyd.cli.main import main
from tests.leaks import MARK, leaks

#: ``(content, what the line says after the file's name)``: mistakes that only the start of the daemon would find.
WRONG = (
    (
        "[[source]]\nurl = 'memory:'\nhistry = 5",
        "line 3: [[source]] histry memory: unknown parameter 'histry'; did",
    ),
    ("[[source]]\nurl = 'redsi://h'", "line 1: [[source]] redsi: there is no such event source; did you mean redis:?"),
    ("[[source]]\nurl = 'redis://h'\nmaxlen = 'x'", "line 3: [[source]] maxlen redis: parameter 'maxlen' must be"),
    ("[[source]]\nurl = 'memory:'\nlog-level = 'warn'", "line 3: [[source]] log-level memory: unknown parameter"),
    ("source = ['memory:', 'sample:']", "line 1: source memory: with several sources, each must name"),
    ("[[auth]]\nkind = 'jtw'", "line 1: [[auth]]: there is no authenticator 'jtw'; did you mean jwt?"),
    (
        "[[auth]]\nkind = 'jwt'\nsecret-fiel = 'x'",
        "line 3: [[auth]] secret-fiel jwt: unknown parameter 'secret-fiel'",
    ),
    (
        "[[auth]]\nkind = 'jwt'\nsecret-file = '/nowhere'",
        "line 1: [[auth]] jwt: secret-file /nowhere: there is no such",
    ),
    ("listen = 'tcp:1:interface=0.0.0.0'", "line 1: listen tcp:1:interface=0.0.0.0: with --auth anonymous"),
    ("listen = ['tcp:1:interface=127.0.0.1', 'tpc:2']", "line 1: listen tpc:2: "),
    ("admin-token-file = '/nowhere'", "line 1: admin-token-file /nowhere: there is no such file"),
    ("origin = 'no origin'", "line 1: origin: 'no origin' is not an origin"),
    ("workers = 2", "line 1: workers 2: with --source memory:"),
    (f"[[source]]\nurl = 'redis://u:{MARK}@h:x'", "line 1: [[source]] redis: the port, after the colon"),
    (f"[[auth]]\nkind = 'jwt'\npassphrase = '{MARK}'", "line 3: [[auth]] passphrase jwt: "),
)


class ConfigTests(SynchronousTestCase):
    """The command, without a process of its own."""

    def setUp(self) -> None:
        self.file = Path(self.mktemp()).absolute()

    def run_config(self, *words: str) -> tuple[object, str, str]:
        """Return the exit status, and what was written to standard output and standard error."""
        out, err = io.BytesIO(), io.BytesIO()
        self.patch(sys, "stdout", io.TextIOWrapper(out, "utf-8", write_through=True))
        self.patch(sys, "stderr", io.TextIOWrapper(err, "utf-8", write_through=True))
        status = self.assertRaises(SystemExit, main, ["config", *words]).code
        return status, out.getvalue().decode(), err.getvalue().decode()

    def set(self, name: str, value: str) -> None:
        """Set an environment variable for this test."""
        self.patch(os, "environ", {**os.environ, name: value})

    def test_valid(self) -> None:
        """The environment's options don't count: the file is checked alone."""
        self.set("AIRYD_WORKERS", "many")
        self.file.write_text("log-level = 'warn'\n[[source]]\nurl = 'memory:'\nhistory = 5\n")
        self.assertEqual(self.run_config("check", str(self.file)), (0, f"{self.file} is valid\n", ""))

    def test_valid_with_workers(self) -> None:
        self.file.write_text("workers = 2\nsource = 'redis://127.0.0.1:1/0'\n")
        self.assertEqual(self.run_config("check", str(self.file))[0], 0)

    def test_socket_of_systemd(self) -> None:
        """Only the unit has it; a file that names one is checked as if it had been passed."""
        self.file.write_text('listen = "systemd:domain=UNIX:name=airyd"')
        self.assertEqual(self.run_config("check", str(self.file)), (0, f"{self.file} is valid\n", ""))
        self.file.write_text('listen = "systemd:domain=UNIX:name=airyd"\nworkers = 2\nsource = "redis:"')
        status, out, err = self.run_config("check", str(self.file))
        self.assertEqual((status, out), (1, ""))
        self.assertIn("systemd:domain=UNIX:name=airyd: with --workers 2 airyd can listen on tcp:", err)

    def test_wrong(self) -> None:
        for content, expected in WRONG:
            self.file.write_text(content)
            status, out, err = self.run_config("check", str(self.file))
            self.assertEqual((status, out, len(err.splitlines())), (1, "", 1), (content, err))
            self.assertTrue(err.startswith(f"airyd config: {self.file}: {expected}"), err)
            self.assertEqual(leaks(err), [])

    def test_unreadable(self) -> None:
        for name in ("/nonexistent/file", "/", "x" * 300):
            status, out, err = self.run_config("check", name)
            self.assertEqual((status, out, len(err.splitlines())), (1, "", 1), err)
            self.assertTrue(err.startswith(f"airyd config: --config {name}: "), err)

    def test_a_pipe(self) -> None:
        """A pipe would block the daemon; this command does not wait for it either."""
        pipe = Path(self.mktemp()).absolute()
        os.mkfifo(pipe)
        for source in (
            f"redis://127.0.0.1?password-file={pipe}",
            f"rediss://127.0.0.1?ca-file={pipe}",
            f"sample:?file={pipe}",
            f"redis+sentinel://127.0.0.1/m?sentinel-password-file={pipe}",
        ):
            self.file.write_text(f"source = '{source}'\n")
            status, out, err = self.run_config("check", str(self.file))
            self.assertEqual((status, out, len(err.splitlines())), (1, "", 1), err)
            self.assertIn("this is a pipe, which can be read only once", err, source)
        self.assertIn(f"--config {pipe}: this is a pipe", self.run_config("check", str(pipe))[2])

    def test_show(self) -> None:
        """Each value stands with its origin, and the whole is a configuration file."""
        self.file.write_text("log-level = 'warn'\npath = ['/a', '/b']\n[limits]\nbody = 5\n")
        self.set("AIRYD_WORKERS", "2")
        self.set("AIRYD_LOGLEVEL", "3")
        self.set("AIRYD_SERVICE_PORT", "3")
        status, out, err = self.run_config("show", "--config", str(self.file), "--heart-beat-grace", "5")
        self.assertEqual((status, err), (0, ""))
        for line in (
            f'log-level = "warn"  # {self.file}, line 1',
            f'    "/b",  # {self.file}, line 2',
            f"body = 5  # {self.file}, line 4",
            "workers = 2  # environment, AIRYD_WORKERS",
            "heart-beat-grace = 5.0  # command line",
            'source = ["memory:"]  # default',
            "# origin is not given, which means the host that the client connected to",
            f'# config = "{self.file}"  # command line',
            "# AIRYD_LOGLEVEL is set, but is not an option; did you mean AIRYD_LOG_LEVEL?",
        ):
            self.assertIn(line, out.splitlines())
        self.assertNotIn("AIRYD_SERVICE_PORT", out)
        shown = tomllib.loads(out)
        self.assertEqual((shown["path"], shown["limits"]["body"], shown["workers"]), (["/a", "/b"], 5, 2))
        self.file.write_text(out)
        again = self.run_config("show", f"--config={self.file}")[1]
        self.assertEqual({**tomllib.loads(again)}, shown)

    def test_show_refuses(self) -> None:
        """A wrong value ends the command as it would end the daemon."""
        status, out, _ = self.run_config("show", "--workers=many")
        self.assertEqual((status, out), ("airyd: --workers many: give a number from 1 to 64, or auto", ""))

    def test_show_help(self) -> None:
        status, out, _ = self.run_config("show", "--help")
        self.assertEqual((status or 0, out.splitlines()[0]), (0, "Usage: airyd config show [options]"))

    def test_passwords_without_a_host(self) -> None:
        """Who forgets the host has a password where the port belongs."""
        sources = {
            f"redis://u:{MARK}": "redis://u:***",
            f"redis://u:{MARK}/0?prefix=p": "redis://u:***",
            f"rediss://:{MARK}": "rediss://:***",
            f"redis:u:{MARK}": "redis:u:***",
            f"redis+sentinel://u:{MARK},h:26379/m": "redis+sentinel://u:***",
            "redis://h:6379/0?prefix=p": "redis://h:6379/0?prefix=p",
            "redis+sentinel://h:1,[::1]:2,h3/m": "redis+sentinel://h:1,[::1]:2,h3/m",
            "memory:?history=5": "memory:?history=5",
        }
        self.set("AIRYD_SOURCE", " ".join(sources))
        keys = (rf"--auth=jwt:jwks=https\://u\:{MARK}", f"--auth=jwt:jwks=https://u:1{MARK}/keys")
        status, out, err = self.run_config("show", *keys, r"--auth=jwt:jwks=https\://h\:8443/keys")
        self.assertEqual((status, err, leaks(out)), (0, "", []), out)
        shown = tomllib.loads(out)
        self.assertEqual(shown["source"], list(sources.values()))
        self.assertEqual(
            shown["auth"],
            ["jwt:jwks=https://u:***", "jwt:jwks=https://u:***", r"jwt:jwks=https\://h\:8443/keys"],
        )
        for source in (f"redis://u:{MARK}", f"memory://u:{MARK}", f"sample:u:{MARK}"):
            self.file.write_text(f"source = '{source}'\n")
            status, out, err = self.run_config("check", str(self.file))
            self.assertEqual((status, out, leaks(err)), (1, "", []), err)

    def test_secrets_are_masked(self) -> None:
        """Whatever the way, and also what other packages' sources and authenticators may take."""
        self.file.write_text(f"[[auth]]\nkind = 'jwt'\nsecret-file = '/file'\nx = '{MARK}'\n")
        sources = (
            f"redis://u:{MARK}@h/0?destinations=/a",
            f"redis://:{MARK}/{MARK}@h",
            f"redis://u:{MARK}@{MARK}@h",
            f"redis://u:{MARK}?{MARK}@h",
            f"{MARK}@h",
            f"other://h?token={MARK}&api_key={MARK}&db-password={MARK}",
            f"redis://h/0?pass={MARK}&prefix=p:&{MARK}&p%61ss={MARK}&password-file=/file",
        )
        self.set("AIRYD_SOURCE", " ".join(sources))
        status, out, err = self.run_config(
            "show",
            f"--config={self.file}",
            f"--auth=passcode:{MARK}",
            f"--auth=passcode:code={MARK}:secret-file=/file",
            f"--auth=jwt:jwks=https://u:{MARK}@h/keys?token={MARK}",
            rf"--auth=jwt:jwks=https\://u\:{MARK}@h/keys?token={MARK}",
        )
        self.assertEqual((status, err, leaks(out)), (0, "", []), out)
        shown = tomllib.loads(out)
        self.assertEqual(
            shown["source"],
            [
                "redis://u:***@h/0?destinations=/a",
                "redis://:***@h",
                "redis://u:***@h",
                "redis://u:***@h",
                "***@h",
                "other://h?token=***&api_key=***&db-password=***",
                "redis://h/0?pass=***&prefix=p:&***&p%61ss=***&password-file=/file",
            ],
        )
        self.assertEqual(
            shown["auth"],
            [
                "passcode:***",
                "passcode:***:secret-file=/file",
                "jwt:jwks=https://u:***",
                r"jwt:jwks=https\://***@h/keys?***",
            ],
        )

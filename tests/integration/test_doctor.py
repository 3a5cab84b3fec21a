"""``airyd doctor`` as a process: its lines, JSON, exit status, and a configuration file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import environment
from tests.integration.payloads import MESSAGE, body
from tests.integration.test_cli import command, run
from tests.leaks import MARK, leaks
from tests.patience import PATIENCE
from tests.snippets import snippets
from tests.sources.redis.server import DURABLE, RedisServer

PORTS = ("--listen=tcp:0:interface=127.0.0.1", "--admin=none")


@pytest.mark.integration
class DoctorTests(SynchronousTestCase):
    """A durable Redis, in which all is well."""

    def setUp(self) -> None:
        self.server = RedisServer(*DURABLE)
        self.addCleanup(self.server.close)
        self.redis = self.server.connect()
        self.addCleanup(self.redis.close)
        self.source = f"--source=redis://127.0.0.1:{self.server.port}/0"

    def doctor(self, *options: str) -> tuple[int, list[str]]:
        """Run the doctor; return the exit status and its lines."""
        status, out, err = run("doctor", self.source, *PORTS, *options)
        self.assertEqual(err, "")
        return status, out.splitlines()

    def test_status(self) -> None:
        """The worst finding decides the exit status; each line has a mark, and what to do unless all is well."""
        status, lines = self.doctor("--write")
        self.assertEqual(status, 0, lines)
        self.assertEqual({line[0] for line in lines[:-1]}, {"✓"})
        self.assertEqual(lines[-1], f"{len(lines) - 1} ✓, 0 !, 0 ✗")
        self.assertEqual(self.redis.call("KEYS", "*"), [])

        self.redis.call("XADD", "/queue/messages", "*", "payload", "{}")
        status, lines = self.doctor()
        self.assertEqual(status, 3)
        (warning,) = [line for line in lines if line.startswith("!")]
        self.assertRegex(warning, r"^! keys: redis://\S+: there is a key /queue/messages, .* → let publishers XADD ")

        self.redis.call("SET", "airyd:/queue/message", "x")
        status, lines = self.doctor()
        self.assertEqual(status, 1)
        (failure,) = [line for line in lines if line.startswith("✗")]
        self.assertRegex(failure, r"^✗ keys: .* is a string, not a stream → RENAME ")

    def test_documented_lines(self) -> None:
        """The lines that docs/operating.rst shows come from a Redis in that state."""
        self.redis.call("XADD", "/queue/messages", "*", "payload", "{}")
        self.redis.call("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
        _, lines = self.doctor()
        said = {
            re.sub(r"Redis \d[\d.]*", "Redis 7.0.15", line).replace(str(self.server.port), "6379") for line in lines
        }
        (shown,) = [each.text for each in snippets() if each.language == "text" and each.text.startswith("✓ ")]
        self.assertEqual(set(shown.splitlines()) - said, set())

    def test_json(self) -> None:
        self.redis.call("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
        status, lines = self.doctor("--json")
        self.assertEqual((status, len(lines)), (1, 1))
        report: dict[str, Any] = json.loads(lines[0])
        self.assertEqual(report["worst"], "failure")
        (failure,) = [each for each in report["findings"] if each["level"] == "failure"]
        self.assertEqual(
            failure,
            {
                "level": "failure",
                "check": "eviction",
                "subject": f"redis://127.0.0.1:{self.server.port}/0",
                "message": "maxmemory-policy is allkeys-lru, which can throw a whole stream away at 100 MiB",
                "advice": "CONFIG SET maxmemory-policy noeviction, and in redis.conf",
            },
        )

    def test_wrong_command_line(self) -> None:
        """Options that are unknown or have a wrong value; the error names the help once."""
        status, out, err = run("doctor", "--heart-beat=x")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("airyd doctor: --heart-beat x: ", err)
        status, out, err = run("doctor", "--no-such")
        self.assertEqual((status, out), (2, ""))
        self.assertEqual(err.count("--help"), 1, err)

    def test_file_that_is_missing(self) -> None:
        """A right option that names a missing file is a finding, not a wrong command line."""
        status, lines = self.doctor("--auth=jwt:key-file=/nonexistent/file")
        self.assertEqual(status, 1)
        self.assertTrue(any("/nonexistent/file: there is no such file" in line for line in lines), lines)

    def test_config(self) -> None:
        """A configuration file; an error in a table of it is found with its place."""
        folder = Path(self.mktemp())
        folder.mkdir()
        file = folder / "airyd.toml"
        file.write_text(
            'listen = ["tcp:0:interface=127.0.0.1"]\nadmin = "none"\n'
            f'source = ["redis://127.0.0.1:{self.server.port}/0"]\n'
        )
        file.chmod(0o644)
        status, out, err = run("doctor", f"--config={file}")
        self.assertEqual((status, err), (0, ""), out)
        self.assertIn(f"✓ file: --config {file.resolve()}: ", out)
        self.assertIn(f"✓ connection: redis://127.0.0.1:{self.server.port}/0: Redis answers", out)
        file.write_text(f'{file.read_text()}auth = ["jwt:secret-file={folder.resolve()}/none"]\n')
        status, out, err = run("doctor", f"--config={file}")
        self.assertEqual((status, err), (1, ""), out)
        self.assertRegex(out, r"✗ token-keys: --auth jwt: \S*airyd\.toml: line 4: .*there is no such file →")

    def test_environment(self) -> None:
        """The options of the environment count, and the password for Redis."""
        self.redis.call("CONFIG", "SET", "requirepass", MARK)
        environ = {**environment(), "AIRYD_SOURCE": self.source.removeprefix("--source=")}
        for password, status in ((MARK, 0), (f"{MARK}2", 1)):
            done = subprocess.run(
                command("doctor", *PORTS),
                capture_output=True,
                env={**environ, "AIRYD_REDIS_PASSWORD": password},
                timeout=PATIENCE,
                check=False,
            )
            self.assertEqual((done.returncode, done.stderr), (status, b""), done.stdout)
            self.assertEqual(leaks(done.stdout.decode()), [])

    def test_ascii(self) -> None:
        """A terminal without Unicode gets other marks."""
        done = subprocess.run(
            command("doctor", "--source=memory:", *PORTS),
            capture_output=True,
            env={**environment(), "PYTHONIOENCODING": "ascii"},
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, b""), done.stdout)
        lines = done.stdout.decode("ascii").splitlines()
        self.assertEqual({line.partition(" ")[0] for line in lines[:-1]}, {"ok"})
        self.assertRegex(lines[-1], r"^\d+ ok, 0 !, 0 x$")

    def test_closed_output(self) -> None:
        """A reader that ends early, such as head, causes no traceback."""
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            command("doctor", self.source, *PORTS),
            stdout=writing,
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=PATIENCE,
            check=False,
        )
        os.close(writing)
        self.assertEqual((done.returncode, done.stderr), (1, b""))


class LagTests(DaemonTestCase):
    """An airyd that runs, and is behind its stream."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def test_lag(self) -> None:
        """Redis lets airyd look at the stream, but not read it."""
        server = RedisServer(*DURABLE)
        self.addCleanup(server.close)
        redis = server.connect()
        self.addCleanup(redis.close)
        source = f"--source=redis://127.0.0.1:{server.port}/0"
        daemon = self.own_daemon(source)
        client = self.connect(daemon=daemon)
        client.subscribe(MESSAGE, "0")
        admin = f"--admin=tcp:{daemon.admin_port}:interface=127.0.0.1"
        status, out, _ = run("doctor", source, PORTS[0], admin)
        self.assertIn(f"✓ lag: {MESSAGE}: it is 0 entries and 0.0 s behind the stream\n", out)
        self.assertEqual(status, 0)
        redis.call("ACL", "SETUSER", "default", "-xread")
        for number in range(1, 6):  # the XREAD that waits already gets the first
            redis.call("XADD", f"airyd:{MESSAGE}", "*", "payload", body(MESSAGE, number))
        client.message()
        deadline = time.monotonic() + PATIENCE
        while not re.search(
            r'^airyd_lag_seconds\{destination="/queue/message"\} (?:[5-9]|\d\d)\.', daemon.metrics(), re.MULTILINE
        ):
            self.assertLess(time.monotonic(), deadline, daemon.metrics())
            time.sleep(0.05)
        status, out, _ = run("doctor", source, PORTS[0], admin)
        self.assertEqual(status, 1)
        self.assertRegex(out, rf"! lag: {MESSAGE}: it is 4 entries and \d+\.\d s behind the stream → look at the CPU")
        self.assertRegex(out, r"✗ rights: .* XREAD airyd:/\*: NOPERM")

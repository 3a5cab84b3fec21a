"""The program ``airyd`` as a process, with the real daemon."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon, environment
from tests.integration.payloads import CHANNEL_CONNECTED, DESTINATIONS, MESSAGE, UNREAD_COUNT, body
from tests.integration.proxy import Proxy
from tests.leaks import leaks
from tests.patience import PATIENCE

CONNECTED = "connected to ws://"


class Cli:
    """A process of ``airyd`` with its output in files.

    :param stdout: another destination of standard output
    """

    def __init__(self, directory: Path, *arguments: str, stdout: int | None = None, **environ: str) -> None:
        directory.mkdir()
        self._out, self._err = directory / "out", directory / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=err,
                env={**environment(), **environ},
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def events(self) -> list[dict[str, object]]:
        """Return the printed lines, parsed."""
        return [json.loads(line) for line in self.out.splitlines()]

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until standard error contains the text ``times`` times."""
        deadline = time.monotonic() + PATIENCE
        while self.err.count(text) < times:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"{text!r} was not printed {times} times: {self.err!r}")
            time.sleep(0.01)

    def wait(self) -> int:
        """Wait for the end of the process; return the exit status."""
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def command(*arguments: str) -> list[str]:
    """Return the command line of ``airyd``; Python's warnings are errors."""
    return [sys.executable, "-W", "error", "-m", "airyd.cli", *arguments]


def run(*arguments: str, standard_input: bytes = b"") -> tuple[int, str, str]:
    """Run ``airyd`` to its end; return the exit status, standard output and standard error."""
    done = subprocess.run(
        command(*arguments), input=standard_input, capture_output=True, env=environment(), timeout=PATIENCE, check=False
    )
    written = done.stdout.decode(), done.stderr.decode()
    assert not leaks("".join(written)), written
    return done.returncode, *written


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class CliTestCase(DaemonTestCase):
    """Starts ``airyd``, and checks its output for complaints when the test ends."""

    def cli(self, *arguments: str, stdout: int | None = None, **environ: str) -> Cli:
        cli = Cli(Path(self.mktemp()), *arguments, stdout=stdout, **environ)
        self.addCleanup(lambda: self.assertNotRegex(cli.err, "Traceback|Unhandled|Warning|Exception"))
        self.addCleanup(lambda: self.assertEqual(leaks(cli.out + cli.err), []))
        self.addCleanup(cli.kill)
        return cli

    def tail(self, *arguments: str, daemon: Daemon | None = None) -> Cli:
        """Start ``airyd tail``, and wait until it is subscribed."""
        cli = self.cli("tail", (daemon or self.daemon).url, *arguments)
        cli.wait_for(CONNECTED)
        return cli


class TailTests(CliTestCase):
    """``airyd tail``."""

    def test_pipe(self) -> None:
        """In a pipe each event is a line of JSON that contains the body as it was published."""
        tail = self.tail("--count", "8")
        bodies = [(destination, body(destination, n, "Grüße \n 🎉")) for n in range(2) for destination in DESTINATIONS]
        ids = [self.daemon.publish(destination, text) for destination, text in bodies]
        self.assertEqual(0, tail.wait())
        printed = {line["message-id"]: line for line in tail.events()}
        self.assertEqual(set(ids), set(printed))
        for identifier, (destination, text), raw in zip(ids, bodies, tail.out.encode().splitlines(), strict=True):
            self.assertEqual(destination, printed[identifier]["destination"])
            self.assertIn(b'"payload":' + text + b"}", tail.out.encode())
            self.assertTrue(raw.startswith(b'{"destination":"/queue/'))

    def test_terminal(self) -> None:
        """In a terminal each event is a readable line with colours; control characters are made visible."""
        ours, theirs = pty.openpty()
        tail = self.cli("tail", "-n2", self.daemon.url, MESSAGE, UNREAD_COUNT, stdout=theirs, TERM="xterm", NO_COLOR="")
        os.close(theirs)
        tail.wait_for(CONNECTED)
        self.daemon.publish(MESSAGE, body(MESSAGE, 1, "Hello\x1b[2J\x07"))
        self.daemon.publish(UNREAD_COUNT, body(UNREAD_COUNT, 2))
        self.assertEqual(0, tail.wait())
        shown = os.read(ours, 65536).decode()
        os.close(ours)
        time_and_label = r"\x1b\[2m\d\d:\d\d:\d\d\x1b\[0m \x1b\[3\dm%s\x1b\[0m  "
        for label, text in [
            ("message     ", r"conversation b8ce… source_contact: Hello\\x1b\[2J\\x07"),
            ("unread-count", r"conversation b8ce…: 42 unread"),
        ]:
            self.assertRegex(shown, re.compile(time_and_label % label + text + "\r\n"))

    def test_resume(self) -> None:
        """Nothing is missing and nothing comes twice, however often the connection is cut."""
        relay = Proxy(self.daemon.port)
        self.addCleanup(relay.close)
        tail = self.cli("tail", "--count", "40", f"ws://127.0.0.1:{relay.port}", MESSAGE)
        tail.wait_for(CONNECTED)
        ids: list[str] = []
        for times in range(1, 4):
            ids += [self.daemon.publish(MESSAGE, body(MESSAGE, n)) for n in range(5)]
            relay.cut()
            ids += [self.daemon.publish(MESSAGE, body(MESSAGE, n)) for n in range(5)]
            tail.wait_for("recovered, nothing was missed", times)
        ids += [self.daemon.publish(MESSAGE, body(MESSAGE, n)) for n in range(10)]
        self.assertEqual(0, tail.wait(), tail.err)
        self.assertEqual(ids, [line["message-id"] for line in tail.events()])
        self.assertNotIn("history was lost", tail.err)

    def test_restart(self) -> None:
        """The memory feed loses its history at a restart: the tail says so, and prints the events after it."""
        daemon = self.own_daemon()
        tail = self.tail("--count", "2", MESSAGE, daemon=daemon)
        daemon.publish(MESSAGE, body(MESSAGE, 1))
        daemon.stop()
        tail.wait_for("server restarting")
        again = self.own_daemon(port=daemon.port)
        tail.wait_for(CONNECTED, 2)
        self.assertIn(f"history was lost on {MESSAGE}", tail.err)
        last = again.publish(MESSAGE, body(MESSAGE, 2))
        self.assertEqual(0, tail.wait())
        self.assertEqual([last], [line["message-id"] for line in tail.events()][1:])

    def test_interrupt(self) -> None:
        """Ctrl-C ends the session with DISCONNECT, and prints nothing."""
        for number, status in [(signal.SIGINT, 130), (signal.SIGTERM, 143)]:
            tail = self.tail()
            said = tail.err
            tail.process.send_signal(number)
            self.assertEqual(status, tail.wait())
            self.assertEqual(said, tail.err)

    def test_interrupt_while_waiting(self) -> None:
        tail = self.cli("tail", f"ws://127.0.0.1:{free_port()}")
        tail.wait_for("trying again")
        self.assertIn("cannot connect to ws://127.0.0.1:", tail.err)
        tail.process.send_signal(signal.SIGINT)
        self.assertEqual(130, tail.wait())

    def test_broken_pipe(self) -> None:
        """The reader of the pipe ends first, as in ``airyd tail | head``."""
        ours, theirs = os.pipe()
        tail = self.cli("tail", self.daemon.url, MESSAGE, stdout=theirs)
        os.close(theirs)
        tail.wait_for(CONNECTED)
        said = tail.err
        os.close(ours)
        self.daemon.publish(MESSAGE, body(MESSAGE, 1))
        self.assertEqual(0, tail.wait())
        self.assertEqual(said, tail.err)

    def test_refused(self) -> None:
        """A refusal that another attempt would meet again ends the tail with status 1."""
        for arguments, reason in [
            ((self.daemon.url, "/queue/nowhere"), "unknown destination"),
            ((f"ws://127.0.0.1:{self.daemon.port}/other",), "404"),
        ]:
            status, out, err = run("tail", *arguments)
            self.assertEqual((1, ""), (status, out))
            self.assertEqual(1, len(err.splitlines()), err)
            self.assertIn(reason, err)


class PublishTests(CliTestCase):
    """``airyd publish``."""

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.daemon.admin_port}"

    def ids(self, out: str) -> Sequence[str]:
        return [json.loads(line)["id"] for line in out.splitlines()]

    def test_lines(self) -> None:
        """Lines are published in order; each refusal is printed with the line number and the reason."""
        tail = self.tail("--count", "102", MESSAGE)
        good = [body(MESSAGE, n) for n in range(100)]
        lines = [b"", *good, b'{"no":"message"}', b"nonsense", good[0] + b"\r", good[1]]
        status, out, err = run("publish", self.admin, MESSAGE, standard_input=b"\n".join(lines))
        self.assertEqual(1, status)
        self.assertEqual(0, tail.wait())
        self.assertEqual(self.ids(out), [line["message-id"] for line in tail.events()])
        self.assertEqual([*range(100), 0, 1], [line["payload"]["n"] for line in map(json.loads, tail.out.splitlines())])
        self.assertRegex(
            err,
            r"\Aairyd publish: line 102: refused: .*\n"
            r"airyd publish: line 103: refused: .*\n"
            r"airyd publish: 102 published, 2 refused, \d+/s\n\Z",
        )

    def test_argument(self) -> None:
        tail = self.tail("--count", "1", CHANNEL_CONNECTED)
        text = body(CHANNEL_CONNECTED, 1, "Grüße")
        status, out, err = run("publish", self.admin, CHANNEL_CONNECTED, text.decode())
        self.assertEqual((0, ""), (status, err))
        self.assertEqual(0, tail.wait())
        self.assertEqual(self.ids(out), [line["message-id"] for line in tail.events()])
        self.assertIn(text.decode(), tail.out)

    def test_slow_input(self) -> None:
        """An event is published when its line is complete, not when the input ends."""
        process = subprocess.Popen(
            command("publish", self.admin, MESSAGE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        self.addCleanup(process.communicate)
        standard_input, standard_output = _stream(process.stdin), _stream(process.stdout)
        for number in range(3):
            standard_input.write(body(MESSAGE, number) + b"\n")
            standard_input.flush()
            self.assertIn("id", json.loads(standard_output.readline()))
        standard_input.close()
        process.stdin = None
        self.assertEqual(0, process.wait(PATIENCE))

    def test_server_unreachable(self) -> None:
        status, out, err = run("publish", f"http://127.0.0.1:{free_port()}", MESSAGE, "{}")
        self.assertEqual((1, ""), (status, out))
        self.assertRegex(err, r"\Aairyd publish: cannot reach http://127\.0\.0\.1:\d+: .+\n\Z")

    def test_unknown_destination(self) -> None:
        """An error that applies to every line is printed once."""
        status, out, err = run("publish", self.admin, "/queue/nowhere", standard_input=b"{}\n{}\n")
        self.assertEqual((1, ""), (status, out))
        self.assertEqual(1, err.count("/queue/nowhere"))

    def test_usage(self) -> None:
        self.assertEqual(2, run("publish")[0])
        self.assertEqual(0, run("--help")[0])


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream

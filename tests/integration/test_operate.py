"""``airyd connections``, ``kick``, ``trace``, ``explain``, ``drain`` and ``top`` with two real nodes on one Redis."""

from __future__ import annotations

import atexit
import json
import os
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Callable, Sequence
from fcntl import ioctl
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from tests.auth.case import SECRET
from tests.integration.daemon import Daemon, environment
from tests.integration.payloads import MESSAGE, UNREAD_COUNT, body
from tests.integration.raw import RawClient
from tests.integration.test_cli import Cli, command
from tests.integration.test_tokens import TokenCase
from tests.leaks import MARK, leaks
from tests.patience import PATIENCE
from tests.sources.redis.server import own_prefix, shared_server

FULL = f"the-full-token-{MARK}"
READ = f"the-read-token-{MARK}"
UNREACHABLE = "http://127.0.0.1:1"
#: Makes the names of users unique, because connections of an earlier test may end late.
_numbers = count()


class SharedNodes(NamedTuple):
    """Two nodes on one Redis, the second one with workers; all tests of this file share them.

    :ivar prefix: of their streams
    :ivar read: the file with the token that only reads
    """

    nodes: Sequence[Daemon]
    prefix: str
    read: str


@cache
def shared_nodes() -> SharedNodes:
    """Start the nodes; they are stopped when the test process ends."""
    folder = Path(tempfile.mkdtemp(prefix="airyd-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, text in (("full", FULL), ("read", READ), ("secret", SECRET)):
        (folder / name).write_text(f"{text}\n")
    prefix = own_prefix()
    options = (
        f"--auth=jwt:secret-file={folder / 'secret'}",
        f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={prefix}",
        f"--admin-token-file={folder / 'full'}",
        f"--admin-read-token-file={folder / 'read'}",
    )
    return SharedNodes((Daemon(*options), Daemon(*options, "--workers=2")), prefix, str(folder / "read"))


class NodesCase(TokenCase):
    """Tests with the shared nodes; each has users of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.nodes, self.prefix, self.read = shared_nodes()
        self.redis = shared_server()
        self.urls = [f"http://127.0.0.1:{node.admin_port}" for node in self.nodes]
        self.ann, self.bea = (f"{name}-{next(_numbers)}" for name in ("ann", "bea"))
        for node in self.nodes:
            self._watch(node)
            self.addCleanup(self.check_log, node)

    def check_log(self, daemon: Daemon) -> None:
        """Check that the log contains no secrets, tokens or parts of them; the metrics need a token here."""
        for text in self.shown:
            for part in text.split("."):
                self.assertNotIn(part, daemon.log)

    def client(self, node: Daemon, subject: str, *destinations: str) -> tuple[str, RawClient]:
        """Return the id of a connection of this user, and its client."""
        client = self.open(node)
        connected = client.connect(passcode=self.token(sub=subject))
        for number, each in enumerate(destinations):
            client.subscribe(each, f"sub-{number}")
        return connected.headers["session"], client

    def add(self, text: bytes) -> str:
        """Publish a message by XADD; return the id that Redis gave it."""
        connection = self.redis.connect()
        self.addCleanup(connection.close)
        entry: bytes = connection.call("XADD", f"{self.prefix}{MESSAGE}", "*", "payload", text)
        return entry.decode()

    def words(self, name: str, *arguments: str, urls: list[str] | None = None) -> list[str]:
        """Return the words of a command for both nodes, or for others."""
        return [name, *(f"--admin={url}" for url in urls or self.urls), *arguments]

    def airyd(self, *words: str, token: str = "") -> tuple[int, list[Any], str]:
        """Run ``airyd`` to its end; return its status, its JSON lines and standard error."""
        done = subprocess.run(
            command(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**environment(), "AIRYD_ADMIN_TOKEN": token or FULL},
            timeout=PATIENCE,
            check=False,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        self.assertEqual(leaks(out + err), [])
        self.assertNotRegex(err, "Traceback|Warning")
        return done.returncode, [json.loads(line) for line in out.splitlines()], err

    def start(self, *words: str) -> Cli:
        """Start ``airyd``."""
        cli = Cli(self.folder / words[0], *words, AIRYD_ADMIN_TOKEN=FULL)
        self.addCleanup(lambda: self.assertNotRegex(cli.err, "Traceback|Warning"))
        self.addCleanup(lambda: self.assertEqual(leaks(cli.out + cli.err), []))
        self.addCleanup(cli.kill)
        return cli

    def wait_until(self, is_true: Callable[[], object], what: Callable[[], object]) -> None:
        """Wait until this is true."""
        deadline = time.monotonic() + PATIENCE
        while not is_true():
            self.assertLess(time.monotonic(), deadline, what())
            time.sleep(0.02)


class OperateTests(NodesCase):
    """What an operator does, on both nodes at once."""

    def test_kick_a_user(self) -> None:
        """All connections of Ann's end on both nodes, and nobody else's; she may connect again."""
        clients = [self.client(node, self.ann)[1] for node in (self.nodes[0], *[self.nodes[1]] * 5)]
        _, other = self.client(self.nodes[1], self.bea, MESSAGE)
        status, said, err = self.airyd(*self.words("kick", f"--subject={self.ann}", "--reason=go & see"))
        self.assertEqual((status, err), (0, ""))
        counts = zip(self.urls, (1, 5), strict=True)
        self.assertEqual(said, [{"node": url, "disconnected": number} for url, number in counts])
        for client in clients:
            error, code = client.error()
            self.assertEqual((error.headers["message"], code), ("disconnected by operator", 1008))
            self.assertTrue(error.body.endswith(b" go & see"), error.body)
        self.add(body(MESSAGE, 1))
        other.message()
        self.client(self.nodes[0], self.ann)
        self.assertEqual(
            self.airyd(*self.words("kick", "--subject=cleo"))[::2], (1, "airyd kick: cleo has no connection\n")
        )

    def test_kick_with_a_node_down(self) -> None:
        """Those that can be reached do it, and the exit status says that one did not."""
        _, client = self.client(self.nodes[0], self.ann)
        status, said, err = self.airyd(*self.words("kick", f"--subject={self.ann}", urls=[UNREACHABLE, self.urls[0]]))
        self.assertEqual((status, said), (1, [{"node": self.urls[0], "disconnected": 1}]))
        self.assertEqual(err, f"airyd kick: cannot reach {UNREACHABLE}: connection refused\n")
        client.error()

    def test_kick_a_connection(self) -> None:
        """By its id, on whichever node it is."""
        name, client = self.client(self.nodes[1], self.ann)
        _, other = self.client(self.nodes[1], self.ann, MESSAGE)
        status, said, err = self.airyd(*self.words("kick", name))
        self.assertEqual((status, [each["disconnected"] for each in said], err), (0, [0, 1], ""))
        client.error()
        self.add(body(MESSAGE, 1))
        other.message()

    def test_rights(self) -> None:
        """The token that reads lists connections, and ends none. It may come from a file."""
        name, _ = self.client(self.nodes[0], self.ann)
        one = [self.urls[0]]
        reading = (f"--token-file={self.read}", f"--subject={self.ann}")
        status, said, err = self.airyd(*self.words("connections", *reading, urls=one), token=FULL)
        self.assertEqual((status, [each["id"] for each in said], err), (0, [name], ""))
        for words in (["kick", name], ["drain", "on"], ["trace", "--bodies", name]):
            status, said, err = self.airyd(*self.words(*words, urls=one), token=READ)
            self.assertEqual((status, said), (1, []))
            self.assertRegex(err, rf"\Aairyd {words[0]}: {one[0]}: [^\n]+\n\Z")
        status, _, err = self.airyd(*self.words("connections", urls=one), token="another-token")
        self.assertEqual((status, err.count("\n")), (1, 1))

    def test_connections(self) -> None:
        """Those of both nodes and all workers, oldest first, and one in full."""
        started = [
            (
                self.client(self.nodes[number % 2], f"{self.ann}-{number}", MESSAGE, *[UNREAD_COUNT] * (number == 3))[
                    0
                ],
                number,
            )
            for number in range(6)
        ]
        status, said, err = self.airyd(*self.words("connections"))
        self.assertEqual((status, err), (0, ""))
        mine = [each for each in said if each["subject"].startswith(f"{self.ann}-")]
        self.assertEqual([(each["id"], each["subject"]) for each in mine], [(i, f"{self.ann}-{n}") for i, n in started])
        self.assertEqual([each["node"] for each in mine], self.urls * 3)
        words = (f"--destination={UNREAD_COUNT}", f"--subject={self.ann}-3", "--state=live", "--limit=5")
        _, said, _ = self.airyd(*self.words("connections", *words))
        self.assertEqual([each["id"] for each in said], [started[3][0]])
        _, (full,), _ = self.airyd(*self.words("connections", started[3][0]))
        self.assertEqual(full["node"], self.urls[1])
        self.assertEqual([each["destination"] for each in full["subscriptions"]], [MESSAGE, UNREAD_COUNT])

    def test_trace(self) -> None:
        """The frames of a user on both nodes; passwords are masked, bodies are shown when asked for."""
        cli = self.start(*self.words("trace", f"--subject={self.ann}", "--bodies"))
        cli.wait_for("following on", 2)
        clients = [self.client(node, self.ann, MESSAGE)[1] for node in self.nodes]
        entry = self.add(body(MESSAGE, 7, "Grüße"))
        for client in clients:
            client.message()
        self.wait_until(lambda: cli.out.count("Grüße") + cli.out.count("Gr\\u00fc") >= 2, lambda: cli.out)
        cli.process.send_signal(signal.SIGINT)
        self.assertEqual(cli.wait(), 128 + signal.SIGINT)
        lines = [json.loads(line) for line in cli.out.splitlines()]
        for url in self.urls:
            mine = [each for each in lines if each["node"] == url]
            self.assertEqual({each["subject"] for each in mine}, {self.ann})
            (message,) = (each for each in mine if each["command"] == "MESSAGE")
            self.assertIn(entry, dict(message["headers"])["message-id"])
            self.assertEqual(message["body"].encode(), body(MESSAGE, 7, "Grüße"))
            self.assertIn("SUBSCRIBE", [each["command"] for each in mine])

    def test_trace_that_ends(self) -> None:
        """A connection is followed on its node until the time is over."""
        name, _ = self.client(self.nodes[1], self.ann, MESSAGE)
        status, _, err = self.airyd(*self.words("trace", "--seconds=1", name))
        self.assertEqual(status, 0)
        self.assertRegex(
            err, rf"\Aairyd trace: following on {self.urls[1]}\nairyd trace: the trace on [^\n]+ has ended: "
        )
        status, _, err = self.airyd(*self.words("trace", "nowhere"))
        self.assertEqual(status, 1)
        self.assertEqual(err.count("there is no connection nowhere"), 2)

    def test_explain(self) -> None:
        """The answer is that of the connection's node; the event has its id from Redis, or from a MESSAGE."""
        name, client = self.client(self.nodes[1], self.ann, MESSAGE)
        stranger, _ = self.client(self.nodes[0], self.bea, UNREAD_COUNT)
        entry = self.add(body(MESSAGE, 1))
        message = client.message().headers["message-id"]
        for words in ([message, name], [f"--destination={MESSAGE}", entry, name]):
            status, (said,), err = self.airyd(*self.words("explain", *words))
            self.assertEqual((status, said["outcome"], said["node"], err), (0, "sent", self.urls[1], ""))
        _, (said,), _ = self.airyd(*self.words("explain", message, stranger))
        self.assertEqual((said["outcome"], said["node"]), ("not-subscribed", self.urls[0]))
        status, (said,), _ = self.airyd(*self.words("explain", message, "nowhere"))
        self.assertEqual((status, said["outcome"]), (1, "no-connection"))

    def test_drain(self) -> None:
        """A node that drains is not ready and closes its clients, until that is taken back."""
        _, client = self.client(self.nodes[0], self.ann)
        one = [self.urls[0]]
        status, said, err = self.airyd(*self.words("drain", "on", urls=one))
        self.assertEqual((status, said[0]["draining"], err), (0, True, ""))
        self.assertEqual(self.nodes[0].request("GET", "/readyz")[0], 503)
        client.expect_end()
        status, said, err = self.airyd(*self.words("drain", "off", urls=one))
        self.assertEqual((status, said[0]["draining"], err), (0, False, ""))
        self.assertEqual(self.nodes[0].request("GET", "/readyz")[0], 200)

    def test_interrupted(self) -> None:
        """A node that does not answer keeps nobody waiting; what is unknown after a command that changes is said."""
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for name, words, said in (
            ("connections", [], ""),
            (
                "kick",
                ["c-1"],
                "airyd kick: interrupted before all nodes answered; the connections may have been ended\n",
            ),
        ):
            cli = self.start(*self.words(name, *words, urls=[url]))
            self.addCleanup(silent.accept()[0].close)
            cli.process.send_signal(signal.SIGINT)
            self.assertEqual((cli.wait(), cli.out, cli.err), (128 + signal.SIGINT, "", said))

    def test_top_in_a_pipe(self) -> None:
        """A line for each look at each node; one that is down is said once."""
        self.client(self.nodes[1], self.ann, MESSAGE)
        status, said, err = self.airyd(*self.words("top", "-n2", "-i1", urls=[UNREACHABLE, *self.urls]))
        self.assertEqual((status, err), (1, f"airyd top: cannot reach {UNREACHABLE}: connection refused\n"))
        self.assertEqual(sorted(each["node"] for each in said), sorted(self.urls * 2))
        self.assertTrue(all(each["connections"] >= 1 for each in said if each["node"] == self.urls[1]), said)


class TopTests(NodesCase):
    """``airyd top`` on a terminal."""

    def setUp(self) -> None:
        super().setUp()
        self.ours, theirs = pty.openpty()
        self.addCleanup(os.close, self.ours)
        self.resize(24, 120)
        self.before = termios.tcgetattr(self.ours)
        self.drawn = ""
        self.process = subprocess.Popen(
            command(*self.words("top", "--interval=1", urls=[*self.urls, UNREACHABLE])),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environment(), "AIRYD_ADMIN_TOKEN": FULL, "TERM": "xterm", "NO_COLOR": ""},
            start_new_session=True,
        )
        os.close(theirs)
        self.addCleanup(self.end)

    def end(self) -> None:
        """Kill it, if it runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def resize(self, height: int, width: int) -> None:
        """Change the size of the terminal."""
        ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def see(self, text: str) -> None:
        """Wait until this text is drawn, and forget what was drawn before."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.drawn:
            self.assertLess(time.monotonic(), deadline, self.drawn)
            if select.select([self.ours], [], [], 0.1)[0]:
                self.drawn += os.read(self.ours, 65536).decode()
        self.drawn = self.drawn.partition(text)[2]

    def ended(self) -> int:
        """Read the rest; return the exit status. The terminal is as it was before."""
        self.see("\x1b[?1049l")  # back from the second screen
        status = self.process.wait(PATIENCE)
        self.assertEqual(leaks(self.drawn), [])
        self.assertNotIn("Traceback", self.drawn)
        return status

    def test_keys(self) -> None:
        """It shows nodes and connections; ``s`` sorts, a new size fits, ``q`` ends."""
        name, _ = self.client(self.nodes[0], self.ann, MESSAGE)
        self.see("\x1b[?1049h")
        self.see(name)
        os.write(self.ours, b"s")
        self.resize(40, 60)
        self.process.send_signal(signal.SIGWINCH)
        self.see(f"cannot reach {UNREACHABLE}")
        self.see("connections by lag")
        os.write(self.ours, b"q")
        self.assertEqual(self.ended(), 0)

    def test_signal(self) -> None:
        """SIGTERM puts the terminal back in order."""
        self.see("airyd top")
        self.process.terminate()
        self.assertEqual(self.ended(), 128 + signal.SIGTERM)

"""Runs the commands and snippets of README.rst and docs/ in order, with the ports of the tests' servers."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import pytest
from twisted.trial.unittest import SynchronousTestCase

from airyd.cli.token import mint
from docs.pictures import TAIL
from tests.integration.daemon import TREE, Daemon, environment
from tests.integration.node import NodeClient
from tests.integration.payloads import MESSAGE
from tests.integration.raw import RawClient
from tests.integration.wire import StompFrame
from tests.patience import PATIENCE
from tests.snippets import Command, consoles, shape, snippets
from tests.sources.redis.server import RedisServer

#: A pattern for a line of ``airyd tail`` in a terminal.
TAIL_LINE: Final = re.compile(
    r"\d\d:\d\d:\d\d (?:(?:/user/queue/)?message|unread-count|channel/(?:dis)?connected) +\w+ \w{4,}\S* ?\S.*"
)
#: Commands that are not run here, such as those that need root or systemd; tests/test_snippets.py names their tests.
ELSEWHERE: Final = re.compile(
    r"make |export |systemctl |systemd-run |umask|npx |rm |cp |python3 -m venv|/opt/|.*/etc/airyd/jwt-secret|"
    r"PYTHONPATH=|\.venv/bin/python -m pytest "
)
#: Hosts that exist only in documents.
NOWHERE: Final = re.compile(r"example\.(?:com|org)|auth0\.com")


class Terminal:
    """A command in its own terminal.

    :ivar text: its output so far, without colours
    """

    def __init__(self, line: str, directory: Path) -> None:
        self._descriptor, other = pty.openpty()
        variables = {**environment(), "LC_ALL": "C.UTF-8", "TERM": "dumb", "SYSTEMD_EMOJI": "1", "COLUMNS": "1000"}
        self._process = subprocess.Popen(
            ["bash", "-c", line], stdin=subprocess.DEVNULL, stdout=other, stderr=other, cwd=directory, env=variables
        )
        os.close(other)
        self.text = ""
        self._bytes = b""

    def read(self, within: float = 0.05) -> bool:
        """Read the output that comes within ``seconds``; return whether more may come."""
        if not select.select([self._descriptor], [], [], within)[0]:
            return True
        try:
            self._bytes += os.read(self._descriptor, 1 << 16)
        except OSError:  # no process has the terminal open any more
            return False
        text = self._bytes.decode("utf-8", "replace").replace("\r\n", "\n")
        self.text = re.sub(r"\x1b\[[\d;]*m", "", text)
        return True

    def wait_for(self, pattern: str) -> str:
        """Wait until a line matches the pattern; return it."""
        deadline = time.monotonic() + PATIENCE
        while not (found := [line for line in self.text.splitlines() if re.fullmatch(pattern, line)]):
            if not self.read() or time.monotonic() > deadline:
                raise AssertionError(f"no line {pattern} in:\n{self.text}")
        return found[0]

    def finish(self) -> list[str]:
        """Wait for the end of the command; return the lines of its output."""
        deadline = time.monotonic() + PATIENCE
        while self.read():
            if time.monotonic() > deadline:
                raise AssertionError(f"it doesn't end:\n{self.text}")
        self._process.wait(PATIENCE)
        return self.text.splitlines()

    def close(self) -> None:
        """Kill the command; harmless when repeated."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(PATIENCE)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


@pytest.mark.integration
class ConsoleTests(SynchronousTestCase):
    """The consoles of the documents."""

    def setUp(self) -> None:
        """Make a folder for the files of the commands."""
        self.directory = Path(mkdtemp(prefix="airyd-test-"))
        self.addCleanup(shutil.rmtree, self.directory)

    @cached_property
    def redis(self) -> RedisServer:
        """The Redis that the commands expect."""
        server = RedisServer()
        self.addCleanup(server.close)
        return server

    @cached_property
    def made_up(self) -> Daemon:
        """A server like that of ``make run``."""
        daemon = Daemon("--source=sample:?rate=20&seed=4")
        self.addCleanup(daemon.kill)
        return daemon

    def replaced(self, line: str, ports: dict[str, int]) -> str:
        """Return a command with this machine's programs and ports, and with URLs in place of defaults."""
        admin = f"http://127.0.0.1:{ports.get('8081')}"
        line = line.replace(".venv/bin/airyd", f"{shlex.quote(sys.executable)} -m airyd.cli")
        line = line.replace("airyd.cli publish /", f"airyd.cli publish {admin} /")
        line = re.sub(r"(airyd\.cli revoke --subject \w+)$", rf"\1 {admin}", line)
        line = re.sub(r"(tail --token-file \w+)$", rf"\1 ws://127.0.0.1:{ports.get('8080')}/ws.communication", line)
        line = re.sub(r"(127\.0\.0\.1|localhost):(8\d\d\d)", lambda match: f"{match[1]}:{ports[match[2]]}", line)
        if "redis" in line:
            line = line.replace("redis://127.0.0.1/0", f"redis://127.0.0.1:{self.redis.port}/0")
            line = line.replace("redis-cli ", f"redis-cli --no-raw -p {self.redis.port} ")
        return line.replace("etc/systemd/airyd.service", str(TREE / "etc/systemd/airyd.service"))

    def start(self, line: str, ports: dict[str, int]) -> None:
        """Start the daemon of a ``twistd`` command on free ports; add these to ``ports``."""
        options = self.replaced(line, {"8080": 0, "8081": 0, "8090": 0, "8443": 0}).partition(" airyd ")[2]
        files = rf"\1{self.directory}/\2"
        words = [re.sub(r"((?:file|Key)=)(secret|\w+-token|\w+\.pem)\b", files, word) for word in shlex.split(options)]
        port = re.search(r"tcp:(8\d\d\d)", line)
        tls = "ssl:8443" in line
        while ("--listen" in words and not tls) or "--admin" in words:
            place = words.index("--admin") if "--admin" in words else words.index("--listen")
            del words[place : place + 2]
        daemon = Daemon(*(word.replace("ssl:8443", "ssl:0") for word in words))
        self.addCleanup(daemon.kill)
        ports |= {port[1] if port else "8080": daemon.port, "8081": daemon.admin_port}
        if tls:
            ports["8443"] = int(daemon.wait_for_log(re.compile(r"airyd serves wss://127\.0\.0\.1:(\d+)/"))[1])

    def run_all(self, commands: Sequence[Command]) -> None:
        """Run the commands of one console, and compare their output."""
        ports: dict[str, int] = {}
        if not any("/twistd " in command.line for command in commands):
            ports = {"8080": self.made_up.port, "8081": self.made_up.admin_port}
        following: list[Terminal] = []
        for command in commands:
            if ELSEWHERE.match(command.line) or NOWHERE.search(command.line):
                continue
            if "/twistd " in command.line:
                self.start(command.line, ports)
                continue
            terminal = Terminal(self.replaced(command.line, ports), self.directory)
            self.addCleanup(terminal.close)
            if "/airyd tail" in command.line and "|" not in command.line:
                self.check_tail(terminal, command.output)
                following.append(terminal)
            else:
                self.compare(command, terminal.finish())
        for terminal in following:
            terminal.wait_for(TAIL_LINE.pattern)

    def check_tail(self, terminal: Terminal, output: Sequence[str]) -> None:
        """Check that ``airyd tail`` connects, and that the documents' lines have the form of its output."""
        connected = terminal.wait_for(r"airyd tail: connected to \S+: following .*")
        for line in output:
            if line.startswith("airyd tail: "):
                self.assertRegex(connected, re.sub(r":\\d\+/", r":\\d+/", shape(line)))
            else:
                self.assertRegex(line, TAIL_LINE)

    def compare(self, command: Command, lines: Sequence[str]) -> None:
        """Check that a command prints the document's output, apart from ids and numbers, if the document shows any."""
        if command.output:
            self.assertEqual(len(command.output), len(lines), f"{command.line}: {lines}")
            for expected, line in zip(command.output, lines, strict=True):
                self.assertRegex(line, f"^{shape(expected)}$", command.line)

    def prepare(self, text: str) -> None:
        """Cause what the document assumes to have happened before."""
        if "airyd:dead-letter" in text:
            node = Daemon(f"--source=redis://127.0.0.1:{self.redis.port}/0")
            self.addCleanup(node.kill)
            client = RawClient(node.port)
            self.addCleanup(client.abort)
            client.handshake()
            client.connect()
            client.subscribe(MESSAGE, "0")
            connection = self.redis.connect()
            connection.call("XADD", f"airyd:{MESSAGE}", "*", "payload", '{"message": {"id": "m1"}}')
            node.wait_for_metrics(payloads_refused_total=1)
            while not connection.call("EXISTS", "airyd:dead-letter"):
                time.sleep(0.02)
            connection.close()

    def check_document(self, document: str) -> None:
        """Run all consoles of a document."""
        for snippet, commands in consoles():
            if snippet.document == document:
                self.prepare(snippet.text)
                self.run_all(commands)

    def test_readme(self) -> None:
        self.check_document("README.rst")

    def test_clients(self) -> None:
        self.check_document("docs/clients.rst")

    def test_publishing(self) -> None:
        self.check_document("docs/publishing.rst")

    def test_operating(self) -> None:
        self.check_document("docs/operating.rst")

    def test_installing(self) -> None:
        self.check_document("docs/installing.rst")

    def test_options(self) -> None:
        self.check_document("docs/options.rst")

    def test_security(self) -> None:
        self.check_document("docs/security.rst")

    def test_no_other_document_has_any(self) -> None:
        others = {
            snippet.document
            for snippet, commands in consoles()
            if any(not ELSEWHERE.match(command.line) for command in commands)
        }
        names = ("clients", "publishing", "installing", "operating", "options", "security")
        tested = {f"docs/{name}.rst" for name in names}
        self.assertEqual(others, {"README.rst", *tested})

    def test_picture(self) -> None:
        """The lines of ``airyd tail`` in the picture have the form of its output."""
        for at, name, _, text in TAIL:
            self.assertRegex(f"{at} {name:<20}  {text}", TAIL_LINE)


@pytest.mark.integration
class BrowserTests(SynchronousTestCase):
    """The snippets for browsers run in node, with each version of @stomp/stompjs."""

    def snippet(self, begins: str) -> str:
        """Return the snippet that begins with this text; all documents must show the same."""
        (text,) = {each.text for each in snippets() if each.language == "javascript" and re.match(begins, each.text)}
        return text

    def first(self, daemon: Daemon, more: str = "") -> str:
        """Return the first snippet of README.rst and docs/clients.rst for a daemon.

        :param more: an additional option of its client
        """
        shown = self.snippet(r"import .*\n\nconst client")
        url = 'brokerURL: "ws://127.0.0.1:8080/ws.communication"'
        self.assertIn(url, shown)
        return shown.replace(url, f"brokerURL: {json.dumps(daemon.url)}, {more}")

    def run_code(self, version: int, code: str, daemon: Daemon) -> NodeClient:
        """Run code, and wait until it has subscribed."""
        client = NodeClient("snippet.mjs", stompjs=version, code=code)
        self.addCleanup(client.close)
        daemon.wait_for_metrics(subscriptions=1)
        return client

    def test_subscribe_and_publish(self) -> None:
        daemon = Daemon("--auth=anonymous:send")
        self.addCleanup(daemon.kill)
        for version in (5, 6, 7):
            publish = self.snippet(r"client\.publish")
            code = f"{self.first(daemon)}\nconst first = client.onConnect;\n"
            code += f"client.onConnect = (frame) => {{ first(frame); {publish} }};"
            client = self.run_code(version, code, daemon)
            daemon.publish(MESSAGE, b'{"conversation_id": "c1", "message": {"id": "m1"}}')
            self.assertEqual({"conversation_id": "c1", "message": {"id": "m1"}}, client.wait("log")["value"])
            client.close()
            daemon.wait_for_metrics(subscriptions=0)
        daemon.wait_for_metrics(events_published_total=6)

    def with_token(self) -> tuple[Daemon, str]:
        """Start a daemon that wants a token; return it and a valid token."""
        directory = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, directory)
        secret = directory / "secret"
        secret.write_text("s" * 32)
        daemon = Daemon(f"--auth=jwt:secret-file={secret}")
        self.addCleanup(daemon.kill)
        command = [sys.executable, "-m", "airyd.cli", "token", "--secret-file", str(secret), "ann"]
        token = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        return daemon, token

    def test_token(self) -> None:
        daemon, token = self.with_token()
        code = f"const token = {json.dumps(token)};\n{self.first(daemon, self.snippet('connectHeaders'))}"
        self.run_code(7, code.replace("const token", "var token"), daemon)

    def test_all_together(self) -> None:
        """The examples of docs/clients.rst log in, follow and show the state on one connection."""
        daemon, token = self.with_token()
        functions = f"""
            const onEvent = (destination, body) => console.log(`${{destination}} ${{body}}`);
            const reload = (destination) => console.log(`reload ${{destination}}`);
            const [show, ended] = [console.log, console.log];
            const getToken = async () => {json.dumps(token)};
        """
        shown = self.snippet(r"import \{ stayLoggedIn").replace("ws://127.0.0.1:8080/ws.communication", daemon.url)
        code = functions + shown.replace('from "./', f'from "{(TREE / "docs/examples").as_uri()}/')
        body = '{"conversation_id": "c1", "message": {"id": "m1"}}'
        for version in (5, 6, 7):
            client = NodeClient("snippet.mjs", stompjs=version, code=code)
            self.addCleanup(client.close)
            logged = [client.wait("log")["value"] for _ in range(4)]
            self.assertEqual(["connecting", "catching up"], logged[:2])
            self.assertEqual({f"reload {MESSAGE}", "live"}, set(logged[2:]))
            daemon.publish(MESSAGE, body.encode())
            self.assertEqual(f"{MESSAGE} {body}", client.wait("log")["value"])
            self.assertEqual([], client.told("error"))
            client.close()

    def test_own_events(self) -> None:
        directory = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, directory)
        secret = directory / "secret"
        secret.write_text("s" * 32)
        daemon = Daemon(f"--auth=jwt:secret-file={secret}", "--user-destinations=user_id=sub")
        self.addCleanup(daemon.kill)
        token = mint(b"s" * 32, False, "ann", time.time(), 3600, {})
        subscribe = self.snippet(r'client\.subscribe\("/user')
        for version in (5, 6, 7):
            code = f"var token = {json.dumps(token)};\n{self.first(daemon, self.snippet('connectHeaders'))}\n"
            client = self.run_code(version, f"{code}client.onConnect = () => {{ {subscribe} }};", daemon)
            events = [{"conversation_id": "c", "message": {"id": "m"}, "user_id": user} for user in ("bob", "ann")]
            for event in events:
                daemon.publish(MESSAGE, json.dumps(event).encode())
            self.assertEqual(events[1], client.wait("log")["value"])
            client.close()
            daemon.wait_for_metrics(subscriptions=0)


@pytest.mark.integration
class FrameTests(SynchronousTestCase):
    """The frames of docs/protocol.rst, and the commands for Redis of docs/publishing.rst."""

    def frames(self, command: str) -> list[str]:
        """Return the document's frames with this command, in order."""
        shown = [each.text for each in snippets() if each.document == "docs/protocol.rst" and each.language == "text"]
        return [text for text in shown if text.startswith(f"{command}\n")]

    def check(self, frame: StompFrame, shown: str) -> None:
        """Check that a frame has the headers, in order, and the body of the frame in the document."""
        head, _, body = shown.removesuffix("^@").partition("\n\n")
        command, *headers = head.splitlines()
        self.assertEqual(command, frame.command)
        self.assertEqual([line.partition(":")[0] for line in headers], list(frame.headers))
        for line in headers:
            name, _, value = line.partition(":")
            if name in ("session", "message-id", "last-message-id"):
                self.assertRegex(frame.headers[name], r"^[0-9a-f]{8}-[\d-]+$")
            elif name == "receipt-id" and command == "RECEIPT":
                self.assertNotEqual("", value)
            else:
                self.assertEqual(value, frame.headers[name], name)
        self.assertEqual(body.strip("\n"), frame.body.decode())

    def test_frames(self) -> None:
        """The client sends the document's frames unchanged, and the server answers with those in the document."""
        daemon = Daemon("--auth=anonymous:send")
        self.addCleanup(daemon.kill)
        client = RawClient(daemon.port)
        self.addCleanup(client.abort)
        client.handshake()

        def send(shown: str) -> None:
            client.send_frame(1, shown.replace("^@", "\0").encode())

        (connect,), (connected,) = self.frames("CONNECT"), self.frames("CONNECTED")
        plain, wildcard, resume = self.frames("SUBSCRIBE")
        (receipt,), (message,), (error,) = self.frames("RECEIPT"), self.frames("MESSAGE"), self.frames("ERROR")
        send(connect)
        self.check(client.receive(), connected)
        send(plain)
        self.check(client.receive(), receipt)
        body = message.removesuffix("^@").rpartition("\n")[2]
        daemon.publish(MESSAGE, body.encode())
        got = client.receive()
        self.check(got, message)
        send(wildcard)
        self.assertEqual("live", client.receive().headers["receipt-id"])
        send("UNSUBSCRIBE\nid:sub-0\n\n^@")
        send(re.sub(r"(last-message-id:).*", rf"\g<1>{got.headers['message-id']}", resume))
        answer = client.receive()
        self.assertEqual("true", answer.headers["recovered"])
        send('SEND\ndestination:/queue/message\nreceipt:r1\n\n{"message": {"id": "m1"}}^@')
        self.check(client.receive(), error)

    def test_redis(self) -> None:
        server = RedisServer()
        self.addCleanup(server.close)
        connection = server.connect()
        self.addCleanup(connection.close)
        daemons = [Daemon(f"--source=redis://127.0.0.1:{server.port}/0{mode}") for mode in ("", "?mode=pubsub")]
        clients = []
        for daemon in daemons:
            self.addCleanup(daemon.kill)
            client = RawClient(daemon.port)
            self.addCleanup(client.abort)
            client.handshake()
            client.connect()
            client.subscribe(MESSAGE, "0")
            clients.append(client)
        event = b'{"conversation_id": "c1", "message": {"id": "m1"}}'
        for snippet in snippets():
            if snippet.language == "text" and re.match("XADD |PUBLISH ", snippet.text):
                for line in snippet.text.splitlines():
                    connection.call(*shlex.split(line))
        self.assertEqual([event, event], [client.message().body for client in clients])
        self.assertEqual(2, connection.call("XLEN", "airyd:revocations"))

"""A redis-server of the tests' own, which can be killed, stopped and started again, and a plain client of it.

Everything here blocks, for milliseconds: it serves tests that run a reactor and those that have none.
"""

from __future__ import annotations

import atexit
import contextlib
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final, cast

import hiredis
from twisted.trial.unittest import SkipTest

from tests.leaks import leaks
from tests.patience import PATIENCE
from tests.sources.redis.certificates import Certificates

#: What is given up when such a server is killed: nothing that was acknowledged.
DURABLE: Final = ("--appendonly", "yes", "--appendfsync", "always")
#: How often another port is tried.
_PORTS: Final = 10

Word = str | bytes | int


class Refused(Exception):
    """Redis answered with an error."""


class Connection:
    """One blocking connection to Redis, as any publisher may have it; ``OSError`` when it is lost."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._reader = hiredis.Reader()

    def call(self, *words: Word) -> Any:
        """Carry out a command and return its reply, bytes being bytes; raises :class:`Refused`."""
        reply = self.pipeline([words])[0]
        if isinstance(reply, hiredis.ReplyError):
            raise Refused(str(reply))
        return reply

    def pipeline(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Send commands at once and return their replies in order; errors are among them, as ``ReplyError``."""
        self._socket.sendall(b"".join(hiredis.pack_command(cast(Any, tuple(words))) for words in commands))
        return [self._reply() for _ in commands]

    def transaction(self, *commands: Sequence[Word]) -> list[Any]:
        """Carry out commands in one MULTI and return their replies in order; errors are among them."""
        done = self.pipeline([("MULTI",), *commands, ("EXEC",)])[-1]
        if not isinstance(done, list):
            raise Refused(f"no transaction: {done}")
        return done

    def _reply(self) -> Any:
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError("Redis ended the connection")
            self._reader.feed(data)
        return reply

    def close(self) -> None:
        """Close it."""
        self._socket.close()


class RedisServer:
    """One redis-server on a free port of the loopback interface, in a temporary directory.

    :param options: of redis-server's command line, such as :data:`DURABLE`
    :param tls: for TLS on the port, and the certificates that it shows and asks for
    :param unix: listen on a Unix socket alone

    :ivar program: redis-server's path
    :ivar directory: where it runs
    :ivar is_settled: whether it has its port for good
    :ivar port: where it listens, also after a restart
    :ivar path: the Unix socket
    :ivar log: all that it has logged

    Raises ``SkipTest`` where there is no redis-server.
    """

    def __init__(self, *options: str, tls: Certificates | None = None, unix: bool = False) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise SkipTest("needs redis-server")
        self.program = program
        self._options = options
        self._tls = tls
        self._is_unix = unix
        self.directory = Path(tempfile.mkdtemp(prefix="airyd-redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.path = str(self.directory / "socket")
        self.port = 0
        self.is_settled = False
        atexit.register(self.close)
        try:
            self._start_somewhere()
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> str:
        """All that it has logged so far."""
        return (self.directory / "log").read_text("utf-8", "replace")

    def _start_somewhere(self) -> None:
        for _ in range(_PORTS):
            with socket.create_server(("127.0.0.1", 0)) as probe:
                self.port = probe.getsockname()[1]
            if self._comes_up():
                self.is_settled = True
                return  # otherwise somebody may have taken the port first
        raise AssertionError(f"redis-server does not come up: {self.log[-2000:]}")

    def command(self) -> list[str]:
        """Return its command line."""
        return [self.program, *self._where(), "--dir", str(self.directory), "--save", "", *self._options]

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    def start(self) -> None:
        """Start it again, where it was and with what it had, and wait until it answers."""
        if not self._comes_up():
            raise AssertionError(f"redis-server does not come up again: {self.log[-2000:]}")

    def begin(self) -> None:
        """Start it again as :meth:`start` does, and wait for nothing."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _comes_up(self) -> bool:
        self.begin()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            with contextlib.suppress(OSError, Refused):
                connection = self.connect()
                try:
                    if connection.call("PING"):
                        return True
                finally:
                    connection.close()
            time.sleep(0.005)
        self.kill()
        return False

    def _where(self) -> list[str]:
        where = ["--bind", "127.0.0.1"]
        if self._is_unix:
            return [*where, "--port", "0", "--unixsocket", self.path]
        if self._tls is None:
            return [*where, "--port", str(self.port)]
        files = ("--tls-cert-file", self._tls.server, "--tls-key-file", self._tls.server_key)
        return [*where, "--port", "0", "--tls-port", str(self.port), *files, "--tls-ca-cert-file", self._tls.ca]

    def connect(self, patience: float = PATIENCE) -> Connection:
        """Open a connection, logged in as the default user."""
        if self._is_unix:
            connected = socket.socket(socket.AF_UNIX)
            connected.settimeout(patience)
            try:
                connected.connect(self.path)
            except OSError:
                connected.close()
                raise
            return Connection(connected)
        connected = socket.create_connection(("127.0.0.1", self.port), patience)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            context = ssl.create_default_context(cafile=self._tls.ca)
            context.load_cert_chain(self._tls.client, self._tls.client_key)
            try:
                connected = context.wrap_socket(connected, server_hostname="localhost")
            except OSError:
                connected.close()
                raise
        return Connection(connected)

    def pause(self) -> None:
        """Stop the process where it stands (SIGSTOP): it keeps its connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again (SIGCONT)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it as an operator does (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """End it for good and remove what it left; harmless when repeated. Its log must hold no secret of airyd's."""
        self.kill()
        told = leaks(self.log) if self.directory.exists() else []
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.close)
        if told:
            raise AssertionError(f"secrets in the log of Redis: {told}")


_shared: list[RedisServer] = []
_numbers: Final = count(1)


def shared_server() -> RedisServer:
    """Return the server shared by tests that only need their own keys; it ends with the test process.

    Raises ``SkipTest`` where there is no redis-server.
    """
    if not _shared:
        _shared.append(RedisServer())
    return _shared[0]


def own_prefix() -> str:
    """Return what the keys of one test begin with."""
    return f"test-{next(_numbers)}:"

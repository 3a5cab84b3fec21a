"""The servers that are measured: how each is started on its own core, found and stopped."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from bench.scenarios import AIRYD, AUTOBAHN, PICOWS, Contender
from tests.sources.redis.server import RedisServer

ROOT = Path(__file__).resolve().parent.parent

#: Seconds within which a server must serve, and must end after SIGTERM.
START_PATIENCE = 120.0
STOP_PATIENCE = 60.0

#: A pattern for what airyd and the baseline print when they serve.
_ANNOUNCEMENT = re.compile(rb"serves ws://127\.0\.0\.1:(\d+)(/[^\s']*)")

_AIRYD = (
    *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile="),
    *("airyd", "--listen", "tcp:0:interface=127.0.0.1", "--admin", "none"),
    *("--auth", "anonymous:send"),
)
#: Heart-beats every 5 s, unless the contender has others: the idle scenario sees them in a run of seconds.
_HEART_BEAT = ("--heart-beat", "5000,5000")
#: The secret of HS256 in all benchmarks, and the environment variable in which airyd finds it.
SECRET = "the-secret-of-all-benchmarks-is-none"
SECRET_VARIABLE = "AIRYD_BENCH_SECRET"

_COMMANDS = {
    AUTOBAHN: (sys.executable, "-m", "bench.autobahn_server"),
    "redis-py": (sys.executable, "-m", "bench.redis_reader"),
    PICOWS: (sys.executable, "-m", "bench.picows_server"),
}


class ServerFailed(Exception):
    """A server did not start, or failed during its measurement; the text says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be measured.

    :ivar name: its name in tables and on the command line
    :ivar command: its command line; ``{port}`` stands for a free port
    :ivar announces: whether it prints its address; else it serves ``/`` at ``{port}``
    """

    name: str
    command: tuple[str, ...]
    announces: bool = True


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is running: its process, port, path and log file."""

    pid: int
    port: int
    path: str
    log: Path


def server_for(contender: Contender, load_directory: Path | None) -> Server | None:
    """Return the server of a contender; None if it is a reference in C that was not built, or picows is missing.

    :param load_directory: where the load generator was built, with the reference in C below ``selftest/``
    """
    if contender.server == AIRYD:
        beats = () if _HEART_BEAT[0] in contender.options else _HEART_BEAT
        return Server(contender.name, (*_AIRYD, *beats, *contender.options))
    if contender.server == PICOWS and not (find_spec("picows") and find_spec("uvloop")):
        return None
    if contender.server in _COMMANDS:
        return Server(contender.name, _COMMANDS[contender.server], announces=True)
    reference = load_directory and load_directory / "selftest" / "fanout"
    if reference is None or not os.access(reference, os.X_OK):
        return None
    mode = contender.server.removeprefix("C ")
    return Server(contender.name, (str(reference), "-p", "{port}", "-m", mode), announces=False)


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Let processes that are started in the ``with`` block run only on ``core``."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(server: Server, core: int) -> Iterator[Running]:
    """Start ``server`` on ``core``, and stop it at the end.

    :raises ServerFailed: it did not serve in time, it ended on its own, or it logged a traceback
    """
    with tempfile.TemporaryDirectory(prefix="airyd-bench-") as directory:
        log = Path(directory) / "log"
        port = 0 if server.announces else free_port()
        with log.open("wb") as stream:
            process = _start(server, core, port, stream)
        try:
            yield _when_it_serves(server, process, port, log)
            if process.poll() is not None:
                raise ServerFailed(f"{server.name} ended with status {process.returncode}: {_tail(log)}")
        finally:
            _stop(process)
        if b"Traceback" in log.read_bytes():
            raise ServerFailed(f"{server.name} logged a traceback: {_tail(log)}")


@contextmanager
def reading_redis(server: Server, core: int, load_core: int) -> Iterator[tuple[Running, RedisServer]]:
    """Start airyd on ``core`` and a Redis for it, its source, on ``load_core``; stop both at the end.

    :raises ServerFailed: see :func:`running`
    """
    with on_core(load_core):
        redis = RedisServer()
    try:
        source = Server(server.name, (*server.command, "--source", f"redis://127.0.0.1:{redis.port}/0"))
        with running(source, core) as target:
            yield target, redis
    finally:
        redis.close()


def _start(server: Server, core: int, port: int, stream: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [word.format(port=port) for word in server.command]
    # The tree comes first, so that its own airyd is measured.
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, SECRET_VARIABLE: SECRET}
    with on_core(core):
        return subprocess.Popen(  # noqa: S603  # the commands of this module, no shell
            command, cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT
        )


def _when_it_serves(server: Server, process: subprocess.Popen[bytes], port: int, log: Path) -> Running:
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerFailed(f"{server.name} did not start: {_tail(log)}")
        if not server.announces:
            if accepts(port):
                return Running(process.pid, port, "/", log)
        elif said := _ANNOUNCEMENT.search(log.read_bytes()):
            return Running(process.pid, int(said[1]), said[2].decode(), log)
        time.sleep(0.05)
    raise ServerFailed(f"{server.name} did not serve within {START_PATIENCE:.0f} s: {_tail(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def accepts(port: int) -> bool:
    """Return whether something listens on a port of the loopback interface."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " | ".join(lines[-3:]) or "it printed nothing"

"""Helpers of the doctor's tests: an examination of a command line, and assertions on what it finds."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase, TestCase

from airyd.cli.daemon_options import DoctorOptions
from airyd.cli.options import parse
from airyd.doctor.examination import Examination
from airyd.doctor.findings import DoctorReport, Finding, Level
from tests.leaks import leaks
from tests.patience import TIMEOUT
from tests.sources.redis.case import RedisCase

#: Options with which no test meets another one's ports.
NO_PORTS: Final = ("--listen=tcp:0:interface=127.0.0.1", "--admin=none")


async def examine(
    reactor: Any, *arguments: str, wall: Callable[[], float] = time.time, environ: Mapping[str, str] = os.environ
) -> DoctorReport:
    """Run ``airyd doctor`` with these arguments; return its report, which must have no secret of the tests."""
    options = parse(["doctor", *arguments])
    assert isinstance(options, DoctorOptions)
    report = DoctorReport(lambda finding: None)
    examination = Examination(options.configuration, options.settings, reactor, wall, environ, report, options.write)
    await examination.run()
    assert not leaks(str(report.findings)), report.findings
    return report


class FindingAssertions(SynchronousTestCase):
    """Assertions on a report."""

    def of_check(self, report: DoctorReport, check: str) -> list[Finding]:
        """Return the findings of a check."""
        return [finding for finding in report.findings if finding.check == check]

    def has(self, report: DoctorReport, level: Level, check: str, text: str, advice: str = "") -> Finding:
        """Require a finding of this level whose subject and message have the text, and whose advice has the advice."""
        for finding in self.of_check(report, check):
            if finding.level is level and text in f"{finding.subject}: {finding.message}" and advice in finding.advice:
                self.assertEqual(bool(finding.advice), level is not Level.OK, finding)
                return finding
        raise self.failureException(f"no {level.name} of {check} with {text!r}: {report.findings}")

    def all_well(self, report: DoctorReport, check: str) -> None:
        """Require that a check was made and found nothing."""
        found = self.of_check(report, check)
        self.assertEqual({finding.level for finding in found}, {Level.OK}, found)


class DoctorCase(RedisCase, FindingAssertions):
    """A test over a real Redis with a prefix of its own."""

    async def examine(self, *arguments: str, url: str = "", **more: Any) -> DoctorReport:
        """Examine the server of this test."""
        source = f"--source={url or self.url()}"
        return await examine(self.reactor, source, *NO_PORTS, *arguments, **more)


class OwnServerCase(DoctorCase):
    """A test with a server that it may configure."""

    def make_server(self) -> Any:
        """Return a server of this test's own."""
        return self.own_server()

    def configure(self, name: str, value: str | int) -> None:
        """Set a parameter of the server."""
        self.redis.call("CONFIG", "SET", name, value)


class ReplyFilter:
    """A TCP proxy in front of a Redis that changes or delays its replies.

    :param change: gets each piece of the replies, and returns what the client gets
    :ivar port: the port for clients
    """

    def __init__(self, target: int, change: Callable[[bytes], bytes]) -> None:
        self._target = target
        self._change = change
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                threading.Thread(target=self._pump, args=(client, server, bytes), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, self._change), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(change(data))
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End the proxy and all its connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class LocalCase(TestCase, FindingAssertions):
    """A test without Redis, with a folder of its own.

    :ivar folder: the folder
    """

    timeout = TIMEOUT

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)

    def file(self, name: str, content: bytes | str, mode: int = 0o600) -> str:
        """Make a file with this mode; return its path."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return str(path)

    async def examine(self, *arguments: str, **more: Any) -> DoctorReport:
        """Examine these options; no port is opened unless they name one."""
        from twisted.internet import reactor

        listen = () if any(each.startswith("--listen") for each in arguments) else NO_PORTS[:1]
        admin = () if any(each.startswith("--admin=") for each in arguments) else NO_PORTS[1:]
        return await examine(reactor, *listen, *admin, *arguments, **more)

"""What airyd tells the service manager that started it, over real unix sockets."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from airyd.interfaces import Readiness
from airyd.runtime.service_manager import (
    RETRY_AFTER,
    STATUS_EVERY,
    STOP_PATIENCE,
    VARIABLES,
    ServiceManager,
    status_of,
    take_service_manager,
    without_service_manager,
)
from tests.doubles import record_log

PID = 4711


class ServiceManagerCase(SynchronousTestCase):
    """Plays systemd's side of the socket.

    :ivar readiness: what airyd says about itself
    :ivar answer: what it answers instead
    :ivar has_reloaded: whether its last reload was applied
    """

    def setUp(self) -> None:
        self.events = record_log(self)
        self.clock = Clock()
        self.clock.advance(1234.5)
        self.directory = Path(tempfile.mkdtemp(prefix="airyd-test-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.readiness = Readiness()
        self.answer: Deferred[Readiness] | None = None
        self.has_reloaded = True
        self.path = self.directory / "notify"
        self.systemd = self.listen(str(self.path))

    def listen(self, address: str) -> socket.socket:
        """Open the manager's socket."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listening.close)
        listening.bind(address)
        listening.setblocking(False)
        return listening

    def heard(self) -> list[str]:
        """Return all notifications that have come since the last call."""
        found: list[str] = []
        while True:
            try:
                found.append(self.systemd.recv(1 << 16).decode())
            except BlockingIOError:
                return found

    def ask(self) -> Deferred[Readiness]:
        """Ask airyd whether it is ready."""
        return succeed(self.readiness) if self.answer is None else self.answer

    def manager(self, **variables: str) -> ServiceManager:
        """Return the manager of this environment."""
        environ = {"NOTIFY_SOCKET": str(self.path), **variables}
        manager = take_service_manager(environ, PID, self.clock)
        self.assertEqual(environ.keys() & {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}, set())
        return manager

    def started(self, **variables: str) -> ServiceManager:
        """Return a manager that has heard of the start."""
        manager = self.manager(**variables)
        manager.start(self.ask, lambda: self.has_reloaded)
        manager.serving()
        self.heard()
        return manager


class NotifyTests(ServiceManagerCase):
    """The notifications, in their order."""

    def test_start(self) -> None:
        """airyd is ready when it listens, whatever its source does; the status says that."""
        self.readiness = Readiness(["the event source was not reached yet"])
        manager = self.manager()
        manager.start(self.ask, lambda: True)
        manager.serving()
        self.assertEqual(
            ["STATUS=not ready for clients: the event source was not reached yet", "READY=1"], self.heard()
        )
        manager.serving()
        self.assertEqual([], self.heard())

    def test_start_of_workers(self) -> None:
        """What the start itself was about leaves the status with READY."""
        self.readiness = Readiness(["not all workers have started yet"])
        manager = self.manager()
        manager.start(self.ask, lambda: True)
        self.heard()
        self.readiness = Readiness()
        manager.serving()
        self.assertEqual(["READY=1", "STATUS=ready for clients"], self.heard())

    def test_status(self) -> None:
        """The status is sent when it changes."""
        self.started()
        self.clock.advance(STATUS_EVERY)
        self.assertEqual([], self.heard())
        self.readiness = Readiness((), ["worker 2 does not answer"])
        self.clock.advance(STATUS_EVERY)
        self.assertEqual(["STATUS=ready for clients; warning: worker 2 does not answer"], self.heard())
        self.has_reloaded = False
        self.readiness = Readiness()
        self.clock.advance(STATUS_EVERY)
        (status,) = self.heard()
        self.assertEqual("STATUS=ready for clients; warning: the last reload failed, and the log says why", status)

    def test_late_answer(self) -> None:
        """Nobody is asked twice at once, and an answer that comes during the stop is ignored."""
        manager = self.started()
        self.answer = waiting = Deferred[Readiness]()
        self.clock.advance(STATUS_EVERY)
        self.readiness = Readiness(["other"])
        self.clock.advance(3 * STATUS_EVERY)
        self.assertEqual([], self.heard())
        manager.stopping(0)
        self.heard()
        waiting.callback(Readiness(["late"]))
        self.clock.pump([STATUS_EVERY] * 3)
        self.assertEqual([], self.heard())

    def test_no_answer(self) -> None:
        """An unexpected error is logged, and the next look comes."""
        self.started()
        self.answer = fail(ZeroDivisionError())
        self.clock.advance(STATUS_EVERY)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.answer = None
        self.readiness = Readiness(["other"])
        self.clock.advance(STATUS_EVERY)
        self.assertEqual(["STATUS=not ready for clients: other"], self.heard())

    def test_reload(self) -> None:
        """A reload begins with the monotonic time in microseconds, and ends."""
        manager = self.started()
        manager.reloading()
        manager.reloading()
        self.assertEqual(["RELOADING=1\nMONOTONIC_USEC=1234500000"] * 2, self.heard())
        manager.reloaded()
        manager.reloaded()
        self.assertEqual(["READY=1"], self.heard())

    def test_reload_during_the_start(self) -> None:
        """It does not end the start."""
        manager = self.manager()
        manager.reloading()
        manager.reloaded()
        self.assertEqual([], self.heard())
        manager.serving()
        self.assertEqual("READY=1", self.heard()[0])

    def test_stop(self) -> None:
        """A stop asks for the time that it needs; nothing takes it back."""
        manager = self.started()
        manager.reloading()
        self.heard()
        manager.stopping(300.0)
        (stopping,) = self.heard()
        state, extension, status = stopping.split("\n")
        self.assertEqual("STOPPING=1", state)
        self.assertEqual(f"EXTEND_TIMEOUT_USEC={int(300e6 + STOP_PATIENCE * 1e6)}", extension)
        self.assertEqual("STATUS=stopping: closes the connections of all clients within 300 s", status)
        manager.reloaded()
        manager.reloading()
        manager.serving()
        self.clock.advance(STATUS_EVERY)
        self.assertEqual([], self.heard())


class StatusTextTests(SynchronousTestCase):
    """The status is one line that systemd takes."""

    def test_one_line(self) -> None:
        """No text can add an assignment."""
        self.assertEqual("not ready for clients: a READY=1", status_of(Readiness(["a\nREADY=1"]), True))

    def test_length(self) -> None:
        """systemd ignores notifications of more than 4096 bytes."""
        status = status_of(Readiness(["\U0001f600" * 2000, "\ud800"]), True)
        self.assertLess(len(f"STATUS={status}".encode(errors="replace")), 4096)


class WatchdogTests(ServiceManagerCase):
    """Signs of life."""

    def test_twice_in_its_time(self) -> None:
        """They come from the reactor, from its start until its end."""
        manager = self.manager(WATCHDOG_USEC="30000000", WATCHDOG_PID=str(PID))
        self.assertTrue(manager.has_watchdog)
        self.assertEqual([], self.heard())
        manager.start(self.ask, lambda: True)
        self.assertEqual("WATCHDOG=1", self.heard()[0])
        self.clock.advance(14.9)
        self.assertEqual([], self.heard())
        self.clock.advance(0.1)
        self.assertEqual(["WATCHDOG=1"], self.heard())
        manager.stopping(0)
        self.heard()
        self.clock.pump([15.0] * 2)
        self.assertEqual(["WATCHDOG=1"] * 2, self.heard())

    def test_too_short(self) -> None:
        """A time of a microsecond does not keep the reactor busy."""
        manager = self.manager(WATCHDOG_USEC="1")
        self.assertTrue(manager.has_watchdog)
        manager.start(self.ask, lambda: True)
        self.heard()
        self.clock.advance(0.005)
        self.assertEqual([], self.heard())
        self.clock.advance(0.005)
        self.assertEqual(["WATCHDOG=1"], self.heard())

    def test_of_another_process(self) -> None:
        """A watchdog for another process is not ours, and neither is one that is no number."""
        for variables in (
            {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
            {"WATCHDOG_USEC": "-1"},
            {"WATCHDOG_USEC": "0"},
            {},
        ):
            self.assertFalse(self.manager(**variables).has_watchdog)


class SocketTests(ServiceManagerCase):
    """The socket that the environment names."""

    def test_abstract(self) -> None:
        """A name after ``@`` is in the abstract namespace."""
        name = f"airyd-test-{os.getpid()}"
        self.systemd = self.listen(f"\0{name}")
        self.manager(NOTIFY_SOCKET=f"@{name}").serving()
        self.assertEqual("READY=1", self.heard()[0])

    def test_none(self) -> None:
        """Without a service manager nothing is sent, and there is no watchdog."""
        manager = self.manager(NOTIFY_SOCKET="", WATCHDOG_USEC="30000000")
        self.assertFalse(manager.has_watchdog)
        manager.start(self.ask, lambda: True)
        manager.serving()
        manager.stopping(0)
        self.assertEqual([], self.heard())

    def test_gone(self) -> None:
        """A socket that nobody reads is logged once; airyd goes on."""
        self.systemd.close()
        manager = self.manager()
        manager.serving()
        manager.reloading()
        (line,) = [text for text in map(formatEvent, self.events) if text and "service manager" in text]
        self.assertIn(os.strerror(errno.ECONNREFUSED), line)
        self.path.unlink()
        self.systemd = self.listen(str(self.path))
        manager.reloaded()
        self.assertEqual(["READY=1"], self.heard())

    def test_too_long(self) -> None:
        """A path that no unix socket can have is logged with the reason."""
        self.manager(NOTIFY_SOCKET=f"/{'x' * 200}").serving()
        (line,) = [text for text in map(formatEvent, self.events) if text and "service manager" in text]
        self.assertNotIn("None", line)
        self.assertRegex(line, r"cannot be notified: \w+")

    def test_full(self) -> None:
        """What the manager has no room for comes later, in order; signs of life are not kept."""
        manager = self.started(WATCHDOG_USEC="2000000")
        count = 0
        while not manager.is_behind:
            manager.reloading()
            count += 1
        manager.reloaded()
        self.clock.pump([0.25] * 40)
        found = self.heard()
        self.clock.advance(RETRY_AFTER)
        found += self.heard()
        while manager.is_behind:
            self.clock.advance(RETRY_AFTER)
            found += self.heard()
        self.assertEqual("READY=1", [each for each in found if each != "WATCHDOG=1"][-1])
        self.assertEqual(count, len([each for each in found if each.startswith("RELOADING=1")]))
        self.assertLess(found.count("WATCHDOG=1"), 5)


class EnvironmentTests(SynchronousTestCase):
    """The environment of child processes."""

    def test_without(self) -> None:
        """Only the variables of the service manager are left out; they can use its credentials."""
        environ = dict.fromkeys(VARIABLES, "x")
        kept = {"CREDENTIALS_DIRECTORY": "/run/credentials/airyd.service", "INVOCATION_ID": "1"}
        self.assertEqual(kept, without_service_manager({**environ, **kept}))

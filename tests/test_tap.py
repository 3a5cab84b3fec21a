"""The entry point for twistd."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import Any, cast

from twisted.application.service import IService, IServiceMaker
from twisted.internet import reactor as installed
from twisted.internet.error import ReactorNotRunning
from twisted.internet.testing import MemoryReactor, MemoryReactorClock
from twisted.logger import globalLogBeginner
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from airyd import tap
from airyd.config.command_line import Options
from airyd.runtime import early_signals, process
from airyd.service import Airyd
from airyd.workers.parent import Parent


class TapTests(SynchronousTestCase):
    """twistd's options become a service."""

    def options(self, *arguments: str) -> Options:
        """Return parsed options."""
        options = tap.Options()
        options.parseOptions(arguments)
        return options

    def setUp(self) -> None:
        """Keep the reactor that runs the tests unchanged."""
        reactor = cast(Any, installed)
        self.called: list[object] = []
        self.patch(sys, "stdout", sys.stdout)
        self.patch(reactor, "seconds", reactor.seconds)
        self.patch(reactor, "sigTerm", reactor.sigTerm)
        self.patch(reactor, "callWhenRunning", lambda *call: self.called.append(call))
        self.patch(globalLogBeginner, "beginLoggingTo", globalLogBeginner.beginLoggingTo)

    def test_plugin(self) -> None:
        (maker,) = [each for each in getPlugins(IServiceMaker) if each.tapname == "airyd"]
        self.assertIs(maker.options, tap.Options)
        self.assertIs(maker.makeService, tap.makeService)

    def test_service(self) -> None:
        verifyObject(IService, tap.makeService(self.options()))

    def test_one_process_unless_asked_for_more(self) -> None:
        """Without ``--workers`` there is no parent."""
        for arguments in ((), ("--workers=1",)):
            self.assertIs(type(tap.makeService(self.options(*arguments))), Airyd)
        parent = tap.makeService(self.options("--workers=2", "--source=redis:"))
        verifyObject(IService, parent)
        self.assertIs(type(parent), Parent)

    def test_clock_is_monotonic(self) -> None:
        """A change of the wall clock must not end anybody's connection."""
        reactor = cast(Any, installed)
        self.patch(reactor, "getDelayedCalls", list)
        tap.makeService(self.options())
        self.assertEqual(reactor.seconds.__name__, "monotonic")

    def test_sighup(self) -> None:
        """SIGHUP reloads the catalogue; after the stop it has its former handler again."""
        before = signal.getsignal(signal.SIGHUP)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        called: list[str] = []
        reactor: Any = MemoryReactor()
        reactor.callFromThread = lambda call: call()
        process.on_sighup(reactor, lambda: called.append("reload"))
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(called, ["reload"])
        for call, arguments, keywords in reactor.triggers["after"]["shutdown"]:
            call(*arguments, **keywords)
        self.assertEqual(signal.getsignal(signal.SIGHUP), before)

    def test_sighup_during_the_start(self) -> None:
        """A SIGHUP during the start leads to one reload when the reactor runs."""
        before = signal.getsignal(signal.SIGHUP)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        early_signals.hold(signal.SIGHUP)
        self.patch(early_signals, "_owner_of_terminal", 0)
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        called: list[str] = []
        for _ in range(2):
            process.on_sighup(cast(Any, MemoryReactor()), lambda: called.append("reload"))
            self.assertEqual(called, ["reload"])

    def test_sigterm(self) -> None:
        """SIGTERM stops the reactor once, whether it comes during the start, later, or both; a late one ends it."""
        before = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, before)
        for during, later in ((1, 0), (0, 1), (2, 2)):
            called: list[str] = []
            reactor: Any = MemoryReactorClock()
            reactor.callFromThread = lambda call: call()
            early_signals.hold(signal.SIGTERM)
            process.on_sigterm(reactor, partial(called.append, "stop"), partial(called.append, "end"))
            for _ in range(during):
                os.kill(os.getpid(), signal.SIGTERM)
            signal.signal(signal.SIGTERM, reactor.sigTerm)  # as the reactor does, too
            self.assertEqual(called, [])
            for call, arguments, keywords in reactor.whenRunningHooks:
                call(*arguments, **keywords)
            for _ in range(later):
                os.kill(os.getpid(), signal.SIGTERM)
            self.assertEqual((called, early_signals.take(signal.SIGTERM)), (["stop"], False))
            reactor.advance(process.REPEATED_AFTER)
            os.kill(os.getpid(), signal.SIGTERM)
            self.assertEqual(called, ["stop", "end"])

    def test_sigterm_after_an_interrupt(self) -> None:
        """SIGTERM after Ctrl-C changes nothing; a second one ends the process."""
        before = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, before)
        reactor: Any = MemoryReactorClock()
        reactor.callFromThread = lambda call: call()
        called: list[str] = []

        def stop() -> None:
            raise ReactorNotRunning

        process.on_sigterm(reactor, stop, partial(called.append, "end"))
        reactor.sigTerm(signal.SIGTERM, None)
        self.assertEqual(called, [])
        reactor.advance(process.REPEATED_AFTER)
        reactor.sigTerm(signal.SIGTERM, None)
        self.assertEqual(called, ["end"])

    def test_sigusr2(self) -> None:
        """SIGUSR2 restarts the workers; after the stop it has its former handler again."""
        before = signal.getsignal(signal.SIGUSR2)
        self.addCleanup(signal.signal, signal.SIGUSR2, before)
        called: list[str] = []
        reactor: Any = MemoryReactor()
        reactor.callFromThread = lambda call: call()
        process.on_sigusr2(reactor, partial(called.append, "restart"))
        os.kill(os.getpid(), signal.SIGUSR2)
        self.assertEqual(called, ["restart"])
        for call, arguments, keywords in reactor.triggers["after"]["shutdown"]:
            call(*arguments, **keywords)
        self.assertEqual(signal.getsignal(signal.SIGUSR2), before)

    def test_the_terminal_is_closed(self) -> None:
        """airyd in a terminal stops once when that is closed, but not by an earlier SIGHUP."""
        before = signal.getsignal(signal.SIGHUP)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        ours, terminal = os.openpty()
        self.addCleanup(os.close, terminal)
        called: list[str] = []
        reactor: Any = MemoryReactor()
        reactor.callFromThread = lambda call: call()
        reactor.stop = lambda: called.append("stop")
        process.on_sighup(reactor, lambda: called.append("reload"), terminal)
        os.kill(os.getpid(), signal.SIGHUP)
        os.close(ours)
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(called, ["reload", "stop"])

    def test_refusals_are_one_line(self) -> None:
        for wrong in (
            "--source=pigeon:",
            "--source=memory:?colour=blue",
            "--auth=nobody",
            "--auth=anonymous:fly",
            "--listen=tcp:8080",
            "--listen=pigeon:1",
            "--listen=tcp:x:interface=127.0.0.1",
            "--listen=",
            "--origin=nowhere",
            "--workers=2",
        ):
            said = self.assertRaises(SystemExit, tap.makeService, self.options(wrong)).code
            assert isinstance(said, str), (wrong, said)
            self.assertTrue(said.startswith("airyd: "), said)
            self.assertEqual(len(said.splitlines()), 1, said)

    def test_refusals_contain_no_password(self) -> None:
        for wrong in ("--source=pigeon://ann:s3cret@host/", "--auth=nobody:s3cret"):
            said = self.assertRaises(SystemExit, tap.makeService, self.options(wrong)).code
            self.assertNotIn("s3cret", str(said))

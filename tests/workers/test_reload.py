"""Reloads with several processes: all workers prepare one before any applies it, and each takes one at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.config.command_line import Options
from airyd.config.settings import Settings
from airyd.errors import ConfigurationError
from airyd.interfaces import IServerReactor, Reload
from airyd.service import Airyd
from airyd.workers import worker as worker_module
from airyd.workers.messages import (
    ErrorReply,
    FinishReload,
    Leaving,
    MessageProtocol,
    MetricsReply,
    MetricsRequest,
    Order,
    ReloadReply,
    ReloadRequest,
    Report,
    Serving,
    Start,
    encode,
)
from airyd.workers.parent import Parent
from airyd.workers.process import RELOAD_PATIENCE
from airyd.workers.worker import Worker
from tests.loop import Loop
from tests.workers.test_parent import ParentCase


class ReloadTests(ParentCase):
    """All workers prepare a reload; if one refuses, none applies it."""

    def changed(self, made: Parent) -> Settings:
        """Return settings with one more destination and origin."""
        destinations = [*made.settings.destinations, "/queue/more"]
        return made.settings._replace(destinations=destinations, origins=["https://a.example"], drain_seconds=60.0)

    def prepared(self, made: Parent, settings: Settings) -> Deferred[Reload]:
        """Return a reload that is being prepared."""
        return Deferred.fromCoroutine(made.prepare_reload(settings))

    def test_all_workers(self) -> None:
        """All have prepared it before it is applied, and the changes that they report are named once."""
        made = self.serving()
        for child in self.reactor.children:
            child.changes = ["certificate of --listen ssl:1"]
        wanted = self.changed(made)
        reload = self.successResultOf(self.prepared(made, wanted))
        self.assertEqual(reload.changes, ["certificate of --listen ssl:1"])
        self.assertEqual([child.finished for child in self.reactor.children], [[], []])
        self.assertNotIn("/queue/more", self.answer("GET", "/metrics")[1])
        reload.apply()
        for child in self.reactor.children:
            self.assertEqual((child.reloads, child.finished), ([wanted], [True]))
        self.assertEqual(made.settings, wanted)
        self.assertIn('airyd_deliveries_total{destination="/queue/more"} 0.0', self.answer("GET", "/metrics")[1])
        self.reactor.children[0].end(ProcessTerminated(signal=9))
        self.reactor.advance(1)
        again = self.reactor.children[2]
        assert again.start is not None
        self.assertEqual(again.start.settings, wanted)

    def test_one_refuses(self) -> None:
        """A file may have changed since the parent read it."""
        made = self.serving()
        before = made.settings
        self.reactor.children[1].refusal = ErrorReply(0, "ConfigurationError", "--auth jwt: no")
        failure = self.failureResultOf(self.prepared(made, self.changed(made)), ConfigurationError)
        self.assertEqual(str(failure.value), "--auth jwt: no")
        self.assertEqual([child.finished for child in self.reactor.children], [[False], [False]])
        self.assertEqual(made.settings, before)

    def test_what_the_parent_refuses(self) -> None:
        made = self.serving()
        wanted = made.settings._replace(origins=["nowhere"])
        self.failureResultOf(self.prepared(made, wanted), ConfigurationError)
        self.assertEqual([child.reloads for child in self.reactor.children], [[], []])

    def test_one_that_does_not_answer(self) -> None:
        """It applies the reload when it answers again; the others need not wait for that."""
        made = self.serving()
        self.reactor.children[1].answers = False
        preparing = self.prepared(made, self.changed(made))
        self.assertNoResult(preparing)
        self.reactor.advance(RELOAD_PATIENCE)
        self.successResultOf(preparing).apply()
        self.assertEqual(self.reactor.children[0].finished, [True])

    def test_one_that_is_started_meanwhile(self) -> None:
        """It has begun with the former settings, so it gets the reload as well."""
        made = self.serving()
        first, second = self.reactor.children
        reload = self.successResultOf(self.prepared(made, self.changed(made)))
        first.end(ProcessTerminated(signal=9))
        self.reactor.advance(1)
        reload.apply()
        again = self.reactor.children[2]
        self.assertEqual((len(again.reloads), again.finished, second.finished), (1, [True], [True]))

    def test_admin_token(self) -> None:
        """The parent's own admin page gets the new token."""
        path = Path(self.mktemp()).absolute()
        path.write_text("the-first-admin-token")
        made = self.serving(f"--admin-token-file={path}")
        path.write_text("the-second-admin-token")
        reload = self.successResultOf(self.prepared(made, made.settings))
        self.assertEqual(reload.changes, ["admin token"])
        reload.apply()
        site = cast(Any, self.reactor.tcpServers[0][1])
        self.assertEqual(site.services.login.tokens.full, "the-second-admin-token")

    def test_one_that_leaves(self) -> None:
        """A worker that a rolling restart replaces, or that SIGTERM ends, is not asked; its successor has all of it."""
        made = self.serving()
        first, second = self.reactor.children
        made.restart_workers()
        self.assertEqual(first.left, 1)
        wanted = self.changed(made)
        self.successResultOf(self.prepared(made, wanted)).apply()
        self.assertEqual((first.reloads, first.finished), ([], []))
        self.assertEqual((second.reloads, second.finished), ([wanted], [True]))
        first.end(ProcessDone(0))
        again = self.reactor.children[2]
        assert again.start is not None
        self.assertEqual(again.start.settings, wanted)
        again.say(Serving())
        second.say(Leaving())
        self.successResultOf(self.prepared(made, wanted)).apply()
        self.assertEqual((len(again.reloads), len(second.reloads)), (1, 1))

    def test_one_that_leaves_meanwhile(self) -> None:
        """It refuses the reload, because it is stopping; that is no reason for the others to refuse it."""
        made = self.serving()
        first, second = self.reactor.children
        first.answers = False
        preparing = self.prepared(made, self.changed(made))
        first.say(Leaving())
        first.say(ErrorReply(0, "ConfigurationError", "airyd is stopping"))
        self.successResultOf(preparing).apply()
        self.assertEqual(second.finished, [True])

    def test_a_stop_meanwhile(self) -> None:
        """Nothing is applied once the parent stops."""
        made = self.serving()
        first, second = self.reactor.children
        first.answers = False
        preparing = self.prepared(made, self.changed(made))
        before = made.settings
        stopping = made.stopService()
        first.say(ReloadReply(0, ()))
        self.assertEqual(str(self.failureResultOf(preparing, ConfigurationError).value), "airyd is stopping")
        self.assertEqual((made.settings, second.finished), (before, [False]))
        for child in (first, second):
            child.end(ProcessDone(0))
        self.successResultOf(stopping)


class Pipes:
    """A worker's pipes, played by the test."""

    def __init__(self, protocol: MessageProtocol, *_: object) -> None:
        pass

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """See ``IConsumer``."""


class WorkerTests(SynchronousTestCase):
    """One worker, whose preparations end when the test says so."""

    def setUp(self) -> None:
        self.preparing: list[Deferred[Reload]] = []
        self.done: list[str] = []
        self.reports: list[Report] = []
        self.patch(worker_module, "StandardIO", Pipes)
        self.patch(MessageProtocol, "send", lambda _, report: self.reports.append(report))
        self.patch(Airyd, "prepare_reload", lambda *_: self.prepare())
        options = Options()
        options.parseOptions(["--source=redis:"])
        self.settings = options.settings
        start = Start(0, 1, "", self.settings)
        self.worker = Worker(start, cast(IServerReactor, Loop()), lambda: 1.7e9)

    async def prepare(self) -> Reload:
        """Prepare a reload."""
        self.preparing.append(Deferred())
        return await self.preparing[-1]

    def order(self, order: Order) -> None:
        """Give the worker an order."""
        self.worker._messages.stringReceived(encode(order))

    def reload(self, name: str) -> Reload:
        """Return a reload that notes what becomes of it."""

        def note(what: str) -> Callable[[], None]:
            return lambda: self.done.append(f"{what} {name}")

        return Reload([name], note("apply"), note("cancel"))

    def test_one_after_the_other(self) -> None:
        """A second reload is prepared when the first one has been applied, even if that took long."""
        self.order(ReloadRequest(1, self.settings))
        self.order(FinishReload(2, True))
        self.order(ReloadRequest(3, self.settings))
        self.order(FinishReload(4, False))
        self.assertEqual((len(self.preparing), self.reports), (1, []))
        self.preparing[0].callback(self.reload("first"))
        self.assertEqual(self.done, ["apply first"])
        self.assertEqual(self.reports, [ReloadReply(1, ["first"]), ReloadReply(2, ())])
        self.preparing[1].callback(self.reload("second"))
        self.assertEqual(self.done, ["apply first", "cancel second"])
        self.assertEqual(self.reports[2:], [ReloadReply(3, ["second"]), ReloadReply(4, ())])

    def test_one_without_an_end(self) -> None:
        """A new reload gives up one that was only prepared."""
        for number in (0, 1):
            self.order(ReloadRequest(number, self.settings))
            self.preparing[number].callback(self.reload(str(number)))
        self.assertEqual(self.done, ["cancel 0"])

    def test_after_a_refusal(self) -> None:
        self.order(ReloadRequest(0, self.settings))
        self.preparing[0].errback(ConfigurationError("--auth: no keys"))
        self.order(FinishReload(1, False))
        self.order(ReloadRequest(2, self.settings))
        self.preparing[1].callback(self.reload("it"))
        self.order(FinishReload(3, True))
        self.assertEqual(self.done, ["apply it"])
        self.assertEqual(self.reports[0], ErrorReply(0, "ConfigurationError", "--auth: no keys"))

    def test_metrics(self) -> None:
        """A worker that could not reload says so, until it can; the last reload of another worker says nothing."""
        wall = Clock()
        self.worker = Worker(Start(0, 1, "", self.settings), cast(IServerReactor, Loop()), wall.seconds)
        self.assertEqual(self.metrics(), (1, 0))
        cases: tuple[tuple[Reload | Exception, bool, tuple[float, float]], ...] = (
            (self.reload("a"), True, (1, 1)),
            (ConfigurationError("no"), False, (1, 1)),
            (ConfigurationError("no"), True, (0, 1)),
            (self.reload("b"), False, (0, 1)),
            (self.reload("c"), True, (1, 5)),
        )
        for number, (prepared, is_applied, expected) in enumerate(cases):
            wall.advance(1)
            self.order(ReloadRequest(number, self.settings))
            if isinstance(prepared, Reload):
                self.preparing[-1].callback(prepared)
            else:
                self.preparing[-1].errback(prepared)
            self.order(FinishReload(number, is_applied))
            self.assertEqual(self.metrics(), expected)

    def metrics(self) -> tuple[float, float]:
        """Return the metrics of the worker's reloads."""
        self.order(MetricsRequest(0))
        answer = self.reports[-1]
        assert isinstance(answer, MetricsReply)
        found = {sample.name: sample.value for family in answer.families for sample in family.samples}
        return found["airyd_reload_success"], found["airyd_last_reload_timestamp_seconds"]

"""Supervises the workers: starts and restarts them, lets others accept for one that is silent or gone, stops them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from airyd.interfaces import Readiness
from airyd.metrics import WorkersMetrics
from airyd.workers.process import NoAnswer, WorkerObserver, WorkerProcess

#: Seconds until a worker that has ended is restarted: doubled after each failure in a row, up to the second number.
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 30.0
#: A worker that has served for this many seconds is sound: when it ends, its count of failures begins at 0 again.
SOUND_AFTER: Final = 60.0
#: Seconds between two checks of the workers. Silence is counted in checks, not in seconds, so time in which the parent
#: or the whole machine was stopped counts as one check at most.
ALIVE_CHECK_EVERY: Final = 1.0
#: The number of unanswered checks after which other workers accept from a worker's sockets, and the number after which
#: the worker is killed. A worker that is only busy answers between two turns of its reactor, which take far less than
#: a second.
CHECKS_UNTIL_COVERED: Final = 3
CHECKS_UNTIL_KILLED: Final = 30
#: The same for a worker that is starting: it imports all modules and reads its files before it can answer.
CHECKS_UNTIL_KILLED_AT_START: Final = 120
#: Seconds that a worker may take to end after it has begun to close its last client.
END_PATIENCE: Final = 12.0


class WorkerState(Enum):
    """The state of a worker: WAITING for its (re)start, LEAVING after it has stopped accepting clients."""

    WAITING = auto()
    STARTING = auto()
    SERVING = auto()
    LEAVING = auto()


class SupervisorState(Enum):
    """The state of the supervisor."""

    STARTING = auto()
    SERVING = auto()
    STOPPING = auto()


class Spawn(Protocol):
    """Starts the process of a worker."""

    def __call__(self, number: int, observer: WorkerObserver) -> WorkerProcess:
        """Start the process; raises ``OSError`` if that fails."""


@dataclass(slots=True)
class _Worker:
    """One worker, across restarts of its process.

    :ivar since: when the process was started or began to serve
    :ivar failures: how often in a row it ended within ``SOUND_AFTER`` seconds
    :ivar is_silent: whether it has not answered for ``CHECKS_UNTIL_COVERED`` checks
    :ivar killed_after: the unanswered checks after which it was killed; 0 if it was not killed
    :ivar covers: the workers from whose sockets it also accepts
    :ivar is_rolled: whether a rolling restart has told it to leave
    :ivar overdue: kills it if it takes too long to leave, in a rolling restart
    """

    number: int
    state: WorkerState = WorkerState.WAITING
    process: WorkerProcess | None = None
    since: float = 0.0
    failures: int = 0
    is_silent: bool = False
    killed_after: int = 0
    covers: Sequence[int] = ()
    restart: IDelayedCall | None = None
    is_rolled: bool = False
    overdue: IDelayedCall | None = None


class Supervisor:
    """The workers of one parent.

    At the start every worker must come up: if one ends, the program gives up. After that, a worker that ends is
    restarted, and other workers accept from its sockets meanwhile. They also do so for a worker that does not answer,
    which is killed after a while.

    A rolling restart replaces the workers one after the other, each only while all others serve, and only after the
    one before it has become ready.

    :ivar drain: seconds that a worker takes at most until it begins to close its last client
    :param give_up: called once, with the reason, if the program must end
    :param on_end: called with the number of each worker whose process has ended

    :ivar complete: fires once, when all workers have come up
    """

    _log = Logger()

    def __init__(
        self,
        count: int,
        spawn: Spawn,
        clock: IReactorTime,
        metrics: WorkersMetrics,
        give_up: Callable[[str], None],
        on_end: Callable[[int], None],
    ) -> None:
        self._spawn = spawn
        self._clock = clock
        self._metrics = metrics
        self._give_up = give_up
        self._on_end = on_end
        self.drain = 0.0
        self._to_restart: list[_Worker] = []
        self._rolled: _Worker | None = None
        self._is_asking = False
        self._workers = [_Worker(number) for number in range(count)]
        self._state = SupervisorState.STARTING
        self.complete: Deferred[None] = Deferred()
        self._stopped: Deferred[None] | None = None
        self._next_check: IDelayedCall | None = None

    def start(self) -> None:
        """Start all workers."""
        for worker in self._workers:
            if self._state is SupervisorState.STARTING:
                self._start_worker(worker)
        if self._state is SupervisorState.STARTING:
            self._next_check = self._clock.callLater(ALIVE_CHECK_EVERY, self._check_workers)

    def _start_worker(self, worker: _Worker) -> None:
        worker.restart = None
        worker.state = WorkerState.STARTING
        worker.since = self._clock.seconds()
        worker.covers = ()
        worker.is_silent = False
        worker.killed_after = 0
        try:
            worker.process = self._spawn(worker.number, self)
        except OSError as error:
            self.worker_ended(worker.number, f"cannot be started: {error}")

    # Checks of the workers.

    def _check_workers(self) -> None:
        self._next_check = self._clock.callLater(ALIVE_CHECK_EVERY, self._check_workers)
        for worker in self._workers:
            if worker.process is not None:
                self._check_worker(worker, worker.process.check_alive())
        self._deal_sockets()
        self._roll_on()

    def _check_worker(self, worker: _Worker, checks: int) -> None:
        starts = worker.state is WorkerState.STARTING
        most = CHECKS_UNTIL_KILLED_AT_START if starts else CHECKS_UNTIL_KILLED
        was_silent, worker.is_silent = worker.is_silent, not starts and checks >= CHECKS_UNTIL_COVERED
        if worker.is_silent and not was_silent:
            self._log.warn(
                "worker {number} does not answer; until it does, other workers accept new clients in its place; it is "
                "killed when it has not answered for {most:g} s",
                number=worker.number + 1,
                most=most * ALIVE_CHECK_EVERY,
            )
        elif was_silent and not worker.is_silent:
            self._log.info("worker {number} answers again", number=worker.number + 1)
        if checks >= most and not worker.killed_after and worker.process is not None:
            worker.killed_after = checks
            self._metrics.hangs += 1
            worker.process.kill()

    # Notifications (WorkerObserver).

    def worker_serving(self, number: int) -> None:
        """See ``WorkerObserver``."""
        worker = self._workers[number]
        if worker.state is not WorkerState.STARTING:
            return
        worker.state = WorkerState.SERVING
        worker.since = self._clock.seconds()
        if self._state is SupervisorState.STARTING and all(each.state is WorkerState.SERVING for each in self._workers):
            self._state = SupervisorState.SERVING
            self._log.info("airyd runs with {count} workers", count=len(self._workers))
            self.complete.callback(None)
        self._deal_sockets()
        self._roll_on()

    def worker_leaving(self, number: int) -> None:
        """See ``WorkerObserver``."""
        worker = self._workers[number]
        if worker.state is not WorkerState.LEAVING:
            worker.state = WorkerState.LEAVING
            self._deal_sockets()

    def worker_ended(self, number: int, reason: str) -> None:
        """See ``WorkerObserver``."""
        worker = self._workers[number]
        if worker.killed_after:
            reason = f"was killed because it had not answered for {worker.killed_after * ALIVE_CHECK_EVERY:g} s"
        if (
            worker.state in (WorkerState.SERVING, WorkerState.LEAVING)
            and self._clock.seconds() - worker.since >= SOUND_AFTER
        ):
            worker.failures = 0
        worker.state = WorkerState.WAITING
        worker.process = None
        worker.is_silent = False
        self._on_end(number)
        match self._state:
            case SupervisorState.STARTING:
                self._state = SupervisorState.STOPPING
                self._give_up(f"worker {number + 1} {reason}")
            case SupervisorState.SERVING:
                self._restart(worker, reason)
                self._deal_sockets()
            case SupervisorState.STOPPING:
                self._log.info("worker {number} {reason}", number=number + 1, reason=reason)
        self._check_all_ended()

    def _restart(self, worker: _Worker, reason: str) -> None:
        _cancel(worker.overdue)
        if worker.is_rolled:
            worker.is_rolled = False
            self._log.info("worker {number} {reason}", number=worker.number + 1, reason=reason)
            self._start_worker(worker)
            return
        if worker is self._rolled:
            self._rolled = None
            self._to_restart.clear()
            self._log.error(
                "the rolling restart ends here, because the new worker {number} {reason}; the remaining workers are "
                "not replaced",
                number=worker.number + 1,
                reason=reason,
            )
        self._restart_later(worker, reason)

    def _restart_later(self, worker: _Worker, reason: str) -> None:
        pause = min(FIRST_PAUSE * 2 ** min(worker.failures, 10), LONGEST_PAUSE)
        worker.failures += 1
        self._log.warn(
            "worker {number} {reason}; it is restarted in {pause:g} s",
            number=worker.number + 1,
            reason=reason,
            pause=pause,
        )

        def restart() -> None:
            self._metrics.restarts += 1
            self._start_worker(worker)

        worker.restart = self._clock.callLater(pause, restart)

    def _deal_sockets(self) -> None:
        """Make the serving workers accept from the sockets of the others."""
        serving = [worker for worker in self._workers if worker.state is WorkerState.SERVING and not worker.is_silent]
        is_stopping = self._state is SupervisorState.STOPPING
        self._metrics.workers = len(serving)
        self._metrics.draining = sum(
            (is_stopping or worker is self._rolled) and worker not in serving for worker in self._workers
        )
        if self._state is not SupervisorState.SERVING:
            return
        others = [worker.number for worker in self._workers if worker not in serving]
        for index, worker in enumerate(serving):
            covers = others[index :: len(serving)]
            if covers != list(worker.covers) and worker.process is not None:
                worker.covers = covers
                worker.process.cover(covers)

    # The rolling restart.

    def restart_all(self) -> None:
        """Replace the workers one after the other, each while all others serve."""
        if self._state is not SupervisorState.SERVING:
            self._log.warn("no rolling restart: airyd is starting or stopping")
        elif self._to_restart or self._rolled is not None:
            self._log.warn("no second rolling restart: one is running")
        else:
            self._log.info("rolling restart of {count} workers", count=len(self._workers))
            self._to_restart = list(self._workers)
            self._roll_on()

    def _roll_on(self) -> None:
        """Go on with the rolling restart, if there is one, all workers serve, and the last new one is ready."""
        is_leaving = self._rolled is not None and self._rolled.is_rolled
        if is_leaving or self._is_asking or not self._all_serve():
            return
        if self._rolled is None or self._rolled.process is None:
            self._roll_next()
            return
        self._is_asking = True
        self._rolled.process.readiness().addBoth(self._heard_of_readiness)

    def _all_serve(self) -> bool:
        return self._state is SupervisorState.SERVING and all(
            each.state is WorkerState.SERVING and not each.is_silent for each in self._workers
        )

    def _heard_of_readiness(self, answer: Readiness | Failure) -> None:
        self._is_asking = False
        if isinstance(answer, Failure):
            answer.trap(NoAnswer)  # the next check asks again
        elif not answer.reasons and self._rolled is not None and self._all_serve():
            self._rolled = None
            if not self._to_restart:
                self._log.info("the rolling restart is complete")
            self._roll_next()

    def _roll_next(self) -> None:
        if not self._to_restart:
            return
        worker = self._rolled = self._to_restart.pop(0)
        if worker.process is not None:
            worker.is_rolled = True
            worker.process.leave()
            worker.overdue = self._clock.callLater(self.drain + END_PATIENCE, worker.process.kill)

    # Queries of the parent.

    @property
    def is_complete(self) -> bool:
        """Whether the start is over: all workers have served, or the supervisor is stopping."""
        return self._state is not SupervisorState.STARTING

    @property
    def is_stopping(self) -> bool:
        """Whether the supervisor is stopping."""
        return self._state is SupervisorState.STOPPING

    def serving_now(self) -> list[tuple[int, WorkerProcess]]:
        """Return the workers that accept clients, with their numbers."""
        return [each for each in self.answering_now() if self._workers[each[0]].state is WorkerState.SERVING]

    def answering_now(self) -> list[tuple[int, WorkerProcess]]:
        """Return the workers that serve or are leaving, and answer, with their numbers."""
        return [
            (worker.number, worker.process)
            for worker in self._workers
            if worker.process is not None
            and worker.state in (WorkerState.SERVING, WorkerState.LEAVING)
            and not worker.is_silent
        ]

    def silent_now(self) -> list[int]:
        """Return the numbers of workers that do not answer."""
        return [each.number for each in self._workers if each.is_silent]

    @property
    def rolled_now(self) -> int | None:
        """The number of the worker that a rolling restart is replacing; None if there is none."""
        return None if self._rolled is None else self._rolled.number

    def processes_now(self) -> list[tuple[int, WorkerProcess]]:
        """Return all workers that have a process, with their numbers; one that is starting answers later."""
        return [(worker.number, worker.process) for worker in self._workers if worker.process is not None]

    def processes_staying(self) -> list[tuple[int, WorkerProcess]]:
        """Return the workers of :meth:`processes_now` that are not leaving, and that no rolling restart made leave."""
        return [
            (number, process)
            for number, process in self.processes_now()
            if self._workers[number].state is not WorkerState.LEAVING and not self._workers[number].is_rolled
        ]

    def stop(self) -> Deferred[None]:
        """End all workers, and kill those that take too long; fires when none is left."""
        self._state = SupervisorState.STOPPING
        self._to_restart.clear()
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None
        for worker in self._workers:
            if worker.restart is not None:
                worker.restart.cancel()
                worker.restart = None
            _cancel(worker.overdue)
            if worker.process is not None:
                worker.process.terminate()
        if not self.processes_now():
            return succeed(None)
        self._stopped = Deferred()
        late = self._clock.callLater(self.drain + END_PATIENCE, self.kill)
        return self._stopped.addCallback(lambda _: late.cancel() if late.active() else None)

    def kill(self) -> None:
        """End all workers at once."""
        for _, process in self.processes_now():
            process.kill()

    def _check_all_ended(self) -> None:
        if self._stopped is not None and not self.processes_now():
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()

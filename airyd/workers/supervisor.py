"""Supervises the workers: starts and restarts them, lets others accept for one that is silent or gone, stops them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from airyd.metrics import WorkersMetrics
from airyd.workers.process import WorkerObserver, WorkerProcess

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
#: Seconds that workers may take to end; closing their clients takes at most nine.
STOP_PATIENCE: Final = 15.0


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


class Supervisor:
    """The workers of one parent.

    At the start every worker must come up: if one ends, the program gives up. After that, a worker that ends is
    restarted, and other workers accept from its sockets meanwhile. They also do so for a worker that does not answer,
    which is killed after a while.

    :param give_up: called once, with the reason, if the program must end
    :param on_end: called with the number of each worker whose process has ended
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
        self._workers = [_Worker(number) for number in range(count)]
        self._state = SupervisorState.STARTING
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
        self._deal_sockets()

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
                self._restart_later(worker, reason)
                self._deal_sockets()
            case SupervisorState.STOPPING:
                self._log.info("worker {number} {reason}", number=number + 1, reason=reason)
        self._check_all_ended()

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
        self._metrics.workers = len(serving)
        if self._state is not SupervisorState.SERVING:
            return
        others = [worker.number for worker in self._workers if worker not in serving]
        for index, worker in enumerate(serving):
            covers = others[index :: len(serving)]
            if covers != list(worker.covers) and worker.process is not None:
                worker.covers = covers
                worker.process.cover(covers)

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

    def processes_now(self) -> list[tuple[int, WorkerProcess]]:
        """Return all workers that have a process, with their numbers; one that is starting answers later."""
        return [(worker.number, worker.process) for worker in self._workers if worker.process is not None]

    def stop(self) -> Deferred[None]:
        """End all workers, and kill those that take too long; fires when none is left."""
        self._state = SupervisorState.STOPPING
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None
        for worker in self._workers:
            if worker.restart is not None:
                worker.restart.cancel()
                worker.restart = None
            if worker.process is not None:
                worker.process.terminate()
        if not self.processes_now():
            return succeed(None)
        self._stopped = Deferred()
        late = self._clock.callLater(STOP_PATIENCE, self._kill)
        return self._stopped.addCallback(lambda _: late.cancel() if late.active() else None)

    def _kill(self) -> None:
        for _, process in self.processes_now():
            process.kill()

    def _check_all_ended(self) -> None:
        if self._stopped is not None and not self.processes_now():
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)

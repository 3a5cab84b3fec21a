"""Keeps the workers running: starts them, starts them again, lets one stand in for another, and ends them."""

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

#: Seconds until a worker that has ended is started again; twice that each time, but not above the second number.
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 30.0
#: Seconds after which a worker counts as sound: what happens then is not the next of a row.
SOUND_AFTER: Final = 60.0
#: Seconds between two checks of the workers. Their silence is counted in checks, and what they have sent is read
#: between two of them. So a parent that was stopped itself, or a machine that was suspended, adds one check.
ALIVE_CHECK_EVERY: Final = 1.0
#: Checks without a sign of life: after so many others accept from a worker's sockets, after so many it is killed. A
#: worker that is merely busy answers between two turns of its reactor, which take far less than a second.
CHECKS_UNTIL_COVERED: Final = 3
CHECKS_UNTIL_KILLED: Final = 30
#: The same for a worker that starts, which imports all modules and reads its files before it can answer.
CHECKS_UNTIL_KILLED_AT_START: Final = 120
#: Seconds that workers may take to end; a drain takes at most nine.
STOP_PATIENCE: Final = 15.0


class WorkerState(Enum):
    """What a worker is doing."""

    WAITING = auto()
    STARTING = auto()
    SERVING = auto()
    LEAVING = auto()


class SupervisorState(Enum):
    """What the supervisor is doing."""

    STARTING = auto()
    SERVING = auto()
    STOPPING = auto()


class Spawn(Protocol):
    """Starts the process of a worker."""

    def __call__(self, number: int, observer: WorkerObserver) -> WorkerProcess:
        """Start it; raises ``OSError`` if that is impossible."""


@dataclass(slots=True)
class _Worker:
    """One of the workers, through all its processes.

    :ivar since: when it was started or began to serve
    :ivar failures: how often in a row it ended before it was sound
    :ivar is_silent: whether it has not answered for some checks
    :ivar killed_after: how many checks it had not answered when it was killed for that; 0 if it was not
    :ivar covers: whose sockets it was told to accept from
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

    While it begins, every worker must come up: one that ends is a reason to give up. From then on a worker that ends
    is started again, and meanwhile others accept from its sockets. One that does not answer is covered for, too, and
    killed after a while.

    :param give_up: is called once, with the reason, when the program must end
    :param on_end: is called with the number of each worker whose process has ended
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

    # Whether they answer.

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
                "worker {number} does not answer; others accept its clients until it does, and after {most:g} s it is "
                "killed",
                number=worker.number + 1,
                most=most * ALIVE_CHECK_EVERY,
            )
        elif was_silent and not worker.is_silent:
            self._log.info("worker {number} answers again", number=worker.number + 1)
        if checks >= most and not worker.killed_after and worker.process is not None:
            worker.killed_after = checks
            self._metrics.hangs += 1
            worker.process.kill()

    # What the workers say.

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
            reason = f"was killed, since it had not answered for {worker.killed_after * ALIVE_CHECK_EVERY:g} s"
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
            "worker {number} {reason}; it is started again in {pause:g} s",
            number=worker.number + 1,
            reason=reason,
            pause=pause,
        )

        def restart() -> None:
            self._metrics.restarts += 1
            self._start_worker(worker)

        worker.restart = self._clock.callLater(pause, restart)

    def _deal_sockets(self) -> None:
        """Let those who serve accept from the sockets of those who don't."""
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

    # What its owner asks.

    @property
    def is_complete(self) -> bool:
        """Whether all workers have come up, once."""
        return self._state is not SupervisorState.STARTING

    @property
    def is_stopping(self) -> bool:
        """Whether it is at its end."""
        return self._state is SupervisorState.STOPPING

    def serving_now(self) -> list[tuple[int, WorkerProcess]]:
        """Return those who accept clients, with their numbers."""
        return [each for each in self.answering_now() if self._workers[each[0]].state is WorkerState.SERVING]

    def answering_now(self) -> list[tuple[int, WorkerProcess]]:
        """Return those who have clients, with their numbers: those who accept some, and those who are leaving."""
        return [
            (worker.number, worker.process)
            for worker in self._workers
            if worker.process is not None
            and worker.state in (WorkerState.SERVING, WorkerState.LEAVING)
            and not worker.is_silent
        ]

    def silent_now(self) -> list[int]:
        """Return the numbers of those who do not answer."""
        return [each.number for each in self._workers if each.is_silent]

    def processes_now(self) -> list[tuple[int, WorkerProcess]]:
        """Return all that there are, with their numbers: those, too, that are starting, and answer when they have."""
        return [(worker.number, worker.process) for worker in self._workers if worker.process is not None]

    def stop(self) -> Deferred[None]:
        """End all; fires when none is left. Who doesn't end in time is killed."""
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

"""The supervisor: starts, restarts, covers for and stops workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from airyd.interfaces import Readiness
from airyd.metrics import WorkersMetrics
from airyd.workers.process import NoAnswer, WorkerObserver, WorkerProcess
from airyd.workers.supervisor import (
    ALIVE_CHECK_EVERY,
    CHECKS_UNTIL_COVERED,
    CHECKS_UNTIL_KILLED,
    CHECKS_UNTIL_KILLED_AT_START,
    END_PATIENCE,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    SOUND_AFTER,
    Supervisor,
)
from tests.doubles import record_log


class Process:
    """A worker process that the test controls; it records its orders.

    :ivar told: ``terminate``, ``kill``, ``leave``, and tuples of whose sockets it covers
    :ivar answers: whether it gives signs of life
    :ivar reasons: why it is not ready
    """

    def __init__(self, number: int, observer: WorkerObserver) -> None:
        self.number = number
        self._observer = observer
        self.told: list[object] = []
        self.answers = True
        self.reasons: list[str] = []
        self._silent_looks = 0

    def check_alive(self) -> int:
        """See ``WorkerProcess``."""
        self._silent_looks = 0 if self.answers else self._silent_looks + 1
        return self._silent_looks

    def terminate(self) -> None:
        """See ``WorkerProcess``."""
        self.told.append("terminate")

    def kill(self) -> None:
        """See ``WorkerProcess``."""
        self.told.append("kill")

    def cover(self, numbers: Sequence[int]) -> None:
        """See ``WorkerProcess``."""
        self.told.append(tuple(numbers))

    def leave(self) -> None:
        """See ``WorkerProcess``."""
        self.told.append("leave")

    def readiness(self) -> Deferred[Readiness]:
        """See ``WorkerProcess``."""
        return succeed(Readiness(self.reasons)) if self.answers else fail(NoAnswer())

    def serve(self) -> None:
        """Accept clients."""
        self._observer.worker_serving(self.number)

    def stop_accepting(self) -> None:
        """Accept none any more."""
        self._observer.worker_leaving(self.number)

    def end(self, reason: str = "ended by SIGKILL") -> None:
        """End."""
        self._observer.worker_ended(self.number, reason)


class SupervisorCase(SynchronousTestCase):
    """Has a supervisor of three workers, whose processes are in :attr:`spawned`, in their order."""

    workers = 3

    def setUp(self) -> None:
        self.events = record_log(self)
        self.clock = Clock()
        self.metrics = WorkersMetrics()
        self.spawned: list[Process] = []
        self.refuse: OSError | None = None
        self.given_up: list[str] = []
        self.ended: list[int] = []
        self.supervisor = Supervisor(
            self.workers, self.spawn, self.clock, self.metrics, self.given_up.append, self.ended.append
        )

    def spawn(self, number: int, observer: WorkerObserver) -> WorkerProcess:
        """Start a process, or refuse to."""
        if self.refuse is not None:
            raise self.refuse
        self.spawned.append(Process(number, observer))
        return cast(WorkerProcess, self.spawned[-1])

    def serving(self) -> list[Process]:
        """Start all, and let them accept clients; return the first processes."""
        self.supervisor.start()
        for process in self.spawned:
            process.serve()
        return list(self.spawned)

    def again(self, process: Process) -> Process:
        """End a process, wait for the next of the same worker, and return it, not serving yet."""
        count = len(self.spawned)
        process.end()
        while len(self.spawned) == count:
            self.clock.advance(0.05)
        return self.spawned[-1]


class BeginTests(SupervisorCase):
    """At the start, all workers must come up."""

    def test_all_are_started(self) -> None:
        self.supervisor.start()
        self.assertEqual([process.number for process in self.spawned], [0, 1, 2])
        self.assertFalse(self.supervisor.is_complete)
        self.assertEqual(self.supervisor.serving_now(), [])

    def test_complete_with_the_last(self) -> None:
        self.supervisor.start()
        for process in self.spawned:
            self.assertFalse(self.supervisor.is_complete)
            self.assertNoResult(self.supervisor.complete)
            process.serve()
        self.assertTrue(self.supervisor.is_complete)
        self.successResultOf(self.supervisor.complete)
        self.assertEqual([number for number, _ in self.supervisor.serving_now()], [0, 1, 2])
        self.assertEqual(self.metrics.workers, 3)

    def test_nobody_is_covered_for(self) -> None:
        """Nobody covers for a worker that is starting: it serves in a moment, and the load would be unbalanced."""
        processes = self.serving()
        self.assertEqual([process.told for process in processes], [[], [], []])

    def test_one_that_can_not(self) -> None:
        """The program gives up, and restarts no worker."""
        self.supervisor.start()
        self.spawned[1].end("ended with status 1: airyd: no")
        self.assertEqual(self.given_up, ["worker 2 ended with status 1: airyd: no"])
        stopped = self.supervisor.stop()
        self.assertEqual([process.told for process in self.spawned], [["terminate"], [], ["terminate"]])
        self.assertNoResult(stopped)
        self.spawned[0].end()
        self.spawned[2].end()
        self.successResultOf(stopped)
        self.clock.advance(100)
        self.assertEqual((len(self.spawned), len(self.given_up)), (3, 1))
        self.assertNoResult(self.supervisor.complete)

    def test_one_that_served_already(self) -> None:
        """Until all are there, an end is the end."""
        self.supervisor.start()
        self.spawned[0].serve()
        self.spawned[0].end()
        self.assertEqual(len(self.given_up), 1)

    def test_no_process_at_all(self) -> None:
        self.refuse = FileNotFoundError("no such interpreter")
        self.supervisor.start()
        self.assertEqual(self.given_up, ["worker 1 cannot be started: no such interpreter"])
        self.successResultOf(self.supervisor.stop())


class RestartTests(SupervisorCase):
    """A worker that ends is restarted after a growing pause."""

    def test_once(self) -> None:
        process = self.serving()[1]
        process.end()
        self.assertEqual((self.metrics.workers, self.metrics.restarts), (2, 0))
        self.clock.advance(FIRST_PAUSE - 0.01)
        self.assertEqual(len(self.spawned), 3)
        self.clock.advance(0.02)
        self.assertEqual([process.number for process in self.spawned], [0, 1, 2, 1])
        self.assertEqual((self.metrics.workers, self.metrics.restarts), (2, 1))
        self.spawned[-1].serve()
        self.assertEqual(self.metrics.workers, 3)
        self.assertEqual((self.given_up, self.ended), ([], [1]))

    def test_pauses_grow(self) -> None:
        """A worker that keeps dying at once is restarted less and less often."""
        process = self.serving()[0]
        pauses = []
        for _ in range(12):
            begin = self.clock.seconds()
            process = self.again(process)
            pauses.append(self.clock.seconds() - begin)
        for pause, expected in zip(pauses, [FIRST_PAUSE * 2**n for n in range(12)], strict=True):
            self.assertApproximates(min(expected, LONGEST_PAUSE), pause, 0.06)

    def test_for_ever(self) -> None:
        """However often one has failed, it is tried again."""
        process = self.serving()[0]
        for _ in range(1100):
            count = len(self.spawned)
            process.end()
            self.clock.advance(LONGEST_PAUSE)
            self.assertEqual(len(self.spawned), count + 1)
            process = self.spawned[-1]

    def test_others_have_pauses_of_their_own(self) -> None:
        first, second, _ = self.serving()
        for _ in range(5):
            first = self.again(first)
        second.end()
        self.clock.advance(FIRST_PAUSE)
        self.assertEqual(self.spawned[-1].number, 1)

    def test_a_sound_one_begins_anew(self) -> None:
        process = self.serving()[0]
        for _ in range(6):
            process = self.again(process)
            process.serve()
        self.clock.advance(SOUND_AFTER)
        begin = self.clock.seconds()
        self.again(process)
        self.assertLess(self.clock.seconds() - begin, 2 * FIRST_PAUSE)

    def test_long_start_is_not_sound(self) -> None:
        """It has to serve for a while, not only to be there."""
        process = self.again(self.serving()[0])
        self.clock.advance(2 * SOUND_AFTER)
        begin = self.clock.seconds()
        self.again(process)
        self.assertGreater(self.clock.seconds() - begin, FIRST_PAUSE)

    def test_no_process(self) -> None:
        """If the system can't start a process now, it is tried again."""
        self.serving()[0].end()
        self.refuse = BlockingIOError("Resource temporarily unavailable")
        self.clock.pump([FIRST_PAUSE, FIRST_PAUSE, FIRST_PAUSE])
        self.assertEqual((len(self.spawned), self.given_up), (3, []))
        self.refuse = None
        self.clock.advance(4 * FIRST_PAUSE)
        self.assertEqual(len(self.spawned), 4)
        self.assertEqual(self.metrics.restarts, 3)

    def test_one_that_was_asked_to_go(self) -> None:
        """An operator may end workers one after the other: each comes again."""
        process = self.serving()[2]
        process.stop_accepting()
        self.assertEqual(self.metrics.workers, 2)
        self.assertEqual([number for number, _ in self.supervisor.serving_now()], [0, 1])
        self.assertEqual([number for number, _ in self.supervisor.answering_now()], [0, 1, 2])
        self.assertEqual(self.again(process).number, 2)


class CoverTests(SupervisorCase):
    """Other workers accept from the sockets of a worker that does not serve."""

    def test_until_it_is_back(self) -> None:
        first, second, third = self.serving()
        process = self.again(second)
        self.assertEqual((first.told, third.told), ([(1,)], []))
        process.serve()
        self.assertEqual((first.told, third.told, process.told), ([(1,), ()], [], []))

    def test_one_that_leaves(self) -> None:
        """A worker that leaves accepts no more connections, although it still runs."""
        first, second, _ = self.serving()
        second.stop_accepting()
        self.assertEqual((first.told, second.told), ([(1,)], []))
        second.end()
        self.assertEqual(first.told, [(1,)])

    def test_work_is_shared(self) -> None:
        first, second, third = self.serving()
        first.end()
        self.assertEqual((second.told, third.told), ([(0,)], []))
        second.end()
        self.assertEqual(third.told, [(0, 1)])

    def test_new_process_knows_nothing_of_before(self) -> None:
        """What its predecessor covered, it has to be told."""
        first, second, third = self.serving()
        second.end()
        first.end()
        self.assertEqual(third.told, [(0, 1)])
        self.clock.advance(FIRST_PAUSE)
        again = {process.number: process for process in self.spawned[3:]}
        again[0].serve()
        self.assertEqual((again[0].told, third.told), ([(1,)], [(0, 1), ()]))

    def test_nobody_left(self) -> None:
        for process in self.serving():
            process.end()
        self.assertEqual(self.metrics.workers, 0)
        self.clock.advance(FIRST_PAUSE)
        self.spawned[-1].serve()
        self.assertEqual(self.spawned[-1].told, [(0, 1)])


class HangTests(SupervisorCase):
    """Workers that do not answer are covered for, and killed after a while."""

    def looks(self, count: int) -> None:
        """Let so many checks pass."""
        self.clock.pump([ALIVE_CHECK_EVERY] * count)

    def test_covered_and_killed(self) -> None:
        first, second, third = self.serving()
        second.answers = False
        self.looks(CHECKS_UNTIL_COVERED - 1)
        self.assertEqual((first.told, second.told, third.told), ([], [], []))
        self.looks(1)
        self.assertEqual((first.told, second.told, third.told), ([(1,)], [], []))
        self.assertEqual(self.metrics.workers, 2)
        self.assertEqual([number for number, _ in self.supervisor.serving_now()], [0, 2])
        self.assertEqual([number for number, _ in self.supervisor.answering_now()], [0, 2])
        self.assertEqual([number for number, _ in self.supervisor.processes_now()], [0, 1, 2])
        self.assertEqual(self.supervisor.silent_now(), [1])
        self.looks(CHECKS_UNTIL_KILLED - CHECKS_UNTIL_COVERED - 1)
        self.assertEqual(second.told, [])
        self.looks(1)
        self.assertEqual((second.told, self.metrics.hangs), (["kill"], 1))
        self.looks(100)
        self.assertEqual((second.told, self.metrics.hangs), (["kill"], 1), "once is enough")
        process = self.again(second)
        process.serve()
        self.assertEqual((first.told, third.told, process.told), ([(1,), ()], [], []))
        self.assertEqual((self.metrics.workers, self.metrics.restarts, self.supervisor.silent_now()), (3, 1, []))
        reason = f"worker 2 was killed because it had not answered for {CHECKS_UNTIL_KILLED * ALIVE_CHECK_EVERY:g} s"
        self.assertTrue(any(formatEvent(event).startswith(reason) for event in self.events))

    def test_it_answers_again(self) -> None:
        first, second, _ = self.serving()
        second.answers = False
        self.looks(CHECKS_UNTIL_KILLED - 1)
        second.answers = True
        self.looks(1)
        self.assertEqual((first.told, second.told), ([(1,), ()], []))
        second.answers = False
        self.looks(CHECKS_UNTIL_KILLED - 1)
        self.assertEqual((second.told, self.metrics.hangs), ([], 0))

    def test_a_parent_that_was_stopped_itself(self) -> None:
        """If the parent was stopped, that counts as one check; the answers arrive right after it."""
        first, second, third = self.serving()
        for process in (first, second, third):
            process.answers = False
        self.clock.advance(10_000)
        self.clock.advance(10_000)
        for process in (first, second, third):
            self.assertEqual(process.told, [])
            process.answers = True
        self.looks(10)
        self.assertEqual((first.told, second.told, third.told), ([], [], []))

    def test_all(self) -> None:
        """There is nobody to cover, and all are started again."""
        processes = self.serving()
        for process in processes:
            process.answers = False
        self.looks(CHECKS_UNTIL_KILLED)
        self.assertEqual([process.told for process in processes], [["kill"]] * 3)
        self.assertEqual((self.metrics.workers, self.metrics.hangs), (0, 3))
        for process in processes:
            process.end()
        self.looks(1)
        self.assertEqual(len(self.spawned), 6)

    def test_one_that_leaves(self) -> None:
        """It is covered for already, and must end."""
        first, second, _ = self.serving()
        second.stop_accepting()
        second.answers = False
        self.looks(CHECKS_UNTIL_KILLED)
        self.assertEqual((first.told, second.told), ([(1,)], ["kill"]))

    def test_one_that_starts(self) -> None:
        """It has more time."""
        process = self.again(self.serving()[1])
        process.answers = False
        self.looks(CHECKS_UNTIL_KILLED_AT_START - 1)
        self.assertEqual((process.told, self.supervisor.silent_now()), ([], []))
        self.looks(1)
        self.assertEqual(process.told, ["kill"])

    def test_one_that_starts_slowly(self) -> None:
        """It accepts clients as soon as it says so, and there is nothing to tell."""
        process = self.again(self.serving()[1])
        process.answers = False
        self.looks(CHECKS_UNTIL_KILLED)
        process.serve()
        self.assertEqual((self.metrics.workers, len(self.supervisor.serving_now())), (3, 3))
        process.answers = True
        self.looks(1)
        self.assertEqual([event for event in self.events if "answer" in formatEvent(event)], [])

    def test_one_that_never_came_up(self) -> None:
        """That is the end of all, with a line that says why."""
        self.supervisor.start()
        self.spawned[0].serve()
        self.spawned[2].serve()
        self.spawned[1].answers = False
        self.looks(CHECKS_UNTIL_KILLED_AT_START)
        self.spawned[1].end()
        seconds = CHECKS_UNTIL_KILLED_AT_START * ALIVE_CHECK_EVERY
        self.assertEqual(self.given_up, [f"worker 2 was killed because it had not answered for {seconds:g} s"])

    def test_nobody_looks_after_a_stop(self) -> None:
        """The stop has a bound of its own."""
        processes = self.serving()
        for process in processes:
            process.answers = False
        self.looks(CHECKS_UNTIL_KILLED - 1)
        stopped = self.supervisor.stop()
        self.looks(3)
        for process in processes:
            self.assertEqual(process.told[-1], "terminate")
            process.end()
        self.successResultOf(stopped)
        self.assertEqual((self.clock.getDelayedCalls(), self.metrics.hangs), ([], 0))


class StopTests(SupervisorCase):
    """All workers end within bounded time."""

    def test_all_are_asked(self) -> None:
        processes = self.serving()
        stopped = self.supervisor.stop()
        self.assertTrue(self.supervisor.is_stopping)
        for process in processes:
            self.assertEqual(process.told, ["terminate"])
            self.assertNoResult(stopped)
            process.stop_accepting()
            process.end("ended with status 0")
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((len(self.spawned), self.given_up, self.metrics.restarts), (3, [], 0))

    def test_all_drain(self) -> None:
        """None of them is missing."""
        for process in self.serving():
            self.supervisor.stop()
            process.stop_accepting()
        self.assertEqual((self.metrics.workers, self.metrics.draining), (0, 3))

    def test_while_they_start(self) -> None:
        self.supervisor.start()
        self.spawned[0].serve()
        stopped = self.supervisor.stop()
        self.assertEqual([process.told for process in self.spawned], [["terminate"]] * 3)
        self.spawned[1].serve()  # it was just about to
        for process in self.spawned:
            process.end()
        self.successResultOf(stopped)
        self.assertEqual(self.given_up, [])

    def test_before_they_start(self) -> None:
        self.successResultOf(self.supervisor.stop())
        self.supervisor.start()
        self.assertEqual(self.spawned, [])

    def test_while_one_waits(self) -> None:
        first, second, third = self.serving()
        first.end()
        stopped = self.supervisor.stop()
        second.end()
        third.end()
        self.successResultOf(stopped)
        self.clock.advance(100)
        self.assertEqual(len(self.spawned), 3)

    def test_one_that_dies_meanwhile(self) -> None:
        """It is neither restarted nor covered for."""
        first, second, third = self.serving()
        stopped = self.supervisor.stop()
        first.end("ended by SIGSEGV")
        self.assertEqual((second.told, third.told), (["terminate"], ["terminate"]))
        second.end()
        third.end()
        self.successResultOf(stopped)
        self.assertEqual((len(self.spawned), self.clock.getDelayedCalls()), (3, []))

    def test_one_that_does_not_end(self) -> None:
        first, second, third = self.serving()
        stopped = self.supervisor.stop()
        first.end()
        self.clock.advance(self.supervisor.drain + END_PATIENCE + 0.1)
        self.assertEqual((second.told, third.told), (["terminate", "kill"], ["terminate", "kill"]))
        second.end()
        third.end()
        self.successResultOf(stopped)


class RollingRestartTests(SupervisorCase):
    """A rolling restart."""

    def lines(self) -> list[str]:
        """Return the lines of the log."""
        return [str(formatEvent(event)) for event in self.events]

    def replaced(self, process: Process) -> Process:
        """End a process that was told to leave; return the new one, which serves."""
        self.assertIn("leave", process.told)
        process.stop_accepting()
        process.end("ended with status 0")
        new = self.spawned[-1]
        self.assertEqual(new.number, process.number)
        new.serve()
        return new

    def test_one_after_the_other(self) -> None:
        first = self.serving()
        self.supervisor.restart_all()
        for process in first:
            self.assertEqual(
                [each.told.count("leave") for each in first[process.number + 1 :]], [0] * (2 - process.number)
            )
            self.replaced(process)
        self.assertEqual(len(self.spawned), 6)
        self.assertEqual(self.lines()[-1], "the rolling restart is complete")
        self.assertEqual((self.metrics.restarts, self.metrics.workers), (0, 3))
        self.supervisor.restart_all()
        self.assertEqual(self.spawned[3].told[-1], "leave")

    def test_missing_on_purpose(self) -> None:
        """A worker that is replaced counts as draining until the new one serves; one that dies does not."""
        first, second, _ = self.serving()
        self.supervisor.restart_all()
        self.assertEqual((self.metrics.workers, self.metrics.draining), (3, 0))
        first.stop_accepting()
        self.assertEqual((self.metrics.workers, self.metrics.draining), (2, 1))
        second.end()
        self.assertEqual((self.metrics.workers, self.metrics.draining), (1, 1))
        first.end()
        self.assertEqual((self.metrics.workers, self.metrics.draining), (1, 1))
        self.spawned[-1].serve()
        self.assertEqual((self.metrics.workers, self.metrics.draining), (2, 0))

    def test_new_worker_that_fails_is_missing(self) -> None:
        first, _, _ = self.serving()
        self.supervisor.restart_all()
        first.end()
        self.assertEqual((self.metrics.workers, self.metrics.draining), (2, 1))
        self.spawned[-1].end()
        self.assertEqual((self.metrics.workers, self.metrics.draining), (2, 0))

    def test_others_cover(self) -> None:
        first, second, third = self.serving()
        self.supervisor.restart_all()
        first.stop_accepting()
        self.assertEqual((second.told, third.told), ([(0,)], []))

    def test_waits_for_readiness(self) -> None:
        """The next worker goes on until the new one has reached its source, even if that takes long."""
        first, second, _ = self.serving()
        self.supervisor.restart_all()
        first.end()
        new = self.spawned[-1]
        new.reasons = ["the event source was not reached yet"]
        new.serve()
        self.clock.pump([1] * 5)
        self.assertNotIn("leave", second.told)
        new.answers = False
        self.clock.advance(1)
        new.answers, new.reasons = True, []
        self.clock.advance(1)
        self.assertIn("leave", second.told)

    def test_waits_for_others(self) -> None:
        """While another worker is down or silent, none is told to leave."""
        first, second, third = self.serving()
        third.end()
        self.supervisor.restart_all()
        self.assertNotIn("leave", first.told)
        self.clock.advance(FIRST_PAUSE)
        self.spawned[-1].serve()
        self.assertIn("leave", first.told)
        second.answers = False
        self.clock.pump([ALIVE_CHECK_EVERY] * (CHECKS_UNTIL_COVERED + 1))
        self.replaced(first)
        self.assertNotIn("leave", second.told)
        second.answers = True
        self.clock.advance(ALIVE_CHECK_EVERY)
        self.assertIn("leave", second.told)

    def test_one_that_takes_too_long(self) -> None:
        first, second, _ = self.serving()
        self.supervisor.drain = 20.0
        self.supervisor.restart_all()
        first.stop_accepting()
        self.clock.advance(20 + END_PATIENCE - 1)
        self.assertNotIn("kill", first.told)
        self.clock.advance(1)
        self.assertIn("kill", first.told)
        first.end()
        self.spawned[-1].serve()
        self.assertIn("leave", second.told)
        self.assertNotIn("kill", second.told)

    def test_new_worker_that_fails(self) -> None:
        """The others are not replaced; the failed one is started again as after any other end."""
        first, second, third = self.serving()
        self.supervisor.restart_all()
        first.end()
        self.spawned[-1].end("ended with status 1: airyd: no")
        self.assertIn("the rolling restart ends here, because the new worker 1 ended with status 1", self.lines()[-2])
        self.clock.advance(FIRST_PAUSE)
        self.spawned[-1].serve()
        self.clock.advance(1)
        self.assertNotIn("leave", second.told + third.told)
        self.supervisor.restart_all()
        self.assertIn("leave", self.spawned[-1].told)

    def test_not_twice_and_not_while_it_starts_or_stops(self) -> None:
        self.supervisor.start()
        self.supervisor.restart_all()
        for process in self.spawned:
            process.serve()
        first = self.spawned[0]
        self.assertEqual(first.told, [])
        self.supervisor.restart_all()
        self.supervisor.restart_all()
        self.assertEqual(first.told, ["leave"])
        stopped = self.supervisor.stop()
        self.supervisor.restart_all()
        for process in list(self.spawned):
            process.end()
        self.successResultOf(stopped)
        self.assertEqual(len(self.spawned), 3)
        self.assertEqual(
            [line for line in self.lines() if line.startswith("no ")],
            [
                "no rolling restart: airyd is starting or stopping",
                "no second rolling restart: one is running",
                "no rolling restart: airyd is starting or stopping",
            ],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

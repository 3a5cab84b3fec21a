"""A thousand TCP connections to one daemon: every client gets every event, once and in order."""

from __future__ import annotations

import resource
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.case import DaemonTestCase
from tests.integration.payloads import MESSAGE, body
from tests.integration.swarm import Member, State, Swarm, faults
from tests.integration.wire import TEXT, encode

#: A thousand; fewer if the limit of open files is low, because the process needs some for other things.
CLIENTS = min(1000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200)
#: One client in so many disconnects and comes back.
RESTLESS = 5
EVENTS = 200


class ThousandTests(DaemonTestCase):
    """All clients get two hundred events in bursts of random size."""

    options = ("--auth=anonymous:send",)

    def setUp(self) -> None:
        """Start a daemon, and let all clients subscribe."""
        self.daemon = self.own_daemon(*self.options)
        self.swarm = Swarm(self.daemon.port, MESSAGE, CLIENTS)
        self.addCleanup(self.swarm.close)
        self.publisher = self.connect()
        self.swarm.open(*self.swarm.members)
        self.swarm.until(lambda member: member.state is State.LIVE, "live")

    def bursts(self, random: Random) -> list[range]:
        """Return the events' numbers, cut into bursts of 1 to 4."""
        cuts, at = [], 0
        while at < EVENTS:
            size = min(random.randint(1, 4), EVENTS - at)
            cuts.append(range(at, at + size))
            at += size
        return cuts

    def publish(self, numbers: range, witness: Member) -> None:
        """Publish these events in one WebSocket message; take turns until one client has them."""
        sends = [encode("SEND", {"destination": MESSAGE}, body(MESSAGE, n)) for n in numbers]
        self.publisher.send_frame(TEXT, b"".join(sends))
        self.swarm.until(lambda member: len(member.received) >= numbers.stop, "up to date", [witness])

    def check(self) -> None:
        """Wait until all clients have all events, disconnect them, and check their events."""
        self.swarm.until(lambda member: len(member.received) >= EVENTS, "complete")
        for member in self.swarm.members:
            member.leave()
        self.swarm.until(lambda member: member.state is State.AWAY, "gone")
        wrong = {
            n: found for n, m in enumerate(self.swarm.members) if (found := [*m.wrong, *faults(m.received, EVENTS)])
        }
        self.assertEqual(wrong, {})
        self.publisher.disconnect()
        self.daemon.wait_for_metrics(
            connections=0, sessions=0, subscriptions=0, buffered_clients=0, events_received_total=EVENTS
        )

    def test_plain(self) -> None:
        random = Random(1)
        for numbers in self.bursts(random):
            self.publish(numbers, random.choice(self.swarm.members))
        self.check()
        self.daemon.wait_for_metrics(deliveries_total=CLIENTS * EVENTS, events_replayed_total=0)

    def test_while_some_come_and_go(self) -> None:
        """Every fifth client repeatedly disconnects, with DISCONNECT or by a reset, comes back and resumes."""
        random = Random(2)
        restless = self.swarm.members[::RESTLESS]
        steady = self.swarm.members[1::RESTLESS]
        for number, numbers in enumerate(self.bursts(random)):
            for member in restless[number % 5 :: 5]:
                self.stir(member, random)
            self.publish(numbers, random.choice(steady))
            # All are past the handshake before the next step, so that each disconnects several times.
            self.swarm.until(
                lambda member: member.state not in (State.WAITING, State.UPGRADING),
                "past their opening handshake",
                restless[(number + 1) % 5 :: 5],
            )
        self.swarm.until(self.comes_back, "back")
        self.check()
        self.assertGreater(min(member.resumes for member in restless), 2)

    def test_restart(self) -> None:
        """On SIGTERM all clients get the events published before, and close 1012."""
        self.publish(range(5), self.swarm.members[0])
        self.daemon.terminate()
        self.swarm.until(lambda member: member.state is State.AWAY, "gone", patient=True)
        self.assertEqual({member.close_code for member in self.swarm.members}, {1012})
        self.assertEqual([m.received for m in self.swarm.members], [list(range(5))] * CLIENTS)
        self.assertEqual(self.publisher.close_code(), 1012)
        self.assertEqual(self.daemon.wait(), 0)

    def stir(self, member: Member, random: Random) -> None:
        """Let a member connect, disconnect or vanish, depending on its state."""
        if member.state is State.AWAY:
            self.swarm.open(member)
        elif member.state is not State.LEAVING and random.random() < 0.5:
            member.leave()
        else:
            self.swarm.vanish(member)

    def comes_back(self, member: Member) -> bool:
        """Return whether a member is live; if it is disconnected, let it connect."""
        if member.state is State.AWAY:
            self.swarm.open(member)
        return member.state is State.LIVE


class FaultsTests(SynchronousTestCase):
    """The check names each planted fault."""

    def test_none(self) -> None:
        self.assertEqual(faults(range(200), 200), [])

    def test_drop(self) -> None:
        for dropped in [0, 77, 199]:
            received = [n for n in range(200) if n != dropped]
            self.assertEqual(faults(received, 200), [f"missing: [{dropped}]"])

    def test_duplicate(self) -> None:
        self.assertEqual(faults([0, 1, 1, 2], 3), ["repeated: [1]"])
        self.assertEqual(faults([0, 1, 2, 1], 3), ["repeated: [1]", "out of order: [(2, 1)]"])

    def test_reorder(self) -> None:
        self.assertEqual(faults([0, 2, 1, 3], 4), ["out of order: [(2, 1)]"])

    def test_unknown(self) -> None:
        self.assertEqual(faults([0, 1, 2], 2), ["unknown: [2]"])

    def test_nothing(self) -> None:
        self.assertEqual(faults([], 2), ["missing: [0, 1]"])

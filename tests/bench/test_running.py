"""Small runs of the benchmark programs on one core: each starts, and finds its figures. None of them says how fast."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
from twisted.trial.unittest import SynchronousTestCase

from airyd.client.client import Client
from bench import counted, nodes, promises
from bench.beats import MEASURED, SPREAD, simulate
from bench.check import PROMISES
from bench.clients import PATIENCE, Reader, Subscriber, connected, frame, opening, sent, subscribed, until
from bench.connecting import intake
from bench.counted import FLOOR, Counted
from bench.crowd import Crowd
from bench.fanouts import python_clients
from bench.filtered import Filtered
from bench.instructions import kept
from bench.intake import Intake
from bench.logins import LOGIN, airy_token, bad_token, logins
from bench.nodes import Shape
from bench.scenarios import AIRYD, AUTOBAHN, CPU, QUICK, WIRE, Contender, Scenario, Size
from bench.servers import ROOT, Server, ServerFailed, running, server_for

_PAUSE = """
import gc
from bench.pauses import Watch
gc.disable()
everything = [[] for _ in range(200_000)]
gc.callbacks.append(Watch())
gc.collect()
"""


def server_of(contender: Contender) -> Server:
    """Return the server of a contender that needs no load generator."""
    server = server_for(contender, None)
    assert server is not None
    return server


class InProcessTests(SynchronousTestCase):
    """What needs no server."""

    def test_beats(self) -> None:
        _, beats = simulate(20, Client.heard)
        self.assertEqual(list(beats), list(range(SPREAD, SPREAD + MEASURED)))
        self.assertRaises(SystemExit, simulate, 2, lambda client: None)

    def test_each_counted_piece_has_a_limit(self) -> None:
        for name, small in (("MEMBERS", 3), ("TURNS", 2), ("BURST", 2), ("BURSTS", 2), ("CONNECTIONS", 2)):
            self.patch(counted, name, small)
        self.addCleanup(gc.unfreeze)
        crowd = counted.Crowd()
        self.addCleanup(crowd.close)
        run = Counted(crowd)
        run.all()
        self.assertEqual(set(run.pieces), {FLOOR} | {name.replace("16 events", "2 events") for name in kept()})


@pytest.mark.integration
class ServerTests(SynchronousTestCase):
    """Drivers and clients in Python."""

    def setUp(self) -> None:
        """Take one core for all."""
        self.core = min(os.sched_getaffinity(0))

    def test_crowd(self) -> None:
        crowd = Crowd(self.core, self.core, 0.3)
        scenario = Scenario("some", "", "crowd", python_clients().figures, (), ("20", "4"))
        for name in (AIRYD, AUTOBAHN):
            contender = Contender(name, name, load=("0",))
            measured = crowd.measure(scenario, contender, server_of(contender))
            self.assertEqual(measured.faults, ())
            self.assertIn(CPU, measured.values)
            self.assertGreater(measured.values[WIRE], 300)
        contender = Contender(AUTOBAHN, AUTOBAHN, load=("100",))
        measured = crowd.measure(scenario, contender, server_of(contender))
        self.assertEqual(measured.faults, ("permessage-deflate was offered, but not accepted",))

    def test_intake(self) -> None:
        scenario = intake(Size(intake=2500, intake_to_many=100))
        for contender in scenario.contenders:
            measured = Intake(self.core, self.core).measure(scenario, contender, server_of(contender))
            self.assertEqual(measured.faults, (), contender.name)
            for figure in scenario.figures:
                self.assertIsNotNone(measured.value(figure))

    def test_filtered(self) -> None:
        scenario = next(each for each in logins(QUICK) if each.name == "filtered")
        driver = Filtered(self.core, self.core, 0.2)
        for contender in scenario.contenders:
            measured = driver.measure(replace(scenario, load=("20",)), contender, server_of(contender))
            self.assertEqual(measured.faults, (), contender.name)
            self.assertIn(CPU, measured.values)

    def test_bad_tokens(self) -> None:
        """The good one lets in, the bad one does not."""
        with running(server_of(Contender(AIRYD, AIRYD, LOGIN)), self.core) as target:
            connected(target.port, target.path, token=airy_token()).close()
            with socket.create_connection(("127.0.0.1", target.port), timeout=PATIENCE) as client:
                login = frame("CONNECT", {"accept-version": "1.2", "Authorization": f"Bearer {bad_token()}"})
                client.sendall(opening(target.port, target.path) + login)
                self.assertIn(b"message:401 ", until(client, b"\0"))

    def test_a_subscriber_comes_back(self) -> None:
        body = b'{"conversation_id":"c","message":{"id":"m","content":"hello"}}'
        with running(server_of(Contender(AIRYD, AIRYD)), self.core) as target:
            first = subscribed(target.port, target.path)
            publisher = connected(target.port, target.path)
            publisher.sendall(sent(body))
            self.assert_gets(first, body)
            self.assert_gets(subscribed(target.port, target.path, name="again", after=first.position), body)
            publisher.close()

    def assert_gets(self, subscriber: Subscriber, body: bytes) -> None:
        """This comes next; then the subscriber goes."""
        ((message,), _) = Reader(subscriber).read(1)
        self.assertTrue(message.endswith(b"\n\n" + body + b"\0"), message)
        subscriber.socket.close()

    def test_nodes(self) -> None:
        costs = nodes.measure(Shape(redis=2, nodes=1, subscribers=2), events=60, rate=1000)
        self.assertEqual(len(costs.redis), 2)
        self.patch(nodes, "PATIENCE", 0.5)
        self.patch(nodes, "_publish", lambda connections, events, rate: None)
        error = self.assertRaises(ServerFailed, nodes.measure, Shape(1, 1, 1), 10, 1000)
        self.assertEqual(str(error), "0 deliveries instead of 10")

    def test_pauses(self) -> None:
        done = subprocess.run([sys.executable, "-c", _PAUSE], cwd=ROOT, capture_output=True, text=True, check=True)
        self.assertRegex(done.stderr.splitlines()[0], r"\Aa collection took [0-9.]+ ms\Z")

    def test_promises(self) -> None:
        self.patch(promises, "BOMBS", 1)
        self.patch(promises, "REVOKED", 1)
        for promise in PROMISES:
            self.assertGreaterEqual(promise.measure(), 0, promise.title)

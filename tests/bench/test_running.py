"""Small runs of the benchmark programs on one core: each starts, and finds its figures. None of them says how fast."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

import bench.private
from airyd.client.client import Client
from bench import counted, hundred_thousand, nodes, private_null, promises
from bench.beats import MEASURED, SPREAD, simulate
from bench.check import PROMISES
from bench.clients import PATIENCE, ClientFailed, Reader, Subscriber, connected, frame, opening, sent, subscribed, until
from bench.connecting import intake
from bench.counted import FLOOR, Counted
from bench.crowd import Crowd
from bench.fanouts import python_clients
from bench.filtered import Filtered
from bench.hundred_thousand import HundredThousand
from bench.instructions import kept
from bench.intake import Intake
from bench.logins import LOGIN, airy_token, bad_token, logins
from bench.measure import Driver, Wsload
from bench.nodes import Shape
from bench.private import ClosedLoop, Private, PrivateIdle
from bench.private_load import Clients, PrivateClients
from bench.private_scenarios import private, private_streams
from bench.private_streams import private_body, user
from bench.scenarios import AIRYD, AUTOBAHN, CPU, MEMORY, QUICK, WIRE, Contender, Scenario, Size
from bench.servers import ROOT, Server, ServerFailed, running, server_for
from bench.tls import TlsFanout, TlsHandshakes, TlsIdle
from bench.tls_scenarios import tls

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

    def test_private_null(self) -> None:
        """Each kind brings its figures; an event that a client did not get, or got of another, is noticed."""
        self.addCleanup(gc.unfreeze)
        self.patch(private_null, "UNFILTERED", 3)
        known = {figure.key for scenario in private_streams(QUICK) for figure in scenario.figures}
        for name, kind in private_null.KINDS.items():
            self.assertLessEqual(set(kind(0.001, 20)), known, name)
        population = private_null.Population(2)
        population.publish(1)
        self.assertRaises(SystemExit, population.check)  # the answers to CONNECT count, too
        population.freeze()
        population.publish(0)
        population.check()

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

    def test_tls(self) -> None:
        """Every way with TLS, of airyd and of the proxies."""
        known = {scenario.name: scenario for scenario in tls()}
        driver: Driver
        for name, driver, load, ways in (
            ("tls-saturated", TlsFanout(self.core, self.core, 0.2), ("20", "2"), slice(None)),
            ("tls-handshakes-resumed", TlsHandshakes(self.core, self.core), ("20",), slice(None)),
            ("tls-idle", TlsIdle(self.core, self.core), ("20",), slice(-1, None)),
        ):
            scenario = replace(known[name], load=load)
            for contender in scenario.contenders[ways]:
                measured = driver.measure(scenario, contender, server_of(contender))
                self.assertEqual(measured.faults, (), contender)
                for figure in scenario.figures:
                    self.assertIsNotNone(measured.value(figure), figure)

    def test_private(self) -> None:
        """Each client gets its own events."""
        scenario = private(QUICK)
        driver = Private(Wsload(Path("unused"), self.core, self.core), 0.2)
        for contender in scenario.contenders[:2]:
            measured = driver.measure(replace(scenario, load=("20",)), contender, server_of(contender))
            self.assertEqual(measured.faults, ())
            self.assertIn(CPU, measured.values)

    def test_a_private_event_of_another(self) -> None:
        """It is noticed, and so is a missing one."""
        with running(server_of(Contender(AIRYD, AIRYD, LOGIN)), self.core) as target:
            unfiltered = PrivateClients(target.port, target.path, Clients(0, 2, 1, is_filtered=False))
            self.addCleanup(unfiltered.close)
            publisher = connected(target.port, target.path)
            self.addCleanup(publisher.close)
            publisher.sendall(sent(private_body(user(1), 0)))
            self.assertRaises(ClientFailed, unfiltered.idle, PATIENCE)
            filtered = PrivateClients(target.port, target.path, Clients(0, 1, 1))
            self.addCleanup(filtered.close)
            self.patch(bench.private, "PATIENCE", 0.2)
            loop = ClosedLoop(filtered, lambda frames: None, 1)
            self.assertRaises(ClientFailed, loop.run, 0.1)
            self.assertRaises(ClientFailed, loop.check)

    def test_private_idle(self) -> None:
        scenario = next(each for each in private_streams(QUICK) if each.name == "private-idle")
        contender = scenario.contenders[0]
        driver = PrivateIdle(self.core, self.core, 0.1)
        measured = driver.measure(replace(scenario, load=("20",)), contender, server_of(contender))
        self.assertEqual(measured.faults, ())
        self.assertIn(MEMORY, measured.values)

    def test_hundred_thousand(self) -> None:
        """All figures come, from clients in two processes at two workers."""
        scenario = next(each for each in private_streams(QUICK) if each.name == "hundred-thousand")
        options = scenario.contenders[0].options
        contender = Contender(AIRYD, AIRYD, (*options[: options.index("--workers")], "--workers", "2"))
        for name, small in (("_MOST", 20), ("_SETTLING", 0.1), ("_RESTING", 0.1), ("_FOR_ALL", 2)):
            self.patch(hundred_thousand, name, small)
        self.patch(hundred_thousand, "_PRIVATE_SECONDS", 0.2)
        driver = HundredThousand(self.core, self.core)
        measured = driver.measure(replace(scenario, load=("40", "100")), contender, server_of(contender))
        self.assertEqual(measured.faults, ())
        for figure in scenario.figures:
            self.assertIsNotNone(measured.value(figure), figure.key)
        self.patch(hundred_thousand, "_ARRIVING", 0.5)
        self.patch(hundred_thousand, "_publish", lambda publisher, bodies: None)
        measured = driver.measure(replace(scenario, load=("20", "100")), contender, server_of(contender))
        self.assertEqual(measured.faults, ("20 of 20 events missing after 0 s",))

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
        costs = nodes.measure(Shape(redis=2, processes=1, subscribers=2, rate=600.0), seconds=0.1)
        self.assertEqual(len(costs.redis), 2)
        self.patch(nodes, "PATIENCE", 0.5)
        self.patch(nodes, "_publish", lambda connections, rate, seconds: 10)
        error = self.assertRaises(ServerFailed, nodes.measure, Shape(1, 1, 1, 100.0), 0.1)
        self.assertEqual(str(error), "0 deliveries instead of 10")

    def test_pauses(self) -> None:
        done = subprocess.run([sys.executable, "-c", _PAUSE], cwd=ROOT, capture_output=True, text=True, check=True)
        self.assertRegex(done.stderr.splitlines()[0], r"\Aa collection took [0-9.]+ ms\Z")

    def test_promises(self) -> None:
        self.patch(promises, "BOMBS", 1)
        self.patch(promises, "REVOKED", 1)
        for promise in PROMISES:
            self.assertGreaterEqual(promise.measure(), 0, promise.title)

"""The poller of clients' sockets, and the acceptor: with real sockets, and a reactor that the test plays."""

from __future__ import annotations

import select
import socket
import struct
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from airyd.websocket.accepting import ACCEPTED_PER_TURN, Acceptor
from airyd.websocket.poller import EVENTS_PER_TURN, ConnectionPoller
from airyd.websocket.transport import DirectServer
from tests.patience import PATIENCE


class Recorder(Protocol):
    """Keeps what comes.

    :ivar ends: a connection that each read ends
    :ivar failing: raised for each read
    :ivar got: the bytes that came
    :ivar lost: why the connection ended
    """

    def __init__(self) -> None:
        self.ends: Recorder | None = None
        self.failing: Exception | None = None
        self.got = b""
        self.lost: BaseException | None = None

    def dataReceived(self, data: bytes) -> None:
        """See ``IProtocol``."""
        if self.failing is not None:
            raise self.failing
        if self.ends is not None:
            cast(Any, self.ends.transport).connectionLost(Failure(CONNECTION_LOST))
        self.got += data

    def connectionLost(self, reason: Failure = Failure(CONNECTION_LOST)) -> None:  # noqa: B008  # as Twisted has it
        """See ``IProtocol``."""
        assert self.lost is None
        self.lost = reason.value


class PollerTestCase(SynchronousTestCase):
    """A listening socket, and a poller."""

    def setUp(self) -> None:
        """Listen."""
        self.reactor = MemoryReactorClock()
        self.poller = ConnectionPoller(self.reactor)
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.addCleanup(self.listening.close)
        self.addCleanup(self.poller.connectionLost, Failure(CONNECTION_LOST))

    def connect(self) -> socket.socket:
        """Return a client's socket."""
        client = socket.create_connection(self.listening.getsockname(), PATIENCE)
        self.addCleanup(client.close)
        return client

    def reach(self) -> tuple[Recorder, socket.socket]:
        """Return the protocol of a new connection, and its client's socket."""
        client = self.connect()
        accepted, address = self.listening.accept()
        protocol = Recorder()
        transport = DirectServer(accepted, protocol, address, cast(Any, None), 0, cast(Any, self.poller))
        protocol.makeConnection(transport)
        return protocol, client

    def turn(self) -> None:
        """Let the reactor call the poller, as soon as it is readable."""
        waiting = select.poll()
        waiting.register(self.poller.fileno(), select.POLLIN)
        self.assertTrue(waiting.poll(PATIENCE * 1000), "no event came")
        self.poller.doRead()


class PollerTests(PollerTestCase):
    """What the poller does in the reactor's place."""

    def test_reads(self) -> None:
        protocol, client = self.reach()
        client.sendall(b"abc")
        self.turn()
        self.assertEqual(protocol.got, b"abc")
        cast(Any, protocol.transport).pauseProducing()
        client.sendall(b"def")
        other, its_client = self.reach()
        its_client.sendall(b"x")
        self.turn()
        self.assertEqual((protocol.got, other.got), (b"abc", b"x"))
        cast(Any, protocol.transport).resumeProducing()
        self.turn()
        self.assertEqual(protocol.got, b"abcdef")

    def test_writes(self) -> None:
        """Queued bytes are sent when there is room, and the end comes behind them."""
        protocol, client = self.reach()
        transport = cast(Any, protocol.transport)
        data = b"x" * (8 << 20)
        transport.write(data)
        transport.loseConnection()
        got = 0
        while protocol.lost is None:
            self.turn()
            client.settimeout(0)
            try:
                while piece := client.recv(1 << 20):
                    got += len(piece)
            except BlockingIOError:
                pass
        client.settimeout(PATIENCE)
        while piece := client.recv(1 << 20):
            got += len(piece)
        self.assertEqual(got, len(data))
        self.assertIsInstance(protocol.lost, ConnectionDone)

    def test_ends(self) -> None:
        """A FIN and an RST, and the reactor hears of the poller only while there are connections."""
        self.assertNotIn(self.poller, self.reactor.readers)
        fin, its_client = self.reach()
        rst, other_client = self.reach()
        self.assertIn(self.poller, self.reactor.readers)
        its_client.close()
        self.turn()
        self.assertIsInstance(fin.lost, ConnectionDone)
        self.assertIn(self.poller, self.reactor.readers)
        other_client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        other_client.close()
        self.turn()
        self.assertIsInstance(rst.lost, ConnectionLost)
        self.assertNotIn(self.poller, self.reactor.readers)

    def test_abort(self) -> None:
        protocol, _ = self.reach()
        cast(Any, protocol.transport).abortConnection()
        self.reactor.advance(0)
        self.assertIsNotNone(protocol.lost)
        self.assertNotIn(self.poller, self.reactor.readers)

    def test_bug_in_one_connection(self) -> None:
        """It ends that connection, and is logged; others do not notice."""
        broken, its_client = self.reach()
        whole, other_client = self.reach()
        broken.failing = ZeroDivisionError()
        its_client.sendall(b"a")
        other_client.sendall(b"b")
        while not (broken.lost and whole.got):
            self.turn()
        self.assertIs(broken.lost, broken.failing)
        self.assertIsNone(whole.lost)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_one_ends_another(self) -> None:
        """An event of a connection that an earlier event of the same turn has ended is ignored."""
        first, its_client = self.reach()
        second, other_client = self.reach()
        first.ends, second.ends = second, first
        its_client.sendall(b"a")
        other_client.sendall(b"b")
        self.turn()
        self.assertEqual(sum(each.lost is None for each in (first, second)), 1)

    def test_turns(self) -> None:
        """More events than one turn handles are left for the next ones."""
        connections = [self.reach() for _ in range(EVENTS_PER_TURN + 3)]
        for _, client in connections:
            client.sendall(b"a")
        turns = []
        while (before := sum(bool(each.got) for each, _ in connections)) < len(connections):
            self.turn()
            turns.append(sum(bool(each.got) for each, _ in connections) - before)
            self.assertEqual(self.poller.is_busy, turns[-1] == EVENTS_PER_TURN)
        self.assertLessEqual(max(turns), EVENTS_PER_TURN)
        self.assertGreater(len(turns), 1)

    def test_end_of_the_reactor(self) -> None:
        connections = [self.reach() for _ in range(3)]
        self.poller.connectionLost(Failure(CONNECTION_LOST))
        self.assertTrue(all(isinstance(each.lost, ConnectionLost) for each, _ in connections))


class AcceptorTests(PollerTestCase):
    """Connections are accepted in turns."""

    def setUp(self) -> None:
        """Make a port of Twisted's that nobody but the test asks to read."""
        super().setUp()
        self.accepted: list[Recorder] = []
        self.listening.setblocking(False)
        factory = Factory.forProtocol(self.make)
        self.port = tcp.Port._fromListeningDescriptor(
            self.reactor, self.listening.fileno(), socket.AF_INET, cast(Any, factory)
        )
        self.port.startListening()
        self.addCleanup(self.port.socket.close)
        self.acceptor = Acceptor(self.port)
        self.poller = self.acceptor._poller
        self.addCleanup(self.poller.connectionLost, Failure(CONNECTION_LOST))

    def make(self) -> Recorder:
        """Return a protocol, and remember it."""
        self.accepted.append(Recorder())
        return self.accepted[-1]

    def test_some_in_each_turn(self) -> None:
        clients = [self.connect() for _ in range(ACCEPTED_PER_TURN + 3)]
        self.acceptor.accept()
        self.assertEqual(len(self.accepted), ACCEPTED_PER_TURN)
        self.acceptor.accept()
        self.assertEqual(len(self.accepted), len(clients))
        self.acceptor.accept()
        self.assertEqual(len(self.accepted), len(clients))
        clients[0].sendall(b"a")
        self.turn()
        self.assertEqual(self.accepted[0].got, b"a")
        self.assertEqual(cast(Any, self.accepted[0].transport).getPeer().port, clients[0].getsockname()[1])

    def test_those_before_come_first(self) -> None:
        """While more clients wait to be read than a turn reads, nobody is accepted, but for every second turn."""
        self.connect()
        self.poller.is_busy = True
        self.acceptor.accept()
        self.assertEqual(len(self.accepted), 0)
        self.acceptor.accept()
        self.assertEqual(len(self.accepted), 1)

    def test_errors_are_twisteds(self) -> None:
        """Twisted handles what is rare, such as too many open files."""
        calls: list[object] = []
        self.patch(tcp.Port, "doRead", calls.append)
        real, self.port.socket = self.port.socket, cast(Any, _Full())
        self.acceptor.accept()
        self.port.socket = real
        self.assertEqual(calls, [self.port])


class _Full:
    """A listening socket of a process that has no descriptor left."""

    def accept(self) -> None:
        """See ``socket``."""
        raise OSError(24, "Too many open files")

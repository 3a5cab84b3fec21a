"""``twistd airyd --workers 2`` with a real Redis: balance, killed workers, the end of all, the admin page."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import TWISTD, Daemon, command, environment
from tests.integration.payloads import MESSAGE, body, number_of
from tests.integration.raw import Ended, RawClient
from tests.patience import PATIENCE
from tests.sources.redis.certificates import Certificates
from tests.sources.redis.server import own_prefix, shared_server

_PROCESS: Final = re.compile(r"worker (\d) is process (\d+)")
_CLOSES: Final = re.compile(r"worker 1: airyd closes its connections: (\d+)")
_HANGS: Final = re.compile(r"worker 1 does not answer")
_SECURE: Final = re.compile(r"airyd serves wss://127\.0\.0\.1:(\d+)/")
#: So many that a fair distribution stays within 75/25 by ten standard deviations.
MANY: Final = 400


def workers_of(daemon: Daemon) -> list[int]:
    """Return the process ids of a daemon's workers, by number."""
    return [pid for _, pid in sorted({int(n): int(pid) for n, pid in _PROCESS.findall(daemon.log)}.items())]


def is_running(pid: int) -> bool:
    """Return whether a process is running; a zombie is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_for_end(*pids: int) -> None:
    """Wait until these processes have ended."""
    deadline = time.monotonic() + PATIENCE
    for pid in pids:
        while is_running(pid):
            if time.monotonic() > deadline:
                raise AssertionError(f"process {pid} is still running")
            time.sleep(0.02)


class WorkersCase(DaemonTestCase):
    """Starts daemons with workers and their own streams."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def workers(self, *options: str, program: str = TWISTD) -> Daemon:
        """Start a daemon with two workers and its own streams."""
        source = f"--source=redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}"
        return self.own_daemon("--workers=2", source, *options, program=program)

    def subscribed(self, daemon: Daemon, count: int) -> list[RawClient]:
        """Return clients that are subscribed."""
        clients = [self.connect(daemon=daemon) for _ in range(count)]
        for client in clients:
            client.subscribe(MESSAGE, "0")
        return clients


class BalanceTests(WorkersCase):
    """Clients are distributed, and the end of a worker does not affect the others."""

    def test_killed(self) -> None:
        """When a worker is killed, half of the clients notice nothing; the others resume at another worker."""
        daemon = self.workers()
        clients = self.subscribed(daemon, MANY)
        daemon.publish(MESSAGE, body(MESSAGE, 1))
        positions = {client: client.message().headers["message-id"] for client in clients}
        self.assertEqual(len(set(positions.values())), 1)

        killed, other = workers_of(daemon)
        os.kill(killed, signal.SIGKILL)
        wait_for_end(killed)
        daemon.publish(MESSAGE, body(MESSAGE, 2))
        lost = []
        for client in clients:
            try:
                self.assertEqual(number_of(client.message().body), 2)
            except Ended:
                lost.append(client)
        self.assertGreater(len(lost), 0.25 * MANY)
        self.assertLess(len(lost), 0.75 * MANY)

        back = [self.connect(daemon=daemon) for _ in lost]
        for client, was in zip(back, lost, strict=True):
            receipt = client.subscribe(MESSAGE, "0", last_message_id=positions[was])
            self.assertEqual(receipt.headers["recovered"], "true")
            self.assertEqual(number_of(client.message().body), 2)
        daemon.publish(MESSAGE, body(MESSAGE, 3))
        for client in [*(client for client in clients if client not in lost), *back]:
            self.assertEqual(number_of(client.message().body), 3)

        daemon.wait_for_metrics(workers=2, worker_restarts_total=1, connections=MANY)
        self.assertIn("worker 1 ended by SIGKILL; it is restarted", daemon.log)
        self.assertEqual(workers_of(daemon)[1], other)

    def test_new_clients_need_not_wait(self) -> None:
        """While a worker is down (here for good), the other accepts connections from its socket, too."""
        daemon = self.workers(
            program=f"import airyd.workers.supervisor as s; s.FIRST_PAUSE = s.LONGEST_PAUSE = 1e4; {TWISTD}"
        )
        away, _ = workers_of(daemon)
        os.kill(away, signal.SIGKILL)
        wait_for_end(away)
        self.subscribed(daemon, 20)
        daemon.wait_for_metrics(workers=1, worker_restarts_total=0, connections=20)
        self.assertEqual(daemon.request("GET", "/readyz")[0], 200)

    def test_hung(self) -> None:
        """Clients of a hung worker wait; others are served. After a while (shorter here) it is killed and replaced."""
        daemon = self.workers(program=f"import airyd.workers.supervisor as s; s.CHECKS_UNTIL_KILLED = 10; {TWISTD}")
        clients = self.subscribed(daemon, 20)
        hung, other = workers_of(daemon)
        os.kill(hung, signal.SIGSTOP)
        daemon.wait_for_log(_HANGS)
        self.assertEqual(daemon.request("GET", "/readyz")[0], 200)
        new = self.subscribed(daemon, 20)
        for number in range(4):
            daemon.publish(MESSAGE, body(MESSAGE, number))
        for client in new:
            self.assertEqual([number_of(client.message().body) for _ in range(4)], [0, 1, 2, 3])
        wait_for_end(hung)
        daemon.wait_for_metrics(workers=2, worker_hangs_total=1, worker_restarts_total=1)
        self.assertEqual(workers_of(daemon)[1], other)
        lost = 0
        for client in clients:
            try:
                client.message()
            except Ended:
                lost += 1
        self.assertGreater(lost, 0)
        self.assertLess(lost, len(clients))
        self.assertIn("worker 1 was killed because it had not answered for 10 s; it is restarted", daemon.log)

    def test_sigterm_to_one_worker(self) -> None:
        """A worker that gets SIGTERM closes its clients as on a stop, and is replaced."""
        daemon = self.workers()
        clients = self.subscribed(daemon, 30)
        leaving, other = workers_of(daemon)
        os.kill(leaving, signal.SIGTERM)
        count = int(daemon.wait_for_log(_CLOSES)[1])
        self.assertLess(count, len(clients))
        os.kill(leaving, signal.SIGSTOP)  # so that new clients are served before it has ended
        late = self.subscribed(daemon, 20)
        os.kill(leaving, signal.SIGCONT)
        gone: list[RawClient] = []
        while len(gone) < count:
            told = [client for client in clients if client not in gone and client.has_data(0.001)]
            for client in told:
                self.assertEqual(client.close_code(), 1012)
            gone += told
        wait_for_end(leaving)
        daemon.wait_for_metrics(workers=2, worker_restarts_total=1)
        self.assertEqual(workers_of(daemon)[1], other)
        self.assertIn("worker 1 ended with status 0", daemon.log)
        daemon.publish(MESSAGE, body(MESSAGE, 1))
        for client in late:
            self.assertEqual(number_of(client.message().body), 1)


class EndTests(WorkersCase):
    """No process is left after the end."""

    def test_sigterm(self) -> None:
        daemon = self.workers()
        clients = self.subscribed(daemon, 20)
        pids = workers_of(daemon)
        daemon.terminate()
        for client in clients:
            self.assertEqual(client.close_code(), 1012)
        self.assertEqual(daemon.wait(), 0)
        wait_for_end(*pids)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", daemon.port))
        self.assertIn("worker 2: airyd has stopped", daemon.log)

    def test_sigterm_to_all(self) -> None:
        """A service manager may send SIGTERM to every process at once."""
        daemon = self.workers()
        clients = self.subscribed(daemon, 10)
        pids = workers_of(daemon)
        for pid in (*pids, daemon.pid):
            os.kill(pid, signal.SIGTERM)
        for client in clients:
            self.assertEqual(client.close_code(), 1012)
        self.assertEqual(daemon.wait(), 0)
        wait_for_end(*pids)

    def test_interrupt_of_a_terminal(self) -> None:
        """Ctrl-C reaches all processes; the workers close their clients when the parent tells them to."""
        daemon = self.workers()
        client = self.connect(daemon=daemon)
        pids = workers_of(daemon)
        for pid in (*pids, daemon.pid):
            os.kill(pid, signal.SIGINT)
        self.assertEqual(client.close_code(), 1012)
        daemon.wait()
        wait_for_end(*pids)

    def test_parent_is_killed(self) -> None:
        """The workers of a killed parent close their clients and end."""
        daemon = self.workers()
        clients = self.subscribed(daemon, 20)
        pids = workers_of(daemon)
        os.kill(daemon.pid, signal.SIGKILL)
        for client in clients:
            self.assertEqual(client.close_code(), 1012)
        wait_for_end(*pids)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", daemon.port))

    def test_worker_that_can_not_start(self) -> None:
        """If a worker can't start, the whole program ends with one line and status 1."""
        with tempfile.TemporaryDirectory() as directory:
            done = subprocess.run(
                command(
                    "--workers=2",
                    "--source=redis://127.0.0.1:1/0",
                    "--listen=tcp:0:interface=127.0.0.1",
                    "--admin=none",
                    program=f"import sys; sys.executable = '/bin/false'; {TWISTD}",
                ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd=directory,
                env=environment(),
                timeout=PATIENCE,
                check=False,
            )
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        (line,) = done.stderr.strip().splitlines()
        self.assertRegex(line, r"^airyd: worker \d ended with status 1$")


class AdminTests(WorkersCase):
    """One admin page for all workers."""

    def test_sums(self) -> None:
        daemon = self.workers()
        clients = self.subscribed(daemon, 20)
        self.assertEqual(daemon.request("GET", "/healthz"), (200, b"ok"))
        for number in range(4):  # requests go to each worker in turn
            daemon.publish(MESSAGE, body(MESSAGE, number))
        for client in clients:
            self.assertEqual([number_of(client.message().body) for _ in range(4)], [0, 1, 2, 3])
        daemon.wait_for_metrics(
            workers=2,
            worker_restarts_total=0,
            connections=20,
            sessions=20,
            subscriptions=20,
            deliveries_total=80,
            events_published_total=4,
            events_received_total=8,
            source_up=1,
            build_info=1,
        )
        processes = re.findall(r'^process_open_fds\{process="(.*?)"\}', daemon.metrics(), re.MULTILINE)
        self.assertEqual(sorted(processes), ["parent", "worker-1", "worker-2"])

    def test_refusals(self) -> None:
        daemon = self.workers("--body=1000")
        for destination, content, status in (
            (MESSAGE, b"nonsense", 400),
            (MESSAGE, b"\xff", 400),
            (MESSAGE, b"x" * 1001, 413),
            ("/queue/nothing", b"{}", 404),
        ):
            self.assertEqual(daemon.post(destination, content)[0], status)

    def test_large_body(self) -> None:
        """A body that is larger than a pipe's buffer reaches the worker complete."""
        daemon = self.workers()
        (client,) = self.subscribed(daemon, 1)
        content = body(MESSAGE, 1, "x" * 250_000)
        daemon.publish(MESSAGE, content)
        self.assertEqual(client.message().body, content)


class KindTests(WorkersCase):
    """Other endpoints, other reactors."""

    def test_tls(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        files = Certificates(Path(directory.name))
        daemon = self.workers(
            f"--listen=ssl:0:interface=127.0.0.1:privateKey={files.server_key}:certKey={files.server}"
        )
        port = int(daemon.wait_for_log(_SECURE)[1])
        context = ssl.create_default_context(cafile=files.ca)
        for _ in range(10):
            plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                request = RawClient(daemon.port)
                self.addCleanup(request.abort)
                secure.sendall(request.request.replace(str(daemon.port).encode(), str(port).encode()))
                self.assertTrue(secure.recv(100).startswith(b"HTTP/1.1 101 "))

    def test_reactor(self) -> None:
        """The workers use the parent's reactor."""
        daemon = self.workers(program=f"from twisted.internet import pollreactor; pollreactor.install(); {TWISTD}")
        clients = self.subscribed(daemon, 10)
        daemon.publish(MESSAGE, body(MESSAGE, 1))
        for client in clients:
            self.assertEqual(number_of(client.message().body), 1)
        for pid in workers_of(daemon):
            kinds = {os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()}
            self.assertNotIn("anon_inode:[eventpoll]", kinds)

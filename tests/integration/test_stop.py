"""SIGTERM, a restart, and a port that is in use."""

from __future__ import annotations

import signal
import socket
import subprocess

from tests.integration.case import DaemonTestCase
from tests.integration.daemon import TWISTD, command, environment
from tests.integration.payloads import MESSAGE, body, number_of
from tests.leaks import leaks
from tests.patience import PATIENCE


class StopTests(DaemonTestCase):
    """Daemons that are stopped."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def test_everybody_gets_1012(self) -> None:
        daemon = self.own_daemon("--auth=anonymous:send")
        clients = [self.connect(daemon=daemon) for _ in range(20)]
        for client in clients[:10]:
            client.subscribe(MESSAGE, "0")
        idle = self.open(daemon)
        daemon.publish(MESSAGE, body(MESSAGE, 1))
        daemon.terminate()
        for client in clients[:10]:
            self.assertEqual(number_of(client.message().body), 1)
        for client in [*clients, idle]:
            self.assertEqual(client.close_code(), 1012)
        self.assertEqual(daemon.wait(), 0)
        with self.assertRaises(ConnectionRefusedError):
            self.open(daemon)

    def test_clients_that_do_not_answer(self) -> None:
        """Clients that ignore the close, or read nothing, do not delay the end."""
        daemon = self.own_daemon("--auth=anonymous:send")
        silent = self.connect(daemon=daemon)
        stuck = self.connect(daemon=daemon, receive_buffer=4096)
        stuck.subscribe(MESSAGE, "0")
        for n in range(20):
            daemon.publish(MESSAGE, body(MESSAGE, n, "x" * 100_000))
        half_open = socket.create_connection(("127.0.0.1", daemon.port))
        self.addCleanup(half_open.close)
        self.assertEqual(daemon.stop(), 0)
        silent.abort()

    def test_twice(self) -> None:
        """A second SIGTERM changes nothing."""
        daemon = self.own_daemon()
        client = self.connect(daemon=daemon)
        daemon.terminate()
        daemon.terminate()
        self.assertEqual(client.close_code(), 1012)
        self.assertEqual(daemon.wait(), 0)

    def test_signals_at_the_very_end(self) -> None:
        """SIGHUP and SIGUSR2 while the interpreter ends do not change the exit status."""
        for number in (signal.SIGHUP, signal.SIGUSR2):
            late = f"__del__ = lambda self, kill=os.kill, me=os.getpid(): kill(me, {int(number)})"
            program = f"import os, sys\nclass Late:\n    {late}\nsys.late = Late()\n{TWISTD}"
            self.assertEqual(self.own_daemon(program=program).stop(), 0)

    def test_restart_on_the_same_port(self) -> None:
        """After a restart an old id is unknown, not confused with a new one: ``recovered:false``."""
        daemon = self.own_daemon()
        client = self.connect(daemon=daemon)
        client.subscribe(MESSAGE, "0")
        daemon.publish(MESSAGE, body(MESSAGE, 1))
        wire_id = client.message().headers["message-id"]
        daemon.terminate()
        self.assertEqual(client.close_code(), 1012)
        self.assertEqual(daemon.wait(), 0)
        again = self.own_daemon(port=daemon.port)
        self.assertEqual(again.port, daemon.port)
        for _ in range(3):
            again.publish(MESSAGE, body(MESSAGE, 2))
        client = self.connect(daemon=again)
        self.assertEqual(client.subscribe(MESSAGE, "0", last_message_id=wire_id).headers["recovered"], "false")
        again.publish(MESSAGE, body(MESSAGE, 3))
        self.assertEqual(number_of(client.message().body), 3)

    def test_port_in_use(self) -> None:
        """The process ends, and the error names the port."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        port = taken.getsockname()[1]
        for options in [
            (f"--listen=tcp:{port}:interface=127.0.0.1", "--admin=none"),
            ("--listen=tcp:0:interface=127.0.0.1", f"--admin=tcp:{port}:interface=127.0.0.1"),
        ]:
            done = subprocess.run(
                command(*options),
                capture_output=True,
                text=True,
                env=environment(),
                cwd="/",
                timeout=PATIENCE,
                check=False,
            )
            said = done.stdout + done.stderr
            self.assertNotEqual(done.returncode, 0, said)
            self.assertIn(str(port), said)
            self.assertNotIn("Traceback", said)
            self.assertEqual(leaks(said), [])
            self.assertNotIn("Unhandled", said)

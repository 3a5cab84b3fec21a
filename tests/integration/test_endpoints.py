"""Unusable endpoints end the real twistd with one line on standard error and status 1, without a traceback."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import COMPLAINTS, TREE, TWISTD, environment, read_until, start_twistd
from tests.patience import PATIENCE

#: Seconds in which a few programs that start together must end.
DEADLINE: Final = 4 * PATIENCE
#: An address for documentation (RFC 5737); no machine has it.
ELSEWHERE: Final = "192.0.2.1"
LOOPBACK: Final = "interface=127.0.0.1"
#: Options with which two workers start, if the endpoints are good.
WORKERS: Final = ("--workers=2", "--source=redis://127.0.0.1:1/0")
#: A Twisted plugin of some other package, with endpoints that fail in every way.
PLUGIN: Final = """
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IStreamServerEndpoint, IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface import implementer

@implementer(IStreamServerEndpoint)
class Endpoint:
    def __init__(self, reactor, how):
        self.reactor, self.how = reactor, how

    def listen(self, factory):
        if self.how == "raises":
            raise ZeroDivisionError("two\\nlines")
        if self.how == "fails":
            return fail(AttributeError("an odd one"))
        late = Deferred()
        self.reactor.callLater(0, late.errback, LookupError("too late"))
        return late

@implementer(IPlugin, IStreamServerEndpointStringParser)
class Parser:
    prefix = "odd"

    def parseStreamServer(self, reactor, how):
        if how == "refuses":
            raise ZeroDivisionError("two\\nlines")
        return Endpoint(reactor, how)

parser = Parser()
"""
#: A program that passes a socket as systemd does (sd_listen_fds(3)) and then becomes twistd.
HAND_OVER: Final = """
import os, socket
made = {make}
os.dup2(made.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="airyd")
{twistd}
"""
SERVES: Final = re.compile(r"airyd serves ws://127\.0\.0\.1:(\d+)/")
LISTENING: Final = 'socket.create_server(("127.0.0.1", 0))'


class EndpointsCase(SynchronousTestCase):
    """Starts twistd with unusable endpoints."""

    def setUp(self) -> None:
        """Make a folder, with a name short enough for the path of a socket, and occupy a port."""
        self.directory = Path(tempfile.mkdtemp(prefix="airyd-test-"))
        self.addCleanup(shutil.rmtree, self.directory)
        (self.directory / "file").touch()
        plugins = self.directory / "lib" / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "odd_endpoints.py").write_text(PLUGIN)
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        self.taken: int = taken.getsockname()[1]

    def start(self, *options: str, program: str = TWISTD) -> subprocess.Popen[str]:
        """Start twistd."""
        path = {"PYTHONPATH": f"{TREE}{os.pathsep}{self.directory / 'lib'}"}
        return start_twistd(*options, program=program, directory=self.directory, stderr=subprocess.PIPE, environ=path)

    def check_all(self, cases: Sequence[tuple[str, str, str, Sequence[str]]], program: str = TWISTD) -> None:
        """Start twistd for each case, a few at a time; the one line must contain the option, the value and the word."""
        for first in range(0, len(cases), 4):
            started = [
                (option, text, word, self.start(f"{option}={text}", *others, program=program))
                for option, text, word, others in cases[first : first + 4]
            ]
            for option, text, word, process in started:
                self.addCleanup(process.kill)
                out, error = process.communicate(timeout=DEADLINE)
                self.assertEqual(process.returncode, 1, (text, out, error))
                self.assertEqual(len(error.splitlines()), 1, (text, error))
                self.assertTrue(error.startswith(f"airyd: {option} {text}: "), error)
                self.assertIn(word, error)
                self.assertEqual(COMPLAINTS.findall(out), [])
                if out:  # the log may be in a file; the line must be on standard error, too
                    self.assertIn(error.strip(), out)


class ListenTests(EndpointsCase):
    """Endpoints that are well-formed but can't listen."""

    def test_single(self) -> None:
        admin, listen = ("--admin=none",), (f"--listen=tcp:0:{LOOPBACK}",)
        self.check_all(
            [
                ("--listen", f"tcp:{self.taken}:{LOOPBACK}", os.strerror(errno.EADDRINUSE), admin),
                ("--admin", f"tcp:{self.taken}:{LOOPBACK}", os.strerror(errno.EADDRINUSE), listen),
                (
                    "--listen",
                    f"haproxy:tcp:{self.taken}:{LOOPBACK}",
                    os.strerror(errno.EADDRINUSE),
                    (*admin, "--auth=anonymous:public", "--trust-proxy=127.0.0.1"),
                ),
                (
                    "--listen",
                    f"tcp:0:interface={ELSEWHERE}",
                    os.strerror(errno.EADDRNOTAVAIL),
                    (*admin, "--auth=anonymous:public"),
                ),
                ("--listen", "unix:nowhere/x.sock", "make the folder first", admin),
                ("--listen", "unix:file", "a file with this name", admin),
            ]
        )

    def test_workers(self) -> None:
        """The parent opens the sockets and ends before it starts a worker."""
        admin, listen = ("--admin=none", *WORKERS), (f"--listen=tcp:0:{LOOPBACK}", *WORKERS)
        self.check_all(
            [
                ("--listen", f"tcp:{self.taken}:{LOOPBACK}", os.strerror(errno.EADDRINUSE), admin),
                ("--admin", "unix:nowhere/x.sock", "make the folder first", listen),
                ("--listen", "tcp:abc", "'abc'", admin),
            ]
        )

    def test_plugins(self) -> None:
        """Endpoints of plugins may raise anything at any time."""
        others = ("--admin=none", "--auth=anonymous:public")
        self.check_all(
            [
                ("--listen", "odd:refuses", "two lines", others),
                ("--listen", "odd:raises", "two lines", others),
                ("--listen", "odd:fails", "an odd one", others),
                ("--listen", "odd:late", "at once", others),
            ]
        )


class HandedOverTests(EndpointsCase):
    """Sockets of systemd, by number or by name."""

    def test_wrong(self) -> None:
        """The socket is missing, has another type than the string says, or does not listen."""
        others = ("--admin=none", "--auth=anonymous:public")
        program = HAND_OVER.format(make=LISTENING, twistd=TWISTD)
        self.check_all(
            [
                ("--listen", "systemd:domain=INET:index=1", "no such socket, but airyd; give", others),
                ("--listen", "systemd:domain=INET:name=other", "no such socket, but airyd; give", others),
                ("--listen", f"tcp:{self.taken}:{LOOPBACK}", "write systemd:domain=INET:name=airyd", others),
                ("--listen", "systemd:domain=UNIX:index=0", "domain=INET", ("--admin=none",)),
                ("--listen", "systemd:domain=INET6:name=airyd", "domain=INET", others),
            ],
            program,
        )
        silent = HAND_OVER.format(make="socket.socket()", twistd=TWISTD)
        self.check_all([("--listen", "systemd:domain=INET:index=0", "does not listen", others)], silent)
        file = HAND_OVER.format(make="open(os.devnull)", twistd=TWISTD)
        self.check_all([("--listen", "systemd:domain=INET:index=0", "not a socket", others)], file)

    def test_none(self) -> None:
        """airyd was started by hand, or its variables are those of another process."""
        others = ("--admin=none", "--auth=anonymous:public")
        case = ("--listen", "systemd:domain=INET:name=airyd", "systemd has passed no socket to this process; ", others)
        of_another = f"import os; os.environ.update(LISTEN_PID='1', LISTEN_FDS='1', LISTEN_FDNAMES='airyd'); {TWISTD}"
        self.check_all([case])
        self.check_all([case], of_another)

    def test_right(self) -> None:
        program = HAND_OVER.format(make=LISTENING, twistd=TWISTD)
        process = self.start(
            "--listen=systemd:domain=INET:name=airyd", "--admin=none", "--auth=anonymous:public", program=program
        )
        self.addCleanup(process.kill)
        found, log = read_until(process, SERVES)
        with socket.create_connection(("127.0.0.1", int(found[1])), DEADLINE) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 404 "))
        process.terminate()
        out, error = process.communicate(timeout=DEADLINE)
        self.assertEqual((process.returncode, error, COMPLAINTS.findall(log + out)), (0, "", []))
        self.assertNotIn("no option names it", log + out)

    def test_unused(self) -> None:
        """A socket that no option names is in the log: its clients would wait in vain."""
        program = HAND_OVER.format(make=LISTENING, twistd=TWISTD)
        process = self.start(f"--listen=tcp:0:{LOOPBACK}", "--admin=none", program=program)
        self.addCleanup(process.kill)
        _, log = read_until(process, SERVES)
        process.terminate()
        out, _ = process.communicate(timeout=DEADLINE)
        self.assertIn("systemd has passed the socket airyd, but no option names it", log + out)

    def test_reloads(self) -> None:
        """The descriptor is closed by then, and its number may be another file's; the socket goes on listening."""
        program = HAND_OVER.format(make=LISTENING, twistd=TWISTD)
        process = self.start(
            "--listen=systemd:domain=INET:name=airyd", "--admin=none", "--auth=anonymous:public", program=program
        )
        self.addCleanup(process.kill)
        found, _ = read_until(process, SERVES)
        open_files = []
        for _ in range(2):
            process.send_signal(signal.SIGHUP)
            said, _ = read_until(process, re.compile(r"reloaded: (.*)\n"))
            self.assertEqual(said[0], "reloaded: nothing has changed\n")
            open_files.append(len(os.listdir(f"/proc/{process.pid}/fd")))
        self.assertEqual(open_files[0], open_files[1])
        with socket.create_connection(("127.0.0.1", int(found[1])), DEADLINE) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 404 "))
        process.terminate()
        self.assertEqual(process.communicate(timeout=DEADLINE)[1], "")
        self.assertEqual(process.returncode, 0)


class BackgroundTests(EndpointsCase):
    """Without ``--nodaemon``, the command that starts the daemon reports the error."""

    def start_in_background(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Start twistd as a daemon; return the result of the command."""
        return subprocess.run(
            [sys.executable, "-c", TWISTD, "--pidfile=pid", "--logfile=log", "airyd", "--admin=none", *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.directory,
            env={**environment(), "PYTHONPATH": f"{TREE}{os.pathsep}{self.directory / 'lib'}"},
            timeout=DEADLINE,
            check=False,
        )

    def test_one_line(self) -> None:
        """Errors that can be found before twistd goes to the background are one line on the terminal."""
        for listen in (f"tcp:{self.taken}:{LOOPBACK}", "unix:nowhere/x.sock", "unix:file"):
            ended = self.start_in_background(f"--listen={listen}")
            self.assertEqual(ended.returncode, 1)
            self.assertTrue(ended.stderr.startswith(f"airyd: --listen {listen}: "), ended.stderr)
            self.assertEqual(len(ended.stderr.splitlines()), 1, ended.stderr)

    def test_later(self) -> None:
        """A plugin's error when it listens is in the log, and the command doesn't hang."""
        ended = self.start_in_background("--listen=odd:fails", "--auth=anonymous:public")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("log file", ended.stderr)
        log = (self.directory / "log").read_text()
        self.assertIn("airyd: --listen odd:fails: cannot listen there: ", log)
        self.assertEqual(COMPLAINTS.findall(log), [])
        self.assertFalse((self.directory / "pid").exists())

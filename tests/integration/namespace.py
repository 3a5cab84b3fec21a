"""Runs programs as a container engine does, in Linux namespaces: first process, another user, nothing writable.

No container engine is needed, and no rights: the namespaces belong to a user namespace, unless root runs the tests.
The network is a loopback interface of its own, so that fixed ports are free.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.integration.daemon import TREE
from tests.patience import PATIENCE

#: Makes the root and all below it read-only, gives up all rights, and becomes the program: it stays process 1.
#: Arguments: the root, the user's number, what to mount below the root as ``FROM=TO`` up to ``--``, the program.
LAUNCHER: Final = """
import ctypes, fcntl, json, os, socket, struct, subprocess, sys

def mount(*words):
    subprocess.run(["mount", *words], check=True)

cut = sys.argv.index("--")
root, user, *shared = sys.argv[1:cut]
mount("--make-rprivate", "/")
with socket.socket() as any_socket:  # the loopback interface goes up (SIOCSIFFLAGS), and gets addresses (SIOCSIFADDR)
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))
    for number, each in enumerate(json.loads(os.environ.pop("ADDRESSES"))):
        name, address = f"lo:{number}".encode(), socket.inet_aton(each)
        fcntl.ioctl(any_socket, 0x8916, struct.pack("16sHH4s8x", name, socket.AF_INET, 0, address))
if root != "/":
    mount("--rbind", root, root)
for each in shared:
    source, _, place = each.partition("=")
    if source in ("tmpfs", "scratch"):
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root + place)
    else:
        os.makedirs(root + place, exist_ok=True) if os.path.isdir(source) else None
        mount("--rbind", source, root + place)
mount("-t", "proc", "proc", os.path.join(root, "proc"))
with open("/proc/self/mountinfo") as lines:
    places = [line.split()[4].encode().decode("unicode_escape") for line in lines]
writable = [os.path.join(root, name) for name in ("proc", "dev")]
writable += [root.rstrip("/") + each.partition("=")[2] for each in shared if each.startswith("scratch=")]
for place in places:
    if place.startswith(root) and not place.startswith(tuple(writable)):
        subprocess.run(["mount", "-o", "remount,bind,ro", place], stderr=subprocess.DEVNULL, check=False)
os.chroot(root)
os.chdir("/")
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
libc = ctypes.CDLL(None)
libc.prctl(47, 4, 0, 0, 0)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
os.execve(sys.argv[cut + 1], sys.argv[cut + 1 :], os.environ)
"""
#: The number of the user in the image.
USER: Final = 65532
#: What a test says on a machine that forbids namespaces.
_NO_NAMESPACES: Final = """\
Run the tests as root, or allow all users to make namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns=0 on
Ubuntu); in a container, give it --cap-add SYS_ADMIN.
"""
_NAMESPACES: Final = ("--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child")


def own_programs() -> list[tuple[str, str]]:
    """Return what to mount so that this environment is the image's ``/opt/airyd``.

    Twisted's cache of plugins is written first, because nobody can write it inside.
    """
    twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--help"]
    subprocess.run(twistd, cwd=TREE, check=True, stdout=subprocess.DEVNULL)
    return [("tmpfs", "/opt"), (sys.prefix, "/opt/airyd")]


class Container:
    """A program as the first process of namespaces of its own.

    :param root: the root of its files
    :param words: the program and its arguments
    :param shared: what to mount: where each is, and its place below the root; ``tmpfs`` is an empty folder, ``scratch``
        one that stays writable
    :param addresses: more addresses of the loopback interface
    :ivar environ: the environment variables of all programs inside
    :param is_mapped: whether the user is a mapped one, which reads what the user who runs the tests can read
    """

    def __init__(
        self,
        root: Path,
        words: Sequence[str],
        environ: Mapping[str, str],
        shared: Sequence[tuple[Path | str, str]] = (),
        addresses: Sequence[str] = (),
        *,
        is_mapped: bool = True,
    ) -> None:
        mapping = ("--user", f"--map-user={USER}", f"--map-group={USER}", "--keep-caps") if is_mapped else ()
        self._entering = ("--user", "--preserve-credentials") if is_mapped else (f"--setuid={USER}", f"--setgid={USER}")
        mounts = [f"{source}={place}" for source, place in shared]
        self.environ = dict(environ)
        self._process = subprocess.Popen(
            [
                *("unshare", *mapping, *_NAMESPACES, sys.executable, "-I", "-S", "-c", LAUNCHER),
                *(str(root), str(USER), *mounts, "--", *words),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**self.environ, "ADDRESSES": json.dumps(addresses)},
        )
        self.log = ""

    @property
    def pid(self) -> int:
        """The first process, as this machine numbers it."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    def wait_for(self, text: str) -> None:
        """Read the log until a line has this text; raise ``AssertionError`` with the log if it ends before."""
        assert self._process.stdout is not None
        while text not in self.log:
            line = self._process.stdout.readline()
            assert line, self.log + (_NO_NAMESPACES if "unshare failed" in self.log else "")
            self.log += line

    def inside(self, *words: str) -> list[str]:
        """Return the command that runs another program inside, as the same user."""
        namespaces = ("--mount", "--pid", "--net", "--ipc", "--root", "--wd=/")
        return ["nsenter", f"--target={self.pid}", *self._entering, *namespaces, *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another program inside, as the same user."""
        return subprocess.run(
            self.inside(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environ,
            timeout=PATIENCE,
            check=False,
        )

    def run_until(self, expected: str, *words: str) -> None:
        """Run a program inside until its output has this text."""
        deadline = time.monotonic() + PATIENCE
        while expected not in (said := self.run(*words).stdout):
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    def status(self, name: str) -> str:
        """Return a field of the first process's ``/proc/PID/status``."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))

    def kill(self, number: signal.Signals) -> None:
        """Send the first process a signal, as a container engine does."""
        os.kill(self.pid, number)

    def end(self) -> int:
        """Read the log until the program has ended; return its exit status."""
        rest, _ = self._process.communicate(timeout=PATIENCE)
        self.log += rest
        return self._process.returncode

    def close(self) -> None:
        """Kill everything in the namespaces; harmless when repeated."""
        self._process.kill()
        if self._process.stdout is not None and not self._process.stdout.closed:
            self._process.communicate()

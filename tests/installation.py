"""Install a release by the commands of docs/installing.rst and try it: ``python -m tests.installation DIST``.

The commands are taken out of the document and run as another user than root, with a temporary folder in place of
``/opt/airyd`` and with free ports. DIST is the folder that ``make dist`` fills.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from threading import Timer
from typing import Any, Final

from tests.patience import PATIENCE
from tests.snippets import blocks, commands

ROOT: Final = Path(__file__).parent.parent
#: A directory in which Python finds neither the tree nor a user's files: the root.
ELSEWHERE: Final = ROOT.anchor
#: The section about the first installation, and that about the next release.
FIRST: Final = "From the wheel"
NEXT: Final = "From a release to the next"
_PAGE: Final = "docs/installing.rst"
_PLACE: Final = "/opt/airyd"
#: How every user may run Python, besides the Python that runs the tests.
_SYSTEM: Final = os.pathsep.join(("/usr/local/bin", "/usr/bin", "/bin"))
_ADMIN: Final = re.compile(r"airyd admin at http://127\.0\.0\.1:(\d+)/")
#: Free ports in place of those of the document; options on a command line come before these variables.
_FREE: Final = {"AIRYD_LISTEN": "tcp:0:interface=127.0.0.1", "AIRYD_ADMIN": "tcp:0:interface=127.0.0.1"}


def run(*command: str | Path) -> str:
    """Run a program to its end, outside the tree; return what it printed."""
    return _printed(command, cwd=ELSEWHERE, env={})


def _printed(command: Sequence[str | Path], **settings: Any) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **settings
    )
    if done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def commands_of(title: str) -> Iterator[str]:
    """Yield the commands of a section of docs/installing.rst."""
    section = (ROOT / _PAGE).read_text().partition(f"\n{title}\n---")[2].partition("\n\n\n")[0]
    for block in blocks(_PAGE, f"{section}\n"):
        if block.language == "console":
            yield from (command.line for command in commands(block.text))


@cache
def other_user() -> Mapping[str, Any]:
    """Return the settings by which ``subprocess`` runs a program as another user than root."""
    if os.getuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}


@cache
def _python() -> Path:
    """Return a Python of the tests' version that the other user may run."""
    base = Path(sys.base_prefix, "bin", "python3")
    for found in (base, shutil.which("python3", path=_SYSTEM)):
        code = "import ensurepip, sys; print(sys.version_info[:2])"
        if found is not None:
            done = subprocess.run(
                ["sh", "-c", 'exec "$0" -c "$1"', found, code],
                cwd=ELSEWHERE,
                capture_output=True,
                text=True,
                check=False,
                **other_user(),
            )
            if done.stdout.strip() == str(sys.version_info[:2]):
                return Path(found)
    raise AssertionError(f"no other user may run a Python {sys.version_info[0]}.{sys.version_info[1]} with ensurepip")


class Installation:
    """An airyd in an environment of its own, which another user than root installs.

    :param directory: an empty directory
    :param index: variables that say where pip gets packages
    :ivar home: what takes the place of ``/opt/airyd``
    :ivar admin_port: the port of the admin page, which takes the place of 8081
    """

    def __init__(self, directory: Path, index: Mapping[str, str]) -> None:
        self.home = directory / "opt"
        self.admin_port = 0
        path = os.pathsep.join((str(_python().parent), _SYSTEM))
        self._variables = {**index, "PATH": path, "HOME": str(directory), "PYTHONUNBUFFERED": "1"}
        if settings := other_user():
            os.chown(directory, settings["user"], settings["group"])
            directory.chmod(0o755)

    def follow(self, title: str, folder: Path, systemctl: Mapping[str, Callable[[], None]] | None = None) -> None:
        """Carry out the commands of a section in a folder with a release.

        A server that a command starts serves the commands after it, and is stopped at the end.

        :param systemctl: what takes the place of ``systemctl start airyd`` and so on, by the word after ``systemctl``
        """
        servers: list[subprocess.Popen[str]] = []
        try:
            for command in commands_of(title):
                if command.startswith("apt-get "):  # the tests need the package, too: tests/system-packages
                    continue
                if command.startswith("systemctl "):
                    assert systemctl is not None, command
                    systemctl[command.split()[1]]()
                elif "--nodaemon" in command:
                    servers.append(self.start(command, folder))
                else:
                    self.run(command, folder)
            for server in servers:
                server.terminate()
                status = server.wait(PATIENCE)
                assert status == 0, f"the server ended with status {status}"
        finally:
            for server in servers:
                server.kill()
                server.communicate()

    def run(self, command: str, folder: Path) -> str:
        """Run a command of a document to its end; return what it printed."""
        return _printed(["sh", "-c", self._here(command)], cwd=folder, env=self._variables, **other_user())

    def _here(self, command: str) -> str:
        return command.replace(_PLACE, str(self.home)).replace(":8081", f":{self.admin_port}")

    def start(self, command: str, folder: Path) -> subprocess.Popen[str]:
        """Start a server; set the port of its admin page."""
        process = subprocess.Popen(
            ["sh", "-c", f"exec {self._here(command)}"],
            cwd=folder,
            env={**self._variables, **_FREE},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **other_user(),
        )
        watchdog = Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            printed = ""
            for line in process.stdout:
                printed += line
                if found := _ADMIN.search(line):
                    self.admin_port = int(found[1])
                    return process
            raise AssertionError(f"{command} does not serve:\n{printed}")
        finally:
            watchdog.cancel()


def release_folder(directory: Path, wheel: Path, constraints: str) -> Path:
    """Make a folder as ``make dist`` fills it, without the source; the other user may read and write it."""
    directory.chmod(0o755)
    folder = Path(mkdtemp(dir=directory))
    shutil.copy(wheel, folder)
    (folder / "constraints.txt").write_text(constraints)
    if settings := other_user():
        os.chown(folder, settings["user"], settings["group"])
    return folder


def copy_release(directory: Path, dist: Path) -> Path:
    """Copy what an installation needs from the folder that ``make dist`` fills; return the copy."""
    (wheel,) = dist.glob("*.whl")
    return release_folder(directory, wheel, (dist / "constraints.txt").read_text())


def own_index() -> dict[str, str]:
    """Return the variables by which pip finds the package index that it is set up for."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def main(dist: str) -> None:
    """Install the release that ``make dist`` built, with packages from an index."""
    with TemporaryDirectory() as directory, TemporaryDirectory() as home:
        Installation(Path(home), own_index()).follow(FIRST, copy_release(Path(directory), Path(dist)))
    print("the release was installed into an empty environment by another user than root, and works there")


if __name__ == "__main__":
    main(*sys.argv[1:])

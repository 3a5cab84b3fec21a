"""Install a wheel into an empty environment and try it there: ``python -m tests.installation WHEEL``."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Final
from urllib.request import urlopen

from tests.patience import PATIENCE

ROOT: Final = Path(__file__).parent.parent
#: A directory in which Python finds neither the tree nor a user's files: the root.
ELSEWHERE: Final = ROOT.anchor
_OPTIONS: Final = ("--source=memory:", "--listen=tcp:0:interface=127.0.0.1", "--admin=tcp:0:interface=127.0.0.1")
_ADMIN: Final = re.compile(r"airyd admin at (http://127\.0\.0\.1:\d+/)")


def run(*command: str | Path) -> str:
    """Run a program to its end, outside the tree; return what it printed."""
    done = subprocess.run(
        command, cwd=ELSEWHERE, env={}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def use(twistd: Sequence[str | Path], airyd: str | Path) -> None:
    """Try an installation: show the help of both commands, then start a server on free ports and request ``/healthz``.

    Raises ``AssertionError`` if something does not work.

    :param twistd: the command line of ``twistd``
    :param airyd: the program ``airyd``
    """
    for command, word in (([*twistd, "airyd"], "--listen"), ([airyd], "tail")):
        printed = run(*command, "--help")
        assert word in printed, printed
    serving = [*twistd, "--nodaemon", "--pidfile=", "airyd", *_OPTIONS]
    with subprocess.Popen(
        serving, cwd=ELSEWHERE, env={}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        watchdog = Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            _ask_for_health(process)
            process.terminate()
            status = process.wait()
            assert status == 0, f"twistd airyd ended with status {status}"
        finally:
            process.kill()
            watchdog.cancel()


def _ask_for_health(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if found := _ADMIN.search(line):
            with urlopen(f"{found[1]}healthz", timeout=PATIENCE) as answer:  # noqa: S310  # the address is http
                assert answer.status == 200, answer.status
            return
    raise AssertionError(f"twistd airyd does not serve:\n{printed}")


def main(wheel: str) -> None:
    """Install the wheel and its requirements, in the versions of constraints.txt, and try it."""
    with TemporaryDirectory() as home:
        run(sys.executable, "-m", "venv", home)
        programs = Path(home, "bin")
        pip = (programs / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install")
        subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", wheel], check=True)
        use([programs / "twistd"], programs / "airyd")
    print(f"{Path(wheel).name} was installed into an empty environment, and works there")


if __name__ == "__main__":
    main(*sys.argv[1:])

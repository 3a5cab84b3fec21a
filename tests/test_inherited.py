"""The processes of the tests have the same surroundings, however the tests are started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.patience import PATIENCE

_TREE: Final = Path(__file__).parent.parent
#: A program that prints its surroundings.
_CHILD: Final = """
import json, locale, os, resource, signal, time
print(json.dumps({
    "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "defaults": [signal.getsignal(each) == signal.SIG_DFL for each in (signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT)],
    "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "variables": sorted(name for name in os.environ if name.startswith(("AIRYD_", "PYTHON", "COLUMNS", "NO_COLOR"))),
    "home": "HOME" in os.environ,
    "zone": time.tzname[0],
    "encoding": locale.getpreferredencoding(False).lower(),
    "umask": os.umask(0),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    "stdin": os.fstat(0).st_rdev,
}))
"""
#: A program like a test runner: it survives the signals that it inherited as ignored.
_RUNNER: Final = f"""
import tests, os, signal, subprocess, sys
for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
    os.kill(os.getpid(), each)
subprocess.run([sys.executable, "-c", {_CHILD!r}], check=True)
"""
#: Like ``nohup ... &`` in a script, and worse.
_LAUNCHER: Final = """
trap '' HUP INT TERM QUIT
umask 077
ulimit -Sn 200
exec "$0" "$@" <&-
"""


@pytest.mark.integration
class InheritedTests(SynchronousTestCase):
    """What a process inherits from its launcher is replaced."""

    def found(self, *launcher: str, **environ: str) -> Any:
        """Return the surroundings of a process of the tests if these are started this way."""
        done = subprocess.run(
            [*launcher, sys.executable, "-c", _RUNNER],
            cwd=_TREE,
            env={"PATH": os.environ["PATH"], **environ},
            stdout=subprocess.PIPE,
            timeout=PATIENCE,
            check=True,
        )
        return json.loads(done.stdout)

    def test_hostile(self) -> None:
        strange = {"AIRYD_ADMIN_TOKEN": "x", "PYTHONWARNINGS": "error", "COLUMNS": "20", "NO_COLOR": "1"}
        found = self.found("sh", "-c", _LAUNCHER, TZ="Asia/Kathmandu", LC_ALL="C", PYTHONUTF8="0", **strange)
        self.assertEqual(
            found,
            {
                "interrupt": True,
                "defaults": [True] * 3,
                "blocked": 0,
                "variables": [],
                "home": True,
                "zone": "UTC",
                "encoding": "utf-8",
                "umask": 0o022,
                "files": found["files"],
                "stdin": os.stat(os.devnull).st_rdev,
            },
        )
        self.assertGreater(found["files"], 200)

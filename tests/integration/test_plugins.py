"""The example of a plugin in the real daemon."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Final
from unittest.mock import patch
from zipfile import ZipFile

from tests.installation import run
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import TWISTD, command, environment
from tests.integration.raw import RawClient
from tests.snippets import consoles

EXAMPLE: Final = Path(__file__).parents[2] / "docs/examples/plugin"


class PluginTests(DaemonTestCase):
    """docs/examples/plugin is on Python's path."""

    def setUp(self) -> None:
        """Copy the example out of the tree, because Twisted writes a cache beside plugins."""
        folder = mkdtemp(prefix="airyd-test-")
        self.addCleanup(shutil.rmtree, folder)
        shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
        self.folder = Path(folder)
        self.program = f"import sys; sys.path.append({folder!r}); {TWISTD}"

    def test_source_and_login(self) -> None:
        """With the options of docs/plugins.rst, a client with the passcode gets the time; one without is refused."""
        ((_, (shown,)),) = [each for each in consoles() if each[0].document == "docs/plugins.rst"]
        words = shlex.split(shown.line)
        options = words[words.index("airyd") + 1 :]
        variables = dict(word.split("=", 1) for word in words[:2])
        self.assertEqual("docs/examples/plugin", variables.pop("PYTHONPATH"))
        with patch.dict(os.environ, variables):
            daemon = self.own_daemon(*options, program=self.program)
        member = self.open(daemon)
        member.connect(login="ann", passcode="sesame")
        member.subscribe("/queue/message", "1")
        self.assertEqual(["time"], list(json.loads(member.message("1").body)))
        stranger: RawClient = self.open(daemon)
        stranger.send("CONNECT", [("accept-version", "1.2"), ("login", "ann"), ("passcode", "sesam")])
        self.assertEqual("401 Unauthorized", stranger.error()[0].headers["message"])

    def test_wheel(self) -> None:
        """Packaged as docs/plugins.rst shows, the wheel holds all modules."""
        run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", self.folder, self.folder)
        with ZipFile(next(self.folder.glob("*.whl"))) as wheel:
            modules = {name for name in wheel.namelist() if name.endswith(".py")}
        self.assertEqual({"ticker.py", "passcode.py", "twisted/plugins/example_plugins.py"}, modules)

    def test_help(self) -> None:
        """The help lists the source and the authenticator of the example."""
        for option, name in (("--help-sources", "ticker:[?seconds=N]"), ("--help-auth", "passcode:VARIABLE")):
            done = subprocess.run(
                command(option, program=self.program), env=environment(), stdout=subprocess.PIPE, text=True, check=True
            )
            self.assertIn(name, done.stdout)

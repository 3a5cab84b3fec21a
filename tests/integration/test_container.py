"""airyd as an image of the Containerfile runs it: process 1, not root, nothing writable, its HEALTHCHECK.

The programs are those of this environment; ``test_image.py`` builds the image itself, which takes minutes.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from airyd.config.command_line import Options
from tests.integration.containerfile import last, stages, words
from tests.integration.daemon import COMPLAINTS, TREE
from tests.integration.namespace import USER, Container, own_programs

#: The options of the tests: everybody may log in, and two clients need no Redis.
OPEN = ("--listen=tcp:8080", "--auth=anonymous:public", "--source=memory:", "--drain-seconds=1")
URL = "ws://127.0.0.1:8080"


class ImageContract:
    """What every container of airyd does; also for the real image."""

    def check_life(self, test: SynchronousTestCase, container: Container) -> None:
        """Serve, be healthy, reload and drain, as process 1 of a user without rights and without a writable place."""
        container.wait_for("airyd serves ws://")
        test.assertEqual(container.status("NSpid").split()[-1], "1")
        test.assertEqual(container.run("id", "-u").stdout, f"{USER}\n")
        test.assertEqual(int(container.status("CapEff"), 16), 0)
        for place in ("/opt/airyd/x", "/x", "/tmp/x", "/run/x"):  # noqa: S108  # nobody can write there
            test.assertIn("Read-only file system", container.run("touch", place).stdout)
        healthy = container.run(*words("HEALTHCHECK"))
        test.assertEqual((healthy.returncode, healthy.stdout), (0, "http://127.0.0.1:8081 is alive\n"))
        container.run_until("is ready", "/opt/airyd/bin/airyd", "health")
        container.run("sh", "-c", "kill -HUP 1")  # as docs/installing.rst does it in a pod
        container.wait_for("reloaded")
        container.kill(signal.SIGTERM)
        test.assertEqual(container.end(), 0, container.log)
        test.assertNotIn("cache", container.log)
        test.assertFalse(COMPLAINTS.search(container.log), container.log)


@pytest.mark.integration
class ContainerTests(SynchronousTestCase, ImageContract):
    """The entry point in namespaces."""

    def container(self, *options: str) -> Container:
        """Start the entry point with these options, on read-only files."""
        container = Container(
            Path("/"),
            [*words("ENTRYPOINT"), *options],
            {"PATH": last("ENV").partition("=")[2], "PYTHONUNBUFFERED": "1"},
            own_programs(),
        )
        self.addCleanup(container.close)
        return container

    def test_life(self) -> None:
        self.check_life(self, self.container(*OPEN))

    def test_workers(self) -> None:
        """Worker processes need no writable place either; they end with process 1. Redis may be away."""
        container = self.container(*OPEN[:2], "--source=redis://127.0.0.1:1/0", "--workers=2")
        container.wait_for("airyd serves ws://")
        self.assertEqual(container.run(*words("HEALTHCHECK")).returncode, 0)
        container.run_until("not ready", "/opt/airyd/bin/airyd", "health")
        container.kill(signal.SIGTERM)
        self.assertEqual(container.end(), 0, container.log)
        self.assertFalse(COMPLAINTS.search(container.log), container.log)

    def test_default_options(self) -> None:
        """Without a choice of who may log in, the container ends with a line that says what to choose."""
        container = self.container(*words("CMD"))
        self.assertEqual(container.end(), 1)
        self.assertIn("--auth", container.log)
        self.assertEqual(container.log.count("\n"), 1, container.log)

    def test_unhealthy(self) -> None:
        """A process that hangs is unhealthy."""
        container = self.container(*OPEN)
        container.wait_for("airyd serves ws://")
        container.kill(signal.SIGSTOP)
        self.assertEqual(container.run(*words("HEALTHCHECK")).returncode, 1)


class ContainerfileTests(SynchronousTestCase):
    """The text of the Containerfile."""

    def test_user(self) -> None:
        """The user is a number, so that Kubernetes can see that it is not root."""
        self.assertEqual(last("USER"), f"{USER}:{USER}")

    def test_time_of_the_check(self) -> None:
        """airyd health says why before the engine ends it."""
        from airyd.cli.health import PATIENCE

        self.assertGreater(float(re.findall(r"--timeout=(\d+)s", last("HEALTHCHECK"))[0]), PATIENCE + 1)

    def test_ports(self) -> None:
        """The ports are airyd's default ones."""
        settings = Options()
        settings.parseOptions([])
        defaults = [*settings.settings.listen, settings.settings.admin]
        self.assertEqual(last("EXPOSE").split(), [re.findall(r"tcp:(\d+)", str(each))[0] for each in defaults])

    def test_copies_what_the_installation_needs(self) -> None:
        """.dockerignore lets pass what setup.cfg names, and no file that a clone does not have."""
        lines = (TREE / ".dockerignore").read_text().splitlines()
        passed = [line.removeprefix("!") for line in lines if line.startswith("!")]
        self.assertEqual([], [name for name in passed if not (TREE / name).exists()])
        for name in ("setup.cfg", "pyproject.toml", "constraints.txt", "README.rst", "LICENSE", "airyd", "twisted"):
            self.assertIn(name, passed)
        self.assertEqual([(each.name, each.text) for each in stages()[0] if each.name == "COPY"], [("COPY", ". .")])

"""Updates two nodes to the next release, and back: ``python -m tests.chaos.upgrade OLD NEW``.

OLD and NEW are folders that ``make dist`` filled. Both nodes are behind HAProxy with etc/haproxy/airyd.cfg, read the
same Redis, and are updated one after the other by the commands of docs/installing.rst, while events are published
and clients come and go. Nobody may be refused, and nobody may miss an event.

Exit status: 0 if all is well, else 1.
"""

from __future__ import annotations

import argparse
import re
import shutil
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from tests.chaos.client import RESTARTING, Client, Ending
from tests.chaos.nodes import Node
from tests.chaos.run import add_options, show
from tests.chaos.stage import NODES, Stage
from tests.chaos.verdict import Judge, Verdict
from tests.installation import FIRST, NEXT, Installation, copy_release, own_index
from tests.integration.daemon import Daemon
from tests.integration.fronts import Node as Ports
from tests.integration.fronts import TlsFront
from tests.sources.redis.certificates import Certificates

#: Seconds between two nodes.
PAUSE: Final = 2.0
#: How often per second a client disconnects or resubscribes by itself.
RESTLESSNESS: Final = 0.1
#: Longer than the proxy needs to notice a node that is not ready: two checks, one second apart.
_OPTIONS: Final = ("--drain-notice=4", "--trust-proxy=127.0.0.1")
_VERSION: Final = re.compile(r'^airyd_build_info\{.*?\bversion="([^"]+)"', re.MULTILINE)


class InstalledNode(Node):
    """A node that runs from an installation.

    :ivar admin_port: the port of its admin page, which stays the same
    """

    def __init__(self, redis_port: int, installation: Installation) -> None:
        self.installation = installation
        self.admin_port = 0
        super().__init__(redis_port, is_linked=False, options=_OPTIONS)

    def daemon(self, *options: str) -> Daemon:
        """Start a process from the installation."""
        daemon = Daemon(*options, port=self.port, admin_port=self.admin_port, home=self.installation.home)
        self.admin_port = self.installation.admin_port = daemon.admin_port
        return daemon

    def update(self, folder: Path) -> None:
        """Carry out the document's commands in the folder with another release."""
        systemctl = {"stop": self.terminate, "start": self.start}
        self.installation.follow(NEXT, folder, systemctl)

    @property
    def version(self) -> str:
        """The version of the present process."""
        found = _VERSION.search(self._daemon.metrics())
        assert found is not None
        return found[1]


class UpgradeStage(Stage):
    """The stage with installed nodes behind HAProxy.

    :param release: the folder with the first release
    :param index: variables that say where pip gets packages
    """

    def __init__(
        self, release: Path, index: Mapping[str, str], *, clients: int, rate: float, seed: int, slack: float = 1.0
    ) -> None:
        self._directory = Path(mkdtemp(prefix="airyd-test-"))
        self._directory.chmod(0o755)
        self.releases: list[InstalledNode] = []
        self._front: TlsFront | None = None
        self._installations = []
        for number in range(NODES):
            home = self._directory / f"node-{number + 1}"
            home.mkdir()
            installation = Installation(home, index)
            installation.follow(FIRST, release)
            self._installations.append(installation)
        super().__init__(clients=clients, rate=rate, seed=seed, slack=slack)

    def make_node(self, plant: str) -> Node:
        """Start a node from the next installation."""
        node = InstalledNode(self.redis.port, self._installations[len(self.releases)])
        self.releases.append(node)
        return node

    def doors(self) -> list[int]:
        """Start HAProxy; return its port, the only one that clients know."""
        folder = self._directory / "certificates"
        folder.mkdir()
        certificates = Certificates(folder)
        self.tls = ssl.create_default_context(cafile=certificates.ca)
        self._front = TlsFront("haproxy", [Ports(node.port, node.admin_port) for node in self.releases], certificates)
        return [self._front.port]

    def close(self) -> None:
        """End all processes, and remove the installations."""
        if self._front is not None:
            self._front.stop()
        super().close()
        shutil.rmtree(self._directory, ignore_errors=True)


class UpgradeJudge(Judge):
    """The judge of updates: a connection ends only with the node that serves it, and all resumes succeed."""

    def verdict(self) -> Verdict:
        """Return the verdict."""
        found = super().verdict()
        found.faults += [f"{found.refused} resumes were refused"] * bool(found.refused)
        return found

    def _is_expected(self, client: Client, ending: Ending) -> bool:
        lives = (life for node in self._stage.nodes for life in node.lives)
        return ending.error == RESTARTING and any(
            ending.opened <= life.end <= ending.when + 10 * self._stage.slack for life in lives
        )


def upgrade(stage: UpgradeStage, *folders: Path) -> tuple[Verdict, list[list[str]]]:
    """Update both nodes to each of these releases; return the verdict, and the nodes' versions after each."""
    versions = []

    def act() -> None:
        stage.crowd.restlessness = RESTLESSNESS
        for folder in folders:
            for node in stage.releases:
                stage.sleep(PAUSE)
                node.update(folder)
            versions.append([node.version for node in stage.releases])
        stage.sleep(PAUSE)

    stage.play(act)
    return UpgradeJudge(stage).verdict(), versions


def main(arguments: Sequence[str]) -> int:
    """Update the nodes to NEW and back to OLD, and print the verdict; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.upgrade", description=__doc__)
    parser.add_argument("old", type=Path, metavar="OLD", help="the folder with the old release")
    parser.add_argument("new", type=Path, metavar="NEW", help="the folder with the new release")
    add_options(parser)
    wanted = parser.parse_args(arguments)
    directory = Path(mkdtemp())
    try:
        old, new = (copy_release(directory, folder) for folder in (wanted.old, wanted.new))
        stage = UpgradeStage(old, own_index(), clients=wanted.clients, rate=wanted.rate, seed=wanted.seed)
        verdict, versions = upgrade(stage, new, old)
    finally:
        shutil.rmtree(directory)
    return 0 if show("upgrade", verdict, f"; versions: {versions}") else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

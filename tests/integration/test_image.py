"""The image that buildah makes from the Containerfile, run in namespaces.

buildah needs no engine, but root, a Debian mirror and a package index; it takes minutes. The base image is a root that
mmdebstrap makes, under the name of the base. What a registry has under that name, and an engine, are not tested.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.containerfile import CONTAINERFILE, words
from tests.integration.daemon import TREE
from tests.integration.namespace import USER, Container
from tests.integration.test_container import OPEN, ImageContract

#: The name of the image.
_IMAGE: Final = "localhost/airyd-test"


@pytest.mark.integration
@pytest.mark.long
class ImageTests(SynchronousTestCase, ImageContract):
    """The image."""

    def setUp(self) -> None:
        self.assertEqual(os.geteuid(), 0, "buildah needs root here: run this test as root")
        self.folder = Path(mkdtemp(prefix="airyd-image-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.storage = ["--root", str(self.folder / "store"), "--runroot", str(self.folder / "run")]
        self.addCleanup(self.buildah, "rm", "--all")

    def buildah(self, *arguments: str) -> str:
        """Run buildah with a storage of its own; return what it prints."""
        command = ["buildah", *self.storage, "--storage-driver", "vfs", *arguments]
        return self.do(*command)

    def do(self, *command: str) -> str:
        """Run a command to its end; return what it prints."""
        done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout.strip()

    def make_base(self) -> None:
        """Make the base image under its name."""
        (name,) = re.findall(r"(?m)^ARG BASE=(\S+)$", CONTAINERFILE.read_text())
        root = str(self.folder / "root.tar")
        suite = name.rpartition(":")[2].removesuffix("-slim")
        # The mirror that this machine's apt uses for the same release of Debian.
        asked = ["--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {suite}", "Component: main"]
        (mirror,) = set(self.do("apt-get", "indextargets", *asked).split())
        self.do("mmdebstrap", "--quiet", "--variant=minbase", suite, root, mirror)
        scratch = self.buildah("from", "scratch")
        self.buildah("add", "--quiet", scratch, root, "/")
        self.buildah("commit", "--quiet", scratch, name)

    def build(self) -> None:
        """Build the image, with the authorities and the index that pip uses on this machine."""
        settings = self.folder / "pip.conf"
        index = [f"index-url = {os.environ['PIP_INDEX_URL']}"] if "PIP_INDEX_URL" in os.environ else []
        settings.write_text("\n".join(["[global]", "cert = /etc/ssl/host.pem", *index, ""]))
        authorities = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
        mounts = [f"--volume={settings}:/etc/pip.conf:ro", f"--volume={authorities}:/etc/ssl/host.pem:ro"]
        self.buildah("build", "--isolation=chroot", "--pull-never", "--format=docker", *mounts, f"--tag={_IMAGE}", ".")

    def configuration(self) -> dict[str, Any]:
        """Return what the image tells an engine."""
        found: dict[str, Any] = json.loads(self.buildah("inspect", "--type=image", _IMAGE))["Docker"]["config"]
        return found

    def test_image(self) -> None:
        """It has what the Containerfile says and nothing that is needed to build it; airyd lives in it."""
        self.make_base()
        self.build()
        found = self.configuration()
        self.assertEqual(found["User"], f"{USER}:{USER}")
        self.assertEqual(found["Entrypoint"], words("ENTRYPOINT"))
        self.assertEqual(found["Cmd"], words("CMD"))
        self.assertEqual(found["Healthcheck"]["Test"], ["CMD", *words("HEALTHCHECK")])
        self.assertEqual(set(found["ExposedPorts"]), {"8080/tcp", "8081/tcp"})
        root = Path(self.buildah("mount", self.buildah("from", "--pull-never", _IMAGE)))
        for name in ("src", "opt/airyd/bin/pip", "var/lib/apt/lists/lock"):
            self.assertFalse((root / name).exists(), name)
        self.assertFalse([path for path in (root / "opt/airyd").rglob("*") if path.stat(follow_symlinks=False).st_uid])
        environ = {name: value for name, _, value in (each.partition("=") for each in found["Env"])}
        container = Container(
            root, [*found["Entrypoint"], *OPEN], {**environ, "PYTHONUNBUFFERED": "1"}, is_mapped=False
        )
        self.addCleanup(container.close)
        self.check_life(self, container)

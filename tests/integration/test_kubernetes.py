"""The manifests for Kubernetes: valid by its schemas, and in agreement with the image and with airyd."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import pytest
import yaml
from kubernetes_validate.utils import ValidationError, all_versions, validate
from twisted.trial.unittest import SynchronousTestCase

from airyd.config.command_line import Options
from airyd.config.settings import Settings
from airyd.limits import LONGEST_DRAIN
from tests.auth.case import SECRET
from tests.integration.containerfile import last, words
from tests.integration.daemon import COMPLAINTS, TREE
from tests.integration.namespace import Container, own_programs

FOLDER: Final = TREE / "etc/kubernetes"
#: Seconds for the end of the process after the last close, also with ``--workers``, as docs/operating.rst says.
AFTER_THE_CLOSES: Final = 20
ADMIN_TOKEN: Final = "an-admin-token-of-the-tests"
READ_TOKEN: Final = "a-read-token-of-the-tests"
SECRETS: Final = {
    "admin-token": ADMIN_TOKEN,
    "admin-read-token": READ_TOKEN,
    "jwt-secret": SECRET,
    "redis-password": "a-password",
}


def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    """Return all manifests by kind and name."""
    found = [each for path in sorted(FOLDER.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text())]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


class SchemaTests(SynchronousTestCase):
    """The schemas of Kubernetes, with unknown fields refused."""

    def validate(self, manifest: dict[str, Any]) -> None:
        versions = all_versions()
        for version in (versions[0], versions[-1]):
            validate(manifest, version, strict=True)

    def test_valid(self) -> None:
        """The oldest and the newest Kubernetes known accept each manifest."""
        self.assertEqual(
            set(manifests()),
            {
                ("Deployment", "airyd"),
                ("PodDisruptionBudget", "airyd"),
                ("Service", "airyd"),
                ("Service", "airyd-admin"),
            },
        )
        for manifest in manifests().values():
            self.validate(manifest)

    def test_can_fail(self) -> None:
        """A misspelt field and a wrong type are refused."""
        for path, value in (("terminationGracePeriodSecond", 60), ("terminationGracePeriodSeconds", "60 s")):
            wrong = deepcopy(manifests()["Deployment", "airyd"])
            wrong["spec"]["template"]["spec"][path] = value
            self.assertRaises(ValidationError, self.validate, wrong)


class DeploymentCase(SynchronousTestCase):
    """The pod and its container."""

    def setUp(self) -> None:
        self.manifests = manifests()
        self.deployment = self.manifests["Deployment", "airyd"]["spec"]
        self.pod = self.deployment["template"]["spec"]
        (self.container,) = self.pod["containers"]

    def settings(self) -> Settings:
        """Return the settings that the container's arguments make."""
        options = Options()
        options.parseOptions(self.container["args"])
        return options.settings


class AgreementTests(DeploymentCase):
    """Numbers, names and ports that must fit each other."""

    def test_time_to_drain(self) -> None:
        """Kubernetes waits until airyd has drained, and a new client finds another pod before airyd refuses it."""
        settings = self.settings()
        drain = settings.drain_notice + settings.drain_seconds
        self.assertEqual(self.pod["terminationGracePeriodSeconds"], drain + AFTER_THE_CLOSES)
        self.assertLessEqual(drain, LONGEST_DRAIN)
        readiness = self.container["readinessProbe"]
        noticed = readiness["periodSeconds"] * readiness["failureThreshold"] + readiness["timeoutSeconds"]
        self.assertGreaterEqual(settings.drain_notice, noticed)

    def test_user(self) -> None:
        """The user is the image's, and has no rights."""
        user, _, group = last("USER").partition(":")
        context = self.pod["securityContext"]
        self.assertEqual([context["runAsUser"], context["runAsGroup"]], [int(user), int(group)])
        self.assertEqual(context["fsGroup"], int(group))
        self.assertTrue(context["runAsNonRoot"])
        self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
        expected = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        self.assertEqual(self.container["securityContext"], expected)
        self.assertFalse(self.pod["automountServiceAccountToken"])

    def test_selectors(self) -> None:
        """Everything selects the pods of the deployment."""
        labels = self.deployment["template"]["metadata"]["labels"]
        self.assertEqual(self.deployment["selector"]["matchLabels"], labels)
        self.assertEqual(self.pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"], labels)
        self.assertEqual(self.manifests["PodDisruptionBudget", "airyd"]["spec"]["selector"]["matchLabels"], labels)
        for name in ("airyd", "airyd-admin"):
            self.assertEqual(self.manifests["Service", name]["spec"]["selector"], labels)

    def test_ports(self) -> None:
        """The ports are the image's and the options'; clients and the admin page have services of their own."""
        ports = {each["name"]: each["containerPort"] for each in self.container["ports"]}
        settings = self.settings()
        given = {"clients": settings.listen[0], "admin": settings.admin}
        self.assertEqual({name: f"tcp:{port}" for name, port in ports.items()}, given)
        self.assertEqual(last("EXPOSE").split(), [str(port) for port in ports.values()])
        served = {name: self.manifests["Service", name]["spec"]["ports"] for name in ("airyd", "airyd-admin")}
        targets = {name: [each["targetPort"] for each in listed] for name, listed in served.items()}
        self.assertEqual(targets, {"airyd": ["clients"], "airyd-admin": ["admin"]})

    def test_one_pod_can_always_be_evicted(self) -> None:
        """The budget keeps a pod serving, and blocks nobody who empties a node."""
        budget = self.manifests["PodDisruptionBudget", "airyd"]["spec"]
        self.assertEqual(budget["maxUnavailable"], 1)
        self.assertGreater(self.deployment["replicas"], budget["maxUnavailable"])

    def test_secret(self) -> None:
        """docs/installing.rst makes the Secret with each file that the options name."""
        (mount,) = self.container["volumeMounts"]
        (volume,) = self.pod["volumes"]
        named = set(re.findall(rf"{mount['mountPath']}/([\w-]+)", " ".join(self.container["args"])))
        self.assertEqual(named, set(SECRETS))
        text = (TREE / "docs/installing.rst").read_text()
        command = re.findall(rf"kubectl create secret generic {volume['secret']['secretName']} ((?:.*\\\n)*.*)", text)
        self.assertEqual(len(command), 1, text)
        self.assertEqual(set(re.findall(r"--from-file=(?:secrets/)?([\w-]+)", command[0])), named)


@pytest.mark.integration
class PodTests(DeploymentCase):
    """airyd with the container's arguments, as the security context says."""

    def test_probes(self) -> None:
        """Each probe gets 200 from airyd, without a token; the metrics need the token of Prometheus."""
        secrets = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, secrets)
        for name, text in SECRETS.items():
            (secrets / name).write_text(text)
        mount = self.container["volumeMounts"][0]["mountPath"]
        args = ["--source=memory:" if each.startswith("--source=") else each for each in self.container["args"]]
        self.assertIn("--source=memory:", args)
        container = Container(
            Path("/"),
            [*words("ENTRYPOINT"), *args],
            {"PATH": last("ENV").partition("=")[2], "PYTHONUNBUFFERED": "1"},
            [*own_programs(), ("tmpfs", "/run"), (secrets, mount)],
        )
        self.addCleanup(container.close)
        container.wait_for("airyd serves ws://")
        ports = {each["name"]: each["containerPort"] for each in self.container["ports"]}
        for name, path, headers in self.requests():
            url = f"http://127.0.0.1:{ports[name]}{path}"
            done = container.run(
                "curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", *headers, url
            )
            self.assertEqual(done.stdout, "200", path)
        self.assertFalse(COMPLAINTS.search(container.log), container.log)

    def requests(self) -> Iterator[tuple[str, str, list[str]]]:
        """Yield port, path and curl's options of what the cluster asks for."""
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = self.container[name]["httpGet"]
            yield asked["port"], asked["path"], []
        yield "admin", "/metrics", ["--header", f"Authorization: Bearer {READ_TOKEN}"]

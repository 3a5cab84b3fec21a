"""compose.yaml: valid for docker compose, and its services work together, without a container engine.

The services run in the namespaces of one container: Redis, the two nodes and nginx of this machine, with the commands,
the secrets, the addresses and the configuration that compose.yaml gives them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.containerfile import words
from tests.integration.daemon import TREE
from tests.integration.namespace import Container, own_programs
from tests.integration.payloads import CHANNEL_CONNECTED, body
from tests.patience import PATIENCE
from tests.snippets import consoles

COMPOSE: Final = TREE / "compose.yaml"
#: Seconds for the end of the process after the last close, as docs/operating.rst says.
AFTER_THE_CLOSES: Final = 15


def docker_compose(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real docker compose, which needs no engine for that."""
    program = Path(sys.executable).parent / "docker-compose"
    command = [str(program), "--project-directory", str(TREE), "--file", str(file), *arguments]
    environ = {"HOME": "/nonexistent", "PATH": os.environ["PATH"]}
    return subprocess.run(command, capture_output=True, text=True, env=environ, check=False)


def services() -> dict[str, Any]:
    """Return the services as docker compose reads them."""
    done = docker_compose(COMPOSE, "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.replace("$$", "$"))["services"])


@pytest.mark.integration
class FileTests(SynchronousTestCase):
    """The file."""

    def test_valid(self) -> None:
        """docker compose accepts it without a word."""
        done = docker_compose(COMPOSE, "config", "--quiet")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_can_fail(self) -> None:
        """docker compose refuses a misspelt key."""
        wrong = Path(self.mktemp())
        wrong.write_text(COMPOSE.read_text().replace("read_only:", "readonly:"))
        self.assertNotEqual(docker_compose(wrong, "config", "--quiet").returncode, 0)

    def test_nodes(self) -> None:
        """The nodes have no rights and no writable place, and the time that they need to drain."""
        found = services()
        for name in ("node-1", "node-2"):
            node = found[name]
            self.assertTrue(node["read_only"])
            self.assertEqual(node["cap_drop"], ["ALL"])
            self.assertEqual(node["security_opt"], ["no-new-privileges:true"])
            (seconds,) = re.findall(r"--drain-seconds=(\d+)", " ".join(node["command"]))
            self.assertEqual(node["stop_grace_period"], f"{int(seconds) + AFTER_THE_CLOSES}s")
            self.assertIn(f"--trust-proxy={address(found['nginx'])}", node["command"])
            for each in node["ports"]:
                self.assertEqual(each["host_ip"], "127.0.0.1")

    def test_no_secret_in_a_command_line(self) -> None:
        """What a service is started with names the files of secrets; Redis' shell reads one."""
        for name, service in services().items():
            self.assertNotRegex(" ".join(service.get("command") or []), r"requirepass|PASSWORD=|://\w+:", name)


def address(service: dict[str, Any]) -> str:
    """Return the address that a service has in the network of the services."""
    return str(service["networks"]["inside"]["ipv4_address"])


@pytest.mark.integration
class StackTests(SynchronousTestCase):
    """All services together."""

    def setUp(self) -> None:
        self.folder = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.services = services()
        self.nodes = [address(self.services[name]) for name in ("node-1", "node-2")]
        self.inside = self.namespaces()

    def namespaces(self) -> Container:
        """Make the secrets, and the namespaces in which the services find them."""
        run, tls = self.folder / "run", self.folder / "nginx"
        run.mkdir()
        tls.mkdir()
        secrets = self.make_secrets()
        for each in self.services["node-1"]["secrets"]:
            shutil.copy(secrets / each["source"], run)
        shutil.copy(secrets / "fullchain.pem", run)
        for each in self.services["nginx"]["secrets"]:
            shutil.copy(secrets / Path(each["target"]).name, tls)
        shutil.copy(COMPOSE.parent / "etc/nginx/airyd.conf", tls)
        hosts = self.folder / "hosts"
        named = [
            f"{place} {' '.join(self.services[name]['networks']['inside']['aliases'])}\n"
            for name, place in zip(("node-1", "node-2"), self.nodes, strict=True)
        ]
        hosts.write_text("".join(["127.0.0.1 localhost redis\n", *named]))
        container = Container(
            Path("/"),
            ["/bin/sh", "-c", "echo begins; exec sleep infinity"],
            {"PATH": f"/opt/airyd/bin:{os.environ['PATH']}:/usr/sbin", "PYTHONUNBUFFERED": "1"},
            [
                *own_programs(),
                *(("tmpfs", "/run"), (run, "/run/secrets")),
                *(("tmpfs", "/etc/ssl"), (tls, "/etc/ssl/airyd")),
                *((hosts, "/etc/hosts"), ("scratch", "/mnt")),
            ],
            [address(self.services["nginx"]), *self.nodes],
        )
        self.addCleanup(container.close)
        container.wait_for("begins")
        return container

    def make_secrets(self) -> Path:
        """Run the commands of docs/installing.rst that make the files of secrets; return their folder."""
        for snippet, commands in consoles():
            if snippet.document == "docs/installing.rst" and "mkdir -m 700 secrets" in snippet.text:
                for each in commands[:-1]:
                    subprocess.run(each.line, shell=True, cwd=self.folder, capture_output=True, check=True)  # noqa: S602
        found = self.folder / "secrets"
        named = json.loads(docker_compose(COMPOSE, "config", "--format", "json").stdout)["secrets"].values()
        self.assertEqual({Path(each["file"]).name for each in named}, {path.name for path in found.iterdir()})
        return found

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a program inside, with its output in a file."""
        with self.output(name).open("wb") as output:
            program = subprocess.Popen(
                self.inside.inside(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.inside.environ,
            )
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        return program

    def output(self, name: str) -> Path:
        """Return the file with what a program printed."""
        return self.folder / f"{name}.log"

    def wait_for(self, name: str, text: str) -> None:
        """Wait until a program has printed a text."""
        deadline = time.monotonic() + PATIENCE
        while text not in (printed := self.output(name).read_text()):
            assert time.monotonic() < deadline, printed
            time.sleep(0.02)

    def replaced(self, command: Sequence[str], place: str) -> list[str]:
        """Return a command of a node that listens on its own address only, since the nodes share a loopback."""
        return [re.sub(r"(--(?:listen|admin)=tcp:\d+)$", rf"\1:interface={place}", each) for each in command]

    def start_all(self) -> None:
        """Start the services, and wait until their health checks are good."""
        redis = [each.replace("dir /data", "dir /mnt") for each in self.services["redis"]["command"]]
        self.start("redis", *redis)
        self.start_node(0)
        self.start_node(1)
        (self.folder / "nginx/nginx.conf").write_text(
            f"""
            daemon off; pid /mnt/nginx.pid; error_log stderr;
            events {{}}
            http {{
                client_body_temp_path /mnt/1; proxy_temp_path /mnt/2; fastcgi_temp_path /mnt/3;
                uwsgi_temp_path /mnt/4; scgi_temp_path /mnt/5; access_log off;
                proxy_bind {address(self.services["nginx"])};
                include /etc/ssl/airyd/airyd.conf;
            }}
            """.replace("443", "8443")
        )
        conf = self.folder / "nginx/airyd.conf"
        conf.write_text(conf.read_text().replace("443", "8443"))  # without rights no port below 1024
        self.start("nginx", "nginx", "-e", "stderr", "-c", "/etc/ssl/airyd/nginx.conf")
        kind, command = self.services["redis"]["healthcheck"]["test"]
        self.assertEqual(kind, "CMD-SHELL")
        self.wait_until_healthy("sh", "-c", command)
        for name, place in zip(("node-1", "node-2"), self.nodes, strict=True):
            kind, *check = self.services[name]["healthcheck"]["test"]
            self.assertEqual(kind, "CMD")
            self.wait_until_healthy(*(each.replace("127.0.0.1", place) for each in check))

    def start_node(self, index: int) -> subprocess.Popen[bytes]:
        """Start a node."""
        command = self.replaced(self.services[f"node-{index + 1}"]["command"], self.nodes[index])
        return self.start(f"node-{index + 1}", *words("ENTRYPOINT"), *command)

    def wait_until_healthy(self, *command: str) -> None:
        """Wait until a health check is good."""
        deadline = time.monotonic() + PATIENCE
        while (done := self.inside.run(*command)).returncode:
            assert time.monotonic() < deadline, f"{command}: {done.stdout}\n{self.logs()}"
            time.sleep(0.05)

    def logs(self) -> str:
        """Return what all programs have printed."""
        return "\n".join(f"{path.name}:\n{path.read_text()}" for path in self.folder.glob("*.log"))

    def publish(self, index: int, number: int) -> None:
        """Publish an event at the admin page of a node."""
        event = body(CHANNEL_CONNECTED, number).decode()
        options = ("--token-file=/run/secrets/admin-token", f"http://{self.nodes[index]}:8081")
        done = self.inside.run("airyd", "publish", *options, CHANNEL_CONNECTED, event)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_events_reach_a_client(self) -> None:
        """A client gets the events of both nodes by nginx and TLS, and the nodes know its own address."""
        self.start_all()
        made = self.inside.run("airyd", "token", "--secret-file=/run/secrets/jwt-secret", "ann")
        (self.folder / "run/token").write_text(made.stdout)
        options = ("--token-file=/run/secrets/token", "--ca-file=/run/secrets/fullchain.pem", "--count=2")
        tail = self.start("tail", "airyd", "tail", *options, "wss://localhost:8443", CHANNEL_CONNECTED)
        self.wait_for("tail", "connected to")
        self.publish(0, 1)
        nodes = [f"--admin=http://{place}:8081" for place in self.nodes]
        listed = self.inside.run("airyd", "connections", "--token-file=/run/secrets/admin-token", *nodes)
        self.assertEqual(re.findall(r'"address": *"([^"]*)"', listed.stdout), ["127.0.0.1"], listed.stdout)
        self.publish(1, 2)
        self.assertEqual(tail.wait(PATIENCE), 0)
        password = (self.folder / "secrets/redis-password").read_text().strip()
        for name in ("node-1", "node-2", "redis"):
            self.assertNotIn(password, self.output(name).read_text())

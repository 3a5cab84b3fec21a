"""The ways to airyd that the scenarios of TLS compare: without TLS, ``ssl:``, and proxies that end TLS."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from bench.machine import cpu_seconds, resident_kib
from bench.servers import START_PATIENCE, Running, Server, ServerFailed, accepts, free_port, on_core, running

PLAIN: Final = "plain"
SSL: Final = "ssl:"
HAPROXY: Final = "haproxy"
NGINX: Final = "nginx"
#: OpenSSL alone, without airyd.
BARE: Final = "OpenSSL"

P_256: Final = "P-256"
RSA_2048: Final = "RSA-2048"

#: Debian's folder for the programs; only root has it in PATH.
_PLACES: Final = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"))
_SECURE: Final = re.compile(rb"serves wss://127\.0\.0\.1:(\d+)/")
#: Each uses one core, and accepts as many connections as the scenarios make.
_CONFIGURATIONS: Final = {
    NGINX: """\
daemon off;
master_process off;
worker_rlimit_nofile 20000;
pid {directory}/pid;
error_log stderr;
events {{ worker_connections 9000; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl backlog=1024;
        ssl_certificate {pem};
        ssl_certificate_key {pem};
        location / {{
            proxy_pass http://127.0.0.1:{to};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $http_host;
            proxy_read_timeout 1h;
        }}
    }}
}}
""",
    HAPROXY: """\
global
    nbthread 1
    maxconn 9000
defaults
    mode http
    timeout connect 60s
    timeout client 1h
    timeout server 1h
frontend clients
    bind 127.0.0.1:{port} ssl crt {pem}
    default_backend airyd
backend airyd
    server airyd 127.0.0.1:{to}
""",
}
_OPTIONS: Final = {NGINX: ("-e", "stderr", "-p", "{directory}", "-c"), HAPROXY: ("-db", "-f")}


@dataclass(frozen=True, slots=True)
class Way:
    """A way to a running airyd.

    :ivar port: where clients connect
    :ivar tls: what they connect with, if there is TLS
    :ivar pids: airyd, and the proxy if there is one
    """

    port: int
    path: str
    tls: ssl.SSLContext | None
    pids: tuple[int, ...]

    def cpu_seconds(self) -> float:
        """Return the CPU time of all processes of the way."""
        return sum(map(cpu_seconds, self.pids))

    def resident_kib(self) -> float:
        """Return the memory of all processes of the way."""
        return sum(map(resident_kib, self.pids))


@contextmanager
def way_to(server: Server, way: str, core: int, kind: str = P_256) -> Iterator[Way]:
    """Start airyd and what is in front of it on ``core``, and stop both at the end.

    :param kind: the kind of the certificate's key
    :raises ServerFailed: one of them did not start
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="airyd-bench-")))
        pem = _write_certificate(directory, kind)
        command = server.command
        if way == SSL:
            command += (f"--listen=ssl:0:interface=127.0.0.1:privateKey={pem}",)
        elif way == BARE:
            command = (sys.executable, "-m", "bench.tls_bare", str(pem))
        target = stack.enter_context(running(Server(server.name, command), core))
        context = None if way == PLAIN else _client_context(pem)
        if way in (PLAIN, BARE):
            yield Way(target.port, target.path, context, (target.pid,))
        elif way == SSL:
            yield Way(_secure_port(target), target.path, context, (target.pid,))
        else:
            port = free_port()
            pid = stack.enter_context(_proxy(way, directory, pem, port, target.port, core))
            yield Way(port, target.path, context, (target.pid, pid))


def _secure_port(target: Running) -> int:
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline:
        if found := _SECURE.search(target.log.read_bytes()):
            return int(found[1])
        time.sleep(0.05)
    raise ServerFailed("airyd does not listen with TLS")


@contextmanager
def _proxy(name: str, directory: Path, pem: Path, port: int, to: int, core: int) -> Iterator[int]:
    program = shutil.which(name, path=_PLACES)
    if program is None:
        raise ServerFailed(f"{name} is missing")
    configuration = directory / "configuration"
    configuration.write_text(_CONFIGURATIONS[name].format(directory=directory, pem=pem, port=port, to=to))
    options = [word.format(directory=directory) for word in _OPTIONS[name]]
    log = directory / "log"
    with on_core(core), log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603  # the program above, no shell
            [program, *options, str(configuration)], stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + START_PATIENCE
        while not accepts(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"{name} does not listen: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _write_certificate(directory: Path, kind: str) -> Path:
    """Return a PEM file with a key and a certificate for it."""
    key = (
        ec.generate_private_key(ec.SECP256R1())
        if kind == P_256
        else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = directory / "certificate.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return pem


def _client_context(pem: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pem))
    context.check_hostname = False
    return context

"""Real proxies in front of airyd: nginx and haproxy with the configurations of ``etc``."""

from __future__ import annotations

import atexit
import contextlib
import csv
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.patience import PATIENCE
from tests.sources.redis.certificates import Certificates

#: Debian's folder for the programs; only root has it in PATH.
_PLACES: Final = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"))
_TREE: Final = Path(__file__).parents[2]
#: The configurations that airyd ships.
FILES: Final = {"nginx": _TREE / "etc/nginx/airyd.conf", "haproxy": _TREE / "etc/haproxy/airyd.cfg"}
#: What nginx prints before its own configuration files: those of airyd are a part of ``http``.
_AROUND: Final = """\
daemon off;
pid {directory}/pid;
error_log stderr;
{main}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {text}
}}
"""
#: One process of nginx without workers.
_ALONE: Final = "master_process off;\nevents { }"
#: How the proxies accept the PROXY protocol from clients.
_ACCEPT: Final = {"nginx": " proxy_protocol", "haproxy": " accept-proxy"}
#: Lines of the files after which a test adds its own: in the server of nginx, in its location, and so on.
_NGINX_SERVER: Final = "server_tokens off;\n"
_NGINX_LOCATION: Final = "proxy_http_version 1.1;\n"
_HAPROXY_GLOBAL: Final = "\nglobal\n"
_HAPROXY_FRONTEND: Final = "frontend clients\n"
_HAPROXY_BACKEND: Final = "backend airyd\n"
# What docs/security.rst says about the largest tokens.
_LARGE: Final = {
    "nginx": (_NGINX_SERVER, f"{_NGINX_SERVER}large_client_header_buffers 4 160k;\n"),
    "haproxy": (_HAPROXY_GLOBAL, f"{_HAPROXY_GLOBAL}tune.bufsize 180000\n"),
}


class Node(NamedTuple):
    """The ports of a node on the loopback interface."""

    port: int
    admin_port: int


def _replace(text: str, old: str, new: str) -> str:
    """Replace a part of a configuration, which must be there."""
    if old not in text:
        raise AssertionError(f"the configuration has no {old!r}")
    return text.replace(old, new)


def _pattern(text: str, pattern: str, new: str) -> str:
    """Replace what matches a pattern, which must match; ``new`` is no template."""
    text, count = re.subn(pattern, lambda _: new, text, flags=re.MULTILINE)
    if not count:
        raise AssertionError(f"the configuration has nothing like {pattern!r}")
    return text


class _Program:
    """A proxy's process in a temporary directory."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._directory = Path(tempfile.mkdtemp(prefix="airyd-test-"))
        self._log_path = self._directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    def _start(self, text: str, main: str = _ALONE, listener: socket.socket | None = None) -> None:
        """Start the proxy.

        :param text: its configuration
        :param main: nginx's settings outside of ``http``
        :param listener: a socket that it inherits
        """
        if self.name == "nginx":
            text = _AROUND.format(directory=self._directory, main=main, text=text)
        config = self._directory / "config"
        config.write_text(text)
        program = shutil.which(self.name, path=_PLACES)
        if program is None:
            raise AssertionError(f"{self.name} is missing")
        options = {"nginx": ["-e", "stderr", "-p", str(self._directory), "-c"], "haproxy": ["-db", "-f"]}[self.name]
        inherited = () if listener is None else (listener.fileno(),)
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [program, *options, str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=inherited,
                # nginx takes its listening sockets from this variable when its program is replaced.
                env={**os.environ, **({"NGINX": f"{inherited[0]};"} if inherited else {})},
            )

    @property
    def log(self) -> str:
        """What the proxy printed."""
        return self._log_path.read_text("utf-8", "replace")

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _fail(self) -> None:
        log = self.log
        self.stop()
        raise AssertionError(f"the proxy does not serve: {log[-2000:]}")

    def stop(self) -> None:
        """Stop the proxy."""
        if self._process is not None:
            self._process.terminate()  # at SIGKILL, nginx would leave its workers behind
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
        atexit.unregister(self.stop)


class Front(_Program):
    """A proxy for one node, on a unix socket without TLS, that removes ``Authorization``.

    :param name: ``nginx`` or ``haproxy``
    :param port: the node's port on the loopback interface
    :param is_large: whether it lets the largest tokens pass in the opening handshake
    :param accepts_proxy: whether its clients send the PROXY protocol, and so say which address they have
    :param more: more settings of nginx's location, or of haproxy's backend
    :param server: more words for haproxy's server
    :ivar socket: the path of the unix socket for clients
    """

    def __init__(
        self,
        name: str,
        port: int,
        is_large: bool = False,
        *,
        accepts_proxy: bool = False,
        more: str = "",
        server: str = "",
    ) -> None:
        super().__init__(name)
        self.socket = self._directory / "socket"
        text = FILES[name].read_text()
        accept = _ACCEPT[name] if accepts_proxy else ""
        if is_large:
            text = _replace(text, *_LARGE[name])
        if name == "nginx":
            text = _pattern(text, r"^ *listen 443 ssl;$", f"listen unix:{self.socket}{accept};")
            text = _pattern(text, r"^ *(listen \[::\]:443|ssl_\w+) .*$", "")
            more += '\nproxy_set_header Authorization "";\n'
            text = _replace(text, _NGINX_LOCATION, f"{_NGINX_LOCATION}{more}")
            real = "set_real_ip_from unix:; real_ip_header proxy_protocol;\n"
            text = _replace(text, _NGINX_SERVER, f"{_NGINX_SERVER}{real}")
            text = _replace(text, "server node-1.example.org:8080", f"server 127.0.0.1:{port}")
            text = _pattern(text, r"^ *server node-2\..*$", "")
        else:
            text = _pattern(text, r"^ *(user|group) .*$", "")
            text = _pattern(text, r"^ *bind .*$", f"bind unix@{self.socket}{accept}")
            deleting = f"{_HAPROXY_FRONTEND}http-request del-header Authorization\n"
            text = _replace(text, _HAPROXY_FRONTEND, deleting)
            text = _replace(text, _HAPROXY_BACKEND, f"{_HAPROXY_BACKEND}{more}\n")
            text = _pattern(text, r"^ *server node-.*$", "")
            text += f"    server airyd 127.0.0.1:{port} {server}\n"
        self._start(text)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket(socket.AF_UNIX) as attempt:
                if attempt.connect_ex(str(self.socket)) == 0:
                    return
            if not self._is_running() or time.monotonic() > deadline:
                self._fail()
            time.sleep(0.01)


class TlsFront(_Program):
    """A proxy for two nodes as its file says, with TLS; only ports, paths and names are replaced.

    :param name: ``nginx`` or ``haproxy``
    :param nodes: two nodes
    :param changes: further parts of the file, each with what replaces it
    :param main: nginx's settings outside of ``http``
    :ivar port: the port for clients on the loopback interface
    """

    def __init__(
        self,
        name: str,
        nodes: Sequence[Node],
        files: Certificates,
        changes: Sequence[tuple[str, str]] = (),
        main: str = "",
    ) -> None:
        super().__init__(name)
        text = FILES[name].read_text()
        for old, new in changes:
            text = _replace(text, old, new)
        with socket.create_server(("127.0.0.1", 0), backlog=511) as listener:
            self.port: int = listener.getsockname()[1]
            if name == "nginx":
                text = _replace(text, "listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;")
                text = _replace(text, "    listen [::]:443 ssl;\n", "")
                text = _replace(text, "/etc/ssl/airyd/fullchain.pem", files.server)
                text = _replace(text, "/etc/ssl/airyd/key.pem", files.server_key)
                main = (
                    (main or "events { }") + "\nworker_processes 2;\n" + ("user root;\n" if os.geteuid() == 0 else "")
                )
            else:
                both = self._directory / "airyd.pem"
                both.write_text(Path(files.server).read_text() + Path(files.server_key).read_text())
                text = _pattern(text, r"^ *(user|group) .*$", "")
                text = _replace(text, "bind :::443 v4v6 ", f"bind fd@{listener.fileno()} ")
                text = _replace(text, "/etc/haproxy/airyd.pem", str(both))
                text = _replace(text, "default-server port 8081 ", "default-server ")
                text = _replace(text, _HAPROXY_GLOBAL, f"{_HAPROXY_GLOBAL}stats socket {self._directory}/stats\n")
            for number, node in enumerate(nodes, 1):
                text = _replace(text, f" node-{number}.example.org:8080", f" 127.0.0.1:{node.port}")
                if name == "haproxy":
                    words = f" server node-{number} 127.0.0.1:{node.port}"
                    text = _replace(text, f"{words} ", f"{words} port {node.admin_port} ")
            self._start(text, main, listener)
        self._wait_until_ready(files)

    def _wait_until_ready(self, files: Certificates) -> None:
        """Send a request for another path; it waits in the queue of the socket until the proxy has started."""
        context = ssl.create_default_context(cafile=files.ca)
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            if secure.recv(100).startswith(b"HTTP/1.1 404 "):
                return
        self._fail()

    def health(self, server: str) -> str:
        """Return the status of a server and the result of its last check, as HAProxy's ``show stat`` has them."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(PATIENCE)
            asking.connect(str(self._directory / "stats"))
            asking.sendall(b"show stat\n")
            answer = b""
            while more := asking.recv(1 << 16):
                answer += more
        rows = csv.DictReader(answer.decode().removeprefix("# ").splitlines())
        (found,) = (f"{row['status']} {row['check_status']}" for row in rows if row["svname"] == server)
        return found

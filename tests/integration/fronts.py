"""Real proxies in front of airyd: nginx and haproxy, each on its own unix socket."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.patience import PATIENCE

#: Debian's folder for the programs; only root has it in PATH.
_PLACES: Final = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"))

_EXAMPLE: Final = Path(__file__).parents[2] / "docs" / "examples" / "nginx.conf"
# The example of docs/operating.rst, and haproxy's example for WebSockets, both with Authorization removed.
_NGINX: Final = """\
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen unix:{socket}{accept};
        set_real_ip_from unix:;
        real_ip_header proxy_protocol;
        {large}
        {location}
    }}
}}
"""
_HAPROXY: Final = """\
{large}
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s
frontend clients
    bind unix@{socket}{accept}
    http-request del-header Authorization
    default_backend airyd
backend airyd
    {backend}
    server airyd 127.0.0.1:{port} {server}
"""
#: How the proxies accept the PROXY protocol from clients.
_ACCEPT: Final = {"nginx": " proxy_protocol", "haproxy": " accept-proxy"}
# What docs/security.rst says about the largest tokens.
_LARGE: Final = {"nginx": "large_client_header_buffers 4 160k;", "haproxy": "global\n    tune.bufsize 180000"}


class Front:
    """One proxy that forwards to a port of the loopback interface, and removes ``Authorization``.

    :param name: ``nginx`` or ``haproxy``
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
        self._directory = Path(tempfile.mkdtemp(prefix="airyd-test-"))
        self.socket = self._directory / "socket"
        config = self._directory / "config"
        text = {"nginx": _NGINX, "haproxy": _HAPROXY}[name]
        location = _EXAMPLE.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}")
        location = location.replace(
            "}", f'proxy_set_header Authorization "";\n{more}\n}}'
        )  # here, as none is inherited
        values = {
            "directory": self._directory,
            "socket": self.socket,
            "port": port,
            "location": location,
            "accept": _ACCEPT[name] if accepts_proxy else "",
            "backend": more,
            "server": server,
        }
        config.write_text(text.format(**values, large=_LARGE[name] if is_large else ""))
        program = shutil.which(name, path=_PLACES)
        if program is None:
            raise AssertionError(f"{name} is missing")
        options = {"nginx": ["-e", "stderr", "-p", str(self._directory), "-c"], "haproxy": ["-db", "-f"]}[name]
        self._log_path = self._directory / "log"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [program, *options, str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        atexit.register(self.stop)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket(socket.AF_UNIX) as attempt:
                if attempt.connect_ex(str(self.socket)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self._log_path.read_text()
                self.stop()
                raise AssertionError(f"the proxy does not listen: {log[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop the proxy."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
        atexit.unregister(self.stop)

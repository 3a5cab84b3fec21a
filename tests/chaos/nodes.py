"""The daemons under test: each reaches Redis by its own link, and may be killed and restarted."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Sequence
from datetime import datetime
from http.client import HTTPException
from typing import Final, NamedTuple

from tests.chaos.publisher import PREFIX
from tests.integration.daemon import TWISTD, Daemon
from tests.integration.proxy import Proxy

#: The URL of a source that reads the streams of one Redis.
STREAMS: Final = f"redis://127.0.0.1:{{port}}/0?prefix={PREFIX}"
_GAP: Final = re.compile(r"^(\S+) .*events of \['(.+?)'\] may have been missed: (.*)$", re.MULTILINE)

_RECEIVED: Final = "events_received_total"


class Gap(NamedTuple):
    """A gap that a node logged."""

    destination: str
    reason: str
    when: float


class Life(NamedTuple):
    """The life of one process: its start and end in monotonic time; ``end`` is infinite while it runs."""

    begin: float
    end: float
    gaps: list[Gap]


class Node:
    """An airyd that can be killed and restarted.

    :param is_linked: whether its connection to Redis goes through a link that can be cut
    :param source: the URL of its source, with ``{port}`` for the port of the link or of Redis
    :param options: more options of the daemon
    :param plant: a fault of :mod:`tests.chaos.plants` to plant into it, or ""
    :ivar port: the port for clients, which stays the same
    :ivar link: the proxy between it and Redis
    :ivar lives: its processes so far
    :ivar complaints: tracebacks and warnings in their logs
    """

    def __init__(
        self,
        redis_port: int,
        plant: str = "",
        *,
        is_linked: bool = True,
        source: str = STREAMS,
        options: Sequence[str] = (),
    ) -> None:
        self.link = Proxy(redis_port)
        self._source = source.format(port=self.link.port if is_linked else redis_port)
        self._options = options
        self.lives: list[Life] = []
        self.complaints: list[str] = []
        self._program = f"from tests.chaos.plants import {plant}; {plant}(); {TWISTD}" if plant else TWISTD
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start a process, and wait until it is ready."""
        begin = time.monotonic()
        options = [f"--source={source}" for source in self.sources()]
        self._daemon = self.daemon(*options, *self._options)
        self.port = self._daemon.port
        self.lives.append(Life(begin, float("inf"), []))

    def daemon(self, *options: str) -> Daemon:
        """Start a process with these options."""
        return Daemon(*options, port=self.port, program=self._program)

    def sources(self) -> list[str]:
        """Return the URLs of its sources."""
        return [self._source]

    def kill(self) -> None:
        """Kill the process by SIGKILL."""
        os.kill(self._daemon.pid, signal.SIGKILL)
        self._over()

    def terminate(self) -> None:
        """Stop the process by SIGTERM; it must end with status 0."""
        self._daemon.terminate()
        status = self._over()
        if status != 0:
            self.complaints.append(f"after SIGTERM it ended with {status}")

    def _over(self) -> int:
        begin = self.lives.pop().begin
        status = self._daemon.wait()
        self.lives.append(Life(begin, time.monotonic(), self.gaps()))
        self.complaints += self._daemon.complaints()
        self._daemon.kill()  # removes its directory
        return status

    def gaps(self) -> list[Gap]:
        """Return the gaps that the present process logged."""
        offset = time.time() - time.monotonic()
        return [
            Gap(destination, reason, datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S%z").timestamp() - offset)
            for stamp, destination, reason in _GAP.findall(self._daemon.log)
        ]

    @property
    def log(self) -> str:
        """The log of the present process."""
        return self._daemon.log

    @property
    def received(self) -> int | None:
        """How many events the present process got from Redis; None if it does not answer.

        In a mixed run another fault may have killed it.
        """
        try:
            return self._daemon.sums(_RECEIVED)[_RECEIVED]
        except (OSError, HTTPException):
            return None

    @property
    def resident(self) -> int:
        """The process's resident memory in bytes."""
        with open(f"/proc/{self._daemon.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """Stop the process and the link; ``complaints`` are kept."""
        self.terminate()
        self.link.close()

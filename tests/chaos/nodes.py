"""The daemons of the harness: each reaches Redis by a link of its own, and may be killed and started again."""

from __future__ import annotations

import os
import re
import signal
import time
from datetime import datetime
from http.client import HTTPException
from typing import Final, NamedTuple

from tests.chaos.publisher import PREFIX
from tests.integration.daemon import TWISTD, Daemon
from tests.integration.proxy import Proxy

#: The URL of a source that is one Redis, by Streams.
STREAMS: Final = f"redis://127.0.0.1:{{port}}/0?prefix={PREFIX}"
_GAP: Final = re.compile(r"^(\S+) .*events of \['(.+?)'\] may have been missed: (.*)$", re.MULTILINE)

_RECEIVED: Final = "events_received_total"


class Gap(NamedTuple):
    """A gap that a node spoke of in its log."""

    destination: str
    reason: str
    when: float


class Life(NamedTuple):
    """One process, from its start to its end, in monotonic time; ``end`` is infinite while it runs."""

    begin: float
    end: float
    gaps: list[Gap]


class Node:
    """One airyd.

    :param is_linked: whether its way to Redis goes by a link that can be cut
    :param source: its source's URL, with ``{port}`` for the port by which it reaches Redis
    :param plant: a fault of :mod:`tests.chaos.plants` that is planted into it, or ""
    :ivar port: where clients connect, also after a restart
    :ivar link: its way to Redis
    :ivar lives: its processes so far
    :ivar complaints: tracebacks and warnings in their logs
    """

    def __init__(self, redis_port: int, plant: str = "", *, is_linked: bool = True, source: str = STREAMS) -> None:
        self.link = Proxy(redis_port)
        self._source = source.format(port=self.link.port if is_linked else redis_port)
        self.lives: list[Life] = []
        self.complaints: list[str] = []
        self._program = f"from tests.chaos.plants import {plant}; {plant}(); {TWISTD}" if plant else TWISTD
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start a process, and wait until it is ready."""
        begin = time.monotonic()
        options = [f"--source={source}" for source in self.sources()]
        self._daemon = Daemon(*options, port=self.port, program=self._program)
        self.port = self._daemon.port
        self.lives.append(Life(begin, float("inf"), []))

    def sources(self) -> list[str]:
        """Return the URLs of its sources."""
        return [self._source]

    def kill(self) -> None:
        """End the process by SIGKILL."""
        os.kill(self._daemon.pid, signal.SIGKILL)
        self._over()

    def terminate(self) -> None:
        """End the process by SIGTERM, which it must obey without an error."""
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
        """Return the gaps that the present process has spoken of."""
        offset = time.time() - time.monotonic()
        return [
            Gap(destination, reason, datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S%z").timestamp() - offset)
            for stamp, destination, reason in _GAP.findall(self._daemon.log)
        ]

    @property
    def log(self) -> str:
        """What the present process has logged."""
        return self._daemon.log

    @property
    def received(self) -> int | None:
        """How many events the present process has got from Redis; None while there is none that answers.

        In a mixed run another fault may just have ended it.
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
        """End all; what the last process said is kept."""
        self.terminate()
        self.link.close()

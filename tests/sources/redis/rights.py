"""A redis-server with the users that docs/publishing.rst prints, and daemons that log in as one of them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar, Final

from tests.integration.case import DaemonTestCase
from tests.patience import PATIENCE
from tests.sources.redis.server import Connection, RedisServer

_DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "publishing.rst"


def documented_users() -> Iterator[list[str]]:
    """Yield the words of each ``ACL SETUSER`` line, as redis-cli would send them."""
    for line in re.findall(r"^ +(ACL SETUSER .*)$", _DOCUMENT.read_text(), re.MULTILINE):
        yield line.split()


def password_of(user: str) -> str:
    """Return a documented user's password."""
    words = next(words for words in documented_users() if words[2] == user)
    return next(word for word in words if word.startswith(">"))[1:]


@cache
def server_with_users() -> RedisServer:
    """Return the one server that has these users, beside the default one that may do everything."""
    server = RedisServer()
    connection = server.connect()
    for words in documented_users():
        connection.call(*words)
    connection.close()
    return server


class RightsTestCase(DaemonTestCase):
    """A test with a daemon that logs in as :attr:`user`.

    :cvar destinations: beside Airy's four
    :cvar parameters: of the source's URL
    :ivar redis: a connection of the default user
    """

    user: ClassVar[str]
    destinations: ClassVar[tuple[str, ...]] = ()
    parameters: ClassVar[str] = ""
    redis: Connection
    server: RedisServer

    def setUp(self) -> None:
        self.server = server_with_users()
        self.redis = self.server.connect()
        self.addCleanup(self.redis.close)
        source = f"redis://{self.user}:{password_of(self.user)}@127.0.0.1:{self.server.port}/0{self.parameters}"
        more = [f"--destination={name}" for name in self.destinations]
        type(self).options = (f"--source={source}", "--auth=anonymous:send", *more)
        super().setUp()

    def wait_until_ready(self, wanted: int) -> list[str]:
        """Wait until ``/readyz`` has this status; return its reasons."""
        deadline = time.monotonic() + PATIENCE
        while True:
            status, answer = self.daemon.request("GET", "/readyz")
            if status == wanted:
                return list(json.loads(answer)["reasons"])
            self.assertLess(time.monotonic(), deadline, answer)
            time.sleep(0.02)

    def without(self, right: str) -> None:
        """Take a right away until the test ends."""
        self.redis.call("ACL", "SETUSER", self.user, f"-{right}")
        self.addCleanup(self.redis.call, "ACL", "SETUSER", self.user, f"+{right}")

    def add(self, destination: str, body: bytes, field: str = "payload") -> str:
        """Publish as the contract says; return the entry's id."""
        words = ("XADD", f"airyd:{destination}", "MAXLEN", "~", "10000", "*", field, body)
        return str(self.redis.call(*words).decode())

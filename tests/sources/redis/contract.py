"""The contract of the event sources over a real redis-server: what all kinds of feeds of Redis have around them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import txredisapi

from tests.patience import TIMEOUT
from tests.sources.contract import BrowsableSourceContract
from tests.sources.redis.server import own_prefix, shared_server


class RedisContract(BrowsableSourceContract):
    """The suite with a server, and a prefix of its own; to be mixed with trial's ``TestCase``.

    :ivar operator: a connection for commands other than publishing
    """

    timeout = TIMEOUT

    def setUp(self) -> None:
        """Connect the operator."""
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.prefix = own_prefix()
        self.server = shared_server()
        self.operator = self.server.connect()
        self.addCleanup(self.operator.close)

    @cached_property
    def publisher(self) -> Any:
        """A connection of another Redis library."""
        connection = txredisapi.lazyConnection("127.0.0.1", self.server.port, charset=None)
        self.addCleanup(connection.disconnect)
        return connection

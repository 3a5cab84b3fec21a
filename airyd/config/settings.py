"""What the operator asked for, as plain data: made of the options, and sent to each worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from airyd.limits import PING_INTERVAL, Limits
from airyd.revocation import TOKEN_MAX_AGE
from airyd.stomp.spec import HeartBeat


class DestinationsFile(NamedTuple):
    """The file of ``--destinations-file``; ``airyd.config.catalogue`` reads it.

    :ivar path: absolute, since a daemon changes its working directory
    :ivar others: what is in the catalogue whatever the file says
    """

    path: str
    others: Sequence[str]


class Settings(NamedTuple):
    """What was asked for, checked as far as one option can be by itself.

    :ivar listen: endpoint strings of the WebSocket
    :ivar paths: the paths of the WebSocket; all serve the same
    :ivar sources: the sources' URLs
    :ivar destinations: the catalogue, as it is at the start
    :ivar destinations_file: where more of it may come from, or None
    :ivar auth: the authenticators' specs
    :ivar admin: the endpoint string of the admin page, or None
    :ivar admin_token_file: where the token is that the admin page asks for, or None
    :ivar origins: what ``--origin`` gave; empty for the default
    :ivar grace: seconds for which no client is closed for a missing heart-beat
    :ivar ping_interval: seconds of silence after which a client without heart-beats is pinged; 0 for never
    :ivar workers: processes that serve clients; 1 for this one alone
    :ivar compression: whether to compress for the clients that offer it
    :ivar token_max_age: seconds for which a revocation is kept
    :ivar log_level: which of ``airyd.runtime.logs.LEVELS``
    """

    listen: Sequence[str]
    paths: Sequence[str]
    sources: Sequence[str]
    destinations: Sequence[str]
    auth: Sequence[str]
    admin: str | None
    admin_token_file: str | None
    origins: Sequence[str]
    heart_beat: HeartBeat
    grace: float
    compression: bool
    limits: Limits
    log_level: str
    workers: int = 1
    destinations_file: DestinationsFile | None = None
    token_max_age: int = TOKEN_MAX_AGE
    ping_interval: float = PING_INTERVAL

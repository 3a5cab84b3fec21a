"""The settings as plain data: made from the options, and sent to each worker process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from airyd.limits import DRAIN_NOTICE, DRAIN_SECONDS, PING_INTERVAL, Limits
from airyd.revocation import TOKEN_MAX_AGE
from airyd.stomp.spec import HeartBeat
from airyd.trusted_proxies import X_FORWARDED_FOR


class DestinationsFile(NamedTuple):
    """The file of ``--destinations-file``; ``airyd.config.catalogue`` reads it.

    :ivar path: absolute, since a daemon changes its working directory
    :ivar others: destinations that are in the catalogue in addition to the file's
    :ivar has_user_destinations: whether ``/user/...`` names user destinations, so that the file must not
    """

    path: str
    others: Sequence[str]
    has_user_destinations: bool = False


class Settings(NamedTuple):
    """The values of all options, each checked on its own.

    :ivar listen: endpoint strings of the WebSocket
    :ivar paths: the paths of the WebSocket; all of them serve the same destinations
    :ivar sources: the sources' URLs
    :ivar destinations: the catalogue at the start
    :ivar destinations_file: the file that may add destinations later, or None
    :ivar auth: the authenticators' specs
    :ivar user_destinations: the fields that the events of a user destination are filtered by, each with the claim that
        has the client's values; empty if there are no user destinations
    :ivar admin: the endpoint string of the admin page, or None
    :ivar admin_token_file: the file with the admin page's full token, or None
    :ivar admin_read_token_file: the file with the token that may only read, or None
    :ivar origins: the values of ``--origin``; empty for the default
    :ivar grace: seconds of silence for which no client is closed
    :ivar ping_interval: seconds of silence after which a client without heart-beats is pinged; 0 for never
    :ivar workers: processes that serve clients; 1 means this process alone
    :ivar compression: whether to compress for clients that offer permessage-deflate
    :ivar token_max_age: the longest lifetime of a token, in seconds; revocations are kept at least as long
    :ivar drain_notice: seconds between the start of a stop and the first close
    :ivar drain_seconds: seconds over which the closes of many clients are then spread
    :ivar log_level: the levels of the log, for ``airyd.runtime.log_levels``
    :ivar log_format: one of ``airyd.runtime.log_format.FORMATS``
    :ivar log_connections: whether to log each connection at the level info
    :ivar trust_proxy: the networks of trusted proxies, for ``airyd.trusted_proxies``
    :ivar proxy_header: the header in which they pass on a client's address
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
    user_destinations: tuple[tuple[str, str], ...] = ()
    drain_notice: float = DRAIN_NOTICE
    drain_seconds: float = DRAIN_SECONDS
    log_format: str = "text"
    log_connections: bool = False
    trust_proxy: tuple[str, ...] = ()
    proxy_header: str = X_FORWARDED_FOR
    admin_read_token_file: str | None = None

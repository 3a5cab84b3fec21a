"""The demo page ``/demo``: when there is one, and which web pages it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from airyd.addresses import is_loopback_host
from airyd.config.settings import Settings


def has_demo(settings: Settings) -> bool:
    """Say whether there is a demo page: with a ``sample:`` source that everybody may read."""
    return "sample" in _kinds(settings.sources) and "anonymous" in _kinds(settings.auth)


def demo_origins(settings: Settings, admin: str) -> list[str]:
    """Return the origins that the demo page can have; loopback has several names. Without a demo page there are none.

    :param admin: the URL of the admin page, such as ``http://127.0.0.1:8081/``; of a unix socket there are no pages
    """
    parts = urlsplit(admin)
    host = parts.hostname
    if host is None or parts.scheme not in ("http", "https") or not has_demo(settings):
        return []
    hosts = ["localhost", "127.0.0.1", "::1"] if is_loopback_host(host) else []
    names = [f"[{each}]" if ":" in each else each for each in dict.fromkeys([host, *hosts])]
    return [f"{parts.scheme}://{name}:{parts.port}" for name in names]


def _kinds(values: Iterable[str]) -> set[str]:
    return {each.partition(":")[0].lower() for each in values}

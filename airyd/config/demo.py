"""The demo page ``/demo``: when there is one, and which web pages it comes from."""

from __future__ import annotations

from urllib.parse import urlsplit

from airyd.addresses import is_loopback_host
from airyd.config.options import ANONYMOUS
from airyd.config.settings import Settings


def has_demo(settings: Settings) -> bool:
    """Return whether there are made-up events that everybody may see, which the demo page shows."""
    is_sample = any(url.partition(":")[0].lower() == "sample" for url in settings.sources)
    return is_sample and all(spec.partition(":")[0] == ANONYMOUS for spec in settings.auth)


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

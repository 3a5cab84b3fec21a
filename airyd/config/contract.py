"""What the AsyncAPI document of a configured server says (``airyd.contracts.asyncapi``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from airyd.config.settings import Settings
from airyd.contracts.asyncapi import ContractScope, asyncapi_document
from airyd.listening.endpoints import read_text


def configured_asyncapi(settings: Settings, urls: Sequence[str]) -> dict[str, Any]:
    """Return the document of a server with these settings.

    :param urls: the URLs of its WebSocket
    """
    scope = ContractScope(
        destinations=settings.destinations,
        has_user_destinations=bool(settings.user_destinations),
        urls=urls,
        # An authenticator of another package may want anything.
        needs_token={spec.partition(":")[0] for spec in settings.auth} == {"jwt"},
        limits=settings.limits,
    )
    return asyncapi_document(scope)


def configured_urls(settings: Settings) -> Iterator[str]:
    """Yield the URLs of the WebSocket as far as the options show them; a unix socket, for example, has none.

    Raises ``ConfigurationError`` for a wrong ``--listen``.
    """
    for description in settings.listen:
        text = read_text("--listen", description)
        inner = text.wrapped or text
        if inner.port:
            host = inner.parameters.get("interface", "::" if inner.kind in ("tcp6", "tls") else "0.0.0.0")  # noqa: S104  # what Twisted takes
            host = f"[{host}]" if ":" in host else host
            for path in settings.paths:
                yield f"{'wss' if text.is_tls else 'ws'}://{host}:{inner.port}{path}"

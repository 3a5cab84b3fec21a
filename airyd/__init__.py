"""airyd: a STOMP-over-WebSocket event gateway (see docs/architecture.rst)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__version__ = "0.1.0"

#: What a plugin may import, by module (docs/plugins.rst). All other names may change with any release.
PUBLIC: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "airyd.interfaces": (
            "IEventSourceParser",
            "IEventSource",
            "IMeasuredSource",
            "IBrowsableSource",
            "IEventSink",
            "Lag",
            "SourceContext",
            "IAuthenticatorParser",
            "IAuthenticator",
            "IPrincipal",
            "AuthenticatorContext",
            "Credentials",
            "Opening",
            "IRevocable",
            "IRevocationKeeper",
            "IRevocationStore",
            "IReloadable",
            "Reload",
        ),
        "airyd.events": ("Event", "FilterKey", "HistoryPage", "InvalidEntry", "Row", "RowFilter"),
        "airyd.payloads": ("check",),
        "airyd.revocation": ("Revocation", "RevocationKind"),
        "airyd.errors": (
            "ConfigurationError",
            "SourceUnavailable",
            "PayloadRefused",
            "PayloadFault",
            "LoginRefused",
            "LoginFault",
            "LoginUnavailable",
        ),
    }
)

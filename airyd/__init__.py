"""airyd: a STOMP-over-WebSocket event gateway (see docs/architecture.rst)."""

__version__ = "0.1.0"

"""STOMP 1.0, 1.1 and 1.2 as tables and a sans-IO session.

Bytes go in and typed requests come out; no module here uses Twisted, sockets or a clock. The reading order (each
module imports only earlier ones): ``spec``, ``recent``, ``frames``, ``message``, ``fast_path``, ``parser``, ``state``,
``requests``, ``subscriptions``, ``transactions``, ``session``.
"""

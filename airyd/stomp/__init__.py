"""STOMP 1.0, 1.1 and 1.2 as tables and a sans-IO session.

Bytes go in and requests come out; nothing here knows Twisted, sockets or a clock. In their order
(each may import those before it): ``spec``, ``recent``, ``frames``, ``parser``, ``state``, ``requests``,
``subscriptions``, ``transactions``, ``session``.
"""

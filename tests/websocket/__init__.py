"""Tests of ``airyd.websocket.protocol``, over Twisted's TCP transport and a socket in memory."""

"""Tests of ``airyd.websocket``, over Twisted's TCP transport and a socket in memory."""

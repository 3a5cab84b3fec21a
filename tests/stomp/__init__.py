"""Tests of ``airyd.stomp``: no reactor, no sockets, no clock."""

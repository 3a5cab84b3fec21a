"""Tests of the STOMP floor: no reactor, no sockets, no clock."""

"""Tests of airyd as a process, with real clients over real sockets."""

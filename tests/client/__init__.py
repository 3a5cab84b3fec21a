"""Tests of ``airyd.client``, over a feed and an authenticator that answer on command."""

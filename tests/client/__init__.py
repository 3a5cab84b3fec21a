"""Tests of ``airyd.client.client``, over a feed and a login that answer when told."""

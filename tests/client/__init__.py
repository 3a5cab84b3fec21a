"""Tests of ``airyd.client``, over a feed and a login that answer when told."""

"""Tests of what surrounds the reactor."""

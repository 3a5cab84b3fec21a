"""Tests of airyd.cli."""

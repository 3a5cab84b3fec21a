"""Tests of airyd.management."""

"""Tests of airyd.workers."""

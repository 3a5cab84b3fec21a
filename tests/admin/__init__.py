"""Tests of airyd.admin."""

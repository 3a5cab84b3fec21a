"""Tests of options and the catalogue."""

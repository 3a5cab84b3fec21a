"""Tests of the authenticators."""

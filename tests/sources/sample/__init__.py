"""Tests of the sample feed."""

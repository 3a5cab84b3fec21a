"""Tests of the benchmark suite's logic; none of them measures."""

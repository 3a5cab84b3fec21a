"""The benchmark programs run, and what they print can be read; none of these tests measures."""

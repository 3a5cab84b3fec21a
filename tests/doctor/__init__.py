"""Tests of ``airyd.doctor``: each check over a real Redis, or files and ports, in the state that it finds."""

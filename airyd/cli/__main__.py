"""Runs the program ``airyd`` as ``python -m airyd.cli``."""

from airyd.cli.main import main

main()

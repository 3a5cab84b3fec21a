"""Runs the daemon in the foreground, as ``python -m airyd``."""

import sys

from airyd.serve import serve

if __name__ == "__main__":
    serve("python -m airyd", sys.argv[1:])

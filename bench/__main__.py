"""``python -m bench`` runs :mod:`bench.run`."""

from __future__ import annotations

import os
import sys

from bench.run import main

sys.exit(main(sys.argv[1:], os.environ))

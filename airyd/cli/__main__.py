"""``python -m airyd.cli`` is ``airyd``."""

from airyd.cli import main

main()

"""``python -m airyd.cli`` is ``airyd``."""

from airyd.cli.main import main

main()

"""Runs the daemon in the foreground, with its log on standard output: ``airyd serve`` and ``python -m airyd``.

It runs ``twistd --nodaemon --pidfile= airyd``, which writes no files, so a second daemon can run in the same folder.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from twisted.scripts.twistd import run

from airyd.config.command_line import Options
from airyd.runtime import early_signals


def serve(program: str, arguments: Sequence[str]) -> NoReturn:
    """Serve until a signal ends the process.

    :param program: the command that the user called, for the help
    :param arguments: the daemon's options
    """
    early_signals.hold(signal.SIGHUP, signal.SIGTERM, signal.SIGUSR2)
    Options(program).parseOptions(arguments)  # help and errors without twistd's name
    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "airyd", *arguments]
    run()
    sys.exit(0)

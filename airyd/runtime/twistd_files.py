"""Checks twistd's pid file, log file and folders before twistd opens them, because its own errors are tracebacks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from airyd.errors import ConfigurationError

#: The default log file of twistd in the background.
_LOG_FILE: Final = "twistd.log"
_OTHER_PID_FILE: Final = "name another file, or none with --pidfile="
_OTHER_LOG_FILE: Final = "name another file"


def check_twistd_files(options: Mapping[str, Any]) -> None:
    """Raise ``ConfigurationError`` if twistd can't open or write its files.

    A pid file with this process's own PID is left from an earlier start, so it is removed: in a container every start
    has the same PID, and twistd would refuse to start because of itself.

    :param options: twistd's own options, which stand before the word ``airyd``
    """
    in_foreground = options["nodaemon"] or options["debug"]
    if options["pidfile"]:
        _check_pid_file(options["pidfile"], in_place=options["chroot"] is None)
    if not options["syslog"] and options["logger"] is None:
        _check_log_file(options["logfile"], in_foreground)
    if options["chroot"] is None and not Path(options["rundir"]).is_dir():
        raise ConfigurationError(f"--rundir {options['rundir']}: there is no folder of this name; make it")


def _check_pid_file(name: str, in_place: bool) -> None:
    """Check the file of ``--pidfile``.

    :param in_place: whether twistd will write the file where it reads it (False with ``--chroot``)
    """
    path = Path(name)
    if path.exists():
        _check_other_process(name, path)
    if in_place:
        _check_writable("--pidfile", name, path, _OTHER_PID_FILE)


def _check_other_process(name: str, path: Path) -> None:
    try:
        number = int(path.read_text("ascii"))
    except IsADirectoryError:
        raise ConfigurationError(f"--pidfile {name}: this is a folder; {_OTHER_PID_FILE}") from None
    except PermissionError:
        raise ConfigurationError(f"--pidfile {name}: airyd may not read it; {_OTHER_PID_FILE}") from None
    except (OSError, ValueError):
        number = 0
    if not 0 < number < 1 << 31:
        raise ConfigurationError(f"--pidfile {name}: it holds no PID; delete it, or {_OTHER_PID_FILE}")
    if number == os.getpid():
        with suppress(OSError):  # the next check reports a file that can't be changed
            path.unlink()
    elif (program := _program(number)) is not None:
        raise ConfigurationError(
            f"--pidfile {name}: process {number} ({program}) is running. If it is another airyd, stop it, or "
            f"{_OTHER_PID_FILE}. If it is something else, delete the file"
        )


def _program(number: int) -> str | None:
    """Return the program name of a process; None if there is no such process."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # another user's
    try:
        return Path(f"/proc/{number}/comm").read_text(errors="replace").strip()  # the command line may hold secrets
    except OSError:
        return "unknown program"


def _check_log_file(name: str | None, in_foreground: bool) -> None:
    if name == "-" and not in_foreground:
        raise ConfigurationError("--logfile -: there is no standard output in the background; add --nodaemon")
    if name == "-" or (in_foreground and not name):
        return
    name = name or _LOG_FILE
    path = Path(name)
    if path.exists():
        try:
            with path.open("rb+", 0) as file:
                file.seek(0, os.SEEK_END)
        except OSError as error:
            raise ConfigurationError(
                f"--logfile {name}: cannot write the log there: {error.strerror}; {_OTHER_LOG_FILE}"
            ) from None
    _check_writable("--logfile", name, path, _OTHER_LOG_FILE)


def _check_writable(option: str, name: str, path: Path, otherwise: str) -> None:
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ConfigurationError(f"{option} {name}: there is no folder {folder}; make it, or {otherwise}")
    target = path if path.exists() else folder
    if not os.access(target, os.W_OK):
        raise ConfigurationError(f"{option} {name}: airyd may not write to {target}; {otherwise}")

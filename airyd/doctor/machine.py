"""Checks of this machine: files' rights, open files, ports, and names."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IReactorCore
from twisted.internet.threads import deferToThread

from airyd.doctor.findings import DoctorReport
from airyd.doctor.running import is_airyd
from airyd.errors import ConfigurationError
from airyd.files import is_folder, read_file
from airyd.hostnames import look_up
from airyd.listening.endpoints import check_free, read_text
from airyd.service import RESERVED_FILES

#: Clients that a server should be able to serve.
_ENOUGH_CLIENTS: Final = 4000


class NamedFile(NamedTuple):
    """A file that an option names.

    :ivar option: such as ``--admin-token-file``
    :ivar is_secret: whether nobody else may read it
    """

    option: str
    path: str
    is_secret: bool


def check_files(report: DoctorReport, files: Iterable[NamedFile]) -> None:
    """Check that this user can read each file, and who else can read or change it."""
    for option, path, is_secret in files:
        subject = f"{option} {path}"
        if is_folder(path):
            mode = Path(path).stat().st_mode
        else:
            try:
                read_file(path)
                mode = Path(path).stat().st_mode
            except (OSError, ValueError) as error:
                advice = "name another file, or give it to airyd's user (chown, chmod); run the doctor as that user"
                report.fail("file", subject, str(error), advice)
                continue
        shown = f"mode {stat.S_IMODE(mode):o}"
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            report.fail("file", subject, f"every user of this machine can change it ({shown})", f"chmod o-w {path}")
        elif is_secret and mode & stat.S_IROTH:
            report.warn(
                "file", subject, f"every user of this machine can read this secret ({shown})", f"chmod o-r {path}"
            )
        else:
            report.ok("file", subject, f"user number {os.geteuid()} can read it ({shown})")


def check_open_files(report: DoctorReport) -> None:
    """Check how many files a process may open; each client needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    subject = "limit of open files"
    clients = hard - RESERVED_FILES
    advice = "raise LimitNOFILE= in the unit, or ulimit -Hn of the shell"
    if hard == resource.RLIM_INFINITY:
        report.ok("open-files", subject, "there is none")
    elif clients < 1:
        report.fail("open-files", subject, f"it is {hard}: airyd can serve only one client", advice)
    elif clients < _ENOUGH_CLIENTS:
        report.warn("open-files", subject, f"it is {hard}, enough for {clients} clients of each process", advice)
    else:
        report.ok("open-files", subject, f"it is {hard}, enough for {clients} clients of each process")


async def check_port(report: DoctorReport, option: str, description: str) -> None:
    """Check that an endpoint is free, or that airyd itself listens there."""
    subject = f"{option} {description}"
    try:
        text = read_text(option, description)
        check_free(option, description)
    except ConfigurationError as error:
        reason = str(error).removeprefix(f"{subject}: ")
        if "listens there already" in reason:
            if await deferToThread(is_airyd, text):
                report.ok("port", subject, "airyd listens there already")
                return
            advice = "stop the other program (ss -ltnp shows it), or give another port"
        else:
            advice = "give an address of this machine and a port that airyd's user may open"
        report.fail("port", subject, reason, advice)
    else:
        report.ok("port", subject, "systemd opens it" if (text.wrapped or text).kind == "systemd" else "free")


async def check_name(report: DoctorReport, host: str, reactor: IReactorCore) -> bool:
    """Check that a host name can be resolved, unless it is an address; return whether it can."""
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        return True
    try:
        addresses = await look_up(reactor, host)
    except DNSLookupError:
        addresses = []
    if not addresses:
        advice = "correct the name, or the resolver (/etc/resolv.conf, /etc/hosts)"
        report.fail("name", host, f"the name {host} cannot be resolved", advice)
        return False
    report.ok("name", host, f"is {', '.join(dict.fromkeys(addresses))}")
    return True

"""Linux's figures for this machine, its cores and a process."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") / 1024


class CannotMeasure(Exception):
    """This machine lacks something for the measurement; the text says in one line what."""


def cores() -> tuple[int, int]:
    """Return the core for servers and the one for the load.

    :raises CannotMeasure: there is only one
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise CannotMeasure("two cores are needed, one for the server and one for the load")
    return allowed[0], allowed[1]


def machine_time() -> tuple[int, int]:
    """Return the stolen and the total time of all cores since boot, in ticks (proc(5), ``/proc/stat``)."""
    with open("/proc/stat") as stream:
        ticks = [int(word) for word in stream.readline().split()[1:9]]
    return ticks[7], sum(ticks)


def core_time(core: int) -> tuple[int, int]:
    """Return the busy and the total time of a core since boot, in ticks (proc(5), ``/proc/stat``)."""
    with open("/proc/stat") as stream:
        words = next(line.split()[1:9] for line in stream if line.startswith(f"cpu{core} "))
    ticks = [int(word) for word in words]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, user and system together."""
    return sum(user_and_system(pid))


def user_and_system(pid: int) -> tuple[float, float]:
    """Return the user and system CPU seconds of a process (proc(5), ``/proc/pid/stat``)."""
    with open(f"/proc/{pid}/stat") as stream:
        words = stream.read().rpartition(")")[2].split()
    return int(words[11]) / _TICKS, int(words[12]) / _TICKS


def resident_kib(pid: int) -> float:
    """Return the memory that a process has in RAM, in KiB (proc(5), ``/proc/pid/statm``)."""
    with open(f"/proc/{pid}/statm") as stream:
        return int(stream.read().split()[1]) * _PAGE_KIB


def kernel_kib() -> float:
    """Return the memory of the kernel's objects and of all TCP buffers, in KiB (proc(5))."""
    with open("/proc/meminfo") as stream:
        slab = next(float(line.split()[1]) for line in stream if line.startswith("Slab:"))
    with open("/proc/net/sockstat") as stream:
        words = next(line.split() for line in stream if line.startswith("TCP:"))
    return slab + int(words[words.index("mem") + 1]) * _PAGE_KIB


def family(parent: int) -> list[int]:
    """Return a process and its children."""
    found = [parent]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(words[1]) == parent:
            found.append(int(process.name))
    return found


def description() -> dict[str, str]:
    """Return a description of the machine and its software for reports, without names of hosts, users or paths."""
    with open("/proc/cpuinfo") as stream:
        models = [line.partition(":")[2].strip() for line in stream if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "Python": platform.python_version(),
        "Twisted": version("twisted"),
        "Autobahn": version("autobahn"),
    }

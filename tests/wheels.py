"""Makes wheels of installed packages again, so that a test installs them without a package index."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final
from zipfile import ZipFile

from packaging.requirements import Requirement

#: Files that pip adds when it installs a wheel.
_ADDED: Final = ("INSTALLER", "REQUESTED", "direct_url.json")


def needed(requirements: Iterable[str], extras: frozenset[str] = frozenset()) -> Iterator[Distribution]:
    """Yield the distributions of this environment that meet these requirements, and theirs in turn, with duplicates."""
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            found = distribution(requirement.name)
            yield found
            yield from needed(found.requires or [], frozenset(requirement.extras))


def requirements_of(wheel: Path) -> list[str]:
    """Return the requirements of a wheel."""
    with ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    return [line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist: ")]


def pack(found: Distribution, folder: Path) -> None:
    """Write a distribution of this environment as a wheel; it has no scripts that are no entry points."""
    tags = re.findall(r"(?m)^Tag: (\S+)-(\S+)-(\S+)$", found.read_text("WHEEL") or "")
    tag = "-".join(".".join(sorted(set(parts))) for parts in zip(*tags, strict=True))
    name = re.sub(r"[^\w.]+", "_", found.metadata["Name"])
    with ZipFile(folder / f"{name}-{found.version}-{tag}.whl", "w") as archive:
        for file in found.files or ():
            inside = ".." not in file.parts and "__pycache__" not in file.parts and file.name not in _ADDED
            if inside and found.locate_file(file).is_file():  # type: ignore[attr-defined]  # a path on a disk
                archive.write(str(found.locate_file(file)), str(file))


def pack_needed(wheel: Path, folder: Path) -> list[str]:
    """Write the packages that a wheel requires as wheels; return a constraint with the version of each."""
    distributions = {each.metadata["Name"]: each for each in needed(requirements_of(wheel))}
    for each in distributions.values():
        pack(each, folder)
    return [f"{name}=={each.version}" for name, each in distributions.items()]

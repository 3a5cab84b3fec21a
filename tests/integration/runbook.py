"""Reads docs/runbook.rst, and runs the commands of a section on a daemon that is in the state of its alert."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from textwrap import dedent
from types import MappingProxyType
from typing import Final

from tests.integration.daemon import environment
from tests.patience import PATIENCE
from tests.snippets import commands

PAGE: Final = Path(__file__).parents[2] / "docs/runbook.rst"
_TITLE: Final = re.compile(r"^(Airyd\w+)\n~+\n", re.MULTILINE)
_BLOCK: Final = re.compile(r"^\.\. code-block:: bash\n\n((?:    .*\n|\n)+)", re.MULTILINE)
#: What stands for any text in the output of a command.
_ANY: Final = "…"


@cache
def sections() -> dict[str, str]:
    """Return the text of the section of each alert."""
    _, *parts = _TITLE.split(PAGE.read_text())
    return dict(zip(parts[::2], parts[1::2], strict=True))


def look(
    alert: str, admin_port: int, log: str, redis_port: int = 0, replaced: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Run the commands of the alert's section; each line of output that the page shows must come, in its order.

    :param admin_port: the port of the daemon's admin page
    :param log: what journalctl would show
    :param redis_port: the port of the Redis that the daemon uses
    :param replaced: words of the page, such as a file's name, and what they are here

    Raises ``AssertionError`` if a command shows something else.
    """
    found = _BLOCK.findall(sections()[alert])
    assert found, f"{alert}: the page has no command"
    ports = {"127.0.0.1:8081": f"127.0.0.1:{admin_port}", "redis-cli": f"redis-cli -p {redis_port}"}
    for block in found:
        for command in commands(dedent(block).strip()):
            shown = _run(command.line, log, {**ports, **replaced})
            left = iter(shown.splitlines())
            for line in command.output:
                pattern = re.compile(".*".join(map(re.escape, line.split(_ANY))))
                if not any(pattern.fullmatch(each) for each in left):
                    raise AssertionError(f"{alert}: {command.line}\nwanted: {line}\ncame:\n{shown}")


def _run(line: str, log: str, replaced: Mapping[str, str]) -> str:
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(log)
        file.flush()
        line = re.sub(r"journalctl -u airyd --since -1h", f"cat {file.name}", line)
        for word, value in replaced.items():
            line = line.replace(word, value)
        done = subprocess.run(
            ["bash", "-c", line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            env=environment(),
            check=False,
        )
    return done.stdout

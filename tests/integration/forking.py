"""Runs many command lines of airyd's programs, each in a process that is forked when all modules are imported.

So each takes some milliseconds in place of half a second. The processes differ from real ones in their start alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from tests.integration.daemon import TWISTD, environment

#: The code of each program, by its name.
_CODE: Final[Mapping[str, str]] = {
    "twistd": TWISTD,
    "airyd": "from airyd.cli.main import main; main()",
    "python -m airyd": "import runpy; runpy.run_module('airyd', run_name='__main__', alter_sys=True)",
}
#: Forks a process for each command line, and prints how each ended. SIGALRM ends one that serves.
_FORKING: Final = """
import gc, json, os, signal, sys, traceback
import airyd.tap, airyd.serve, airyd.auth.jwt.authenticator
import airyd.sources.redis.url, airyd.sources.redis.tls, airyd.sources.sample.source
import twisted.internet.endpoints, twisted.internet.epollreactor
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from airyd.interfaces import IAuthenticatorParser, IEventSourceParser

for kind in (IServiceMaker, IAuthenticatorParser, IEventSourceParser):
    list(getPlugins(kind))
gc.freeze()
given = json.load(sys.stdin)
results = []
for code, words, variables in given["commands"]:
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        signal.alarm(60)
        os.dup2(writing if given["output"] is None else given["output"], 1)
        os.dup2(writing, 2)
        os.close(reading)
        os.close(writing)
        sys.argv = words
        os.environ.update(variables)
        if given["to the end"]:
            exec(code)
            sys.exit()
        status = 0
        try:
            exec(code)
        except SystemExit as end:  # as Python does at its end, which takes long
            status = end.code if isinstance(end.code, int) else 1
            print(end.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
            status = 70
        sys.stdout.flush()
        os._exit(status)
    os.close(writing)
    with open(reading, errors="replace") as said:
        text = said.read()
    results.append([os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), text])
json.dump(results, sys.stdout)
"""


class CommandLine(NamedTuple):
    """A command line.

    :ivar words: its words, without the program
    :ivar program: ``twistd``, ``airyd`` or ``python -m airyd``
    :ivar environ: additional environment variables
    """

    words: Sequence[str]
    program: str = "twistd"
    environ: Mapping[str, str] = MappingProxyType({})


def run_forked(
    commands: Sequence[CommandLine],
    folder: Path | None = None,
    output: int | None = None,
    flags: Sequence[str] = (),
    to_the_end: bool = False,
) -> list[tuple[int, str]]:
    """Run the command lines one after another; return for each its exit status, and what it printed.

    :param folder: the working directory
    :param output: the descriptor of standard output; otherwise what it gets is returned, too
    :param flags: options of Python
    :param to_the_end: whether each process ends as Python does, which writes what is left in its buffers
    """
    listed = [(_CODE[each.program], [each.program, *each.words], dict(each.environ)) for each in commands]
    done = subprocess.run(
        [sys.executable, *flags, "-c", _FORKING],
        input=json.dumps({"commands": listed, "output": output, "to the end": to_the_end}).encode(),
        capture_output=True,
        cwd=folder,
        env=environment() if not to_the_end else {**environment(), "PYTHONUNBUFFERED": ""},
        pass_fds=() if output is None else (output,),
        check=False,
    )
    if done.returncode or done.stderr:
        raise AssertionError(f"status {done.returncode}: {done.stderr.decode()}")
    return [(status, said) for status, said in json.loads(done.stdout)]

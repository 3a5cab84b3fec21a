"""The program of ``make run``: runs twistd and prints commands to try, with airyd's addresses, once it listens."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.scripts.twistd import run
from zope.interface import implementer

_DESTINATION: Final = "/queue/channel/connected"
_EVENT: Final = '{"id": "channel-1"}'
_OTHER_PORTS: Final = (
    "to use other addresses: make run ARGS='--listen tcp:9080:interface=127.0.0.1 --admin tcp:9081:interface=127.0.0.1'"
)


@implementer(ILogObserver)
class Hints:
    """Watches the log for airyd's addresses and prints, once, commands to try there.

    :param programs: the folder that has ``airyd`` and ``twistd``
    :param show: prints a text
    """

    def __init__(self, programs: str, show: Callable[[str], object]) -> None:
        self._programs = programs
        self._show = show
        self._admin: str | None = None
        self._has_demo = False
        self._is_shown = False

    def __call__(self, event: LogEvent) -> None:
        """See ``ILogObserver``."""
        match event.get("log_format"):
            case "airyd admin at {url}":
                self._admin = event["url"].rstrip("/")
                self._has_demo = event.get("has_demo", False)
            case "airyd serves {url}" if not self._is_shown:
                self._is_shown = True
                self._show("\n".join(["", *self._lines(event["url"]), ""]))

    def _lines(self, url: str) -> list[str]:
        lines = [f"Serving made-up events at {url} until Ctrl-C."]
        if self._has_demo and self._admin is not None and not self._admin.startswith("http+unix:"):
            lines.append(f"Open this page in a browser: {self._admin}/demo")
        lines.append("In another terminal, try:")
        if not url.startswith("ws+unix:"):
            lines.append(f"  {self._programs}/airyd tail {url}")
        if self._admin is not None and self._admin.startswith("http+unix:"):
            curl = f"curl --unix-socket {self._admin.removeprefix('http+unix:')}"
            lines += [
                f"  {curl} -H 'Content-Type: application/json' -d '{_EVENT}' http://localhost/publish{_DESTINATION}",
                f"  {curl} http://localhost/metrics",
            ]
        elif self._admin is not None:
            lines += [
                f"  {self._programs}/airyd publish {self._admin} {_DESTINATION} '{_EVENT}'",
                f"  curl {self._admin}/metrics",
            ]
        return [*lines, f"  {self._programs}/twistd airyd --help"]


def _show(text: str) -> None:
    print(text, file=sys.__stdout__, flush=True)  # sys.stdout now belongs to the log


def main() -> None:
    """Run twistd with the arguments of this program."""
    programs = Path(sys.executable).parent
    if programs.is_relative_to(Path.cwd()):
        programs = programs.relative_to(Path.cwd())
    globalLogPublisher.addObserver(cast(ILogObserver, Hints(str(programs), _show)))
    try:
        run()
    except SystemExit as end:
        if isinstance(end.code, str) and ("--listen" in end.code or "--admin" in end.code):
            raise SystemExit(f"{end.code}; {_OTHER_PORTS}") from None
        raise


if __name__ == "__main__":
    main()

"""A real, headless Chromium with one page, driven by playwright-core; every wait has a time limit."""

from __future__ import annotations

import shutil
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.integration.node import NodeClient
from tests.patience import PATIENCE


class Browser:
    """A browser; :meth:`window` begins anew, without cookies."""

    def __init__(self) -> None:
        program = shutil.which("chromium")
        if program is None:
            raise SkipTest("needs chromium")
        self._client = NodeClient("browser.mjs", executable=program, patience=PATIENCE)

    def _do(self, what: str, **fields: Any) -> Any:
        self._client.tell(what, **fields)
        answer = self._client.next(2 * PATIENCE)
        if answer["event"] != "done":
            raise AssertionError(f"{what} {fields}: {answer['reason']}")
        return answer["value"]

    def window(self, url: str, **options: Any) -> None:
        """Open a page in a new window.

        :param options: of playwright's ``browser.newContext``
        """
        self._do("window", options=options)
        self.goto(url)

    def goto(self, url: str) -> None:
        """Open a page in the window."""
        self._do("goto", url=url)

    def click(self, name: str, role: str = "button", exact: bool = True) -> None:
        """Click the first element with this role and accessible name."""
        self._do("click", role=role, name=name, exact=exact)

    def fill(self, label: str, value: str) -> None:
        """Write a value into the first field with this label."""
        self._do("fill", label=label, value=value)

    def select(self, label: str, value: str) -> None:
        """Choose a value of the first list with this label."""
        self._do("select", label=label, value=value)

    def press(self, key: str) -> None:
        """Press a key."""
        self._do("press", key=key)

    def see(self, text: str) -> None:
        """Wait until the page shows this text."""
        self._do("see", text=text)

    def text(self, selector: str = "main") -> str:
        """Return the text of the first element that a CSS selector finds."""
        return str(self._do("text", selector=selector))

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression, as JSON."""
        return self._do("evaluate", script=script)

    def until(self, script: str) -> None:
        """Wait until a JavaScript expression is true."""
        self._do("until", script=script)

    def shot(self, path: str, height: int) -> None:
        """Save a picture of the upper part of what the window shows, as PNG."""
        self._do("shot", path=path, height=height)

    def problems(self) -> list[str]:
        """Return the page's errors, such as what its Content-Security-Policy has stopped."""
        return list(self._do("problems"))

    def axe(self) -> list[dict[str, Any]]:
        """Return what axe-core finds on the page that is serious."""
        return list(self._do("axe"))

    def close(self) -> None:
        """End the browser; raise ``AssertionError`` if it printed a secret."""
        self._client.close()

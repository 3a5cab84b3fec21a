"""The files of the console, which the admin page serves: HTML, style sheets and scripts of the folder ``console``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from airyd.admin.responses import HttpError, HttpResponse

#: The folder with the files.
FOLDER: Final = Path(__file__).parent / "console"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
#: The media types of the files.
MEDIA_TYPES: Final = tuple(each.partition(";")[0] for each in _TYPES.values())


class _File(NamedTuple):
    content: bytes
    content_type: str
    etag: str


class ConsoleFiles:
    """The files, read once; browsers ask each time whether theirs is still the same (``ETag``).

    Raises ``OSError`` if they can't be read.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {path.name: _read(path) for path in folder.iterdir() if path.suffix in _TYPES}

    def respond(self, name: str, known: Sequence[str], listeners: Sequence[str]) -> HttpResponse:
        """Return the response with a file.

        :param known: the values of ``If-None-Match``
        :param listeners: the WebSocket URLs to which the page may connect

        Errors: ``HttpError`` (404).
        """
        file = self._files.get(name)
        if file is None:
            raise HttpError(HTTPStatus.NOT_FOUND, "there is no such file")
        headers = {"ETag": file.etag, "Cache-Control": "no-cache", "Referrer-Policy": "no-referrer"}
        if file.content_type.startswith("text/html"):
            headers["Content-Security-Policy"] = content_security_policy(listeners)
        if any(each.strip().removeprefix("W/") == file.etag for line in known for each in line.split(",")):
            return HttpResponse(HTTPStatus.NOT_MODIFIED, file.content_type, b"", headers)
        return HttpResponse(HTTPStatus.OK, file.content_type, file.content, headers)


def content_security_policy(listeners: Sequence[str]) -> str:
    """Return the policy of the pages: nothing inline, and connections to their own origin and the listeners only."""
    origins = [f"{url.scheme}://{url.netloc}" for url in map(urlsplit, listeners)]
    connect = " ".join(dict.fromkeys(["'self'", *origins]))
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src {connect}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')

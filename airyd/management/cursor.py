"""Cursors of listings: the row after which a page begins, in an order that all processes of a node share."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from typing import Final, NamedTuple

from airyd.errors import QueryRefused

#: The name of the first page, and the row: its negated key, process and number.
_CURSOR: Final = re.compile(r"([0-9a-f]{8})(?:_(-?[0-9.e+-]{1,30}|-?inf)_([a-z]{1,20}(?:-[0-9]{1,9})?)_([0-9]{1,18}))?")

#: A row's place in the order: its negated sort key, its process and its number.
RowRank = tuple[float, str, int]


class PageCursor(NamedTuple):
    """Where a page begins.

    :ivar listing: the name that the first page gave; the next pages have the order of the keys as they were then
    :ivar after: the rank of the last row before the page; None for the first page
    """

    listing: str
    after: RowRank | None = None

    def __str__(self) -> str:
        if self.after is None:
            return self.listing
        key, process, number = self.after
        return f"{self.listing}_{key!r}_{process}_{number}"


def read_cursor(text: str | None) -> PageCursor:
    """Return the cursor of a query; None begins a new listing. Raises ``QueryRefused``."""
    if text is None:
        return PageCursor(secrets.token_hex(4))
    found = _CURSOR.fullmatch(text)
    with suppress(ValueError):
        if found is not None:
            listing, key, process, number = found.groups()
            return PageCursor(listing, None if key is None else (float(key), process, int(number)))
    raise QueryRefused("the cursor is not one that an earlier page gave")

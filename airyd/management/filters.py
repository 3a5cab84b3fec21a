"""Row filters from the fields of a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airyd.auth.jwt.row_claims import ClaimRowFilter


def row_filter_of(fields: Mapping[str, Sequence[str]]) -> ClaimRowFilter | None:
    """Return a row filter that lets events with one of these values in each field pass; None without fields."""
    return ClaimRowFilter({name: frozenset(values) for name, values in fields.items()}, {}) if fields else None

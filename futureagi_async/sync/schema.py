"""The tables of a synced database: columns and keys. They are the same in every engine."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from futureagi_async.export.formats import schema as exported
from futureagi_async.export.formats.schema import SOURCE, Kind
from futureagi_async.export.manifest import fingerprint
from futureagi_async.sources import CallSource

SCHEMA_VERSION: Final = 1
"""Version of the tables for readers. Adding a column does not change it."""

_SOURCE_IDS: Final[Mapping[str, Kind]] = {
    name: kind for name, kind in SOURCE.items() if name != "source_index"
}
"""Without ``source_index``: a position among the sources of one export means nothing in a database."""


def _keyed(columns: Mapping[str, Kind]) -> dict[str, Kind]:
    """Return the columns of an exported table with ``source_id`` in place of ``source_index``."""
    return {"source_id": "text", **{name: kind for name, kind in columns.items() if name != "source_index"}}


_BOOKKEEPING: Final[Mapping[str, Kind]] = {"synced_at": "time", "deleted_at": "time"}

CALLS: Final[Mapping[str, Kind]] = {**_keyed(exported.CALLS), **_BOOKKEEPING}
"""One row for each call of each source; its key is ``source_id`` and ``id``."""

EVALUATIONS: Final[Mapping[str, Kind]] = _keyed(exported.EVALUATIONS)
"""One row for each evaluation of each call, by ``source_id`` and ``call_id``."""

SOURCES: Final[Mapping[str, Kind]] = {
    "source_id": "text",
    **_SOURCE_IDS,
    "source": "json",
    "label": "text",
    "named": "flag",
    "verdict": "text",
    "reason": "text",
    "complete_as_of": "time",
    "full_read_at": "time",
    "synced_at": "time",
    "transcripts": "flag",
    "provider_data": "flag",
}
"""One row for each source that was ever synced, with the state from which the next sync continues."""

SYNCS: Final[Mapping[str, Kind]] = {
    "number": "whole",
    "started_at": "time",
    "finished_at": "time",
    "schema_version": "whole",
    "package": "text",
    "digest": "text",
    "complete": "flag",
    "sources": "whole",
    "incomplete_sources": "whole",
    "received": "whole",
    "inserted": "whole",
    "updated": "whole",
    "unchanged": "whole",
    "older": "whole",
    "deleted": "whole",
    "evaluations": "whole",
}
"""One row for each finished sync, numbered from 1."""

DELTA_SYNCS: Final[Mapping[str, Kind]] = {
    **SYNCS,
    "calls_version": "whole",
    "evaluations_version": "whole",
    "sources_version": "whole",
}
"""The table of Delta directories, with the versions of the other tables that belong to this sync."""

TABLES: Final[Mapping[str, Mapping[str, Kind]]] = {
    "calls": CALLS,
    "evaluations": EVALUATIONS,
    "sources": SOURCES,
    "syncs": SYNCS,
}

_ID_CHARACTERS: Final = 16


def source_id_of(source: CallSource) -> str:
    """Return a source's key: the same in every database, and different for other filters."""
    return hashlib.sha256(fingerprint(source.to_dict())).hexdigest()[:_ID_CHARACTERS]


def unknown_columns(columns: Mapping[str, Kind], found: Iterable[str]) -> list[str]:
    """Return the columns of a table that it should not have."""
    return [name for name in found if name not in columns]


def missing_columns(columns: Mapping[str, Kind], found: Iterable[str]) -> dict[str, Kind]:
    """Return the columns that a table of an older version does not have."""
    there = set(found)
    return {name: kind for name, kind in columns.items() if name not in there}


COUNT_ROWS: Final = """
    SELECT s.source_id,
        count(*) FILTER (WHERE c.id IS NULL) AS inserted,
        count(*) FILTER (WHERE c.id IS NOT NULL AND coalesce(s.timestamp > c.timestamp, true)) AS updated,
        count(*) FILTER (WHERE s.timestamp = c.timestamp) AS unchanged,
        count(*) FILTER (WHERE s.timestamp < c.timestamp) AS older
    FROM staged s LEFT JOIN calls c ON c.source_id = s.source_id AND c.id = s.id
    GROUP BY s.source_id
"""
"""Counts of new, newer, equal and older rows among the rows that were read; for any SQL engine."""

FIND_OLDER: Final = """
    SELECT s.source_id, s.id
    FROM staged s JOIN calls c ON c.source_id = s.source_id AND c.id = s.id
    WHERE s.timestamp < c.timestamp
"""
"""Rows that were read in an older version than the database has; they are ignored."""


def is_gone(source_ids: Iterable[str]) -> str:
    """Return the SQL condition on ``calls c`` for rows that a full read of their list did not find."""
    listed = ", ".join(f"'{source_id}'" for source_id in source_ids)  # hexadecimal digits: `source_id_of`
    found = "SELECT 1 FROM staged s WHERE s.source_id = c.source_id AND s.id = c.id"
    return f"c.deleted_at IS NULL AND c.source_id IN ({listed}) AND NOT EXISTS ({found})"

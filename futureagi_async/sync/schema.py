"""The tables of a synced database: their columns, and how rows are keyed. The same in every engine."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from futureagi_async.export.formats import schema as exported
from futureagi_async.export.formats.schema import SOURCE, Kind
from futureagi_async.export.manifest import fingerprint
from futureagi_async.sources import CallSource

SCHEMA_VERSION: Final = 1
"""Counts what a reader of the tables must know. A column that is only added does not raise it."""

_SOURCE_IDS: Final[Mapping[str, Kind]] = {
    name: kind for name, kind in SOURCE.items() if name != "source_index"
}
"""An export's place among its sources says nothing in a database, where sources come and go."""


def _keyed(columns: Mapping[str, Kind]) -> dict[str, Kind]:
    """Return an exported table's columns with ``source_id`` in place of the source's place."""
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
"""One row for each source that was ever named, with what the next sync goes on from."""

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
"""One row for each sync that came to its end, numbered from 1."""

DELTA_SYNCS: Final[Mapping[str, Kind]] = {
    **SYNCS,
    "calls_version": "whole",
    "evaluations_version": "whole",
    "sources_version": "whole",
}
"""The same among Delta tables, with the versions of the others that belong together."""

TABLES: Final[Mapping[str, Mapping[str, Kind]]] = {
    "calls": CALLS,
    "evaluations": EVALUATIONS,
    "sources": SOURCES,
    "syncs": SYNCS,
}

_ID_CHARACTERS: Final = 16


def source_id_of(source: CallSource) -> str:
    """Return a source's key: the same in every database, and another one for other filters."""
    return hashlib.sha256(fingerprint(source.to_dict())).hexdigest()[:_ID_CHARACTERS]


def unknown_columns(columns: Mapping[str, Kind], found: Iterable[str]) -> list[str]:
    """Return the columns of a table that are none of those it should have."""
    return [name for name in found if name not in columns]


def missing_columns(columns: Mapping[str, Kind], found: Iterable[str]) -> dict[str, Kind]:
    """Return the columns that a table of an older version lacks."""
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
"""What the rows that were read mean for those that are there; for any SQL engine."""

FIND_OLDER: Final = """
    SELECT s.source_id, s.id
    FROM staged s JOIN calls c ON c.source_id = s.source_id AND c.id = s.id
    WHERE s.timestamp < c.timestamp
"""
"""Rows that were read and are older than those that are there; they take no effect."""


def is_gone(source_ids: Iterable[str]) -> str:
    """Return the condition on ``calls c`` for rows that a full read of their list did not find any more."""
    listed = ", ".join(f"'{source_id}'" for source_id in source_ids)  # hexadecimal digits: `source_id_of`
    found = "SELECT 1 FROM staged s WHERE s.source_id = c.source_id AND s.id = c.id"
    return f"c.deleted_at IS NULL AND c.source_id IN ({listed}) AND NOT EXISTS ({found})"

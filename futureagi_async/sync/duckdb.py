"""A synced DuckDB file: one transaction per sync. Needs duckdb and pyarrow."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from futureagi_async.errors import SyncError
from futureagi_async.export.files import FILE_MODE, replace_file, sync_directory
from futureagi_async.export.formats.schema import TURN, Kind
from futureagi_async.sync.decisions import SourceState, check_columns, check_version
from futureagi_async.sync.schema import (
    CALLS,
    COUNT_ROWS,
    EVALUATIONS,
    FIND_OLDER,
    SCHEMA_VERSION,
    TABLES,
    is_gone,
    missing_columns,
)
from futureagi_async.sync.staging import Applied, BusyError, Change, DatabaseState, counts_from

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_NEW: Final = "new.duckdb"
_BUSY: Final = ("Could not set lock on file", "used by another process", "different configuration")
"""Parts of DuckDB's messages for a file that is open elsewhere: on Unix, on Windows, and in this process."""
_NAMED: Final = 5  # at most, of another program's tables
_NO_DATABASE: Final = "not a valid DuckDB database"
_TYPES: Final[Mapping[Kind, str]] = {
    "text": "VARCHAR",
    "json": "VARCHAR",
    "whole": "INTEGER",
    "number": "DOUBLE",
    "flag": "BOOLEAN",
    "time": "TIMESTAMPTZ",
}


def check_installed() -> None:
    """Raise `SyncError` if a library is missing."""
    try:
        import duckdb  # noqa: F401
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise SyncError(
            "A DuckDB database needs duckdb and pyarrow (the extra [duckdb]): "
            "pip install 'duckdb>=1.1' 'pyarrow>=17'."
        ) from error


@attrs.define(frozen=True)
class DuckDBDatabase:
    """A database in one file. A new file gets its name only after its first sync."""

    path: Path
    work: Path

    def read_state(self) -> DatabaseState:
        """Return the state of the database."""
        if not os.path.lexists(self.path):
            return DatabaseState()
        with self._connected(self.path, read_only=True) as connection:
            return self._read_state(connection)

    def apply(self, change: Change) -> Applied:
        """Apply a sync in one transaction."""
        if os.path.lexists(self.path):
            with self._connected(self.path) as connection:
                return self._apply(connection, change)
        new = self.work / _NEW  # in a directory that nobody else can read
        for leftover in (new, new.with_name(f"{_NEW}.wal")):
            leftover.unlink(missing_ok=True)
        with self._connected(new) as connection:
            applied = self._apply(connection, change)
        new.chmod(FILE_MODE)
        replace_file(new, self.path)
        sync_directory(self.path.parent)
        return applied

    @contextmanager
    def _connected(self, path: Path, *, read_only: bool = False) -> Iterator["DuckDBPyConnection"]:
        import duckdb

        try:
            connection = _connect(path, self.work, read_only=read_only)
        except duckdb.Error as error:
            raise self._opening_error(error) from error
        try:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        except duckdb.Error as error:
            raise SyncError(f"Can't sync {self.path}: {_first_line(error)}") from error
        finally:
            connection.close()

    def _opening_error(self, error: Exception) -> Exception:
        text = _first_line(error)
        if any(words in text for words in _BUSY):
            return BusyError(text)
        advice = " Choose another file." if _NO_DATABASE in text else ""
        return SyncError(f"Can't open {self.path}: {text}{advice}")

    def _read_state(self, connection: "DuckDBPyConnection") -> DatabaseState:
        columns = _columns(connection)
        if not columns:
            return DatabaseState()
        self._check_ours(columns)
        (last,) = _rows(connection, "SELECT * FROM syncs ORDER BY number DESC LIMIT 1") or ({},)
        check_version(str(self.path), last.get("schema_version", SCHEMA_VERSION))
        lacks = any(missing_columns(TABLES[table], columns[table]) for table in TABLES)
        rows = _rows(connection, "SELECT * FROM sources")
        try:
            sources = tuple(map(SourceState.from_row, rows))
        except (KeyError, TypeError, ValueError) as error:
            raise SyncError(
                f"Can't use {self.path}: its table sources was changed ({error}). Choose another file."
            ) from error
        return DatabaseState(
            number=last.get("number", 0), digest=last.get("digest"), sources=sources, lacks_columns=lacks
        )

    def _check_ours(self, columns: Mapping[str, list[str]]) -> None:
        """Raise `SyncError` for a database that another program made or changed."""
        if set(TABLES) - set(columns) or {"number", "schema_version"} - set(columns["syncs"]):
            there = ", ".join(sorted(columns)[:_NAMED]) + (", ..." if len(columns) > _NAMED else "")
            raise SyncError(
                f"{self.path} is a database that no sync made "
                f"(its {'table' if len(columns) == 1 else 'tables'}: {there}). Choose another file."
            )
        for table in TABLES:
            check_columns(f"The table {table} in {self.path}", TABLES[table], columns[table])

    def _apply(self, connection: "DuckDBPyConnection", change: Change) -> Applied:
        connection.execute("BEGIN TRANSACTION")
        if self._read_state(connection).number != change.number - 1:
            raise SyncError(
                f"{self.path} was changed by another sync during this one. Nothing of this sync was applied; "
                "run it again."
            )
        _make_tables(connection)
        _stage(connection, change)
        applied = _merge(connection, change)
        connection.register("new_sync", change.syncs_table(applied))
        connection.execute("INSERT INTO syncs BY NAME SELECT * FROM new_sync")
        connection.execute("COMMIT")
        return applied


def _connect(path: Path, work: Path, *, read_only: bool) -> "DuckDBPyConnection":
    """Open a file with limited memory; temporary data goes to a directory that others can't read.

    If this process already has the file open for writing, its connections share one configuration. That
    configuration is left unchanged, and ``read_only`` is not possible.
    """
    import duckdb

    if path.exists():
        try:
            for_reading = duckdb.connect(str(path), read_only=True)
        except duckdb.ConnectionException:
            return duckdb.connect(str(path))
        if read_only:
            return for_reading
        for_reading.close()
    connection = duckdb.connect(str(path))
    for name, value in {**_LIMITS, "temp_directory": str(work / "spilled")}.items():
        connection.execute(f"SET {name} = $value", {"value": value})
    return connection


_LIMITS: Final = {"memory_limit": "512MB", "threads": 2, "preserve_insertion_order": False}
"""Enough to merge any number of rows: data that does not fit into memory is written to temporary files."""


def _make_tables(connection: "DuckDBPyConnection") -> None:
    """Create what is missing: all tables in a new database, some columns in one of an older version."""
    found = _columns(connection)
    for table, columns in TABLES.items():
        if table not in found:
            listed = ", ".join(f'"{name}" {_type(kind)}' for name, kind in columns.items())
            connection.execute(f"CREATE TABLE {table} ({listed})")
        else:
            for name, kind in missing_columns(columns, found[table]).items():
                connection.execute(f'ALTER TABLE {table} ADD COLUMN "{name}" {_type(kind)}')


def _stage(connection: "DuckDBPyConnection", change: Change) -> None:
    """Create temporary tables of the keys that were read, and of the keys of older versions among them."""
    connection.register("places", change.places_table())
    connection.execute(
        "CREATE TEMP TABLE staged AS SELECT source_id, id, timestamp "
        "FROM read_parquet($files) JOIN places USING (source_index)",
        {"files": [part.calls_file for part in change.parts]},
    )
    connection.execute(f"CREATE TEMP TABLE too_old AS {FIND_OLDER}")


def _merge(connection: "DuckDBPyConnection", change: Change) -> Applied:
    """Replace the rows with the same keys, except by older versions."""
    now = {"synced_at": change.started_at}
    counted = _rows(connection, COUNT_ROWS)
    gone: dict[str, int] = {}
    if change.listed_in_full:
        condition = is_gone(change.listed_in_full)
        counts = f"SELECT c.source_id, count(*) FROM calls c WHERE {condition} GROUP BY 1"  # noqa: S608
        gone = dict(connection.execute(counts).fetchall())
        mark = "UPDATE calls AS c SET deleted_at = $synced_at, synced_at = $synced_at WHERE "
        connection.execute(mark + condition, now)
    connection.execute(  # they are in their list after all
        "UPDATE calls AS c SET deleted_at = NULL FROM too_old o "
        "WHERE c.source_id = o.source_id AND c.id = o.id AND c.deleted_at IS NOT NULL"
    )
    connection.execute(
        "DELETE FROM staged AS s USING too_old o WHERE s.source_id = o.source_id AND s.id = o.id"
    )
    connection.execute(
        "DELETE FROM evaluations AS e USING staged s WHERE e.source_id = s.source_id AND e.call_id = s.id"
    )
    (evaluations,) = connection.execute(
        _insert("evaluations", EVALUATIONS, "call_id"),
        {"files": [part.evaluations_file for part in change.parts]},
    ).fetchone() or (0,)
    connection.execute(
        "DELETE FROM calls AS c USING staged s WHERE c.source_id = s.source_id AND c.id = s.id"
    )
    files = [part.calls_file for part in change.parts]
    connection.execute(_insert("calls", CALLS, "id"), {"files": files, **now})
    connection.register("new_sources", change.sources_table())
    connection.execute("DELETE FROM sources")
    connection.execute("INSERT INTO sources BY NAME SELECT * FROM new_sources")
    return Applied(counts=counts_from(counted, gone), evaluations=evaluations, finished_at=datetime.now(UTC))


def _insert(table: str, columns: Mapping[str, Kind], call_id: str) -> str:
    """Return the statement that adds the rows of the staged calls."""
    added = {"source_id": "places.source_id", "synced_at": "$synced_at", "deleted_at": "NULL"}
    values = ", ".join(added.get(name, f'p."{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    return (
        f"INSERT INTO {table} ({names}) SELECT {values} FROM read_parquet($files) p "  # noqa: S608 - ours
        "JOIN places USING (source_index) "
        f"SEMI JOIN staged s ON s.source_id = places.source_id AND s.id = p.{call_id}"
    )


def _type(kind: Kind) -> str:
    if kind == "turns":
        return "STRUCT(" + ", ".join(f'"{name}" {_type(of)}' for name, of in TURN.items()) + ")[]"
    return _TYPES[kind]


def _columns(connection: "DuckDBPyConnection") -> dict[str, list[str]]:
    """Return the columns of each table and view."""
    found: dict[str, list[str]] = {}
    rows = connection.execute(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'main' AND table_catalog = current_database() ORDER BY ordinal_position"
    )
    for table, column in rows.fetchall():
        found.setdefault(table, []).append(column)
    return found


def _rows(connection: "DuckDBPyConnection", query: str) -> list[dict[str, Any]]:
    result = connection.execute(query)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]

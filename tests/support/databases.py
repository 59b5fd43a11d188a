"""Synced databases for tests: where they are, and what they hold, in either engine."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable
from pyarrow import parquet

from futureagi_async import CallSource, Session
from futureagi_async.export import export_calls
from futureagi_async.sync.schema import TABLES, source_id_of

ENGINES = ("duckdb", "delta")
Row = dict[str, Any]


def database_in(folder: Path, engine: str) -> str:
    """Return what names a database of an engine."""
    return str(folder / "calls.duckdb") if engine == "duckdb" else f"delta://{folder}/lake"


def rows_of(database: str, table: str) -> list[Row]:
    """Return the rows of a table; Delta tables as the last whole sync left them."""
    if database.startswith("delta://"):
        rows = _delta_rows(database.removeprefix("delta://"), table)
    else:
        rows = _duckdb_rows(database, table)
    return [{name: _in_utc(value) for name, value in row.items()} for row in rows]


def _duckdb_rows(path: str, table: str) -> list[Row]:
    if not Path(path).exists():
        return []
    with duckdb.connect(path, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        result = connection.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _delta_rows(folder: str, table: str) -> list[Row]:
    if not DeltaTable.is_deltatable(f"{folder}/syncs"):
        return []
    syncs = DeltaTable(f"{folder}/syncs").to_pyarrow_table().to_pylist()
    if table == "syncs" or not syncs:
        return list(syncs)
    last = max(syncs, key=lambda row: row["number"])
    found = DeltaTable(f"{folder}/{table}", version=last[f"{table}_version"])
    return list(found.to_pyarrow_table().to_pylist())


def _in_utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def content_of(database: str) -> dict[str, list[Row]]:
    """Return all rows of all tables, in an order that says nothing."""
    return {table: sorted(rows_of(database, table), key=repr) for table in TABLES}


def calls_in(database: str, *, deleted: bool = False) -> dict[tuple[str, str], Row]:
    """Return the calls by their keys: those that are in their lists, or those that are not any more."""
    return {
        (row["source_id"], row["id"]): row
        for row in rows_of(database, "calls")
        if (row["deleted_at"] is not None) == deleted
    }


_BOOKKEEPING = ("synced_at", "deleted_at")


def as_exported(database: str) -> tuple[list[Row], list[Row]]:
    """Return calls that are in their lists, and their evaluations, as an export would have them."""
    calls = calls_in(database)
    rows = [
        {name: value for name, value in row.items() if name not in _BOOKKEEPING} for row in calls.values()
    ]
    evaluations = [
        row for row in rows_of(database, "evaluations") if (row["source_id"], row["call_id"]) in calls
    ]
    return sorted(rows, key=repr), sorted(evaluations, key=repr)


async def exported(session: Session, sources: list[CallSource], folder: Path) -> tuple[list[Row], list[Row]]:
    """Return the rows of a complete export, with the keys of a database."""
    report = await export_calls(session, sources, folder, format="parquet")
    assert report.complete
    ids = [source_id_of(source) for source in sources]
    calls, evaluations = (
        [
            _keyed(row, ids)
            for path in report.files
            if path.name.startswith(kind)
            for row in _parquet_rows(path)
        ]
        for kind in ("calls", "evaluations")
    )
    return sorted(calls, key=repr), sorted(evaluations, key=repr)


def _parquet_rows(path: Path) -> Iterable[Row]:
    rows: list[Row] = parquet.read_table(path).to_pylist()
    return rows


def _keyed(row: Mapping[str, Any], ids: list[str]) -> Row:
    others = {name: _in_utc(value) for name, value in row.items() if name != "source_index"}
    return {"source_id": ids[row["source_index"]], **others}

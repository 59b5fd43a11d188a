"""Synced Delta tables: one MERGE per table, and a last commit that makes them valid together.

Delta has no transaction over several tables. A sync commits to ``evaluations``, ``calls`` and ``sources``.
Then it commits a row to ``syncs`` with the versions that belong together. If a sync was killed before that
row, the next sync undoes it. Every commit has the sync's digest in its metadata, so that commits of other
programs are recognised.
"""

import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from futureagi_async.errors import SyncError
from futureagi_async.export.formats.arrow_arrays import Arrow, arrow_schema
from futureagi_async.sync.decisions import (
    Commit,
    ForeignCommitError,
    SourceState,
    check_columns,
    check_version,
    version_to_restore,
)
from futureagi_async.sync.schema import (
    COUNT_ROWS,
    DELTA_SYNCS,
    EVALUATIONS,
    FIND_OLDER,
    TABLES,
    is_gone,
    missing_columns,
)
from futureagi_async.sync.staging import Applied, Change, DatabaseState, Part, arrow_rows, counts_from

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable
    from deltalake.table import TableMerger

COLUMNS: Final = {**TABLES, "syncs": DELTA_SYNCS}
PINNED: Final = ("evaluations", "calls", "sources")
"""Tables whose versions a row of ``syncs`` has, in the order in which they are written."""

_DESCRIPTION: Final = "Kept up to date by futureagi-async"
_SYNC_KEY: Final = "futureagi_async.sync"
_APP_ID: Final = "futureagi_async.sync"
_STAGED: Final = "staged"
_MESSAGE_CHARACTERS: Final = 400
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_NOT_OLDER: Final = "NOT coalesce(s.timestamp < t.timestamp, false)"

Key = tuple[str, str]


def check_installed() -> None:
    """Raise `SyncError` if a library is missing."""
    try:
        import deltalake  # noqa: F401
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise SyncError(
            "Delta tables need deltalake and pyarrow (the extra [delta]): "
            "pip install 'deltalake>=1' 'pyarrow>=17'."
        ) from error


@attrs.define(frozen=True)
class DeltaDatabase:
    """Four Delta tables in one directory, local or in an object store."""

    location: str
    work: Path

    def read_state(self) -> DatabaseState:
        """Return the state at the end of the last complete sync."""
        with self._errors():
            tables = self._open_all()
            last = self._last_sync(tables)
            self._find_unfinished(tables, last)
            return self._state(tables, last)

    def apply(self, change: Change) -> Applied:
        """Apply a sync. It becomes valid with its last commit."""
        with self._errors():
            tables = self._open_all()
            last = self._last_sync(tables)
            if (last["number"] if last else 0) != change.number - 1:
                raise self._changed_meanwhile("The directory")
            for name, version in self._find_unfinished(tables, last).items():
                tables[name].restore(version, commit_properties=_properties(change))
            return self._merge(self._make(tables, change), change)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from deltalake.exceptions import CommitFailedError, DeltaError

        try:
            yield
        except CommitFailedError as error:
            raise self._changed_meanwhile("A table") from error
        except (DeltaError, OSError) as error:
            raise SyncError(f"Can't sync {self.location}: {_on_one_line(error)}") from error

    def _changed_meanwhile(self, what: str) -> SyncError:
        return SyncError(
            f"Can't sync {self.location}: {what} was changed by another program during the sync. Nothing of "
            "this sync is valid; run it again."
        )

    def _uri(self, name: str) -> str:
        return f"{self.location.rstrip('/')}/{name}"

    def _open_all(self) -> dict[str, "DeltaTable"]:
        """Open the tables that exist. Raises `SyncError` for a table that no sync made."""
        from deltalake import DeltaTable

        if DeltaTable.is_deltatable(self.location):
            raise SyncError(
                f"{self.location} is a Delta table itself. Choose a directory for the four tables."
            )
        uris = {name: self._uri(name) for name in TABLES}
        tables = {name: DeltaTable(uri) for name, uri in uris.items() if DeltaTable.is_deltatable(uri)}
        for name, table in tables.items():
            if table.metadata().description != _DESCRIPTION:
                raise SyncError(f"{uris[name]} is a table that no sync made. Choose another directory.")
            check_columns(uris[name], COLUMNS[name], _names(table))
        return tables

    def _last_sync(self, tables: Mapping[str, "DeltaTable"]) -> dict[str, Any] | None:
        """Return the last row of ``syncs``; ``None`` if no sync was ever finished."""
        if "syncs" not in tables:
            return None
        rows = tables["syncs"].to_pyarrow_table().to_pylist()
        last = max(rows, key=lambda row: row["number"], default=None)
        if last is not None:
            check_version(self.location, last["schema_version"])
        return last

    def _find_unfinished(
        self, tables: Mapping[str, "DeltaTable"], last: Mapping[str, Any] | None
    ) -> dict[str, int]:
        """Return the version to restore of each table. Raises `SyncError` if another program wrote."""
        found: dict[str, int] = {}
        for name in PINNED:
            finished = last[f"{name}_version"] if last else 0
            if name not in tables:
                if last:
                    raise SyncError(f"{self._uri(name)} is missing. Restore it, or choose another directory.")
                continue
            version = self._version_to_restore(name, tables[name], finished)
            if version is not None:
                found[name] = version
        return found

    def _version_to_restore(self, name: str, table: "DeltaTable", finished: int) -> int | None:
        behind = table.version() - finished
        if behind < 0:
            raise SyncError(
                f"{self._uri(name)} is at version {table.version()}, but the last sync left version "
                f"{finished}: another program replaced it. Choose another directory."
            )
        commits = [
            Commit(each["version"], str(each.get("operation")), _SYNC_KEY in each)
            for each in (table.history(behind) if behind else ())
        ]
        try:
            return version_to_restore(sorted(commits, key=lambda each: each.version), finished)
        except ForeignCommitError as error:
            raise SyncError(
                f"{self._uri(name)} was changed by another program since the last sync: {error} has no "
                f"{_SYNC_KEY} in its metadata. Only OPTIMIZE and VACUUM are allowed between syncs. Choose "
                "another directory."
            ) from error

    def _state(self, tables: Mapping[str, "DeltaTable"], last: Mapping[str, Any] | None) -> DatabaseState:
        if last is None:
            return DatabaseState()
        sources = tables["sources"]
        sources.load_as_version(last["sources_version"])
        rows = sources.to_pyarrow_table().to_pylist()
        try:
            states = tuple(map(SourceState.from_row, rows))
        except (KeyError, TypeError, ValueError) as error:
            raise SyncError(
                f"Can't use {self._uri('sources')}: it was changed ({error}). Choose another directory."
            ) from error
        lacks = any(missing_columns(COLUMNS[name], _names(table)) for name, table in tables.items())
        return DatabaseState(
            number=last["number"], digest=last["digest"], sources=states, lacks_columns=lacks
        )

    def _make(self, tables: Mapping[str, "DeltaTable"], change: Change) -> dict[str, "DeltaTable"]:
        """Create missing tables, and missing columns in tables of an older version."""
        import pyarrow as pa
        from deltalake import DeltaTable, Schema

        made = dict(tables)
        for name, columns in COLUMNS.items():
            if name not in tables:
                made[name] = DeltaTable.create(
                    self._uri(name),
                    Schema.from_arrow(arrow_schema(pa, columns)),
                    name=name,
                    description=_DESCRIPTION,
                    commit_properties=_properties(change),
                )
            elif missing := missing_columns(columns, _names(tables[name])):
                fields = Schema.from_arrow(arrow_schema(pa, missing)).fields
                tables[name].alter.add_columns(fields, commit_properties=_properties(change))
        return made

    def _merge(self, tables: Mapping[str, "DeltaTable"], change: Change) -> Applied:
        staged = self.work / _STAGED
        try:
            counted, gone, older = _compare(tables["calls"], change, staged)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        evaluations = self._merge_parts(tables, change, counted, older)
        if gone:
            self._commit("calls", tables, _mark_gone, change)
        self._commit("sources", tables, _write_sources, change)
        applied = Applied(
            counts=counts_from(counted, gone), evaluations=evaluations, finished_at=datetime.now(UTC)
        )
        versions = {f"{name}_version": tables[name].version() for name in PINNED}
        row = arrow_rows(DELTA_SYNCS, [{**change.sync_row(applied), **versions}]).to_reader()
        self._commit("syncs", tables, _append, change, row)
        return applied

    def _merge_parts(
        self,
        tables: Mapping[str, "DeltaTable"],
        change: Change,
        counted: Sequence[Mapping[str, Any]],
        older: Collection[Key],
    ) -> int:
        """Write the calls that were read, and their evaluations. Return the number of evaluations.

        If all rows are new, they are appended. Otherwise they are merged part by part, because a MERGE holds
        its input in memory.
        """
        if not counted:
            return 0
        are_new = all(row["updated"] == row["unchanged"] == row["older"] == 0 for row in counted)
        evaluations = 0
        for part in change.parts:
            if are_new:
                evaluations += self._commit("evaluations", tables, _append, change, part.evaluations())
                self._commit("calls", tables, _append, change, part.calls())
            else:
                evaluations += self._commit("evaluations", tables, _merge_evaluations, part, older)
                self._commit("calls", tables, _merge_calls, part)
        return evaluations

    def _commit(self, name: str, tables: Mapping[str, "DeltaTable"], write: Any, *given: Any) -> int:
        """Write to a table. Raises `SyncError` if another program wrote at the same time."""
        table = tables[name]
        before = table.version()
        written: int = write(table, *given)
        if table.version() > before + 1:
            raise self._changed_meanwhile(f"The table {name}")
        return written


def _compare(
    calls: "DeltaTable", change: Change, staged: Path
) -> tuple[list[dict[str, Any]], dict[str, int], set[Key]]:
    """Return the counts by source, the numbers of deleted calls, and the keys of older versions."""
    from deltalake import DeltaTable, QueryBuilder, write_deltalake

    shutil.rmtree(staged, ignore_errors=True)
    write_deltalake(staged, change.keys())
    query = QueryBuilder().register("staged", DeltaTable(staged)).register("calls", calls)
    counted, gone = _rows(query, COUNT_ROWS), dict[str, int]()
    if change.listed_in_full:
        condition = is_gone(change.listed_in_full)
        rows = _rows(query, f"SELECT c.source_id, count(*) AS n FROM calls c WHERE {condition} GROUP BY 1")  # noqa: S608
        gone = {row["source_id"]: row["n"] for row in rows}
    older = {(row["source_id"], row["id"]) for row in _rows(query, FIND_OLDER)}
    return counted, gone, older


def _merge_evaluations(table: "DeltaTable", part: Part, older: Collection[Key]) -> int:
    """Replace the evaluations of the calls that were read.

    The input of the MERGE has one row for each call, which matches and deletes all its old evaluations, and
    one row for each new evaluation, which matches nothing and is inserted.
    """
    import pyarrow as pa

    schema = arrow_schema(pa, {**EVALUATIONS, "is_call": "flag"})
    rows = pa.RecordBatchReader.from_batches(schema, _evaluation_batches(pa, schema, part, older))
    merged = (
        table.merge(
            rows,
            "s.is_call AND t.source_id = s.source_id AND t.call_id = s.call_id",
            source_alias="s",
            target_alias="t",
            commit_properties=_properties(part.change),
        )
        .when_matched_delete()
        .when_not_matched_insert({name: f"s.{name}" for name in EVALUATIONS}, predicate="NOT s.is_call")
        .execute()
    )
    return int(merged["num_target_rows_inserted"])


def _evaluation_batches(pa: Arrow, schema: Arrow, part: Part, older: Collection[Key]) -> Iterator[Arrow]:
    for batch in part.calls(("source_id", "id")):
        names = {"source_id": batch.column("source_id"), "call_id": batch.column("id")}
        yield _without(pa, _padded(pa, schema, names, is_call=True, rows=len(batch)), older)
    for batch in part.evaluations():
        names = {name: batch.column(name) for name in EVALUATIONS}
        yield _without(pa, _padded(pa, schema, names, is_call=False, rows=len(batch)), older)


def _padded(pa: Arrow, schema: Arrow, columns: Mapping[str, Arrow], *, is_call: bool, rows: int) -> Arrow:
    known = {**columns, "is_call": pa.repeat(pa.scalar(is_call), rows)}
    arrays = [known[field.name] if field.name in known else pa.nulls(rows, field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _without(pa: Arrow, batch: Arrow, older: Collection[Key]) -> Arrow:
    """Return the rows of calls that were not read in an older version."""
    if not older:
        return batch
    keys = zip(batch.column("source_id").to_pylist(), batch.column("call_id").to_pylist(), strict=True)
    return batch.filter(pa.array([key not in older for key in keys], pa.bool_()))


def _merge_calls(table: "DeltaTable", part: Part) -> int:
    merged = (
        _merger(table, part.calls(), part.change)
        .when_matched_update_all(predicate=_NOT_OLDER)
        .when_matched_update({"deleted_at": "NULL"}, predicate="t.deleted_at IS NOT NULL")
        .when_not_matched_insert_all()
        .execute()
    )
    return int(merged["num_source_rows"])


def _mark_gone(table: "DeltaTable", change: Change) -> int:
    now = f"arrow_cast('{change.started_at.isoformat()}', 'Timestamp(Microsecond, Some(\"UTC\"))')"
    listed = ", ".join(f"'{source_id}'" for source_id in change.listed_in_full)
    merged = (
        _merger(table, change.keys(), change)
        .when_not_matched_by_source_update(
            {"deleted_at": now, "synced_at": now}, f"t.deleted_at IS NULL AND t.source_id IN ({listed})"
        )
        .execute()
    )
    return int(merged["num_target_rows_updated"])


def _merger(table: "DeltaTable", rows: Arrow, change: Change) -> "TableMerger":
    return table.merge(
        rows,
        "t.source_id = s.source_id AND t.id = s.id",
        source_alias="s",
        target_alias="t",
        commit_properties=_properties(change),
    )


def _write_sources(table: "DeltaTable", change: Change) -> int:
    from deltalake import write_deltalake

    rows = change.sources_table()
    write_deltalake(table, rows, mode="overwrite", commit_properties=_properties(change))
    return int(rows.num_rows)


def _append(table: "DeltaTable", change: Change, rows: Arrow) -> int:
    from deltalake import write_deltalake

    counted = 0

    def counting() -> Iterator[Arrow]:
        nonlocal counted
        for batch in rows:
            counted += len(batch)
            yield batch

    import pyarrow as pa

    reader = pa.RecordBatchReader.from_batches(rows.schema, counting())
    write_deltalake(table, reader, mode="append", commit_properties=_properties(change))
    return counted


def _properties(change: Change) -> "CommitProperties":
    """Return the properties of every commit of a sync. A second sync with the same number is a conflict."""
    from deltalake import CommitProperties, Transaction

    return CommitProperties(
        custom_metadata={_SYNC_KEY: change.digest, f"{_SYNC_KEY}.number": str(change.number)},
        app_transactions=[Transaction(_APP_ID, change.number)],
    )


def _rows(query: Any, statement: str) -> list[dict[str, Any]]:
    import pyarrow as pa

    found: list[dict[str, Any]] = pa.table(query.execute(statement).read_all()).to_pylist()
    return found


def _names(table: "DeltaTable") -> Iterable[str]:
    return [field.name for field in table.schema().fields]


def _on_one_line(error: Exception) -> str:
    """Return an engine's message, which is formatted for a terminal, on one line."""
    text = " ".join(_COLOURS.sub("", str(error)).split()).replace(" \u21b3", ":")  # an arrow to each cause
    text = text or type(error).__name__
    return text if len(text) <= _MESSAGE_CHARACTERS else f"{text[:_MESSAGE_CHARACTERS]}..."

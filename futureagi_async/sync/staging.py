"""The data of a sync before it is applied: Parquet parts of an export, as rows of the database's tables."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import attrs

from futureagi_async.export.formats.arrow_arrays import Arrow, arrow_schema
from futureagi_async.export.formats.schema import Kind
from futureagi_async.export.report import ExportReport
from futureagi_async.sync.decisions import SourceState
from futureagi_async.sync.schema import CALLS, EVALUATIONS, SCHEMA_VERSION, SOURCES, SYNCS

_BATCH_ROWS = 1_000


@attrs.define(frozen=True, kw_only=True)
class Counts:
    """Number of rows of a source by how the sync changed them."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    older: int = 0
    deleted: int = 0


@attrs.define(frozen=True, kw_only=True)
class Applied:
    """The result of applying a sync."""

    counts: Mapping[str, Counts]
    """By ``source_id``; a source without read calls is missing."""
    evaluations: int
    """Number of rows that were written to the table ``evaluations``."""
    finished_at: datetime

    def total(self, name: str) -> int:
        """Return one of the counts over all sources."""
        return sum(getattr(counts, name) for counts in self.counts.values())


@attrs.define(frozen=True, kw_only=True)
class DatabaseState:
    """The state of a database."""

    number: int = 0
    """Number of its last sync; 0 for a new database."""
    digest: str | None = None
    """Digest of the export that the last sync applied."""
    sources: tuple[SourceState, ...] = ()
    lacks_columns: bool = False
    """Whether an older version of the package made the tables, so that columns must be added and filled."""


@attrs.define(frozen=True, kw_only=True)
class Change:
    """One sync, to be applied as a whole."""

    report: ExportReport
    """The report of the read, and its files."""
    source_ids: Sequence[str]
    """Keys of the sources, in the order in which they were read."""
    listed_in_full: Sequence[str]
    """Keys of sources whose other calls are deleted."""
    states: Sequence[SourceState]
    """All rows of the table ``sources``."""
    number: int
    started_at: datetime
    package: str
    digest: str
    """Digest of the export's manifest."""
    complete: bool

    @property
    def parts(self) -> list["Part"]:
        """The files with the calls, each with some ten thousands of rows."""
        calls, evaluations = (
            sorted(str(path) for path in self.report.files if Path(path).name.startswith(kind))
            for kind in ("calls-", "evaluations-")
        )
        return [Part(*files, self) for files in zip(calls, evaluations, strict=True)]

    def sources_table(self) -> Arrow:
        """Return the new rows of the table ``sources``."""
        return arrow_rows(SOURCES, [state.to_row() for state in self.states])

    def sync_row(self, applied: Applied) -> dict[str, Any]:
        """Return the row of the table ``syncs``."""
        verdicts = [source.verdict for source in self.report.fetch]
        names = ("inserted", "updated", "unchanged", "older", "deleted")
        return {
            "number": self.number,
            "started_at": self.started_at,
            "finished_at": applied.finished_at,
            "schema_version": SCHEMA_VERSION,
            "package": self.package,
            "digest": self.digest,
            "complete": self.complete,
            "sources": len(verdicts),
            "incomplete_sources": sum(verdict != "complete" for verdict in verdicts),
            "received": self.report.fetch.received,
            **{name: applied.total(name) for name in names},
            "evaluations": applied.evaluations,
        }

    def syncs_table(self, applied: Applied) -> Arrow:
        """Return this sync's row of the table ``syncs``."""
        return arrow_rows(SYNCS, [self.sync_row(applied)])

    def places_table(self) -> Arrow:
        """Return a table with the source of each ``source_index`` in the files."""
        columns: Mapping[str, Kind] = {"source_index": "whole", "source_id": "text"}
        rows = [{"source_index": place, "source_id": each} for place, each in enumerate(self.source_ids)]
        return arrow_rows(columns, rows)

    def keys(self) -> Arrow:
        """Return a reader of the keys and timestamps of all calls that were read."""
        import pyarrow as pa

        columns = ("source_id", "id", "timestamp")
        schema = arrow_schema(pa, {name: CALLS[name] for name in columns})
        batches = chain.from_iterable(part.calls(columns) for part in self.parts)
        return pa.RecordBatchReader.from_batches(schema, batches)


@attrs.define(frozen=True)
class Part:
    """A file of calls, and the file of their evaluations."""

    calls_file: str
    evaluations_file: str
    change: Change

    def calls(self, columns: Collection[str] | None = None) -> Arrow:
        """Return a reader of rows of the table ``calls``, or of some of its columns."""
        return self._reader(self.calls_file, {name: CALLS[name] for name in columns or CALLS})

    def evaluations(self) -> Arrow:
        """Return a reader of rows of the table ``evaluations``."""
        return self._reader(self.evaluations_file, EVALUATIONS)

    def _reader(self, file: str, columns: Mapping[str, Kind]) -> Arrow:
        import pyarrow as pa

        schema = arrow_schema(pa, columns)
        return pa.RecordBatchReader.from_batches(schema, self._batches(pa, file, schema))

    def _batches(self, pa: Arrow, file: str, schema: Arrow) -> Iterator[Arrow]:
        """Yield batches of rows, with ``source_id`` in place of ``source_index``."""
        from pyarrow import parquet

        ids = pa.array(self.change.source_ids, pa.string())
        time = pa.timestamp("us", "UTC")
        synced_at = pa.scalar(self.change.started_at, time)
        added = ("source_id", "synced_at", "deleted_at")
        wanted = ["source_index", *(name for name in schema.names if name not in added)]
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_BATCH_ROWS, columns=wanted):
                known = {
                    "source_id": ids.take(batch.column("source_index")),
                    "synced_at": pa.repeat(synced_at, len(batch)),
                    "deleted_at": pa.nulls(len(batch), time),
                }
                arrays = [known[name] if name in known else batch.column(name) for name in schema.names]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def arrow_rows(columns: Mapping[str, Kind], rows: Sequence[Mapping[str, Any]]) -> Arrow:
    """Return rows as an Arrow table."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), schema=arrow_schema(pa, columns))


class Database(Protocol):
    """The database engine. Methods block, and raise `SyncError`."""

    @property
    def work(self) -> Path:
        """The directory for the lock, and for data that was read and not applied yet."""
        ...

    def read_state(self) -> DatabaseState:
        """Return the state of the database. A database that does not exist yet is empty."""
        ...

    def apply(self, change: Change) -> Applied:
        """Apply a sync completely or not at all."""
        ...


class BusyError(Exception):
    """Another program has the database open; the message says which."""


def counts_from(rows: Sequence[Mapping[str, Any]], gone: Mapping[str, int]) -> dict[str, Counts]:
    """Return counts by source from the rows of `COUNT_ROWS` and the numbers of deleted calls."""
    found = {row["source_id"]: {name: int(row[name]) for name in row if name != "source_id"} for row in rows}
    return {
        source_id: Counts(**found.get(source_id, {}), deleted=gone.get(source_id, 0))
        for source_id in {**found, **gone}
    }

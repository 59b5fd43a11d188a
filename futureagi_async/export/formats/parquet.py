"""Writes Parquet: a table of calls, and optionally the long table of their evaluations. Needs pyarrow."""

from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

from futureagi_async.export.formats.arrow_arrays import Arrow, arrow_schema
from futureagi_async.export.formats.arrow_batches import BatchMaker, in_order
from futureagi_async.export.formats.projection import WHOLE, Projection
from futureagi_async.export.formats.records import Batch
from futureagi_async.export.formats.schema import Kind
from futureagi_async.sources import CallSource

_ROW_GROUP_BYTES = 8 * 1024**2  # bytes held in memory; larger row groups are hardly smaller or faster to scan
_SELDOM_TWICE = frozenset(
    ("id", "session_id", "service_provider_call_id", "call_summary", "audio_url", "reason", "value_text")
)
"""Columns of texts that rarely repeat. A dictionary would cost time and space."""


class ParquetWriter:
    """Writes calls to ``file``, and their evaluations to ``side_file``, if given."""

    misfits = 0
    """The number of calls with ``misfits``."""

    def __init__(
        self,
        file: BinaryIO,
        *,
        sources: Iterable[CallSource | None] = (),
        side_file: BinaryIO | None = None,
        projection: Projection = WHOLE,
    ) -> None:
        import pyarrow as pa

        self._pa = pa
        self._maker = BatchMaker(pa, sources, evaluations=side_file is not None, projection=projection)
        metadata = projection.metadata
        self._calls = Table(file, projection.calls, metadata)
        self._evaluations = None
        if side_file is not None:
            self._evaluations = Table(side_file, projection.evaluations, metadata)

    def write(self, batch: Batch) -> None:
        """Append records."""
        made = self._maker.make(batch)
        for rows in in_order(self._pa, made.calls):
            self._calls.append(rows)
        if self._evaluations is not None:
            for rows in in_order(self._pa, made.evaluations):
                self._evaluations.append(rows)
        self.misfits += made.misfits

    def close(self) -> None:
        """Write the remaining rows and the footers."""
        self._calls.close()
        if self._evaluations is not None:
            self._evaluations.close()


class Table:
    """A Parquet file that is being written. It combines batches into row groups."""

    def __init__(
        self, file: BinaryIO, columns: Mapping[str, Kind], metadata: Mapping[bytes, bytes] | None = None
    ) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self.schema = arrow_schema(pa, columns).with_metadata(metadata)
        self._from_batches = pa.Table.from_batches
        self._batches: list[Arrow] = []
        self._bytes = 0
        self._writer = parquet.ParquetWriter(file, self.schema, **parquet_options(columns))

    def append(self, batch: Arrow) -> None:
        """Add a batch."""
        self._batches.append(batch)
        self._bytes += batch.get_total_buffer_size()  # in a hundredth of the time of `nbytes`
        if self._bytes >= _ROW_GROUP_BYTES:
            self._write_row_group()

    def close(self) -> None:
        """Write the remaining rows and the footer."""
        if self._batches:
            self._write_row_group()
        self._writer.close()

    def _write_row_group(self) -> None:
        table = self._from_batches(self._batches, self.schema)
        self._batches, self._bytes = [], 0
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def __del__(self) -> None:
        """Prevent pyarrow from finishing an abandoned file, which may already be closed."""
        if hasattr(self, "_writer"):
            self._writer.is_open = False


def parquet_options(columns: Mapping[str, Kind]) -> dict[str, Any]:
    """Return the encoding options of a table: zstd, dictionaries for words, statistics for search columns."""
    words = [name for name, kind in columns.items() if kind == "text" and name not in _SELDOM_TWICE]
    plain = [name for name, kind in columns.items() if kind not in ("json", "turns")]
    role = ["transcript.list.element.role"] if "transcript" in columns else []
    return {"compression": "zstd", "use_dictionary": words + role, "write_statistics": plain}

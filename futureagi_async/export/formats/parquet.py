"""Calls as Parquet: a table of calls, and on request the long table of their evaluations. Needs pyarrow."""

from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

from futureagi_async.export.formats.arrow_arrays import Arrow, arrow_schema
from futureagi_async.export.formats.arrow_batches import BatchMaker, in_order
from futureagi_async.export.formats.projection import WHOLE, Projection
from futureagi_async.export.formats.records import Batch
from futureagi_async.export.formats.schema import Kind
from futureagi_async.sources import CallSource

_ROW_GROUP_BYTES = 8 * 1024**2  # held in memory; with more, files are hardly smaller or faster to scan
_SELDOM_TWICE = frozenset(
    ("id", "session_id", "service_provider_call_id", "call_summary", "audio_url", "reason", "value_text")
)
"""Texts that hardly repeat: a dictionary of them costs time and space."""


class ParquetWriter:
    """Writes calls into ``file``, and their evaluations into ``side_file`` where there is one."""

    misfits = 0
    """Calls whose column ``misfits`` is filled."""

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
        """Write what waits, and the footers."""
        self._calls.close()
        if self._evaluations is not None:
            self._evaluations.close()


class Table:
    """One Parquet file in the making: batches become row groups of a good size."""

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
        """Take a batch."""
        self._batches.append(batch)
        self._bytes += batch.get_total_buffer_size()  # at a hundredth of what `nbytes` costs
        if self._bytes >= _ROW_GROUP_BYTES:
            self._write_row_group()

    def close(self) -> None:
        """Write the rest, and the footer."""
        if self._batches:
            self._write_row_group()
        self._writer.close()

    def _write_row_group(self) -> None:
        table = self._from_batches(self._batches, self.schema)
        self._batches, self._bytes = [], 0
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def __del__(self) -> None:
        """Keep pyarrow from finishing a file that was given up, which may be closed by now."""
        if hasattr(self, "_writer"):
            self._writer.is_open = False


def parquet_options(columns: Mapping[str, Kind]) -> dict[str, Any]:
    """Return how a table is encoded: zstd, dictionaries for words, statistics for what is searched by."""
    words = [name for name, kind in columns.items() if kind == "text" and name not in _SELDOM_TWICE]
    plain = [name for name, kind in columns.items() if kind not in ("json", "turns")]
    role = ["transcript.list.element.role"] if "transcript" in columns else []
    return {"compression": "zstd", "use_dictionary": words + role, "write_statistics": plain}

"""The fast path to Arrow columns."""

from collections.abc import Sequence
from datetime import UTC, datetime

from futureagi_async._sansio.decoding.wire import TIMES
from futureagi_async.export.formats.arrow_arrays import (
    Arrow,
    array,
    joined_array,
    sent_array,
    source_arrays,
    transcript_column,
)
from futureagi_async.export.formats.records import Batch
from futureagi_async.export.formats.row_schemas import RowColumns, Rows, SlowPathNeededError
from futureagi_async.export.formats.schema import PLAIN, SourceColumns


class FastColumns(RowColumns):
    """The columns of some rows of one schema, or `SlowPathNeededError`."""

    def __init__(self, rows: Rows, batch: Batch, pa: Arrow) -> None:
        super().__init__(rows, batch)
        self._pa = pa

    def batch(self, source_columns: SourceColumns, schema: Arrow) -> Arrow:
        """Return a record batch."""
        pa = self._pa
        names = schema.names
        try:
            columns = self.plain_columns()
            if "scenario_name" in names or "scenario_id" in names:
                columns |= self.scenario_columns()
            if "transcript" in names:
                columns["transcript"] = self.transcript_column(schema.field("transcript").type)
        except (
            pa.ArrowInvalid,
            OverflowError,
        ) as error:  # a number that no double holds, or a year outside of UTC
            raise SlowPathNeededError from error
        columns |= source_arrays(pa, source_columns.of_all(self.sources)) | self.json_columns()
        empty = {field.name: field.type for field in schema if field.name not in columns}
        columns |= {name: pa.nulls(len(self.nothing), kind) for name, kind in empty.items()}
        return pa.RecordBatch.from_arrays([columns[name] for name in names], schema=schema)

    def plain_columns(self) -> dict[str, Arrow]:
        """Return the columns `PLAIN` for which something was sent."""
        columns: dict[str, Arrow] = {}
        for name, values in self.plain().items():
            if name in TIMES:
                check_years(values)
            columns[name] = array(self._pa, values, PLAIN[name])
        flag = self._pa.scalar(self.are_snapshots)
        return columns | {"is_snapshot": self._pa.repeat(flag, len(self.nothing))}

    def scenario_columns(self) -> dict[str, Arrow]:
        """Return the scenarios' names and ids."""
        names, ids = self.scenarios()
        return {
            "scenario_name": array(self._pa, names, "text"),
            "scenario_id": array(self._pa, ids, "text"),
        }

    def transcript_column(self, list_type: Arrow) -> Arrow:
        """Return the transcripts."""
        return transcript_column(self._pa, self.transcripts(), list_type)

    def json_columns(self) -> dict[str, Arrow]:
        """Return the columns of JSON text, as it was sent."""
        columns: dict[str, Arrow] = {
            name: sent_array(self._pa, sent) for name, sent in self.json_parts().items()
        }
        if "extra" in self.schema.projection.calls:
            columns["extra"] = joined_array(self._pa, self.extras())
        return columns


def check_years(moments: Sequence[datetime | None]) -> None:
    """Raise `OverflowError` if UTC has no year for one of the times."""
    for moment in moments:
        if moment is not None and moment.tzinfo is not UTC and moment.tzinfo is not None:
            moment.astimezone(UTC)

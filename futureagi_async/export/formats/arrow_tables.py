"""Tables of calls and evaluations in memory: made in batches, joined, with each call once."""

from collections.abc import Iterable, Sequence, Set
from typing import Final

import attrs
from msgspec import Raw

from futureagi_async._sansio.decoding.fragments import JSON_ERRORS
from futureagi_async.export.formats.arrow_arrays import Arrow, evaluations_batch
from futureagi_async.export.formats.arrow_batches import ArrowPiece, BatchMaker, in_order
from futureagi_async.export.formats.projection import WHOLE, Projection
from futureagi_async.export.formats.records import Batch, WireEvals, decode_evals
from futureagi_async.sources import CallSource


def import_pyarrow() -> Arrow:
    """Return pyarrow, or raise `ModuleNotFoundError` that says how to install it."""
    try:
        import pyarrow
    except ImportError as error:
        raise ModuleNotFoundError(
            "Tables need pyarrow (the extra [parquet]): pip install 'pyarrow>=17'.", name="pyarrow"
        ) from error
    return pyarrow


@attrs.define(frozen=True)
class MadeTables:
    """Tables of calls and of their evaluations."""

    calls: Arrow
    evaluations: Arrow
    """``None`` if evaluations were not requested."""


class TableMaker:
    """Makes tables of records, each with the whole schema."""

    def __init__(
        self,
        sources: Iterable[CallSource | None],
        *,
        evaluations: bool,
        projection: Projection = WHOLE,
    ) -> None:
        self._pa = import_pyarrow()
        self._maker = BatchMaker(self._pa, sources, evaluations=evaluations, projection=projection)
        self._wants_evaluations = evaluations

    def make(self, batch: Batch) -> MadeTables:
        """Return the tables of some records, in their order."""
        made = self._maker.make(batch)
        return MadeTables(
            self._table(made.calls, self._maker.calls_schema),
            self._table(made.evaluations, self._maker.evaluations_schema)
            if self._wants_evaluations
            else None,
        )

    def join(self, tables: Sequence[MadeTables], columns: Sequence[str] | None = None) -> MadeTables:
        """Return all tables joined, without copying. ``columns`` are the columns of calls."""
        pa, maker = self._pa, self._maker
        no_calls = select(maker.calls_schema.empty_table(), columns)
        calls = pa.concat_tables([no_calls, *(each.calls for each in tables)])
        if not self._wants_evaluations:
            return MadeTables(calls, None)
        no_evaluations = maker.evaluations_schema.empty_table()
        return MadeTables(calls, pa.concat_tables([no_evaluations, *(each.evaluations for each in tables)]))

    def without_repeats(self, tables: Sequence[MadeTables]) -> list[MadeTables]:
        """Return the tables without calls that a later table has in a newer version."""
        seen: set[tuple[int, str]] = set()
        kept: list[MadeTables] = []
        for each in reversed(tables):
            keys = _keys(each.calls, "id")
            repeated = seen.intersection(keys)
            seen.update(keys)
            kept.append(self._without(each, repeated) if repeated else each)
        return kept[::-1]

    def _without(self, tables: MadeTables, repeated: Set[tuple[int, str]]) -> MadeTables:
        def filtered(table: Arrow, name: str) -> Arrow:
            is_kept = [key not in repeated for key in _keys(table, name)]
            return table.filter(self._pa.array(is_kept, self._pa.bool_()))

        calls = filtered(tables.calls, "id")
        return MadeTables(calls, filtered(tables.evaluations, "call_id") if self._wants_evaluations else None)

    def _table(self, pieces: Sequence[ArrowPiece], schema: Arrow) -> Arrow:
        batches = in_order(self._pa, pieces) if pieces else []
        return self._pa.Table.from_batches(batches, schema)


KEY: Final = ("id", "source_index")


def _keys(table: Arrow, name: str) -> list[tuple[int, str]]:
    """Return the place of the source and the id of the call of each row."""
    return list(zip(table["source_index"].to_pylist(), table[name].to_pylist(), strict=True))


def select(table: Arrow, columns: Sequence[str] | None) -> Arrow:
    """Return some columns of a table, or all for ``None``."""
    return table if columns is None else table.select(columns)


def conform(pa: Arrow, table: Arrow, schema: Arrow) -> Arrow:
    """Return a table of another version with the columns of a schema. Missing columns are null."""
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def evaluations_in(pa: Arrow, calls: Arrow, schema: Arrow) -> Arrow:
    """Return the long table of the evaluations that a table of calls has as JSON.

    Evaluations of an undocumented type are left out; the ``misfits`` of the call have them.
    """
    batches = []
    for batch in calls.to_batches(max_chunksize=1_000):
        outputs = [_decoded(text.as_py()) for text in batch.column("eval_outputs")]
        batches.append(evaluations_batch(pa, batch, outputs, schema)[0])
    return pa.Table.from_batches(batches, schema)


def _decoded(text: str | None) -> WireEvals:
    try:
        return {} if text is None else decode_evals(Raw(text.encode()))
    except JSON_ERRORS:
        return {}

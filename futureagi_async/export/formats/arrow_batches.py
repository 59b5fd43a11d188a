"""Record batches of calls, and the slow path for rows that the fast path refuses."""

from collections.abc import Container, Iterable, Sequence
from itertools import chain, compress
from operator import attrgetter
from typing import Any

import attrs
import msgspec
from msgspec import Raw

from futureagi_async._sansio.decoding.misfits import Misfits
from futureagi_async.export.formats.arrow_arrays import (
    Arrow,
    Wires,
    array,
    arrow_schema,
    evaluations_batch,
    is_double,
    json_array,
    source_arrays,
    times_of,
    transcript_column,
)
from futureagi_async.export.formats.arrow_fast import FastColumns
from futureagi_async.export.formats.projection import WHOLE, Projection
from futureagi_async.export.formats.records import (
    NULL,
    Batch,
    WireEvals,
    extra_of,
    fields_of,
    misfits_of,
    scenario_of,
    transcript_key,
    wire_evals,
    wire_turns,
)
from futureagi_async.export.formats.row_schemas import Rows, RowSchemas, SlowPathNeededError
from futureagi_async.export.formats.schema import JSON_PARTS, PLAIN, SourceColumns
from futureagi_async.models import CallExecution
from futureagi_async.sources import CallSource

_plain_values = attrgetter(*PLAIN)


class CallColumns:
    """The columns of some calls."""

    def __init__(
        self,
        calls: Sequence[CallExecution],
        source_columns: SourceColumns,
        pa: Arrow,
        projection: Projection = WHOLE,
    ) -> None:
        self.calls = calls
        self.fields = [fields_of(call) for call in calls]
        self.misfits: list[Misfits] = list(map(misfits_of, calls))
        """For each row, the values as sent that its columns can't hold."""
        self._pa = pa
        self._projection = projection
        self._source_rows = [source_columns.of(call.source) for call in calls]

    def batch(self, schema: Arrow) -> Arrow:
        """Return a record batch, including everything that `misfits` has."""
        pa, names = self._pa, schema.names
        columns = source_arrays(pa, self._source_rows) | self._plain_columns(names)
        columns["scenario_name"], columns["scenario_id"] = self._scenario_columns()
        if "transcript" in names:
            columns["transcript"] = self._transcript_column(schema.field("transcript").type)
        for name in filter(names.__contains__, JSON_PARTS):
            columns[name] = self._json_column(name)
        if "extra" in names:
            extras = (extra_of(fields, self._projection.removed_keys) for fields in self.fields)
            columns["extra"] = json_array(pa, extras)
        self.misfits = list(
            map(self._projection.misfits, self.misfits)
        )  # last, because the other columns add to it
        columns["misfits"] = self._misfit_column()
        return pa.RecordBatch.from_arrays([columns[name] for name in names], schema=schema)

    def evaluations(self) -> list[WireEvals]:
        """Return the evaluations of each call."""
        return list(map(wire_evals, self.calls, self.fields, self.misfits))

    def _plain_columns(self, names: Container[str]) -> dict[str, Arrow]:
        values = zip(*map(_plain_values, self.calls), strict=True)
        named = zip(PLAIN, values, strict=True)
        return {name: self._column(name, column) for name, column in named if name in names}

    def _column(self, name: str, values: Sequence[Any]) -> Arrow:
        try:
            return array(self._pa, values, PLAIN[name])
        except (self._pa.ArrowInvalid, OverflowError):
            doubles = [self._double(name, row, value) for row, value in enumerate(values)]
            return array(self._pa, doubles, "number")

    def _double(self, name: str, row: int, value: float | None) -> float | None:
        """Return a number as a double, or add it to the misfits if a double would change it."""
        if value is None or is_double(value):
            return None if value is None else float(value)
        self.misfits[row][name] = Raw(b"%d" % value)
        return None

    def _scenario_columns(self) -> tuple[Arrow, Arrow]:
        names, ids, clashes = zip(*map(scenario_of, self.calls), strict=True)
        for row in compress(range(len(clashes)), clashes):
            self.misfits[row]["scenario"] = self.fields[row]["scenario"]
        return array(self._pa, names, "text"), array(self._pa, ids, "text")

    def _transcript_column(self, list_type: Arrow) -> Arrow:
        transcripts = list(map(wire_turns, self.calls, self.fields, self.misfits))
        try:
            return transcript_column(self._pa, transcripts, list_type)
        except (self._pa.ArrowInvalid, OverflowError):
            exact = [self._exact(row, wires) for row, wires in enumerate(transcripts)]
            return transcript_column(self._pa, exact, list_type, to_double=float)

    def _exact(self, row: int, wires: Wires) -> Wires:
        """Add a transcript to the misfits if a double can't hold its times."""
        if all(map(is_double, times_of(wires or ()))):
            return wires
        fields = self.fields[row]
        self.misfits[row]["transcript"] = fields[transcript_key(fields)]
        return None

    def _json_column(self, name: str) -> Arrow:
        """Return a column of ``json_of``. It is inlined, because it is called six times per record."""
        sent: Iterable[Raw] = (fields.get(name, NULL) for fields in self.fields)
        if name == "rerun_snapshots":
            sent = map(self._projection.snapshots, sent)
        slices = map(bytes, sent)
        return json_array(self._pa, [None if sent == b"null" else sent for sent in slices])

    def _misfit_column(self) -> Arrow:
        return json_array(self._pa, [msgspec.json.encode(row) if row else None for row in self.misfits])


@attrs.define(frozen=True)
class ArrowPiece:
    """Some rows of a table, and the places of their calls in the batch."""

    rows: Arrow
    places: Sequence[int]


@attrs.define
class ArrowRows:
    """The rows of a batch, in pieces."""

    calls: list[ArrowPiece] = attrs.field(factory=list)
    evaluations: list[ArrowPiece] = attrs.field(factory=list)
    misfits: int = 0
    """The number of calls with ``misfits``."""


class BatchMaker:
    """Makes record batches of calls, and optionally of evaluations."""

    def __init__(
        self,
        pa: Arrow,
        sources: Iterable[CallSource | None],
        *,
        evaluations: bool,
        projection: Projection = WHOLE,
    ) -> None:
        self.calls_schema = arrow_schema(pa, projection.calls)
        self.evaluations_schema = arrow_schema(pa, projection.evaluations)
        self._pa = pa
        self._projection = projection
        self._source_columns = SourceColumns(sources)
        self._wants_evaluations = evaluations
        self._row_schemas = RowSchemas(projection)

    def make(self, batch: Batch) -> ArrowRows:
        """Return the rows of both tables, in pieces for `in_order`."""
        made = ArrowRows()
        alike, others = self._row_schemas.sort(batch.raws)
        for rows in alike:
            try:
                self._make_quickly(batch, rows, made)
            except SlowPathNeededError:
                others += rows.places
        if others:
            self._make_carefully(batch, sorted(others), made)
        return made

    def _make_quickly(self, batch: Batch, rows: Rows, made: ArrowRows) -> None:
        columns = FastColumns(rows, batch, self._pa)
        evaluations = columns.evaluations() if self._wants_evaluations else []
        calls = columns.batch(self._source_columns, self.calls_schema)
        self._add(calls, evaluations, rows.places, made)

    def _make_carefully(self, batch: Batch, places: Sequence[int], made: ArrowRows) -> None:
        calls = list(map(batch.restore, places))
        columns = CallColumns(calls, self._source_columns, self._pa, self._projection)
        evaluations = columns.evaluations() if self._wants_evaluations else []
        self._add(columns.batch(self.calls_schema), evaluations, places, made)
        made.misfits += sum(map(bool, columns.misfits))

    def _add(
        self, calls: Arrow, evaluations: Sequence[WireEvals], places: Sequence[int], made: ArrowRows
    ) -> None:
        made.calls.append(ArrowPiece(calls, places))
        if self._wants_evaluations:
            table, rows = evaluations_batch(self._pa, calls, evaluations, self.evaluations_schema)
            made.evaluations.append(ArrowPiece(table, [places[row] for row in rows]))


def in_order(pa: Arrow, pieces: Sequence[ArrowPiece]) -> list[Arrow]:
    """Return record batches with the rows of all pieces, in the order of their calls."""
    rows = [piece.rows for piece in pieces]
    places = list(chain.from_iterable(piece.places for piece in pieces))
    if len(pieces) == 1 or places == sorted(places):
        return rows
    order = sorted(range(len(places)), key=places.__getitem__)
    return list(pa.Table.from_batches(rows).combine_chunks().take(order).to_batches())

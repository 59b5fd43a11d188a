"""Record batches of calls, and the careful path for rows that the fast one refuses."""

from collections.abc import Iterable, Sequence
from itertools import chain, compress
from operator import attrgetter
from typing import Any

import attrs
import msgspec
from msgspec import Raw

from futureagi_async.errors import DecodingError
from futureagi_async.export.formats.arrow_arrays import (
    Arrow,
    Wires,
    array,
    arrow_schema,
    evaluations_batch,
    is_double,
    json_array,
    origin_columns,
    times_of,
    transcript_column,
)
from futureagi_async.export.formats.arrow_fast import FastColumns, Rows, RowSchemas, SlowPathNeededError
from futureagi_async.export.formats.records import (
    NULL,
    Batch,
    WireEvals,
    entries_of,
    extra_of,
    fields_of,
    scenario_of,
    transcript_key,
    wire_turns,
)
from futureagi_async.export.formats.schema import CALLS, EVALUATIONS, JSON_PARTS, PLAIN, SourceColumns
from futureagi_async.models import CallExecution
from futureagi_async.sources import CallSource

_plain_values = attrgetter(*PLAIN)


class CallColumns:
    """The columns of some calls."""

    def __init__(self, calls: Sequence[CallExecution], origins: SourceColumns, pa: Arrow) -> None:
        self.calls = calls
        self.fields = [fields_of(call) for call in calls]
        self.misfits: dict[int, dict[str, Raw]] = {}
        """By row: values that their column can't hold, as sent."""
        self._pa = pa
        self._origins = [origins.of(call.source) for call in calls]

    def batch(self, schema: Arrow) -> Arrow:
        """Return a record batch; what was put into `misfits` before is in it."""
        pa = self._pa
        columns = origin_columns(pa, self._origins)
        columns |= zip(PLAIN, self._plain_columns(), strict=True)
        columns["scenario_name"], columns["scenario_id"] = self._scenario_columns()
        columns["transcript"] = self._transcript_column(schema.field("transcript").type)
        for name in JSON_PARTS:
            columns[name] = self._json_column(name)
        columns["extra"] = json_array(pa, map(extra_of, self.fields))
        columns["misfits"] = self._misfit_column()  # the last: the others add to it
        return pa.RecordBatch.from_arrays([columns[name] for name in CALLS], schema=schema)

    def entries(self) -> list[WireEvals]:
        """Return the evaluations of each call; those of no known shape are put aside."""
        return list(map(self._entries, range(len(self.calls))))

    def _put_aside(self, row: int, name: str, sent: bytes | Raw) -> None:
        """Keep a value that its column can't hold."""
        self.misfits.setdefault(row, {})[name] = Raw(sent)

    def _plain_columns(self) -> list[Arrow]:
        values = zip(*map(_plain_values, self.calls), strict=True)
        return [self._column(name, column) for name, column in zip(PLAIN, values, strict=True)]

    def _column(self, name: str, values: Sequence[Any]) -> Arrow:
        try:
            return array(self._pa, values, PLAIN[name])
        except (self._pa.ArrowInvalid, OverflowError):
            return array(
                self._pa, [self._double(name, row, value) for row, value in enumerate(values)], "number"
            )

    def _double(self, name: str, row: int, value: float | None) -> float | None:
        """Return a number as a double, or put it aside where it would be another one."""
        if value is None or is_double(value):
            return None if value is None else float(value)
        self._put_aside(row, name, b"%d" % value)
        return None

    def _scenario_columns(self) -> tuple[Arrow, Arrow]:
        names, ids, clashes = zip(*map(scenario_of, self.calls), strict=True)
        if True in clashes:
            for row in compress(range(len(clashes)), clashes):
                self._put_aside(row, "scenario", self.fields[row]["scenario"])
        return array(self._pa, names, "text"), array(self._pa, ids, "text")

    def _transcript_column(self, list_type: Arrow) -> Arrow:
        transcripts = [self._wires(row) for row in range(len(self.calls))]
        try:
            return transcript_column(self._pa, transcripts, list_type)
        except (self._pa.ArrowInvalid, OverflowError):
            exact = [self._exact(row, wires) for row, wires in enumerate(transcripts)]
            return transcript_column(self._pa, exact, list_type, to_double=float)

    def _wires(self, row: int) -> Wires:
        try:
            return wire_turns(self.calls[row], self.fields[row])
        except DecodingError:
            self._put_transcript_aside(row)
            return None

    def _exact(self, row: int, wires: Wires) -> Wires:
        """Put a transcript aside whose times a double can't hold."""
        if all(map(is_double, times_of(wires or ()))):
            return wires
        self._put_transcript_aside(row)
        return None

    def _entries(self, row: int) -> WireEvals:
        try:
            return entries_of(self.calls[row], self.fields[row])
        except DecodingError:
            self._put_aside(row, "eval_outputs", self.fields[row]["eval_outputs"])
            return {}

    def _put_transcript_aside(self, row: int) -> None:
        fields = self.fields[row]
        self._put_aside(row, "transcript", fields[transcript_key(fields)])

    def _json_column(self, name: str) -> Arrow:
        """Return a column of ``json_of``, written out: it is called six times a record."""
        slices = (bytes(fields.get(name, NULL)) for fields in self.fields)
        return json_array(self._pa, [None if sent == b"null" else sent for sent in slices])

    def _misfit_column(self) -> Arrow:
        rows = map(self.misfits.get, range(len(self.calls)))
        return json_array(self._pa, [msgspec.json.encode(row) if row else None for row in rows])


@attrs.define(frozen=True)
class ArrowRow:
    """Rows of a table, and the places of their calls in the batch."""

    rows: Arrow
    places: Sequence[int]


@attrs.define
class ArrowRows:
    """What becomes of a batch."""

    calls: list[ArrowRow] = attrs.field(factory=list)
    evaluations: list[ArrowRow] = attrs.field(factory=list)
    misfits: int = 0
    """Calls with a value that its column can't hold."""


class BatchMaker:
    """Makes record batches; those of evaluations on request."""

    def __init__(self, pa: Arrow, sources: Iterable[CallSource], *, evaluations: bool) -> None:
        self.calls_schema = arrow_schema(pa, CALLS)
        self.evaluations_schema = arrow_schema(pa, EVALUATIONS)
        self._pa = pa
        self._origins = SourceColumns(sources)
        self._wants_evaluations = evaluations
        self._shapes = RowSchemas()

    def make(self, batch: Batch) -> ArrowRows:
        """Return the rows of both tables, in pieces to be put `in_order`."""
        pieces = ArrowRows()
        shaped, others = self._shapes.sort(batch.raws)
        for rows in shaped:
            try:
                self._make_quickly(batch, rows, pieces)
            except SlowPathNeededError:
                others += rows.places
        if others:
            self._make_carefully(batch, sorted(others), pieces)
        return pieces

    def _make_quickly(self, batch: Batch, rows: Rows, pieces: ArrowRows) -> None:
        columns = FastColumns(rows, batch, self._pa)
        entries = columns.entries() if self._wants_evaluations else []
        calls = columns.batch(self._origins, self.calls_schema)
        self._add(calls, entries, rows.places, pieces)

    def _make_carefully(self, batch: Batch, places: Sequence[int], pieces: ArrowRows) -> None:
        columns = CallColumns(list(map(batch.restore, places)), self._origins, self._pa)
        entries = columns.entries() if self._wants_evaluations else []
        calls = columns.batch(self.calls_schema)
        self._add(calls, entries, places, pieces)
        pieces.misfits += len(columns.misfits)

    def _add(
        self, calls: Arrow, entries: Sequence[WireEvals], places: Sequence[int], pieces: ArrowRows
    ) -> None:
        pieces.calls.append(ArrowRow(calls, places))
        if self._wants_evaluations:
            evaluations, rows = evaluations_batch(self._pa, calls, entries, self.evaluations_schema)
            pieces.evaluations.append(ArrowRow(evaluations, [places[row] for row in rows]))


def in_order(pa: Arrow, pieces: Sequence[ArrowRow]) -> list[Arrow]:
    """Return record batches that have the rows of all pieces in the order of their calls."""
    rows = [piece.rows for piece in pieces]
    places = list(chain.from_iterable(piece.places for piece in pieces))
    if len(pieces) == 1 or places == sorted(places):
        return rows
    order = sorted(range(len(places)), key=places.__getitem__)
    return list(pa.Table.from_batches(rows).combine_chunks().take(order).to_batches())

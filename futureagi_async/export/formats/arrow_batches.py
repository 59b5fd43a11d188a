"""Staged records -> Arrow record batches of both tables.

Rows that have a shape go the quick way, `arrow_shaped`. All others, and those of a shape in which a value
does not fit its column, are decoded as calls and go the careful way, `arrow_columns`.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

import attrs

from futureagi_async.export.formats.arrow_columns import CallColumns
from futureagi_async.export.formats.arrow_evaluations import evaluations_batch
from futureagi_async.export.formats.arrow_shaped import CareNeededError, ShapedColumns
from futureagi_async.export.formats.arrow_types import Arrow, arrow_schema
from futureagi_async.export.formats.batch import Batch
from futureagi_async.export.formats.details import Entries
from futureagi_async.export.formats.origins import Origins
from futureagi_async.export.formats.schema import CALLS, EVALUATIONS
from futureagi_async.export.formats.shapes import Rows, Shapes
from futureagi_async.sources import CallSource


@attrs.define(frozen=True)
class Piece:
    """Rows of a table, and the places of their calls in the batch."""

    rows: Arrow
    places: Sequence[int]


@attrs.define
class Pieces:
    """What becomes of a batch."""

    calls: list[Piece] = attrs.field(factory=list)
    evaluations: list[Piece] = attrs.field(factory=list)
    misfits: int = 0
    """Calls with a value that its column can't hold."""


class BatchMaker:
    """Makes record batches; those of evaluations on request."""

    def __init__(self, pa: Arrow, sources: Iterable[CallSource], *, evaluations: bool) -> None:
        self.calls_schema = arrow_schema(pa, CALLS)
        self.evaluations_schema = arrow_schema(pa, EVALUATIONS)
        self._pa = pa
        self._origins = Origins(sources)
        self._wants_evaluations = evaluations
        self._shapes = Shapes()

    def make(self, batch: Batch) -> Pieces:
        """Return the rows of both tables, in pieces to be put `in_order`."""
        pieces = Pieces()
        shaped, others = self._shapes.sort(batch.raws)
        for rows in shaped:
            try:
                self._make_quickly(batch, rows, pieces)
            except CareNeededError:
                others += rows.places
        if others:
            self._make_carefully(batch, sorted(others), pieces)
        return pieces

    def _make_quickly(self, batch: Batch, rows: Rows, pieces: Pieces) -> None:
        columns = ShapedColumns(rows, batch, self._pa)
        entries = columns.entries() if self._wants_evaluations else []
        calls = columns.batch(self._origins, self.calls_schema)
        self._add(calls, entries, rows.places, pieces)

    def _make_carefully(self, batch: Batch, places: Sequence[int], pieces: Pieces) -> None:
        columns = CallColumns(list(map(batch.restore, places)), self._origins, self._pa)
        entries = columns.entries() if self._wants_evaluations else []
        calls = columns.batch(self.calls_schema)
        self._add(calls, entries, places, pieces)
        pieces.misfits += len(columns.misfits)

    def _add(self, calls: Arrow, entries: Sequence[Entries], places: Sequence[int], pieces: Pieces) -> None:
        pieces.calls.append(Piece(calls, places))
        if self._wants_evaluations:
            evaluations, rows = evaluations_batch(self._pa, calls, entries, self.evaluations_schema)
            pieces.evaluations.append(Piece(evaluations, [places[row] for row in rows]))


def in_order(pa: Arrow, pieces: Sequence[Piece]) -> list[Arrow]:
    """Return record batches that have the rows of all pieces in the order of their calls."""
    rows = [piece.rows for piece in pieces]
    places = list(chain.from_iterable(piece.places for piece in pieces))
    if len(pieces) == 1 or places == sorted(places):
        return rows
    order = sorted(range(len(places)), key=places.__getitem__)
    return list(pa.Table.from_batches(rows).combine_chunks().take(order).to_batches())

"""Rows of one shape -> Arrow columns, without a call for each.

What comes out is what `arrow_columns` makes of the same rows, to the last bit. Rows in which something
needs its care are left to it.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import astuple

from futureagi_async._sansio.decoding.wire import ScenarioWire, TurnWire
from futureagi_async._sansio.decoding.withholding import WITHHOLDING, withholds
from futureagi_async.export.formats.arrow_origins import origin_columns
from futureagi_async.export.formats.arrow_turns import transcript_column
from futureagi_async.export.formats.arrow_types import Arrow, array, joined_array, sent_array
from futureagi_async.export.formats.batch import Batch
from futureagi_async.export.formats.details import FAULTS, Entries, decode_entries, extra_template
from futureagi_async.export.formats.origins import Origins
from futureagi_async.export.formats.schema import JSON_PARTS, PLAIN
from futureagi_async.export.formats.shapes import Rows


class CareNeededError(Exception):
    """Some of the rows have a value that does not fit its column, or whose unit their keys do not tell."""


class ShapedColumns:
    """The columns of some rows of one shape, or `CareNeededError`."""

    def __init__(self, rows: Rows, batch: Batch, pa: Arrow) -> None:
        self._pa = pa
        self._shape = rows.shape
        self._rows = rows
        self._batch = batch
        self._nothing = (None,) * len(rows.places)
        self._sources = list(map(batch.sources.__getitem__, rows.places))
        columns = zip(*map(astuple, rows.structs), strict=True)
        self._sent: dict[str, Sequence[Any]] = dict(zip(rows.shape.keys, columns, strict=True))

    def entries(self) -> Sequence[Entries]:
        """Return the evaluations of each row."""
        if "eval_outputs" not in self._sent:
            return [{}] * len(self._nothing)
        try:
            return list(map(decode_entries, self._sent["eval_outputs"]))
        except FAULTS as error:
            raise CareNeededError from error

    def batch(self, origins: Origins, schema: Arrow) -> Arrow:
        """Return a record batch."""
        pa = self._pa
        try:
            columns = self.plain_columns() | self.scenario_columns()
            columns["transcript"] = self.transcript_column(schema.field("transcript").type)
        except (pa.ArrowInvalid, OverflowError) as error:  # a whole number that no double holds
            raise CareNeededError from error
        columns |= origin_columns(pa, origins.of_all(self._sources)) | self.json_columns()
        empty = {field.name: field.type for field in schema if field.name not in columns}
        columns |= {name: pa.nulls(len(self._nothing), kind) for name, kind in empty.items()}
        return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    def plain_columns(self) -> dict[str, Arrow]:
        """Return the columns `PLAIN` for which something was sent."""
        fillers = self._shape.fillers(snapshots=self._rows.are_snapshots)
        if fillers is None:
            raise CareNeededError
        columns: dict[str, Arrow] = {}
        for name, filler in fillers.items():
            values = self._sent[filler.key]
            if filler.in_ms:
                values = [value / 1000 if value else value for value in values]
            elif name == "original_call_execution_id" and self._rows.are_snapshots:
                values = [value or None for value in values]
            columns[name] = array(self._pa, values, PLAIN[name])
        flag = self._pa.scalar(self._rows.are_snapshots)
        return columns | {"is_snapshot": self._pa.repeat(flag, len(self._nothing))}

    def scenario_columns(self) -> dict[str, Arrow]:
        """Return the scenarios' names and ids, wherever these were sent."""
        names = self._sent.get(self._shape.scenario, self._nothing)
        ids = self._sent.get("scenario_id", self._nothing)
        if ScenarioWire in map(type, names):
            inner = [each.id if type(each) is ScenarioWire else None for each in names]
            if any(one and other and one != other for one, other in zip(inner, ids, strict=True)):
                raise CareNeededError
            names = [each.name if type(each) is ScenarioWire else each for each in names]
            ids = [outer or each or outer for outer, each in zip(ids, inner, strict=True)]
        return {
            "scenario_name": array(self._pa, names, "text"),
            "scenario_id": array(self._pa, ids, "text"),
        }

    def transcript_column(self, list_type: Arrow) -> Arrow:
        """Return the transcripts; an empty one may be withheld."""
        transcripts: Sequence[list[TurnWire] | None]
        transcripts = self._sent.get(self._shape.transcript, self._nothing)
        if [] in transcripts and not WITHHOLDING.isdisjoint(map(type, self._sources)):
            types = self._sent.get("simulation_call_type", self._nothing)
            transcripts = [
                None if turns == [] and self._is_withheld(place, call_type) else turns
                for turns, place, call_type in zip(transcripts, self._rows.places, types, strict=True)
            ]
        return transcript_column(self._pa, transcripts, list_type)

    def json_columns(self) -> dict[str, Arrow]:
        """Return what is JSON text, as it was sent."""
        columns = {name: sent_array(self._pa, self._sent[name]) for name in JSON_PARTS if name in self._sent}
        names = self._shape.extra
        template = extra_template(names)
        if names:
            values = zip(*map(self._sent.__getitem__, names), strict=True)
            texts = [template % each for each in values]
        else:
            texts = [template] * len(self._nothing)
        return columns | {"extra": joined_array(self._pa, texts)}

    def _is_withheld(self, place: int, call_type: str | None) -> bool:
        batch = self._batch
        return place not in batch.told and withholds(batch.sources[place], batch.raws[place], call_type)

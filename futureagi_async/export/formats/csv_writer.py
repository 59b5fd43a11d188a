"""CSV: rows, and one column for each evaluation."""

import codecs
import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, BinaryIO, Final

import attrs
import msgspec

from futureagi_async._sansio.decoding.fragments import JSON_ERRORS, Fields
from futureagi_async._sansio.decoding.misfits import Misfits
from futureagi_async._sansio.decoding.wire import EvalEntry
from futureagi_async.export.formats.csv_cells import Bare, cell, whole
from futureagi_async.export.formats.csv_fast import rows_of
from futureagi_async.export.formats.projection import WHOLE, Projection
from futureagi_async.export.formats.records import (
    Batch,
    evaluations_of,
    extra_of,
    fields_of,
    misfits_of,
    scenario_of,
    turns_of,
)
from futureagi_async.export.formats.row_schemas import RowColumns, Rows, RowSchemas, SlowPathNeededError
from futureagi_async.export.formats.schema import JSON_PARTS, SCALARS, SOURCE, SourceColumns
from futureagi_async.models import CallExecution, EvalOutput, TranscriptTurn
from futureagi_async.sources import CallSource


@attrs.define(frozen=True)
class EvaluationColumn:
    """The columns of one evaluation."""

    id: str
    label: str
    """The name of the evaluation; with its id, if several have the same name."""


class _Evaluations(msgspec.Struct):
    eval_outputs: dict[str, EvalEntry] | None = None


_decode_evaluations = msgspec.json.Decoder(_Evaluations).decode


class EvaluationColumns:
    """Collects the evaluations of calls. The columns do not depend on the order of the calls."""

    def __init__(self) -> None:
        self._names: dict[str, str | None] = {}

    def note(self, call: CallExecution) -> None:
        """Add the evaluations of a call."""
        self._note_all(evaluations_of(call, fields_of(call), {}))

    def note_batch(self, batch: Batch) -> None:
        """Add the evaluations of records. This decodes nothing else, so it is ten times as fast as `note`."""
        for place, raw in enumerate(batch.raws):
            try:
                entries = _decode_evaluations(raw).eval_outputs or {}
            except JSON_ERRORS:
                self.note(batch.restore(place))
            else:
                self._note_all(entries)

    def _note_all(self, outputs: Mapping[str, object]) -> None:
        for key, output in outputs.items():
            name, known = getattr(output, "name", None), self._names.setdefault(key, None)
            if name and (not known or name < known):
                self._names[key] = name

    def columns(self) -> tuple[EvaluationColumn, ...]:
        """Return the columns, sorted by name, then id."""
        names = {key: name or key for key, name in self._names.items()}
        return tuple(EvaluationColumn(key, label) for key, label in _labels(names).items())


def _labels(names: Mapping[str, str]) -> dict[str, str]:
    """Return a unique label for each id, whatever the names and ids are."""
    times = Counter(names.values())
    taken = {name for name, count in times.items() if count == 1}
    labels: dict[str, str] = {}
    for name, key in sorted((name, key) for key, name in names.items()):
        label = name
        while times[name] > 1 and (label == name or label in taken):
            label = f"{label} [{key}]"
        labels[key] = label
        taken.add(label)
    return labels


def columns_of(projection: Projection) -> list[str]:
    """Return the columns before those of the evaluations."""
    return [
        column
        for name in projection.calls
        for column in (("transcript_turns", name) if name == "transcript" else (name,))
    ]


COLUMNS: Final = tuple(columns_of(WHOLE))
"""All columns before those of the evaluations."""

_OF_EVALUATIONS: Final = ("eval", "eval_reason", "eval_status")
_NO_RESULT: Final = (None, None, None)


class _Lines(list[str]):
    """A file object that collects the lines of the csv module."""

    def write(self, line: str) -> None:
        """Add a line."""
        self.append(line)


class CsvWriter:
    """Writes a byte order mark (for Excel), a header and calls to ``file``."""

    misfits = 0
    """The number of calls with ``misfits``."""

    def __init__(
        self,
        file: BinaryIO,
        *,
        sources: Iterable[CallSource | None] = (),
        evaluations: Sequence[EvaluationColumn],
        projection: Projection = WHOLE,
    ) -> None:
        self._file = file
        self._projection = projection
        self._source_columns = SourceColumns(sources)
        self._evaluations = [evaluation.id for evaluation in evaluations]
        self._lines = _Lines()
        self._csv = csv.writer(self._lines, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
        labels = [f"{kind}:{column.label}" for column in evaluations for kind in _OF_EVALUATIONS]
        self._file.write(codecs.BOM_UTF8)
        self._has_source = [name in projection.calls for name in SOURCE]
        self._scalars = [name for name in SCALARS if name != "id" and name in projection.calls]
        self._parts = [name for name in JSON_PARTS if name in projection.calls]
        self._names = columns_of(projection)
        self._row_schemas = RowSchemas(projection)
        self._file.write(self._carefully([[*self._names, *labels]])[0])

    def write(self, batch: Batch) -> None:
        """Append one row per call."""
        made: dict[int, bytes] = {}
        alike, others = self._row_schemas.sort(batch.raws)
        for rows in alike:
            try:
                made |= self._quickly(rows, batch)
            except SlowPathNeededError:
                others += rows.places
        calls = map(batch.restore, sorted(others))
        made |= zip(sorted(others), self._carefully(map(self._row, calls)), strict=True)
        self._file.write(b"".join(made[place] for place in range(len(made))))

    def close(self) -> None:
        """Do nothing: each call is written at once."""

    def _quickly(self, rows: Rows, batch: Batch) -> Iterator[tuple[int, bytes]]:
        columns = RowColumns(rows, batch)
        source_rows = self._source_columns.of_all(columns.sources)
        made = rows_of(columns, self._names, source_rows, self._evaluations)
        return zip(rows.places, (b"%b\r\n" % row for row in made), strict=True)

    def _carefully(self, rows: Iterable[Iterable[Any]]) -> list[bytes]:
        self._csv.writerows(map(cell, row) for row in rows)
        made = [line.encode() for line in self._lines]
        self._lines.clear()
        return made

    def _row(self, call: CallExecution) -> list[Any]:
        """Return the cells in the order of the schema."""
        projection, kept = self._projection, self._projection.calls
        fields = fields_of(call)
        misfits = misfits_of(call)
        index, *source = self._source_columns.of(call.source)
        row: list[Any] = [call.id, *compress((whole(index), *source), self._has_source)]
        row += [_scalar(call, name) for name in self._scalars]
        if scenario_of(call)[2]:
            misfits["scenario"] = fields["scenario"]
        if "transcript" in kept:
            row += _transcript_cells(call, fields, misfits)
        row += [_text(projection.json_of(fields, name)) for name in self._parts]
        if "extra" in kept:
            row.append(_text(extra_of(fields, projection.removed_keys)))
        outputs = evaluations_of(call, fields, misfits) if "eval_outputs" in kept else {}
        misfits = projection.misfits(misfits)  # last, because other columns add to it
        if "misfits" in kept:
            row.append(_text(msgspec.json.encode(misfits)) if misfits else None)
            self.misfits += bool(misfits)
        results = map(outputs.get, self._evaluations)
        return row + [value for output in results for value in (_result(output) if output else _NO_RESULT)]


def _scalar(call: CallExecution, name: str) -> Any:
    if name == "scenario_name":
        return scenario_of(call)[0]
    return scenario_of(call)[1] if name == "scenario_id" else getattr(call, name)


def _text(sent: bytes | None) -> str | None:
    return None if sent is None else sent.decode()


def _transcript_cells(
    call: CallExecution, fields: Fields, misfits: Misfits
) -> tuple[Bare | None, str | None]:
    turns = turns_of(call, fields, misfits)
    return (None, None) if turns is None else (whole(len(turns)), "\n".join(map(_said, turns)))


def _said(turn: TranscriptTurn) -> str:
    """Return a turn as text: role and content, with more lines indented."""
    said = (turn.content or "").replace("\n", "\n  ")
    return f"{turn.role}: {said}" if turn.role else said


def _result(output: EvalOutput) -> tuple[Any, str | None, str | None]:
    """Return the cells for value, reason and status."""
    marks = ("pending" if output.pending else "skipped" if output.skipped else None, output.error)
    failed = next((mark if isinstance(mark, str) else "error" for mark in marks if mark), None)
    return output.value, output.reason, failed or output.status

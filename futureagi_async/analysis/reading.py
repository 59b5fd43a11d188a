"""Read calls, tables and exports for an analysis, in batches and only the needed columns."""

import codecs
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import islice
from math import isfinite
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec
import numpy as np
from msgspec import Raw

from futureagi_async._sansio.decoding import decode_call
from futureagi_async._sansio.decoding.fragments import JSON_ERRORS
from futureagi_async._sansio.decoding.lines import decode_line
from futureagi_async.analysis.measures import COUNTED, EXTRA, FIELDS, MEASURES
from futureagi_async.analysis.sample import Collector, FloatArray, Rows
from futureagi_async.analysis.values import ReadVerdict
from futureagi_async.errors import DecodingError, ExportError
from futureagi_async.export.files import is_file
from futureagi_async.export.formats import check_installed, decompression_faults, open_decompressed
from futureagi_async.export.formats.csv_cells import original_text
from futureagi_async.export.formats.ids import csv_rows, whole_lines
from futureagi_async.export.formats.records import NULL
from futureagi_async.export.manifest import Manifest, find_manifest, read_manifest
from futureagi_async.export.targets import PART_NAME
from futureagi_async.models import CallExecution, EvalOutput, FetchReport

_ROWS = 2_000  # rows per batch of columns
_RECORDS = 50  # whole records per batch, of perhaps 100 kB each
_MOMENTS: Final = ("start_time", "created_at", "timestamp")
_PLAIN: Final = ("id", "is_snapshot", *COUNTED, "scenario_id", "scenario_name", *_MOMENTS)
_JSON: Final = ("eval_outputs", "scenario_columns", "extra")
COLUMNS: Final = (*_PLAIN, *FIELDS, *_JSON)
"""The columns that are read of a table of calls."""

_fields = attrgetter(*FIELDS)


# Calls


def add_calls(collector: Collector, calls: Iterable[CallExecution]) -> None:
    """Add calls to the collector, in batches."""
    rest = iter(calls)
    while some := list(islice(rest, _RECORDS)):
        for call in some:
            if not isinstance(call, CallExecution):
                raise TypeError(f"A call is a CallExecution, not {type(call).__name__}.")
        collector.add(_rows_of(some))


def _rows_of(calls: Sequence[CallExecution]) -> Rows:
    measures = [(*_fields(call), *_extra_of(call)) for call in calls]
    return Rows(
        ids=[call.id for call in calls],
        snapshots=[call.is_snapshot for call in calls],
        words={field: [getattr(call, field) for call in calls] for field in COUNTED},
        scenario_ids=[call.scenario_id or (call.scenario.id if call.scenario else None) for call in calls],
        scenario_names=[call.scenario.name if call.scenario else None for call in calls],
        days=[_day(call.start_time or call.created_at or call.timestamp) for call in calls],
        dataset_rows=[_row_of_call(call) for call in calls],
        measures=_table(measures),
        evaluations=[_evaluations_of(call) for call in calls],
    )


def _table(rows: Sequence[Sequence[float | None]]) -> FloatArray:
    try:
        return np.array(rows, np.float64)
    except OverflowError:  # an integer that is too large for a float
        return np.array([[_double(value) for value in row] for row in rows], np.float64)


def _double(value: float | None) -> float | None:
    try:
        return None if value is None else float(value)
    except OverflowError:
        return None


class _Extra(msgspec.Struct):
    cost_cents: Raw = NULL
    customer_cost_cents: Raw = NULL
    agent_talk_percentage: Raw = NULL


_decode_extra = msgspec.json.Decoder(_Extra).decode
_NO_EXTRA: Final = (None,) * len(EXTRA)


def _extra_of(call: CallExecution) -> Sequence[float | None]:
    if call.raw:
        return _numbers_of(call.raw)
    return [_number(call.extra.get(name)) for name in EXTRA]


def _numbers_of(sent: bytes | Raw | str | None) -> Sequence[float | None]:
    """Return the numbers in a JSON object. A value that is not a number is ``None``."""
    if not sent:
        return _NO_EXTRA
    try:
        found = _decode_extra(sent)
    except JSON_ERRORS:
        return _NO_EXTRA
    return [_number_in(getattr(found, name)) for name in EXTRA]


def _number_in(sent: Raw) -> float | None:
    try:
        return _number(msgspec.json.decode(sent))
    except JSON_ERRORS:
        return None


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.astimezone(UTC).date()


def _evaluations_of(call: CallExecution) -> Mapping[str, EvalOutput] | None:
    try:
        return None if "eval_outputs" in call.misfits else call.eval_outputs or {}
    except DecodingError:
        return None


def _row_of_call(call: CallExecution) -> bytes | None:
    try:
        return dataset_row(call.scenario_columns)
    except DecodingError:
        return None


def dataset_row(columns: object) -> bytes | None:
    """Return a digest of a dataset row's cells, because the server does not send the row's id."""
    named: list[tuple[str, object]] = []
    if isinstance(columns, Mapping):
        named = [(name, _cell(entry)) for name, entry in columns.items()]
    elif isinstance(columns, list):  # as documented
        named = [(str(_name_in(entry)), _cell(entry)) for entry in columns]
    if not any(cell not in (None, "", {}, []) for _, cell in named):
        return None
    cells = msgspec.json.encode(sorted(named, key=lambda pair: pair[0]), order="deterministic")
    return hashlib.blake2b(cells, digest_size=16).digest()


def _cell(entry: object) -> object:
    return entry.get("value", entry) if isinstance(entry, Mapping) else entry


def _name_in(entry: object) -> object:
    if not isinstance(entry, Mapping):
        return ""
    return entry.get("column_name") or entry.get("name") or entry.get("dataset_column_id") or ""


# Tables


def add_table(collector: Collector, calls: Any, evaluations: Any = None) -> None:
    """Add a pyarrow table of calls, with all or some columns of a Parquet export.

    ``evaluations`` is the table of evaluations; it is used if ``calls`` has no column ``eval_outputs``.
    """
    _check_columns(calls.column_names, "The table")
    outputs = None
    if evaluations is not None and "eval_outputs" not in calls.column_names:
        outputs = _outputs_by_call(evaluations)
    for batch in calls.select([name for name in COLUMNS if name in calls.column_names]).to_batches(_ROWS):
        if not batch.num_rows:
            continue
        rows = _rows_of_batch(batch)
        if outputs is not None:
            rows = attrs.evolve(rows, evaluations=[outputs.get(id_, {}) for id_ in rows.ids])
        collector.add(rows)


_OUTPUT: Final = (
    "evaluation_id",
    "name",
    "value",
    "type",
    "status",
    "error",
    "error_text",
    "skipped",
    "pending",
)


def _outputs_by_call(table: Any) -> dict[str, dict[str, EvalOutput]]:
    found: dict[str, dict[str, EvalOutput]] = {}
    for batch in table.select(["call_id", *_OUTPUT]).to_batches(_ROWS):
        columns = batch.to_pydict()
        rows = zip(columns["call_id"], *(columns[name] for name in _OUTPUT), strict=True)
        for call_id, id_, name, value, kind, status, error, error_text, skipped, pending in rows:
            made = None if value is None else msgspec.json.decode(value)
            output = EvalOutput(id_, name, made, kind, None, status, error_text or error, skipped, pending)
            found.setdefault(call_id, {}).setdefault(id_, output)
    return found


def _check_columns(names: Iterable[str], where: str) -> None:
    if "id" not in names:
        raise ValueError(f"{where} has no column id: it is not a table of calls.")


def _rows_of_batch(batch: Any) -> Rows:
    names, number = batch.schema.names, batch.num_rows
    columns = {name: batch.column(name).to_pylist() for name in (*_PLAIN, *_JSON) if name in names}
    for name in (*_PLAIN, *_JSON):
        columns.setdefault(name, [None] * number)
    measures = np.full((number, len(MEASURES)), np.nan)
    for place, name in enumerate(FIELDS):
        if name in names:
            measures[:, place] = batch.column(name).to_numpy(zero_copy_only=False)
    measures[:, len(FIELDS) :] = _table([_numbers_of(sent) for sent in columns["extra"]])
    return _rows_of_columns(columns, measures, list(map(_evaluations_in, columns["eval_outputs"])))


def _rows_of_columns(
    columns: Mapping[str, Sequence[Any]],
    measures: FloatArray,
    evaluations: Sequence[Mapping[str, EvalOutput] | None],
) -> Rows:
    moments = zip(*(columns[name] for name in _MOMENTS), strict=True)
    return Rows(
        ids=columns["id"],
        snapshots=columns["is_snapshot"],
        words={field: columns[field] for field in COUNTED},
        scenario_ids=columns["scenario_id"],
        scenario_names=columns["scenario_name"],
        days=[_day(next(filter(None, each), None)) for each in moments],
        dataset_rows=list(map(_dataset_row_in, columns["scenario_columns"])),
        measures=measures,
        evaluations=evaluations,
    )


def _dataset_row_in(sent: str | bytes | Raw | None) -> bytes | None:
    try:
        return dataset_row(msgspec.json.decode(sent)) if sent else None
    except JSON_ERRORS:
        return None


def _evaluations_in(sent: str | bytes | None) -> Mapping[str, EvalOutput] | None:
    """Return evaluations of their JSON, decoded like those of a record."""
    if not sent or sent == "null":
        return {}
    record = b'{"id":"","eval_outputs":%b}' % (sent.encode() if isinstance(sent, str) else sent)
    try:
        return _evaluations_of(decode_call(record, "an export"))
    except DecodingError:
        return None


# Exports


def add_export(collector: Collector, folder: Path) -> Manifest:
    """Add the calls of an export's directory, and return its manifest.

    Raises `ExportError` for a directory without an export, and for parts that are missing or have another
    size.
    """
    where = find_manifest(folder)
    manifest = read_manifest(where)
    if manifest is None:
        raise ExportError(f"Can't read {folder}: there is no {where.name} in it. Is the export finished?")
    check_installed(manifest.parameters.format)
    add: Callable[[Collector, Path], None] = {
        "parquet": _add_parquet,
        "csv": _add_csv,
        "jsonl": _add_lines,
    }[manifest.parameters.format]
    for part in manifest.parts:
        path = folder / part.name
        if not PART_NAME.fullmatch(part.name):
            raise ExportError(f"Can't use {where}: it lists {part.name!r}, which is not the name of a part.")
        if not is_file(path) or path.stat().st_size != part.bytes:
            raise ExportError(
                f"{path} is missing or was changed since the export. Check it with verify_export."
            )
        if part.records is None:
            continue  # a part with evaluations, which the calls have, too
        faults: tuple[type[Exception], ...] = (OSError, ValueError, *JSON_ERRORS, *decompression_faults(path))
        try:
            add(collector, path)
        except faults as error:
            raise ExportError(f"Can't read {path}: {error}") from error
    return manifest


def _add_parquet(collector: Collector, path: Path) -> None:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        _check_columns(names, str(path))
        for batch in file.iter_batches(_ROWS, columns=[name for name in COLUMNS if name in names]):
            collector.add(_rows_of_batch(batch))


def _add_lines(collector: Collector, path: Path) -> None:
    with open_decompressed(path) as file:
        add_calls(collector, (decode_line(line[:-1]) for line in whole_lines(file)))


_CELL: Final = re.compile(rb'"([^"]*(?:""[^"]*)*)"|([^,\r\n]*)')


def _add_csv(collector: Collector, path: Path) -> None:
    with open_decompressed(path) as file:
        rows = csv_rows(file)
        header = [text for text, _ in _cells(next(rows, b"").removeprefix(codecs.BOM_UTF8))]
        _check_columns(header, str(path))
        places = {name: header.index(name) for name in COLUMNS if name in header}
        while some := list(islice(rows, _RECORDS)):
            collector.add(_rows_of_csv([_cells(row) for row in some], places))


def _cells(row: bytes) -> list[tuple[str, bool]]:
    """Return the text of each cell, and whether it has a value."""
    cells: list[tuple[str, bool]] = []
    place = 0
    while True:
        found = _CELL.match(row, place)
        assert found is not None  # an empty cell matches everywhere
        quoted, bare = found.groups()
        if quoted is not None:
            cells.append((original_text(quoted.replace(b'""', b'"').decode()), True))
        else:
            cells.append((bare.decode(), bool(bare)))
        place = found.end() + 1
        if row[place - 1 : place] != b",":
            return cells


def _rows_of_csv(rows: Sequence[Sequence[tuple[str, bool]]], places: Mapping[str, int]) -> Rows:
    def column(name: str, read: Callable[[str], Any] = str) -> list[Any]:
        if name not in places:
            return [None] * len(rows)
        cells = [row[places[name]] for row in rows]
        return [read(text) if there else None for text, there in cells]

    columns = {name: column(name) for name in (*_PLAIN, "scenario_columns")}
    columns |= {name: column(name, datetime.fromisoformat) for name in _MOMENTS}
    columns["is_snapshot"] = column("is_snapshot", "true".__eq__)
    numbers = [column(name, _finite) for name in FIELDS]
    numbers += map(list, zip(*map(_numbers_of, column("extra")), strict=True))
    measures = np.array(numbers, np.float64).T
    return _rows_of_columns(columns, measures, list(map(_evaluations_in, column("eval_outputs"))))


def _finite(text: str) -> float | None:
    """Return a number; ``None`` if it is too large for a float."""
    value = float(text)
    return value if isfinite(value) else None


# Verdicts


def verdict_of_report(report: FetchReport) -> ReadVerdict:
    """Return the combined verdict of all lists of a bulk read."""
    reasons = [f"{each.source.label}: {each.reason}" for each in report if each.verdict != "complete"]
    return _verdict(reasons, [each.complete_as_of for each in report])


def verdict_of_manifest(manifest: Manifest) -> ReadVerdict:
    """Return the combined verdict of all lists of an export. An export of changes is incomplete."""
    lists = manifest.sources
    reasons = [f"{_label(each.source)}: {each.reason}" for each in lists if each.verdict != "complete"]
    if any(each.changed_since for each in lists):
        reasons.append("The export has only the changes since an earlier export.")
    return _verdict(reasons, [each.complete_as_of for each in lists])


def _verdict(reasons: Sequence[str], moments: Sequence[datetime | None]) -> ReadVerdict:
    known = [moment for moment in moments if moment is not None]
    if reasons:
        return ReadVerdict("incomplete", tuple(reasons))
    return ReadVerdict("complete", complete_as_of=min(known, default=None))


def _label(source: Mapping[str, Any]) -> str:
    kind = str(source.get("kind"))
    id_ = source.get("version_id") or source.get(f"{kind}_id")
    return f"{kind.replace('_', ' ')} {id_}"

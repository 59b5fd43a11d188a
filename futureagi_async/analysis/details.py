"""Read a few whole calls from an export, for a report."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Raw

from futureagi_async._sansio.decoding import decode_call
from futureagi_async._sansio.decoding.fragments import JSON_ERRORS
from futureagi_async._sansio.decoding.lines import decode_line
from futureagi_async.errors import ExportError
from futureagi_async.export.files import is_file
from futureagi_async.export.formats import check_installed, decompression_faults, open_decompressed
from futureagi_async.export.formats.ids import whole_lines
from futureagi_async.export.manifest import MANIFEST, read_manifest
from futureagi_async.export.targets import PART_NAME
from futureagi_async.models import CallExecution, TranscriptTurn

_ROWS: Final = 2_000
_PLAIN: Final = ("id", "status", "duration", "ended_reason", "call_summary", "audio_url")
_JSON: Final = ("eval_outputs", "recordings")
_COLUMNS: Final = (*_PLAIN, *_JSON, "transcript")


def find_calls(folder: Path, ids: Collection[str]) -> dict[str, CallExecution]:
    """Return the calls with these ids from an export, with the fields that a report shows.

    If an export has a call several times, the first one counts. CSV has no turns, so nothing is returned for
    it. Raises `ExportError` for a directory without a finished export.
    """
    manifest = read_manifest(folder / MANIFEST)
    if manifest is None:
        raise ExportError(f"Can't read {folder}: there is no {MANIFEST} in it. Is the export finished?")
    format_ = manifest.parameters.format
    read: Callable[[Path, frozenset[str]], Iterator[CallExecution]]
    if format_ == "csv":
        return {}
    read = _in_parquet if format_ == "parquet" else _in_lines
    check_installed(format_)
    wanted, found = frozenset(ids), dict[str, CallExecution]()
    for part in manifest.parts:
        path = folder / part.name
        if part.records is None or not PART_NAME.fullmatch(part.name) or not is_file(path):
            continue
        faults: tuple[type[Exception], ...] = (OSError, ValueError, *JSON_ERRORS, *decompression_faults(path))
        try:
            for call in read(path, wanted):
                found.setdefault(call.id, call)
        except faults as error:
            raise ExportError(f"Can't read {path}: {error}") from error
    return found


def _in_lines(path: Path, wanted: frozenset[str]) -> Iterator[CallExecution]:
    needles = [id_.encode() for id_ in wanted]
    with open_decompressed(path) as file:
        for line in whole_lines(file):
            if any(needle in line for needle in needles):
                call = decode_line(line.rstrip(b"\n"))
                if call.id in wanted and not call.is_snapshot:
                    yield call


def _in_parquet(path: Path, wanted: frozenset[str]) -> Iterator[CallExecution]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        names = [name for name in _COLUMNS if name in file.schema_arrow.names]
        for batch in file.iter_batches(_ROWS, columns=names):
            ids = batch.column("id").to_pylist()
            for place, id_ in enumerate(ids):
                if id_ in wanted:
                    yield _call_of_row(batch.slice(place, 1).to_pylist()[0])


def _call_of_row(row: dict[str, Any]) -> CallExecution:
    """Return the call of a table row. Its JSON columns are decoded like those of a record."""
    sent = {name: Raw((row.get(name) or "null").encode()) for name in _JSON}
    record = msgspec.json.encode({name: row.get(name) for name in _PLAIN} | sent)
    call = decode_call(record, "an export")
    turns = row.get("transcript")
    call.transcript = None if turns is None else tuple(TranscriptTurn(**_turn(turn)) for turn in turns)
    return call


def _turn(turn: dict[str, Any]) -> dict[str, Any]:
    return {name: turn.get(name) for name in ("role", "content", "start_seconds", "end_seconds")}

"""Reads the ids of a finished part file again, to verify them."""

import re
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import msgspec

from futureagi_async._sansio.decoding.fragments import JSON_ERRORS
from futureagi_async.errors import ExportError
from futureagi_async.export.formats import check_compression, decompression_faults, open_decompressed
from futureagi_async.export.formats.csv_cells import original_text
from futureagi_async.export.formats.projection import left_out_of

SourceAndId: TypeAlias = tuple[int | None, str]

_ROWS = 10_000  # rows of a Parquet file at a time
_CSV_ID: Final = rb'"((?:[^"]|"")*)"'
_CSV_HEAD: Final = re.compile(_CSV_ID + rb",([0-9]*)[,\r]")
_CSV_HEAD_WITHOUT_SOURCE: Final = re.compile(_CSV_ID + rb"()[,\r]")
_CSV_HEADER: Final = re.compile(rb'\xef\xbb\xbf"id"(,"source_index")?[,\r]')


class _Place(msgspec.Struct):
    index: int | None = None


class _Line(msgspec.Struct):
    id: str


class _NormalisedLine(_Line):
    source: _Place | None = None


def read_ids(path: Path, format: str, *, normalised: bool = False) -> Iterator[SourceAndId]:  # noqa: A002
    """Yield the place of the source and the id of every record in a file, in the order of the file.

    The place is ``None`` in JSON Lines as sent, which name no source, and if its column was left out. Raises
    `ExportError` if the file can't be read in its format. The records that were yielded before are valid.
    """
    read: dict[str, Callable[[BinaryIO], Iterator[SourceAndId]]] = {
        "jsonl": _from_normalised if normalised else _from_lines,
        "csv": _from_csv,
        "parquet": _from_parquet,
    }
    check_compression(path.suffix.lower())
    faults: tuple[type[Exception], ...] = (OSError, KeyError, *JSON_ERRORS, *decompression_faults(path))
    try:
        with open_decompressed(path) as file:
            yield from read[format](file)
    except faults as error:
        raise ExportError(f"Can't read {path} as {format}: {error}.") from error


def _from_lines(file: BinaryIO) -> Iterator[SourceAndId]:
    decode = msgspec.json.Decoder(_Line).decode
    for line in whole_lines(file):
        yield None, decode(line).id


def whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file. Raises `ValueError` if the last line is incomplete."""
    for line in file:
        if not line.endswith(b"\n"):
            raise ValueError("its last line is incomplete")
        yield line


def _from_normalised(file: BinaryIO) -> Iterator[SourceAndId]:
    decode = msgspec.json.Decoder(_NormalisedLine).decode
    for line in whole_lines(file):
        found = decode(line)
        yield found.source.index if found.source else None, found.id


def _from_csv(file: BinaryIO) -> Iterator[SourceAndId]:
    """Read the first two cells of each row. The csv module can't: it fails at cells of 128 KiB."""
    rows = csv_rows(file)
    header = _CSV_HEADER.match(next(rows, b""))
    if header is None:
        raise ValueError("it does not begin with the column id")
    pattern = _CSV_HEAD if header[1] else _CSV_HEAD_WITHOUT_SOURCE
    for number, row in enumerate(rows, 1):
        head = pattern.match(row)
        if head is None:
            raise ValueError(f"row {number} does not begin with an id and the place of a source")
        yield int(head[2]) if head[2] else None, original_text(head[1].replace(b'""', b'"').decode())


def csv_rows(file: BinaryIO) -> Iterator[bytes]:
    """Yield whole rows. A newline ends a row if the number of quotes before it is even."""
    lines: list[bytes] = []
    quotes = 0
    for line in file:
        lines.append(line)
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            yield b"".join(lines)
            lines, quotes = [], 0
    if lines:
        raise ValueError("its last row is incomplete")


def _from_parquet(file: BinaryIO) -> Iterator[SourceAndId]:
    from pyarrow import parquet

    opened = parquet.ParquetFile(file)
    left_out = left_out_of(opened.schema_arrow)
    names = [name for name in ("source_index", "id") if name not in left_out]
    for batch in opened.iter_batches(_ROWS, columns=names):
        columns: dict[str, list[Any]] = batch.to_pydict()
        places = columns["source_index"] if "source_index" in names else repeat(None)
        yield from zip(places, columns["id"], strict=False)

"""Reads the records of an unfinished export again, in the order in which they are written, with details."""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from operator import add, attrgetter
from pathlib import Path
from typing import Self, TypeAlias

import msgspec
from msgspec import Raw

from futureagi_async._sansio.decoding.fragments import JSON_ERRORS, decode_fields
from futureagi_async.export.files import export_errors, open_to_read, read_at
from futureagi_async.export.formats.records import Batch, lacks_transcript
from futureagi_async.export.redaction import Redactor
from futureagi_async.export.store import Record, Store
from futureagi_async.models import CallExecution
from futureagi_async.models.call import on_one_line
from futureagi_async.sources import CallSource

Restore: TypeAlias = Callable[[bytes, int], CallExecution]
"""Decodes a record again. The number is the place of its source."""

_SIZE_OF = attrgetter("size")
_OPEN_FILES = 3  # unsorted records come from one part file after another; sorted ones come from all of them
_DETAILS = -1  # the number of the details file among the numbers of part files


class RecordReader:
    """Reads the records of a store. Use it in a ``with`` block."""

    def __init__(
        self,
        store: Store,
        restore: Restore,
        sources: Sequence[CallSource],
        redactor: Redactor | None = None,
    ) -> None:
        self.sources = sources
        self._redactor = redactor
        self._store = store
        self._restore = restore
        self._open: dict[int, tuple[int, Path]] = {}
        """The descriptors and paths of the last part files, and of the details file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for opened in self._open.values():
            os.close(opened[0])
        self._open.clear()

    def batch(self, records: Sequence[Record]) -> Batch:
        """Return some records with their details."""
        raws = list(chain.from_iterable(map(self._read_run, _runs(records))))
        has_detail: set[int] = set()
        for place, record in enumerate(records):
            if record.detail_size is not None:
                detail = self._read_detail(record)
                raws[place] = on_one_line(merge(raws[place], detail))
                if b'"transcript"' in detail:
                    has_detail.add(place)
        if self._redactor is not None:
            raws = list(map(self._redactor.redact, raws))

        def restore(place: int) -> CallExecution:
            call = self._restore(raws[place], records[place].source)
            if place in has_detail and lacks_transcript(call):
                call.transcript = ()  # the detail has no transcript, and details are always complete
            return call

        sources = [self.sources[record.source] for record in records]
        return Batch(raws=raws, sources=sources, restore=restore, has_detail=has_detail)

    def call(self, record: Record) -> CallExecution:
        """Return a record as a call."""
        return self.batch([record]).restore(0)

    def _read_detail(self, record: Record) -> bytes:
        assert record.detail_size is not None
        assert record.detail_offset is not None
        return self._read(_DETAILS, record.detail_size, record.detail_offset)

    def _read_run(self, records: Sequence[Record]) -> list[bytes]:
        """Return consecutive records of a file, without their newlines."""
        begin = records[0].offset
        read = self._read(records[0].part, sum(map(_SIZE_OF, records)), begin)
        return [read[offset - begin : offset - begin + size - 1] for _, _, offset, size, _, _ in records]

    def _read(self, file: int, size: int, offset: int) -> bytes:
        if file not in self._open:
            path = self._store.details_path(0) if file == _DETAILS else self._store.part_path(file)
            if len(self._open) == _OPEN_FILES:
                os.close(self._open.pop(next(iter(self._open)))[0])
            self._open[file] = open_to_read(path), path
        descriptor, path = self._open[file]
        with export_errors(path, "read"):
            return read_at(descriptor, size, offset)


def size_with_details(records: Sequence[Record]) -> int:
    """Return the size of records including what their details add."""
    return sum(record.size + (record.detail_size or 0) for record in records)


def merge(record: bytes, detail: bytes) -> bytes:
    """Return the record with the transcript of its detail, and with the recordings if it has none."""
    fields, found = decode_fields(record), decode_fields(detail)
    if "recordings" in found and _names_any(fields.get("recordings")):
        del found["recordings"]
    return msgspec.json.encode({**fields, **found})


def _names_any(recordings: Raw | None) -> bool:
    try:
        return recordings is not None and bool(msgspec.json.decode(recordings))
    except JSON_ERRORS:
        return True  # with a number that Python can't parse


def _runs(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Split records into runs that are consecutive in their file."""
    _, numbers, offsets, sizes, _, _ = zip(*records, strict=True)
    begins = list(zip(numbers, offsets, strict=True))
    ends = list(zip(numbers, map(add, offsets, sizes), strict=True))
    gaps = [place for place in range(1, len(records)) if begins[place] != ends[place - 1]]
    for start, stop in pairwise([0, *gaps, len(records)]):
        yield records[start:stop]

"""Staged records, read again in the order in which they are written."""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from operator import add, attrgetter
from typing import Self, TypeAlias

from futureagi_async.errors import DecodingError
from futureagi_async.export.files import explained, open_to_read, read_at
from futureagi_async.export.formats.records import Batch, on_one_line
from futureagi_async.export.staging.merging import merge
from futureagi_async.export.staging.records import Record, ordered_records, staged_records
from futureagi_async.export.store import Workspace
from futureagi_async.models import CallExecution
from futureagi_async.sources import CallSource

Restore: TypeAlias = Callable[[bytes, int], CallExecution]
"""Decodes a record again; the number is its source's place."""

_SIZE_OF = attrgetter("size")


class StagedRecords:
    """The records of a workspace, with what their details add; to be used in a ``with`` block."""

    def __init__(self, workspace: Workspace, restore: Restore, sources: Sequence[CallSource]) -> None:
        self.parameters = workspace.parameters
        self.sources = sources
        self._workspace = workspace
        self._restore = restore
        self._descriptors: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def places(self) -> Iterator[Record]:
        """Yield where the records lie, in the order in which they are written."""
        records = staged_records(self._workspace.entries(), self._workspace.state)
        return ordered_records(records) if self._workspace.parameters.ordered else records

    def size(self, records: Sequence[Record]) -> int:
        """Return how many bytes records take with what their details add."""
        details = self._workspace.state.details
        added = [details.get(record.detail or "", (0, 0))[1] for record in records] if details else ()
        sizes: Iterator[int] = map(_SIZE_OF, records)
        return sum(sizes) + sum(added)

    def batch(self, records: Sequence[Record]) -> Batch:
        """Read some records."""
        raws = list(chain.from_iterable(map(self._read_run, _runs(records))))
        told: set[int] = set()
        for place, detail in self._details(records):
            raws[place] = on_one_line(merge(raws[place], detail))
            if b'"transcript"' in detail:
                told.add(place)

        def restore(place: int) -> CallExecution:
            call = self._restore(raws[place], records[place].source)
            if place in told and _is_withheld(call):
                call.transcript = ()  # the detail said so, and it withholds nothing
            return call

        sources = [self.sources[record.source] for record in records]
        return Batch(raws=raws, sources=sources, restore=restore, told=told)

    def call(self, record: Record) -> CallExecution:
        """Return a record as a call."""
        return self.batch([record]).restore(0)

    def _details(self, records: Sequence[Record]) -> Iterator[tuple[int, bytes]]:
        """Yield what is known of records beyond what their list told, each with the record's place."""
        known = self._workspace.state.details
        for place, record in enumerate(records if known else ()):
            if record.detail in known:
                offset, size = known[record.detail]
                yield place, self._read("details", 0, size, offset)

    def _read_run(self, records: Sequence[Record]) -> list[bytes]:
        """Return records that lie one behind the other, without their newlines."""
        begin = records[0].offset
        read = self._read("stage", records[0].number, sum(map(_SIZE_OF, records)), begin)
        return [read[offset - begin : offset - begin + size - 1] for *_, offset, size in records]

    def _read(self, kind: str, number: int, size: int, offset: int) -> bytes:
        name = f"{kind}-{number}"
        paths = {"stage": self._workspace.staged_path, "details": self._workspace.details_path}
        path = paths[kind](number)
        if name not in self._descriptors:
            self._descriptors[name] = open_to_read(path)
        with explained(path, "read"):
            return read_at(self._descriptors[name], size, offset)


def _runs(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Part records where one does not lie right behind the other."""
    *_, numbers, offsets, sizes = zip(*records, strict=True)
    begins = list(zip(numbers, offsets, strict=True))
    ends = list(zip(numbers, map(add, offsets, sizes), strict=True))
    gaps = [place for place in range(1, len(records)) if begins[place] != ends[place - 1]]
    for start, stop in pairwise([0, *gaps, len(records)]):
        yield records[start:stop]


def _is_withheld(call: CallExecution) -> bool:
    try:
        return call.transcript is None
    except DecodingError:
        return False

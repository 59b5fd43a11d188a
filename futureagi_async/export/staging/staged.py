"""Staged records, read again in the order in which they are written."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Self, TypeAlias

from futureagi_async.errors import DecodingError
from futureagi_async.export.formats.batch import Batch
from futureagi_async.export.formats.jsonl import on_one_line
from futureagi_async.export.staging.files import explained, open_to_read, read_at
from futureagi_async.export.staging.merging import merge
from futureagi_async.export.staging.records import Record, ordered_records, staged_records
from futureagi_async.export.staging.workspace import Workspace
from futureagi_async.models import CallExecution
from futureagi_async.sources import CallSource

Restore: TypeAlias = Callable[[bytes, int], CallExecution]
"""Decodes a record again; the number is its source's place."""


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

    def size(self, record: Record) -> int:
        """Return how many bytes a record takes with what its detail adds."""
        _, detail_size = self._workspace.state.details.get(record.detail or "", (0, 0))
        return record.size + detail_size

    def batch(self, records: Sequence[Record]) -> Batch:
        """Read some records."""
        details = list(map(self._detail, records))
        lines = chain.from_iterable(map(self._read_run, _runs(records)))
        raws = [
            line if detail is None else on_one_line(merge(line, detail))
            for line, detail in zip(lines, details, strict=True)
        ]
        told = {
            place for place, detail in enumerate(details) if detail is not None and b'"transcript"' in detail
        }

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

    def _detail(self, record: Record) -> bytes | None:
        if record.detail is None or record.detail not in self._workspace.state.details:
            return None
        offset, size = self._workspace.state.details[record.detail]
        return self._read("details", 0, size, offset)

    def _read_run(self, records: Sequence[Record]) -> Iterator[bytes]:
        """Yield records that lie one behind the other, without their newlines."""
        begin = records[0].offset
        size = records[-1].offset + records[-1].size - begin
        read = self._read("stage", records[0].number, size, begin)
        for record in records:
            yield read[record.offset - begin : record.offset + record.size - begin - 1]

    def _read(self, kind: str, number: int, size: int, offset: int) -> bytes:
        name = f"{kind}-{number}"
        paths = {"stage": self._workspace.staged_path, "details": self._workspace.details_path}
        path = paths[kind](number)
        if name not in self._descriptors:
            self._descriptors[name] = open_to_read(path)
        with explained(path, "read"):
            return read_at(self._descriptors[name], size, offset)


def _runs(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Part records where one does not lie right behind the other."""
    run: list[Record] = []
    for record in records:
        if run and (record.number, record.offset) != (run[-1].number, run[-1].offset + run[-1].size):
            yield run
            run = []
        run.append(record)
    if run:
        yield run


def _is_withheld(call: CallExecution) -> bool:
    try:
        return call.transcript is None
    except DecodingError:
        return False

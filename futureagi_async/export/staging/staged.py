"""Staged records, read again in the order in which they are written."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeAlias

from futureagi_async.errors import DecodingError
from futureagi_async.export.formats.jsonl import encode_lines
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

    def line(self, record: Record) -> bytes:
        """Return a record's line, newline included."""
        line = self._read("stage", record.number, record.size, record.offset)
        detail = self._detail(record)
        if detail is None:
            return line
        return encode_lines([merge(line, detail)], include_provider_data=True)[0]

    def call(self, record: Record) -> CallExecution:
        """Return a record as a call."""
        detail = self._detail(record)
        call = self._restore(self.line(record)[:-1], record.source)
        if detail is not None and b'"transcript"' in detail and _is_withheld(call):
            call.transcript = ()  # the detail said so, and it withholds nothing
        return call

    def _detail(self, record: Record) -> bytes | None:
        if record.detail is None or record.detail not in self._workspace.state.details:
            return None
        offset, size = self._workspace.state.details[record.detail]
        return self._read("details", 0, size, offset)

    def _read(self, kind: str, number: int, size: int, offset: int) -> bytes:
        name = f"{kind}-{number}"
        paths = {"stage": self._workspace.staged_path, "details": self._workspace.details_path}
        path = paths[kind](number)
        if name not in self._descriptors:
            self._descriptors[name] = open_to_read(path)
        with explained(path, "read"):
            return read_at(self._descriptors[name], size, offset)


def _is_withheld(call: CallExecution) -> bool:
    try:
        return call.transcript is None
    except DecodingError:
        return False

"""Writes the finished files from the records of an unfinished export, beside their final places."""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, groupby, islice, repeat
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from futureagi_async.export.batches import RecordReader, size_with_details
from futureagi_async.export.files import create_file, digest_file, export_errors
from futureagi_async.export.formats import Writer, compressed, open_writer
from futureagi_async.export.formats.csv_writer import EvaluationColumns
from futureagi_async.export.formats.projection import Projection
from futureagi_async.export.manifest import Part
from futureagi_async.export.partitions import in_folder
from futureagi_async.export.store import Record, Store

_BATCH_RECORDS = 250  # records between two cancellation points; few enough for the processor's cache
_BATCH_BYTES = 16 * 1024**2
_BUFFER_BYTES = 256 * 1024


class PartsWriter:
    """Writes the part files of an export. Afterwards ``parts`` describes them.

    ``last`` means that the store is no longer needed. If its part files are identical to the final ones, they
    are then moved instead of copied. ``first_place`` is the place of the first source if this is a share.
    """

    def __init__(self, store: Store, reader: RecordReader, *, last: bool, first_place: int = 0) -> None:
        self.parts: list[Part] = []
        self._store = store
        self._target = store.target
        self._parameters = store.parameters
        self._reader = reader
        self._sources = (*repeat(None, first_place), *reader.sources)
        self._written = 0
        self._projection = Projection.without(self._parameters.left_out)
        self._columns = EvaluationColumns()
        changed = store.counts.newer or store.counts.details_bytes
        self._takes_part_files = last and self._parameters.writes_as_stored and not changed

    @property
    def size(self) -> int:
        """The total size of the parts in bytes."""
        return sum(part.bytes for part in self.parts)

    def files(self) -> list[tuple[Path, str]]:
        """Return the present path and the final name of each part."""
        names = [part.name for part in self.parts]
        if self._takes_part_files:
            return [(self._store.part_path(number), name) for number, name in enumerate(names)]
        return [(self._target.unfinished(name), name) for name in names]

    def run(self) -> Generator[int, None, None]:
        """Write everything, and regularly yield the number of records written."""
        self._store.end_reading()
        if self._takes_part_files:
            self.parts = list(self._describe_part_files())
            return
        if self._parameters.format == "csv" and self._projection.evaluations:
            yield from self._find_columns()
        for number, (folder, records) in enumerate(self._split()):
            yield from self._write_part(number, folder, records)

    def _split(self) -> Iterator[tuple[str, Iterator[Record]]]:
        """Yield the folder and the records of each part. Read the records before the next part."""
        if self._parameters.partition is None:
            yield from (("", some) for some in self._cut(self._store.records()))
            return
        for folder, placed in groupby(self._store.partitioned_records(), itemgetter(0)):
            yield from ((folder, some) for some in self._cut(map(itemgetter(1), placed)))

    def _cut(self, records: Iterator[Record]) -> Iterator[Iterator[Record]]:
        """Yield the records of each part. Without records, yield one empty part."""
        first = next(records, None)
        while True:
            begun = chain(() if first is None else (first,), records)
            yield islice(begun, self._parameters.part_rows)
            if (first := next(records, None)) is None:
                return

    def _describe_part_files(self) -> Iterator[Part]:
        for number in range(len(self._store.part_files())):
            yield describe_part_file(self._store, number)

    def _find_columns(self) -> Iterator[int]:
        """Read all evaluations before the first row, because the header comes first."""
        for some in self._batches(self._store.records()):
            self._columns.note_batch(self._reader.batch(some))
            yield 0

    def _write_part(self, number: int, folder: str, records: Iterator[Record]) -> Iterator[int]:
        kinds = ["calls", "evaluations"] if self._parameters.has_evaluations else ["calls"]
        names = [in_folder(self._target.part_name(number, kind), folder) for kind in kinds]
        unfinished = list(map(self._target.unfinished, names))
        before = self._written
        with export_errors(self._target.folder / names[0]), ExitStack() as stack:
            files = [stack.enter_context(_open_anew(each)) for each in unfinished]
            outer = files[0]
            if self._target.compression is not None:
                outer = stack.enter_context(compressed(files[0], self._target.compression))
            writer = self._open_writer(outer, *files[1:])
            for some in self._batches(records):
                writer.write(self._reader.batch(some))
                self._written += len(some)
                yield self._written
            writer.close()
            if outer is not files[0]:
                outer.close()
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        for each, name in zip(unfinished, names, strict=True):
            is_calls = name == names[0]
            part = Part(
                name=name,
                records=self._written - before if is_calls else None,
                bytes=each.stat().st_size,
                sha256=digest_file(each) if self._target.is_directory else "",
                misfits=writer.misfits if is_calls else 0,
            )
            self.parts.append(part)

    def _batches(self, records: Iterator[Record]) -> Iterator[Sequence[Record]]:
        """Yield some records at a time, to limit the memory."""
        while some := list(islice(records, _BATCH_RECORDS)):
            yield from self._small_enough(some)

    def _small_enough(self, records: Sequence[Record]) -> Iterator[Sequence[Record]]:
        if len(records) == 1 or size_with_details(records) <= _BATCH_BYTES:
            yield records
            return
        middle = len(records) // 2
        yield from self._small_enough(records[:middle])
        yield from self._small_enough(records[middle:])

    def _open_writer(self, file: BinaryIO, side_file: BinaryIO | None = None) -> Writer:
        return open_writer(
            self._parameters.format,
            file,
            normalised=self._parameters.normalised,
            evaluations=self._columns.columns(),
            side_file=side_file,
            sources=self._sources,
            projection=self._projection,
        )


def full_part_files(store: Store, begin: int) -> Iterator[tuple[Path, Part]]:
    """Yield the full part files from number ``begin`` on, if they are identical to the final parts.

    They are identical while no record comes again in a newer version and no details are added.
    """
    parameters = store.parameters
    if not parameters.writes_as_stored or parameters.transcripts or store.counts.newer:
        return
    for number in range(begin, len(store.part_files()) - 1):
        yield store.part_path(number), describe_part_file(store, number)


def describe_part_file(store: Store, number: int) -> Part:
    """Return the manifest entry of a part file that becomes a final part."""
    file = store.part_files()[number]
    digest = file.sha256.hexdigest() if file.sha256 is not None else ""
    return Part(name=store.target.part_name(number), records=file.rows, bytes=file.size, sha256=digest)


def _open_anew(path: Path) -> BinaryIO:
    path.unlink(missing_ok=True)
    return os.fdopen(create_file(path), "wb", _BUFFER_BYTES)

"""Stores records on the disk until an export is finished: appends, syncs, and checks them on resume."""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import attrs

from futureagi_async.export.files import (
    create_file,
    export_errors,
    is_file,
    open_to_append,
    open_to_read,
    read_at,
    sync_directory,
    write_all,
)


class Chunk(NamedTuple):
    """Records that were appended together. If a file is full, they continue in the next one."""

    part: int
    """The number of the file with the first record."""
    offset: int
    """The offset of the first record."""
    sizes: list[int]
    """The size of each record with its newline, in bytes."""
    crc32: int
    """The CRC-32 of all bytes. In files with a SHA-256, the CRC-32 of that digest, which is faster."""


@attrs.define
class PartFile:
    """The state of one file."""

    rows: int = 0
    size: int = 0
    sha256: "hashlib._Hash | None" = None

    def add(self, rows: int, lines: bytes, crc32: int) -> int:
        """Add lines, and return their CRC-32."""
        self.rows += rows
        self.size += len(lines)
        if self.sha256 is None:
            return zlib.crc32(lines, crc32)
        self.sha256.update(lines)
        return zlib.crc32(self.sha256.copy().digest(), crc32)

    def copy(self) -> "PartFile":
        """Return a copy that can continue from here."""
        return PartFile(self.rows, self.size, self.sha256.copy() if self.sha256 is not None else None)


class PartFiles:
    """Files of records, one per line, with ``rows_a_file`` records each. Not thread-safe.

    To continue after an interruption, `check` the known chunks in the order they were appended, then `open`.
    """

    def __init__(
        self, path_of: Callable[[int], Path], rows_a_file: int | None = None, *, with_sha256: bool = False
    ) -> None:
        self._path_of = path_of
        self._rows_a_file = rows_a_file
        self._with_sha256 = with_sha256
        self._descriptor: int | None = None
        self._opened = -1
        """The number of the file that is open."""
        self.files = [self._new_file()]
        """The files that were started. Only the last one is appended to."""

    def append(self, records: Sequence[bytes]) -> Chunk:
        """Append records. They survive if the process is killed, but maybe not a power cut."""
        begin, crc32 = self._end(), 0
        for number, some in self._split(len(records)):
            if number != self._opened:
                self._roll()
            if some.start == 0:
                begin = self._end()
            lines = b"\n".join([*records[some], b""])  # one copy is faster than one call for each piece
            assert self._descriptor is not None
            with export_errors(self._path_of(number)):
                write_all(self._descriptor, [lines])
            crc32 = self.files[number].add(some.stop - some.start, lines, crc32)
        return Chunk(*begin, [len(record) + 1 for record in records], crc32)

    def check(self, sizes: Sequence[int], crc32: int) -> bool:
        """Return whether the next records are in the files unchanged, and not truncated."""
        files = {len(self.files) - 1: self.files[-1].copy()}
        found = 0
        for number, some in self._split(len(sizes)):
            file = files.setdefault(number, self._new_file())
            lines = self._read(number, sum(sizes[some]), file.size)
            if len(lines) != sum(sizes[some]):
                return False
            found = file.add(some.stop - some.start, lines, found)
        if found != crc32:
            return False
        self.files[-1:] = files.values()
        return True

    def open(self) -> None:
        """Open the files to append after the checked records. Anything after those is cut off."""
        self.close()
        number, path = len(self.files) - 1, self._path_of(len(self.files) - 1)
        if path.exists():
            self._descriptor = open_to_append(path, self.files[-1].size)
        else:
            self._descriptor = create_file(path)
        self._opened = number
        while (beyond := self._path_of(number := number + 1)).exists():
            with export_errors(beyond, "remove"):
                beyond.unlink()

    def sync(self) -> None:
        """Sync appended records to the disk."""
        if self._descriptor is not None:
            with export_errors(self._path_of(self._opened)):
                os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the open file."""
        if self._descriptor is not None:
            with suppress(OSError):  # what counts was synced
                os.close(self._descriptor)
        self._descriptor, self._opened = None, -1

    def _new_file(self) -> PartFile:
        return PartFile(sha256=hashlib.sha256() if self._with_sha256 else None)

    def _end(self) -> tuple[int, int]:
        return len(self.files) - 1, self.files[-1].size

    def _split(self, rows: int) -> Iterator[tuple[int, slice]]:
        return split_rows(rows, len(self.files) - 1, self.files[-1].rows, self._rows_a_file)

    def _roll(self) -> None:
        self.sync()
        self.close()
        number = len(self.files)
        path = self._path_of(number)
        with export_errors(path, "remove"):
            path.unlink(missing_ok=True)  # a file that is left over because an earlier one was lost
        self._descriptor = create_file(path)
        sync_directory(path.parent)
        self._opened = number
        self.files.append(self._new_file())

    def _read(self, number: int, size: int, offset: int) -> bytes:
        if self._opened != number:
            self.close()
            path = self._path_of(number)
            if not is_file(path):
                return b""
            self._descriptor, self._opened = open_to_read(path), number
        assert self._descriptor is not None
        with export_errors(self._path_of(number), "read"):
            return read_at(self._descriptor, size, offset)


def split_rows(rows: int, number: int, filled: int, rows_a_file: int | None) -> Iterator[tuple[int, slice]]:
    """Yield which rows go to which file, after ``filled`` rows of file ``number``."""
    start = 0
    while start < rows:
        if filled == rows_a_file:
            number, filled = number + 1, 0
        stop = rows if rows_a_file is None else min(rows, start + rows_a_file - filled)
        yield number, slice(start, stop)
        filled += stop - start
        start = stop

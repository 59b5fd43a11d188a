"""Records on the disk until an export is finished: appended, synced, and checked when it goes on."""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self

import attrs

from futureagi_async.export.files import (
    create_file,
    explained,
    is_file,
    open_to_append,
    open_to_read,
    read_at,
    write_all,
)
from futureagi_async.export.staging.layout import Cursor


class Sum(Protocol):
    """A sum of bytes that more are added to."""

    def add(self, pieces: Iterable[bytes], /) -> None:
        """Take more bytes into account."""
        ...

    def hexdigest(self) -> str:
        """Return the sum as text."""
        ...

    def copy(self) -> Self:
        """Return another that goes on from here."""
        ...


@attrs.define
class QuickSum:
    """A CRC-32, for records that nobody is told the SHA-256 of: it costs a third."""

    value: int = 0

    def add(self, pieces: Iterable[bytes], /) -> None:
        """Take more bytes into account."""
        value = self.value
        for piece in pieces:
            value = zlib.crc32(piece, value)
        self.value = value

    def hexdigest(self) -> str:
        """Return the sum as text."""
        return f"{self.value:08x}"

    def copy(self) -> "QuickSum":
        """Return another that goes on from here."""
        return QuickSum(self.value)


class Sha256Sum:
    """A SHA-256, for records of files that a manifest tells of."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, pieces: Iterable[bytes], /) -> None:
        """Take more bytes into account."""
        for piece in pieces:
            self._digest.update(piece)

    def hexdigest(self) -> str:
        """Return the sum as text."""
        return self._digest.hexdigest()

    def copy(self) -> "Sha256Sum":
        """Return another that goes on from here."""
        copied = Sha256Sum()
        copied._digest = self._digest.copy()
        return copied


@attrs.define
class Lines:
    """Records that have their places, to be written together."""

    sizes: list[int] = attrs.field(factory=list)
    """How much room each takes."""
    sums: dict[int, str] = attrs.field(factory=dict)
    """By file: its sum up to the end of these records."""
    pieces: dict[int, list[bytes]] = attrs.field(factory=dict)
    """By file: what to write."""


class LineFiles:
    """Files of records, each with ``ending`` behind it, a new one begun after ``rows_a_file``.

    Records are written in the order in which they were placed. Not safe to use from two threads at once.

    To go on after an interruption, `check` what the journal says in the order it was appended, then `open`.
    """

    def __init__(
        self,
        path_of: Callable[[int], Path],
        rows_a_file: int | None = None,
        new_sum: Callable[[], Sum] = Sha256Sum,
        ending: bytes = b"",
    ) -> None:
        self.cursor = Cursor(rows_a_file)
        """The end of what was appended or checked."""
        self._path_of = path_of
        self._new_sum = new_sum
        self._ending = ending
        self._digest = new_sum()
        self._descriptor: int | None = None
        self._opened = -1
        """Which file the descriptor is of."""

    def check(self, sizes: Sequence[int], sums: Sequence[str]) -> bool:
        """Tell whether the next records are there, byte for byte; files that were cut or changed say no."""
        before = (self.cursor.number, self.cursor.rows, self.cursor.offset)
        digest = self._digest.copy()
        blocks = self.cursor.advance(sizes)
        for block, expected in zip(blocks, sums, strict=True):
            if block.offset == 0:
                self._digest = self._new_sum()
            there = self._read(block.number, block.size, block.offset)
            self._digest.add([there])
            if len(there) != block.size or self._digest.hexdigest() != expected:
                self.cursor.number, self.cursor.rows, self.cursor.offset = before
                self._digest = digest
                return False
        return True

    def open(self) -> None:
        """Begin to append behind what was checked; what lies there beyond it is cut off."""
        self.close()
        number, path = self.cursor.number, self._path_of(self.cursor.number)
        if path.exists():
            self._descriptor = open_to_append(path, self.cursor.offset)
        else:
            self._descriptor = create_file(path)
        self._opened = number
        while (beyond := self._path_of(number := number + 1)).exists():
            with explained(beyond, "remove"):
                beyond.unlink()

    def place(self, records: Sequence[bytes], lines: Lines) -> None:
        """Give records their places behind all others, and add them to ``lines``."""
        sizes = [len(record) + len(self._ending) for record in records]
        lines.sizes += sizes
        for block in self.cursor.advance(sizes):
            if block.offset == 0:
                self._digest = self._new_sum()
            some = records[block.start : block.stop]
            pieces = [piece for record in some for piece in (record, self._ending)]
            self._digest.add(pieces)
            lines.pieces.setdefault(block.number, []).extend(pieces)
            lines.sums[block.number] = self._digest.hexdigest()

    def write(self, lines: Lines) -> None:
        """Write records that were placed."""
        for number, pieces in lines.pieces.items():
            if number != self._opened:
                self._roll(number)
            assert self._descriptor is not None
            with explained(self._path_of(number)):
                write_all(self._descriptor, pieces)

    def sync(self) -> None:
        """Bring what was appended onto the disk."""
        if self._descriptor is not None:
            with explained(self._path_of(self._opened)):
                os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the open file."""
        if self._descriptor is not None:
            with suppress(OSError):  # what counts was synced
                os.close(self._descriptor)
        self._descriptor, self._opened = None, -1

    def _roll(self, number: int) -> None:
        self.sync()
        self.close()
        self._descriptor = create_file(self._path_of(number))
        self._opened = number

    def _read(self, number: int, size: int, offset: int) -> bytes:
        if self._opened != number:
            self.close()
            path = self._path_of(number)
            if not is_file(path):
                return b""
            self._descriptor, self._opened = open_to_read(path), number
        assert self._descriptor is not None
        with explained(self._path_of(number), "read"):
            return read_at(self._descriptor, size, offset)

"""Where records lie in a row of files that are rolled after so many records."""

from collections.abc import Sequence

import attrs


@attrs.define(frozen=True)
class Block:
    """Some records that lie together in one file."""

    number: int
    """Which file."""
    offset: int
    start: int
    """The first of them, among those that were placed together."""
    stop: int
    size: int
    """Bytes."""


@attrs.define
class Cursor:
    """The end of what was written: the place of every record follows from the sizes of those before."""

    rows_a_file: int | None = None
    """How many records a file takes; ``None`` for any number."""
    number: int = 0
    rows: int = 0
    """Records in this file so far."""
    offset: int = 0

    def advance(self, sizes: Sequence[int]) -> list[Block]:
        """Place records of these sizes behind the others."""
        blocks: list[Block] = []
        start = 0
        while start < len(sizes):
            if self.rows == self.rows_a_file:
                self.number, self.rows, self.offset = self.number + 1, 0, 0
            room = len(sizes) if self.rows_a_file is None else self.rows_a_file - self.rows
            stop = min(len(sizes), start + room)
            size = sum(sizes[start:stop])
            blocks.append(Block(self.number, self.offset, start, stop, size))
            self.rows += stop - start
            self.offset += size
            start = stop
        return blocks

"""The append-only file that tells what of an export is safe on the disk."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from futureagi_async.export.files import (
    create_file,
    explained,
    open_to_append,
    replace_file,
    sync_directory,
    write_all,
)
from futureagi_async.export.staging.entries import Begun, Entry, decode_lines, encode_line


class Journal:
    """WireEvals in the order they were appended; an entry that was not written whole never was."""

    def __init__(self, path: Path, size: int, checksum: int) -> None:
        self._path = path
        self._checksum = checksum
        self._descriptor: int | None = open_to_append(path, size)

    @classmethod
    def create(cls, path: Path, begun: Begun) -> "Journal":
        """Begin a journal, which appears with its first entry or not at all."""
        unfinished = path.with_name(f"{path.name}.new")
        with explained(unfinished):
            unfinished.unlink(missing_ok=True)
        line, checksum = encode_line(begun, 0)
        descriptor = create_file(unfinished)
        try:
            with explained(unfinished):
                write_all(descriptor, [line])
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        replace_file(unfinished, path)
        sync_directory(path.parent)
        return cls(path, len(line), checksum)

    def append(self, entries: Sequence[Entry]) -> None:
        """Append entries: a process that is killed leaves them, a power cut may not until they are synced."""
        lines: list[bytes] = []
        checksum = self._checksum
        for entry in entries:
            line, checksum = encode_line(entry, checksum)
            lines.append(line)
        assert self._descriptor is not None
        with explained(self._path):
            write_all(self._descriptor, lines)
        self._checksum = checksum

    def sync(self) -> None:
        """Bring what was appended onto the disk."""
        if self._descriptor is not None:
            with explained(self._path):
                os.fsync(self._descriptor)

    def entries(self) -> Iterator[Entry]:
        """Yield all entries from the first."""
        return (entry for entry, _, _ in read_entries(self._path))

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            with suppress(OSError):  # what counts was synced
                os.close(self._descriptor)
        self._descriptor = None


def read_entries(path: Path) -> Iterator[tuple[Entry, int, int]]:
    """Yield a journal's entries, with size and checksum behind each, up to the first that is not whole."""
    with explained(path, "read"), path.open("rb") as lines:
        yield from decode_lines(lines)

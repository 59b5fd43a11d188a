"""One download on disk: a part that can be gone on with, then the file under its name."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from futureagi_async._sansio.downloads import BodyInfo, PartialFile, check_size
from futureagi_async.errors import APIConnectionError, ExportError
from futureagi_async.export.files import (
    create_file,
    explained,
    is_file,
    open_to_append,
    open_to_read,
    replace_file,
    sync_directory,
    write_all,
)

_PIECE_BYTES = 1024 * 1024


class AudioFile:
    """Bytes arrive in ``.<stem>.part``; ``.<stem>.tag`` says of which file they are the beginning.

    All methods block, and belong into a thread. Every `OSError` is an `ExportError`.
    """

    def __init__(self, folder: Path, stem: str, address: str, max_bytes: int) -> None:
        self.size = 0
        """Bytes at hand."""
        self._folder = folder
        self._stem = stem
        self._path = folder / f".{stem}.part"
        self._tag = folder / f".{stem}.tag"
        self._origin = hashlib.sha256(address.encode()).hexdigest()  # an address may hold a secret
        self._max_bytes = max_bytes
        self._descriptor: int | None = None
        self._hash = hashlib.sha256()
        self._head: BodyInfo | None = None

    def find_part(self) -> PartialFile | None:
        """Return what an earlier try left of this very file, if anything."""
        with suppress(OSError, ValueError, TypeError, KeyError, ExportError):
            noted = json.loads(self._tag.read_bytes()) if is_file(self._tag) else {}
            size = self._path.stat().st_size if is_file(self._path) else 0
            if size and noted["origin"] == self._origin:
                return PartialFile(size, str(noted["validator"]))
        return None

    def begin(self, head: BodyInfo) -> None:
        """Make ready for a body: behind the part, or anew."""
        check_size(head.size or 0, self._max_bytes)
        self.close()
        self._head, self.size, self._hash = head, head.start, hashlib.sha256()
        if head.start:
            self._descriptor = open_to_append(self._path, head.start)
            self._read_again()
        else:
            self.discard()
            self._descriptor = create_file(self._path)
            if head.validator is not None:
                self._note(head.validator)

    def write(self, data: bytes) -> None:
        """Append to the body."""
        assert self._descriptor is not None
        check_size(self.size + len(data), self._max_bytes)
        with explained(self._path):
            write_all(self._descriptor, [data])
        self._hash.update(data)
        self.size += len(data)

    def finish(self) -> tuple[str, str]:
        """Give the file its name; return that and its sha256."""
        assert self._head is not None
        assert self._descriptor is not None
        if not self.size:
            raise APIConnectionError("The server sent nothing.", retryable=True)
        if self._head.size not in (None, self.size):
            raise APIConnectionError("The answer was cut off.", retryable=True)
        target = self._folder / f"{self._stem}{self._head.ending}"
        with explained(target):
            os.fsync(self._descriptor)
            self.close()
            replace_file(self._path, target)
            self._tag.unlink(missing_ok=True)
        sync_directory(self._folder)
        return target.name, self._hash.hexdigest()

    def leave(self) -> None:
        """Let go of the file; a part that can't be gone on with is removed."""
        self.close()
        if self.find_part() is None:
            self.discard()

    def discard(self) -> None:
        """Remove what there is of the part."""
        with explained(self._path, "remove"):
            self._tag.unlink(missing_ok=True)  # first: a part without it is never gone on with
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the part, wherever it ends."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _read_again(self) -> None:
        descriptor = open_to_read(self._path)
        try:
            with explained(self._path, "read"):
                while piece := os.read(descriptor, _PIECE_BYTES):
                    self._hash.update(piece)
        finally:
            os.close(descriptor)

    def _note(self, validator: str) -> None:
        descriptor = create_file(self._tag)
        try:
            with explained(self._tag):
                write_all(descriptor, [json.dumps({"origin": self._origin, "validator": validator}).encode()])
        finally:
            os.close(descriptor)

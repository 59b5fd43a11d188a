"""A file that appears under its name when it is finished, or not at all."""

import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import anyio

from futureagi_async.errors import ExportError

_OWNER_ONLY = 0o600  # calls hold what people said
_BUFFER_BYTES = 256 * 1024  # many records a system call
_NAME_CHARACTERS = 40  # of the target's name in the temporary one: file systems stop at 255 bytes


class PendingFile:
    """What `open_pending` gives: write to it, then `commit`."""

    def __init__(self, target: Path, temporary: Path, file: BinaryIO) -> None:
        self.size = 0
        """Bytes written."""
        self._target = target
        self._temporary = temporary
        self._file = file

    def write(self, pieces: Sequence[bytes]) -> None:
        """Append the pieces, which need not be joined."""
        with _explained(self._target):
            self._file.writelines(pieces)
        self.size += sum(map(len, pieces))

    async def commit(self) -> None:
        """Bring everything onto the disk, then give the file its name."""
        with _explained(self._target):
            self._file.flush()
            await anyio.to_thread.run_sync(os.fsync, self._file.fileno())
            self._file.close()
            _check_replaceable(self._target)
            self._temporary.replace(self._target)
        with anyio.CancelScope(shield=True):  # the file has its name: too late to be cancelled
            await anyio.to_thread.run_sync(_sync_directory, self._target.parent)


@contextmanager
def open_pending(target: Path) -> Iterator[PendingFile]:
    """Open a file beside ``target`` that `PendingFile.commit` renames; without it, leaving removes it.

    A symbolic link at ``target`` is replaced, not followed. Every `OSError` is an `ExportError`.
    """
    temporary = target.with_name(f".{target.name[:_NAME_CHARACTERS]}.{secrets.token_hex(6)}.part")
    with _explained(target):
        _check_replaceable(target)
        file = os.fdopen(os.open(temporary, _flags(), _OWNER_ONLY), "wb", _BUFFER_BYTES)
    try:
        yield PendingFile(target, temporary, file)
    finally:
        with suppress(OSError):  # a full disk fails here again; what counts was raised before
            file.close()
        with suppress(OSError):
            temporary.unlink()  # gone already where it was renamed


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportError(f"Can't write {target}: {error.strerror or error}.") from error


def _flags() -> int:
    """Open nothing that exists, follow no link, leave newlines alone."""
    created = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return created | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def _check_replaceable(target: Path) -> None:
    """Refuse to rename over a directory, or over a device, which the super-user could."""
    with suppress(FileNotFoundError):
        mode = target.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise ExportError(f"Can't write {target}: there is something that is no file.")


def _sync_directory(directory: Path) -> None:
    """Make the rename survive a power cut, where directories can be opened."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

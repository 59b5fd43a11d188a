"""One export a target: the second one is refused as long as the first lives."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from futureagi_async.errors import ExportError
from futureagi_async.export.files import FILE_MODE, explained, make_directory

if sys.platform == "win32":
    import msvcrt

    def _try_to_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_to_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


LOCK = "lock"
"""The file in an export's working directory that is locked; the system unlocks it when the process ends."""
_TRIES = 100  # each lost to an export that ended in just this moment


@contextmanager
def locked(work: Path, target: Path) -> Iterator[None]:
    """Hold the working directory, which is made where there is none, for the length of a block.

    Where the block leaves nothing in it, it is removed.
    """
    descriptor = _lock(work, target)
    try:
        yield
    finally:
        _remove_if_empty(work)
        os.close(descriptor)
        if sys.platform == "win32":  # there an open file can't be removed
            _remove_if_empty(work)


def _lock(work: Path, target: Path) -> int:
    for _ in range(_TRIES):
        make_directory(work)
        if (descriptor := _open(work / LOCK)) is not None:
            if _is_ours(descriptor, work / LOCK, target):
                return descriptor
            os.close(descriptor)
    raise ExportError(f"Can't lock {work}: other exports begin and end there all the time.")


def _open(path: Path) -> int | None:
    """Open the file, unless the directory was removed since."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    with explained(path), suppress(FileNotFoundError):
        return os.open(path, flags, FILE_MODE)
    return None


def _is_ours(descriptor: int, path: Path, target: Path) -> bool:
    """Lock the file; whether it still is the one under the name, as the last owner removes it."""
    try:
        _try_to_lock(descriptor)
    except OSError:
        os.close(descriptor)
        raise ExportError(
            f"Another export to {target} is running. Wait for it to end, or choose another target."
        ) from None
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _remove_if_empty(work: Path) -> None:
    with suppress(OSError):
        if {path.name for path in work.iterdir()} <= {LOCK}:
            (work / LOCK).unlink(missing_ok=True)
            work.rmdir()

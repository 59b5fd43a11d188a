"""File operations of an export: files are private, links are not followed, failures raise `ExportError`."""

import errno
import hashlib
import os
import re
import sqlite3
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from futureagi_async.errors import ExportError

FILE_MODE = 0o600  # calls hold what people said
DIRECTORY_MODE = 0o700
_PIECES_A_WRITE = 1_000  # the system takes 1,024
_READ_BYTES = 256 * 1024
_ALWAYS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@contextmanager
def export_errors(path: Path, verb: str = "write") -> Iterator[None]:
    """Turn an `OSError` or an SQLite error into an `ExportError` that names the file."""
    try:
        yield
    except OSError as error:
        raise ExportError(f"Can't {verb} {path}: {error.strerror or error}.") from error
    except sqlite3.Error as error:
        raise ExportError(f"Can't {verb} {path}: {describe_sqlite_error(error)}.") from error


def describe_sqlite_error(error: sqlite3.Error) -> str:
    """Return SQLite's message with its error name."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_BUSY"):
        return f"{error}. Close the other programs that have it open"
    return f"{error} ({name})" if name else str(error)


def create_file(path: Path) -> int:
    """Open a new file for writing that only its owner can read."""
    with export_errors(path):
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _ALWAYS, FILE_MODE)


def open_to_append(path: Path, size: int) -> int:
    """Open a file to append after its first ``size`` bytes. The rest is cut off."""
    with export_errors(path):
        descriptor = os.open(path, os.O_WRONLY | _ALWAYS)
        os.ftruncate(descriptor, size)
        os.lseek(descriptor, size, os.SEEK_SET)
        return descriptor


def open_to_read(path: Path) -> int:
    """Open a file for reading."""
    with export_errors(path, "read"):
        return os.open(path, os.O_RDONLY | _ALWAYS)


def write_all(descriptor: int, pieces: Sequence[bytes]) -> None:
    """Write pieces one after the other, without copying them if the system supports that."""
    for start in range(0, len(pieces), _PIECES_A_WRITE):
        some = pieces[start : start + _PIECES_A_WRITE]
        written = os.writev(descriptor, some) if hasattr(os, "writev") else 0
        if written < sum(map(len, some)):
            _write_rest(descriptor, memoryview(b"".join(some))[written:])


def _write_rest(descriptor: int, rest: memoryview) -> None:
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Read bytes from an offset; fewer at the end of the file."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, size)


def write_synced(path: Path, content: bytes) -> None:
    """Write a new file, and sync it to the disk."""
    with export_errors(path):
        path.unlink(missing_ok=True)
        descriptor = create_file(path)
        try:
            write_all(descriptor, [content])
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_file(source: Path, target: Path) -> None:
    """Give a finished file its final name. This replaces only a file or a link."""
    with export_errors(target):
        check_replaceable(target)
        source.replace(target)


def check_replaceable(target: Path) -> None:
    """Refuse to replace a directory or a device (root could replace a device)."""
    with export_errors(target), suppress(FileNotFoundError):
        mode = target.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise ExportError(f"Can't write {target}: it exists and is not a regular file.")


def is_file(path: Path) -> bool:
    """Whether the path is a file, and not a link to one."""
    with export_errors(path, "read"), suppress(FileNotFoundError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def is_file_below(folder: Path, name: str) -> bool:
    """Whether a file exists below a folder, with no link on the way to it."""
    path = folder / name
    return is_file(path) and not any((folder / each).is_symlink() for each in PurePath(name).parents[:-1])


def make_directory(
    path: Path, *, parents: bool = False, sync: bool = True, shown: Path | None = None
) -> None:
    """Create a directory that only its owner can read, unless it exists.

    With ``parents``, parent directories are created too, and the directory may be a link: the caller named
    it. Errors name ``shown`` if the caller does not know the name of the directory.
    """
    shown = shown or path
    with export_errors(shown):
        if path.is_symlink() and not path.exists():
            raise ExportError(
                f"Can't write {shown}: it is a symbolic link to {path.readlink()}, which does not exist."
            )
        missing = [each for each in (path, *path.parents) if not each.exists()]
        with suppress(FileExistsError):
            path.mkdir(DIRECTORY_MODE, parents=parents)
        for each in (
            missing if sync else ()
        ):  # else a power cut may lose their files, even if the files were synced
            sync_directory(each.parent)
        if not stat.S_ISDIR(path.stat(follow_symlinks=parents).st_mode):
            raise ExportError(f"Can't write {shown}: it exists and is not a directory.")


def check_not_below_file(path: Path) -> None:
    """Refuse a path with a file in place of one of its directories."""
    with export_errors(path):
        if file := next((each for each in path.parents if each.is_file()), None):
            raise ExportError(f"Can't write {path}: {file} is a file, not a directory.")


def check_directory(path: Path) -> None:
    """Refuse a path that is not a directory and can't become one."""
    with export_errors(path), suppress(FileNotFoundError):
        if not stat.S_ISDIR(path.stat().st_mode):
            raise ExportError(f"Can't write {path}: it exists and is not a directory.")


def remove_files(directory: Path, names: re.Pattern[str]) -> None:
    """Remove only the files in a directory whose names match."""
    with export_errors(directory, "remove"):
        for path in directory.iterdir():
            if names.fullmatch(path.name):
                path.unlink()


def sync_directory(directory: Path) -> None:
    """Sync a directory so that new names survive a power cut, if the system can open directories."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def size_of_file(path: Path) -> int:
    """Return the size of a file in bytes."""
    with export_errors(path, "read"):
        return path.stat().st_size


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    digest = hashlib.sha256()
    descriptor = open_to_read(path)
    try:
        with export_errors(path, "read"):
            while piece := os.read(descriptor, _READ_BYTES):
                digest.update(piece)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


if sys.platform == "win32":
    import msvcrt

    def _try_to_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_to_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


LOCK = "lock"
"""The locked file in the working directory. The system unlocks it when the process ends."""
_TRIES = 100  # attempts; each can fail only because another export ended at that moment
_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}  # the last two on Windows
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}  # as on some network file systems


@contextmanager
def locked(work: Path, target: str, job: str = "export", *, shown: Path | None = None) -> Iterator[None]:
    """Create the working directory if needed, and lock it while the block runs.

    Errors name the ``target`` and the kind of ``job``; errors about the directory name ``shown``, if given.
    If the directory is empty after the block, it is removed.
    """
    descriptor = _lock(work, target, job, shown)
    try:
        yield
    finally:
        _remove_if_empty(work)
        os.close(descriptor)
        if sys.platform == "win32":  # Windows can't remove an open file
            _remove_if_empty(work)


def _lock(work: Path, target: str, job: str, shown: Path | None) -> int:
    for _ in range(_TRIES):
        make_directory(
            work, sync=False, shown=shown
        )  # not synced here: this thread must not wait for the disk; the store syncs it
        _check_work(work)
        if (descriptor := _open(work / LOCK)) is not None:
            if _is_ours(descriptor, work / LOCK, target, job):
                return descriptor
            os.close(descriptor)
    raise ExportError(f"Can't lock {work}: other {job}s start and end there at the same time. Try again.")


def _check_work(work: Path) -> None:
    """Refuse a directory with the name of the working directory that no export created."""
    names: set[str] = set()
    with export_errors(work, "read"), suppress(FileNotFoundError):
        names = {path.name for path in work.iterdir()}
    if names and LOCK not in names:
        raise ExportError(
            f"{work} has files that no export wrote, such as {min(names)!r}. The export needs this "
            "directory: choose another target, or move the files away."
        )


def _open(path: Path) -> int | None:
    """Open the lock file, unless the directory was removed meanwhile."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    with export_errors(path), suppress(FileNotFoundError):
        return os.open(path, flags, FILE_MODE)
    return None


def _is_ours(descriptor: int, path: Path, target: str, job: str) -> bool:
    """Lock the file. Return whether it still has its name, because the last owner removes it."""
    try:
        _try_to_lock(descriptor)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _HELD:
            raise ExportError(
                f"Another {job} to {target} is running. Wait until it ends, or choose another target."
            ) from None
        _remove_if_empty(path.parent)
        if error.errno in _NO_LOCKS:
            raise ExportError(
                f"Can't lock {path}: its file system has no locks ({error.strerror}). Without a lock, two "
                f"{job}s to one target could damage each other. {job.capitalize()} to a local disk, then "
                "copy the files."
            ) from error
        raise ExportError(f"Can't lock {path}: {error.strerror or error}.") from error
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _remove_if_empty(work: Path) -> None:
    with suppress(OSError):
        if {path.name for path in work.iterdir()} <= {LOCK}:
            (work / LOCK).unlink(missing_ok=True)
            work.rmdir()

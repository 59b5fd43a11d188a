"""What at a target an export wrote, and may replace, and what is somebody else's.

A single file carries a receipt: its size and time of change when it was finished, in an extended attribute of
the file (Linux), so that it goes where the file goes, or else in a hidden file beside it. A directory has its
manifest, and a working directory its lock.
"""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from futureagi_async.errors import ExportError
from futureagi_async.export.files import (
    check_replaceable,
    digest_file,
    export_errors,
    is_file,
    is_file_below,
    open_to_read,
    replace_file,
    sync_directory,
    write_synced,
)
from futureagi_async.export.manifest import Manifest, Parameters, find_manifest, read_manifest
from futureagi_async.export.targets import EVALUATIONS, PART_NAME, RESTART, Target

OVERWRITE = "overwrite=True (--force)"
_ATTRIBUTE = "user.futureagi_async.export"
_MAX_RECEIPT = 4096
_HIDDEN = (".", "_")  # names that begin so are no data to readers of directories


def check_file(target: Target) -> None:
    """Refuse to replace what no export wrote, or what was changed since; an empty file is nobody's loss."""
    path = target.path
    with export_errors(path, "read"):
        try:
            found = path.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISLNK(found.st_mode):
            raise ExportError(
                f"{path} is a symbolic link, and exports don't write through links. Name the file that it "
                f"points to, or replace the link itself with {OVERWRITE}."
            )
        receipts = list(_receipts(target))
    if not found.st_size or _receipt(found) in receipts:
        return
    known = "it was changed since an export wrote it" if receipts else "no export is known to have written it"
    raise ExportError(
        f"{path} is there already, and {known}. Choose another name, or replace it with {OVERWRITE}."
    )


def leave_receipt(written: Path, target: Target) -> None:
    """Note durably what a finished file is like, before it gets its name.

    Where that stays beside the file, the receipt of the file that is replaced stays, too: an interruption may
    leave either.
    """
    descriptor = open_to_read(written)
    try:
        with export_errors(target.path):
            receipt = _receipt(os.fstat(descriptor))
            if not _attach(descriptor, receipt):
                _write_beside(target, receipt)
    finally:
        os.close(descriptor)


def find_finished(
    target: Target, parameters: Parameters, *, resume: bool, overwrite: bool
) -> Manifest | None:
    """Return the manifest of this very export, if it is finished; refuse what belongs to another one."""
    if not target.is_directory:
        return None
    manifest = read_earlier(target, overwrite=overwrite)
    if manifest is None or not (resume and manifest.complete):
        return None
    if different := parameters.differences(manifest.parameters):
        raise ExportError(
            f"{target.path} holds a finished export with other parameters: {'; '.join(different)}. "
            f"Choose another directory, or replace it with {RESTART}."
        )
    for part in manifest.parts:
        is_there = PART_NAME.fullmatch(part.name) and is_file_below(target.path, part.name)
        if not is_there or (target.path / part.name).stat().st_size != part.bytes:
            raise ExportError(
                f"{target.path / part.name} is not as the export left it. Look with verify_export, or begin "
                f"anew with {RESTART}."
            )
    return manifest


def check_contents(target: Target, *, is_unfinished: bool, overwrite: bool) -> None:
    """Refuse to write into a directory of somebody else's, or over parts that were changed."""
    names = sorted(names_of_parts(target.path))
    for path in (target.manifest, *(target.path / name for name in names)):
        check_replaceable(path)
    if overwrite:
        return
    manifest = read_earlier(target)
    if manifest is not None:
        _check_parts(target, manifest, names)
    elif not is_unfinished:  # else it may have been interrupted while parts got their names
        _check_nothing_else(target, names)


def read_earlier(target: Target, *, overwrite: bool = False) -> Manifest | None:
    """Return the manifest of an earlier export; a file of another kind is refused, or ignored."""
    try:
        return read_manifest(find_manifest(target.path))
    except ExportError as error:
        if overwrite:
            return None
        more = f"Choose another directory, or write into this one with {OVERWRITE}."
        raise ExportError(f"{error} {more}") from None


def names_of_parts(folder: Path) -> set[str]:
    """Return the names in a directory that are those of parts, whoever wrote them."""
    with export_errors(folder, "read"):
        names = {path.name for path in folder.iterdir()}
        evaluations = folder / EVALUATIONS
        if EVALUATIONS in names and not evaluations.is_symlink() and evaluations.is_dir():
            names |= {f"{EVALUATIONS}/{path.name}" for path in evaluations.iterdir()}
    return set(filter(PART_NAME.fullmatch, names))


def _check_parts(target: Target, manifest: Manifest, names: list[str]) -> None:
    parts = {part.name: part for part in manifest.parts}
    for name in names:
        path, part = target.path / name, parts.get(name)
        if part is None:
            raise ExportError(
                f"{path} is there already, and the export's manifest does not list it. Choose another "
                f"directory, or replace it with {OVERWRITE}."
            )
        is_same = (
            is_file_below(target.path, name)
            and path.stat().st_size == part.bytes
            and digest_file(path) == part.sha256
        )
        if not is_same:
            raise ExportError(
                f"{path} was changed since an export wrote it. Choose another directory, or replace it with "
                f"{OVERWRITE}."
            )


def _check_nothing_else(target: Target, names: list[str]) -> None:
    with export_errors(target.path, "read"):
        names += sorted(
            path.name
            for path in target.path.iterdir()
            if not path.name.startswith(_HIDDEN) and not path.is_dir()
        )
    if names:
        raise ExportError(
            f"{target.path / names[0]} is there already, but no manifest of an export. Choose another "
            f"directory, or write into this one with {OVERWRITE}."
        )


def _receipt(found: os.stat_result) -> str:
    return f"{found.st_size} {found.st_mtime_ns}"


def _receipts(target: Target) -> Iterator[str]:
    """Yield what is known of the file, and of one that it may have replaced."""
    if sys.platform == "linux":
        with suppress(OSError):
            yield os.getxattr(target.path, _ATTRIBUTE, follow_symlinks=False).decode("ascii", "replace")
    if is_file(target.receipt):
        yield from target.receipt.read_bytes()[:_MAX_RECEIPT].decode("ascii", "replace").splitlines()


def _attach(descriptor: int, receipt: str) -> bool:
    """Write a receipt into the open file's attributes, where the file system has such."""
    if sys.platform != "linux":
        return False
    try:
        os.setxattr(descriptor, _ATTRIBUTE, receipt.encode())
    except OSError:
        return False
    os.fsync(descriptor)
    return True


def _write_beside(target: Target, receipt: str) -> None:
    """Write a receipt into the hidden file, before that of the file that is there now."""
    earlier = [line for line in _receipts(target) if line != receipt]
    written = target.work / "receipt.part"
    write_synced(written, "\n".join([receipt, *earlier[:1], ""]).encode())
    replace_file(written, target.receipt)
    sync_directory(target.folder)

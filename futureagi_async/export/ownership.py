"""Decides which files at a target an export wrote, so that the export may replace them.

A single file has a receipt: its size and modification time when it was finished. On Linux the receipt is an
extended attribute of the file, so it moves with the file. Elsewhere it is a hidden file beside it. A
directory has its manifest, and a working directory has its lock.
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
from futureagi_async.export.partitions import FOLDER_NAME
from futureagi_async.export.targets import EVALUATIONS, PART_NAME, RESTART, Target

OVERWRITE = "overwrite=True (--force)"
_ATTRIBUTE = "user.futureagi_async.export"
_MAX_RECEIPT = 4096
_HIDDEN = (".", "_")  # readers of directories skip names that begin with these


def check_file(target: Target) -> None:
    """Refuse to replace a file that no export wrote, or that was changed since, unless it is empty."""
    path = target.path
    with export_errors(path, "read"):
        try:
            found = path.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISLNK(found.st_mode):
            raise ExportError(
                f"{path} is a symbolic link. An export does not write through links: name the file that it "
                f"points to, or replace the link itself with {OVERWRITE}."
            )
        receipts = list(_receipts(target))
    if not found.st_size or _receipt(found) in receipts:
        return
    known = (
        "it was changed after an export wrote it"
        if receipts
        else "there is no record that an export wrote it"
    )
    raise ExportError(
        f"{path} already exists, and {known}. Choose another name, or replace it with {OVERWRITE}."
    )


def leave_receipt(written: Path, target: Target) -> None:
    """Write the receipt of a finished file durably, before the file gets its name.

    If the receipt is a file of its own, it also keeps the receipt of the replaced file, because an
    interruption may leave either file.
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
    """Return the manifest of this export if it is finished. Refuses the files of another export."""
    if not target.is_directory:
        return None
    manifest = read_earlier(target, overwrite=overwrite)
    if manifest is None or not (resume and manifest.complete):
        return None
    if different := parameters.differences(manifest.parameters):
        raise ExportError(
            f"{target.path} has a finished export with other parameters: {'; '.join(different)}. "
            f"Choose another directory, or replace it with {RESTART}."
        )
    for part in manifest.parts:
        is_there = PART_NAME.fullmatch(part.name) and is_file_below(target.path, part.name)
        if not is_there or (target.path / part.name).stat().st_size != part.bytes:
            raise ExportError(
                f"{target.path / part.name} was changed or removed after the export. Check it with "
                f"verify_export, or start again with {RESTART}."
            )
    return manifest


def check_contents(target: Target, *, is_unfinished: bool, overwrite: bool) -> None:
    """Refuse to write into a directory with other files, or to replace part files that were changed."""
    names = sorted(names_of_parts(target.path))
    for path in (target.manifest, *(target.path / name for name in names)):
        check_replaceable(path)
    if overwrite:
        return
    manifest = read_earlier(target)
    if manifest is not None:
        _check_parts(target, manifest, names)
    elif not is_unfinished:  # else the export may have been interrupted while part files got their names
        _check_nothing_else(target, names)


def read_earlier(target: Target, *, overwrite: bool = False) -> Manifest | None:
    """Return the manifest of an earlier export. A file of another kind is refused, or ignored if allowed."""
    try:
        return read_manifest(find_manifest(target.path))
    except ExportError as error:
        if overwrite:
            return None
        more = f"Choose another directory, or write into this one with {OVERWRITE}."
        raise ExportError(f"{error} {more}") from None


def names_of_parts(folder: Path) -> set[str]:
    """Return the names in a directory that part files can have, whoever wrote the files."""
    with export_errors(folder, "read"):
        return set(filter(PART_NAME.fullmatch, _names_below(folder)))


def _names_below(folder: Path, prefix: str = "") -> Iterator[str]:
    """Yield the names of files in a directory and in the folders that exports create."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                yield prefix + entry.name
            elif entry.name == EVALUATIONS or FOLDER_NAME.fullmatch(entry.name):
                yield from _names_below(folder / entry.name, f"{prefix}{entry.name}/")


def _check_parts(target: Target, manifest: Manifest, names: list[str]) -> None:
    parts = {part.name: part for part in manifest.parts}
    for name in names:
        path, part = target.path / name, parts.get(name)
        if part is None:
            raise ExportError(
                f"{path} already exists, but the manifest does not list it. Choose another directory, or "
                f"replace it with {OVERWRITE}."
            )
        is_same = (
            is_file_below(target.path, name)
            and path.stat().st_size == part.bytes
            and digest_file(path) == part.sha256
        )
        if not is_same:
            raise ExportError(
                f"{path} was changed after an export wrote it. Choose another directory, or replace it with "
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
            f"{target.path / names[0]} already exists, but the directory has no manifest. Choose another "
            f"directory, or write into this one with {OVERWRITE}."
        )


def _receipt(found: os.stat_result) -> str:
    return f"{found.st_size} {found.st_mtime_ns}"


def _receipts(target: Target) -> Iterator[str]:
    """Yield the receipts of the file, and of the file that it may have replaced."""
    if sys.platform == "linux":
        with suppress(OSError):
            yield os.getxattr(target.path, _ATTRIBUTE, follow_symlinks=False).decode("ascii", "replace")
    if is_file(target.receipt):
        yield from target.receipt.read_bytes()[:_MAX_RECEIPT].decode("ascii", "replace").splitlines()


def _attach(descriptor: int, receipt: str) -> bool:
    """Write a receipt into the extended attributes of the open file, if the file system has them."""
    if sys.platform != "linux":
        return False
    try:
        os.setxattr(descriptor, _ATTRIBUTE, receipt.encode())
    except OSError:
        return False
    os.fsync(descriptor)
    return True


def _write_beside(target: Target, receipt: str) -> None:
    """Write a receipt into the hidden file, before the receipt of the present file."""
    earlier = [line for line in _receipts(target) if line != receipt]
    written = target.work / "receipt.part"
    write_synced(written, "\n".join([receipt, *earlier[:1], ""]).encode())
    replace_file(written, target.receipt)
    sync_directory(target.folder)

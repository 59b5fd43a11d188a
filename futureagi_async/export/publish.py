"""Prepares the target of an export, and gives finished files their final names."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from futureagi_async.errors import ExportError
from futureagi_async.export.files import (
    check_not_below_file,
    check_replaceable,
    export_errors,
    make_directory,
    replace_file,
    sync_directory,
    write_synced,
)
from futureagi_async.export.manifest import find_manifest
from futureagi_async.export.ownership import check_file, leave_receipt, names_of_parts, read_earlier
from futureagi_async.export.partitions import folders_above
from futureagi_async.export.targets import EVALUATIONS, KEPT, PART_NAME, Target


def prepare_target(target: Target, *, overwrite: bool) -> bool:
    """Create what the working directory needs. Return whether this created the directory of the target."""
    check_not_below_file(target.path)
    if not target.is_directory:
        check_replaceable(target.path)
        if not target.path.parent.exists():
            raise ExportError(f"Can't write {target.path}: there is no directory {target.path.parent}.")
        if not overwrite:
            check_file(target)
        return False
    made = not target.path.exists()
    make_directory(target.path, parents=True)
    return made


def publish(
    target: Target,
    files: Iterable[tuple[Path, str]],
    manifest: bytes | None,
    note_replaced: Callable[[Iterable[str]], set[str]],
    *,
    overwrite: bool,
) -> None:
    """Give all files their final names, the manifest last, and remove the files of an earlier export.

    ``files`` has the present path and the final name of each file. Before the files of an earlier export are
    removed, ``note_replaced`` records their names durably. It returns all names that it ever recorded.
    """
    if manifest is None:
        _publish_file(target, files, overwrite=overwrite)
        return
    unfinished = target.unfinished(target.manifest.name)
    write_synced(unfinished, manifest)
    earlier = read_earlier(target, overwrite=overwrite)
    names = set(filter(PART_NAME.fullmatch, (part.name for part in earlier.parts))) if earlier else set()
    replaced = note_replaced(names | names_of_parts(target.path) if overwrite else names)
    if earlier is not None:  # it will not match the new part files
        _remove(find_manifest(target.path))
        sync_directory(target.path)
    placed = _place(target, files)
    replace_file(unfinished, target.manifest)
    for name in replaced - placed:
        _remove(target.path / name)
    for name in reversed([EVALUATIONS, *folders_above(replaced)]):
        with suppress(OSError):  # where it is not empty
            (target.path / name).rmdir()
    sync_directory(target.path)


def _publish_file(target: Target, files: Iterable[tuple[Path, str]], *, overwrite: bool) -> None:
    for written, name in files:
        if written != target.folder / name:
            if not overwrite:
                _check_file_again(target)
            leave_receipt(written, target)
    _place(target, files)


def _check_file_again(target: Target) -> None:
    """Refuse to replace a file that was written while the export was reading, which may take hours."""
    try:
        check_file(target)
    except ExportError as error:
        raise ExportError(f"{error} {KEPT}") from None


def _place(target: Target, files: Iterable[tuple[Path, str]]) -> set[str]:
    placed = {name: written for written, name in files}
    for name in folders_above(placed):
        make_directory(target.folder / name)
    folders = {(target.folder / name).parent for name in placed}
    for name, written in placed.items():
        if written != target.folder / name:  # it got its name before an interruption
            replace_file(written, target.folder / name)
    for folder in folders:
        sync_directory(folder)
    return set(placed)


def _remove(path: Path) -> None:
    with export_errors(path, "remove"):
        path.unlink(missing_ok=True)

"""Where an export goes: one file or a directory of parts, what may stand there, how files get their names."""

import os
import re
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import attrs

from futureagi_async.errors import ExportError
from futureagi_async.export.files import (
    check_replaceable,
    create_file,
    export_errors,
    is_file,
    make_directory,
    replace_file,
    sync_directory,
    write_all,
)
from futureagi_async.export.manifest import MANIFEST, Manifest, Parameters, read_manifest
from futureagi_async.export.target_names import COMPRESSIONS, ENDINGS, check_ending, check_local

FORMATS = ("jsonl", "csv", "parquet")
_NAME_CHARACTERS = 40  # of the target's name in the working directory's: file systems stop at 255 bytes

WORK = ".export"
RESTART = "resume=False (--restart)"
PART_NAME = re.compile(r"(calls|evaluations)-[0-9]{5,}\.(jsonl|csv|parquet)")
"""The names of an export's parts: no other file is ever opened or removed on a manifest's word."""


@attrs.define(frozen=True)
class Target:
    """Where an export goes."""

    path: Path
    format: str
    compression: str | None = None
    """``.gz`` or ``.zst``."""
    is_directory: bool = False

    @property
    def work(self) -> Path:
        """The directory that holds everything until the export is finished."""
        if self.is_directory:
            return self.path / WORK
        return self.path.with_name(f".{_shortened(self.path.name)}{WORK}")

    @property
    def manifest(self) -> Path:
        """Where a directory's manifest is."""
        return self.path / MANIFEST

    def part(self, number: int, kind: str = "calls") -> Path:
        """Return the final path of a part."""
        return self.path / f"{kind}-{number:05}.{self.format}" if self.is_directory else self.path

    def unfinished(self, file: Path) -> Path:
        """Return where a file is written before it gets its name."""
        return self.work / ("manifest.part" if file == self.manifest else f"{file.stem[:20]}.part")


def read_target(target: str | os.PathLike[str], format_: str | None) -> Target:
    """Return what a target says, or raise `ValueError` for one that can't be."""
    if format_ is not None and format_ not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(map(repr, FORMATS))}, not {format_!r}.")
    name = os.fspath(target)
    if name in ("", "-"):
        raise ValueError(f"target must be a file or a directory, not {name!r}.")
    check_local("target", name)
    path = Path(target)
    if name.endswith(("/", os.sep)):
        return Target(path, format_ or "jsonl", is_directory=True)
    compression = path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else None
    ending = (path.with_suffix("") if compression else path).suffix.lower()
    found = ENDINGS.get(ending)
    if found is None:
        check_ending(path, format_)
        return Target(path, format_ or "jsonl", is_directory=True)
    if format_ not in (None, found):
        raise ValueError(f"target ends in {ending}, which is not format {format_!r}: {str(path)!r}.")
    if compression and found == "parquet":
        raise ValueError(f"Parquet is compressed inside; leave {compression} out: {str(path)!r}.")
    return Target(path, found, compression)


def _shortened(name: str) -> str:
    if len(name) <= _NAME_CHARACTERS:
        return name
    return f"{name[:_NAME_CHARACTERS]}-{zlib.crc32(os.fsencode(name)):08x}"


def read_path(name: str, path: str | os.PathLike[str]) -> Path:
    """Return the path that an argument gives, or raise `ValueError` for an empty name or an address."""
    if not os.fspath(path):
        raise ValueError(f"{name} must be a path, not ''.")
    check_local(name, os.fspath(path))
    return Path(path)


def prepare_target(target: Target) -> bool:
    """Make room for the working directory; whether the target's own directory was made for it."""
    if not target.is_directory:
        check_replaceable(target.path)
        if not target.path.parent.exists():
            raise ExportError(f"Can't write {target.path}: there is no directory {target.path.parent}.")
        return False
    made = not target.path.exists()
    make_directory(target.path, parents=True)
    return made


def find_finished(target: Target, parameters: Parameters, *, resume: bool) -> Manifest | None:
    """Return the manifest of this very export, if it is finished; refuse what belongs to something else."""
    if not target.is_directory:
        return None
    manifest = read_manifest(target.manifest)
    if manifest is None:
        _check_no_parts(target)
        return None
    if not (resume and manifest.complete):
        return None
    if different := parameters.differences(manifest.parameters):
        raise ExportError(
            f"{target.path} holds a finished export with other parameters: {'; '.join(different)}. "
            f"Choose another directory, or replace it with {RESTART}."
        )
    for part in manifest.parts:
        path = target.path / part.name
        if not PART_NAME.fullmatch(part.name) or not is_file(path) or path.stat().st_size != part.bytes:
            raise ExportError(
                f"{path} is not as the export left it. Look with verify_export, or begin anew with {RESTART}."
            )
    return manifest


def publish(
    target: Target,
    files: Iterable[tuple[Path, Path]],
    manifest: bytes | None,
    note_replaced: Callable[[list[str]], set[str]],
) -> None:
    """Give all files their names, the manifest last; what an earlier export left in the directory goes.

    ``files`` says where each is, and where it is to be. ``note_replaced`` is told durably, before they are
    touched, which files an earlier export left; it returns all that it was ever told.
    """
    if manifest is None:
        _place(files)
        sync_directory(target.path.parent)
        return
    unfinished = target.unfinished(target.manifest)
    _write_synced(unfinished, manifest)
    earlier = read_manifest(target.manifest)
    names = [part.name for part in earlier.parts if PART_NAME.fullmatch(part.name)] if earlier else []
    replaced = note_replaced(names)
    if earlier is not None:  # it will not fit what takes the place of its parts
        _remove(target.manifest)
        sync_directory(target.path)
    placed = _place(files)
    sync_directory(target.path)
    replace_file(unfinished, target.manifest)
    for name in replaced - placed:
        _remove(target.path / name)
    sync_directory(target.path)


def folder_in_target(target: Target, recordings: Path | None) -> str | None:
    """Return the name of the folder of recordings, where it is in the export's directory."""
    if recordings is None or recordings.resolve().parent != target.path.resolve():
        return None
    return recordings.name


def _check_no_parts(target: Target) -> None:
    """Refuse to write over files that no export here is known to have written."""
    for path in sorted(target.path.iterdir()):
        if PART_NAME.fullmatch(path.name):
            raise ExportError(
                f"{path} is there already, but no manifest. Choose another directory, or remove such files."
            )


def _place(files: Iterable[tuple[Path, Path]]) -> set[str]:
    placed: set[str] = set()
    for written, final in files:
        if written != final:  # it was placed before an interruption
            replace_file(written, final)
        placed.add(final.name)
    return placed


def _write_synced(path: Path, content: bytes) -> None:
    with export_errors(path):
        path.unlink(missing_ok=True)
        descriptor = create_file(path)
        try:
            write_all(descriptor, [content])
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    with export_errors(path, "remove"):
        path.unlink(missing_ok=True)

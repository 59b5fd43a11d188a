"""Where an export goes: one file or a directory of parts, and what is named how there."""

import os
import re
import zlib
from pathlib import Path, PurePath

import attrs

from futureagi_async.export.manifest import MANIFEST
from futureagi_async.export.target_names import COMPRESSIONS, ENDINGS, check_ending, check_local

FORMATS = ("jsonl", "csv", "parquet")
_NAME_CHARACTERS = 40  # of the target's name in the working directory's: file systems stop at 255 bytes

WORK = ".export"
RESTART = "resume=False (--restart)"
KEPT = "What was read is kept: the same export again goes on from there."
EVALUATIONS = "_evaluations"
"""The folder of parts with evaluations, in a directory: one table's readers skip the other by its name."""
PART_NAME = re.compile(rf"(calls|({EVALUATIONS}/)?evaluations)-[0-9]{{5,}}\.(jsonl|csv|parquet)")
"""The names of an export's parts: no other file is ever opened or removed on a manifest's word.

Versions up to 0.1 had evaluations beside the calls.
"""


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

    @property
    def receipt(self) -> Path:
        """Where a file's receipt is, if not in the file's attributes."""
        return self.path.with_name(f".{_shortened(self.path.name)}.receipt")

    @property
    def folder(self) -> Path:
        """The directory that the names of parts are in."""
        return self.path if self.is_directory else self.path.parent

    def part_name(self, number: int, kind: str = "calls") -> str:
        """Return the final name of a part, from the directory on."""
        if not self.is_directory:
            return self.path.name
        name = f"{kind}-{number:05}.{self.format}"
        return f"{EVALUATIONS}/{name}" if kind == "evaluations" else name

    def unfinished(self, name: str) -> Path:
        """Return where a file is written before it gets its name."""
        return self.work / f"{PurePath(name).stem if self.is_directory else 'file'}.part"


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


def folder_in_target(target: Target, recordings: Path | None) -> str | None:
    """Return the name of the folder of recordings, where it is in the export's directory."""
    if recordings is None or recordings.resolve().parent != target.path.resolve():
        return None
    return recordings.name

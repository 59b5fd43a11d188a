"""What the target of an export says: one file or a directory of parts, its format, its working directory."""

import os
import re
import zlib
from pathlib import Path

import attrs

from futureagi_async.export.manifest import MANIFEST

FORMATS = ("jsonl", "csv", "parquet")
_ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_COMPRESSIONS = (".gz", ".zst")
_NAME_CHARACTERS = 40  # of the target's name in the working directory's: file systems stop at 255 bytes

WORK = ".export"
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
    if not os.fspath(target):
        raise ValueError("target must be a file or a directory, not ''.")
    path = Path(target)
    compression = path.suffix.lower() if path.suffix.lower() in _COMPRESSIONS else None
    ending = (path.with_suffix("") if compression else path).suffix.lower()
    found = _ENDINGS.get(ending)
    if found is None:
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

"""The target of an export: a file, a directory or a prefix in a bucket, and the names of its files."""

import hashlib
import os
import re
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePath, PurePosixPath

import attrs

from futureagi_async.export.manifest import MANIFEST
from futureagi_async.export.object_store import Address, is_address, parse_address
from futureagi_async.export.partitions import FOLDERS
from futureagi_async.export.target_names import COMPRESSIONS, ENDINGS, check_ending, check_local

FORMATS = ("jsonl", "csv", "parquet")
_NAME_CHARACTERS = (
    40  # of the target, in the name of the working directory: file systems limit names to 255 bytes
)

_DIGEST_CHARACTERS = 32

WORK = ".export"
RESTART = "resume=False (--restart)"
KEPT = "The records that were read are kept. Run the same export again to continue."
EVALUATIONS = "_evaluations"
"""The folder of part files with evaluations. Readers of the calls skip it because of its name."""
PART_NAME = re.compile(
    rf"(({FOLDERS}/)?calls|({EVALUATIONS}/({FOLDERS}/)?)?evaluations)-[0-9]{{5,}}(-[0-9a-f]{{32}})?"
    r"\.(jsonl|csv|parquet)"
)
"""The names of part files. If a manifest lists any other file, that file is never opened or removed.

In buckets, the names end in a digest. Versions up to 0.1 wrote evaluations into the folder of the calls.
"""

RECORDING_NAME = re.compile(r"[0-9a-f-]{36}-[a-z]+(-[0-9a-f]{32})?\.[a-z0-9]{1,8}")
"""The names of recordings. In buckets, they end in a digest."""
RECORDINGS_FOLDER = re.compile(r"[^./\\\0][^/\\\0]*")
"""The name of a folder of recordings in the directory of an export."""


@attrs.define(frozen=True)
class Target:
    """A file or a directory that an export writes."""

    path: Path
    format: str
    compression: str | None = None
    """``.gz`` or ``.zst``."""
    is_directory: bool = False

    def __str__(self) -> str:
        return str(self.path)

    @property
    def work(self) -> Path:
        """The working directory, which holds everything until the export is finished."""
        if self.is_directory:
            return self.path / WORK
        return self.path.with_name(f".{_shortened(self.path.name)}{WORK}")

    @property
    def manifest(self) -> Path:
        """The path of the manifest of a directory."""
        return self.path / MANIFEST

    @property
    def receipt(self) -> Path:
        """The path of the receipt of a file, if it is not in the attributes of the file."""
        return self.path.with_name(f".{_shortened(self.path.name)}.receipt")

    @property
    def folder(self) -> Path:
        """The directory that the names of part files are relative to."""
        return self.path if self.is_directory else self.path.parent

    def part_name(self, number: int, kind: str = "calls") -> str:
        """Return the final name of a part file, relative to the directory."""
        if not self.is_directory:
            return self.path.name
        name = f"{kind}-{number:05}.{self.format}"
        return f"{EVALUATIONS}/{name}" if kind == "evaluations" else name

    def unfinished(self, name: str) -> Path:
        """Return the path where a file is written before it gets its name."""
        return self.work / f"{PurePath(name).stem if self.is_directory else 'file'}.part"


@attrs.define(frozen=True)
class BucketTarget(Target):
    """A prefix in a bucket. ``path`` is the local directory for the unfinished export."""

    address: Address = attrs.field(kw_only=True)

    def __str__(self) -> str:
        return str(self.address)

    @property
    def work(self) -> Path:
        """The working directory, which holds everything until the export is finished."""
        return self.path

    @property
    def downloads(self) -> Path:
        """The directory for downloaded recordings before they are put."""
        return self.path / "recordings"


def read_target(
    target: str | os.PathLike[str],
    format_: str | None,
    *,
    work_dir: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Target:
    """Return the target for an argument, or raise `ValueError` for an invalid one."""
    if format_ is not None and format_ not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(map(repr, FORMATS))}, not {format_!r}.")
    name = os.fspath(target)
    if name in ("", "-"):
        raise ValueError(f"target must be a file or a directory, not {name!r}.")
    if is_address(name):
        return _read_bucket_target(name, format_, work_dir, environment)
    check_local("target", name)
    if work_dir is not None:
        raise ValueError(
            "work_dir is only for targets in buckets: leave it out. Other exports work beside their target."
        )
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
        raise ValueError(
            f"target {str(path)!r} ends in {ending}, but the format is {format_!r}. Choose one of them."
        )
    if compression and found == "parquet":
        raise ValueError(
            f"target {str(path)!r} must not end in {compression}: Parquet is already compressed."
        )
    return Target(path, found, compression)


def _shortened(name: str) -> str:
    if len(name) <= _NAME_CHARACTERS:
        return name
    return f"{name[:_NAME_CHARACTERS]}-{zlib.crc32(os.fsencode(name)):08x}"


def _read_bucket_target(
    name: str, format_: str | None, work_dir: str | os.PathLike[str] | None, environment: Mapping[str, str]
) -> BucketTarget:
    address = parse_address("target", name)
    if not name.endswith("/"):
        _check_no_object(address, format_)
    root = read_path("work_dir", work_dir) if work_dir is not None else _cache_directory(environment)
    identity = f"{address} {address.server(environment)}"
    path = root / hashlib.sha256(identity.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return BucketTarget(path, format_ or "jsonl", is_directory=True, address=address)


def _check_no_object(address: Address, format_: str | None) -> None:
    """Refuse a single object, because two exports could overwrite each other's large objects."""
    path = PurePosixPath(address.prefix)
    if (found := _format_of(address)) is not None:
        folder = str(address).rstrip("/").removesuffix("".join(path.suffixes))
        raise ValueError(
            f"target must be a prefix if it is in a bucket, not a single object: use '{folder}/' with format "
            f"'{format_ or found}' instead of '{str(address).rstrip('/')}'."
        )
    check_ending(path, format_)


def _format_of(address: Address) -> str | None:
    """Return the format of a single object by its name; ``None`` if it has no supported ending."""
    path = PurePosixPath(address.prefix)
    ending = (path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path).suffix
    return ENDINGS.get(ending.lower())


def _cache_directory(environment: Mapping[str, str]) -> Path:
    """Return the user's cache directory for unfinished exports to buckets."""
    if sys.platform == "win32":
        cache = environment.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        cache = "~/Library/Caches"
    else:
        cache = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "futureagi-async" / "exports"


def read_path(name: str, path: str | os.PathLike[str]) -> Path:
    """Return the path in an argument, or raise `ValueError` for an empty name or an address."""
    if not os.fspath(path):
        raise ValueError(f"{name} must be a path, not ''.")
    check_local(name, os.fspath(path))
    return Path(path)


def read_place(name: str, place: str | os.PathLike[str]) -> Path | Address:
    """Return the path or the address in an argument, or raise `ValueError`."""
    text = os.fspath(place)
    if not is_address(text):
        return read_path(name, place)
    address = parse_address(name, text)
    if _format_of(address) is not None and not text.endswith("/"):
        raise ValueError(
            f"{name} must be a prefix such as {address.scheme}://bucket/prefix/, not a single object: "
            f"{text!r}."
        )
    return address


def folder_in_target(target: Target, recordings: Path | Address | None) -> str | None:
    """Return the name of the folder of recordings, if it is in the directory or prefix of the export."""
    if isinstance(recordings, Address):
        return recordings.prefix.rpartition("/")[2]
    if recordings is None or recordings.resolve().parent != target.path.resolve():
        return None
    return recordings.name


def check_recordings(target: Target, recordings: Path | Address | None) -> None:
    """Raise `ValueError` for a folder in a bucket that is not directly below the prefix of the export."""
    if not isinstance(recordings, Address):
        return
    name = recordings.prefix.rpartition("/")[2]
    if not isinstance(target, BucketTarget) or target.address.key(name) != recordings.prefix:
        raise ValueError(
            "recordings must be a local directory, or a folder directly below a target in a bucket, such as "
            f"'{target if isinstance(target, BucketTarget) else 's3://bucket/prefix/'}audio/'."
        )
    if name.startswith((".", "_")) or recordings.bucket != target.address.bucket:
        raise ValueError(f"recordings can't be {str(recordings)!r}: name a folder such as '{target}audio/'.")

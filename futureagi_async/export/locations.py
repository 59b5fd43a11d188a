"""The place that a finished export is read from: a directory, or a prefix whose objects are copied."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Protocol

import attrs

from futureagi_async.errors import ExportError
from futureagi_async.export.files import export_errors, is_file_below
from futureagi_async.export.manifest import (
    FORMER_MANIFEST,
    MANIFEST,
    MAX_BYTES,
    BaseExport,
    Describe,
    Manifest,
    find_manifest,
    match_sources,
    parse_manifest,
    read_base,
    read_text,
)
from futureagi_async.export.object_store import Address, Listed, ObjectStore, Version
from futureagi_async.export.ownership import names_of_parts
from futureagi_async.export.partitions import FOLDER_NAME
from futureagi_async.export.targets import EVALUATIONS, PART_NAME, WORK
from futureagi_async.sources import CallSource


class Location(Protocol):
    """A directory or a prefix with an export."""

    @property
    def place(self) -> Path | str:
        """The path or the address for reports."""
        ...

    @property
    def hint(self) -> str:
        """What to do if there is no manifest, or nothing at all."""
        ...

    def file(self, name: str) -> Path | str:
        """Return the path or the address of a file for reports."""
        ...

    def manifest_name(self) -> str:
        """Return the name of the manifest, even if there is none."""
        ...

    def manifest_text(self) -> bytes | None:
        """Return the text of the manifest; ``None`` if there is none."""
        ...

    def names(self) -> set[str]:
        """Return all names that part files can have."""
        ...

    def size(self, name: str) -> int | None:
        """Return the size of a file; ``None`` if there is no such file."""
        ...

    def local(self, name: str) -> AbstractContextManager[Path]:
        """Give the path of a file, or of a copy of it, while the block runs."""
        ...

    def check_unchanged(self) -> None:
        """Raise `ExportError` if the export was replaced after its manifest was read."""
        ...


@attrs.define(frozen=True)
class Directory:
    """An export in a directory."""

    place: Path

    def __str__(self) -> str:
        return str(self.place)

    @property
    def hint(self) -> str:
        """What to do if there is no manifest."""
        with export_errors(self.place, "read"):
            is_unfinished = (self.place / WORK).exists()
        return " The export is not finished: run it again." if is_unfinished else ""

    def file(self, name: str) -> Path:
        """Return the file's path."""
        return self.place / name

    def manifest_name(self) -> str:
        """Return the file name of the manifest. Earlier versions used another name."""
        return find_manifest(self.place).name

    def manifest_text(self) -> bytes | None:
        """Return the text of the file."""
        with export_errors(self.place, "read"):
            os.scandir(self.place).close()  # an unreadable directory is different from one without a manifest
        return read_text(find_manifest(self.place))

    def names(self) -> set[str]:
        """Return all names that part files can have, whoever wrote the files."""
        return names_of_parts(self.place)

    def size(self, name: str) -> int | None:
        """Return the size of a file. Links are not followed."""
        if not is_file_below(self.place, name):
            return None
        with export_errors(self.place / name, "read"):
            return (self.place / name).stat().st_size

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """Give the path of the file."""
        yield self.place / name

    def check_unchanged(self) -> None:
        """Do nothing: an export that replaces a directory removes its manifest first."""


class Prefix:
    """An export in a bucket."""

    def __init__(self, address: Address) -> None:
        self._store = ObjectStore(address)
        self._address = address
        self._listed: dict[str, Listed] = {}
        """The listed objects, by folder."""
        self._version: Version | None = None

    def __str__(self) -> str:
        return str(self._address)

    @property
    def place(self) -> str:
        """The address of the prefix."""
        return str(self._address)

    @property
    def hint(self) -> str:
        """What to do if there is no manifest."""
        return " If you exported to it, the export is not finished: run it again."

    def file(self, name: str) -> str:
        """Return the address of the object."""
        return self._address.url(name)

    def manifest_name(self) -> str:
        """Return the name of the object."""
        return MANIFEST

    def manifest_text(self) -> bytes | None:
        """Return the text of the object."""
        found = self._store.read(MANIFEST, MAX_BYTES)
        if found is None:
            return None
        text, self._version = found
        return text

    def names(self) -> set[str]:
        """Return the names of all objects that can be part files."""
        return set(filter(PART_NAME.fullmatch, self._names_below("")))

    def _names_below(self, folder: str) -> Iterator[str]:
        """Yield the names of objects in a folder and in the folders that exports create."""
        prefix = f"{folder}/" if folder else ""
        listed = self._list(folder)
        yield from (f"{prefix}{name}" for name in listed.sizes)
        for name in listed.folders:
            if name == EVALUATIONS or FOLDER_NAME.fullmatch(name):
                yield from self._names_below(f"{prefix}{name}")

    def size(self, name: str) -> int | None:
        """Return the size of the object."""
        folder, _, last = name.rpartition("/")
        return self._list(folder).sizes.get(last)

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """Give a copy of the object, which is removed after the block."""
        with TemporaryDirectory(prefix="futureagi-async-") as folder:
            path = Path(folder, PurePosixPath(name).name)
            if not self._store.download(name, path):
                self.check_unchanged()
                raise ExportError(
                    f"Can't read {self._address.url(name)}: it was removed while it was read. Try again."
                )
            yield path

    def check_unchanged(self) -> None:
        """Raise `ExportError` if the prefix has another manifest now."""
        found = self._store.read(MANIFEST, MAX_BYTES)
        if (found[1] if found is not None else None) != self._version:
            raise ExportError(f"Another export replaced {self._address} while it was read. Try again.")

    def _list(self, folder: str) -> Listed:
        if folder not in self._listed:
            self._listed[folder] = self._store.list(folder)
        return self._listed[folder]


def open_location(place: Path | Address) -> Location:
    """Return the directory or the prefix of an export, given its path, its address or its manifest."""
    if isinstance(place, Address):
        return Prefix(without_manifest(place))
    return Directory(place.parent if place.name in (MANIFEST, FORMER_MANIFEST) else place)


def without_manifest(address: Address) -> Address:
    """Return the prefix of an address, without the name of a manifest."""
    folder, _, name = address.prefix.rpartition("/")
    return attrs.evolve(address, prefix=folder) if name == MANIFEST else address


def read_manifest_at(location: Location) -> Manifest:
    """Return the manifest of an export. Raises `ExportError` if it is missing or was changed."""
    text = location.manifest_text()
    if text is None:
        raise ExportError(f"Can't read {location}: there is no {MANIFEST} of an export.{location.hint}")
    return parse_manifest(text, location.file(location.manifest_name()))


def read_base_at(place: Path | Address, sources: Sequence[CallSource], describe: Describe) -> BaseExport:
    """Return the manifest of an earlier export by its path or directory. Raises `ExportError` if invalid."""
    if isinstance(place, Path):
        return read_base(place, sources, describe)
    return match_sources(read_manifest_at(open_location(place)), sources, describe)

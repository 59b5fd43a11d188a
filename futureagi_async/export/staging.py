"""The staging of an export: a folder that all workers can access, or a prefix in a bucket.

It holds exported shares until they are committed. ``plan.json`` names the plan, ``receipts/`` says which
attempt at a share counts, ``attempts/`` has the exported files, and ``committed.json`` names the target. Each
file is created once, as a whole, and never changed. If two processes create the same file, the second one is
told that it exists.
"""

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

import attrs
from anyio.to_thread import run_sync

from futureagi_async.errors import ExportError
from futureagi_async.export.files import (
    create_file,
    digest_file,
    export_errors,
    is_file_below,
    make_directory,
    sync_directory,
    write_synced,
)
from futureagi_async.export.manifest import MAX_BYTES
from futureagi_async.export.object_store import Address, ConflictError, ObjectStore
from futureagi_async.export.targets import BucketTarget, Target

ATTEMPTS: Final = "attempts"
RECEIPTS: Final = "receipts"
PAIRS: Final = "pairs.jsonl"
"""The name of an attempt's file with the sorted pairs of a source's place and an id."""
NO_SHARE: Final = "000000-000000"
_NO_LINK: Final = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)


@attrs.define(frozen=True)
class Workplace:
    """The target of an attempt."""

    target: Target
    pairs: Path
    """The local file for its pairs."""


@attrs.define(frozen=True)
class LocalStaging:
    """A staging in a folder, on this machine or on a network file system that all workers have mounted.

    Names are relative to the folder, as in `BucketStaging`. All methods except `keep` block.
    """

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def url(self, name: str) -> str:
        """Return the path of a file for messages."""
        return str(self.path / name)

    def read(self, name: str) -> bytes | None:
        """Return the content of a small file; ``None`` if there is none."""
        with export_errors(self.path / name, "read"):
            return (self.path / name).read_bytes() if is_file_below(self.path, name) else None

    def create(self, name: str, content: bytes) -> bool:
        """Create a file durably if it does not exist. Return whether it was created.

        The file is written elsewhere and then linked. So it is never half written, and never replaces another
        file. Files of a killed process are removed like those of an attempt.
        """
        path, folder = self.path / name, self.path / ATTEMPTS / f"{NO_SHARE}-{secrets.token_hex(8)}"
        for each in (path.parent, folder):
            make_directory(each, parents=True)
        try:
            write_synced(folder / path.name, content)
            with export_errors(path):
                path.hardlink_to(folder / path.name)
        except ExportError as error:
            if isinstance(error.__cause__, FileExistsError):
                return False
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        sync_directory(path.parent)
        return True

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        with export_errors(self.path / folder, "read"), suppress(FileNotFoundError):
            return sorted(path.name for path in (self.path / folder).iterdir())
        return []

    @contextmanager
    def workplace(self, attempt: str, format_: str, work_dir: Path | None) -> Iterator[Workplace]:
        """Give an attempt its own folder while the block runs. After an error, the folder is removed."""
        folder = self.path / ATTEMPTS / attempt
        target = Target(folder, format_, is_directory=True)
        try:
            yield Workplace(target, folder / PAIRS)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(target.work, ignore_errors=True)

    async def keep(self, attempt: str, workplace: Workplace) -> None:
        """Move the pairs of an attempt to its export, durably."""
        await run_sync(sync_directory, workplace.pairs.parent)

    def digest(self, name: str) -> str | None:
        """Return the SHA-256 of a file; ``None`` if there is none."""
        return digest_file(self.path / name) if is_file_below(self.path, name) else None

    def fetch(self, name: str, path: Path) -> bool:
        """Create a local file with the content of a staged one. Return whether that exists.

        The local file is a link to the staged one, or a copy on another file system. Don't change it.
        """
        staged = self.path / name
        if not is_file_below(self.path, name):
            return False
        with export_errors(path):
            path.unlink(missing_ok=True)
            try:
                path.hardlink_to(staged)
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                _copy(staged, path)
        return True

    def ages(self) -> dict[str, float]:
        """Return the seconds since the last write of each attempt."""
        now = time.time()
        return {name: now - _last_write(self.path / ATTEMPTS / name) for name in self.names(ATTEMPTS)}

    def remove(self, attempt: str) -> None:
        """Remove the files of an attempt."""
        folder = self.path / ATTEMPTS / attempt
        with export_errors(folder, "remove"), suppress(FileNotFoundError):
            shutil.rmtree(folder)


def _last_write(folder: Path) -> float:
    """Return the time of the last write in a folder. Files of a running attempt may disappear meanwhile."""
    last = 0.0
    for path in (folder, *folder.rglob("*")):
        with suppress(FileNotFoundError):
            last = max(last, path.stat().st_mtime)
    return last


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, os.fdopen(create_file(target), "wb") as write:
        shutil.copyfileobj(read, write, 1024**2)
        write.flush()
        os.fsync(write.fileno())


class BucketStaging:
    """A staging in a prefix of a bucket."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._objects = ObjectStore(address)

    def __str__(self) -> str:
        return str(self.address)

    def url(self, name: str) -> str:
        """Return the address of an object."""
        return self.address.url(name)

    def read(self, name: str) -> bytes | None:
        """Return the content of a small object; ``None`` if there is none."""
        found = self._objects.read(name, MAX_BYTES)
        return found[0] if found is not None else None

    def create(self, name: str, content: bytes) -> bool:
        """Put an object if it does not exist. Return whether it was created, even if the answer was lost."""
        try:
            self._objects.put(name, content, None)
        except ConflictError:
            return False
        return True

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects in a folder."""
        return sorted(self._objects.list(folder).sizes)

    @contextmanager
    def workplace(self, attempt: str, format_: str, work_dir: Path | None) -> Iterator[Workplace]:
        """Give an attempt its own prefix in the staging, and a temporary folder for unfinished work."""
        if work_dir is not None:
            make_directory(work_dir, parents=True)
        with TemporaryDirectory(prefix="futureagi-async-", dir=work_dir) as folder:
            address = attrs.evolve(self.address, prefix=self.address.key(f"{ATTEMPTS}/{attempt}"))
            target = BucketTarget(Path(folder, "export"), format_, is_directory=True, address=address)
            yield Workplace(target, Path(folder, PAIRS))

    async def keep(self, attempt: str, workplace: Workplace) -> None:
        """Put the pairs of an attempt."""
        await self._objects.put_file(f"{ATTEMPTS}/{attempt}/{PAIRS}", workplace.pairs)

    def digest(self, name: str) -> str | None:
        """Return the SHA-256 of an object; ``None`` if there is none."""
        return self._objects.digest(name)

    def fetch(self, name: str, path: Path) -> bool:
        """Download an object to a local file. Return whether it exists."""
        with export_errors(path):
            path.unlink(missing_ok=True)
        return self._objects.download(name, path)

    def ages(self) -> dict[str, float]:
        """Return the seconds since the newest object of each attempt was put."""
        now, ages = time.time(), dict[str, float]()
        for name, moment in self._objects.modified(ATTEMPTS):
            attempt = PurePath(name).parts[1]
            ages[attempt] = min(ages.get(attempt, float("inf")), now - moment.timestamp())
        return ages

    def remove(self, attempt: str) -> None:
        """Delete the objects of an attempt."""
        self._objects.delete([name for name, _ in self._objects.modified(f"{ATTEMPTS}/{attempt}")])


Staging: TypeAlias = LocalStaging | BucketStaging


def open_staging(place: Path | Address) -> Staging:
    """Return the staging in a folder or a prefix."""
    return LocalStaging(place) if isinstance(place, Path) else BucketStaging(place)

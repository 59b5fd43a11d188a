"""Exports to a bucket: part files first, under names that depend on their content, and the manifest last.

Object stores have no rename, so every object is put under its final name. The name has the digest of the
content. If the export replaces another manifest, the digest includes the version of that manifest. So two
exports share an object only if at most one of them can put its manifest, and an export never removes objects
of another one.
"""

import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

import anyio
import anyio.abc
import msgspec
from anyio.to_thread import run_sync

from futureagi_async.errors import ExportError
from futureagi_async.export.destinations import Paths, Permissions
from futureagi_async.export.files import (
    export_errors,
    is_file,
    make_directory,
    open_to_append,
    replace_file,
    sync_directory,
    write_all,
    write_synced,
)
from futureagi_async.export.manifest import (
    MANIFEST,
    MAX_BYTES,
    Manifest,
    Parameters,
    Part,
    RecordingFile,
    decode_manifest,
    encode_manifest,
    parse_manifest,
)
from futureagi_async.export.object_store import ConflictError, ObjectStore, Version
from futureagi_async.export.ownership import OVERWRITE
from futureagi_async.export.store import Store
from futureagi_async.export.targets import (
    KEPT,
    PART_NAME,
    RECORDING_NAME,
    RECORDINGS_FOLDER,
    RESTART,
    BucketTarget,
)

_AT_ONCE: Final = 3  # the client buffers about 24 MiB for each
_LOG: Final = "objects.jsonl"
_DIGEST_CHARACTERS: Final = 32
_HIDDEN: Final = (".", "_")  # readers of prefixes skip names that begin with these


class ObjectLog:
    """A log: which manifest an unfinished export replaces, and which objects it may have put."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_there = False
        self.base: Version | None = None
        """The version of the manifest to replace; ``None`` if there was none."""
        self.names: set[str] = set()

    def read(self) -> None:
        """Read the log of an earlier run. After an incomplete last line, no object was put."""
        if not is_file(self._path):
            return
        with export_errors(self._path, "read"):
            lines = self._path.read_bytes().splitlines()
        with suppress(ValueError, TypeError, IndexError):
            self.base = _decode_version(json.loads(lines[0])["replaces"])
            self.is_there = True
        for line in lines[1:]:
            with suppress(ValueError):
                self.names.add(str(json.loads(line)))

    def write(self, target: BucketTarget, base: Version | None) -> None:
        """Write a new log with another version, and the known names."""
        self.base, self.is_there = base, True
        head = {"target": str(target), "replaces": None if base is None else base._asdict()}
        text = "".join(f"{json.dumps(line)}\n" for line in (head, *sorted(self.names)))
        new = self._path.with_suffix(".new")
        write_synced(new, text.encode())
        replace_file(new, self._path)
        sync_directory(self._path.parent)

    def note(self, names: Iterable[str]) -> None:
        """Log durably which objects are about to be put, or are to be removed later."""
        new = sorted(set(names) - self.names)
        if not new:
            return
        self.names.update(new)
        descriptor = open_to_append(self._path, self._path.stat().st_size)
        try:
            with export_errors(self._path):
                write_all(descriptor, ["".join(f"{json.dumps(name)}\n" for name in new).encode()])
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the log."""
        with export_errors(self._path, "remove"):
            self._path.unlink(missing_ok=True)
        self.base, self.is_there, self.names = None, False, set()


def _decode_version(fields: Any) -> Version | None:
    return None if fields is None else Version(fields["e_tag"], fields["version"])


class BucketDestination:
    """A prefix in a bucket: each part is put when it is finished, and the manifest after all parts."""

    def __init__(self, target: BucketTarget, permissions: Permissions, recordings: str | None) -> None:
        self._target = target
        self._permissions = permissions
        self._recordings = recordings
        self._log = ObjectLog(target.work / _LOG)
        self._log_lock = anyio.Lock()
        self._earlier: Manifest | None = None
        """The manifest of the export to replace."""
        self._is_settled = False
        """Whether the log is no longer needed."""
        self._slots = anyio.Semaphore(_AT_ONCE)
        self._tasks: anyio.abc.TaskGroup
        self._failure: BaseException | None = None
        self._received: set[str] = set()
        self._there: set[str] = set()
        self._parts: list[Part] = []
        """The objects of the export. Others may have been received early and are not needed."""
        self._progress = anyio.Event()
        self._objects: ObjectStore

    async def prepare(self) -> None:
        """Create the local directory, and connect to the store."""
        await run_sync(partial(make_directory, self._target.work.parent, parents=True))
        self._objects = await run_sync(ObjectStore, self._target.address)

    async def find_finished(self, store: Store) -> Manifest | None:
        """Return the manifest in the bucket if it is of this export; also read the log of an earlier run."""
        return await run_sync(self._find_finished, store)

    def _find_finished(self, store: Store) -> Manifest | None:
        found = self._objects.read(MANIFEST, MAX_BYTES)
        self._log.read()
        if self._permissions.resume and store.exists and self._log.is_there:
            return self._find_own(found, store)
        version = found[1] if found is not None else None
        manifest = self._decode(found[0]) if found is not None else None
        if manifest is not None and manifest.complete and self._permissions.resume:
            self._check_finished(manifest, store.parameters)
            if self._log.is_there and self._log.base != version:
                self._clean(manifest)
            return manifest
        if found is None and not self._permissions.overwrite:
            self._check_nothing_else()
        self._log.base, self._earlier = version, manifest
        return None

    def _find_own(self, found: tuple[bytes, Version] | None, store: Store) -> Manifest | None:
        """Continue an unfinished export, unless another export has replaced the same manifest."""
        text, version = found or (b"", None)
        manifest = self._decode(text) if found is not None else None
        if version != self._log.base:
            if manifest is None or text != self._read_own_manifest():
                raise ExportError(
                    f"Another export replaced {self._target} after this one began. Keep it, or replace it "
                    f"with {RESTART}."
                )
            if manifest.complete:  # it was put, but the process ended before it got the answer
                self._clean(manifest)
                store.remove()
                return manifest
        self._log.base, self._earlier = version, manifest
        return None

    def _decode(self, text: bytes) -> Manifest | None:
        """Return the manifest in the bucket. Another kind of file is refused, or ignored if allowed."""
        try:
            return parse_manifest(text, self._target.address.url(MANIFEST))
        except ExportError as error:
            if self._permissions.overwrite:
                return None
            more = f"Choose another prefix, or write into this one with {OVERWRITE}."
            raise ExportError(f"{error} {more}") from None

    def _read_own_manifest(self) -> bytes | None:
        path = self._target.unfinished(MANIFEST)
        with export_errors(path, "read"):
            return path.read_bytes() if is_file(path) else None

    def _check_finished(self, manifest: Manifest, parameters: Parameters) -> None:
        if different := parameters.differences(manifest.parameters):
            raise ExportError(
                f"{self._target} has a finished export with other parameters: {'; '.join(different)}. "
                f"Choose another prefix, or replace it with {RESTART}."
            )
        sizes: dict[str, dict[str, int]] = {}
        for part in manifest.parts:
            folder, _, name = part.name.rpartition("/")
            if folder not in sizes:
                sizes[folder] = self._objects.list(folder).sizes
            if not PART_NAME.fullmatch(part.name) or sizes[folder].get(name) != part.bytes:
                raise ExportError(
                    f"{self._target.address.url(part.name)} was changed or removed after the export. Check "
                    f"it with verify_export, or start again with {RESTART}."
                )

    def _check_nothing_else(self) -> None:
        others = [
            name
            for name in sorted(self._objects.list().sizes)
            if not name.startswith(_HIDDEN) and not PART_NAME.fullmatch(name)
        ]
        if others:
            raise ExportError(
                f"{self._target.address.url(others[0])} already exists, but the prefix has no manifest. "
                f"Choose another prefix, or write into this one with {OVERWRITE}."
            )

    async def begin(self) -> None:
        """Log the manifest to replace. No other manifest may be replaced later."""
        await run_sync(self._log.write, self._target, self._log.base)

    @asynccontextmanager
    async def receiving(self) -> AsyncIterator[None]:
        """Put received files while the block runs. A failure ends the block and is raised."""
        callers_error: BaseException | None = None
        async with anyio.create_task_group() as self._tasks:
            try:
                yield
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - raised again, outside of the group
                callers_error = error
            finally:
                self._tasks.cancel_scope.cancel()
        if (first := self._failure or callers_error) is not None:
            raise first

    def receive_early(self, path: Path, part: Part) -> None:
        """Start to put a part while others are read."""
        self._begin_to_put(path, self._named(part))

    def receive(self, path: Path, part: Part) -> Part:
        """Start to put a part under its final name."""
        part = self._named(part)
        self._parts.append(part)
        self._begin_to_put(path, part)
        return part

    def receive_object(self, key: str, part: Part) -> Part:
        """Start to copy an object of the same bucket to its final name."""
        part = self._named(part)
        self._parts.append(part)
        self._begin_to_put(key, part)
        return part

    def _named(self, part: Part) -> Part:
        return msgspec.structs.replace(part, name=self._name_of(part.name, part.sha256))

    def _begin_to_put(self, source: Path | str, part: Part) -> None:
        if part.name not in self._received:
            self._received.add(part.name)
            self._tasks.start_soon(self._put_part, source, part)

    async def receive_recording(self, folder: Path, file: RecordingFile) -> RecordingFile:
        """If recordings go to the bucket, put a recording there and remove it from the disk."""
        if self._recordings is None or file.path is None or file.sha256 is None:
            return file
        path, name = folder / file.path, self._name_of(file.path, file.sha256)
        object_name = f"{self._recordings}/{name}"
        await self._put(object_name, partial(self._objects.put_file, object_name, path))
        with export_errors(path, "remove"):
            path.unlink()
        return msgspec.structs.replace(file, path=name)

    def _name_of(self, name: str, sha256: str) -> str:
        """Return the name of an object: the name of the local file, with a digest."""
        path, base = PurePosixPath(name), self._log.base
        if base is not None:
            sha256 = hashlib.sha256(f"{sha256} {base.e_tag} {base.version}".encode()).hexdigest()
        return str(path.with_name(f"{path.stem}-{sha256[:_DIGEST_CHARACTERS]}{path.suffix}"))

    async def _put_part(self, source: Path | str, part: Part) -> None:
        """Put a file, or copy the object with a given key."""
        try:
            if isinstance(source, Path):
                await self._put(part.name, partial(self._objects.put_file, part.name, source))
            else:
                await self._put(part.name, partial(self._objects.copy, source, part.name, part.bytes))
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - raised again, outside of the group
            self._failure = self._failure or error
            self._tasks.cancel_scope.cancel()
            return
        self._there.add(part.name)
        self._progress.set()

    async def _put(self, name: str, put: Callable[[], Awaitable[None]]) -> None:
        async with self._slots:
            async with self._log_lock:
                await run_sync(self._log.note, [name])
            try:
                await put()
            except ExportError as error:
                raise ExportError(f"{error} {KEPT}") from None

    async def settle(self, on_progress: Callable[[int, int], None]) -> None:
        """Wait until all parts are put."""
        while True:
            there = [part for part in self._parts if part.name in self._there]
            on_progress(sum(part.records or 0 for part in there), sum(part.bytes for part in there))
            if self._there == self._received:
                return
            self._progress = anyio.Event()
            await self._progress.wait()

    async def publish(self, manifest: Manifest, store: Store) -> None:
        """Put the manifest, and remove objects that it does not list."""
        await run_sync(self._publish, manifest)

    def _publish(self, manifest: Manifest) -> None:
        text = encode_manifest(manifest)
        if self._earlier is not None:
            self._log.note(_objects_of(self._earlier))
        write_synced(self._target.unfinished(MANIFEST), text)
        version = self._put_manifest(text)
        self._clean(manifest)
        if not manifest.complete:  # the next run replaces this manifest
            self._log.write(self._target, version)

    def _put_manifest(self, text: bytes) -> Version:
        """Put the manifest, if the manifest in the bucket is still the one from when the export began."""
        lost: ExportError | None = None
        try:
            return self._objects.put(MANIFEST, text, self._log.base)
        except ConflictError:
            pass
        except ExportError as error:
            lost = ExportError(f"{error} {KEPT}")
        found: tuple[bytes, Version] | None = None
        with suppress(ExportError):
            found = self._objects.read(MANIFEST, MAX_BYTES)
        if found is not None and found[0] == text:
            return found[1]  # it was put, but the answer was lost
        if lost is not None:
            raise lost
        if found is not None:
            self._withdraw(found[0])
        raise ExportError(
            f"Another export to {self._target} finished while this one ran, so this one was not stored. "
            f"Choose another prefix, or replace the other export with {RESTART}."
        )

    def _withdraw(self, others: bytes) -> None:
        """Remove the objects of this export after another manifest is in place: nobody can use them."""
        with suppress(ExportError, ValueError):
            manifest, _ = decode_manifest(others)
            self._objects.delete(sorted(self._log.names - _objects_of(manifest)))

    def _clean(self, manifest: Manifest) -> None:
        """Remove objects that were put or replaced, and that the new manifest does not list."""
        unneeded = sorted(self._log.names - _objects_of(manifest))
        try:
            self._objects.delete(unneeded)
        except ExportError as error:
            raise ExportError(
                f"The export is finished, but {len(unneeded)} unneeded objects could not be removed. {error}"
            ) from None
        self._log.names.difference_update(unneeded)
        self._is_settled = manifest.complete

    async def close(self, store: Store) -> None:
        """Remove what is needed only to continue, if there is nothing to continue."""
        if store.exists:
            return
        shutil.rmtree(self._target.downloads, ignore_errors=True)
        if self._is_settled or not self._log.names:
            await run_sync(self._log.remove)

    async def leave(self) -> None:
        """Do nothing: the lock removes the working directory."""

    def report_paths(self, manifest: Manifest) -> Paths:
        """Return the addresses of the objects."""
        address = self._target.address
        return Paths(
            target=str(address),
            files=tuple(address.url(part.name) for part in manifest.parts),
            manifest=address.url(MANIFEST),
        )


def _objects_of(manifest: Manifest) -> set[str]:
    """Return the names of the objects in a manifest that are valid names of an export's objects."""
    names = {part.name for part in manifest.parts if PART_NAME.fullmatch(part.name)}
    folder = manifest.recordings_folder
    if folder is not None and RECORDINGS_FOLDER.fullmatch(folder):
        names |= {
            f"{folder}/{file.path}"
            for file in manifest.recordings or ()
            if file.path is not None and RECORDING_NAME.fullmatch(file.path)
        }
    return names

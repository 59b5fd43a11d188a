"""The target of a running export: a file or a directory here; `buckets` has prefixes in buckets."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Protocol

import attrs
from anyio.to_thread import run_sync

from futureagi_async.export.manifest import Manifest, Part, RecordingFile, encode_manifest, find_manifest
from futureagi_async.export.ownership import check_contents, find_finished
from futureagi_async.export.publish import prepare_target, publish
from futureagi_async.export.store import Store
from futureagi_async.export.targets import Target


@attrs.define(frozen=True)
class Permissions:
    """What the caller allows the export to replace or continue."""

    resume: bool
    """Continue an unfinished export, and leave a finished one unchanged."""
    overwrite: bool
    """Also replace files that no export wrote."""


class Destination(Protocol):
    """The target of a running export. The methods are called in this order. All raise `ExportError`."""

    async def prepare(self) -> None:
        """Create what the working directory needs."""
        ...

    async def find_finished(self, store: Store) -> Manifest | None:
        """Return the manifest of this export if it is finished. Refuses files that no export wrote."""
        ...

    async def begin(self) -> None:
        """Record what is needed to continue, after the store is opened."""
        ...

    def receiving(self) -> AbstractAsyncContextManager[None]:
        """Accept files while the block runs. A failure ends the block."""
        ...

    def receive_early(self, path: Path, part: Part) -> None:
        """Accept a part file early. It belongs to the export unless newer versions of its records come."""
        ...

    def receive(self, path: Path, part: Part) -> Part:
        """Accept a finished part file, and return its final name. Does not wait for the transfer."""
        ...

    async def receive_recording(self, folder: Path, file: RecordingFile) -> RecordingFile:
        """Accept a recording, and return its final name."""
        ...

    async def settle(self, on_progress: Callable[[int, int], None]) -> None:
        """Wait until all accepted files are stored. ``on_progress`` receives records and bytes."""
        ...

    async def publish(self, manifest: Manifest, store: Store) -> None:
        """Replace the files of an earlier export with the accepted files."""
        ...

    async def close(self, store: Store) -> None:
        """Remove what can't be continued, while the working directory is still locked."""
        ...

    async def leave(self) -> None:
        """Remove what `prepare` created and what is not needed."""
        ...

    def report_paths(self, manifest: Manifest) -> "Paths":
        """Return the paths or addresses for the report."""
        ...


@attrs.define(frozen=True)
class Paths:
    """The place of a finished export: paths, or addresses as text."""

    target: Path | str
    files: tuple[Path | str, ...]
    manifest: Path | str | None


class LocalDestination:
    """A file or a directory. Files get their final names when all of them are finished."""

    def __init__(self, target: Target, permissions: Permissions) -> None:
        self._target = target
        self._permissions = permissions
        self._made = False
        self._files: list[tuple[Path, str]] = []

    async def prepare(self) -> None:
        """Create the directory, or check that the directory of the file exists."""
        self._made = await run_sync(
            partial(prepare_target, self._target, overwrite=self._permissions.overwrite)
        )

    async def find_finished(self, store: Store) -> Manifest | None:
        """Check the file or directory, and return the manifest of this export if it is finished."""
        return await run_sync(self._find_finished, store)

    def _find_finished(self, store: Store) -> Manifest | None:
        target, is_unfinished, permissions = self._target, store.exists, self._permissions
        if not (permissions.resume and is_unfinished):
            options = attrs.asdict(permissions)
            if (finished := find_finished(target, store.parameters, **options)) is not None:
                return finished
        if target.is_directory:
            check_contents(target, is_unfinished=is_unfinished, overwrite=permissions.overwrite)
        return None

    async def begin(self) -> None:
        """Do nothing: the working directory is in the target or beside it."""

    def receiving(self) -> AbstractAsyncContextManager[None]:
        """Do nothing: files are moved only at the end."""
        return nullcontext()

    def receive_early(self, path: Path, part: Part) -> None:
        """Do nothing: an early move has no advantage."""

    def receive(self, path: Path, part: Part) -> Part:
        """Remember the part file."""
        self._files.append((path, part.name))
        return part

    async def receive_recording(self, folder: Path, file: RecordingFile) -> RecordingFile:
        """Leave the recording where it was downloaded."""
        return file

    async def settle(self, on_progress: Callable[[int, int], None]) -> None:
        """Do nothing: files get their names all at once."""

    async def publish(self, manifest: Manifest, store: Store) -> None:
        """Give all files their final names, the manifest last."""
        give_names = partial(publish, overwrite=self._permissions.overwrite)
        text = encode_manifest(manifest) if self._target.is_directory else None
        await run_sync(give_names, self._target, self._files, text, store.note_replaced)

    async def close(self, store: Store) -> None:
        """Do nothing: the store removes its own files."""

    async def leave(self) -> None:
        """Remove the directory that `prepare` created, if it is empty."""
        if self._made:
            with suppress(OSError):
                self._target.path.rmdir()

    def report_paths(self, manifest: Manifest) -> Paths:
        """Return the paths of the files."""
        target = self._target
        return Paths(
            target=target.path,
            files=tuple(target.folder / part.name for part in manifest.parts),
            manifest=find_manifest(target.path) if target.is_directory else None,
        )

"""What an export does at its target: a file or a directory here, a prefix in a bucket in `buckets`."""

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
    """What the caller allows at the target."""

    resume: bool
    """Go on with what is unfinished, and leave what is finished."""
    overwrite: bool
    """Replace what no export wrote, too."""


class Destination(Protocol):
    """The target of an export that runs. Its steps, in this order; all raise `ExportError`."""

    async def prepare(self) -> None:
        """Make room for the working directory."""
        ...

    async def find_finished(self, store: Store) -> Manifest | None:
        """Return the manifest of this very export, if it is finished; refuse what is somebody else's."""
        ...

    async def begin(self) -> None:
        """Note what is needed to go on, once the store is open."""
        ...

    def receiving(self) -> AbstractAsyncContextManager[None]:
        """Take files for the length of a block; what can't be brought there ends the block."""
        ...

    def receive_early(self, path: Path, part: Part) -> None:
        """Take a part that will be one of the export's, unless records of it come again."""
        ...

    def receive(self, path: Path, part: Part) -> Part:
        """Take a finished part, and say what it will be called; returns at once."""
        ...

    async def receive_recording(self, folder: Path, file: RecordingFile) -> RecordingFile:
        """Take a recording, and say what it is called."""
        ...

    async def settle(self, on_progress: Callable[[int, int], None]) -> None:
        """Wait until all that was received is there; ``on_progress`` is told records and bytes."""
        ...

    async def publish(self, manifest: Manifest, store: Store) -> None:
        """Let what was received take the place of what an earlier export left."""
        ...

    async def close(self, store: Store) -> None:
        """Remove what nothing can go on with, while the working directory is still locked."""
        ...

    async def leave(self) -> None:
        """Remove what was prepared, and is not needed, once it is not."""
        ...

    def report_paths(self, manifest: Manifest) -> "Paths":
        """Return what callers are told of where everything is."""
        ...


@attrs.define(frozen=True)
class Paths:
    """Where a finished export is: paths, or addresses as text."""

    target: Path | str
    files: tuple[Path | str, ...]
    manifest: Path | str | None


class LocalDestination:
    """A file or a directory: files get their names when all are finished."""

    def __init__(self, target: Target, permissions: Permissions) -> None:
        self._target = target
        self._permissions = permissions
        self._made = False
        self._files: list[tuple[Path, str]] = []

    async def prepare(self) -> None:
        """Make the directory, or check that there is one for the file."""
        self._made = await run_sync(
            partial(prepare_target, self._target, overwrite=self._permissions.overwrite)
        )

    async def find_finished(self, store: Store) -> Manifest | None:
        """Look into the directory, or at the file."""
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
        """Nothing: the working directory is in the target or beside it."""

    def receiving(self) -> AbstractAsyncContextManager[None]:
        """Nothing goes on meanwhile."""
        return nullcontext()

    def receive_early(self, path: Path, part: Part) -> None:
        """Nothing: there is nothing to gain."""

    def receive(self, path: Path, part: Part) -> Part:
        """Remember it."""
        self._files.append((path, part.name))
        return part

    async def receive_recording(self, folder: Path, file: RecordingFile) -> RecordingFile:
        """Leave it where it was downloaded."""
        return file

    async def settle(self, on_progress: Callable[[int, int], None]) -> None:
        """Nothing: names are given all at once."""

    async def publish(self, manifest: Manifest, store: Store) -> None:
        """Give all files their names, the manifest last."""
        give_names = partial(publish, overwrite=self._permissions.overwrite)
        text = encode_manifest(manifest) if self._target.is_directory else None
        await run_sync(give_names, self._target, self._files, text, store.note_replaced)

    async def close(self, store: Store) -> None:
        """Nothing: the store removes all that is its own."""

    async def leave(self) -> None:
        """Remove the directory that was made, where nothing came into it."""
        if self._made:
            with suppress(OSError):
                self._target.path.rmdir()

    def report_paths(self, manifest: Manifest) -> Paths:
        """Return paths."""
        target = self._target
        return Paths(
            target=target.path,
            files=tuple(target.folder / part.name for part in manifest.parts),
            manifest=find_manifest(target.path) if target.is_directory else None,
        )

"""The last phase of an export: its files get their names, the manifest last."""

import hashlib
import os
from collections.abc import Generator
from pathlib import Path

from futureagi_async.export.batches import StagedRecords
from futureagi_async.export.files import (
    create_file,
    explained,
    replace_file,
    sync_directory,
    write_all,
)
from futureagi_async.export.id_sums import IdSums
from futureagi_async.export.manifest import Part, read_manifest
from futureagi_async.export.parts import PartsWriter
from futureagi_async.export.staging.entries import Replacing, Staged
from futureagi_async.export.staging.layout import Cursor
from futureagi_async.export.store import Workspace
from futureagi_async.export.targets import PART_NAME

_EMPTY_SUM = hashlib.sha256().hexdigest()


class Finish:
    """Makes the files of an export; afterwards ``parts`` describes them, and ``ids`` sums up what is in them.

    ``last`` says that the workspace is not needed any more. Where the staged lines are just what the file
    is to hold, they then become the file, without a copy.
    """

    def __init__(self, workspace: Workspace, staged: StagedRecords, *, last: bool) -> None:
        self.parts: list[Part] = []
        self.ids = IdSums(staged.sources)
        """Filled for a directory, whose manifest tells of them."""
        self._workspace = workspace
        self._staged = staged
        parameters, state = workspace.parameters, workspace.state
        self._adopts = last and parameters.writes_as_staged and not (state.newest or state.details)

    @property
    def size(self) -> int:
        """Bytes of the files that are written."""
        return sum(part.bytes for part in self.parts)

    def write(self) -> Generator[int, None, None]:
        """Write what is to be written, and yield now and then how many records are."""
        self._workspace.sync()
        if self._adopts:
            self._describe_stage()
            return
        writer = PartsWriter(self._workspace.target, self._staged, self.ids)
        self.parts = writer.parts
        yield from writer.run()

    def place(self, manifest: bytes | None) -> None:
        """Give all files their names; what an earlier export left in the directory goes."""
        target = self._workspace.target
        if manifest is None:
            self._place_parts()
            return
        unfinished = target.unfinished(target.manifest)
        self._write_manifest(unfinished, manifest)
        self._make_room()
        self._place_parts()
        replace_file(unfinished, target.manifest)
        for name in self._workspace.state.replaced - {part.name for part in self.parts}:
            _remove(target.path / name)
        sync_directory(target.path)

    def _describe_stage(self) -> None:
        """Gather from the journal what the stage files hold."""
        workspace = self._workspace
        cursor = Cursor(workspace.parameters.part_rows)
        rows, sizes, sums = [0], [0], [_EMPTY_SUM]
        for page in workspace.entries():
            if not isinstance(page, Staged):
                continue
            if workspace.target.is_directory:
                self.ids.add((page.source, id_) for id_ in page.ids)
            for block, digest in zip(cursor.advance(page.sizes), page.sums, strict=True):
                if block.number == len(rows):
                    rows.append(0)
                    sizes.append(0)
                    sums.append(_EMPTY_SUM)
                rows[-1] += block.stop - block.start
                sizes[-1] += block.size
                sums[-1] = digest
        names = [workspace.target.part(number).name for number in range(len(rows))]
        self.parts = [
            Part(name=name, records=count, bytes=size, sha256=digest)
            for name, count, size, digest in zip(names, rows, sizes, sums, strict=True)
        ]

    def _write_manifest(self, path: Path, manifest: bytes) -> None:
        with explained(path):
            path.unlink(missing_ok=True)
            descriptor = create_file(path)
            try:
                write_all(descriptor, [manifest])
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _make_room(self) -> None:
        """Take away an earlier manifest, which will not fit; note first which files were its own."""
        target = self._workspace.target
        earlier = read_manifest(target.manifest)
        if earlier is not None:
            names = [part.name for part in earlier.parts if PART_NAME.fullmatch(part.name)]
            self._workspace.keep([Replacing(names=names)])
            _remove(target.manifest)
            sync_directory(target.path)

    def _place_parts(self) -> None:
        workspace = self._workspace
        folder = workspace.target.path if workspace.target.is_directory else workspace.target.path.parent
        for number, part in enumerate(self.parts):
            final = folder / part.name
            written = workspace.staged_path(number) if self._adopts else workspace.target.unfinished(final)
            if written != final:
                replace_file(written, final)
        sync_directory(folder)


def _remove(path: Path) -> None:
    with explained(path, "remove"):
        path.unlink(missing_ok=True)

"""An unfinished export on the disk: its journal, its staged records, and what they add up to."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from futureagi_async._version import __version__
from futureagi_async.errors import ExportError
from futureagi_async.export.files import LOCK, empty_directory, sync_directory
from futureagi_async.export.manifest import Parameters
from futureagi_async.export.part_files import LineFiles, Lines, QuickSum, Sha256Sum
from futureagi_async.export.staging.entries import FORMAT, Begun, Detailed, Entry, Resumed, Staged
from futureagi_async.export.staging.journal import Journal, read_entries
from futureagi_async.export.staging.state import State
from futureagi_async.export.targets import Target

RESTART = "resume=False (--restart)"
_SYNC_SECONDS = 1.0
_SYNC_BYTES = 32 * 1024 * 1024


class Workspace:
    """The working directory of an export, locked by whoever holds this."""

    def __init__(self, target: Target, parameters: Parameters) -> None:
        self.target = target
        self.parameters = parameters
        self.stage = self._new_stage()
        self.details = LineFiles(self.details_path)
        self.state: State
        self._journal: Journal | None = None
        self._is_placed = False
        self._unsynced_bytes = 0
        self._synced_at = time.monotonic()

    @property
    def journal_path(self) -> Path:
        """Where the journal is."""
        return self.target.work / "journal"

    @property
    def stage_files(self) -> range:
        """The numbers of the stage files."""
        return range(self.stage.cursor.number + 1)

    def open(self, now: datetime, *, resume: bool) -> None:
        """Go on with what is there, or begin; raises `ExportError` where it belongs to another export."""
        if not (resume and self.journal_path.exists() and self._restore(now)):
            self._begin(now)

    def keep(self, entries: Sequence[Entry]) -> None:
        """Make entries durable at once."""
        self._append(entries)
        self.sync()

    def keep_staged(self, lines: Lines, page: Staged) -> None:
        """Write a page's records; from now on they survive this process."""
        self.stage.write(lines)
        self._append([page])
        self._sync_sometimes(sum(lines.sizes))

    def keep_details(self, lines: Lines, details: Detailed) -> None:
        """Write what is needed of details; from now on it survives this process."""
        self.details.write(lines)
        self._append([details])
        self._sync_sometimes(sum(lines.sizes))

    def sync(self) -> None:
        """Bring everything onto the disk, so that it survives a power cut, too."""
        assert self._journal is not None
        self.stage.sync()
        self.details.sync()
        self._journal.sync()
        self._unsynced_bytes, self._synced_at = 0, time.monotonic()

    def _append(self, entries: Sequence[Entry]) -> None:
        assert self._journal is not None
        self._journal.append(entries)
        for entry in entries:
            self.state.add(entry)

    def _sync_sometimes(self, size: int) -> None:
        """Sync what would be a pity to lose; what a power cut tore is noticed by its sums, and read again."""
        self._unsynced_bytes += size
        seconds = time.monotonic() - self._synced_at
        if self._unsynced_bytes >= _SYNC_BYTES or seconds >= _SYNC_SECONDS:
            self.sync()

    def entries(self) -> Iterator[Entry]:
        """Yield the journal's entries from the first."""
        return (entry for entry, _, _ in read_entries(self.journal_path))

    def marks(self) -> Iterable[bytes]:
        """Return the marks of the pages that are safe, in the order they came; not kept in memory."""
        return _Marks(self)

    def staged_path(self, number: int) -> Path:
        """Return where a stage file is; the last step of a finished export makes a part of it."""
        path = self.target.work / f"stage-{number:05}.jsonl"
        return self.target.part(number) if self._is_placed and not path.exists() else path

    def close(self) -> None:
        """Close all files."""
        self.stage.close()
        self.details.close()
        if self._journal is not None:
            self._journal.close()

    def leave(self) -> None:
        """Close everything; where no page is safe there is nothing to go on from, and nothing stays."""
        if self._journal is not None:
            with suppress(ExportError):
                self.sync()
        self.close()
        if not self.journal_path.exists() or (self._journal is not None and self.state.pages == 0):
            with suppress(ExportError):
                self.remove()

    def remove(self) -> None:
        """Leave nothing in the working directory but the lock."""
        self.close()
        empty_directory(self.target.work, but=LOCK)

    def _new_stage(self) -> LineFiles:
        """Stage files that become parts need the sum that a manifest tells."""
        becomes_parts = self.target.is_directory and self.parameters.writes_as_staged
        new_sum = Sha256Sum if becomes_parts else QuickSum
        return LineFiles(self.staged_path, self.parameters.part_rows, new_sum, ending=b"\n")

    def _begin(self, now: datetime) -> None:
        self.remove()
        self.stage = self._new_stage()
        self.details = LineFiles(self.details_path)
        begun = Begun(format=FORMAT, package=__version__, at=now, parameters=self.parameters)
        self._journal = Journal.create(self.journal_path, begun)
        self.state = State(begun)
        self._open_files()

    def _restore(self, now: datetime) -> bool:
        """Take up what is whole, and cut off the rest; whether there is anything to go on from."""
        self._is_placed = True  # a stage file may be a part already
        state: State | None = None
        size = checksum = 0
        whole = True
        for entry, end, checksum_there in read_entries(self.journal_path):
            if state is None:
                state = State(self._checked(entry))
            elif whole := self._is_whole(entry):
                state.add(entry)
            else:
                break
            size, checksum = end, checksum_there
        self._is_placed = bool(state and state.rows) and not all(map(self._is_staged, self.stage_files))
        if state is None or (self._is_placed and not whole):
            self._is_placed = False
            return False
        self.state = state
        self._journal = Journal(self.journal_path, size, checksum)
        self._open_files()
        self.keep([Resumed(at=now)])
        return True

    def _checked(self, begun: Entry) -> Begun:
        """Refuse to go on with an export of something else, and say what differs."""
        if not isinstance(begun, Begun) or (begun.format, begun.package) != (FORMAT, __version__):
            version = f"version {begun.package}" if isinstance(begun, Begun) else "another version"
            raise ExportError(
                f"{self.target.path} holds an unfinished export of {version} of this package, and this is "
                f"{__version__}. Finish it with that one, or begin anew with {RESTART}."
            )
        if different := self.parameters.differences(begun.parameters):
            raise ExportError(
                f"{self.target.path} holds an unfinished export with other parameters: "
                f"{'; '.join(different)}. Give the same to go on with it, or begin anew with {RESTART}."
            )
        return begun

    def _is_whole(self, entry: Entry) -> bool:
        """Whether what an entry tells of is on the disk as it was."""
        if isinstance(entry, Staged):
            return self.stage.check(entry.sizes, entry.sums)
        if isinstance(entry, Detailed):
            return self.details.check(entry.sizes, entry.sums)
        return True

    def _is_staged(self, number: int) -> bool:
        return (self.target.work / f"stage-{number:05}.jsonl").exists()

    def _open_files(self) -> None:
        if not self._is_placed:
            self.stage.open()
        self.details.open()
        sync_directory(self.target.work)

    def details_path(self, number: int) -> Path:
        """Return where a file of details is."""
        return self.target.work / f"details-{number:05}.jsonl"


class _Marks:
    """Marks that are read from the journal each time they are gone through."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def __iter__(self) -> Iterator[bytes]:
        return (entry.mark for entry in self._workspace.entries() if isinstance(entry, Staged))

"""What callers are told of an export: while it runs, and when it is done."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from futureagi_async.errors import FutureAGIError
from futureagi_async.models import FetchReport

if TYPE_CHECKING:
    from futureagi_async.export.audio import RecordingFile

Phase: TypeAlias = Literal["reading", "transcripts", "recordings", "writing"]


@attrs.define(frozen=True, kw_only=True)
class ExportProgress:
    """How far an export is."""

    phase: Phase
    """``reading`` lists, ``transcripts`` of calls whose list withholds them, audio ``recordings``, or
    ``writing`` the files from what was read."""
    records: int
    """Records, details or recordings that this phase is done with, those of earlier runs included."""
    bytes: int
    """What this phase brought onto the disk, of earlier runs too."""
    total: int | None = None
    """How many there are to do in this phase; ``None`` while reading, where nobody knows."""


OnProgress: TypeAlias = Callable[[ExportProgress], None]


@attrs.define(frozen=True, kw_only=True)
class ExportReport:
    """A finished export."""

    path: Path
    """The file or the directory."""
    format: str
    records: int
    bytes: int
    """Size of all files with records."""
    fetch: FetchReport
    """What was read of each source, and whether that is provably all."""
    files: tuple[Path, ...] = ()
    """The files with records; for Parquet in a directory also those with evaluations."""
    manifest: Path | None = None
    """A directory's manifest."""
    resumed: int = 0
    """How often the export went on after an interruption."""
    already_finished: bool = False
    """Whether nothing was done, because the directory held this export already."""
    transcripts_fetched: int = 0
    """Calls whose transcript was added from their detail."""
    transcripts_gone: tuple[str, ...] = ()
    """Calls that were deleted before their detail could be read; their records lack a transcript."""
    transcript_failures: tuple[FutureAGIError, ...] = ()
    """Details that could not be read; running the export again asks for them again."""
    recordings: "tuple[RecordingFile, ...]" = ()
    """How each download ended."""
    changed_since: tuple[datetime | None, ...] = ()
    """Of each source, since when changes were read; ``None`` for a source that was read in full."""

    @property
    def complete(self) -> bool:
        """Whether the files provably hold all that was asked for.

        That is every call of every source, where ``since`` was given those that changed; every transcript
        that the server still has, and every recording, where they were asked for.
        """
        downloaded = all(recording.error is None for recording in self.recordings)
        return self.fetch.complete and not self.transcript_failures and downloaded

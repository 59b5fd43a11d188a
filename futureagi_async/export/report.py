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

from collections.abc import Sequence

import msgspec

from futureagi_async._version import __version__
from futureagi_async.export.audio import RecordingFile
from futureagi_async.export.id_sums import IdSums
from futureagi_async.export.manifest import (
    CANNOT_SEE,
    FORMAT,
    Base,
    Manifest,
    Part,
    Since,
    Source,
    Transcripts,
    describe,
    identify,
    rebuild,
)
from futureagi_async.export.staging.state import State
from futureagi_async.export.targets import Target
from futureagi_async.models import SourceReport
from futureagi_async.sources import CallSource

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


@attrs.define(frozen=True, kw_only=True)
class Outcome:
    """What an export did."""

    state: State
    fetch: FetchReport
    parts: Sequence[Part]
    ids: IdSums
    base: Base | None
    recordings_folder: str | None


def sum_up(outcome: Outcome, finished_at: datetime) -> Manifest:
    """Return the manifest of an export."""
    state, begun = outcome.state, outcome.state.begun
    parameters = begun.parameters
    moments = outcome.base.changed_since if outcome.base is not None else {}
    return Manifest(
        manifest=FORMAT,
        package=f"futureagi-async {__version__}",
        started_at=begun.at,
        finished_at=finished_at,
        resumed=state.resumed,
        complete=is_complete(outcome.fetch, state),
        records=state.records,
        bytes=sum(part.bytes for part in outcome.parts),
        parameters=parameters,
        sources=[
            _source(report, outcome.ids.counts[place], moments.get(report.source))
            for place, report in enumerate(outcome.fetch)
        ],
        parts=list(outcome.parts),
        ids_sha256=outcome.ids.ids(),
        pairs_sha256=outcome.ids.pairs() or "",
        transcripts=_transcripts(state) if parameters.transcripts else None,
        recordings=list(state.downloads.values()) if parameters.recordings else None,
        recordings_folder=outcome.recordings_folder,
        since=Since(manifest=outcome.base.digest, cannot_see=CANNOT_SEE) if outcome.base else None,
        digest="",
    )


def is_complete(fetch: FetchReport, state: State) -> bool:
    """Whether nothing is left to do."""
    downloaded = all(download.error is None for download in state.downloads.values())
    return fetch.complete and not state.failed and downloaded


def report_on(
    manifest: Manifest, target: Target, fetch: FetchReport, *, already_finished: bool = False
) -> ExportReport:
    """Return what callers are told of an export."""
    transcripts = manifest.transcripts or Transcripts(fetched=0, gone=[], failed=[])
    folder = target.path if target.is_directory else target.path.parent
    return ExportReport(
        path=target.path,
        format=target.format,
        records=manifest.records,
        bytes=manifest.bytes,
        fetch=fetch,
        files=tuple(folder / part.name for part in manifest.parts),
        manifest=target.manifest if target.is_directory else None,
        resumed=manifest.resumed,
        already_finished=already_finished,
        transcripts_fetched=transcripts.fetched,
        transcripts_gone=tuple(transcripts.gone),
        transcript_failures=tuple(map(rebuild, transcripts.failed)),
        recordings=tuple(RecordingFile(**msgspec.structs.asdict(each)) for each in manifest.recordings or ()),
        changed_since=tuple(source.changed_since for source in manifest.sources),
    )


def fetch_report(manifest: Manifest, sources: Sequence[CallSource]) -> FetchReport:
    """Return what a manifest says of its sources, which are given in its order."""
    return FetchReport(
        tuple(
            SourceReport(
                source=source,
                verdict="complete" if entry.verdict == "complete" else "incomplete",
                failures=tuple(map(rebuild, entry.failures)),
                **{name: getattr(entry, name) for name in _COUNTS},
            )
            for source, entry in zip(sources, manifest.sources, strict=True)
        )
    )


_COUNTS = (
    "reason",
    "complete_as_of",
    "expected",
    "received",
    "duplicates",
    "updates",
    "requests",
    "retries",
    "sweeps",
    "gaps_repaired",
    "overlapping_rows",
)


def _source(report: SourceReport, records: int, changed_since: datetime | None) -> Source:
    return Source(
        source=identify(report.source),
        verdict=report.verdict,
        changed_since=changed_since,
        records=records,
        failures=list(map(describe, report.failures)),
        **{name: getattr(report, name) for name in _COUNTS},
    )


def _transcripts(state: State) -> Transcripts:
    return Transcripts(fetched=len(state.details), gone=list(state.gone), failed=list(state.failed.values()))

"""The progress of a running export, and the report of a finished one."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from futureagi_async._version import __version__
from futureagi_async.errors import FutureAGIError
from futureagi_async.export.destinations import Paths
from futureagi_async.export.manifest import (
    CANNOT_SEE,
    FORMAT,
    BaseExport,
    Failure,
    Manifest,
    Part,
    RecordingFile,
    Since,
    Source,
    Transcripts,
)
from futureagi_async.export.targets import Target
from futureagi_async.models import FetchReport, SourceReport
from futureagi_async.models.plain import Plain
from futureagi_async.sources import CallSource

if TYPE_CHECKING:
    from futureagi_async.export.store import Store

Phase: TypeAlias = Literal["reading", "transcripts", "recordings", "writing", "uploading", "merging"]


@attrs.define(frozen=True, kw_only=True)
class ExportProgress:
    """The progress of an export or a sync."""

    phase: Phase
    """``reading`` lists; reading ``transcripts`` that lists do not include; downloading ``recordings``;
    ``writing`` files; ``uploading`` files to a bucket, if that takes longer than writing them; or
    ``merging`` calls into a database."""
    records: int
    """How many records, details or recordings this phase has done, including earlier runs."""
    bytes: int
    """How many bytes this phase has written to the disk, including earlier runs."""
    total: int | None = None
    """How many records, details or recordings this phase has to do; ``None`` (unknown) while reading."""


OnProgress: TypeAlias = Callable[[ExportProgress], None]


@attrs.define(frozen=True, kw_only=True)
class ExportReport(Plain):
    """The result of a finished export."""

    added = ("complete",)

    path: Path | str
    """The file or the directory as a path, or the address of a prefix in a bucket as text."""
    format: str
    records: int
    bytes: int
    """The total size of all files with records."""
    fetch: FetchReport
    """What was read of each source, and whether each source is provably complete."""
    files: tuple[Path | str, ...] = ()
    """The files with records, and for Parquet in a directory also the files with evaluations."""
    manifest: Path | str | None = None
    """The manifest of a directory or a prefix; ``None`` for a single file."""
    resumed: int = 0
    """How many times the export continued after an interruption."""
    already_finished: bool = False
    """Whether nothing was done because the target already held this export."""
    transcripts_fetched: int = 0
    """How many transcripts were added from the details of calls."""
    transcripts_gone: tuple[str, ...] = ()
    """The ids of calls that were deleted before their details could be read. They have no transcript."""
    transcript_failures: tuple[FutureAGIError, ...] = ()
    """Errors of details that could not be read. Run the export again to read them."""
    recordings: tuple[RecordingFile, ...] = ()
    """The result of each download."""
    changed_since: tuple[datetime | None, ...] = ()
    """For each source, the time since which changes were read; ``None`` if the source was read in full."""
    left_out_columns: tuple[str, ...] = ()
    """The columns that are not in the files."""
    redacted_with: str | None = None
    """The id of the key that replaced phone numbers and customers' names; ``None`` without ``redact``."""

    @property
    def complete(self) -> bool:
        """Whether the files provably hold everything that was requested.

        That is: every call of every source (with ``since``, every changed call), and if requested, every
        transcript that the server still has and every recording.
        """
        downloaded = all(recording.error is None for recording in self.recordings)
        return self.fetch.complete and not self.transcript_failures and downloaded


@attrs.define(frozen=True, kw_only=True)
class ExportResult:
    """What an export has read and written."""

    store: "Store"
    fetch: FetchReport
    parts: Sequence[Part]
    base: BaseExport | None
    recordings_folder: str | None
    first_place: int = 0
    """The place of the first source among the sources of all shares."""

    @property
    def places(self) -> list[int]:
        """The place of each source. Equal sources share the place of the first."""
        sources = [report.source for report in self.fetch]
        return [self.first_place + sources.index(source) for source in sources]


def build_manifest(result: ExportResult, finished_at: datetime) -> Manifest:
    """Return the manifest of an export."""
    store, fetch, base = result.store, result.fetch, result.base
    parameters, counts = store.parameters, store.counts
    records = store.records_by_source()
    moments = base.changed_since if base is not None else {}
    ids, pairs = "", ""
    if store.target.is_directory:
        ids, pairs = store.id_digests(result.places)
    return Manifest(
        manifest=FORMAT,
        package=f"futureagi-async {__version__}",
        started_at=store.began_at,
        finished_at=finished_at,
        resumed=counts.resumed,
        complete=is_complete(fetch, store),
        records=counts.records,
        bytes=sum(part.bytes for part in result.parts),
        parameters=parameters,
        sources=[
            source_entry(report, described, records.get(place, 0), moments.get(report.source))
            for place, (report, described) in enumerate(zip(fetch, parameters.sources, strict=True))
        ],
        parts=list(result.parts),
        ids_sha256=ids,
        pairs_sha256=pairs,
        transcripts=store.transcripts() if parameters.transcripts else None,
        recordings=store.recordings() if parameters.recordings else None,
        recordings_folder=result.recordings_folder,
        since=Since(manifest=base.digest, cannot_see=CANNOT_SEE) if base is not None else None,
        digest="",
    )


def is_complete(fetch: FetchReport, store: "Store") -> bool:
    """Whether everything that was requested was read."""
    return fetch.complete and not store.counts.failed_details and not store.counts.failed_recordings


def report_on(
    manifest: Manifest,
    target: Target,
    fetch: FetchReport,
    paths: Paths,
    *,
    already_finished: bool = False,
) -> ExportReport:
    """Return the report of an export."""
    transcripts = manifest.transcripts or Transcripts(fetched=0, gone=[], failed=[])
    return ExportReport(
        path=paths.target,
        format=target.format,
        records=manifest.records,
        bytes=manifest.bytes,
        fetch=fetch,
        files=paths.files,
        manifest=paths.manifest,
        resumed=manifest.resumed,
        already_finished=already_finished,
        transcripts_fetched=transcripts.fetched,
        transcripts_gone=tuple(transcripts.gone),
        transcript_failures=tuple(failure.to_error() for failure in transcripts.failed),
        recordings=tuple(manifest.recordings or ()),
        changed_since=tuple(source.changed_since for source in manifest.sources),
        left_out_columns=tuple(manifest.parameters.left_out),
        redacted_with=manifest.parameters.redacted_with,
    )


def fetch_report(manifest: Manifest, sources: Sequence[CallSource]) -> FetchReport:
    """Return the report of a manifest's sources, which are given in its order."""
    return FetchReport(
        tuple(
            SourceReport(
                source=source,
                verdict="complete" if entry.verdict == "complete" else "incomplete",
                failures=tuple(failure.to_error() for failure in entry.failures),
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
    "misfits",
)


def source_entry(
    report: SourceReport, described: dict[str, Any], records: int, changed_since: datetime | None
) -> Source:
    """Return the entry of a source in the manifest."""
    return Source(
        source=described,
        verdict=report.verdict,
        changed_since=changed_since,
        records=records,
        failures=list(map(Failure.of, report.failures)),
        **{name: getattr(report, name) for name in _COUNTS},
    )

"""From what an export did to its manifest, and from a manifest to the report."""

from collections.abc import Sequence
from datetime import datetime

import attrs
import msgspec

from futureagi_async._version import __version__
from futureagi_async.export import manifest as form
from futureagi_async.export.audio.recordings import RecordingFile
from futureagi_async.export.failures import describe, rebuild
from futureagi_async.export.id_sums import IdSums
from futureagi_async.export.manifest import Manifest, Part
from futureagi_async.export.report import ExportReport
from futureagi_async.export.since import CANNOT_SEE, Base
from futureagi_async.export.staging.parameters import identify
from futureagi_async.export.staging.state import State
from futureagi_async.export.staging.target import Target
from futureagi_async.models import FetchReport, SourceReport
from futureagi_async.sources import CallSource


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
        manifest=form.FORMAT,
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
        since=form.Since(manifest=outcome.base.digest, cannot_see=CANNOT_SEE) if outcome.base else None,
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
    transcripts = manifest.transcripts or form.Transcripts(fetched=0, gone=[], failed=[])
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
    "misfits",
)


def _source(report: SourceReport, records: int, changed_since: datetime | None) -> form.Source:
    return form.Source(
        source=identify(report.source),
        verdict=report.verdict,
        changed_since=changed_since,
        records=records,
        failures=list(map(describe, report.failures)),
        **{name: getattr(report, name) for name in _COUNTS},
    )


def _transcripts(state: State) -> form.Transcripts:
    return form.Transcripts(
        fetched=len(state.details), gone=list(state.gone), failed=list(state.failed.values())
    )

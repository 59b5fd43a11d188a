"""The steps of a sync, in their order, and what remains after an interruption."""

import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import attrs
from anyio.to_thread import run_sync

from futureagi_async._version import __version__
from futureagi_async.errors import ExportError, SyncError
from futureagi_async.export.fetching import CallReader
from futureagi_async.export.files import (
    LOCK,
    check_not_below_file,
    export_errors,
    locked,
    make_directory,
)
from futureagi_async.export.job import ExportRequest, run_export
from futureagi_async.export.manifest import BaseExport, Manifest, read_manifest
from futureagi_async.export.report import ExportProgress, ExportReport, OnProgress
from futureagi_async.export.targets import RESTART, Target
from futureagi_async.options import MAX_PAGE_SIZE, check_count, check_max_outage
from futureagi_async.sources import CallSource
from futureagi_async.sync.decisions import (
    Content,
    SourcePlan,
    SourceState,
    conclude,
    may_mark_deleted,
    plan_digest,
    plan_sync,
    without_moments,
)
from futureagi_async.sync.report import SourceSync, SyncReport
from futureagi_async.sync.staging import Applied, BusyError, Change, Counts, Database
from futureagi_async.sync.targets import SyncTarget

T = TypeVar("T")

BUSY_SECONDS = 60.0
"""How long to wait while another program has the database open."""
_BUSY_PAUSE_SECONDS = 0.5
_APPLIED = "applied"
_PART_ROWS = 25_000  # merged at once: they are held in memory by some engines


@attrs.define(frozen=True, kw_only=True)
class SyncRequest:
    """The arguments of `sync_calls`, and the clock and wait time that tests replace."""

    session: CallReader
    sources: tuple[CallSource, ...]
    target: SyncTarget
    content: Content
    full_every: timedelta | None
    page_size: int
    max_outage: float
    on_progress: OnProgress | None
    now: Callable[[], datetime]
    busy_seconds: float = BUSY_SECONDS


def check_request(request: SyncRequest) -> None:
    """Raise `ValueError` or `TypeError` for wrong arguments."""
    if not request.sources:
        raise ValueError("sources is empty: pass at least one list.")
    if request.full_every is not None and not isinstance(request.full_every, timedelta):
        raise TypeError(f"full_every must be a timedelta or None, not {type(request.full_every).__name__}.")
    if request.full_every is not None and request.full_every < timedelta(0):
        raise ValueError(f"full_every must not be negative, but is {request.full_every}.")
    check_count("page_size", request.page_size, at_most=MAX_PAGE_SIZE)
    check_max_outage(request.max_outage)
    if request.on_progress is not None and not callable(request.on_progress):
        raise TypeError(f"on_progress must be callable, not {type(request.on_progress).__name__}.")


def open_database(target: SyncTarget) -> Database:
    """Return the database. Raises `SyncError` if a library is missing."""
    if target.kind == "duckdb":
        from futureagi_async.sync import duckdb

        duckdb.check_installed()
        return duckdb.DuckDBDatabase(target.path, target.work)
    from futureagi_async.sync import delta

    delta.check_installed()
    return delta.DeltaDatabase(target.location, target.work)


async def run_sync_job(request: SyncRequest) -> SyncReport:
    """Run the sync. If it is interrupted, the data that was read stays for the next run."""
    check_request(request)
    database = open_database(request.target)
    try:
        await run_sync(_prepare, request.target)
        shown = request.target.path if request.target.kind == "duckdb" else None
        with locked(database.work, str(request.target), "sync", shown=shown):
            return await _Job(request, database).run()
    except ExportError as error:
        raise SyncError(str(error)) from error
    except BusyError as error:
        raise SyncError(
            f"{request.target} is in use: {error}. Close the other program, and run the sync again; "
            "the data that was read is kept."
        ) from error


def _prepare(target: SyncTarget) -> None:
    """Create the parent of the working directory."""
    if not target.is_remote:
        check_not_below_file(target.path)
    if target.kind == "duckdb":
        if not target.path.parent.exists():
            raise SyncError(f"Can't write {target.path}: there is no directory {target.path.parent}.")
        return
    make_directory(target.work.parent, parents=True)


@attrs.define
class _Job:
    """One run. The database is locked against other runs."""

    request: SyncRequest
    database: Database

    async def run(self) -> SyncReport:
        """Sync. If an earlier run had read everything, apply that first, and then read the newer changes."""
        recovered = None
        while True:
            report, was_read = await self._sync()
            if report is not None and not was_read:
                return attrs.evolve(report, recovered=recovered)
            recovered = report

    async def _sync(self) -> tuple[SyncReport | None, bool]:
        """Read and apply once. Return the report, and whether an earlier run had read everything.

        The report is ``None`` if that earlier run had applied it, too.
        """
        request, database = self.request, self.database
        state = await self._when_free(database.read_state)
        now = request.now()
        states = without_moments(state.sources) if state.lacks_columns else state.sources
        plans = plan_sync(request.sources, states, request.content, now=now, full_every=request.full_every)
        digest = plan_digest(plans, request.content, request.page_size)
        folder = database.work / f"reading-{digest[:16]}"
        await run_sync(_remove_others, database.work, folder)
        read = await self._read(plans, folder, digest)
        manifest = await run_sync(_manifest_of, read)
        if manifest.digest == state.digest:
            await run_sync(_remove, folder)
            return None, True
        self._tell_merging(0, read.records)
        lacking = await run_sync(_sources_lacking_details, read, manifest)
        concluded = [
            conclude(plan, source, request.content, now=now, lacks_details=place in lacking)
            for place, (plan, source) in enumerate(zip(plans, read.fetch, strict=True))
        ]
        named = {plan.source for plan in plans}
        others = [attrs.evolve(each, named=False) for each in states if each.source not in named]
        change = Change(
            report=read,
            source_ids=[plan.source_id for plan in plans],
            listed_in_full=[
                plan.source_id
                for plan, source in zip(plans, read.fetch, strict=True)
                if may_mark_deleted(plan, source)
            ],
            states=[*concluded, *others],
            number=state.number + 1,
            started_at=now,
            package=f"futureagi-async {__version__}",
            digest=manifest.digest,
            complete=read.complete,
        )
        applied = await self._when_free(partial(database.apply, change))
        await run_sync(_remove, folder)
        self._tell_merging(read.records, read.records)
        return self._report(change, plans, concluded, applied), read.already_finished

    async def _read(self, plans: Sequence[SourcePlan], folder: Path, digest: str) -> ExportReport:
        """Read what was planned into files, resuming an interrupted run."""
        began_before = await run_sync(folder.exists)
        request = self._export_request(plans, folder, digest)
        try:
            return await run_export(request)
        except ExportError as error:
            options_differ = isinstance(error.__cause__, ValueError) or RESTART in str(error)
            if not (began_before and options_differ):
                raise
        return await run_export(attrs.evolve(request, resume=False))

    def _export_request(self, plans: Sequence[SourcePlan], folder: Path, digest: str) -> ExportRequest:
        request = self.request
        since = {plan.source: plan.since for plan in plans if plan.since is not None}
        return ExportRequest(
            session=request.session,
            sources=request.sources,
            target=Target(folder, "parquet", is_directory=True),
            transcripts=request.content.transcripts,
            resume=True,
            overwrite=True,  # the folder is this sync's own
            ordered=False,
            normalised=False,
            part_rows=_PART_ROWS,
            page_size=request.page_size,
            include_provider_data=request.content.provider_data,
            since=BaseExport(digest, since) if since else None,
            recordings=None,
            allow_private_hosts=False,
            max_outage=request.max_outage,
            on_progress=request.on_progress,
        )

    def _report(
        self,
        change: Change,
        plans: Sequence[SourcePlan],
        concluded: Sequence[SourceState],
        applied: Applied,
    ) -> SyncReport:
        read = change.report
        return SyncReport(
            database=str(self.request.target),
            number=change.number,
            started_at=change.started_at,
            finished_at=applied.finished_at,
            sources=tuple(
                SourceSync(
                    source=plan.source,
                    source_id=plan.source_id,
                    mode=plan.mode,
                    why=plan.why,
                    changed_since=plan.since,
                    read=source,
                    complete_as_of=after.complete_as_of,
                    **attrs.asdict(applied.counts.get(plan.source_id, Counts())),
                )
                for plan, source, after in zip(plans, read.fetch, concluded, strict=True)
            ),
            no_longer_named=tuple(each.source for each in change.states if not each.named),
            evaluations=applied.evaluations,
            resumed=read.resumed,
            transcripts_fetched=read.transcripts_fetched,
            transcripts_gone=read.transcripts_gone,
            transcript_failures=read.transcript_failures,
        )

    async def _when_free(self, do: Callable[[], T]) -> T:
        """Do something with the database, as soon as no other program has it open."""
        waits = int(self.request.busy_seconds / _BUSY_PAUSE_SECONDS)
        for _ in range(waits):
            try:
                return await run_sync(do)
            except BusyError:
                await anyio.sleep(_BUSY_PAUSE_SECONDS)
        return await run_sync(do)

    def _tell_merging(self, records: int, total: int) -> None:
        if self.request.on_progress is not None:
            self.request.on_progress(ExportProgress(phase="merging", records=records, bytes=0, total=total))


def _remove_others(work: Path, folder: Path) -> None:
    """Remove the files of runs with another plan."""
    with export_errors(work, "remove"):
        for path in work.iterdir():
            if path.is_dir() and path != folder:
                shutil.rmtree(path)
            elif path.name != LOCK and path != folder:
                path.unlink()


def _remove(folder: Path) -> None:
    """Remove the files of a sync that was applied.

    The folder is renamed first, so that a half-removed folder is never resumed.
    """
    with export_errors(folder, "remove"):
        applied = folder.replace(folder.with_name(_APPLIED))
        shutil.rmtree(applied)


def _manifest_of(read: ExportReport) -> Manifest:
    assert read.manifest is not None
    manifest = read_manifest(Path(read.manifest))
    assert manifest is not None
    return manifest


def _sources_lacking_details(read: ExportReport, manifest: Manifest) -> frozenset[int]:
    """Return the positions of sources with calls whose details could not be read."""
    from pyarrow import parquet

    failed = {failure.id for failure in manifest.transcripts.failed} if manifest.transcripts else set()
    if not failed:
        return frozenset()
    columns = ["source_index", "id", "original_call_execution_id"]
    lacking: set[int] = set()
    for path in (path for path in read.files if Path(path).name.startswith("calls-")):
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=columns):
                for place, *ids in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
                    if not failed.isdisjoint(ids):
                        lacking.add(place)
    return frozenset(lacking)

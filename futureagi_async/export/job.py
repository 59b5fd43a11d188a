"""The job of an export: what is done in which order, and what stays where it is interrupted."""

import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import anyio
import attrs
from anyio.to_thread import run_sync

from futureagi_async.errors import ExportError
from futureagi_async.export.audio import fetch_audio
from futureagi_async.export.batches import StagedRecords
from futureagi_async.export.fetching import DetailReader, Staging, Step, fetch_details
from futureagi_async.export.files import check_replaceable, is_file, locked, make_directory
from futureagi_async.export.finishing import Finish
from futureagi_async.export.formats import check_installed
from futureagi_async.export.manifest import (
    Base,
    Manifest,
    Parameters,
    encode_manifest,
    identify,
    read_base,
    read_manifest,
)
from futureagi_async.export.report import (
    ExportProgress,
    ExportReport,
    OnProgress,
    Outcome,
    Phase,
    fetch_report,
    is_complete,
    report_on,
    sum_up,
)
from futureagi_async.export.store import RESTART, Workspace
from futureagi_async.export.targets import PART_NAME, Target, read_target
from futureagi_async.models import CallExecution, FetchReport
from futureagi_async.sources import CallSource


class StepStream(Protocol):
    """The part of `futureagi_async.CallStream` that an export uses."""

    @property
    def report(self) -> FetchReport:
        """What was read."""
        ...

    def steps(self) -> AsyncIterator[Step]:
        """Yield every page with what is new of it."""
        ...

    def restore(self, raw: bytes, index: int) -> CallExecution:
        """Decode a record again."""
        ...


class CallReader(DetailReader, Protocol):
    """The part of `futureagi_async.Session` that an export uses."""

    def stream_calls(
        self,
        sources: Iterable[CallSource] | CallSource,
        *,
        page_size: int,
        on_error: Literal["collect"],
        resume: Iterable[bytes],
        changed_since: Mapping[CallSource, datetime] | None,
        max_outage: float,
    ) -> AbstractAsyncContextManager[StepStream]:
        """Open a stream over the calls of all sources."""
        ...


@attrs.define(frozen=True, kw_only=True)
class Order:
    """A checked order for an export."""

    session: CallReader
    sources: tuple[CallSource, ...]
    target: Target
    parameters: Parameters
    resume: bool
    base: Base | None
    recordings: Path | None
    allow_private_hosts: bool
    max_outage: float
    on_progress: OnProgress | None


async def run_export(order: Order) -> ExportReport:
    """Do what was ordered; where that is interrupted, what was read stays for the next run."""
    target = order.target
    made = await run_sync(_prepare, target)
    try:
        with locked(target.work, target.path):
            workspace = Workspace(target, order.parameters)
            finished = await run_sync(_find_finished, workspace, order)
            if finished is not None:
                fetch = fetch_report(finished, order.sources)
                return report_on(finished, target, fetch, already_finished=True)
            try:
                await run_sync(partial(workspace.open, datetime.now(UTC), resume=order.resume))
                return await _run_job(order, workspace)
            finally:
                workspace.leave()
    finally:
        if made:
            with suppress(OSError):
                target.path.rmdir()  # nothing came into it


async def _run_job(order: Order, workspace: Workspace) -> ExportReport:
    """Run the job; where the disk ends it, say what to do."""
    try:
        return await _Job(order, workspace).run()
    except ExportError as error:
        if not isinstance(error.__cause__, OSError) or workspace.state.pages == 0:
            raise
        raise ExportError(
            f"{error} What was read is kept: the same export again goes on from there."
        ) from error


class _Job:
    """One run of an export in its workspace."""

    def __init__(self, order: Order, workspace: Workspace) -> None:
        self._order = order
        self._workspace = workspace

    async def run(self) -> ExportReport:
        stream = await self._read()
        if self._order.parameters.transcripts:
            self._tell_transcripts()
            await fetch_details(
                self._order.session,
                self._workspace,
                self._tell_transcripts,
                max_outage=self._order.max_outage,
            )
        with StagedRecords(self._workspace, stream.restore, self._order.sources) as staged:
            if self._order.recordings is not None:
                self._tell_recordings()
                await fetch_audio(
                    self._workspace,
                    staged,
                    self._order.recordings,
                    allow_private_hosts=self._order.allow_private_hosts,
                    on_safe=self._tell_recordings,
                )
            return await self._finish(staged, stream.report)

    async def _read(self) -> StepStream:
        """Read all lists, from where an earlier run was interrupted."""
        marks = self._workspace.marks() if self._workspace.state.pages else ()
        async with AsyncExitStack() as stack:
            try:
                stream = await stack.enter_async_context(self._open_stream(marks))
            except ValueError as error:
                if not marks:
                    raise
                raise ExportError(
                    f"Can't go on with the export in {self._order.target.path}: {error} Use the session's "
                    f"former options, or begin anew with {RESTART}."
                ) from error
            if marks:
                self._tell_reading()
            await Staging(self._workspace, self._tell_reading).take_all(stream.steps())
        failures = [failure for source in stream.report for failure in source.failures]
        if failures and self._workspace.state.pages == 0:
            raise failures[0]  # not one list could even be begun: there is nothing to keep
        return stream

    def _open_stream(self, marks: Iterable[bytes]) -> AbstractAsyncContextManager[StepStream]:
        order = self._order
        return order.session.stream_calls(
            order.sources,
            page_size=order.parameters.page_size,
            on_error="collect",
            resume=marks,
            changed_since=order.base.changed_since if order.base is not None else None,
            max_outage=order.max_outage,
        )

    async def _finish(self, staged: StagedRecords, fetch: FetchReport) -> ExportReport:
        """Write the files, and give them their names."""
        workspace, order = self._workspace, self._order
        last = is_complete(fetch, workspace.state)
        finish = Finish(workspace, staged, last=last)
        with closing(finish.ids):
            with closing(finish.write()) as steps:
                while (written := await run_sync(next, steps, None)) is not None:
                    self._tell("writing", written, finish.size, workspace.state.records)
            manifest = await run_sync(self._sum_up, finish, fetch)
        with anyio.CancelScope(shield=True):  # files get their names: too late to be cancelled
            await run_sync(finish.place, encode_manifest(manifest) if order.target.is_directory else None)
            if last:
                await run_sync(workspace.remove)
        self._tell("writing", manifest.records, manifest.bytes, manifest.records)
        return report_on(manifest, order.target, fetch)

    def _sum_up(self, finish: Finish, fetch: FetchReport) -> Manifest:
        outcome = Outcome(
            state=self._workspace.state,
            fetch=fetch,
            parts=finish.parts,
            ids=finish.ids,
            base=self._order.base,
            recordings_folder=_inside(self._order.target, self._order.recordings),
        )
        return sum_up(outcome, datetime.now(UTC))

    def _tell_reading(self) -> None:
        self._tell("reading", self._workspace.state.records, self._workspace.state.bytes)

    def _tell_transcripts(self) -> None:
        state = self._workspace.state
        done = len(state.details) + len(state.gone) + len(state.failed)
        self._tell("transcripts", done, state.details_bytes, len(state.wanted))

    def _tell_recordings(self) -> None:
        state = self._workspace.state
        self._tell("recordings", len(state.downloads), state.downloaded_bytes)

    def _tell(self, phase: Phase, records: int, size: int, total: int | None = None) -> None:
        if self._order.on_progress is not None:
            self._order.on_progress(ExportProgress(phase=phase, records=records, bytes=size, total=total))


def _prepare(target: Target) -> bool:
    """Make room for the working directory; whether the target's own directory was made for it."""
    if not target.is_directory:
        check_replaceable(target.path)
        return False
    made = not target.path.exists()
    make_directory(target.path, parents=True)
    return made


def _find_finished(workspace: Workspace, order: Order) -> Manifest | None:
    """Return the manifest of this very export, if it is finished; refuse what belongs to something else."""
    target = workspace.target
    if not target.is_directory or (order.resume and workspace.journal_path.exists()):
        return None
    manifest = read_manifest(target.manifest)
    if manifest is None:
        _check_no_parts(target)
        return None
    if not (order.resume and manifest.complete):
        return None
    if different := order.parameters.differences(manifest.parameters):
        raise ExportError(
            f"{target.path} holds a finished export with other parameters: {'; '.join(different)}. "
            f"Choose another directory, or replace it with {RESTART}."
        )
    for part in manifest.parts:
        path = target.path / part.name
        if not PART_NAME.fullmatch(part.name) or not is_file(path) or path.stat().st_size != part.bytes:
            raise ExportError(
                f"{path} is not as the export left it. Look with verify_export, or begin anew with {RESTART}."
            )
    return manifest


def _check_no_parts(target: Target) -> None:
    """Refuse to write over files that no export here is known to have written."""
    for path in sorted(target.path.iterdir()):
        if PART_NAME.fullmatch(path.name):
            raise ExportError(
                f"{path} is there already, but no manifest. Choose another directory, or remove such files."
            )


def _inside(target: Target, recordings: Path | None) -> str | None:
    """Return the name of the folder of recordings, where it is in the export's directory."""
    if recordings is None or recordings.resolve().parent != target.path.resolve():
        return None
    return recordings.name


MOST_ROWS = 1_000_000
"""The largest page to ask for."""


async def make_order(
    session: CallReader,
    sources: Iterable[CallSource] | CallSource,
    target: str | os.PathLike[str],
    *,
    format_: str | None,
    transcripts: bool,
    resume: bool,
    ordered: bool,
    normalised: bool,
    part_rows: int,
    page_size: int,
    include_provider_data: bool,
    since: str | os.PathLike[str] | None,
    recordings: str | os.PathLike[str] | None,
    allow_private_hosts: bool,
    on_progress: OnProgress | None,
) -> Order:
    """Return what is to be done, or raise `ValueError`, `TypeError` or `ExportError`."""
    checked = check_sources(sources)
    place = read_target(target, format_)
    check_count("part_rows", part_rows)
    check_count("page_size", page_size, at_most=MOST_ROWS)
    _check_fits(place, normalised=normalised, recordings=recordings)
    base = await run_sync(read_base, Path(since), checked) if since is not None else None
    parameters = Parameters(
        layout="directory" if place.is_directory else "file",
        format=place.format,
        compression=place.compression,
        normalised=normalised,
        ordered=ordered,
        page_size=page_size,
        part_rows=part_rows if place.is_directory else None,
        include_provider_data=include_provider_data,
        transcripts=transcripts,
        recordings=recordings is not None,
        since=base.digest if base is not None else None,
        sources=list(map(identify, checked)),
    )
    return Order(
        session=session,
        sources=checked,
        target=place,
        parameters=parameters,
        resume=resume,
        base=base,
        recordings=Path(recordings) if recordings is not None else None,
        allow_private_hosts=allow_private_hosts,
        on_progress=on_progress,
    )


def check_sources(sources: Iterable[CallSource] | CallSource) -> tuple[CallSource, ...]:
    """Return the sources as a tuple, or raise `TypeError`."""
    if isinstance(sources, CallSource):
        return (sources,)
    given = tuple(sources) if isinstance(sources, Iterable) else (sources,)
    for source in given:
        if not isinstance(source, CallSource):
            raise TypeError(
                "sources must be a list of RunTestCalls, AgentVersionCalls or TestExecutionCalls, "
                f"not of {type(source).__name__}."
            )
    return given


def check_count(name: str, value: object, *, at_most: int | None = None) -> None:
    """Raise `TypeError` or `ValueError` unless a value is an int in range."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}.")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}.")
    if at_most is not None and value > at_most:
        raise ValueError(f"{name} must be at most {at_most:,}, not {value}.")


def _check_fits(target: Target, *, normalised: bool, recordings: str | os.PathLike[str] | None) -> None:
    if normalised and target.format != "jsonl":
        raise ValueError(
            f"normalised is for format 'jsonl': {target.format!r} always has our names and units."
        )
    if recordings is not None and not os.fspath(recordings):
        raise ValueError("recordings must be a directory, not ''.")
    check_installed(target.format, target.compression)

"""The job of an export: what is done in which order, and what stays where it is interrupted."""

import sqlite3
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs
from anyio.to_thread import run_sync

from futureagi_async.errors import ExportError
from futureagi_async.export.audio import fetch_audio
from futureagi_async.export.batches import RecordReader
from futureagi_async.export.fetching import CallReader, StepStream, fetch_details, store_pages
from futureagi_async.export.files import check_directory, locked
from futureagi_async.export.formats import check_installed
from futureagi_async.export.formats.projection import WHOLE, Projection
from futureagi_async.export.formats.schema import SOURCE
from futureagi_async.export.manifest import (
    BaseExport,
    Manifest,
    Parameters,
    encode_manifest,
    find_manifest,
    read_base,
)
from futureagi_async.export.ownership import check_contents, find_finished
from futureagi_async.export.partitions import PARTITIONS
from futureagi_async.export.parts import PartsWriter
from futureagi_async.export.publish import prepare_target, publish
from futureagi_async.export.redaction import Redactor
from futureagi_async.export.report import (
    ExportProgress,
    ExportReport,
    ExportResult,
    OnProgress,
    Phase,
    build_manifest,
    fetch_report,
    is_complete,
    report_on,
)
from futureagi_async.export.store import Store
from futureagi_async.export.targets import KEPT, RESTART, Target, folder_in_target
from futureagi_async.models import FetchReport
from futureagi_async.options import MAX_PAGE_SIZE, brief, check_count, check_max_outage
from futureagi_async.sources import CallSource


@attrs.define(frozen=True, kw_only=True)
class ExportRequest:
    """The arguments of `export_calls`."""

    session: CallReader
    sources: tuple[CallSource, ...]
    target: Target
    transcripts: bool
    resume: bool
    overwrite: bool
    ordered: bool
    normalised: bool
    projection: Projection = WHOLE
    redactor: Redactor | None = None
    partition: str | None = None
    part_rows: int
    page_size: int
    include_provider_data: bool
    since: Path | BaseExport | None
    recordings: Path | None
    allow_private_hosts: bool
    max_outage: float
    on_progress: OnProgress | None

    def parameters(self, base: BaseExport | None) -> Parameters:
        """Return what decides the content of the export."""
        return Parameters(
            layout="directory" if self.target.is_directory else "file",
            format=self.target.format,
            compression=self.target.compression,
            normalised=self.normalised,
            ordered=self.ordered,
            page_size=self.page_size,
            part_rows=self.part_rows if self.target.is_directory else None,
            include_provider_data=self.include_provider_data,
            transcripts=self.transcripts,
            recordings=self.recordings is not None,
            since=base.digest if base is not None else None,
            sources=list(map(self.describe, self.sources)),
            left_out=list(self.projection.left_out),
            redacted_with=self.redactor.key_id if self.redactor is not None else None,
            partition=self.partition,
        )

    def describe(self, source: CallSource) -> dict[str, Any]:
        """Return what a list is read by, as the manifest tells it."""
        described = source.to_dict()
        return described if self.redactor is None else self.redactor.redact_source(described)


def check_request(request: ExportRequest) -> None:
    """Raise `ValueError`, `TypeError` or `ExportError` where something can't be done as requested."""
    check_count("part_rows", request.part_rows)
    check_count("page_size", request.page_size, at_most=MAX_PAGE_SIZE)
    check_max_outage(request.max_outage)
    if request.normalised and request.target.format != "jsonl":
        raise ValueError(
            f"normalised is for format 'jsonl': {request.target.format!r} always has our names and units."
        )
    _check_columns(request)
    if request.partition is not None:
        _check_partition(request)
    check_installed(request.target.format, request.target.compression)


def _check_columns(request: ExportRequest) -> None:
    """Refuse what can't be done to lines as sent, and what would bring back what is left out."""
    chosen = {
        "columns and drop need": bool(request.projection.left_out),
        "redact needs": request.redactor is not None,
    }
    for needing in (words for words, is_asked in chosen.items() if is_asked):
        if request.target.format == "jsonl" and not request.normalised:
            raise ValueError(
                f"{needing} normalised=True: JSON Lines as sent have all that the server sends, as it does."
            )
    if request.include_provider_data and request.projection.left_out:
        raise ValueError(
            "include_provider_data excludes columns and drop: what the voice provider knows of a call "
            "repeats what is in other columns."
        )


def _check_partition(request: ExportRequest) -> None:
    """Refuse folders where there are none, and folders that tell what is to be left out."""
    if request.partition not in PARTITIONS:
        known = " or ".join(map(repr, PARTITIONS))
        raise ValueError(f"partition must be {known}, not {brief(request.partition)}.")
    if not request.target.is_directory:
        raise ValueError("partition needs a directory: a single file lies in no folders.")
    told = ("timestamp",) if request.partition == "date" else tuple(SOURCE)[1:]
    if dropped := [name for name in told if name in request.projection.dropped]:
        raise ValueError(
            f"partition {request.partition!r} tells {dropped[0]!r} by the names of folders, and drop leaves "
            "it out: choose one of them."
        )


async def run_export(request: ExportRequest) -> ExportReport:
    """Do what is requested; where that is interrupted, what was read stays for the next run."""
    check_request(request)
    since, target = request.since, request.target
    if isinstance(since, Path):
        base: BaseExport | None = await run_sync(read_base, since, request.sources, request.describe)
    else:
        base = since
    if request.recordings is not None:
        await run_sync(check_directory, request.recordings)
    made = await run_sync(partial(prepare_target, target, overwrite=request.overwrite))
    try:
        with locked(target.work, target.path):
            return await _run_locked(request, base)
    finally:
        if made:
            with suppress(OSError):
                target.path.rmdir()  # nothing came into it


async def _run_locked(request: ExportRequest, base: BaseExport | None) -> ExportReport:
    store = Store(request.target, request.parameters(base))
    try:
        if (finished := await run_sync(_look_at_target, request, store)) is not None:
            fetch = fetch_report(finished, request.sources)
            path = find_manifest(request.target.path)
            return report_on(finished, request.target, fetch, path=path, already_finished=True)
        await run_sync(partial(store.open, datetime.now(UTC), resume=request.resume))
        return await _Job(request, base, store).run()
    except ExportError as error:
        if not isinstance(error.__cause__, OSError | sqlite3.Error) or not store.counts.pages:
            raise
        raise ExportError(f"{error} {KEPT}") from error
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(store.leave)


def _look_at_target(request: ExportRequest, store: Store) -> Manifest | None:
    """Return the manifest of this very export, if it is finished; refuse what is somebody else's."""
    target, is_unfinished = request.target, store.exists
    if not (request.resume and is_unfinished):
        find = partial(find_finished, resume=request.resume, overwrite=request.overwrite)
        if (finished := find(target, store.parameters)) is not None:
            return finished
    if target.is_directory:
        check_contents(target, is_unfinished=is_unfinished, overwrite=request.overwrite)
    return None


@attrs.define(frozen=True)
class _Job:
    """One run of an export with its store."""

    request: ExportRequest
    base: BaseExport | None
    store: Store

    async def run(self) -> ExportReport:
        request, store = self.request, self.store
        stream = await self._read()
        if request.transcripts:
            await fetch_details(request.session, store, self._tell_transcripts, max_outage=request.max_outage)
        if request.recordings is not None:
            self._tell_recordings()
            with RecordReader(store, stream.restore, request.sources) as reader:
                await fetch_audio(
                    store,
                    reader,
                    request.recordings,
                    allow_private_hosts=request.allow_private_hosts,
                    on_safe=self._tell_recordings,
                )
        with RecordReader(store, stream.restore, request.sources, request.redactor) as reader:
            return await self._finish(reader, stream.report)

    async def _read(self) -> StepStream:
        """Read all lists, from where an earlier run was interrupted."""
        checkpoints = self.store.checkpoints()
        async with AsyncExitStack() as stack:
            try:
                stream = await stack.enter_async_context(self._open_stream(checkpoints))
            except ValueError as error:
                if not checkpoints:
                    raise
                raise ExportError(
                    f"Can't go on with the export in {self.request.target.path}: {error} Use the session's "
                    f"former options, or begin anew with {RESTART}."
                ) from error
            if checkpoints:
                self._tell_reading()
            await store_pages(stream.steps(), self.store, self._tell_reading)
        failures = [failure for source in stream.report for failure in source.failures]
        if failures and not self.store.counts.pages:
            raise failures[0]  # not one list could even be begun: there is nothing to keep
        return stream

    def _open_stream(self, checkpoints: Iterable[bytes]) -> AbstractAsyncContextManager[StepStream]:
        return self.request.session.stream_calls(
            self.request.sources,
            page_size=self.request.page_size,
            on_error="collect",
            resume=checkpoints,
            changed_since=self.base.changed_since if self.base is not None else None,
            max_outage=self.request.max_outage,
        )

    async def _finish(self, reader: RecordReader, fetch: FetchReport) -> ExportReport:
        """Write the files, and give them their names."""
        target, store = self.request.target, self.store
        last = is_complete(fetch, store)
        writer = PartsWriter(store, reader, last=last)
        with closing(writer.run()) as steps:
            while (written := await run_sync(next, steps, None)) is not None:
                self._tell("writing", written, writer.size, store.counts.records)
        manifest = await run_sync(self._describe, writer, fetch)
        text = encode_manifest(manifest) if target.is_directory else None
        with anyio.CancelScope(shield=True):  # files get their names: too late to be cancelled
            give_names = partial(publish, overwrite=self.request.overwrite)
            await run_sync(give_names, target, writer.files(), text, store.note_replaced)
            if last:
                await run_sync(store.remove)
        self._tell("writing", manifest.records, manifest.bytes, manifest.records)
        return report_on(manifest, target, fetch, path=target.manifest if target.is_directory else None)

    def _describe(self, writer: PartsWriter, fetch: FetchReport) -> Manifest:
        result = ExportResult(
            store=self.store,
            fetch=fetch,
            parts=writer.parts,
            base=self.base,
            recordings_folder=folder_in_target(self.request.target, self.request.recordings),
        )
        return build_manifest(result, datetime.now(UTC))

    def _tell_reading(self) -> None:
        self._tell("reading", self.store.counts.records, self.store.counts.bytes)

    def _tell_transcripts(self) -> None:
        counts = self.store.counts
        self._tell("transcripts", counts.details, counts.details_bytes, counts.wanted_details)

    def _tell_recordings(self) -> None:
        counts = self.store.counts
        self._tell("recordings", counts.recordings, counts.recordings_bytes)

    def _tell(self, phase: Phase, records: int, size: int, total: int | None = None) -> None:
        if self.request.on_progress is not None:
            self.request.on_progress(ExportProgress(phase=phase, records=records, bytes=size, total=total))

"""The steps of an export in their order, and what stays after an interruption."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, closing
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
from futureagi_async.export.buckets import BucketDestination
from futureagi_async.export.destinations import Destination, LocalDestination, Permissions
from futureagi_async.export.fetching import CallReader, StepStream, fetch_details, store_pages
from futureagi_async.export.files import check_directory, locked
from futureagi_async.export.formats import check_installed
from futureagi_async.export.formats.projection import WHOLE, Projection
from futureagi_async.export.formats.schema import SOURCE
from futureagi_async.export.locations import read_base_at
from futureagi_async.export.manifest import BaseExport, Manifest, Parameters, Part
from futureagi_async.export.object_store import Address, check_obstore
from futureagi_async.export.partitions import PARTITIONS
from futureagi_async.export.parts import PartsWriter, full_part_files
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
from futureagi_async.export.targets import (
    KEPT,
    RESTART,
    BucketTarget,
    Target,
    check_recordings,
    folder_in_target,
)
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
    since: Path | Address | BaseExport | None
    recordings: Path | Address | None
    allow_private_hosts: bool
    max_outage: float
    on_progress: OnProgress | None
    first_place: int = 0
    """The place of the first source, if this is a share of an export."""
    pairs: Path | None = None
    """A file for the sorted pairs of a source's place and an id. The commit of a share needs it."""

    def parameters(self, base: BaseExport | None) -> Parameters:
        """Return the parameters that determine the content of the export."""
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
        """Return the description of a list for the manifest."""
        described = source.to_dict()
        return described if self.redactor is None else self.redactor.redact_source(described)


def check_request(request: ExportRequest) -> None:
    """Raise `ValueError`, `TypeError` or `ExportError` if the request can't be fulfilled."""
    check_count("part_rows", request.part_rows)
    check_count("page_size", request.page_size, at_most=MAX_PAGE_SIZE)
    check_max_outage(request.max_outage)
    if request.normalised and request.target.format != "jsonl":
        raise ValueError(
            f"normalised is for format 'jsonl'. Leave it out: {request.target.format!r} is always normalised."
        )
    _check_columns(request)
    if request.partition is not None:
        _check_partition(request)
    check_recordings(request.target, request.recordings)
    check_installed(request.target.format, request.target.compression)
    if isinstance(request.target, BucketTarget) or isinstance(request.since, Address):
        check_obstore()


def _check_columns(request: ExportRequest) -> None:
    """Refuse options that lines as sent don't support, and options that would add left-out data again."""
    chosen = {
        "columns and drop need": bool(request.projection.left_out),
        "redact needs": request.redactor is not None,
    }
    for needing in (words for words, is_asked in chosen.items() if is_asked):
        if request.target.format == "jsonl" and not request.normalised:
            raise ValueError(
                f"{needing} normalised=True: without it, JSON Lines have every value as the server sent it."
            )
    if request.include_provider_data and request.projection.left_out:
        raise ValueError(
            "include_provider_data can't be used with columns or drop: the data of the voice provider "
            "repeats values of other columns."
        )


def _check_partition(request: ExportRequest) -> None:
    """Refuse folders for a single file, and folders whose names would show left-out columns."""
    if request.partition not in PARTITIONS:
        known = " or ".join(map(repr, PARTITIONS))
        raise ValueError(f"partition must be {known}, not {brief(request.partition)}.")
    if not request.target.is_directory:
        raise ValueError("partition needs a directory as the target: a single file has no folders.")
    told = ("timestamp",) if request.partition == "date" else tuple(SOURCE)[1:]
    if dropped := [name for name in told if name in request.projection.dropped]:
        raise ValueError(
            f"partition {request.partition!r} can't be used with drop {dropped[0]!r}: the names of the "
            "folders would show it. Leave one out."
        )


async def run_export(request: ExportRequest) -> ExportReport:
    """Run the export. If it is interrupted, the data that was read stays for the next run."""
    check_request(request)
    since, target = request.since, request.target
    base = (
        await run_sync(read_base_at, since, request.sources, request.describe)
        if isinstance(since, Path | Address)
        else since
    )
    if isinstance(request.recordings, Path):
        await run_sync(check_directory, request.recordings)
    permissions = Permissions(request.resume, request.overwrite)
    destination = open_destination(target, permissions, request.recordings)
    await destination.prepare()
    try:
        with locked(
            target.work, str(target), shown=None if isinstance(target, BucketTarget) else target.path
        ):
            return await _run_locked(request, base, destination)
    finally:
        with anyio.CancelScope(shield=True):
            await destination.leave()


def open_destination(
    target: Target, permissions: Permissions, recordings: Path | Address | None = None
) -> Destination:
    """Return the destination for a target."""
    if not isinstance(target, BucketTarget):
        return LocalDestination(target, permissions)
    folder = folder_in_target(target, recordings) if isinstance(recordings, Address) else None
    return BucketDestination(target, permissions, folder)


def _download_folder(request: ExportRequest) -> Path | None:
    """Return the local folder for downloads of recordings."""
    if isinstance(request.recordings, Address):
        assert isinstance(request.target, BucketTarget)  # `check_recordings` has checked this
        return request.target.downloads
    return request.recordings


async def _run_locked(
    request: ExportRequest, base: BaseExport | None, destination: Destination
) -> ExportReport:
    store = Store(request.target, request.parameters(base))
    try:
        if (finished := await destination.find_finished(store)) is not None:
            fetch = fetch_report(finished, request.sources)
            paths = destination.report_paths(finished)
            return report_on(finished, request.target, fetch, paths, already_finished=True)
        await run_sync(partial(store.open, datetime.now(UTC), resume=request.resume))
        await destination.begin()
        async with destination.receiving():
            return await _Job(request, base, store, destination).run()
    except ExportError as error:
        if not isinstance(error.__cause__, OSError | sqlite3.Error) or not store.counts.pages:
            raise
        raise ExportError(f"{error} {KEPT}") from error
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(store.leave)
            await destination.close(store)


@attrs.define
class _Job:
    """One run of an export, with its store."""

    request: ExportRequest
    base: BaseExport | None
    store: Store
    destination: Destination
    received_early: int = 0
    """The number of part files that were handed over before everything was read."""

    async def run(self) -> ExportReport:
        request, store = self.request, self.store
        stream = await self._read()
        if request.transcripts:
            await fetch_details(request.session, store, self._tell_transcripts, max_outage=request.max_outage)
        if (folder := _download_folder(request)) is not None:
            self._tell_recordings()
            with RecordReader(store, stream.restore, request.sources) as reader:
                await fetch_audio(
                    store,
                    reader,
                    folder,
                    receive=self.destination.receive_recording,
                    allow_private_hosts=request.allow_private_hosts,
                    on_safe=self._tell_recordings,
                )
        with RecordReader(store, stream.restore, request.sources, request.redactor) as reader:
            return await self._finish(reader, stream.report)

    async def _read(self) -> StepStream:
        """Read all lists, continuing after an interruption."""
        checkpoints = self.store.checkpoints()
        async with AsyncExitStack() as stack:
            try:
                stream = await stack.enter_async_context(self._open_stream(checkpoints))
            except ValueError as error:
                if not checkpoints:
                    raise
                raise ExportError(
                    f"Can't continue the export in {self.request.target}: {error} Use the earlier options of "
                    f"the session, or start again with {RESTART}."
                ) from error
            if checkpoints:
                self._tell_reading()
            await store_pages(stream.steps(), self.store, self._note_page)
        failures = [failure for source in stream.report for failure in source.failures]
        if failures and not self.store.counts.pages:
            raise failures[0]  # no list could be started: there is nothing to keep
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
        """Write the files, and give them their final names."""
        store, destination = self.store, self.destination
        last = is_complete(fetch, store)
        writer = PartsWriter(store, reader, last=last, first_place=self.request.first_place)
        parts: list[Part] = []
        with closing(writer.run()) as steps:
            while (written := await run_sync(next, steps, None)) is not None:
                parts += self._receive(writer, len(parts))
                self._tell("writing", written, writer.size, store.counts.records)
        parts += self._receive(writer, len(parts))
        await destination.settle(self._tell_uploads)
        manifest = await run_sync(self._describe, parts, fetch)
        with anyio.CancelScope(shield=True):  # files get their names: from here on it can't be cancelled
            await destination.publish(manifest, store)
            if last:
                await run_sync(store.remove)
        self._tell("writing", manifest.records, manifest.bytes, manifest.records)
        return report_on(manifest, self.request.target, fetch, destination.report_paths(manifest))

    def _receive(self, writer: PartsWriter, already: int) -> list[Part]:
        """Hand over the parts that were finished since the last call."""
        files = zip(writer.files()[already:], writer.parts[already:], strict=True)
        return [self.destination.receive(path, part) for (path, _), part in files]

    def _describe(self, parts: Sequence[Part], fetch: FetchReport) -> Manifest:
        result = ExportResult(
            store=self.store,
            fetch=fetch,
            parts=parts,
            base=self.base,
            recordings_folder=folder_in_target(self.request.target, self.request.recordings),
            first_place=self.request.first_place,
        )
        if self.request.pairs is not None:
            self.store.write_pairs(self.request.pairs, result.places)
        return build_manifest(result, datetime.now(UTC))

    def _note_page(self) -> None:
        """Report a page that is on the disk, and hand over the part files that it filled."""
        self._tell_reading()
        for path, part in full_part_files(self.store, self.received_early):
            self.destination.receive_early(path, part)
            self.received_early += 1

    def _tell_reading(self) -> None:
        self._tell("reading", self.store.counts.records, self.store.counts.bytes)

    def _tell_transcripts(self) -> None:
        counts = self.store.counts
        self._tell("transcripts", counts.details, counts.details_bytes, counts.wanted_details)

    def _tell_recordings(self) -> None:
        counts = self.store.counts
        self._tell("recordings", counts.recordings, counts.recordings_bytes)

    def _tell_uploads(self, records: int, size: int) -> None:
        if isinstance(self.request.target, BucketTarget):
            self._tell("uploading", records, size, self.store.counts.records)

    def _tell(self, phase: Phase, records: int, size: int, total: int | None = None) -> None:
        if self.request.on_progress is not None:
            self.request.on_progress(ExportProgress(phase=phase, records=records, bytes=size, total=total))

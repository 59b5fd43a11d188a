"""Makes one export of many shares: `commit_shares`. It checks part files and moves them to the target."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

import anyio
import attrs
import msgspec
from anyio.to_thread import run_sync

from futureagi_async._version import __version__
from futureagi_async.errors import ExportError
from futureagi_async.export.buckets import BucketDestination
from futureagi_async.export.destinations import Destination, Permissions
from futureagi_async.export.files import digest_file, locked
from futureagi_async.export.manifest import (
    CANNOT_SEE,
    FORMAT,
    Manifest,
    Parameters,
    Part,
    Since,
    Source,
    Transcripts,
)
from futureagi_async.export.object_store import Address
from futureagi_async.export.report import (
    ExportProgress,
    ExportReport,
    OnProgress,
    Phase,
    fetch_report,
    report_on,
    source_entry,
)
from futureagi_async.export.shares import (
    ATTEMPT_NAME,
    PLAN,
    Receipt,
    Share,
    ShareReceipt,
    check_plan,
    for_sources,
    read_receipt,
    text_of_plan,
)
from futureagi_async.export.staging import ATTEMPTS, PAIRS, RECEIPTS, LocalStaging, Staging, open_staging
from futureagi_async.export.store import Store
from futureagi_async.export.targets import BucketTarget, Target, read_place, read_target
from futureagi_async.export.verify import IdDigests
from futureagi_async.models import FetchReport, SourceReport
from futureagi_async.options import brief, check_kind, check_wait_seconds
from futureagi_async.sources import CallSource

ORPHANS_AFTER: Final = 86_400.0
_COMMITTED: Final = "committed.json"
_NUMBER: Final = re.compile(r"-([0-9]{5,})(-[0-9a-f]{32})?(?=\.)")
"""The stem of the name of a part file; in buckets, a digest follows."""


async def commit_shares(
    receipts: Iterable[ShareReceipt],
    staging: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    resume: bool = True,
    overwrite: bool = False,
    orphans_after: float = ORPHANS_AFTER,
    work_dir: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Make one export of all shares, and return its report.

    This checks the part files of each share and copies them to the target, then writes the manifest. The
    result is the same as an export of the same sources by `export_calls`. Each share needs a receipt. If the
    attempts at a share failed, pass `Share.failed`: the report then says that its sources are incomplete. If
    the commit is interrupted, make the same call again: it does the rest. The staging stays unchanged, except
    that files of attempts without a valid receipt are removed later.

    Raises `ExportError` if a part file differs from its receipt, if the staging belongs to another plan or
    was committed to another target, or if `export_calls` would refuse the target. Raises `ValueError` and
    `TypeError` for wrong arguments.

    Args:
        receipts: The receipts of all shares of one plan.
        staging: The folder or prefix that the shares were exported to.
        target: A directory, or ``s3://bucket/prefix/``, ``gs://`` or ``az://``.
        resume: Keep a finished export of the same sources and parameters in the target. ``False`` replaces
            it, whatever its parameters are.
        overwrite: Also replace files that no export wrote, as for `export_calls`.
        orphans_after: An attempt without a receipt is removed this many seconds after its last write.
        work_dir: For a target in a bucket, the directory for unfinished work, as for `export_calls`.
        on_progress: Called for each part file that was copied.

    """
    given = _check_receipts(receipts)
    check_wait_seconds("orphans_after", orphans_after, may_be_zero=True)
    place, goal = _read_places(staging, target, given[0].share.parameters.format, work_dir)
    report = await _Commit(given, goal, Permissions(resume, overwrite), on_progress).run(place)
    await run_sync(_remove_orphans, place, orphans_after)
    return report


def check_commit(
    staging: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    format: str = "parquet",  # noqa: A002
) -> None:
    """Check a staging and a target before the export. Raises the errors that `commit_shares` would raise."""
    _read_places(staging, target, format, None)


def _read_places(
    staging: str | os.PathLike[str],
    target: str | os.PathLike[str],
    format_: str,
    work_dir: str | os.PathLike[str] | None,
) -> tuple[Path | Address, Target]:
    goal = read_target(target, format_, work_dir=work_dir)
    if not goal.is_directory:
        raise ValueError(f"target must be a directory or a prefix for parts, not {brief(os.fspath(target))}.")
    place = read_place("staging", staging)
    _check_apart(place, goal)
    return place, goal


def _check_receipts(receipts: Iterable[ShareReceipt]) -> list[ShareReceipt]:
    """Return the receipts in the order of their sources. Refuses several plans and missing receipts."""
    if not isinstance(receipts, Iterable):
        raise TypeError(f"receipts must be a list of ShareReceipt, not {type(receipts).__name__}.")
    given = [check_kind("A receipt", receipt, ShareReceipt) for receipt in receipts]
    given.sort(key=lambda receipt: receipt.share.first)
    if not given:
        raise ValueError("receipts must have one receipt for each share.")
    if len({(receipt.share.plan, receipt.share.total) for receipt in given}) > 1:
        raise ValueError("receipts are of shares of several plans: give those of one plan.")
    place, missing = 0, list[str]()
    for share in (receipt.share for receipt in given):
        if share.first < place:
            raise ValueError(f"receipts have source {share.first} twice: give one receipt for each share.")
        missing += [f"{place} to {share.first - 1}"] if share.first > place else []
        place = share.first + len(share.sources)
    total = given[0].share.total
    missing += [f"{place} to {total - 1}"] if place < total else []
    if missing:
        raise ValueError(
            f"receipts are missing for sources {', '.join(missing)} of 0 to {total - 1}. Export their "
            "shares, or pass share.failed(error) for shares that failed."
        )
    if all(receipt.attempt is None for receipt in given):
        (failure, *_) = given[0].fetch.sources[0].failures
        raise failure  # all shares failed: there is nothing to commit
    return given


def _check_apart(place: Path | Address, goal: Target) -> None:
    """Refuse a staging in the target, or a target in the staging."""
    if isinstance(place, Address):
        paths = [place, goal.address] if isinstance(goal, BucketTarget) else []
        ways = [(each.scheme, each.bucket, *filter(None, each.prefix.split("/"))) for each in paths]
    else:
        local = [] if isinstance(goal, BucketTarget) else [place.resolve(), goal.path.resolve()]
        ways = [each.parts for each in local]
    if ways and ways[0][: len(ways[1])] == ways[1][: len(ways[0])]:
        raise ValueError("staging and target must be separate: neither can be inside the other, or the same.")


@attrs.define
class _Commit:
    """One run of a commit."""

    receipts: Sequence[ShareReceipt]
    target: Target
    permissions: Permissions
    on_progress: OnProgress | None
    is_placing: bool = attrs.field(default=False, init=False)
    """Whether files get their final names now. After an error, the files needed to continue then stay."""

    async def run(self, place: Path | Address) -> ExportReport:
        """Do the remaining steps of the commit."""
        target = self.target
        store = Store(target, self._parameters())
        from futureagi_async.export.job import open_destination

        destination = open_destination(target, self.permissions)
        await destination.prepare()
        try:
            shown = None if isinstance(target, BucketTarget) else target.path
            with locked(target.work, str(target), shown=shown):
                return await self._run_locked(place, store, destination)
        finally:
            with anyio.CancelScope(shield=True):
                await destination.leave()

    async def _run_locked(
        self, place: Path | Address, store: Store, destination: Destination
    ) -> ExportReport:
        try:
            if (finished := await destination.find_finished(store)) is not None:
                fetch = fetch_report(finished, self._sources())
                await run_sync(self._note_finished, place, fetch)
                paths = destination.report_paths(finished)
                return report_on(finished, self.target, fetch, paths, already_finished=True)
            await run_sync(partial(store.open, datetime.now(UTC), resume=self.permissions.resume))
            return await self._commit(place, store, destination)
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(store.close if self.is_placing else store.leave)
                await destination.close(store)

    def _sources(self) -> list[CallSource]:
        return [source for receipt in self.receipts for source in receipt.share.sources]

    def _parameters(self) -> Parameters:
        """Return the parameters of one export of all sources."""
        shares = [receipt.share.parameters for receipt in self.receipts]
        return for_sources(shares[0], [source for share in shares for source in share.sources])

    async def _commit(self, place: Path | Address, store: Store, destination: Destination) -> ExportReport:
        staging = await run_sync(self._open, place)
        await destination.begin()
        with closing(_Merged(store.parameters)) as merged:
            async with destination.receiving():
                for receipt in self.receipts:
                    await self._bring(receipt, staging, merged, destination)
                await destination.settle(self._tell)
                manifest = await run_sync(merged.manifest, datetime.now(UTC))
                with anyio.CancelScope(
                    shield=True
                ):  # files get their names: from here on it can't be cancelled
                    self.is_placing = True
                    await destination.publish(manifest, store)
                    await run_sync(store.remove)
                    if manifest.complete:
                        await run_sync(staging.create, _COMMITTED, self._text_of_target())
            fetch = FetchReport(tuple(merged.reports))
        return report_on(manifest, self.target, fetch, destination.report_paths(manifest))

    def _open(self, place: Path | Address) -> Staging:
        """Open the staging. Raises `ExportError` if it has another plan, or was committed elsewhere."""
        staging = open_staging(place)
        if not check_plan(staging, self.receipts[0].share.plan):
            raise ExportError(f"{staging} has no shares. Name the staging that they were exported to.")
        before = staging.read(_COMMITTED)
        if before not in (None, self._text_of_target()):
            raise ExportError(
                f"{staging} was already committed to another target, so it is of an earlier run: see "
                f"{staging.url(_COMMITTED)}. Export to a new staging, or copy that target."
            )
        return staging

    def _note_finished(self, place: Path | Address, fetch: FetchReport) -> None:
        """Record that the commit is done, if an earlier run was killed after it wrote the manifest."""
        if fetch.sources != tuple(chain.from_iterable(receipt.fetch.sources for receipt in self.receipts)):
            return  # the target has another run
        staging = open_staging(place)
        if staging.read(PLAN) == text_of_plan(self.receipts[0].share.plan):
            staging.create(_COMMITTED, self._text_of_target())

    def _text_of_target(self) -> bytes:
        target = self.target
        name = str(target) if isinstance(target, BucketTarget) else str(target.path.resolve())
        return msgspec.json.encode({"target": name}) + b"\n"

    async def _bring(
        self, receipt: ShareReceipt, staging: Staging, merged: "_Merged", destination: Destination
    ) -> None:
        """Copy the parts of a share. A receipt that came after the share was given up counts too."""
        share = receipt.share
        staged = await run_sync(read_receipt, staging, share)
        if staged is None and receipt.attempt is not None:
            raise ExportError(
                f"{staging} has no receipt of share {share.id}. Name the staging that it was exported to, or "
                "export it again."
            )
        if staged is None:
            merged.add(receipt, None)
            return
        copies: list[Path] = []
        for part, name in merged.renumbered(staged.manifest.parts, drop_empty=self._has_records()):
            found = await run_sync(self._find, staging, staged, share, part, name)
            renamed = msgspec.structs.replace(part, name=name)
            if isinstance(found, Path):
                merged.parts.append(destination.receive(found, renamed))
                copies += [found] if found == self.target.unfinished(name) else []
            else:
                assert isinstance(destination, BucketDestination)  # as `_find` says
                merged.parts.append(destination.receive_object(found, renamed))
        pairs = await run_sync(self._fetch_pairs, staging, staged, share)
        await run_sync(merged.add_pairs, pairs)
        merged.add(staged.of(share), staged.manifest)
        if isinstance(self.target, BucketTarget):
            await destination.settle(self._tell)
            for path in copies:
                path.unlink()
        else:
            self._tell(merged.records, sum(part.bytes for part in merged.parts))

    def _has_records(self) -> bool:
        return any(receipt.records for receipt in self.receipts)

    def _find(self, staging: Staging, staged: Receipt, share: Share, part: Part, name: str) -> Path | str:
        """Check the digest of a part. Return a local file, or its key if it is in the target's bucket."""
        staged_name = f"{ATTEMPTS}/{staged.attempt}/{part.name}"
        target = self.target
        if isinstance(target, BucketTarget):
            if isinstance(staging, LocalStaging):
                _check_digest(staging, staged_name, staging.digest(staged_name), part.sha256, share)
                return staging.path / staged_name
            if staging.address.is_in_bucket_of(target.address):
                _check_digest(staging, staged_name, staging.digest(staged_name), part.sha256, share)
                return staging.address.key(staged_name)
        return _fetch(staging, staged_name, part.sha256, share, target.unfinished(name))

    def _fetch_pairs(self, staging: Staging, staged: Receipt, share: Share) -> Path:
        staged_name = f"{ATTEMPTS}/{staged.attempt}/{PAIRS}"
        return _fetch(staging, staged_name, staged.pairs_sha256, share, self.target.unfinished(PAIRS))

    def _tell(self, records: int, size: int) -> None:
        if self.on_progress is not None:
            phase: Phase = "uploading" if isinstance(self.target, BucketTarget) else "writing"
            self.on_progress(ExportProgress(phase=phase, records=records, bytes=size))


def _fetch(staging: Staging, name: str, sha256: str, share: Share, path: Path) -> Path:
    found = digest_file(path) if staging.fetch(name, path) else None
    _check_digest(staging, name, found, sha256, share)
    return path


def _check_digest(staging: Staging, name: str, found: str | None, sha256: str, share: Share) -> None:
    if found != sha256:
        what = "is missing" if found is None else "was changed: its SHA-256 differs from its receipt"
        raise ExportError(
            f"{staging.url(name)} {what}. Remove {staging.url(f'{RECEIPTS}/{share.id}')}-*.json, and export "
            "that share again."
        )


class _Merged:
    """Builds the manifest from all shares, one after the other. Close it after use."""

    def __init__(self, parameters: Parameters) -> None:
        self.parts: list[Part] = []
        self.reports: list[SourceReport] = []
        self._parameters = parameters
        self._number = 0
        """The number of the next part."""
        self._sources: list[Source] = []
        self._complete = True
        self._began: list[datetime] = []
        self._transcripts = Transcripts(fetched=0, gone=[], failed=[])
        self._ids = IdDigests()

    def close(self) -> None:
        """Remove the stored ids."""
        self._ids.close()

    @property
    def records(self) -> int:
        """The number of records so far."""
        return sum(source.records for source in self._sources)

    def renumbered(self, parts: Sequence[Part], *, drop_empty: bool) -> Iterator[tuple[Part, str]]:
        """Yield the parts of a share, and their names after those of the earlier shares.

        An export without calls has one empty part.
        """
        numbers = [_number_of(part) for part in parts]
        drop_empty = drop_empty or bool(self.parts)
        empty = {number for part, number in zip(parts, numbers, strict=True) if part.records == 0}
        kept = sorted(set(numbers) - (empty if drop_empty else set()))
        places = {number: self._number + place for place, number in enumerate(kept)}
        self._number += len(kept)
        for part, number in zip(parts, numbers, strict=True):
            if number in places:
                yield part, _NUMBER.sub(f"-{places[number]:05}", part.name)

    def add_pairs(self, path: Path) -> None:
        """Add the ids of a share, and remove the file with them."""
        with path.open("rb") as file:
            self._ids.add(map(_PAIR.decode, file))
        path.unlink()

    def add(self, receipt: ShareReceipt, manifest: Manifest | None) -> None:
        """Add the report of a share."""
        share = receipt.share
        self.reports += receipt.fetch.sources
        self._complete = self._complete and receipt.complete
        if manifest is not None:
            self._sources += manifest.sources
            self._began.append(manifest.started_at)
            if manifest.transcripts is not None:
                self._add_transcripts(manifest.transcripts)
            return
        described = zip(receipt.fetch.sources, share.parameters.sources, share.changed_since, strict=True)
        self._sources += [source_entry(report, source, 0, since) for report, source, since in described]

    def _add_transcripts(self, more: Transcripts) -> None:
        so_far = self._transcripts
        so_far.gone.extend(more.gone)
        so_far.failed.extend(more.failed)
        self._transcripts = msgspec.structs.replace(so_far, fetched=so_far.fetched + more.fetched)

    def manifest(self, now: datetime) -> Manifest:
        """Return the manifest of all shares."""
        parameters = self._parameters
        return Manifest(
            manifest=FORMAT,
            package=f"futureagi-async {__version__}",
            started_at=min(self._began, default=now),
            finished_at=now,
            resumed=0,
            complete=self._complete,
            records=self.records,
            bytes=sum(part.bytes for part in self.parts),
            parameters=parameters,
            sources=self._sources,
            parts=self.parts,
            ids_sha256=self._ids.ids(),
            pairs_sha256=self._ids.pairs() or "",
            transcripts=self._transcripts if parameters.transcripts else None,
            recordings=None,
            recordings_folder=None,
            since=Since(manifest=parameters.since, cannot_see=CANNOT_SEE) if parameters.since else None,
            digest="",
        )


_PAIR = msgspec.json.Decoder(tuple[int, str])


def _number_of(part: Part) -> int:
    found = _NUMBER.search(part.name)
    assert found is not None  # as `PART_NAME` says
    return int(found[1])


def _remove_orphans(place: Path | Address, after: float) -> None:
    """Remove files of attempts that no receipt names. Files that can't be removed stay until next time."""
    with suppress(ExportError, msgspec.MsgspecError):  # an unreadable receipt may name any of them
        staging = open_staging(place)
        old = {attempt for attempt, age in staging.ages().items() if age >= after}
        if not old:
            return
        for name in staging.names(RECEIPTS):
            text = staging.read(f"{RECEIPTS}/{name}")
            old.discard(msgspec.json.decode(text or b"{}", type=_Named).attempt)
        for attempt in filter(ATTEMPT_NAME.fullmatch, sorted(old)):
            staging.remove(attempt)


class _Named(msgspec.Struct):
    """The attempt that a receipt names."""

    attempt: str = ""

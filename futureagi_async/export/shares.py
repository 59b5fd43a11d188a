"""Exports by many machines: `plan_shares`, `export_share`, `commit_shares`.

A share is some whole sources. An attempt at it is an export of them into a folder of its own in the staging,
and a receipt, created once, says which attempt counts. A commit brings the parts of those to the target.
"""

import hashlib
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import chain, count
from math import inf
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import anyio
import attrs
import msgspec
from anyio.to_thread import run_sync

from futureagi_async._version import __version__
from futureagi_async.errors import ExportError, FutureAGIError
from futureagi_async.export.destinations import Destination, Permissions
from futureagi_async.export.fetching import CallReader
from futureagi_async.export.files import digest_file, locked
from futureagi_async.export.formats.projection import Projection, choose_columns
from futureagi_async.export.job import ExportRequest, check_request, open_destination, run_export
from futureagi_async.export.locations import open_location, read_base_at, read_manifest_at
from futureagi_async.export.manifest import (
    CANNOT_SEE,
    FORMAT,
    BaseExport,
    Manifest,
    Parameters,
    Part,
    Since,
    Source,
    Transcripts,
    digest_of,
    fingerprint,
)
from futureagi_async.export.object_store import Address
from futureagi_async.export.plan import PlanReader, SourcePlan, plan_sources
from futureagi_async.export.redaction import Redactor, make_redactor
from futureagi_async.export.report import (
    ExportProgress,
    ExportReport,
    OnProgress,
    Phase,
    fetch_report,
    report_on,
    source_entry,
)
from futureagi_async.export.staging import (
    ATTEMPTS,
    PAIRS,
    RECEIPTS,
    LocalStaging,
    Staging,
    Workplace,
    open_staging,
)
from futureagi_async.export.store import Store
from futureagi_async.export.targets import PART_NAME, BucketTarget, Target, read_path, read_place, read_target
from futureagi_async.export.verify import IdDigests
from futureagi_async.models import FetchReport, SourceReport
from futureagi_async.options import brief, check_count, check_kind, check_wait_seconds
from futureagi_async.sources import CallSource, check_sources

ORPHANS_AFTER: Final = 86_400.0
_PLAN: Final = "plan.json"
_COMMITTED: Final = "committed.json"
_RECEIPT_NAME: Final = re.compile(r"([0-9]{6,})-([0-9]{6,})-([0-9]+)\.json")
_ATTEMPT: Final = re.compile(r"[0-9]{6,}-[0-9]{6,}-[0-9a-f]{16}")
_NUMBER: Final = re.compile(r"-([0-9]{5,})(-[0-9a-f]{32})?(?=\.)")
"""In the name of a part; in buckets, a digest follows."""


@attrs.define(frozen=True, kw_only=True)
class Share:
    """Some sources that are exported together, and all that decides what comes of it; holds no keys."""

    sources: tuple[CallSource, ...]
    first: int
    """The place of the first of them among all sources."""
    total: int
    """How many sources there are over all shares."""
    requests: int = attrs.field(eq=False)
    """What it will cost, about."""
    records: int = attrs.field(eq=False)
    """What the server counts."""
    plan: str
    """Digest of all sources and parameters: shares with another one do not go together."""
    package: str = __version__
    """The version that planned it: workers need the same."""
    parameters: Parameters = attrs.field(repr=False, hash=False)
    changed_since: tuple[datetime | None, ...] = attrs.field(repr=False)
    """Of each source, since when changes are read; ``None`` for a source that is read in full."""

    @property
    def id(self) -> str:
        """Which sources these are, by their places; begins the names of its attempts and receipts."""
        return f"{self.first:06}-{len(self.sources):06}"

    def failed(self, error: BaseException | str) -> "ShareReceipt":
        """Return what `commit_shares` takes in place of a receipt, once attempts at the share are given up.

        Its sources are incomplete then, with the error as their reason. Of an error that is none of this
        package's only the class is kept: what else it says may be anything.
        """
        if isinstance(error, str):
            error = ExportError(error)
        elif not isinstance(error, FutureAGIError):
            error = ExportError(
                f"The share failed with {type(check_kind('error', error, BaseException)).__name__}."
            )
        reports = [
            SourceReport(
                source=source,
                verdict="incomplete",
                reason=f"not read, as its share was given up: {error}",
                expected=None,
                received=0,
                failures=(error,),
            )
            for source in self.sources
        ]
        return ShareReceipt(share=self, fetch=FetchReport(tuple(reports)))


@attrs.define(frozen=True, kw_only=True)
class ShareReceipt:
    """What came of a share. Staged beside it is what `commit_shares` needs, so that nothing large is sent."""

    share: Share
    fetch: FetchReport
    """What was read of each source, and whether that is provably all."""
    attempt: str | None = None
    """Which attempt counts; ``None`` for a share that was given up."""
    complete: bool = False
    """Whether everything was read that was asked for, transcripts included."""
    parts: tuple[Part, ...] = attrs.field(default=(), hash=False)
    """The files of the attempt, with their SHA-256."""
    ids_sha256: str = ""
    """Of the sorted ids, a line each."""

    @property
    def records(self) -> int:
        """How many records the parts hold."""
        return sum(part.records or 0 for part in self.parts)

    @property
    def bytes(self) -> int:
        """Size of the parts."""
        return sum(part.bytes for part in self.parts)


class Receipt(msgspec.Struct, kw_only=True, frozen=True):
    """A receipt as it is staged."""

    receipt: int = 1
    plan: str
    attempt: str
    pairs_sha256: str
    """Of the attempt's file of pairs."""
    manifest: Manifest
    """Of the attempt's own export."""

    def of(self, share: Share) -> ShareReceipt:
        """Return what callers get of it."""
        return ShareReceipt(
            share=share,
            fetch=fetch_report(self.manifest, share.sources),
            attempt=self.attempt,
            complete=self.manifest.complete,
            parts=tuple(self.manifest.parts),
            ids_sha256=self.manifest.ids_sha256,
        )


class ShareReader(CallReader, PlanReader, Protocol):
    """The part of `futureagi_async.Session` that plans and exports shares."""


async def plan_shares(
    session: ShareReader,
    sources: Iterable[CallSource] | CallSource,
    requests: int = 500,
    *,
    staging: str | os.PathLike[str] | None = None,
    counts: Mapping[CallSource, int] | None = None,
    format: str = "parquet",  # noqa: A002 - the word users look for
    transcripts: bool = False,
    ordered: bool = False,
    normalised: bool = False,
    columns: Iterable[str] | None = None,
    drop: Iterable[str] = (),
    redact: bool = False,
    redact_key: str | bytes | None = None,
    partition: Literal["source", "date"] | None = None,
    part_rows: int = 50_000,
    page_size: int = 100,
    include_provider_data: bool = False,
    since: str | os.PathLike[str] | None = None,
) -> tuple[Share, ...]:
    """Cut sources into shares for `export_share`, each of about so many requests.

    A share holds whole sources, in the order given: a list is never split, as the proof that it is complete
    is one sequence of decisions. A source that can't be read is a share of its own. Costs one small request a
    source; none for those of ``counts``, and for those of which ``staging`` holds receipts already: then
    shares are cut as they were.

    Raises `ValueError` and `TypeError` for wrong arguments, before any request; `ExportError` where the
    staging holds another plan; refused keys at once.

    Args:
        session: An open `futureagi_async.Session`.
        sources: What to read; none of them twice.
        requests: For pages and details, about, that a share may cost; a longer list is a share by itself.
        staging: Where the shares will be exported to, if it may hold what an earlier run has finished.
        counts: How many calls sources have, where that is known.
        format: ``"parquet"`` or ``"jsonl"``.
        transcripts: As for `export_calls`, and so in what follows.
        ordered: Needed if unchanged lists are to give the same bytes.
        normalised: JSON Lines in our documented names and units.
        columns: The columns to write.
        drop: Columns to leave out.
        redact: Replace phone numbers and customers' names by keyed digests.
        redact_key: The key of these digests; default ``FI_REDACT_KEY``. It is not in the shares: workers need
            it, too, and are refused with another one.
        partition: ``"source"`` or ``"date"``, for folders.
        part_rows: Records a part.
        page_size: Rows a request, about.
        include_provider_data: Keep what may hold other parties' keys.
        since: An earlier export, of which only changes are read.

    """
    redactor = make_redactor(redact, redact_key, os.environ)
    redact_key = None  # some tracebacks show a frame's variables
    if format == "csv":
        raise ValueError(
            "format can't be 'csv': its columns depend on all calls, and no share sees them all."
        )
    request = ExportRequest(
        session=session,
        sources=_check_sources(sources),
        target=read_target("shares/", format),
        transcripts=transcripts,
        resume=False,
        overwrite=False,
        ordered=ordered,
        normalised=normalised,
        projection=choose_columns(columns, drop),
        redactor=redactor,
        partition=partition,
        part_rows=part_rows,
        page_size=page_size,
        include_provider_data=include_provider_data,
        since=read_place("since", since) if since is not None else None,
        recordings=None,
        allow_private_hosts=False,
        max_outage=0.0,
        on_progress=None,
    )
    check_request(request)
    check_count("requests", requests)
    known = _check_counts(counts)
    place = read_place("staging", staging) if staging is not None else None
    return await _plan(session, request, requests, known, place)


def _check_sources(sources: Iterable[CallSource] | CallSource) -> tuple[CallSource, ...]:
    checked = check_sources(sources)
    if not checked:
        raise ValueError("sources must name at least one list.")
    if twice := [source for source, times in Counter(checked).items() if times > 1]:
        raise ValueError(f"sources must not name a list twice, as {twice[0]}.")
    return checked


def _check_counts(counts: Mapping[CallSource, int] | None) -> Mapping[CallSource, int]:
    if counts is None:
        return {}
    if not isinstance(counts, Mapping):
        raise TypeError(f"counts must map sources to numbers, not {type(counts).__name__}.")
    for source, records in counts.items():
        check_sources([source])
        if records != 0:
            check_count("A count", records)
    return counts


async def _plan(
    session: ShareReader,
    request: ExportRequest,
    requests: int,
    counts: Mapping[CallSource, int],
    staging: Path | Address | None,
) -> tuple[Share, ...]:
    """Ask what sources cost, and cut them."""
    sources, base = request.sources, None
    if isinstance(request.since, Path | Address):
        base = await run_sync(read_base_at, request.since, sources, request.describe)
    parameters = request.parameters(base)
    plan = _digest_of_plan(parameters)
    spans = await run_sync(_staged_spans, staging, plan) if staging is not None else []
    is_staged = set(chain.from_iterable(spans))
    asked = [source for place, source in enumerate(sources) if place not in is_staged]
    planned = await plan_sources(
        session, asked, counts, page_size=request.page_size, transcripts=request.transcripts
    )
    known = {each.source: each for each in planned}
    costs = [known.get(source, SourcePlan(source=source)) for source in sources]
    moments = base.changed_since if base is not None else {}
    return tuple(
        Share(
            sources=sources[span.start : span.stop],
            first=span.start,
            total=len(sources),
            requests=sum(each.requests + each.detail_requests for each in costs[span.start : span.stop]),
            records=sum(each.records for each in costs[span.start : span.stop]),
            plan=plan,
            parameters=_for_sources(parameters, parameters.sources[span.start : span.stop]),
            changed_since=tuple(map(moments.get, sources[span.start : span.stop])),
        )
        for span in cut(list(map(_cost, costs)), requests, spans)
    )


def _for_sources(parameters: Parameters, sources: Sequence[dict[str, Any]]) -> Parameters:
    return msgspec.structs.replace(parameters, sources=list(sources))


def _cost(planned: SourcePlan) -> float:
    """Return what a source costs; one that can't be read goes with no other."""
    return inf if planned.error is not None else max(1, planned.requests + planned.detail_requests)


def cut(costs: Sequence[float], most: float, kept: Sequence[range] = ()) -> Iterator[range]:
    """Yield the places of each share's sources, which together cost no more than ``most``, if they can.

    ``kept`` are shares as they were cut before: in order, none with a place of another.
    """
    before = {span.start: span for span in kept}
    begin, total = 0, 0.0
    for place, cost in enumerate(costs):
        if place < begin:
            continue
        if begin < place and (place in before or total + cost > most):
            yield range(begin, place)
            begin, total = place, 0.0
        total += cost
        if place in before:
            yield before[place]
            begin, total = before[place].stop, 0.0
    if begin < len(costs):
        yield range(begin, len(costs))


def _digest_of_plan(parameters: Parameters) -> str:
    identity = {"package": __version__, **msgspec.to_builtins(parameters)}
    return hashlib.sha256(fingerprint(identity)).hexdigest()


def _staged_spans(place: Path | Address, plan: str) -> list[range]:
    """Return which shares have receipts in a staging, without those that others overlap."""
    staging = open_staging(place)
    _check_plan(staging, plan)
    found = filter(None, map(_RECEIPT_NAME.fullmatch, staging.names(RECEIPTS)))
    spans = sorted({(int(name[1]), int(name[2])) for name in found}, key=lambda span: (span[0], -span[1]))
    kept: list[range] = []
    for first, size in spans:
        if not kept or first >= kept[-1].stop:
            kept.append(range(first, first + size))
    return kept


def _check_plan(staging: Staging, plan: str) -> bool:
    """Refuse the staging of another plan; whether there is any plan in it."""
    if (text := staging.read(_PLAN)) is None:
        return False
    if text != _text_of_plan(plan):
        raise ExportError(
            f"{staging} holds shares of another plan: other sources, parameters or another version of this "
            "package. Choose another staging, or remove that one."
        )
    return True


def _text_of_plan(plan: str) -> bytes:
    return msgspec.json.encode({"plan": plan, "package": __version__}) + b"\n"


async def export_share(
    session: CallReader,
    share: Share,
    staging: str | os.PathLike[str],
    *,
    redact_key: str | bytes | None = None,
    max_outage: float = 900.0,
    work_dir: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> ShareReceipt:
    """Export a share into the staging, and return its receipt; at once where another attempt has left one.

    Attempts may run at the same time, anywhere, and end anyhow: each writes under names of its own, and the
    first receipt counts. One that is interrupted leaves nothing that counts. A share that could not be read
    completely gets a receipt, too, which says so; it is tried again the next time it is exported, and counts
    only until a complete one is there.

    Raises what `export_calls` raises: the first failure where not one list could even be begun, and
    `ExportError` also where the staging holds another plan, or another version of the package planned.

    Args:
        session: An open `futureagi_async.Session`.
        share: One of `plan_shares`.
        staging: A folder that all workers see, or ``s3://bucket/prefix/``, ``gs://`` or ``az://``; one for
            each run, and the same for all shares.
        redact_key: Where the plan redacts: the key that it was made with; default ``FI_REDACT_KEY``.
        max_outage: How many seconds to wait for a server that answers nothing any more.
        work_dir: For a staging in a bucket, a directory for what is unfinished; by default the system's for
            temporary files.
        on_progress: Called whenever more is safe on the disk.

    """
    check_kind("share", share, Share)
    redactor = _redactor_of(share, redact_key)
    redact_key = None  # some tracebacks show a frame's variables
    place = read_place("staging", staging)
    unfinished = read_path("work_dir", work_dir) if work_dir is not None else None
    if share.package != __version__:
        raise ExportError(
            f"The share was planned by version {share.package} of this package, and this is {__version__}. "
            "Install the same version everywhere."
        )
    opened = await run_sync(_open_for, place, share)
    if (receipt := await run_sync(read_receipt, opened, share)) is not None and receipt.manifest.complete:
        return receipt.of(share)
    attempt = f"{share.id}-{secrets.token_hex(8)}"
    with opened.workplace(attempt, share.parameters.format, unfinished) as workplace:
        request = _request_of(session, share, workplace, redactor)
        await run_export(attrs.evolve(request, max_outage=max_outage, on_progress=on_progress))
        made = await run_sync(_describe, share, attempt, workplace)
        await opened.keep(attempt, workplace)
    receipt = await run_sync(_leave_receipt, opened, share, made)
    if receipt.attempt != attempt:
        await run_sync(opened.remove, attempt)
    return receipt.of(share)


def _redactor_of(share: Share, key: str | bytes | None) -> Redactor | None:
    wanted = share.parameters.redacted_with
    redactor = make_redactor(wanted is not None, key, os.environ)
    key = None
    if redactor is not None and redactor.key_id != wanted:
        raise ValueError("redact_key (FI_REDACT_KEY) is not the one that the shares were planned with.")
    return redactor


def _open_for(place: Path | Address, share: Share) -> Staging:
    """Open a staging, which belongs to the share's plan from now on."""
    staging = open_staging(place)
    if not _check_plan(staging, share.plan) and not staging.create(_PLAN, _text_of_plan(share.plan)):
        _check_plan(staging, share.plan)
    return staging


def _request_of(
    session: CallReader, share: Share, workplace: Workplace, redactor: Redactor | None
) -> ExportRequest:
    parameters = share.parameters
    moments = zip(share.sources, share.changed_since, strict=True)
    since = {source: moment for source, moment in moments if moment is not None}
    return ExportRequest(
        session=session,
        sources=share.sources,
        target=workplace.target,
        transcripts=parameters.transcripts,
        resume=False,
        overwrite=False,
        ordered=parameters.ordered,
        normalised=parameters.normalised,
        projection=Projection.without(parameters.left_out),
        redactor=redactor,
        partition=parameters.partition,
        part_rows=parameters.part_rows or 1,
        page_size=parameters.page_size,
        include_provider_data=parameters.include_provider_data,
        since=BaseExport(parameters.since, since) if parameters.since is not None else None,
        recordings=None,
        allow_private_hosts=False,
        max_outage=0.0,
        on_progress=None,
        first_place=share.first,
        pairs=workplace.pairs,
    )


def _describe(share: Share, attempt: str, workplace: Workplace) -> Receipt:
    target = workplace.target
    location = open_location(target.address if isinstance(target, BucketTarget) else target.path)
    return Receipt(
        plan=share.plan,
        attempt=attempt,
        pairs_sha256=digest_file(workplace.pairs),
        manifest=read_manifest_at(location),
    )


def read_receipt(staging: Staging, share: Share) -> Receipt | None:
    """Return the receipt of a share that counts: the first complete one, or else the last."""
    found: Receipt | None = None
    for number in count():
        name = f"{RECEIPTS}/{share.id}-{number}.json"
        if (text := staging.read(name)) is None:
            return found
        found = _decode_receipt(text, share, staging.url(name))
        if found.manifest.complete:
            return found
    return None


def _leave_receipt(staging: Staging, share: Share, made: Receipt) -> Receipt:
    """Stage a receipt, unless a complete one is there; return the one that counts."""
    text = msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n"
    for number in count():
        name = f"{RECEIPTS}/{share.id}-{number}.json"
        if staging.create(name, text):
            return made
        there = staging.read(name)
        found = _decode_receipt(there or b"", share, staging.url(name))
        if found.manifest.complete or found.attempt == made.attempt:
            return found
    return made


def _decode_receipt(text: bytes, share: Share, shown: str) -> Receipt:
    """Return a receipt; raises `ExportError` for one that was changed, or is none of this share."""
    try:
        receipt = msgspec.json.decode(text, type=Receipt)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ExportError(f"Can't use {shown}: it is no receipt of a share ({error}).") from None
    manifest = receipt.manifest
    if digest_of(msgspec.to_builtins(manifest)) != manifest.digest:
        raise ExportError(f"Can't use {shown}: it was changed, since its own digest does not match.")
    if receipt.plan != share.plan or manifest.parameters != share.parameters:
        raise ExportError(f"Can't use {shown}: it is the receipt of a share with other parameters.")
    names = [receipt.attempt, *(part.name for part in manifest.parts)]
    if not _ATTEMPT.fullmatch(names[0]) or not all(map(PART_NAME.fullmatch, names[1:])):
        raise ExportError(f"Can't use {shown}: it names files that no export writes.")
    return receipt


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
    """Make one export of all shares: parts are checked and brought to the target, the manifest comes last.

    The result is what `export_calls` would have written of the same sources, and is taken by whatever takes
    that. Each share needs a receipt; where attempts were given up, `Share.failed` gives one, and the report
    names the sources. Whatever ends the commit, the same call again does what is left. The staging stays as
    it is, but for what attempts left whose receipts do not count: that is removed some time after.

    Raises `ExportError` where a part is not as its receipt says, where the staging belongs to another plan or
    was committed elsewhere, and for a target that `export_calls` would refuse; `ValueError` and `TypeError`
    for wrong arguments.

    Args:
        receipts: Of each share of one plan.
        staging: Where they were exported to.
        target: A directory, or ``s3://bucket/prefix/``, ``gs://`` or ``az://``.
        resume: Leave a finished export of the same sources and parameters in the target as it is. ``False``
            replaces it, whatever its parameters are.
        overwrite: Also replace what no export wrote; as for `export_calls`.
        orphans_after: Seconds since an attempt without a receipt wrote last, after which it is removed.
        work_dir: For a target in a bucket, a directory for what is unfinished; as for `export_calls`.
        on_progress: Called for each part that was brought.

    """
    given = _check_receipts(receipts)
    check_wait_seconds("orphans_after", orphans_after, may_be_zero=True)
    goal = read_target(target, given[0].share.parameters.format, work_dir=work_dir)
    if not goal.is_directory:
        raise ValueError(f"target must be a directory or a prefix for parts, not {brief(os.fspath(target))}.")
    place = read_place("staging", staging)
    _check_apart(place, goal)
    report = await _Commit(given, goal, Permissions(resume, overwrite), on_progress).run(place)
    await run_sync(_remove_orphans, place, orphans_after)
    return report


def _check_receipts(receipts: Iterable[ShareReceipt]) -> list[ShareReceipt]:
    """Return the receipts in the order of their sources; refuse those of several plans, or with a gap."""
    if not isinstance(receipts, Iterable):
        raise TypeError(f"receipts must be a list of ShareReceipt, not {type(receipts).__name__}.")
    given = [check_kind("A receipt", receipt, ShareReceipt) for receipt in receipts]
    given.sort(key=lambda receipt: receipt.share.first)
    if not given:
        raise ValueError("receipts must hold one of each share.")
    if len({(receipt.share.plan, receipt.share.total) for receipt in given}) > 1:
        raise ValueError("receipts must be of the shares of one plan, and these are of several.")
    place, missing = 0, list[str]()
    for share in (receipt.share for receipt in given):
        if share.first < place:
            raise ValueError(f"receipts hold source {share.first} twice: give one for each share.")
        missing += [f"{place} to {share.first - 1}"] if share.first > place else []
        place = share.first + len(share.sources)
    total = given[0].share.total
    missing += [f"{place} to {total - 1}"] if place < total else []
    if missing:
        raise ValueError(
            f"receipts are missing for sources {', '.join(missing)} of 0 to {total - 1}. Export their "
            "shares, or give share.failed(error) for those that are given up."
        )
    if all(receipt.attempt is None for receipt in given):
        (failure, *_) = given[0].fetch.sources[0].failures
        raise failure  # not one share was exported: there is nothing to commit
    return given


def _check_apart(place: Path | Address, goal: Target) -> None:
    """Refuse a staging and a target of which one is in the other."""
    if isinstance(place, Address):
        paths = [place, goal.address] if isinstance(goal, BucketTarget) else []
        ways = [(each.scheme, each.bucket, *filter(None, each.prefix.split("/"))) for each in paths]
    else:
        local = [] if isinstance(goal, BucketTarget) else [place.resolve(), goal.path.resolve()]
        ways = [each.parts for each in local]
    if ways and ways[0][: len(ways[1])] == ways[1][: len(ways[0])]:
        raise ValueError("staging and target must lie apart: neither may be, or be in, the other.")


@attrs.define
class _Commit:
    """One run of a commit."""

    receipts: Sequence[ShareReceipt]
    target: Target
    permissions: Permissions
    on_progress: OnProgress | None

    async def run(self, place: Path | Address) -> ExportReport:
        """Do what is left to do."""
        target = self.target
        store = Store(target, self._parameters())
        destination = open_destination(target, self.permissions)
        await destination.prepare()
        try:
            shown = None if isinstance(target, BucketTarget) else target.path
            with locked(target.work, str(target), shown=shown):
                if (finished := await destination.find_finished(store)) is not None:
                    paths = destination.report_paths(finished)
                    fetch = fetch_report(finished, self._sources())
                    return report_on(finished, target, fetch, paths, already_finished=True)
                await run_sync(partial(store.open, datetime.now(UTC), resume=self.permissions.resume))
                return await self._commit(place, store, destination)
        finally:
            with anyio.CancelScope(shield=True):
                await destination.leave()

    def _sources(self) -> list[CallSource]:
        return [source for receipt in self.receipts for source in receipt.share.sources]

    def _parameters(self) -> Parameters:
        """Return those of one export of all sources."""
        shares = [receipt.share.parameters for receipt in self.receipts]
        return _for_sources(shares[0], [source for share in shares for source in share.sources])

    async def _commit(self, place: Path | Address, store: Store, destination: Destination) -> ExportReport:
        is_placing = False
        try:
            staging = await run_sync(self._open, place)
            await destination.begin()
            with closing(_Merged(store.parameters)) as merged:
                async with destination.receiving():
                    for receipt in self.receipts:
                        await self._bring(receipt, staging, merged, destination)
                    await destination.settle(self._tell)
                    manifest = await run_sync(merged.manifest, datetime.now(UTC))
                    with anyio.CancelScope(shield=True):  # files get their names: too late to be cancelled
                        is_placing = True
                        await destination.publish(manifest, store)
                        await run_sync(store.remove)
                        if manifest.complete:
                            await run_sync(staging.create, _COMMITTED, self._text_of_target())
                fetch = FetchReport(tuple(merged.reports))
            return report_on(manifest, self.target, fetch, destination.report_paths(manifest))
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(store.close if is_placing else store.leave)
                await destination.close(store)

    def _open(self, place: Path | Address) -> Staging:
        """Open the staging; raises `ExportError` for one of another plan, or that went elsewhere."""
        staging = open_staging(place)
        if not _check_plan(staging, self.receipts[0].share.plan):
            raise ExportError(f"{staging} holds no shares. Name the staging that they were exported to.")
        before = staging.read(_COMMITTED)
        if before not in (None, self._text_of_target()):
            raise ExportError(
                f"{staging} was committed to another target, so that what it holds is of an earlier run: see "
                f"{staging.url(_COMMITTED)}. Export to a new staging, or copy that target."
            )
        return staging

    def _text_of_target(self) -> bytes:
        target = self.target
        name = str(target) if isinstance(target, BucketTarget) else str(target.path.resolve())
        return msgspec.json.encode({"target": name}) + b"\n"

    async def _bring(
        self, receipt: ShareReceipt, staging: Staging, merged: "_Merged", destination: Destination
    ) -> None:
        """Bring the parts of a share; a receipt that came after it was given up counts all the same."""
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
            path, is_copy = await run_sync(self._fetch, staging, staged, share, part, name)
            merged.parts.append(destination.receive(path, msgspec.structs.replace(part, name=name)))
            copies += [path] if is_copy else []
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

    def _fetch(
        self, staging: Staging, staged: Receipt, share: Share, part: Part, name: str
    ) -> tuple[Path, bool]:
        """Return a local file of a part, whose digest was checked, and whether it is to be removed later."""
        is_in_place = isinstance(self.target, BucketTarget) and isinstance(staging, LocalStaging)
        path = None if is_in_place else self.target.unfinished(name)
        found = _fetch_checked(staging, staged, share, part.name, part.sha256, path)
        return found, not is_in_place

    def _fetch_pairs(self, staging: Staging, staged: Receipt, share: Share) -> Path:
        return _fetch_checked(
            staging, staged, share, PAIRS, staged.pairs_sha256, self.target.unfinished(PAIRS)
        )

    def _tell(self, records: int, size: int) -> None:
        if self.on_progress is not None:
            phase: Phase = "uploading" if isinstance(self.target, BucketTarget) else "writing"
            self.on_progress(ExportProgress(phase=phase, records=records, bytes=size))


def _fetch_checked(
    staging: Staging, staged: Receipt, share: Share, name: str, sha256: str, path: Path | None
) -> Path:
    staged_name = f"{ATTEMPTS}/{staged.attempt}/{name}"
    found = staging.fetch(staged_name, path)
    if found is None or digest_file(found) != sha256:
        what = "is missing" if found is None else "was changed, since its SHA-256 is not that of its receipt"
        raise ExportError(
            f"{staging.url(staged_name)} {what}. Remove {staging.url(f'{RECEIPTS}/{share.id}')}-*.json, and "
            "export that share again."
        )
    return found


class _Merged:
    """The manifest of all shares, which come one after the other; to be closed."""

    def __init__(self, parameters: Parameters) -> None:
        self.parts: list[Part] = []
        self.reports: list[SourceReport] = []
        self._parameters = parameters
        self._number = 0
        """Of the next part."""
        self._sources: list[Source] = []
        self._complete = True
        self._began: list[datetime] = []
        self._transcripts = Transcripts(fetched=0, gone=[], failed=[])
        self._ids = IdDigests()

    def close(self) -> None:
        """Drop what is kept of ids."""
        self._ids.close()

    @property
    def records(self) -> int:
        """How many there are so far."""
        return sum(source.records for source in self._sources)

    def renumbered(self, parts: Sequence[Part], *, drop_empty: bool) -> Iterator[tuple[Part, str]]:
        """Yield the parts of a share, and what they are called behind those of other shares.

        Without calls at all, an export has one part with none.
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
        """Add the ids of a share, and remove their file."""
        with path.open("rb") as file:
            self._ids.add(map(_PAIR.decode, file))
        path.unlink()

    def add(self, receipt: ShareReceipt, manifest: Manifest | None) -> None:
        """Add what is told of a share."""
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
        """Return the whole."""
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
    """Remove what attempts left that no receipt names; what can't be removed now can be the next time."""
    with suppress(ExportError):
        staging = open_staging(place)
        old = {attempt for attempt, age in staging.ages().items() if age >= after}
        if not old:
            return
        for name in staging.names(RECEIPTS):
            text = staging.read(f"{RECEIPTS}/{name}")
            old.discard(msgspec.json.decode(text or b"{}", type=_Named).attempt)
        for attempt in filter(_ATTEMPT.fullmatch, sorted(old)):
            staging.remove(attempt)


class _Named(msgspec.Struct):
    """Of a receipt, which attempt it names."""

    attempt: str = ""

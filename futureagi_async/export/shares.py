"""Shares of an export, which any machine may read: `plan_shares`, `export_share`.

A share is some whole sources. An attempt at it is an export of them into a folder of its own in the staging,
and a receipt, created once, says which attempt counts.
"""

import hashlib
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, count
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import attrs
import msgspec
from anyio.to_thread import run_sync

from futureagi_async._version import __version__
from futureagi_async.errors import ExportError, FutureAGIError
from futureagi_async.export.fetching import CallReader
from futureagi_async.export.files import digest_file
from futureagi_async.export.formats.projection import Projection, choose_columns
from futureagi_async.export.locations import open_location, read_base_at, read_manifest_at
from futureagi_async.export.manifest import (
    BaseExport,
    Manifest,
    Parameters,
    Part,
    digest_of,
    fingerprint,
)
from futureagi_async.export.object_store import Address
from futureagi_async.export.plan import PlanReader, SourcePlan, plan_sources
from futureagi_async.export.redaction import Redactor, make_redactor
from futureagi_async.export.report import (
    OnProgress,
    fetch_report,
)
from futureagi_async.export.staging import (
    RECEIPTS,
    Staging,
    Workplace,
    open_staging,
)
from futureagi_async.export.targets import PART_NAME, BucketTarget, read_path, read_place, read_target
from futureagi_async.models import FetchReport, SourceReport
from futureagi_async.options import check_count, check_kind
from futureagi_async.sources import CallSource, check_sources

if TYPE_CHECKING:
    from futureagi_async.export.job import ExportRequest

PLAN: Final = "plan.json"
_RECEIPT_NAME: Final = re.compile(r"([0-9]{6,})-([0-9]{6,})-([0-9]+)\.json")
ATTEMPT_NAME: Final = re.compile(r"[0-9]{6,}-[0-9]{6,}-[0-9a-f]{16}")


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
    from futureagi_async.export.job import ExportRequest, check_request

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
    request: "ExportRequest",
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
            parameters=for_sources(parameters, parameters.sources[span.start : span.stop]),
            changed_since=tuple(map(moments.get, sources[span.start : span.stop])),
        )
        for span in cut(list(map(_cost, costs)), requests, spans)
    )


def for_sources(parameters: Parameters, sources: Sequence[dict[str, Any]]) -> Parameters:
    """Return the parameters of an export of other sources."""
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
    check_plan(staging, plan)
    found = filter(None, map(_RECEIPT_NAME.fullmatch, staging.names(RECEIPTS)))
    spans = sorted({(int(name[1]), int(name[2])) for name in found}, key=lambda span: (span[0], -span[1]))
    kept: list[range] = []
    for first, size in spans:
        if not kept or first >= kept[-1].stop:
            kept.append(range(first, first + size))
    return kept


def check_plan(staging: Staging, plan: str) -> bool:
    """Refuse the staging of another plan; whether there is any plan in it."""
    if (text := staging.read(PLAN)) is None:
        return False
    if text != text_of_plan(plan):
        raise ExportError(
            f"{staging} holds shares of another plan: other sources, parameters or another version of this "
            "package. Choose another staging, or remove that one."
        )
    return True


def text_of_plan(plan: str) -> bytes:
    """Return what the staging of a plan says of it."""
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
        from futureagi_async.export.job import run_export

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
    if not check_plan(staging, share.plan) and not staging.create(PLAN, text_of_plan(share.plan)):
        check_plan(staging, share.plan)
    return staging


def _request_of(
    session: CallReader, share: Share, workplace: Workplace, redactor: Redactor | None
) -> "ExportRequest":
    from futureagi_async.export.job import ExportRequest

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
    if not ATTEMPT_NAME.fullmatch(names[0]) or not all(map(PART_NAME.fullmatch, names[1:])):
        raise ExportError(f"Can't use {shown}: it names files that no export writes.")
    return receipt

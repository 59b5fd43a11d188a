"""Splits an export into shares, which any machine can read: `plan_shares`, `export_share`.

A share is one or more whole sources. An attempt exports a share into its own folder in the staging. A
receipt, which is created only once, says which attempt counts.
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
    """Sources that are exported together, and the parameters of their export. It holds no keys."""

    sources: tuple[CallSource, ...]
    first: int
    """The place of its first source among all sources."""
    total: int
    """The number of sources in all shares."""
    requests: int = attrs.field(eq=False)
    """The estimated number of requests."""
    records: int = attrs.field(eq=False)
    """The server's count of calls."""
    plan: str
    """The digest of all sources and parameters. Only shares with the same digest belong together."""
    package: str = __version__
    """The version of this package that made the plan. Workers need the same version."""
    parameters: Parameters = attrs.field(repr=False, hash=False)
    changed_since: tuple[datetime | None, ...] = attrs.field(repr=False)
    """For each source, the time since which changes are read; ``None`` if the source is read in full."""

    @property
    def id(self) -> str:
        """The places of its sources. The names of its attempts and receipts begin with it."""
        return f"{self.first:06}-{len(self.sources):06}"

    def failed(self, error: BaseException | str) -> "ShareReceipt":
        """Return a receipt for `commit_shares` that says that the share failed.

        Its sources are then incomplete, and the error is their reason. For an error of another package, only
        the class is kept, because its message may hold secrets.
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
                reason=f"not read, because its share failed: {error}",
                expected=None,
                received=0,
                failures=(error,),
            )
            for source in self.sources
        ]
        return ShareReceipt(share=self, fetch=FetchReport(tuple(reports)))


@attrs.define(frozen=True, kw_only=True)
class ShareReceipt:
    """The result of a share. It is small: the data for `commit_shares` is in the staging."""

    share: Share
    fetch: FetchReport
    """What was read of each source, and whether each source is provably complete."""
    attempt: str | None = None
    """The attempt that counts; ``None`` for a share that failed."""
    complete: bool = False
    """Whether everything that was requested was read, including transcripts."""
    parts: tuple[Part, ...] = attrs.field(default=(), hash=False)
    """The part files of the attempt, with their SHA-256."""
    ids_sha256: str = ""
    """The SHA-256 of the sorted ids, one per line."""

    @property
    def records(self) -> int:
        """The number of records in the parts."""
        return sum(part.records or 0 for part in self.parts)

    @property
    def bytes(self) -> int:
        """The total size of the parts in bytes."""
        return sum(part.bytes for part in self.parts)


class Receipt(msgspec.Struct, kw_only=True, frozen=True):
    """A receipt as it is stored in the staging."""

    receipt: int = 1
    plan: str
    attempt: str
    pairs_sha256: str
    """The SHA-256 of the file of pairs of the attempt."""
    manifest: Manifest
    """The manifest of the attempt's own export."""

    def of(self, share: Share) -> ShareReceipt:
        """Return the receipt for callers."""
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
    """Split sources into shares for `export_share`, each with about ``requests`` requests.

    A share has whole sources, in the given order. A list is never split, because one reader must prove that
    it is complete. A source that can't be read is a share of its own. This sends one small request for each
    source, but none for sources in ``counts`` and none for sources with a receipt in ``staging``. Sources
    with receipts are split in the same way as before.

    Raises `ValueError` and `TypeError` for wrong arguments, before any request. Raises `ExportError` if the
    staging has another plan. Refused keys raise at once.

    Args:
        session: An open `futureagi_async.Session`.
        sources: The lists to read, each once.
        requests: The approximate number of requests of a share, for pages and details. A longer list is a
            share of its own.
        staging: The staging of the shares, if it may have results of an earlier run.
        counts: The numbers of calls of sources, as far as they are known.
        format: ``"parquet"`` or ``"jsonl"``.
        transcripts: As for `export_calls`, like all following arguments.
        ordered: Needed if unchanged lists must give the same bytes.
        normalised: Write JSON Lines with documented names and units.
        columns: The columns to write.
        drop: Columns to leave out.
        redact: Replace phone numbers and customers' names with keyed digests.
        redact_key: The key of these digests. Default: ``FI_REDACT_KEY``. The shares do not have the key:
            every worker needs the same key, and another key is refused.
        partition: ``"source"`` or ``"date"``, for Hive folders.
        part_rows: Records per part file.
        page_size: Rows per request, approximately.
        include_provider_data: Keep fields that may hold keys of third parties.
        since: An earlier export. Only changes since then are read.

    """
    redactor = make_redactor(redact, redact_key, os.environ)
    redact_key = None  # some tracebacks show a frame's variables
    from futureagi_async.export.job import ExportRequest, check_request

    if format == "csv":
        raise ValueError(
            "format can't be 'csv': its columns depend on all calls, and no share has all of them."
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
        raise ValueError(f"sources must not name a list twice, but they name {twice[0]} twice.")
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
    """Estimate the cost of sources, and split them."""
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
    """Return the same parameters for other sources."""
    return msgspec.structs.replace(parameters, sources=list(sources))


def _cost(planned: SourcePlan) -> float:
    """Return the cost of a source. An unreadable source gets the highest cost, so it stays alone."""
    return inf if planned.error is not None else max(1, planned.requests + planned.detail_requests)


def cut(costs: Sequence[float], most: float, kept: Sequence[range] = ()) -> Iterator[range]:
    """Yield the places of the sources of each share. A share with several sources costs at most ``most``.

    ``kept`` are the shares of an earlier split, in order and without overlaps.
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
    """Return the shares with receipts in a staging, without overlapping ones."""
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
    """Refuse the staging of another plan. Return whether it has a plan."""
    if (text := staging.read(PLAN)) is None:
        return False
    if text != text_of_plan(plan):
        raise ExportError(
            f"{staging} has shares of another plan: other sources, other parameters or another version of "
            "this package. Choose another staging, or remove this one."
        )
    return True


def text_of_plan(plan: str) -> bytes:
    """Return the text that a staging stores about its plan."""
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
    """Export a share to the staging, and return its receipt.

    If another attempt has already left a complete receipt, that one is returned at once. Several attempts can
    run at the same time on different machines. Each writes under its own names, and the first receipt counts.
    An interrupted attempt leaves no receipt. An incomplete share also gets a receipt, which says so. The next
    export of the share tries again, and a complete receipt replaces the incomplete one.

    Raises the same errors as `export_calls`: the first failure if no list could be read at all. Also raises
    `ExportError` if the staging has another plan, or if another version of this package made the plan.

    Args:
        session: An open `futureagi_async.Session`.
        share: A share from `plan_shares`.
        staging: A folder that all workers can access, or ``s3://bucket/prefix/``, ``gs://`` or ``az://``. Use
            a new one for each run, and the same one for all shares.
        redact_key: If the plan uses ``redact``: the same key. Default: ``FI_REDACT_KEY``.
        max_outage: How many seconds to wait for a server that stops answering.
        work_dir: For a staging in a bucket, the directory for unfinished work. Default: the directory for
            temporary files.
        on_progress: Called each time more data is durably on the disk.

    """
    check_kind("share", share, Share)
    redactor = _redactor_of(share, redact_key)
    redact_key = None  # some tracebacks show a frame's variables
    place = read_place("staging", staging)
    unfinished = read_path("work_dir", work_dir) if work_dir is not None else None
    if share.package != __version__:
        raise ExportError(
            f"Version {share.package} of this package planned the share, but this is version {__version__}. "
            "Install the same version on all machines."
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
        raise ValueError(
            "redact_key (FI_REDACT_KEY) is not the key of the plan. Set the same key on all machines."
        )
    return redactor


def _open_for(place: Path | Address, share: Share) -> Staging:
    """Open a staging. From now on it belongs to the plan of the share."""
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
    """Return the receipt that counts: the first complete one, or else the last."""
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
    """Store a receipt, unless there is a complete one. Return the receipt that counts."""
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
    """Return a receipt. Raises `ExportError` if it was changed, or is not of this share."""
    try:
        receipt = msgspec.json.decode(text, type=Receipt)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ExportError(f"Can't use {shown}: it is not the receipt of a share ({error}).") from None
    manifest = receipt.manifest
    if digest_of(msgspec.to_builtins(manifest)) != manifest.digest:
        raise ExportError(f"Can't use {shown}: it was changed. Its digest does not match its content.")
    if receipt.plan != share.plan or manifest.parameters != share.parameters:
        raise ExportError(f"Can't use {shown}: it is the receipt of a share with other parameters.")
    names = [receipt.attempt, *(part.name for part in manifest.parts)]
    if not ATTEMPT_NAME.fullmatch(names[0]) or not all(map(PART_NAME.fullmatch, names[1:])):
        raise ExportError(f"Can't use {shown}: it names files that no export writes.")
    return receipt

"""Exports calls to files: `export_calls`, `verify_export`, `plan_export`, and shares of an export."""

import os
from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from futureagi_async.export.report import ExportProgress, ExportReport, OnProgress
from futureagi_async.sources import CallSource, check_sources

if TYPE_CHECKING:
    from futureagi_async.export.commits import check_commit, commit_shares
    from futureagi_async.export.fetching import CallReader
    from futureagi_async.export.plan import ExportPlan, PlanReader, SourcePlan
    from futureagi_async.export.shares import Share, ShareReceipt, export_share, plan_shares
    from futureagi_async.export.verify import VerifyReport

__all__ = [
    "ExportPlan",
    "ExportProgress",
    "ExportReport",
    "OnProgress",
    "Share",
    "ShareReceipt",
    "SourcePlan",
    "VerifyReport",
    "check_commit",
    "commit_shares",
    "export_calls",
    "export_share",
    "plan_export",
    "plan_shares",
    "verify_export",
]

_HOMES = {
    "ExportPlan": "plan",
    "SourcePlan": "plan",
    "VerifyReport": "verify",
    **dict.fromkeys(("check_commit", "commit_shares"), "commits"),
    **dict.fromkeys(("Share", "ShareReceipt", "plan_shares", "export_share"), "shares"),
}


def __getattr__(name: str) -> Any:
    """Import rarely used names on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


async def export_calls(
    session: "CallReader",
    sources: Iterable[CallSource] | CallSource,
    target: str | PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word users look for
    transcripts: bool = False,
    resume: bool = True,
    overwrite: bool = False,
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
    since: str | PathLike[str] | None = None,
    recordings: str | PathLike[str] | None = None,
    allow_private_hosts: bool = False,
    max_outage: float = 900.0,
    work_dir: str | PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Write the calls of all sources to a file, a directory or a bucket, and return a report.

    The export reads all sources first. While it reads, it stores every page in a working directory, in the
    target or beside it. At the end, each file appears under its name, whole or not at all. Only the owner can
    read the files (mode 0600).

    If the export stops (an error, a cancellation, a crash), make the same call again. It continues, and reads
    again only the pages that were in flight. If a list is incomplete, the report says so; the other lists are
    not affected. The working directory then stays, and the same call reads only what is missing.

    In a bucket (``s3://``, ``gs://`` or ``az://``), each part file has a unique name. The manifest is written
    last, and only if no other export has replaced the earlier manifest. So a reader that starts at the
    manifest never sees half an export, and of two concurrent exports the second one fails. Buckets need the
    extra ``[cloud]``.

    If a directory already holds this export, nothing is read or written (``report.already_finished``).

    Raises `ValueError` and `TypeError` for wrong arguments, and `ExportError` if files can't be written or
    belong to another export. All three are raised before any request. Raises `AuthenticationError` or
    `PermissionDeniedError` as soon as the server refuses the keys. Raises the first failure if no list could
    be read at all.

    Args:
        session: An open `futureagi_async.Session`.
        sources: The lists to read. A call that is in several lists is written once for each list.
        target: A file that ends in ``.jsonl``, ``.ndjson``, ``.csv`` (each also with ``.gz`` or ``.zst``) or
            ``.parquet``. Any other path is a directory, for part files and ``_manifest.json``.
            ``s3://bucket/prefix/``, ``gs://bucket/prefix/`` and ``az://container/prefix/`` are prefixes in a
            bucket.
        format: ``"jsonl"``, ``"csv"`` or ``"parquet"``. Default: from the ending of the file; ``"jsonl"`` for
            a directory.
        transcripts: Also read transcripts that a list does not include: one request for the details of each
            such call. This adds ``transcript``, and ``recordings`` if the list has none.
        resume: Continue an unfinished export in the target. ``False`` starts again and replaces it.
        overwrite: Also replace files that no export wrote, or that were changed after an export: a file or a
            symbolic link at the target (the link itself, not the file it points to), and part files in a
            directory. Also write into a directory that has other files.
        ordered: Sort by source, then newest call first, then by id. Unchanged lists then give the same bytes.
        normalised: Write JSON Lines with documented names and units, not as sent.
        columns: The columns to write. They have the same names as in Parquet, also for CSV and normalised
            lines. ``id`` is always written. The order is that of the schema. ``scenario`` and ``source`` each
            mean several columns.
        drop: Columns to leave out. Their values are also removed from ``extra``, ``misfits``, snapshots and
            evaluations.
        redact: Replace phone numbers and customers' names with keyed digests. The same number or name always
            has the same digest, so rows can still be joined. ``docs/exports.md`` says what is replaced.
        redact_key: The key of these digests. Default: ``FI_REDACT_KEY`` from the environment. The key is not
            stored. The manifest has an id of the key, which only tells two keys apart.
        partition: Put the part files of a directory into Hive folders, for query engines. ``"source"``:
            folders such as ``source_type=run_test/source_id=ID/``. ``"date"``: folders such as
            ``date=2026-01-31/``, by the day of ``timestamp`` in UTC.
        part_rows: Records in each part file of a directory, or with ``partition`` of a folder.
        page_size: Rows per request, approximately.
        include_provider_data: Keep ``call_metadata`` and ``provider_call_data``. They may hold keys of third
            parties.
        since: The ``_manifest.json`` of an earlier export, or its directory or prefix. For each source that
            is complete in it, read only calls that changed since then. This can't find deleted calls.
        recordings: A folder for the audio of the calls. If the target is in a bucket, it can also be a folder
            directly below the target.
        allow_private_hosts: Also download audio from private and local addresses.
        max_outage: How many seconds to wait for a server that stops answering. See
            `futureagi_async.Session.stream_calls`.
        work_dir: For a target in a bucket: the directory for unfinished work. Default: the user's cache
            directory. Each target has its own subdirectory there.
        on_progress: Called each time more data is durably on the disk. It must return quickly.

    """
    from futureagi_async.export.redaction import make_redactor

    redactor = make_redactor(redact, redact_key, os.environ)
    redact_key = None  # some tracebacks show a frame's variables

    from futureagi_async.export.formats.projection import choose_columns
    from futureagi_async.export.job import ExportRequest, run_export
    from futureagi_async.export.targets import read_place, read_target

    request = ExportRequest(
        session=session,
        sources=check_sources(sources),
        target=read_target(target, format, work_dir=work_dir),
        transcripts=transcripts,
        resume=resume,
        overwrite=overwrite,
        ordered=ordered,
        normalised=normalised,
        projection=choose_columns(columns, drop),
        redactor=redactor,
        partition=partition,
        part_rows=part_rows,
        page_size=page_size,
        include_provider_data=include_provider_data,
        since=read_place("since", since) if since is not None else None,
        recordings=read_place("recordings", recordings) if recordings is not None else None,
        allow_private_hosts=allow_private_hosts,
        max_outage=max_outage,
        on_progress=on_progress,
    )
    return await run_export(request)


def verify_export(path: str | PathLike[str]) -> "VerifyReport":
    """Return a report that says whether the files of an export are unchanged.

    For a directory or a prefix, this checks the digest of the manifest and the sums in it; the size, SHA-256,
    number of records and ids of each part file; whether part files are missing or were added; and recordings
    in the directory. An incomplete export that is unchanged is ``ok``, and its ``complete`` is false.

    A single file has no manifest. This checks that the file can be read to its end. If its records name their
    list, this also checks that no list has a call twice. ``report.unchecked`` says what was not checked.

    Objects of a bucket are copied to a temporary directory, one at a time.

    Raises `ExportError` if the path can't be read or is not an export, and `ValueError` for an unsupported
    address. Needs no session. It reads every file and blocks: in an event loop, call it with
    ``anyio.to_thread.run_sync``.
    """
    from futureagi_async.export.targets import read_place
    from futureagi_async.export.verify import verify_place

    return verify_place(read_place("path", path))


async def plan_export(
    session: "PlanReader",
    sources: Iterable[CallSource] | CallSource,
    *,
    page_size: int = 100,
    transcripts: bool = False,
) -> "ExportPlan":
    """Return an estimate of the records, requests, bytes and time of an export, after some small requests.

    It reads five rows of each source, for counts and sizes. For the time, it reads pages of the longest lists
    and a few details, and sends as many concurrent requests as the export would. Together these read at most
    a quarter of the rows of a long export. They are left out if ``max_requests_per_minute`` alone determines
    the time.

    If a list can't be read, the plan has its error. Refused keys and an untrusted server raise at once.
    Raises `TypeError` and `ValueError` for wrong arguments.

    Args:
        session: An open `futureagi_async.Session`.
        sources: The lists to read.
        page_size: Rows per request, as for `export_calls`.
        transcripts: Also count the details that `export_calls` would read.

    """
    from futureagi_async.export import plan

    return await plan.make_plan(session, sources, page_size=page_size, transcripts=transcripts)

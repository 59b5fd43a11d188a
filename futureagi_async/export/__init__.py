"""Calls of many lists into files: `export_calls`, `verify_export`, `plan_export`, and shares of an export."""

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
    """Import what few need on first use."""
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
    """Write the calls of all sources into a file, a directory or a bucket, and return what is in it.

    Files appear under their names when everything was read, whole or not at all. Only their owner may
    read them (mode 0600). Until then, every page is kept in a working directory, in the target or beside it.
    If the export stops (an error, a cancellation, a crash), the same call continues, and reads again only
    what was in flight. An incomplete list is in the report, and does not affect the others. The working
    directory then stays, and the same call tries only what is missing.

    In a bucket (``s3://``, ``gs://`` or ``az://``), parts get names that nothing else ever gets. The manifest
    is written last, and only if what was there when the export began is still there. So readers that begin
    at the manifest never see half an export, and of two writers the second one fails. Needs the extra
    ``[cloud]``.

    A directory that already holds this export is left as it is (``report.already_finished``).

    Raises `ValueError` and `TypeError` for wrong arguments, and `ExportError` if files can't be written or
    belong to another export, all before any request. Raises `AuthenticationError` and
    `PermissionDeniedError` as soon as keys are refused. Raises the first failure if no list could be begun.

    Args:
        session: An open `futureagi_async.Session`.
        sources: What to read; a call that is in several lists is written once for each.
        target: A file ending in ``.jsonl``, ``.ndjson``, ``.csv`` (each also with ``.gz`` or ``.zst``) or
            ``.parquet``. Anything else is a directory, for parts and ``_manifest.json``, as is
            ``s3://bucket/prefix/``, ``gs://bucket/prefix/`` or ``az://container/prefix/``.
        format: ``"jsonl"``, ``"csv"`` or ``"parquet"``. Default: by the ending of the file; ``"jsonl"`` in a
            directory.
        transcripts: Also read the details of calls whose list withholds the transcript, one request a
            call. This adds their ``transcript``, and their ``recordings`` if the list names none.
        resume: Continue an unfinished export in the target. ``False`` begins anew and replaces it.
        overwrite: Also replace what no export wrote, or what was changed since: a file or a link at the
            target (not its target), and parts in a directory. Also write into a directory with other files.
        ordered: Write by source, then newest first, then by id. Unchanged lists then give the same bytes.
        normalised: JSON Lines in documented names and units, not as sent.
        columns: The columns to write, by their names in Parquet, also for CSV and normalised lines. ``id``
            is always among them, and they keep the order of the schema. ``scenario`` and ``source`` stand for
            several columns.
        drop: Columns to leave out. Their values are not in ``extra``, ``misfits``, snapshots or evaluations
            either.
        redact: Replace phone numbers and customers' names by keyed digests. The same number or name has the
            same digest, so that rows can still be joined. ``docs/exports.md`` says what is replaced.
        redact_key: The key of these digests; default ``FI_REDACT_KEY`` from the environment. It is stored
            nowhere. The manifest has an id that tells two keys apart.
        partition: Put the parts of a directory into Hive folders, for query engines: ``"source"`` into
            ``source_type=run_test/source_id=ID/`` and the like, ``"date"`` into ``date=2026-01-31/`` by the
            day of ``timestamp`` in UTC.
        part_rows: Records in each part of a directory; with ``partition``, of a folder.
        page_size: Rows a request, about.
        include_provider_data: Keep ``call_metadata`` and ``provider_call_data``, which may hold other
            parties' keys.
        since: The ``_manifest.json`` of an earlier export, or its directory or prefix. For each source that
            it holds completely, read only what changed since then. This can't see deletions.
        recordings: A folder for the calls' audio. With a target in a bucket, it can also be a folder right
            below that.
        allow_private_hosts: Download audio from private and local addresses, too.
        max_outage: How many seconds to wait for a server that stopped answering; see
            `futureagi_async.Session.stream_calls`.
        work_dir: For a target in a bucket: the directory for unfinished work. Default: the user's cache
            directory. Each target has a directory of its own there.
        on_progress: Called whenever more is safe on the disk. It should be quick.

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
    """Read an export's directory, prefix or file again, and say what is not as it was written.

    Checked are the manifest's own digest and whether its figures add up; size, SHA-256, number of records
    and all ids of the parts; whether parts are missing or were added; recordings that lie in the directory.
    An incomplete export that is as it was written is ``ok``, and its ``complete`` is false.

    A single file has no manifest to compare it with: that it can be read to its end is checked, and that no
    list has a call twice, where its records name their list. ``report.unchecked`` says what is not.

    Objects of a bucket are copied one after the other into a temporary directory.

    Raises `ExportError` where the path can't be read, or is a file of another kind; `ValueError` for an
    address of another kind. Works without a session, and reads every file: in an event loop call it by
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
    """Say what an export would cost, about, after some small requests.

    Five rows of each source tell counts and sizes. Pages of the longest lists, a few details, and as many
    pages at once as the export would ask for tell how long it takes; they are no more than a quarter of a
    long export's rows, and are left out where ``max_requests_per_minute`` alone decides.

    A list that can't be read is in the plan with its error; refused keys, and a server that can't be trusted,
    raise at once. Raises `TypeError` and `ValueError` for wrong arguments.

    Args:
        session: An open `futureagi_async.Session`.
        sources: What to read.
        page_size: Rows a request, as for `export_calls`.
        transcripts: Count the details that `export_calls` would read, too.

    """
    from futureagi_async.export import plan

    return await plan.make_plan(session, sources, page_size=page_size, transcripts=transcripts)

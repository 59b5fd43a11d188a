"""`sync_calls`: keep a database up to date with lists of calls."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING

from futureagi_async.sources import CallSource, check_sources
from futureagi_async.sync.report import SourceSync, SyncReport

if TYPE_CHECKING:
    from futureagi_async.export.fetching import CallReader
    from futureagi_async.export.report import OnProgress

__all__ = ["SourceSync", "SyncReport", "sync_calls"]


async def sync_calls(
    session: "CallReader",
    sources: Iterable[CallSource] | CallSource,
    database: str | PathLike[str],
    *,
    full_every: timedelta | None = timedelta(days=30),
    transcripts: bool = False,
    include_provider_data: bool = False,
    page_size: int = 100,
    max_outage: float = 900.0,
    on_progress: "OnProgress | None" = None,
) -> SyncReport:
    """Update a database with the calls of all sources, and return a report of the changes.

    The first sync of a source reads the whole list. Later syncs read only the changes since its last complete
    sync; every ``full_every`` they read the whole list again. Rows are merged by source and id, in one
    transaction. A newer version of a call replaces an older one, never the reverse. After a complete full
    read, calls that are no longer in their list get a ``deleted_at``. Rows are never removed.

    If a list could not be read completely, the report says so. The calls that were read are merged, none is
    marked as deleted, and the next sync starts from the same point in time as this one.

    The tables are ``calls``, ``evaluations``, ``sources`` and ``syncs``; ``docs/database.md`` describes
    them. The database is not written, and not kept open, until everything was read. If the sync stops (an
    error, a cancellation, a crash), the database has all of its changes or none, and the same call resumes
    the read.

    Raises `ValueError` and `TypeError` for wrong arguments. Raises `SyncError` if the database is in use, was
    not made by a sync, or was changed by another program. These come before any request. Otherwise raises
    what `futureagi_async.export_calls` raises.

    Args:
        session: An open `futureagi_async.Session`.
        sources: The lists to read. Duplicates are ignored. Sources of earlier syncs that are not given keep
            their rows.
        database: A DuckDB file ending in ``.duckdb``, ``.ddb`` or ``.db``; or a directory of Delta tables,
            as ``delta://PATH``; or one in an object store, as ``delta+s3://...``, ``delta+gs://...``,
            ``delta+az://...`` or ``delta+abfss://...``.
        full_every: Time after which a source is read in full again. Only a full read detects deleted calls.
            ``None``: never; ``timedelta(0)``: each time.
        transcripts: Also read the details of calls whose list does not send transcripts, with one request
            per call.
        include_provider_data: Keep ``call_metadata`` and ``provider_call_data``, which may contain other
            parties' keys.
        page_size: Approximate number of rows per request.
        max_outage: How many seconds to wait for a server that stopped answering.
        on_progress: Called each time more data was written to disk. It must return quickly.

    """
    from futureagi_async.options import check_kind
    from futureagi_async.sync.decisions import Content
    from futureagi_async.sync.job import SyncRequest, run_sync_job
    from futureagi_async.sync.targets import read_sync_target

    content = Content(
        transcripts=check_kind("transcripts", transcripts, bool),
        provider_data=check_kind("include_provider_data", include_provider_data, bool),
    )
    request = SyncRequest(
        session=session,
        sources=tuple(dict.fromkeys(check_sources(sources))),
        target=read_sync_target(database),
        content=content,
        full_every=full_every,
        page_size=page_size,
        max_outage=max_outage,
        on_progress=on_progress,
        now=partial(datetime.now, UTC),
    )
    return await run_sync_job(request)

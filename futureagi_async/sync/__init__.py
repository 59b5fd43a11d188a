"""Databases that are kept up to date with lists of calls: `sync_calls`."""

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
    """Bring a database up to date with the calls of all sources, and return what changed in it.

    The first sync of a source reads all of it. Later ones read only what changed since its last complete
    sync, and all of it again every ``full_every``. Rows are merged by source and id, in one transaction. A
    newer version replaces an older one, never the other way round. After a complete full read, calls that are
    no longer in their list get a ``deleted_at``. No row is ever removed. An incomplete list is in the report:
    the calls that were read are merged, nothing is marked as deleted, and the next sync begins where this one
    did.

    The tables are ``calls``, ``evaluations``, ``sources`` and ``syncs``; ``docs/database.md`` describes
    them. Until everything was read, nothing is written to the database, and it is not held open. If the sync
    stops (an error, a cancellation, a crash), the database is as before or as after, and the same call
    continues reading.

    Raises `ValueError` and `TypeError` for wrong arguments, and `SyncError` if the database is in use, was
    not made by a sync, or was changed by something else, all before any request. Otherwise raises what
    `futureagi_async.export_calls` raises.

    Args:
        session: An open `futureagi_async.Session`.
        sources: What to read, each once. Sources of earlier syncs that are missing keep their rows.
        database: A DuckDB file ending in ``.duckdb``, ``.ddb`` or ``.db``; or the directory of Delta tables
            behind ``delta://``, in an object store behind ``delta+s3://``, ``delta+gs://``, ``delta+az://``
            or ``delta+abfss://``.
        full_every: After how long to read a source in full again. Only that shows what was deleted.
            ``None``: never; ``timedelta(0)``: each time.
        transcripts: Also read the details of calls whose list withholds the transcript, one request a call.
        include_provider_data: Keep ``call_metadata`` and ``provider_call_data``, which may hold other
            parties' keys.
        page_size: Rows a request, about.
        max_outage: How many seconds to wait for a server that stopped answering.
        on_progress: Called whenever more is safe on the disk. It should be quick.

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

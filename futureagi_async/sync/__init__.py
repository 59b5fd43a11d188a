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

    Of each source only what changed since its last complete sync is read; all of it the first time, and
    every ``full_every``. Rows are merged by source and id, in one transaction: a newer version takes the
    place of the one that is there, an older one never does. After a complete full read, calls that are
    not in their list any more are marked by ``deleted_at``; no row is ever removed. A list that could not
    be proven complete is in the report: what was read of it is merged, nothing of it is marked as deleted,
    and the next sync begins where this one did.

    The tables are ``calls``, ``evaluations``, ``sources`` and ``syncs``; ``docs/database.md`` describes
    them. Until everything was read nothing is written to the database, and it is not held open. Whatever
    ends the sync (an error, a cancellation, the machine), the database is as before or as after, and the
    same call again goes on reading from there.

    Raises `SyncError` where the database is in use, is none that a sync made, or was changed by something
    else; `ValueError` and `TypeError` for wrong arguments, all before any request; otherwise what
    `futureagi_async.export_calls` raises.

    Args:
        session: An open `futureagi_async.Session`.
        sources: What to read, each once. Sources of earlier syncs that are missing keep their rows.
        database: A DuckDB file ending in ``.duckdb``, ``.ddb`` or ``.db``; or the directory of Delta tables
            behind ``delta://``, in an object store behind ``delta+s3://``, ``delta+gs://``, ``delta+az://``
            or ``delta+abfss://``.
        full_every: After how long to read a source in full again, which alone shows what was deleted.
            ``None``: never; ``timedelta(0)``: each time.
        transcripts: Also read the details of calls whose list withholds the transcript, one request a call.
        include_provider_data: Keep ``call_metadata`` and ``provider_call_data``, which may hold other
            parties' keys.
        page_size: Rows a request, about.
        max_outage: How many seconds to wait for a server that answers nothing any more.
        on_progress: Called whenever more is safe on the disk; should be quick.

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

"""The reports of a sync."""

from datetime import datetime

import attrs

from futureagi_async.errors import FutureAGIError
from futureagi_async.models import SourceReport
from futureagi_async.models.plain import Plain
from futureagi_async.sources import CallSource
from futureagi_async.sync.decisions import Mode


@attrs.define(frozen=True, kw_only=True)
class SourceSync(Plain):
    """What a sync read of one source, and how it changed the source's rows."""

    source: CallSource
    source_id: str
    """The key of the source's rows in all tables."""
    mode: Mode
    """``full``: the whole list was read; ``changes``: only changes since the last complete sync."""
    why: str
    """One sentence for people: why this mode was used."""
    changed_since: datetime | None
    """For ``changes``: the time since when; else ``None``."""
    read: SourceReport
    """The report of the read, and whether it is provably complete."""
    complete_as_of: datetime | None
    """The database has all changes up to this time of the server. The next sync reads from here."""
    inserted: int
    """Number of calls that were not in the database."""
    updated: int
    """Number of calls that were replaced by a newer version."""
    unchanged: int
    """Number of calls that were read again without a change."""
    older: int
    """Number of calls that were read in an older version than the database has; they were ignored."""
    deleted: int
    """Number of calls that were marked as deleted, because a full read did not find them."""


@attrs.define(frozen=True, kw_only=True)
class SyncReport(Plain):
    """The report of a finished sync."""

    added = ("complete", "received", "inserted", "updated", "unchanged", "older", "deleted")

    database: str
    """The database, as you passed it."""
    number: int
    """Number of this sync in the table ``syncs``."""
    started_at: datetime
    finished_at: datetime
    sources: tuple[SourceSync, ...]
    """One report for each source, in the order given."""
    no_longer_named: tuple[CallSource, ...] = ()
    """Sources of earlier syncs that were not given to this one. Their rows are unchanged."""
    evaluations: int = 0
    """Number of rows that were written to the table ``evaluations``."""
    resumed: int = 0
    """How many times the read was resumed after an interruption."""
    transcripts_fetched: int = 0
    """Number of calls whose transcript was added from their details."""
    transcripts_gone: tuple[str, ...] = ()
    """Ids of calls that were deleted before their details could be read; their rows have no transcript."""
    transcript_failures: tuple[FutureAGIError, ...] = ()
    """Errors of details that could not be read; the next sync reads them again."""
    recovered: "SyncReport | None" = None
    """An earlier sync that was interrupted after it had read everything. It was applied before this one."""

    @property
    def complete(self) -> bool:
        """Whether all lists were provably read completely, and all requested transcripts."""
        return all(each.read.verdict == "complete" for each in self.sources) and not self.transcript_failures

    @property
    def received(self) -> int:
        """Number of calls read, over all sources."""
        return sum(each.read.received for each in self.sources)

    @property
    def inserted(self) -> int:
        """Number of calls that were not in the database."""
        return sum(each.inserted for each in self.sources)

    @property
    def updated(self) -> int:
        """Number of calls that were replaced by a newer version."""
        return sum(each.updated for each in self.sources)

    @property
    def unchanged(self) -> int:
        """Number of calls that were read again without a change."""
        return sum(each.unchanged for each in self.sources)

    @property
    def older(self) -> int:
        """Number of calls that were read in an older version than the database has."""
        return sum(each.older for each in self.sources)

    @property
    def deleted(self) -> int:
        """Number of calls that were marked as deleted."""
        return sum(each.deleted for each in self.sources)

"""What callers are told of a sync."""

from datetime import datetime

import attrs

from futureagi_async.errors import FutureAGIError
from futureagi_async.models import SourceReport
from futureagi_async.models.plain import Plain
from futureagi_async.sources import CallSource
from futureagi_async.sync.decisions import Mode


@attrs.define(frozen=True, kw_only=True)
class SourceSync(Plain):
    """What a sync read of one source, and what became of it."""

    source: CallSource
    source_id: str
    """The key of its rows."""
    mode: Mode
    """``full``, or only the ``changes`` since its last complete sync."""
    why: str
    """Why it was read so, in a sentence."""
    changed_since: datetime | None
    """Where only changes were read: since then."""
    read: SourceReport
    """What was read, and whether that is provably all."""
    complete_as_of: datetime | None
    """The server's moment up to which the database holds everything: the next sync goes on from there."""
    inserted: int
    """Calls that are new in the database."""
    updated: int
    """Calls that are there in a newer version now."""
    unchanged: int
    """Calls that were read again in the version that was there."""
    older: int
    """Calls that were read in an older version than the one that was there, which stays."""
    deleted: int
    """Calls that are marked as deleted now, since a full read of their list did not find them."""


@attrs.define(frozen=True, kw_only=True)
class SyncReport(Plain):
    """A finished sync."""

    added = ("complete", "received", "inserted", "updated", "unchanged", "older", "deleted")

    database: str
    """As it was given."""
    number: int
    """Of this sync in the database's table ``syncs``."""
    started_at: datetime
    finished_at: datetime
    sources: tuple[SourceSync, ...]
    """In the order given."""
    no_longer_named: tuple[CallSource, ...] = ()
    """Sources of earlier syncs that this one was not given; their rows stay as they are."""
    evaluations: int = 0
    """Rows written of the table of evaluations."""
    resumed: int = 0
    """How often reading went on after an interruption."""
    transcripts_fetched: int = 0
    """Calls whose transcript was added from their detail."""
    transcripts_gone: tuple[str, ...] = ()
    """Calls that were deleted before their detail could be read; their rows lack a transcript."""
    transcript_failures: tuple[FutureAGIError, ...] = ()
    """Details that could not be read; the next sync asks for them again."""
    recovered: "SyncReport | None" = None
    """A sync that was interrupted after it had read everything, and was applied before this one."""

    @property
    def complete(self) -> bool:
        """Whether the database provably holds all that was asked for, as far as this sync looked."""
        return all(each.read.verdict == "complete" for each in self.sources) and not self.transcript_failures

    @property
    def received(self) -> int:
        """Calls read, over all sources."""
        return sum(each.read.received for each in self.sources)

    @property
    def inserted(self) -> int:
        """Calls that are new in the database."""
        return sum(each.inserted for each in self.sources)

    @property
    def updated(self) -> int:
        """Calls that are there in a newer version now."""
        return sum(each.updated for each in self.sources)

    @property
    def unchanged(self) -> int:
        """Calls that were read again in the version that was there."""
        return sum(each.unchanged for each in self.sources)

    @property
    def older(self) -> int:
        """Calls that were read in an older version than the one that was there."""
        return sum(each.older for each in self.sources)

    @property
    def deleted(self) -> int:
        """Calls that are marked as deleted now."""
        return sum(each.deleted for each in self.sources)

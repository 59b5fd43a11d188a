"""One source while it is read in bulk: its cover, what was delivered of it, and its report."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import attrs

from futureagi_async._sansio.covering import Cover
from futureagi_async._sansio.covering.fast import FastRead
from futureagi_async._sansio.covering.ledger import Ledger
from futureagi_async._sansio.covering.lists import Ask, Finding, ListTraits, Seen
from futureagi_async._sansio.replies import is_past_the_end
from futureagi_async.errors import FutureAGIError
from futureagi_async.models import CallExecution, CallPage, SourceReport
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls

Consistency: TypeAlias = Literal["complete", "fast"]


@attrs.define(frozen=True)
class PageRead:
    """A page, and how it was read; times in seconds of the session's clock."""

    page: CallPage
    attempts: int
    sent_at: float
    received_at: float
    server_time: datetime | None
    """The answer's ``Date``."""
    body_bytes: int


@attrs.define(frozen=True)
class Batch:
    """What a page brought that was not delivered before."""

    index: int
    """The source's place among those given."""
    page: CallPage
    """The page, with only its new calls."""
    newer: tuple[CallExecution, ...] = ()
    """Calls delivered before, in a newer version."""


def traits_of(source: CallSource) -> ListTraits:
    """Say how the server makes this list's pages."""
    match source:
        case RunTestCalls(search=search, status=status):
            return ListTraits(
                counted_first=False, rows_enter_with_old_keys=search is not None or status is not None
            )
        case AgentVersionCalls():
            return ListTraits(counted_first=True, rows_enter_with_old_keys=True)
    filtered = source.search is not None or bool(source.filters)
    return ListTraits(counted_first=True, rows_enter_with_old_keys=filtered, filters_creation=True)


@attrs.define(eq=False)
class Reading:
    """One source while it is read."""

    index: int
    source: CallSource
    cover: Cover | FastRead
    queued: bool = True
    """Whether it stands in line to be asked for its next page."""
    ledger: Ledger = attrs.field(factory=Ledger)
    delivered: int = 0
    """Records that the consumer took."""
    retries: int = 0
    failures: list[FutureAGIError] = attrs.field(factory=list)

    def take(self, ask: Ask, read: PageRead, *, crowded: bool) -> Batch:
        """Feed a page to the cover, and return what is new of it."""
        page = read.page
        self.retries += read.attempts - 1
        self.failures.extend(failure.error for failure in page.failures)
        keys = [call.timestamp.timestamp() if call.timestamp else None for call in page.calls]
        self.cover.take(
            Seen(
                ask=ask,
                count=page.count,
                ids=[call.id for call in page.calls],
                keys=keys,
                has_next=page.has_next,
                sent_at=read.sent_at,
                received_at=read.received_at,
                server_time=read.server_time.timestamp() if read.server_time else None,
                body_bytes=read.body_bytes,
                undecoded=len(page.failures),
            ),
            crowded=crowded,
        )
        return self._enter(page, keys)

    def fail(self, ask: Ask, error: FutureAGIError, now: float) -> bool:
        """Take a page's error into account; whether the reading goes on as if nothing had happened."""
        self.retries += max(0, error.attempts - 1)
        if ask.page > 1 and is_past_the_end(error):
            self.cover.take(_past_the_end(ask, now))
            return True
        if self.cover.lose(ask):
            return True
        self.failures.append(error)
        return False

    def _enter(self, page: CallPage, keys: Sequence[float | None]) -> Batch:
        fresh: list[CallExecution] = []
        newer: list[CallExecution] = []
        for call, key in zip(page.calls, keys, strict=True):
            entry = self.ledger.enter(call.id, key)
            if entry == "new":
                fresh.append(call)
            elif entry == "newer":
                newer.append(call)
        return Batch(self.index, attrs.evolve(page, calls=tuple(fresh)), tuple(newer))

    def report(self) -> SourceReport:
        """Return what can be said of the source now."""
        cover = self.cover
        finding = cover.finding or Finding("incomplete", "Reading was stopped before the end.")
        if self.delivered < len(self.ledger):
            finding = Finding("incomplete", "Not everything that was read has been taken.")
        tau = finding.complete_as_of
        return SourceReport(
            source=self.source,
            verdict=finding.verdict,
            reason=finding.reason,
            expected=cover.count,
            received=self.delivered,
            duplicates=self.ledger.duplicates,
            updates=self.ledger.updates,
            requests=cover.requests,
            retries=self.retries,
            sweeps=cover.sweeps,
            gaps_repaired=cover.gaps_repaired,
            overlapping_rows=cover.overlapping_rows,
            complete_as_of=datetime.fromtimestamp(tau, UTC) if tau is not None else None,
            failures=tuple(self.failures),
        )


def _past_the_end(ask: Ask, now: float) -> Seen:
    """What a version list's 404 tells: only that it holds no more than ``ask.offset`` rows."""
    return Seen(
        ask=ask, count=None, ids=(), keys=(), has_next=False, sent_at=now, received_at=now, server_time=None
    )

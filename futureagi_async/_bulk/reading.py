"""One source while it is read in bulk: its cover, what was delivered of it, and its report."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import compress

import attrs

from futureagi_async._bulk.checkpoints import (
    Asked,
    Event,
    Lost,
    Mark,
    Renewed,
    Took,
    digest_nature,
    encode_mark,
)
from futureagi_async._sansio.covering import Cover
from futureagi_async._sansio.covering.fast import FastRead
from futureagi_async._sansio.covering.pages import DELTA_SECONDS, Ask, Finding, ListTraits
from futureagi_async._sansio.covering.seen_ids import Entry, Ledger
from futureagi_async._sansio.replies import is_past_the_end
from futureagi_async.errors import DecodingError, FutureAGIError
from futureagi_async.models import CallExecution, CallPage, SourceReport
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls

_MARKS_LACKING = "resume lacks some marks, or holds them in another order."


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


@attrs.define(frozen=True)
class Step:
    """What one page of a bulk read brought, and what to keep for going on from there."""

    index: int
    """The source's place among those given."""
    page: CallPage
    """The page, with only the calls that were not delivered before."""
    newer: tuple[CallExecution, ...]
    """Calls delivered before, in a newer version."""
    mark: bytes
    """Opaque; keep it once the calls are safe, and give all marks to ``resume`` in the order they came."""


@attrs.define(frozen=True, eq=False)
class Job:
    """A page that a source wants read."""

    reading: "Reading"
    number: int
    """Which of the source's pages, counted as they are asked for."""
    ask: Ask


@attrs.define(eq=False)
class Reading:
    """One source while it is read. What its cover is asked and told is remembered until the next mark."""

    index: int
    source: CallSource
    begin: Callable[[], Cover | FastRead]
    """Makes a cover that knows nothing yet."""
    how: str
    """What else than the source tells this reading from others."""
    epoch: float
    """When the read began, on the session's clock."""
    since: float | None = None
    """Only rows changed since then are wanted; Unix seconds of the server's clock."""
    queued: bool = True
    """Whether it stands in line to be asked for its next page."""
    ledger: Ledger = attrs.field(factory=Ledger)
    delivered: int = 0
    """Records that the consumer took."""
    retries: int = 0
    failures: list[FutureAGIError] = attrs.field(factory=list)
    cover: Cover | FastRead = attrs.field(init=False)
    _asked: int = 0
    _requests_before: int = 0
    """Those of covers that came to nothing."""
    _waiting: dict[int, Ask] = attrs.field(factory=dict)
    """Pages asked for before an interruption, without an answer."""
    _events: list[Event] = attrs.field(factory=list)
    _nature: bytes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.cover = self.begin()
        self._nature = digest_nature(self.source, self.how)

    def next_job(self) -> Job | None:
        """Return a page to read now, or ``None`` for "not now"."""
        for number in self._waiting:
            return Job(self, number, self._waiting.pop(number))
        ask = self.cover.next_ask()
        if ask is not None:
            self._events.append(Asked(in_vain=False))
            self._asked += 1
            return Job(self, self._asked, ask)
        if not self._events or self._events[-1] != Asked(in_vain=True):
            self._events.append(Asked(in_vain=True))
        return None

    def take(self, job: Job, read: PageRead, *, crowded: bool) -> Step:
        """Feed a page to the cover, and return what is new of it."""
        page = read.page
        took = Took(
            number=job.number,
            count=page.count,
            ids=[call.id for call in page.calls],
            keys=[call.timestamp.timestamp() if call.timestamp else None for call in page.calls],
            has_next=page.has_next,
            sent_at=read.sent_at - self.epoch,
            received_at=read.received_at - self.epoch,
            server_time=read.server_time.timestamp() if read.server_time else None,
            body_bytes=read.body_bytes,
            crowded=crowded,
            retries=read.attempts - 1,
            failures=[str(failure.error) for failure in page.failures],
        )
        self._events.append(took)
        self.retries += took.retries
        self.failures.extend(failure.error for failure in page.failures)
        self.cover.take(took.seen(job.ask, self.epoch), crowded=crowded)
        return self._step(page, self._enter(took))

    def fail(self, job: Job, error: FutureAGIError, now: float) -> bool:
        """Take a page's error into account; whether the reading goes on as if nothing had happened."""
        retries = max(0, error.attempts - 1)
        if job.ask.page > 1 and is_past_the_end(error):
            past = _past_the_end(job.number, now - self.epoch, retries)
            self._events.append(past)
            self.retries += retries
            self.cover.take(past.seen(job.ask, self.epoch))
            return True
        self.retries += retries
        forgiven = self.cover.lose(job.ask)
        self._events.append(Lost(job.number, retries, None if forgiven else str(error)))
        if not forgiven:
            self.failures.append(error)
        return forgiven

    def restore(self, mark: Mark) -> None:
        """Bring the cover to where it was when the mark was made; marks come in their order."""
        if mark.nature != self._nature:
            raise ValueError("resume holds marks of other sources, of another order, or of other options.")
        for event in mark.events:
            self._replay(event)

    def resume(self) -> None:
        """Go on after `restore`; a source of which nothing could be proven is begun anew."""
        finding = self.cover.finding
        if finding is not None and finding.verdict == "incomplete":
            self._renew()
            self._events.append(Renewed())
        elif isinstance(self.cover, Cover):
            self.cover.resume()

    def _replay(self, event: Event) -> None:
        match event:
            case Asked(in_vain=in_vain):
                ask = self.cover.next_ask()
                if (ask is None) != in_vain:
                    raise ValueError(_MARKS_LACKING)
                if ask is not None:
                    self._asked += 1
                    self._waiting[self._asked] = ask
            case Took():
                self.retries += event.retries
                self.failures.extend(map(DecodingError, event.failures))
                self.cover.take(event.seen(self._asked_for(event.number), self.epoch), crowded=event.crowded)
                self.delivered += self._enter(event).count("new")
            case Lost():
                self.retries += event.retries
                self.cover.lose(self._asked_for(event.number))
                if event.failure is not None:
                    self.failures.append(FutureAGIError(event.failure))
            case Renewed():
                self._renew()

    def _asked_for(self, number: int) -> Ask:
        ask = self._waiting.pop(number, None)
        if ask is None:
            raise ValueError(_MARKS_LACKING)
        return ask

    def _renew(self) -> None:
        self._requests_before += self.cover.requests
        self.cover = self.begin()
        self._waiting.clear()
        self.failures.clear()

    def _enter(self, took: Took) -> Sequence[Entry | None]:
        """Note a page's records; ``None`` for those that are older than what is wanted."""
        if self.since is None:
            return self.ledger.enter_all(took.ids, took.keys)
        oldest = self.since - DELTA_SECONDS
        wanted = [key is None or key >= oldest for key in took.keys]
        ids, keys = list(compress(took.ids, wanted)), list(compress(took.keys, wanted))
        entries = iter(self.ledger.enter_all(ids, keys))
        return [next(entries) if wants else None for wants in wanted]

    def _step(self, page: CallPage, entries: Sequence[Entry | None]) -> Step:
        calls = tuple(zip(page.calls, entries, strict=True))
        fresh = tuple(call for call, entry in calls if entry == "new")
        newer = tuple(call for call, entry in calls if entry == "newer")
        mark = encode_mark(self.index, self._nature, self._events)
        self._events.clear()
        return Step(self.index, attrs.evolve(page, calls=fresh), newer, mark)

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
            expected=cover.count if self.since is None else None,
            received=self.delivered,
            duplicates=self.ledger.duplicates,
            updates=self.ledger.updates,
            requests=self._requests_before + cover.requests,
            retries=self.retries,
            sweeps=cover.sweeps,
            gaps_repaired=cover.gaps_repaired,
            overlapping_rows=cover.overlapping_rows,
            complete_as_of=datetime.fromtimestamp(tau, UTC) if tau is not None else None,
            failures=tuple(self.failures),
        )


def _past_the_end(number: int, now: float, retries: int) -> Took:
    """What a version list's 404 tells: only that it holds no more rows than lie before the page."""
    return Took(
        number=number,
        count=None,
        ids=[],
        keys=[],
        has_next=False,
        sent_at=now,
        received_at=now,
        server_time=None,
        body_bytes=0,
        crowded=False,
        retries=retries,
        failures=[],
    )

"""What an export would cost: `plan_export`. Sizes are those of samples, times are measured."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate, groupby
from math import ceil, sqrt
from statistics import fmean
from typing import Final, Protocol, TypeVar

import anyio
import attrs

from futureagi_async.errors import STOPS_JOB, FutureAGIError
from futureagi_async.export.formats.records import lacks_transcript
from futureagi_async.models import CallExecution, CallPage
from futureagi_async.models.plain import Plain
from futureagi_async.options import MAX_PAGE_SIZE, check_count
from futureagi_async.sources import CallSource, RunTestCalls, check_sources

T = TypeVar("T")

SAMPLE_ROWS: Final = 5
"""Rows asked for of each source."""
TIMED_ROWS: Final = (10, 30)
"""Rows asked for of the longest lists, to see what a page costs and what a row."""

_AT_ONCE = 4  # samples
_TIMED_LISTS = 2  # of each kind
_TIMED_DETAILS = 2
_PART_OF_ROWS = 4  # at most a quarter of them is asked for only to see how many pages come at once
_WAITED = 1.5  # times as long as alone: the page stood in line behind others

# How lists are read, see `docs/completeness.md`.
_ATOMIC_ROWS = 1_000
_ATOMIC_SECONDS = 3.0
_ATOMIC_SECONDS_SLOTS_FULL = 15.0
_ROOM = 10  # places that are left on the first page where it is enough for a run test
_GROWTH = 50  # places behind the end of a list that its one page also asks for
_TAIL_ROWS = 20
_REQUESTS_A_PAGE = 1.1  # pages overlap
_ALLOWANCE_SECONDS = 61  # a session spreads a minute's requests over a little more


class PlanReader(Protocol):
    """The part of `futureagi_async.Session` that a plan uses."""

    @property
    def max_in_flight(self) -> int:
        """Requests under way at once."""
        ...

    @property
    def max_requests_per_minute(self) -> int | None:
        """The most requests in a minute."""
        ...

    async def get_page(self, source: CallSource, *, page: int = ..., limit: int = ...) -> CallPage:
        """Return one page of a list."""
        ...

    async def get_call_execution(self, call_execution_id: str, /) -> CallExecution:
        """Return one call in full detail."""
        ...


@attrs.define(frozen=True, kw_only=True)
class SourcePlan(Plain):
    """What one source would cost."""

    source: CallSource
    records: int = 0
    """What the server counts; run tests count deleted calls, which it does not deliver."""
    requests: int = 0
    """For pages, about."""
    detail_requests: int = 0
    """For transcripts that the list withholds, about."""
    bytes: int = 0
    """Of the records as sent, about; without what details add."""
    seconds: float = 0.0
    """Of the server's work, about: of its requests one after another."""
    error: FutureAGIError | None = None
    """Why nothing is known of the source."""


@attrs.define(frozen=True, kw_only=True)
class ExportPlan(Plain):
    """What an export would cost, about; from small requests."""

    added = ("known", "records", "requests", "bytes")

    sources: tuple[SourcePlan, ...]
    """In the order given."""
    seconds: float
    """How long it would take with the session's limits, about, if the server answers as it did just now."""

    @property
    def records(self) -> int:
        """Over all sources."""
        return sum(source.records for source in self.sources)

    @property
    def requests(self) -> int:
        """Over all sources, those for details included."""
        return sum(source.requests + source.detail_requests for source in self.sources)

    @property
    def bytes(self) -> int:
        """Over all sources."""
        return sum(source.bytes for source in self.sources)

    @property
    def known(self) -> bool:
        """Whether every source could be asked."""
        return all(source.error is None for source in self.sources)


@attrs.define(frozen=True)
class PageCost:
    """Seconds that a page takes on a server that does nothing else."""

    fixed: float
    """However many rows it has."""
    per_row: float

    def of(self, rows: float) -> float:
        """Return the seconds of a page with so many rows."""
        return self.fixed + rows * self.per_row

    @classmethod
    def measured(cls, few: CallPage, more: CallPage | None = None) -> "PageCost":
        """Return what two pages of different length show; one alone is taken for its rows' work."""
        seconds, rows = few.elapsed or 0.0, len(few.calls)
        if more is None or len(more.calls) <= rows:
            return cls(0.0, seconds / rows) if rows else cls(seconds, 0.0)
        per_row = max(0.0, (more.elapsed or 0.0) - seconds) / (len(more.calls) - rows)
        return cls(max(0.0, seconds - rows * per_row), per_row)

    @classmethod
    def mean(cls, costs: Iterable["PageCost"]) -> "PageCost":
        """Return the cost between several."""
        known = list(costs)
        return cls(fmean(cost.fixed for cost in known), fmean(cost.per_row for cost in known))


_NO_COST = PageCost(0.0, 0.0)


@attrs.define(frozen=True)
class Reading:
    """How a list is read: pages that wait for each other, by their rows, and pages of one size at once."""

    one_by_one: tuple[int, ...] = ()
    at_once: int = 0
    page_size: int = 0

    @property
    def requests(self) -> int:
        """How many pages there are."""
        return len(self.one_by_one) + self.at_once

    def work(self, cost: PageCost) -> float:
        """Return the seconds of all pages one after another."""
        return sum(map(cost.of, self.one_by_one)) + self.at_once * cost.of(self.page_size)

    def alone(self, cost: PageCost, parallelism: float) -> float:
        """Return the seconds until the list is read, with nothing else going on."""
        rounds = max(1.0, self.at_once / parallelism) if self.at_once else 0.0
        return sum(map(cost.of, self.one_by_one)) + rounds * cost.of(self.page_size)


def reading_of(source: CallSource, count: int, cost: PageCost, *, page_size: int, patience: float) -> Reading:
    """Tell how an export reads a list; in one page, where that takes no more than ``patience`` seconds."""
    first = min(count, page_size)
    is_run_test = isinstance(source, RunTestCalls)
    if is_run_test and count + _ROOM <= page_size:
        return Reading((first,))
    if count <= page_size:
        return Reading((first, count))
    tail = () if is_run_test else (_TAIL_ROWS,)
    rows_asked_for = count * 1.1 + _GROWTH
    if rows_asked_for <= _ATOMIC_ROWS and cost.of(first) * rows_asked_for / first <= patience:
        return Reading((first, *tail, count))
    pages = ceil(count / page_size * _REQUESTS_A_PAGE)
    return Reading((first, *tail, first), pages - 1, page_size)


def parallelism_of(alone: float, at_once: Sequence[tuple[float, float]], *, most: int) -> float:
    """Conclude how many answers the server makes at once, from 1 to ``most``.

    Args:
        alone: Seconds of a page while nothing else was asked for.
        at_once: When pages like it, asked for together, were sent and answered.
        most: How many will be asked for at once.

    """
    makespan = max((end for _, end in at_once), default=0.0) - min(
        (begin for begin, _ in at_once), default=0.0
    )
    if not alone or not makespan:
        return float(most)
    seconds = [end - begin for begin, end in at_once]
    if sum(each > _WAITED * alone for each in seconds) >= len(seconds) / 10:  # this is as much as it can do
        return min(float(most), max(1.0, len(seconds) * alone / makespan))
    changes = sorted([(begin, 1) for begin, _ in at_once] + [(end, -1) for _, end in at_once])
    in_flight = min(most, max(accumulate(change for _, change in changes)))
    seen = sqrt(in_flight * most)  # no less than the one, no more than the other
    return max(1.0, seen * min(1.0, alone / fmean(seconds)))


@attrs.define(frozen=True, kw_only=True)
class Sample:
    """What was seen of a source: a page and what pages of it cost, or why nothing."""

    source: CallSource
    page: CallPage | None = None
    cost: PageCost = _NO_COST
    error: FutureAGIError | None = None
    known: int = 0
    """How many rows the list has, where no page is kept."""
    known_details: int = 0
    """For how many calls the list withholds the transcript, where no page is kept."""

    @property
    def count(self) -> int:
        """How many rows the list has."""
        return self.page.count if self.page else self.known

    @property
    def details(self) -> int:
        """For how many calls the list withholds the transcript."""
        return self.share(1 for _ in self.withheld) if self.page else self.known_details

    @classmethod
    def counted(cls, source: CallSource, count: int) -> "Sample":
        """Return what is known of a list whose rows others counted; details are the most it may need."""
        details = 0 if isinstance(source, RunTestCalls) else count
        return cls(source=source, known=count, known_details=details)

    def without_page(self) -> "Sample":
        """Return the same without the page, which thousands of lists would have in memory."""
        return attrs.evolve(self, page=None, known=self.count, known_details=self.details)

    @property
    def withheld(self) -> list[CallExecution]:
        """The calls of the page whose transcripts the list withholds."""
        return [call for call in self.page.calls if lacks_transcript(call)] if self.page else []

    @property
    def bytes(self) -> int:
        """How large the records are, about."""
        return self.share(len(call.raw) for call in self.page.calls) if self.page else 0

    def share(self, amounts: Iterable[int]) -> int:
        """Return what the whole list has of something, if it is as the page."""
        rows = len(self.page.calls) if self.page else 0
        return round(self.count * sum(amounts) / rows) if rows else 0


@attrs.define(frozen=True, kw_only=True)
class Conditions:
    """What decides, besides the lists, how long an export takes."""

    page_size: int
    transcripts: bool
    max_in_flight: int
    max_requests_per_minute: int | None
    parallelism: float = 1.0
    """How many answers the server makes at once."""
    detail_seconds: float | None = None
    """What a detail takes; ``None`` for as long as a page of one row."""

    def seconds_allowed(self, requests: int) -> float:
        """Return what so many requests take at least: a session sends a tenth at once, and then evenly."""
        if self.max_requests_per_minute is None:
            return 0.0
        at_once = max(1, self.max_requests_per_minute // 10)
        evenly = self.max_requests_per_minute - at_once + 1
        return max(0, requests - at_once) * _ALLOWANCE_SECONDS / evenly


def readings_of(samples: Sequence[Sample], conditions: Conditions) -> list[Reading]:
    """Tell how an export reads the lists beside each other."""
    slots_full = len(samples) >= conditions.max_in_flight
    patience = _ATOMIC_SECONDS_SLOTS_FULL if slots_full else _ATOMIC_SECONDS
    return [
        reading_of(one.source, one.count, one.cost, page_size=conditions.page_size, patience=patience)
        if one.error is None
        else Reading()
        for one in samples
    ]


def estimate(samples: Sequence[Sample], conditions: Conditions) -> ExportPlan:
    """Conclude what an export costs."""
    parallelism = conditions.parallelism
    sources: list[SourcePlan] = []
    longest = pages_work = details_work = 0.0
    for sample, reading in zip(samples, readings_of(samples, conditions), strict=True):
        details = sample.details if conditions.transcripts else 0
        work = reading.work(sample.cost)
        detail_work = details * (conditions.detail_seconds or sample.cost.of(1))
        longest = max(longest, reading.alone(sample.cost, parallelism))
        pages_work, details_work = pages_work + work, details_work + detail_work
        sources.append(
            SourcePlan(
                source=sample.source,
                records=sample.count,
                requests=reading.requests,
                detail_requests=details,
                bytes=sample.bytes,
                seconds=work + detail_work,
                error=sample.error,
            )
        )
    seconds = max(longest, pages_work / parallelism) + details_work / parallelism
    plan = ExportPlan(sources=tuple(sources), seconds=seconds)
    return attrs.evolve(plan, seconds=max(seconds, conditions.seconds_allowed(plan.requests)))


async def make_plan(
    session: PlanReader,
    sources: Iterable[CallSource] | CallSource,
    *,
    page_size: int,
    transcripts: bool,
) -> ExportPlan:
    """Do what `plan_export` says."""
    checked = check_sources(sources)
    check_count("page_size", page_size, at_most=MAX_PAGE_SIZE)
    conditions = Conditions(
        page_size=page_size,
        transcripts=transcripts,
        max_in_flight=session.max_in_flight,
        max_requests_per_minute=session.max_requests_per_minute,
    )
    samples = await _take_samples(session, checked)
    plan = estimate(samples, conditions)
    if plan.seconds <= conditions.seconds_allowed(plan.requests):  # how fast the server is does not matter
        return plan
    samples = await _time_pages(session, samples)
    if transcripts:
        conditions = attrs.evolve(conditions, detail_seconds=await _time_details(session, samples))
    parallelism = await _measure_parallelism(session, samples, conditions)
    return estimate(samples, attrs.evolve(conditions, parallelism=parallelism))


async def plan_sources(
    session: PlanReader,
    sources: Sequence[CallSource],
    counts: Mapping[CallSource, int],
    *,
    page_size: int,
    transcripts: bool,
) -> tuple[SourcePlan, ...]:
    """Say what each source would cost, after one small request for each whose rows nobody has counted."""
    conditions = Conditions(
        page_size=page_size,
        transcripts=transcripts,
        max_in_flight=session.max_in_flight,
        max_requests_per_minute=session.max_requests_per_minute,
    )

    async def count(source: CallSource) -> Sample:
        return (await _take_sample(session, source)).without_page()

    unknown = [source for source in sources if source not in counts]
    taken = await _ask([partial(count, source) for source in unknown], at_once=session.max_in_flight)
    sampled = {one.source: one for one in _with_errors(unknown, taken)}
    samples = [sampled.get(source) or Sample.counted(source, counts[source]) for source in sources]
    return estimate(samples, conditions).sources


async def _take_samples(session: PlanReader, sources: Sequence[CallSource]) -> list[Sample]:
    """Ask each source for a few rows, some at once."""
    asked = [partial(_take_sample, session, source) for source in sources]
    return _with_errors(sources, await _ask(asked, at_once=min(_AT_ONCE, session.max_in_flight)))


async def _take_sample(session: PlanReader, source: CallSource) -> Sample:
    page = await session.get_page(source, page=1, limit=SAMPLE_ROWS)
    return Sample(source=source, page=page, cost=PageCost.measured(page))


def _with_errors(sources: Sequence[CallSource], taken: Sequence[Sample | FutureAGIError]) -> list[Sample]:
    return [
        Sample(source=source, error=sample) if isinstance(sample, FutureAGIError) else sample
        for source, sample in zip(sources, taken, strict=True)
    ]


async def _time_pages(session: PlanReader, samples: Sequence[Sample]) -> list[Sample]:
    """Find out what pages cost, by the longest lists of each kind; the others are taken to be like them."""
    timed: dict[CallSource, PageCost] = {}
    means: dict[str, PageCost] = {}
    by_kind = sorted((one for one in samples if one.count), key=lambda one: (one.source.kind, -one.count))
    for kind, alike in groupby(by_kind, key=lambda one: one.source.kind):
        costs: dict[CallSource, PageCost] = {}
        for sample in list(alike)[:_TIMED_LISTS]:
            few, more = await _ask(
                [partial(session.get_page, sample.source, page=1, limit=rows) for rows in TIMED_ROWS],
                at_once=1,
            )
            if not isinstance(few, FutureAGIError) and not isinstance(more, FutureAGIError):
                costs[sample.source] = PageCost.measured(few, more)
        if costs:
            timed |= costs
            means[kind] = PageCost.mean(costs.values())
    return [
        attrs.evolve(one, cost=timed.get(one.source) or means.get(one.source.kind) or one.cost)
        for one in samples
    ]


async def _time_details(session: PlanReader, samples: Sequence[Sample]) -> float | None:
    """Return what a detail takes, by some of those that the export would read."""
    withheld = [call for sample in samples for call in sample.withheld[:1]]

    async def time_one(call: CallExecution) -> float:
        began = anyio.current_time()
        await session.get_call_execution(call.call_execution_id)
        return anyio.current_time() - began

    asked = [partial(time_one, call) for call in withheld[:_TIMED_DETAILS]]
    seconds = [one for one in await _ask(asked, at_once=1) if not isinstance(one, FutureAGIError)]
    return fmean(seconds) if seconds else None


async def _measure_parallelism(
    session: PlanReader, samples: Sequence[Sample], conditions: Conditions
) -> float:
    """Ask for as many pages at once as the export would, where that is a small part of its rows."""
    plan = estimate(samples, conditions)
    readings = readings_of(samples, conditions)
    details = sum(source.detail_requests for source in plan.sources)
    most = min(session.max_in_flight, max(sum(max(1, one.at_once) for one in readings), details))
    longest = max(samples, key=lambda sample: sample.count, default=None)
    rows = TIMED_ROWS[-1]
    pages_at_once = min(most, max(_AT_ONCE, plan.records // (_PART_OF_ROWS * rows)))
    if longest is None or most == 1:
        return 1.0
    last = max(1, longest.count // rows)

    async def time_one(page: int) -> tuple[float, float]:
        elapsed = (await session.get_page(longest.source, page=page, limit=rows)).elapsed
        now = anyio.current_time()
        return now - (elapsed or 0.0), now  # without the wait for a slot of the session

    asked = [partial(time_one, 1 + number % last) for number in range(pages_at_once)]
    spans = [one for one in await _ask(asked, at_once=pages_at_once) if not isinstance(one, FutureAGIError)]
    return parallelism_of(longest.cost.of(min(rows, longest.count)), spans, most=most)


async def _ask(requests: Sequence[Callable[[], Awaitable[T]]], *, at_once: int) -> list[T | FutureAGIError]:
    """Return an answer or an error for each; raise at once where no request will be answered."""
    answers: dict[int, T | FutureAGIError] = {}
    stopped_by: list[FutureAGIError] = []
    waiting = iter(enumerate(requests))

    async def work() -> None:
        for place, request in waiting:
            try:
                answers[place] = await request()
            except STOPS_JOB as error:
                stopped_by.append(error)
                workers.cancel_scope.cancel()
            except FutureAGIError as error:
                answers[place] = error

    async with anyio.create_task_group() as workers:
        for _ in range(min(at_once, len(requests))):
            workers.start_soon(work)
    if stopped_by:
        raise stopped_by[0]
    return [answers[place] for place in range(len(requests))]

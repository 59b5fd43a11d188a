"""Estimates the cost of an export: `plan_export`. Sizes are from samples, times are measured."""

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
"""The number of rows requested from each source."""
TIMED_ROWS: Final = (10, 30)
"""The numbers of rows requested from the longest lists, to measure the time per page and per row."""

_AT_ONCE = 4  # samples
_TIMED_LISTS = 2  # of each kind
_TIMED_DETAILS = 2
_PART_OF_ROWS = 4  # at most a quarter of the rows is read only to measure the concurrency
_WAITED = 1.5  # if a page takes this many times as long as alone, it waited behind others

# How lists are read: see `docs/completeness.md`.
_ATOMIC_ROWS = 1_000
_ATOMIC_SECONDS = 3.0
_ATOMIC_SECONDS_SLOTS_FULL = 15.0
_ROOM = 10  # unused places on the first page if it has the whole list of a run test
_GROWTH = 50  # places after the end of a list that its only page also requests
_TAIL_ROWS = 20
_REQUESTS_A_PAGE = 1.1  # pages overlap
_ALLOWANCE_SECONDS = 61  # a session spreads the requests of a minute over slightly more time


class PlanReader(Protocol):
    """The part of `futureagi_async.Session` that a plan uses."""

    @property
    def max_in_flight(self) -> int:
        """Requests in flight at the same time."""
        ...

    @property
    def max_requests_per_minute(self) -> int | None:
        """The limit of requests per minute."""
        ...

    async def get_page(self, source: CallSource, *, page: int = ..., limit: int = ...) -> CallPage:
        """Return one page of a list."""
        ...

    async def get_call_execution(self, call_execution_id: str, /) -> CallExecution:
        """Return one call with all details."""
        ...


@attrs.define(frozen=True, kw_only=True)
class SourcePlan(Plain):
    """The estimated cost of one source."""

    source: CallSource
    records: int = 0
    """The server's count of calls. Run tests include deleted calls, which the server does not send."""
    requests: int = 0
    """The estimated number of requests for pages."""
    detail_requests: int = 0
    """The estimated number of requests for transcripts that the list does not include."""
    bytes: int = 0
    """The estimated size of the records as sent, without details."""
    seconds: float = 0.0
    """The estimated time of the server: of all requests one after another."""
    error: FutureAGIError | None = None
    """The error, if the source could not be read."""


@attrs.define(frozen=True, kw_only=True)
class ExportPlan(Plain):
    """The estimated cost of an export, from some small requests."""

    added = ("known", "records", "requests", "bytes")

    sources: tuple[SourcePlan, ...]
    """The plans of the sources, in the given order."""
    seconds: float
    """The estimated time with the limits of the session, if the server stays as fast as now."""

    @property
    def records(self) -> int:
        """The sum over all sources."""
        return sum(source.records for source in self.sources)

    @property
    def requests(self) -> int:
        """The sum over all sources, including requests for details."""
        return sum(source.requests + source.detail_requests for source in self.sources)

    @property
    def bytes(self) -> int:
        """The sum over all sources."""
        return sum(source.bytes for source in self.sources)

    @property
    def known(self) -> bool:
        """Whether every source could be read."""
        return all(source.error is None for source in self.sources)


@attrs.define(frozen=True)
class PageCost:
    """The seconds of a page on an idle server."""

    fixed: float
    """The part that does not depend on the number of rows."""
    per_row: float

    def of(self, rows: float) -> float:
        """Return the seconds of a page with a number of rows."""
        return self.fixed + rows * self.per_row

    @classmethod
    def measured(cls, few: CallPage, more: CallPage | None = None) -> "PageCost":
        """Return the cost from two pages of different length. With one page, all time counts per row."""
        seconds, rows = few.elapsed or 0.0, len(few.calls)
        if more is None or len(more.calls) <= rows:
            return cls(0.0, seconds / rows) if rows else cls(seconds, 0.0)
        per_row = max(0.0, (more.elapsed or 0.0) - seconds) / (len(more.calls) - rows)
        return cls(max(0.0, seconds - rows * per_row), per_row)

    @classmethod
    def mean(cls, costs: Iterable["PageCost"]) -> "PageCost":
        """Return the mean of several costs."""
        known = list(costs)
        return cls(fmean(cost.fixed for cost in known), fmean(cost.per_row for cost in known))


_NO_COST = PageCost(0.0, 0.0)


@attrs.define(frozen=True)
class Reading:
    """How a list is read: sequential pages with their rows, then concurrent pages of one size."""

    one_by_one: tuple[int, ...] = ()
    at_once: int = 0
    page_size: int = 0

    @property
    def requests(self) -> int:
        """The number of pages."""
        return len(self.one_by_one) + self.at_once

    def work(self, cost: PageCost) -> float:
        """Return the seconds of all pages, one after another."""
        return sum(map(cost.of, self.one_by_one)) + self.at_once * cost.of(self.page_size)

    def alone(self, cost: PageCost, parallelism: float) -> float:
        """Return the seconds until the list is read, without other requests."""
        rounds = max(1.0, self.at_once / parallelism) if self.at_once else 0.0
        return sum(map(cost.of, self.one_by_one)) + rounds * cost.of(self.page_size)


def reading_of(source: CallSource, count: int, cost: PageCost, *, page_size: int, patience: float) -> Reading:
    """Return how an export reads a list: as one page, if that takes at most ``patience`` seconds."""
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
    """Return how many requests the server processes concurrently, from 1 to ``most``.

    Args:
        alone: Seconds of a page without other requests.
        at_once: The times when similar concurrent requests were sent and answered.
        most: The number of concurrent requests of the export.

    """
    makespan = max((end for _, end in at_once), default=0.0) - min(
        (begin for begin, _ in at_once), default=0.0
    )
    if not alone or not makespan:
        return float(most)
    seconds = [end - begin for begin, end in at_once]
    if sum(each > _WAITED * alone for each in seconds) >= len(seconds) / 10:  # the server can't process more
        return min(float(most), max(1.0, len(seconds) * alone / makespan))
    changes = sorted([(begin, 1) for begin, _ in at_once] + [(end, -1) for _, end in at_once])
    in_flight = min(most, max(accumulate(change for _, change in changes)))
    seen = sqrt(in_flight * most)  # between the two
    return max(1.0, seen * min(1.0, alone / fmean(seconds)))


@attrs.define(frozen=True, kw_only=True)
class Sample:
    """The sample of a source: a page and the cost of its pages, or an error."""

    source: CallSource
    page: CallPage | None = None
    cost: PageCost = _NO_COST
    error: FutureAGIError | None = None
    known: int = 0
    """The number of rows of the list, if no page is kept."""
    known_details: int = 0
    """The number of calls without a transcript in the list, if no page is kept."""

    @property
    def count(self) -> int:
        """The number of rows of the list."""
        return self.page.count if self.page else self.known

    @property
    def details(self) -> int:
        """The number of calls without a transcript in the list."""
        return self.share(1 for _ in self.withheld) if self.page else self.known_details

    @classmethod
    def counted(cls, source: CallSource, count: int) -> "Sample":
        """Return the sample of a list with a known count. It assumes that every call needs its details."""
        details = 0 if isinstance(source, RunTestCalls) else count
        return cls(source=source, known=count, known_details=details)

    def without_page(self) -> "Sample":
        """Return the sample without its page, to save memory with thousands of lists."""
        return attrs.evolve(self, page=None, known=self.count, known_details=self.details)

    @property
    def withheld(self) -> list[CallExecution]:
        """The calls of the page without a transcript in the list."""
        return [call for call in self.page.calls if lacks_transcript(call)] if self.page else []

    @property
    def bytes(self) -> int:
        """The estimated size of the records."""
        return self.share(len(call.raw) for call in self.page.calls) if self.page else 0

    def share(self, amounts: Iterable[int]) -> int:
        """Return an estimate for the whole list, extrapolated from the page."""
        rows = len(self.page.calls) if self.page else 0
        return round(self.count * sum(amounts) / rows) if rows else 0


@attrs.define(frozen=True, kw_only=True)
class Conditions:
    """The conditions that determine the time of an export, besides the lists."""

    page_size: int
    transcripts: bool
    max_in_flight: int
    max_requests_per_minute: int | None
    parallelism: float = 1.0
    """How many requests the server processes concurrently."""
    detail_seconds: float | None = None
    """The seconds of a detail; ``None`` to use those of a page with one row."""

    def seconds_allowed(self, requests: int) -> float:
        """Return the least seconds for a number of requests: a tenth is sent at once, the others evenly."""
        if self.max_requests_per_minute is None:
            return 0.0
        at_once = max(1, self.max_requests_per_minute // 10)
        evenly = self.max_requests_per_minute - at_once + 1
        return max(0, requests - at_once) * _ALLOWANCE_SECONDS / evenly


def readings_of(samples: Sequence[Sample], conditions: Conditions) -> list[Reading]:
    """Return how an export reads all lists concurrently."""
    slots_full = len(samples) >= conditions.max_in_flight
    patience = _ATOMIC_SECONDS_SLOTS_FULL if slots_full else _ATOMIC_SECONDS
    return [
        reading_of(one.source, one.count, one.cost, page_size=conditions.page_size, patience=patience)
        if one.error is None
        else Reading()
        for one in samples
    ]


def estimate(samples: Sequence[Sample], conditions: Conditions) -> ExportPlan:
    """Return the cost of an export."""
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
    """Return the plan of `plan_export`."""
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
    if plan.seconds <= conditions.seconds_allowed(plan.requests):  # the speed of the server does not matter
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
    """Return the cost of each source. Sends one small request for each source without a known count."""
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
    """Request a few rows of each source, some of them concurrently."""
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
    """Measure the cost of pages in the longest lists of each kind. Other lists use the same cost."""
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
    """Return the seconds of a detail, measured with some details that the export would read."""
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
    """Measure the concurrency with as many requests as the export would send, if its rows are many more."""
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
        return now - (elapsed or 0.0), now  # without the time that it waits for the limits of the session

    asked = [partial(time_one, 1 + number % last) for number in range(pages_at_once)]
    spans = [one for one in await _ask(asked, at_once=pages_at_once) if not isinstance(one, FutureAGIError)]
    return parallelism_of(longest.cost.of(min(rows, longest.count)), spans, most=most)


async def _ask(requests: Sequence[Callable[[], Awaitable[T]]], *, at_once: int) -> list[T | FutureAGIError]:
    """Return an answer or an error for each request. Raises at once if no request can succeed."""
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

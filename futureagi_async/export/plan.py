"""What an export would cost: `plan_export`."""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Protocol

import anyio
import attrs

from futureagi_async.errors import STOPS_JOB, FutureAGIError
from futureagi_async.export.formats.records import lacks_transcript
from futureagi_async.models import CallPage
from futureagi_async.options import MAX_PAGE_SIZE, check_count
from futureagi_async.sources import CallSource, check_sources

SAMPLE_ROWS = 5
"""Rows asked for of each source."""

_AT_ONCE = 4  # samples: more would measure how the server queues
_ATOMIC_ROWS = 1_000  # a list up to this length is read whole, with one last page
_ATOMIC_REQUESTS = 3
_REQUESTS_A_PAGE = 1.1  # pages overlap
_SWEEPS = 2  # looks at the front after the last page


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


@attrs.define(frozen=True, kw_only=True)
class SourcePlan:
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
    """Of the server's work, at most about: as if every row took as long as those of the sample."""
    error: FutureAGIError | None = None
    """Why nothing is known of the source."""


@attrs.define(frozen=True, kw_only=True)
class ExportPlan:
    """What an export would cost, about; from one small request a source."""

    sources: tuple[SourcePlan, ...]
    """In the order given."""
    seconds: float
    """How long it would take with the session's limits, at most about."""

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
    plans = await _sample_all(session, checked, page_size=page_size, transcripts=transcripts)
    total = ExportPlan(sources=tuple(plans), seconds=0.0)
    per_minute = session.max_requests_per_minute
    seconds = sum(plan.seconds for plan in plans) / session.max_in_flight
    if per_minute is not None:
        seconds = max(seconds, (total.requests - per_minute) * 60 / per_minute)
    return attrs.evolve(total, seconds=seconds)


def estimate(
    source: CallSource, sample: CallPage, seconds: float, *, page_size: int, transcripts: bool
) -> SourcePlan:
    """Conclude from a few rows, and how long they took, what the whole list costs."""
    count, calls = sample.count, sample.calls
    pages = ceil(count / page_size * _REQUESTS_A_PAGE) + _SWEEPS
    requests = min(_ATOMIC_REQUESTS, pages) if count <= _ATOMIC_ROWS else pages
    rows = len(calls) or 1
    details = round(count * sum(map(lacks_transcript, calls)) / rows) if transcripts else 0
    return SourcePlan(
        source=source,
        records=count,
        requests=requests if count > len(calls) else min(requests, 2),
        detail_requests=details,
        bytes=round(count * sum(len(call.raw) for call in calls) / rows),
        seconds=seconds * max(requests, count / rows) + seconds * details,
    )


async def _sample_all(
    session: PlanReader, sources: Sequence[CallSource], *, page_size: int, transcripts: bool
) -> list[SourcePlan]:
    """Ask each source for a few rows, some at once; raise what says that no request will be answered."""
    plans: dict[int, SourcePlan] = {}
    stoppers: list[FutureAGIError] = []
    waiting = iter(enumerate(sources))

    async def work() -> None:
        for place, source in waiting:
            if stoppers:
                return
            began = anyio.current_time()
            try:
                sample = await session.get_page(source, page=1, limit=SAMPLE_ROWS)
            except FutureAGIError as error:
                plans[place] = SourcePlan(source=source, error=error)
                stoppers.extend([error] if isinstance(error, STOPS_JOB) else ())
            else:
                seconds = anyio.current_time() - began
                plans[place] = estimate(source, sample, seconds, page_size=page_size, transcripts=transcripts)

    async with anyio.create_task_group() as tasks:
        for _ in range(min(_AT_ONCE, session.max_in_flight)):
            tasks.start_soon(work)
    if stoppers:
        raise stoppers[0]
    return [plans[place] for place in range(len(sources))]

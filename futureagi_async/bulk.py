"""Many lists read at once: one bounded stream of pages, and a report. Owns every task it starts."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Literal, Protocol, TypeAlias, TypeVar

import anyio
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from futureagi_async._sansio.covering import Ask, Cover, Finding, Seen
from futureagi_async.errors import AuthenticationError, FutureAGIError, PermissionDeniedError
from futureagi_async.events import Event, PageArrived, VerdictReached
from futureagi_async.models import CallExecution, CallPage, FetchReport, Outcome, SourceReport
from futureagi_async.sources import CallSource

T = TypeVar("T")
OnError: TypeAlias = Literal["raise", "collect"]

JOB_STOPPERS = (AuthenticationError, PermissionDeniedError)
"""What one request's failure says about all the others."""


@attrs.define(frozen=True)
class PageRead:
    """A page as `bulk` needs it."""

    page: CallPage
    attempts: int
    sent_at: float
    """Seconds of the session's clock, like ``received_at``."""
    received_at: float
    server_time: datetime | None
    """The answer's ``Date``."""


class FetchPage(Protocol):
    """How a page is read; handed in by the session."""

    async def __call__(self, source: CallSource, page: int, limit: int) -> PageRead:
        """Read one page, or raise `FutureAGIError`."""


@attrs.define(eq=False)
class _Reading:
    """One source while it is read."""

    source: CallSource
    cover: Cover
    queued: bool = True
    """Whether it stands in line to be asked for its next page."""
    seen_ids: set[str] = attrs.field(factory=set)
    duplicates: int = 0
    requests: int = 0
    retries: int = 0
    failures: list[FutureAGIError] = attrs.field(factory=list)

    def admit(self, calls: Sequence[CallExecution]) -> tuple[CallExecution, ...]:
        """Return the calls that were not delivered before."""
        fresh = []
        for call in calls:
            if call.id in self.seen_ids:
                self.duplicates += 1
            else:
                self.seen_ids.add(call.id)
                fresh.append(call)
        return tuple(fresh)

    def report(self) -> SourceReport:
        finding = self.cover.finding or Finding("incomplete", "Reading was stopped before the end.")
        return SourceReport(
            source=self.source,
            verdict=finding.verdict,
            reason=finding.reason,
            expected=self.cover.count,
            received=len(self.seen_ids),
            duplicates=self.duplicates,
            requests=self.requests,
            retries=self.retries,
            failures=tuple(self.failures),
        )


class CallStream:
    """Calls of many sources as they arrive. Iterate it once, or its `pages`."""

    def __init__(self, fan: "_FanOut", receive: MemoryObjectReceiveStream[CallPage]) -> None:
        self._fan = fan
        self._receive = receive

    @property
    def report(self) -> FetchReport:
        """What was read so far; final once the stream has ended."""
        return FetchReport(tuple(reading.report() for reading in self._fan.readings))

    async def pages(self) -> AsyncIterator[CallPage]:
        """Yield whole pages; a call that an earlier page held is left out."""
        async for page in self._receive:
            yield page
        if self._fan.failure is not None:
            raise self._fan.failure

    async def __aiter__(self) -> AsyncIterator[CallExecution]:
        async for page in self.pages():
            for call in page.calls:
                yield call


class _FanOut:
    """Hands pages to read to a bounded number of workers, in turn over the sources."""

    def __init__(
        self,
        sources: Sequence[CallSource],
        fetch_page: FetchPage,
        *,
        page_size: int,
        on_error: OnError,
        tell: Callable[[Event], None],
    ) -> None:
        self.readings = [_Reading(source, Cover(page_size=page_size)) for source in sources]
        self.failure: FutureAGIError | None = None
        self._fetch_page = fetch_page
        self._on_error = on_error
        self._tell = tell
        self._ready = deque(self.readings)
        self._open = len(self.readings)
        self._changed = anyio.Condition()

    async def run(self, send: MemoryObjectSendStream[CallPage], max_in_flight: int) -> None:
        """Read until every source has its finding, or the first failure that ends the job."""
        async with send, anyio.create_task_group() as workers:
            for _ in range(max_in_flight):
                workers.start_soon(self._work, send, workers.cancel_scope.cancel)

    async def _work(self, send: MemoryObjectSendStream[CallPage], stop: Callable[[], None]) -> None:
        while (job := await self._next_job()) is not None:
            reading, ask = job
            page = await self._read(reading, ask)
            if self.failure is not None:
                stop()
                return
            async with self._changed:
                self._settle(reading)
                self._changed.notify_all()
            if page is not None and page.calls:
                await send.send(page)

    async def _next_job(self) -> tuple[_Reading, Ask] | None:
        async with self._changed:
            while self._open:
                while self._ready:
                    reading = self._ready.popleft()
                    ask = reading.cover.next_ask()
                    reading.queued = ask is not None
                    if ask is not None:
                        self._ready.append(reading)
                        return reading, ask
                await self._changed.wait()
        return None

    def _settle(self, reading: _Reading) -> None:
        finding = reading.cover.finding
        if finding is None:
            if not reading.queued:
                reading.queued = True
                self._ready.append(reading)
            return
        self._open -= 1
        self._tell(
            VerdictReached(
                source=reading.source,
                verdict=finding.verdict,
                reason=finding.reason,
                received=len(reading.seen_ids),
            )
        )

    async def _read(self, reading: _Reading, ask: Ask) -> CallPage | None:
        reading.requests += 1
        try:
            read = await self._fetch_page(reading.source, ask.page, ask.limit)
        except FutureAGIError as error:
            reading.retries += max(0, error.attempts - 1)
            reading.failures.append(error)
            reading.cover.lose(ask)
            if self._on_error == "raise" or isinstance(error, JOB_STOPPERS):
                self.failure = self.failure or error
            return None
        return self._take(reading, ask, read)

    def _take(self, reading: _Reading, ask: Ask, read: PageRead) -> CallPage:
        page = read.page
        reading.retries += read.attempts - 1
        reading.failures.extend(failure.error for failure in page.failures)
        if page.failures and self._on_error == "raise":
            self.failure = self.failure or page.failures[0].error
        ids = [call.id for call in page.calls]
        reading.cover.take(ask, Seen(count=page.count, ids=ids, has_next=page.has_next))
        self._tell(
            PageArrived(
                source=reading.source, page=ask.page, limit=ask.limit, records=len(ids), count=page.count
            )
        )
        return attrs.evolve(page, calls=reading.admit(page.calls))


@asynccontextmanager
async def open_stream(
    sources: Sequence[CallSource],
    fetch_page: FetchPage,
    *,
    page_size: int,
    on_error: OnError,
    max_in_flight: int,
    tell: Callable[[Event], None],
) -> AsyncIterator[CallStream]:
    """Read all sources at once; leaving the block cancels what is still being read."""
    fan = _FanOut(sources, fetch_page, page_size=page_size, on_error=on_error, tell=tell)
    send, receive = anyio.create_memory_object_stream[CallPage](0)
    callers_error: Exception | None = None
    with receive:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fan.run, send, max_in_flight)
            try:
                yield CallStream(fan, receive)
            except Exception as error:  # noqa: BLE001 - the caller's own, raised again unwrapped
                callers_error = error
            finally:
                tasks.cancel_scope.cancel()
    if callers_error is not None:
        raise callers_error


async def fetch_each(
    ids: Sequence[str],
    fetch_one: Callable[[str], Awaitable[T]],
    *,
    max_in_flight: int,
) -> list[Outcome[T]]:
    """Read many ids at once: one outcome an id given, in that order, each id asked for once.

    Keys that are refused stop the job: the ids not yet read end in that error, unasked.
    """
    outcomes: dict[str, Outcome[T]] = {}
    waiting = iter(dict.fromkeys(ids))
    stopper: list[FutureAGIError] = []

    async def work() -> None:
        for key in waiting:
            outcomes[key] = await read(key)

    async def read(key: str) -> Outcome[T]:
        if stopper:
            return Outcome(key, error=stopper[0])
        try:
            return Outcome(key, value=await fetch_one(key))
        except JOB_STOPPERS as error:
            stopper.append(error)
            return Outcome(key, error=error)
        except FutureAGIError as error:
            return Outcome(key, error=error)

    async with anyio.create_task_group() as tasks:
        for _ in range(min(max_in_flight, len(ids))):
            tasks.start_soon(work)
    assert len(outcomes) == len(set(ids))
    return [outcomes[key] for key in ids]


def check_sources(sources: Iterable[CallSource] | CallSource) -> tuple[CallSource, ...]:
    """Return the sources as a tuple, or raise `TypeError` naming what is none."""
    given = tuple(sources) if not isinstance(sources, CallSource) else (sources,)
    for source in given:
        if not isinstance(source, CallSource):
            raise TypeError(
                f"A source is RunTestCalls, AgentVersionCalls or TestExecutionCalls, not {type(source).__name__}."
            )
    return given

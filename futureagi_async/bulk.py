"""Many lists read at once: one bounded stream of pages, and a report. Owns every task it starts."""

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Literal, Protocol, TypeAlias

import anyio
import anyio.lowlevel
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from futureagi_async._clock import Clock
from futureagi_async._reading import Batch, Consistency, PageRead, Reading, traits_of
from futureagi_async._sansio.covering import Cover
from futureagi_async._sansio.covering.fast import FastRead
from futureagi_async._sansio.covering.lists import Ask
from futureagi_async._spool import Restore, Spool
from futureagi_async.errors import (
    AuthenticationError,
    FutureAGIError,
    PermissionDeniedError,
    SessionMisuseError,
)
from futureagi_async.events import Event, PageArrived, VerdictReached
from futureagi_async.models import CallExecution, CallPage, FetchReport, FetchResult
from futureagi_async.sources import CallSource

OnError: TypeAlias = Literal["raise", "collect"]

JOB_STOPPERS = (AuthenticationError, PermissionDeniedError, SessionMisuseError)
"""What one request's failure says about all the others."""


class FetchPage(Protocol):
    """How a page is read; handed in by the session."""

    async def __call__(self, source: CallSource, ask: Ask) -> PageRead:
        """Read one page, or raise `FutureAGIError`; an ``optional`` one is tried once."""
        ...


@attrs.define(frozen=True, kw_only=True)
class BulkOptions:
    """How to read."""

    page_size: int
    on_error: OnError
    consistency: Consistency
    ordered: bool
    updates: bool
    deadline_seconds: float | None
    max_in_flight: int
    max_body_bytes: int


class PageIterator:
    """The pages of a bulk read, one by one."""

    def __init__(
        self, fan: "_FanOut", receive: MemoryObjectReceiveStream[Batch], spool: Spool | None
    ) -> None:
        self._fan = fan
        self._receive = receive
        self._spool = spool
        self._sorted: Iterator[CallPage] | None = None

    def __aiter__(self) -> "PageIterator":
        return self

    async def __anext__(self) -> CallPage:
        if self._fan.closed:
            raise SessionMisuseError("The stream is closed. Use it inside its 'async with' block.")
        if self._spool is not None:
            return await self._next_sorted(self._spool)
        while True:
            batch = await self.next_batch()
            calls = batch.page.calls + (batch.newer if self._fan.options.updates else ())
            if calls:
                return attrs.evolve(batch.page, calls=calls)

    async def next_batch(self) -> Batch:
        """Return the next page with what it brought, or raise what ended the read."""
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            if self._fan.failure is not None:
                raise self._fan.failure from None
            raise StopAsyncIteration from None

    async def _next_sorted(self, spool: Spool) -> CallPage:
        if self._sorted is None:
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    spool.add(await self.next_batch())
            self._sorted = spool.pages(self._fan.options.page_size)
        await anyio.lowlevel.checkpoint()
        for page in self._sorted:
            return page
        raise StopAsyncIteration


class CallStream:
    """Calls of many sources as they arrive. Iterate it once, or its `pages`."""

    def __init__(self, fan: "_FanOut", pages: PageIterator) -> None:
        self._fan = fan
        self._pages = pages
        self._calls: Iterator[CallExecution] = iter(())

    @property
    def report(self) -> FetchReport:
        """What was read so far; final once the stream has ended."""
        return FetchReport(tuple(reading.report() for reading in self._fan.readings))

    def pages(self) -> AsyncIterator[CallPage]:
        """Yield whole pages; a call that an earlier page held is left out."""
        return self._pages

    def __aiter__(self) -> AsyncIterator[CallExecution]:
        return self

    async def __anext__(self) -> CallExecution:
        while True:
            for call in self._calls:
                return call
            self._calls = iter((await self._pages.__anext__()).calls)

    async def collect(self) -> FetchResult:
        """Read to the end; of a call that changed meanwhile, keep the newest version."""
        if self._fan.options.ordered:
            return FetchResult([call async for call in self], self.report)
        found: dict[tuple[int, str], CallExecution] = {}
        with contextlib.suppress(StopAsyncIteration):
            while True:
                batch = await self._pages.next_batch()
                for call in (*batch.page.calls, *batch.newer):
                    found[batch.index, call.id] = call
        return FetchResult(list(found.values()), self.report)


class _FanOut:
    """Hands pages to read to a bounded number of workers, in turn over the sources."""

    def __init__(
        self,
        sources: Sequence[CallSource],
        fetch_page: FetchPage,
        options: BulkOptions,
        clock: Clock,
        tell: Callable[[Event], None],
    ) -> None:
        self.options = options
        self.readings = [
            Reading(index, source, _cover(source, options)) for index, source in enumerate(sources)
        ]
        self.failure: FutureAGIError | None = None
        self.closed = False
        """Whether the block that the stream belongs to was left."""
        self._fetch_page = fetch_page
        self._clock = clock
        self._tell = tell
        self._ready = deque(self.readings)
        self._open = len(self.readings)
        self._changed = anyio.Condition()

    async def run(self, send: MemoryObjectSendStream[Batch]) -> None:
        """Read until every source has its finding, the deadline, or a failure that ends the job."""
        seconds = self.options.deadline_seconds
        patience = anyio.move_on_after(seconds) if seconds is not None else nullcontext()
        async with send:
            with patience:
                async with anyio.create_task_group() as workers:
                    for _ in range(self.options.max_in_flight):
                        workers.start_soon(self._work, send, workers.cancel_scope.cancel)
            if self._open and self.failure is None:
                self._stop_all(f"The deadline of {seconds:g} s was reached.")

    async def _work(self, send: MemoryObjectSendStream[Batch], stop: Callable[[], None]) -> None:
        while (job := await self._next_job()) is not None:
            reading, ask = job
            batch = await self._read(reading, ask)
            if self.failure is not None:
                self._stop_all("Reading was stopped by an error.")
                stop()
                return
            async with self._changed:
                self._settle(reading)
                self._changed.notify_all()
            if batch is not None and (batch.page.calls or batch.newer):
                await send.send(batch)
                reading.delivered += len(batch.page.calls)

    async def _next_job(self) -> tuple[Reading, Ask] | None:
        async with self._changed:
            while self._open:
                while self._ready:
                    reading = self._ready.popleft()
                    ask = reading.cover.next_ask()
                    reading.queued = ask is not None
                    if ask is not None:
                        self._ready.append(reading)
                        return reading, ask
                    if reading.cover.finding is not None:
                        self._close(reading)
                if self._open:
                    await self._changed.wait()
            self._changed.notify_all()
        return None

    def _settle(self, reading: Reading) -> None:
        """Put a source in line again after an answer, or close it."""
        if reading.queued:
            return
        if reading.cover.finding is not None:
            self._close(reading)
        else:
            reading.queued = True
            self._ready.append(reading)

    def _close(self, reading: Reading) -> None:
        self._open -= 1
        reading.queued = True
        finding = reading.cover.finding
        assert finding is not None
        self._tell(
            VerdictReached(
                source=reading.source,
                verdict=finding.verdict,
                reason=finding.reason,
                received=len(reading.ledger),
            )
        )

    def _stop_all(self, reason: str) -> None:
        for reading in self.readings:
            reading.cover.stop(reason)

    async def _read(self, reading: Reading, ask: Ask) -> Batch | None:
        if ask.not_before > self._clock.monotonic():
            await self._clock.sleep(ask.not_before - self._clock.monotonic())
        try:
            read = await self._fetch_page(reading.source, ask)
        except FutureAGIError as error:
            forgiven = reading.fail(ask, error, self._clock.monotonic())
            if isinstance(error, JOB_STOPPERS) or (self.options.on_error == "raise" and not forgiven):
                self.failure = self.failure or error
            return None
        batch = reading.take(ask, read, crowded=self._open >= self.options.max_in_flight)
        if read.page.failures and self.options.on_error == "raise":
            self.failure = self.failure or read.page.failures[0].error
        self._tell(
            PageArrived(
                source=reading.source,
                page=ask.page,
                limit=ask.limit,
                records=len(batch.page.calls),
                count=read.page.count,
            )
        )
        return batch


def _cover(source: CallSource, options: BulkOptions) -> Cover | FastRead:
    traits = traits_of(source)
    if options.consistency == "fast":
        return FastRead(traits, page_size=options.page_size)
    return Cover(traits, page_size=options.page_size, max_body_bytes=options.max_body_bytes)


@asynccontextmanager
async def open_stream(
    sources: tuple[CallSource, ...],
    fetch_page: FetchPage,
    restore: Restore,
    options: BulkOptions,
    clock: Clock,
    tell: Callable[[Event], None],
) -> AsyncIterator[CallStream]:
    """Read all sources at once; leaving the block cancels what is still being read."""
    fan = _FanOut(sources, fetch_page, options, clock, tell)
    send, receive = anyio.create_memory_object_stream[Batch](0)
    callers_error: BaseException | None = None
    spool = Spool(sources, restore) if options.ordered else None
    with receive, spool or nullcontext():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fan.run, send)
            try:
                yield CallStream(fan, PageIterator(fan, receive, spool))
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - the caller's own, raised again unwrapped
                callers_error = error
            finally:
                fan.closed = True
                tasks.cancel_scope.cancel()
    if callers_error is not None:
        raise callers_error

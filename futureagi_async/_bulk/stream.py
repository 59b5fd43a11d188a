"""Many lists read at once: one bounded stream of pages, and a report. Owns every task it starts."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, nullcontext
from functools import partial

import anyio
import anyio.lowlevel
import attrs
from anyio.to_thread import run_sync

from futureagi_async._bulk.channel import Channel, open_channel
from futureagi_async._bulk.fanout import BulkOptions, FanOut, FetchPage, make_readings
from futureagi_async._bulk.ordering import ExternalSort, Restore
from futureagi_async._bulk.reading import Step
from futureagi_async._http.clock import Clock
from futureagi_async.errors import SessionMisuseError
from futureagi_async.events import Event
from futureagi_async.models import CallExecution, CallPage, FetchReport, FetchResult
from futureagi_async.sources import CallSource


class PageIterator:
    """The pages of a bulk read, one by one."""

    def __init__(self, fan: FanOut, channel: Channel[Step], external_sort: ExternalSort | None) -> None:
        self._fan = fan
        self._channel = channel
        self._sort = external_sort
        self._sorted: Iterator[CallPage] | None = None

    def __aiter__(self) -> "PageIterator":
        return self

    async def __anext__(self) -> CallPage:
        if self._sort is not None:
            return await self._next_sorted(self._sort)
        while True:
            step = await self.next_step()
            calls = step.page.calls + (step.newer if self._fan.options.updates else ())
            if calls:
                return attrs.evolve(step.page, calls=calls)

    async def next_step(self) -> Step:
        """Return the next page with what it brought, or raise what ended the read."""
        try:
            step = await self._channel.receive()
        except anyio.EndOfStream:
            if self._fan.failure is not None:
                raise self._fan.failure from None
            raise StopAsyncIteration from None
        self._fan.readings[step.index].deliver(step)
        return step

    async def _next_sorted(self, external_sort: ExternalSort) -> CallPage:
        if self._fan.closed:
            raise SessionMisuseError("The stream is closed. Use it inside its 'async with' block.")
        if self._sorted is None:
            async for step in StepIterator(self):
                external_sort.add(step)
            self._sorted = external_sort.pages(self._fan.options.page_size)
        await anyio.lowlevel.checkpoint()
        for page in self._sorted:
            return page
        raise StopAsyncIteration


@attrs.define(frozen=True, eq=False)
class StepIterator:
    """The same pages, each with what is needed to go on behind it."""

    pages: PageIterator

    def __aiter__(self) -> "StepIterator":
        return self

    async def __anext__(self) -> Step:
        return await self.pages.next_step()


class CallStream:
    """Calls of many sources as they arrive. Iterate it once, or its `pages`."""

    def __init__(self, fan: FanOut, pages: PageIterator, restore: Restore) -> None:
        self._fan = fan
        self._pages = pages
        self._restore = restore
        self._calls: Iterator[CallExecution] = iter(())

    @property
    def report(self) -> FetchReport:
        """What was read so far; final once the stream has ended."""
        return FetchReport(tuple(reading.report() for reading in self._fan.readings))

    def pages(self) -> AsyncIterator[CallPage]:
        """Yield whole pages; a call that an earlier page held is left out."""
        return self._pages

    def steps(self) -> AsyncIterator[Step]:
        """Yield every page with what is new of it, and a checkpoint to go on from after an interruption.

        Pages that brought nothing new are among them: their checkpoints count. A step is done with when the
        next one is asked for; until then its page is among the ``max_in_flight`` that are on their way,
        so an interruption costs no more than those. Raises `ValueError` for an ordered stream, which
        has no steps.
        """
        if self._fan.options.ordered:
            raise ValueError("An ordered stream has no steps: they come as they arrive.")
        self._fan.max_open_pages = self._fan.options.max_in_flight
        return StepIterator(self._pages)

    def restore(self, raw: bytes, index: int) -> CallExecution:
        """Decode a record again from its ``raw``; ``index`` is its source's place among those given."""
        return self._restore(raw, self._fan.readings[index].source)

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
        async for step in self.steps():
            for call in (*step.page.calls, *step.newer):
                found[step.index, call.id] = call
        return FetchResult(list(found.values()), self.report)


@asynccontextmanager
async def open_stream(
    sources: tuple[CallSource, ...],
    fetch_page: FetchPage,
    restore: Restore,
    options: BulkOptions,
    resume: Iterable[bytes],
    clock: Clock,
    emit: Callable[[Event], None],
) -> AsyncIterator[CallStream]:
    """Read all sources at once; leaving the block cancels what is still being read."""
    begin = partial(make_readings, sources, options, resume, clock.monotonic())
    readings = await run_sync(begin) if resume else begin()  # many checkpoints take seconds
    fan = FanOut(readings, fetch_page, options, clock, emit)
    external_sort = ExternalSort(sources, restore) if options.ordered else None
    with external_sort or nullcontext():
        async with open_channel(fan.run) as channel:
            try:
                yield CallStream(fan, PageIterator(fan, channel, external_sort), restore)
            finally:
                fan.closed = True

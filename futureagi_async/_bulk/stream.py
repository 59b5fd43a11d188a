"""`CallStream`: the pages of many lists as they arrive, and a report on them. Owns every task it starts."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Final

import anyio
import anyio.lowlevel
import attrs
from anyio.to_thread import run_sync

from futureagi_async._bulk.channel import Channel, open_channel
from futureagi_async._bulk.fanout import BulkOptions, FanOut, FetchPage, make_readers
from futureagi_async._bulk.ordering import ExternalSort, Restore
from futureagi_async._bulk.outages import JobContext, OutageGate
from futureagi_async._bulk.reading import Step
from futureagi_async.errors import SessionMisuseError
from futureagi_async.models import CallExecution, CallPage, FetchReport, FetchResult
from futureagi_async.sources import CallSource

_CALLS_A_TURN: Final = 25
"""How many calls a loop is given in one go. What it does with them stalls all other tasks: reading every part
of a thousand big ones takes some 50 ms."""


class StepIterator:
    """The pages of a bulk read, each with what is new of it and what is needed to go on behind it."""

    def __init__(self, fan_out: FanOut, channel: Channel[Step]) -> None:
        self._fan_out = fan_out
        self._channel = channel

    def __aiter__(self) -> "StepIterator":
        return self

    async def __anext__(self) -> Step:
        try:
            step = await self._channel.receive()
        except anyio.EndOfStream:
            if self._fan_out.failure is not None:
                raise self._fan_out.failure from None
            raise StopAsyncIteration from None
        self._fan_out.readers[step.index].deliver(step)
        return step


class PageIterator:
    """The same pages with their new calls only: those that have any, as they arrive or sorted."""

    def __init__(self, fan_out: FanOut, steps: StepIterator, external_sort: ExternalSort | None) -> None:
        self._fan_out = fan_out
        self._steps = steps
        self._sort = external_sort
        self._sorted: Iterator[CallPage] | None = None

    def __aiter__(self) -> "PageIterator":
        return self

    async def __anext__(self) -> CallPage:
        if self._sort is not None:
            return await self._next_sorted(self._sort)
        async for step in self._steps:
            if step.newer and self._fan_out.options.updates:
                return attrs.evolve(step.page, calls=step.page.calls + step.newer)
            if step.page.calls:
                return step.page
        raise StopAsyncIteration

    async def _next_sorted(self, external_sort: ExternalSort) -> CallPage:
        if self._fan_out.closed:
            raise SessionMisuseError("The stream is closed. Use it inside its 'async with' block.")
        if self._sorted is None:
            async for step in self._steps:
                external_sort.add(step)
            self._sorted = external_sort.pages(self._fan_out.options.page_size)
        await anyio.lowlevel.checkpoint()
        for page in self._sorted:
            return page
        raise StopAsyncIteration


class CallStream:
    """Calls of many sources as they arrive. Iterate it once, or its `pages`."""

    def __init__(
        self, fan_out: FanOut, channel: Channel[Step], external_sort: ExternalSort | None, restore: Restore
    ) -> None:
        self._fan_out = fan_out
        self._steps = StepIterator(fan_out, channel)
        self._pages = PageIterator(fan_out, self._steps, external_sort)
        self._restore = restore
        self._calls: list[CallExecution] = []
        """Calls of the latest page that were not delivered yet, in reverse order."""
        self._given = 0
        """Number of calls that were delivered since other tasks could run."""

    @property
    def report(self) -> FetchReport:
        """What was read so far; final once the stream has ended."""
        return FetchReport(tuple(reader.report() for reader in self._fan_out.readers))

    def pages(self) -> AsyncIterator[CallPage]:
        """Yield whole pages, without the calls that were on an earlier page."""
        return self._pages

    def steps(self) -> AsyncIterator[Step]:
        """Yield each page with its new calls, and a checkpoint to resume from after an interruption.

        Pages without new calls are included: keep their checkpoints, too. A step counts as processed when you
        request the next one. Until then its page counts as in flight, so an interruption costs at most
        ``max_in_flight`` pages. Raises `ValueError` for an ordered stream, which has no steps.
        """
        if self._fan_out.options.ordered:
            raise ValueError("An ordered stream has no steps: open the stream with ordered=False.")
        self._fan_out.max_open_pages = self._fan_out.options.max_in_flight
        return self._steps

    def restore(self, raw: bytes, index: int) -> CallExecution:
        """Return the call of a record's bytes. ``index`` is the position of its source, as in `Step`."""
        return self._restore(raw, self._fan_out.readers[index].source)

    def __aiter__(self) -> AsyncIterator[CallExecution]:
        return self

    async def __anext__(self) -> CallExecution:
        if self._given == _CALLS_A_TURN:
            self._given = 0
            await anyio.lowlevel.checkpoint()  # before a call is taken: a cancelled one would be lost
        while not self._calls:
            page = await self._pages.__anext__()
            self._calls, self._given = list(reversed(page.calls)), 0
        self._given += 1
        # nobody else has it then: to free a thousand big calls in one go takes some 10 ms
        return self._calls.pop()

    async def collect(self) -> FetchResult:
        """Read to the end, and return all calls with the report. Each call is in its newest version."""
        if self._fan_out.options.ordered:
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
    gate: OutageGate,
    context: JobContext,
) -> AsyncIterator[CallStream]:
    """Read all sources at once; leaving the block cancels what is still being read."""
    begin = partial(make_readers, sources, options, resume, context.clock.monotonic())
    readers = await run_sync(begin) if resume else begin()  # many checkpoints take seconds
    fan_out = FanOut(readers, fetch_page, options, gate, context)
    external_sort = ExternalSort(sources, restore) if options.ordered else None
    with external_sort or nullcontext():
        async with open_channel(fan_out.run) as channel:
            try:
                yield CallStream(fan_out, channel, external_sort, restore)
            finally:
                fan_out.closed = True

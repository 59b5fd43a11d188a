"""Many lists read at once: one bounded stream of pages, and a report. Owns every task it starts."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext

import anyio
import anyio.lowlevel
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream

from futureagi_async._clock import Clock
from futureagi_async._fanout import BulkOptions, FanOut, FetchPage
from futureagi_async._reading import Step
from futureagi_async._spool import Restore, Spool
from futureagi_async.errors import SessionMisuseError
from futureagi_async.events import Event
from futureagi_async.models import CallExecution, CallPage, FetchReport, FetchResult
from futureagi_async.sources import CallSource


class PageIterator:
    """The pages of a bulk read, one by one."""

    def __init__(self, fan: FanOut, receive: MemoryObjectReceiveStream[Step], spool: Spool | None) -> None:
        self._fan = fan
        self._receive = receive
        self._spool = spool
        self._sorted: Iterator[CallPage] | None = None

    def __aiter__(self) -> "PageIterator":
        return self

    async def __anext__(self) -> CallPage:
        if self._spool is not None:
            return await self._next_sorted(self._spool)
        while True:
            step = await self.next_step()
            calls = step.page.calls + (step.newer if self._fan.options.updates else ())
            if calls:
                return attrs.evolve(step.page, calls=calls)

    async def next_step(self) -> Step:
        """Return the next page with what it brought, or raise what ended the read."""
        if self._fan.closed:
            raise SessionMisuseError("The stream is closed. Use it inside its 'async with' block.")
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            if self._fan.failure is not None:
                raise self._fan.failure from None
            raise StopAsyncIteration from None

    async def steps(self) -> AsyncIterator[Step]:
        """Yield steps to the end."""
        with contextlib.suppress(StopAsyncIteration):
            while True:
                yield await self.next_step()

    async def _next_sorted(self, spool: Spool) -> CallPage:
        if self._fan.closed:
            raise SessionMisuseError("The stream is closed. Use it inside its 'async with' block.")
        if self._sorted is None:
            async for step in self.steps():
                spool.add(step)
            self._sorted = spool.pages(self._fan.options.page_size)
        await anyio.lowlevel.checkpoint()
        for page in self._sorted:
            return page
        raise StopAsyncIteration


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
        """Yield every page with what is new of it, and a mark to go on from after an interruption.

        Pages that brought nothing new are among them: their marks count. Raises `ValueError` for an
        ordered stream, which has no steps.
        """
        if self._fan.options.ordered:
            raise ValueError("An ordered stream has no steps: they come as they arrive.")
        return self._pages.steps()

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
    clock: Clock,
    tell: Callable[[Event], None],
) -> AsyncIterator[CallStream]:
    """Read all sources at once; leaving the block cancels what is still being read."""
    fan = FanOut(sources, fetch_page, options, clock, tell)
    send, receive = anyio.create_memory_object_stream[Step](0)
    callers_error: BaseException | None = None
    spool = Spool(sources, restore) if options.ordered else None
    with receive, spool or nullcontext():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fan.run, send)
            try:
                yield CallStream(fan, PageIterator(fan, receive, spool), restore)
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - the caller's own, raised again unwrapped
                callers_error = error
            finally:
                fan.closed = True
                tasks.cancel_scope.cancel()
    if callers_error is not None:
        raise callers_error

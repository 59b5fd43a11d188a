"""Waits for a test execution, and watches lists of calls: repeated checks that survive outages."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeVar

import attrs

from futureagi_async._bulk.channel import Channel, open_channel
from futureagi_async._bulk.fanout import PROBE
from futureagi_async._bulk.outages import JobContext, OutageGate
from futureagi_async._bulk.stream import CallStream
from futureagi_async._sansio.covering.pages import PageRequest
from futureagi_async._sansio.replies import Decoded
from futureagi_async._sansio.waiting import (
    KnownCall,
    ListWatch,
    OneCall,
    Read,
    WholeList,
    poll_delay_seconds,
)
from futureagi_async.errors import FutureAGIError, NotFoundError
from futureagi_async.events import ExecutionChecked
from futureagi_async.models import CallExecution, CallPage, ExecutionState, WaitTimeoutError
from futureagi_async.sources import CallSource, TestExecutionCalls

LEAST_REQUEST_SECONDS = 5.0
"""Seconds for a check that began before the time was up."""

T = TypeVar("T")


@attrs.define(frozen=True, kw_only=True)
class WatchReads:
    """The reads that a wait uses. Each request gets a limit in seconds."""

    fetch_page: Callable[[PageRequest, float], Awaitable[Decoded[CallPage]]]
    fetch_call: Callable[[str, float], Awaitable[Decoded[CallExecution]]]
    open_stream: Callable[[float], AbstractAsyncContextManager[CallStream]]
    """Reads all calls, with an outage limit in seconds."""


@attrs.define(frozen=True, kw_only=True)
class WaitOptions:
    """The options of a wait, in seconds."""

    timeout: float | None
    poll: float
    max_outage: float
    max_requests_per_minute: int | None


async def wait_until_final(
    source: TestExecutionCalls,
    reads: WatchReads,
    options: WaitOptions,
    context: JobContext,
) -> ExecutionState:
    """Return the state of a test execution once it is final, or raise `WaitTimeoutError`."""

    async def ignore(_: CallExecution) -> None:
        pass

    watcher = Watcher(source, reads, options, context, ignore)
    await watcher.run()
    return watcher.state()


@asynccontextmanager
async def open_watch(
    source: CallSource,
    reads: WatchReads,
    options: WaitOptions,
    context: JobContext,
) -> AsyncIterator[AsyncIterator[CallExecution]]:
    """Yield each call of a list when it is final. Leaving the block stops watching."""
    failures: list[FutureAGIError] = []

    async def watch(channel: Channel[CallExecution]) -> None:
        try:
            await Watcher(source, reads, options, context, channel.send).run()
        except FutureAGIError as error:
            failures.append(error)  # raised where the calls are taken, not in a group

    async def take(channel: Channel[CallExecution]) -> AsyncIterator[CallExecution]:
        async for call in channel:
            yield call
        for error in failures:
            raise error

    async with open_channel(watch) as channel:
        yield take(channel)


class Watcher:
    """Checks one list of calls until it is final."""

    def __init__(
        self,
        source: CallSource,
        reads: WatchReads,
        options: WaitOptions,
        context: JobContext,
        deliver: Callable[[CallExecution], Awaitable[None]],
    ) -> None:
        self._source = source
        self._reads = reads
        self._options = options
        self._context = context
        self._deliver = deliver
        self._list = ListWatch(has_status=isinstance(source, TestExecutionCalls))
        self._delivered: set[str] = set()
        self._was_seen = False
        self._began = self._now()

    def state(self) -> ExecutionState:
        """Return the known state."""
        id_ = next(iter(self._source.ids.values()))
        now = self._now()
        return self._list.state(id_, now, now - self._began)

    async def run(self) -> None:
        """Check until the list is final. Raise `WaitTimeoutError`, or the error that ended the last check."""
        while True:
            requests = await self._look_in_time()
            now = self._now()
            is_final = self._list.is_final(now)
            delay = poll_delay_seconds(
                self._options.poll,
                self._list.quiet_seconds(now),
                requests,
                self._options.max_requests_per_minute,
            )
            delay = 0.0 if is_final else max(0.0, min(delay, self._seconds_left()))
            self._tell(delay)
            if is_final:
                return
            if self._seconds_left() <= 0:
                raise self._timed_out()
            await self._context.sleep(delay)

    async def _look_in_time(self) -> int:
        try:
            return await self._look()
        except NotFoundError as error:
            if self._was_seen:
                error.message = f"{self._source.label.capitalize()} was deleted during the wait."
                error.args = (error.message,)
            raise
        except FutureAGIError as error:
            if error.retryable and self._was_seen and self._seconds_left() <= 0:
                raise self._timed_out() from error
            raise

    async def _look(self) -> int:
        """Read what is necessary to update the state. Return the number of requests."""
        requests = 0
        read: Read | None = self._list.begin()
        while read is not None:
            match read:
                case PageRequest():
                    read, tries = await self._read_page(read)
                case OneCall():
                    read, tries = await self._read_call(read.id)
                case WholeList():
                    read, tries = None, await self._read_all()
            requests += tries
        return requests

    async def _read_page(self, request: PageRequest) -> tuple[Read | None, int]:
        answer, tries = await self._ask(partial(self._reads.fetch_page, request))
        self._was_seen = True
        page = answer.value
        if page.failures:
            raise page.failures[0].error
        following = self._list.take_page(page, self._now())
        for call in page.calls:
            await self._take(call)
        return following, answer.attempts + tries

    async def _read_call(self, id_: str) -> tuple[Read | None, int]:
        try:
            answer, tries = await self._ask(partial(self._reads.fetch_call, id_))
        except NotFoundError as error:
            return self._list.take_call(None, self._now()), error.attempts
        return self._list.take_call(answer.value, self._now()), answer.attempts + tries

    async def _ask(self, fetch: Callable[[float], Awaitable[Decoded[T]]]) -> tuple[Decoded[T], int]:
        """Send a request, waiting for outages. Return also how many times it was sent without a response."""
        left = max(self._seconds_left(), LEAST_REQUEST_SECONDS)
        with OutageGate(min(self._options.max_outage, left), self._context) as gate:
            return await gate.ask(partial(fetch, left), partial(self._reads.fetch_page, PROBE, left))

    async def _read_all(self) -> int:
        """Read every call. If the time is up before the end, the previous state is kept."""
        found: dict[str, KnownCall] = {}
        left = max(self._seconds_left(), LEAST_REQUEST_SECONDS)
        until, max_outage = self._now() + left, min(self._options.max_outage, left)
        async with self._reads.open_stream(max_outage) as stream:
            async for step in stream.steps():
                for call in (*step.page.calls, *step.newer):
                    found |= self._list.remember([call])
                    await self._take(call)
                if self._now() > until:
                    break
            else:
                self._list.take_all(found, self._now(), proven=stream.report.complete)
        return sum(report.requests + report.retries for report in stream.report)

    async def _take(self, call: CallExecution) -> None:
        """Deliver a call that is final, once."""
        if call.is_snapshot or call.id in self._delivered:
            return
        if self._list.remember([call])[call.id].is_final:
            self._delivered.add(call.id)
            await self._deliver(call)

    def _tell(self, delay_seconds: float) -> None:
        if isinstance(self._source, TestExecutionCalls):
            self._context.emit(ExecutionChecked(state=self.state(), delay_seconds=delay_seconds))

    def _timed_out(self) -> WaitTimeoutError:
        what, state = self._source.label.capitalize(), self.state()
        error = WaitTimeoutError(
            f"{what} was not final after {self._options.timeout:g} s (timeout): {state}.",
            elapsed=state.elapsed,
        )
        if isinstance(self._source, TestExecutionCalls):
            error.state = state
        return error

    def _now(self) -> float:
        return self._context.clock.monotonic()

    def _seconds_left(self) -> float:
        if self._options.timeout is None:
            return float("inf")
        return self._began + self._options.timeout - self._now()

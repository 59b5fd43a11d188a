"""Reads many lists at once with a limited number of workers: decides what to read, and handles results."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import anyio
import attrs

from futureagi_async._bulk.channel import Channel
from futureagi_async._bulk.checkpoints import decode_checkpoint, last_received_at
from futureagi_async._bulk.outages import JobContext, OutageGate
from futureagi_async._bulk.reading import PageTask, SourceReader, Step, traits_of
from futureagi_async._sansio.covering import Cover
from futureagi_async._sansio.covering.fast import FastRead
from futureagi_async._sansio.covering.pages import PageRequest
from futureagi_async._sansio.replies import Decoded
from futureagi_async.errors import STOPS_JOB, FutureAGIError
from futureagi_async.events import PageArrived, VerdictReached
from futureagi_async.models import CallPage
from futureagi_async.options import Consistency, OnError
from futureagi_async.sources import CallSource

PROBE = PageRequest(1, 5, optional=True)
"""The probe of a list: a few rows, without retries."""

FetchPage: TypeAlias = Callable[[CallSource, PageRequest], Awaitable[Decoded[CallPage]]]
"""Reads one page, or raises `FutureAGIError`. An ``optional`` page gets no retry."""


@attrs.define(frozen=True, kw_only=True)
class BulkOptions:
    """The options of a bulk read."""

    page_size: int
    on_error: OnError
    consistency: Consistency
    ordered: bool
    updates: bool
    deadline_seconds: float | None
    changed_since: Mapping[CallSource, float]
    """Unix seconds of the server's clock, for sources of which only changes are read."""
    max_in_flight: int
    max_body_bytes: int

    @property
    def max_open_pages(self) -> int:
        """Maximum number of open pages, from the request until the consumer has processed the page.

        It is larger than the number of concurrent requests, so that a slot is used again while its page is
        decoded and processed.
        """
        return self.max_in_flight + max(2, self.max_in_flight // 2)


class FanOut:
    """Gives the pages of all sources to a limited number of workers, in turn."""

    def __init__(
        self,
        readers: list[SourceReader],
        fetch_page: FetchPage,
        options: BulkOptions,
        gate: OutageGate,
        context: JobContext,
    ) -> None:
        self.options = options
        self.readers = readers
        self.failure: FutureAGIError | None = None
        self.closed = False
        """Whether the block of the stream was left."""
        self.max_open_pages = options.max_open_pages
        """Maximum number of open pages at present."""
        self._open_pages = 0
        self._fetch_page = fetch_page
        self._gate = gate
        self._context = context
        self._ready = deque(self.readers)
        self._open = len(self.readers)
        self._idle: deque[anyio.Event] = deque()
        """Workers that wait for a task."""

    async def run(self, channel: Channel[Step]) -> None:
        """Read until every source is finished, the deadline is reached, or an error stops the job."""
        seconds = self.options.deadline_seconds
        async with anyio.create_task_group() as tasks:
            if seconds is not None:
                tasks.start_soon(self._expire, seconds, tasks.cancel_scope.cancel)
            with self._gate:
                async with anyio.create_task_group() as workers:
                    for _ in range(self.options.max_open_pages):
                        workers.start_soon(self._work, channel, workers.cancel_scope.cancel)
            tasks.cancel_scope.cancel()
        if self._open and self.failure is None:
            self._stop_all(f"The deadline of {seconds:g} s was reached.")

    async def _expire(self, seconds: float, stop: Callable[[], None]) -> None:
        await self._context.clock.sleep(seconds)
        stop()

    async def _work(self, channel: Channel[Step], stop: Callable[[], None]) -> None:
        while (task := await self._next_task()) is not None:
            step = await self._read(task)
            if self.failure is not None:
                self._stop_all("Reading was stopped by an error.")
                stop()
                return
            self._settle(task.reader)
            self._wake()
            if step is not None:  # nothing was waited for since it was taken: a source's steps stay in order
                sending = channel.send(step)
                del step  # it is the consumer's then
                await sending
            self._open_pages -= 1

    async def _next_task(self) -> PageTask | None:
        while self._open:
            while self._ready and self._open_pages < self.max_open_pages:
                reader = self._ready.popleft()
                task = reader.next_task()
                reader.queued = task is not None
                if task is not None:
                    self._ready.append(reader)
                    self._open_pages += 1
                    self._wake()
                    return task
                if reader.cover.conclusion is not None:
                    self._close(reader)
            if self._open:
                turn = anyio.Event()
                self._idle.append(turn)
                await turn.wait()
        self._wake()
        return None

    def _wake(self) -> None:
        """Wake one worker, which wakes the next one if there is more to do.

        If all were woken at once, they would send all their requests in one turn of the event loop, and block
        it.
        """
        if self._idle:
            self._idle.popleft().set()

    def _settle(self, reader: SourceReader) -> None:
        """Put a source back in the queue after a response, or finish it."""
        if reader.queued:
            return
        if reader.cover.conclusion is not None:
            self._close(reader)
        else:
            reader.queued = True
            self._ready.append(reader)

    def _close(self, reader: SourceReader) -> None:
        self._open -= 1
        reader.queued = True
        conclusion = reader.cover.conclusion
        assert conclusion is not None
        self._context.emit(
            VerdictReached(
                source=reader.source,
                verdict=conclusion.verdict,
                reason=conclusion.reason,
                received=len(reader.seen_ids),
            )
        )

    def _stop_all(self, reason: str) -> None:
        for reader in self.readers:
            reader.cover.stop(reason)

    async def _read(self, task: PageTask) -> Step | None:
        reader, request, clock = task.reader, task.request, self._context.clock
        try:
            wait_seconds = reader.epoch + request.not_before - clock.monotonic()
            if wait_seconds > 0:
                await self._context.sleep(wait_seconds)
            read, tries = await self._gate.ask(
                partial(self._fetch_page, reader.source, request),
                partial(self._fetch_page, reader.source, PROBE),
                optional=request.optional,
            )
        except FutureAGIError as error:
            self._take_failure(task, error, clock.monotonic())
            return None
        if tries:
            read = attrs.evolve(read, attempts=read.attempts + tries)
        step = reader.accept(task, read, slots_full=self._open >= self.options.max_in_flight)
        if read.value.failures and self.options.on_error == "raise":
            self.failure = self.failure or read.value.failures[0].error
        self._context.emit(
            PageArrived(
                source=reader.source,
                page=request.page,
                limit=request.limit,
                records=len(step.page.calls),
                count=read.value.count,
            )
        )
        return step

    def _take_failure(self, task: PageTask, error: FutureAGIError, now: float) -> None:
        """Continue the source without the page, or stop the job."""
        expected = task.reader.fail(task, error, now)
        stops = isinstance(error, STOPS_JOB) or self._gate.is_over
        if stops or (self.options.on_error == "raise" and not expected):
            self.failure = self.failure or error
            if error not in task.reader.failures:
                task.reader.failures.append(error)  # there was another way, but not for this job


def make_readers(
    sources: Sequence[CallSource], options: BulkOptions, resume: Iterable[bytes], now: float
) -> list[SourceReader]:
    """Return one reader per source, restored from the checkpoints.

    The checkpoints are iterated twice, and not kept. That takes some microseconds per record.
    """
    epoch = now - last_received_at(map(decode_checkpoint, resume))
    readers: list[SourceReader] = []
    for index, source in enumerate(sources):
        since = options.changed_since.get(source)
        begin = partial(_cover, source, options, since)
        how = f"{options.page_size} {options.consistency} {since}"
        readers.append(SourceReader(index, source, begin, how, epoch, since))
    for checkpoint in map(decode_checkpoint, resume):
        if not 0 <= checkpoint.index < len(readers):
            raise ValueError("resume has checkpoints of more sources than were given.")
        readers[checkpoint.index].restore(checkpoint)
    for reader in readers if resume else ():
        reader.resume()
    return readers


def _cover(source: CallSource, options: BulkOptions, since: float | None) -> Cover | FastRead:
    traits = traits_of(source)
    if options.consistency == "fast":
        return FastRead(traits, page_size=options.page_size)
    return Cover(traits, page_size=options.page_size, max_body_bytes=options.max_body_bytes, since=since)

"""Sends requests with retries: slots, shared pauses, deadlines, and the life of the connection pool."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import anyio
import attrs

from futureagi_async._http.budgets import Permits
from futureagi_async._http.clock import Clock
from futureagi_async._http.telemetry import RequestTrace, Telemetry
from futureagi_async._sansio.pacing import ConcurrencyLimit, is_throttling
from futureagi_async._sansio.replies import Decoded, Reply, check_reply
from futureagi_async._sansio.requests import Request
from futureagi_async._sansio.retrying import RetryQuota, retry_delay_seconds
from futureagi_async._sansio.settings import Keys
from futureagi_async.budgets import RequestBudget
from futureagi_async.errors import (
    BudgetError,
    FilterIgnoredError,
    FutureAGIError,
    RateLimitError,
    SessionMisuseError,
)
from futureagi_async.events import Event, Observer, SessionPaused
from futureagi_async.options import RetryPolicy, Timeouts

if TYPE_CHECKING:
    from futureagi_async._http.transport import Transport


_Waiters: TypeAlias = "OrderedDict[anyio.Event, None]"
"""Tasks that wait, in turn; one that gives up leaves at once, from wherever it stands."""


class Slots:
    """Lets so many tasks in at a time. Waiting costs nothing; a free slot costs no turn of the event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self._urgent: _Waiters = OrderedDict()
        self._others: _Waiters = OrderedDict()

    def set_limit(self, limit: int) -> None:
        """Change how many there are; with fewer, those that are taken are waited for."""
        self.limit = limit
        self._grant_slots()

    def acquire(self, *, urgent: bool) -> "_Slot":
        """Hold a slot for the length of the block."""
        return _Slot(self, urgent=urgent)

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for a slot."""
        return bool(self._urgent or self._others)

    async def take(self, *, urgent: bool) -> None:
        """Wait for a slot."""
        if self.taken < self.limit:
            self.taken += 1
        else:
            await self._wait(self._urgent if urgent else self._others)

    def release(self) -> None:
        """Give a slot back, or to the next who waits."""
        self.taken -= 1
        self._grant_slots()

    async def _wait(self, waiters: _Waiters) -> None:
        turn = anyio.Event()
        waiters[turn] = None
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():  # cancelled with the slot already given
                self.release()
            else:
                del waiters[turn]
            raise

    def _grant_slots(self) -> None:
        while self.taken < self.limit and (waiters := self._urgent or self._others):
            self.taken += 1
            turn, _ = waiters.popitem(last=False)
            turn.set()


class _Slot:
    """One of them. `contextlib` would make a generator for each request, which takes 2 µs more."""

    __slots__ = ("_slots", "_urgent")

    def __init__(self, slots: Slots, *, urgent: bool) -> None:
        self._slots = slots
        self._urgent = urgent

    async def __aenter__(self) -> None:
        await self._slots.take(urgent=self._urgent)

    async def __aexit__(self, *_: object) -> None:
        self._slots.release()


class _UntilClosed:
    """Cancels its block where the session is closed, which then waits for the end of all of them.

    It works as `asyncio.timeout` does. A cancel scope of anyio takes 5 µs more for each request.
    """

    __slots__ = ("_cancelled", "_cancelled_before", "_ended", "_running", "_task", "_text")

    def __init__(self, running: "set[_UntilClosed]", ended: Callable[[], None], text: str) -> None:
        self._running = running
        self._ended = ended
        self._text = text
        self._cancelled = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelled_before = task.cancelling()
        self._running.add(self)

    def cancel(self) -> None:
        """End the block."""
        if not self._cancelled:
            self._cancelled = True
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._running.discard(self)
        self._ended()
        if self._cancelled:
            by_others = self._task.uncancel() > self._cancelled_before
            if kind is asyncio.CancelledError and not by_others:
                raise SessionMisuseError(self._text) from None


T = TypeVar("T")

_CLOSING_SECONDS = 5.0
_ONCE = RetryPolicy(attempts=1)


@attrs.define(frozen=True)
class RequestOptions:
    """How a request is to be made."""

    timeouts: Timeouts
    retry: RetryPolicy
    urgent: bool
    """Whether it goes before the others that wait for a slot."""

    def once(self) -> "RequestOptions":
        """Return the same without retries."""
        return attrs.evolve(self, retry=_ONCE)

    def within(self, seconds: float) -> "RequestOptions":
        """Return the same, done in so many seconds at most."""
        if seconds >= self.timeouts.deadline:
            return self
        return attrs.evolve(self, timeouts=attrs.evolve(self.timeouts, deadline=seconds))


class Requester:
    """Sends requests, at most ``max_in_flight`` at a time, for as long as the session is open."""

    def __init__(
        self,
        transport: "Transport",
        keys: Keys,
        *,
        max_in_flight: int,
        budget: RequestBudget | None,
        clock: Clock,
        observers: Sequence[Observer],
    ) -> None:
        self.max_in_flight = max_in_flight
        self.clock = clock
        self.decoding: asyncio.Lock
        """Held while a page is decoded: the turns of many pages would add up, and other tasks wait longer."""
        self.was_answered = False
        """Whether anything was answered yet, if only by a gateway: the address is that of some server."""
        self._transport = transport
        self._keys = keys
        self._budget = budget
        self._telemetry = Telemetry(transport.origin, observers)
        self._quota = RetryQuota()
        self._paused_until = float("-inf")
        self._state = "not opened"
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._running: set[_UntilClosed] = set()
        """What closing cancels, and waits for."""

    async def open(self) -> None:
        """Bind to this event loop and process, and make the pool."""
        if self._state != "not opened":
            raise SessionMisuseError(f"The session is {self._state}; a session can be opened once.")
        if (loop := _running_loop()) is None:
            raise SessionMisuseError(
                "A session needs asyncio's event loop, and another library's runs here: start with "
                "asyncio.run(...), or anyio.run(..., backend='asyncio')."
            )
        self._concurrency = ConcurrencyLimit(self.max_in_flight)
        self._slots = Slots(self._concurrency.limit)
        self.decoding = asyncio.Lock()
        self._permits = (
            Permits(self._budget, self.clock, lambda: self._slots.taken) if self._budget is not None else None
        )
        self._idle = anyio.Event()
        self._pool = self._open_pool()
        await anext(self._pool)
        self._home = (os.getpid(), loop)
        self._state = "open"

    async def _open_pool(self) -> AsyncGenerator[None, None]:
        """Hold the pool open; asyncio closes the generators that are left when a loop ends, and so this."""
        await self._transport.open()
        try:
            yield
        finally:
            await self._transport.close()

    async def close(self) -> None:
        """Cancel what is in flight, wait for it to end, and close the pool."""
        if self._state != "open":
            return
        if self._home is not None and self._home[1].is_closed():
            self._state = "closed"  # which its pool is already
            return
        self.check_usable()
        self._state = "closed"
        for block in tuple(self._running):
            block.cancel()
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSING_SECONDS):
            if self._running:
                await self._idle.wait()
            if self._permits is not None:
                await self._permits.close()
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSING_SECONDS):
            await self._pool.aclose()

    def check_usable(self) -> None:
        """Raise `SessionMisuseError` unless the session is open, here."""
        if self._state != "open" or self._home is None:
            how = "Use it inside 'async with Session() as session:'."
            raise SessionMisuseError(f"The session is {self._state}. {how}")
        pid, loop = self._home
        if os.getpid() != pid:
            raise SessionMisuseError(
                "The session was opened before a fork; open one of its own in the child process."
            )
        if _running_loop() is not loop:
            whose = "an event loop that has ended" if loop.is_closed() else "another event loop"
            raise SessionMisuseError(
                f"The session belongs to {whose}; open one in each asyncio.run(...) and each thread. "
                "In a notebook, await in the cells themselves."
            )

    def emit(self, event: Event) -> None:
        """Tell the observers and the log."""
        self._telemetry.emit(event)

    async def call(
        self, request: Request, decode: Callable[[Reply], Awaitable[T]], options: RequestOptions
    ) -> Decoded[T]:
        """Send until an answer decodes, patience ends, or the error is final."""
        self.check_usable()
        trace = self._telemetry.begin(request)
        text = "The session was closed while this request was in flight."
        with _UntilClosed(self._running, self._note_end, text):
            try:
                return await self._send_with_retries(request, decode, options, trace)
            except asyncio.CancelledError:
                trace.cancelled()
                raise

    async def sleep(self, seconds: float) -> None:
        """Wait, unless the session is closed meanwhile."""
        self.check_usable()
        with _UntilClosed(self._running, self._note_end, "The session was closed."):
            await self.clock.sleep(seconds)

    def _note_end(self) -> None:
        """Let closing go on where nothing runs any more."""
        if not self._running and self._state == "closed":
            self._idle.set()

    def refill_quota(self) -> None:
        """Forget what retries cost: what they were spent on is over."""
        self._quota = RetryQuota()

    async def _send_with_retries(
        self,
        request: Request,
        decode: Callable[[Reply], Awaitable[T]],
        options: RequestOptions,
        trace: RequestTrace,
    ) -> Decoded[T]:
        timeouts = options.timeouts
        attempt, spent, quota_cost = 0, 0.0, 0
        while True:
            attempt += 1
            async with self._slots.acquire(urgent=options.urgent):
                sent_at = self.clock.monotonic()
                if self._permits is not None or sent_at < self._paused_until:
                    self._check_deadline(trace, attempt - 1, spent, timeouts)
                    await self._wait_for_turn(trace, attempt - 1, spent, timeouts)
                    sent_at = self.clock.monotonic()
                trace.sent(attempt)
                answer = await self._send_once(request, timeouts, timeouts.deadline - spent)
                received_at = self.clock.monotonic()
                is_awaited = self._slots.is_awaited
            spent += received_at - sent_at
            outcome: tuple[T, Reply] | FutureAGIError
            if isinstance(answer, Reply):
                trace.answered(attempt, answer, received_at - sent_at)
                if is_awaited and answer.status == HTTPStatus.OK:  # others may ask for a pause
                    # who got the slot sends before this is decoded: 3 % of the time that small pages take
                    await asyncio.sleep(0)
                outcome = await self._decode(answer, decode, request)
            else:
                outcome = answer
            self._adjust_limit(outcome, sent_at, received_at)
            if not isinstance(outcome, FutureAGIError):
                self._quota.give_back(quota_cost)
                value, reply = outcome
                return Decoded(value, reply, sent_at, received_at, attempt)
            error = outcome.about("GET", request.path, attempt, spent)
            if error.retryable and error.retry_after is not None:
                with _failing(trace, attempt, spent):
                    await self._pause_all(min(error.retry_after, options.retry.max_retry_after), timeouts)
            plan = self._plan_retry(error, attempt, options.retry, timeouts.deadline - spent)
            if plan is None:
                raise trace.failed(error)
            delay_seconds, quota_cost = plan
            trace.retrying(attempt, error, delay_seconds)
            await self.clock.sleep(delay_seconds)
            spent += delay_seconds

    def _check_deadline(self, trace: RequestTrace, attempts: int, spent: float, timeouts: Timeouts) -> None:
        """Fail now where the server's pause outlasts the deadline."""
        pause = self._paused_until - self.clock.monotonic()
        if pause > timeouts.deadline - spent:
            text = "The server asked this session to wait."
            error = RateLimitError(text, retry_after=pause, retryable=True)
            raise trace.failed(error.about("GET", trace.path, attempts, spent))

    async def _send_once(
        self, request: Request, timeouts: Timeouts, seconds_left: float
    ) -> Reply | FutureAGIError:
        try:
            reply = await self._transport.send(request, timeouts, min(timeouts.attempt, seconds_left))
        except FutureAGIError as error:
            return self._redacted(error, confidential=request.confidential)
        self.was_answered = True
        return reply

    async def _decode(
        self, reply: Reply, decode: Callable[[Reply], Awaitable[T]], request: Request
    ) -> tuple[T, Reply] | FutureAGIError:
        try:
            check_reply(reply)
            return await decode(reply), reply
        except FutureAGIError as error:
            error.status, error.request_id = reply.status, reply.request_id
            return self._redacted(error, confidential=request.confidential)

    def _redacted(self, error: FutureAGIError, *, confidential: bool) -> FutureAGIError:
        """Blank out the keys where a server repeats them, and drop the frames that hold its answer."""
        error.body = None if confidential else self._keys.redact(error.body)
        error.message = self._keys.redact(error.message) or ""
        error.args = (error.message,)
        if isinstance(error, FilterIgnoredError):
            error.error_messages = tuple(self._keys.redact(text) or "" for text in error.error_messages)
        return error.with_traceback(None)

    def _adjust_limit(self, outcome: object, sent_at: float, received_at: float) -> None:
        """Let more requests fly after a success, fewer after a throttled answer."""
        if not isinstance(outcome, FutureAGIError):
            self._concurrency.succeeded()
        elif is_throttling(outcome):
            self._concurrency.throttled(sent_at=sent_at, now=received_at)
        if self._slots.limit != (limit := self._concurrency.limit):
            self._slots.set_limit(limit)

    def _plan_retry(
        self, error: FutureAGIError, attempt: int, retry: RetryPolicy, seconds_left: float
    ) -> tuple[float, int] | None:
        """Return the pause and what it cost of the quota, or ``None`` to give up."""
        pause = retry_delay_seconds(
            error, attempt=attempt, policy=retry, seconds_left=seconds_left, jitter=self.clock.jitter()
        )
        if pause is None:
            return None
        cost = self._quota.take(error, attempt)
        return None if cost is None else (pause, cost)

    async def _pause_all(self, seconds: float, timeouts: Timeouts) -> None:
        """Let this session wait, and all others on its budget."""
        until = self.clock.monotonic() + seconds
        if until > self._paused_until:
            self._paused_until = until
            self.emit(SessionPaused(delay_seconds=seconds))
            if self._permits is not None:
                await self._permits.pause(seconds, timeouts.attempt)

    async def _wait_for_turn(
        self, trace: RequestTrace, attempts: int, spent: float, timeouts: Timeouts
    ) -> None:
        """Wait for the end of a pause, and for the budget."""
        await self._wait_for_pause()
        while self._permits is not None:
            with _failing(trace, attempts, spent):
                await self._permits.take(timeouts.attempt)
            if not await self._wait_for_pause():
                break  # what was granted before a pause is of another minute

    async def _wait_for_pause(self) -> bool:
        """Wait until the session is not paused; whether it was."""
        paused = False
        while (seconds := self._paused_until - self.clock.monotonic()) > 0:
            paused = True
            await self.clock.sleep(seconds + self.clock.jitter() * min(1.0, seconds))
        return paused


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """Return asyncio's loop where it runs, ``None`` in a plain function or another library's loop."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@contextmanager
def _failing(trace: RequestTrace, attempts: int, spent: float) -> Iterator[None]:
    """End the request where its budget fails in the block."""
    try:
        yield
    except BudgetError as error:
        trace.failed(error.about("GET", trace.path, attempts, spent))
        raise

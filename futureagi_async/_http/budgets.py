"""Request budgets: the budget of one process, and the session's side of any budget."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from threading import Lock
from typing import TypeVar

import anyio

from futureagi_async._http.clock import Clock, SystemClock
from futureagi_async._sansio.pacing import LATE_LEASES, LEASE_SECONDS, HeldLease, MinuteAllowance
from futureagi_async.budgets import Lease, RequestBudget
from futureagi_async.errors import BudgetError
from futureagi_async.options import check_count, check_kind, check_wait_seconds

_log = logging.getLogger("futureagi_async")

_HOLD_SECONDS = 1.0
"""Maximum time from a grant to sending in the same process; far longer than usual."""
_SHARED_HOLD_SECONDS = LEASE_SECONDS + 1.0
_GIVE_BACK_SECONDS = 5.0

T = TypeVar("T")


class MinuteBudget:
    """A limit of requests in any 60 seconds, shared by all sessions that use the same budget.

    It is a `RequestBudget` for the sessions of one process, in any thread: ``Session(budget=budget)``. A
    tenth of the requests of a minute may be sent at once; the budget spreads the others evenly.

    Args:
        requests_per_minute: Maximum number for all sessions together.
        shared: Set this if the budget runs in an actor or a server, for sessions of other processes. One
            lease can then cover several requests, and up to 3 s may pass between a grant and the sending.
            Requests are spread evenly from the start, without a burst, because a replacement of a lost budget
            does not know what that one granted.
        clock: Source of time, for tests.
    """

    def __init__(self, requests_per_minute: int, *, shared: bool = False, clock: Clock | None = None) -> None:
        check_count("requests_per_minute", requests_per_minute)
        self._shared = check_kind("shared", shared, bool)
        self._clock = clock or SystemClock()
        self._allowance = MinuteAllowance(
            requests_per_minute,
            burst=max(1, requests_per_minute // (60 if shared else 10)),
            hold_seconds=_SHARED_HOLD_SECONDS if shared else _HOLD_SECONDS,
            now=self._clock.monotonic(),
            begins_empty=shared,
        )
        self._lock = Lock()

    @property
    def requests_per_minute(self) -> int:
        """Maximum number of requests in any 60 seconds."""
        return self._allowance.requests_per_minute

    async def lease(self, most: int) -> Lease:
        """Grant requests: up to ``most`` with ``shared``, else one at a time."""
        check_count("most", most)
        with self._lock:
            return self._allowance.lease(most if self._shared else 1, self._clock.monotonic())

    async def give_back(self, unused: int) -> None:
        """Take back requests that were not sent."""
        check_count("unused", unused)
        with self._lock:
            self._allowance.give_back(unused, self._clock.monotonic())

    async def pause(self, seconds: float) -> None:
        """Grant nothing for so many seconds."""
        check_wait_seconds("seconds", seconds, may_be_zero=True)
        with self._lock:
            self._allowance.pause(seconds, self._clock.monotonic())

    def __repr__(self) -> str:
        return f"<MinuteBudget {self.requests_per_minute:,} requests a minute>"


class Permits:
    """The requests that a session may send. It leases several from its budget, and uses them one by one."""

    def __init__(self, budget: RequestBudget, clock: Clock, count_wanted: Callable[[], int]) -> None:
        self._budget = budget
        self._clock = clock
        self._count_wanted = count_wanted
        self._held = HeldLease()
        self._late_leases = 0
        self._turn = anyio.Lock(fast_acquire=True)
        self._keeper: asyncio.Task[None] | None = None

    async def take(self, answer_seconds: float) -> None:
        """Wait until one request may be sent. Raise `BudgetError` if the budget fails."""
        async with self._turn:
            while not self._held.use(self._clock.monotonic()):
                await self._lease(answer_seconds)

    async def pause(self, seconds: float, answer_seconds: float) -> None:
        """Make all sessions of the budget wait for so many seconds."""
        await _ask(self._budget.pause(seconds), answer_seconds)

    async def close(self) -> None:
        """Give back the rest of the lease."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        await self._give_back()

    async def _lease(self, answer_seconds: float) -> None:
        await self._give_back()
        asked_at = self._clock.monotonic()
        lease = await _ask(self._budget.lease(self._count_wanted()), answer_seconds)
        if not isinstance(lease, Lease):
            raise BudgetError(f"The request budget granted a {type(lease).__name__}, not a Lease.")
        if not lease.granted:
            seconds = lease.wait_seconds
            await self._clock.sleep(seconds + self._clock.jitter() * min(1.0, seconds))
            return
        now = self._clock.monotonic()
        self._held.begin(lease.granted, asked_at, now)
        self._check_in_time(now)
        if lease.granted > 1 and (self._keeper is None or self._keeper.done()):
            self._keeper = asyncio.create_task(self._give_back_when_idle())

    def _check_in_time(self, now: float) -> None:
        """Raise if several leases in a row had lapsed when they arrived, because that would never end."""
        self._late_leases = self._late_leases + 1 if self._held.has_lapsed(now) else 0
        if self._late_leases >= LATE_LEASES:
            raise BudgetError(
                f"The request budget takes longer than {LEASE_SECONDS:g} s to answer, so its leases have "
                "lapsed when they arrive: run it closer to the session, or on a less busy machine."
            )

    async def _give_back_when_idle(self) -> None:
        """Wait until the lease is used up, or was unused for a while. Closing the session cancels this."""
        while self._held.unused:
            if (seconds := self._held.kept_seconds(self._clock.monotonic())) > 0:
                await self._clock.sleep(seconds)
            else:
                await self._give_back()

    async def _give_back(self) -> None:
        if unused := self._held.drop(self._clock.monotonic()):
            try:
                await _ask(self._budget.give_back(unused), _GIVE_BACK_SECONDS)
            except BudgetError:  # what is not given back lapses, and the next lease tells of a lost budget
                _log.debug("The request budget did not take back %d requests.", unused, exc_info=True)


async def _ask(answer: Awaitable[T], seconds: float) -> T:
    """Return the budget's answer. Raise `BudgetError` if it raises, or does not answer in time."""
    with anyio.move_on_after(seconds):
        try:
            return await answer
        except BudgetError:
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise BudgetError("A method of the request budget was cancelled.") from error
        except Exception as error:
            raise BudgetError(f"The request budget failed ({type(error).__name__}: {error}).") from error
    raise BudgetError(f"The request budget did not answer within {seconds:g} s.")

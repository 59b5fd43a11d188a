"""Asks a budget before requests are sent: the session's side, and the budget of one process."""

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
"""From a grant to the sending in the same process: far less, even where the event loop is busy."""
_SHARED_HOLD_SECONDS = LEASE_SECONDS + 1.0
_GIVE_BACK_SECONDS = 5.0

T = TypeVar("T")


class MinuteBudget:
    """At most so many requests in any 60 seconds, by all sessions that hold it.

    A `RequestBudget` for sessions of this process, in any of its threads: ``Session(budget=budget)``. A tenth
    of a minute's requests may go at once, and then they go evenly.

    Args:
        requests_per_minute: By all sessions together.
        shared: It serves sessions of other processes, from an actor or a server: it grants several requests
            at once where that many are wanted, and allows for 3 s from a grant to the sending. All go evenly,
            from the beginning: one that replaces a lost one can't know what that has just granted.
        clock: Time; for tests.
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
        """The most requests in any 60 seconds."""
        return self._allowance.requests_per_minute

    async def lease(self, most: int) -> Lease:
        """Grant requests; one at a time where asking again costs nothing."""
        check_count("most", most)
        with self._lock:
            return self._allowance.lease(most if self._shared else 1, self._clock.monotonic())

    async def give_back(self, unused: int) -> None:
        """Take back requests that were not sent."""
        check_count("unused", unused)
        with self._lock:
            self._allowance.give_back(unused, self._clock.monotonic())

    async def pause(self, seconds: float) -> None:
        """Grant nothing for so long."""
        check_wait_seconds("seconds", seconds, may_be_zero=True)
        with self._lock:
            self._allowance.pause(seconds, self._clock.monotonic())

    def __repr__(self) -> str:
        return f"<MinuteBudget {self.requests_per_minute:,} requests a minute>"


class Permits:
    """The requests that a session may send: leased from its budget, several at a time, used one by one."""

    def __init__(self, budget: RequestBudget, clock: Clock, count_wanted: Callable[[], int]) -> None:
        self._budget = budget
        self._clock = clock
        self._count_wanted = count_wanted
        self._held = HeldLease()
        self._late_leases = 0
        self._turn = anyio.Lock(fast_acquire=True)
        self._keeper: asyncio.Task[None] | None = None

    async def take(self, answer_seconds: float) -> None:
        """Wait until one request may be sent, in turn; raise `BudgetError` where the budget fails."""
        async with self._turn:
            while not self._held.use(self._clock.monotonic()):
                await self._lease(answer_seconds)

    async def pause(self, seconds: float, answer_seconds: float) -> None:
        """Let all that hold the budget wait so long."""
        await _ask(self._budget.pause(seconds), answer_seconds)

    async def close(self) -> None:
        """Give back what is left."""
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
        """Raise where each lease has lapsed when it arrives, which would go on for ever."""
        self._late_leases = self._late_leases + 1 if self._held.has_lapsed(now) else 0
        if self._late_leases >= LATE_LEASES:
            raise BudgetError(
                f"The request budget takes longer than {LEASE_SECONDS:g} s to answer, so its leases have "
                "lapsed when they arrive: run it closer to the session, or on a less busy machine."
            )

    async def _give_back_when_idle(self) -> None:
        """Wait until the lease is used up, or wasn't for a while; the session's closing ends it."""
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
    """Return the budget's answer; raise `BudgetError` for what it raises, and where there is none in time."""
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

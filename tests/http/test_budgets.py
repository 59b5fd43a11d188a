"""Budgets that sessions ask before each request: leases, leftovers, shared pauses, and budgets that fail."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import attrs
import pytest

from futureagi_async import (
    BudgetError,
    FutureAGIError,
    Lease,
    MinuteBudget,
    RateLimitError,
    RequestBudget,
    RetryPolicy,
    RunTestCalls,
    Session,
    Timeouts,
)
from futureagi_async._sansio.pacing import IDLE_SECONDS, LEASE_SECONDS
from futureagi_async.events import Event, RequestFailed, RequestSent, SessionPaused
from futureagi_async.testing import StandInServer
from tests.support.raw_server import raw_server, refuse
from tests.support.sessions import (
    UNKNOWN_ID,
    FakeClock,
    Play,
    answer,
    make_session,
    open_session,
    reset,
    send,
    wait_until,
)

pytestmark = pytest.mark.anyio


@attrs.define
class CountingBudget:
    """Grants all that is wanted, or what a test scripts, and counts."""

    script: deque[Lease] = attrs.field(factory=deque, converter=deque)
    asked: list[int] = attrs.field(factory=list)
    granted: int = 0
    returned: list[int] = attrs.field(factory=list)
    pauses: list[float] = attrs.field(factory=list)

    @property
    def used(self) -> int:
        """How many requests were granted and not given back."""
        return self.granted - sum(self.returned)

    async def lease(self, most: int) -> Lease:
        self.asked.append(most)
        lease = self.script.popleft() if self.script else Lease(most)
        self.granted += lease.granted
        return lease

    async def give_back(self, unused: int) -> None:
        self.returned.append(unused)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


async def ask(session: Session) -> int:
    """Ask for something small, once more after each failure that is worth it."""
    return (await session.get_kpis(UNKNOWN_ID)).total_calls or 0


async def ask_often(session: Session, times: int, at_once: int = 1) -> None:
    """Ask so often, whatever comes of it."""

    async def some(number: int) -> None:
        for _ in range(number):
            with suppress(FutureAGIError):
                await ask(session)

    async with anyio.create_task_group() as tasks:
        for _ in range(at_once):
            tasks.start_soon(some, times // at_once)


async def close_unanswered(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the request, and close as a server does whose idle connection it was."""
    writer.close()


WIRES: dict[str, list[Play]] = {
    "answers": [answer()],
    "closes idle connections": [answer(), close_unanswered] * 40,
    "closes each connection unanswered": [close_unanswered],
    "resets": [answer(), reset] * 40,
    "answers and closes": [answer(close=True)],
    "cuts answers off": [answer(length=5000, close=True), answer()] * 40,
    "answers 503": [refuse(503), answer()] * 40,
    "answers 500 for ever": [refuse(500)],
    "redirects": [refuse(302, head="Location: /elsewhere\r\n")],
    "sends what is no HTTP": [send(b"SSH-2.0-OpenSSH\r\n")],
}


@pytest.mark.quick(6)
@pytest.mark.parametrize("at_once", [1, 5])
@pytest.mark.parametrize("wire", WIRES)
async def test_no_request_leaves_uncounted(wire: str, at_once: int) -> None:
    """Whatever a server does to connections, each request that it sees was granted, and told to observers."""
    budget, tries = CountingBudget(), list[Event]()

    def observe(event: Event) -> None:
        if isinstance(event, RequestSent):
            tries.append(event)

    async with raw_server(*WIRES[wire]) as server:
        options: dict[str, Any] = {"retry": RetryPolicy(base_delay=0.001), "observers": [observe]}
        async with open_session(server, max_in_flight=4, budget=budget, **options) as session:
            await ask_often(session, 20, at_once)
    assert budget.used == len(tries) >= 20
    if wire == "answers and closes":  # some are lost on a connection that was closed before they arrived
        assert 20 <= len(server.requests) <= len(tries)
    else:
        assert len(server.requests) == len(tries)


async def test_a_kept_connection_that_closed_is_replaced_at_once_and_counted() -> None:
    """Without retries, too: the server may close it while nobody looks."""
    budget, clock = CountingBudget(), FakeClock()
    async with raw_server(answer(), close_unanswered, answer()) as server:
        options: dict[str, Any] = {"budget": budget, "clock": clock, "retry": RetryPolicy(attempts=1)}
        async with open_session(server, **options) as session:
            assert [await ask(session), await ask(session)] == [1, 1]
    assert budget.used == len(server.requests) == 3
    assert sum(clock.slept) == 0


async def test_a_lease_covers_what_waits_and_is_in_flight(served: StandInServer) -> None:
    """As many slots as are taken, so that a round trip is not paid for each request."""
    source = RunTestCalls(served.add_run_test(3_000, slim=True))
    budget = CountingBudget()
    async with open_session(served, budget=budget) as session:
        result = await session.fetch_calls(source, page_size=20)
    assert result.report.complete
    assert 4 < max(budget.asked) <= 16
    assert len(budget.asked) < len(served.requests) / 3
    assert budget.used == len(served.requests)


async def test_closing_gives_back_what_is_left(served: StandInServer) -> None:
    """Of five that were granted, four come back with the end of the session."""
    budget, clock = CountingBudget([Lease(5)]), FakeClock(held=True)
    async with open_session(served, budget=budget, clock=clock) as session:
        await session.get_kpis(served.test_execution_ids[0])
        assert budget.returned == []
    assert budget.returned == [4]


async def test_an_idle_session_gives_back_after_a_second(served: StandInServer) -> None:
    """Each request begins the second again."""
    budget, clock = CountingBudget([Lease(5)]), FakeClock(held=True)
    kpis = served.test_execution_ids[0]
    async with open_session(served, budget=budget, clock=clock) as session:
        await session.get_kpis(kpis)
        await anyio.wait_all_tasks_blocked()
        clock.advance(IDLE_SECONDS * 0.75)
        await session.get_kpis(kpis)
        clock.advance(IDLE_SECONDS * 0.75)
        await anyio.wait_all_tasks_blocked()
        assert budget.returned == []
        clock.advance(IDLE_SECONDS * 0.5)
        await anyio.wait_all_tasks_blocked()
        assert budget.returned == [3]
        assert clock.sleepers == 0
        await session.get_kpis(kpis)
    assert budget.asked == [1, 1]


async def test_a_lease_lapses(served: StandInServer) -> None:
    """In a session that is busy all the time, too: the rest goes back, and it asks again."""
    budget, clock = CountingBudget([Lease(9)]), FakeClock(held=True)
    kpis = served.test_execution_ids[0]
    async with open_session(served, budget=budget, clock=clock) as session:
        for _ in range(3):
            await session.get_kpis(kpis)
            clock.advance(LEASE_SECONDS * 0.4)
        await session.get_kpis(kpis)
        assert (budget.asked, budget.returned) == ([1, 1], [6])


async def test_a_session_waits_as_long_as_the_budget_says(served: StandInServer) -> None:
    """Nothing granted: it asks again when told, and no earlier."""
    budget, clock = CountingBudget([Lease(0, 30.0), Lease(1)]), FakeClock(held=True, jitter=0.0)
    async with (
        open_session(served, budget=budget, clock=clock) as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(session.get_kpis, served.test_execution_ids[0])
        await wait_until(lambda: clock.sleepers == 1)
        clock.advance(29.9)
        await anyio.wait_all_tasks_blocked()
        assert (len(budget.asked), len(served.requests)) == (1, 0)
        clock.advance(0.2)
    assert (len(budget.asked), len(served.requests)) == (2, 1)


async def test_waiting_for_the_budget_counts_towards_no_timeout(served: StandInServer) -> None:
    """As waiting for a slot does."""
    budget, clock = CountingBudget([Lease(0, 500.0), Lease(1)]), FakeClock()
    async with open_session(served, budget=budget, clock=clock, timeouts=Timeouts(deadline=5)) as session:
        await session.get_kpis(served.test_execution_ids[0])
    assert clock.now > 1500


async def test_a_429_in_one_session_pauses_all_that_hold_the_budget(served: StandInServer) -> None:
    """The other one sends nothing either until the time has passed; only the first one tells of a pause."""
    clock, told = FakeClock(held=True), list[tuple[str, Event]]()
    budget = MinuteBudget(600, clock=clock)
    kpis = served.test_execution_ids[0]

    def tell(name: str) -> Callable[[Event], None]:
        return lambda event: told.append((name, event)) if isinstance(event, SessionPaused) else None

    served.fail(status=429, headers={"Retry-After": "30"})
    async with (
        open_session(served, budget=budget, clock=clock, observers=[tell("one")]) as one,
        open_session(served, budget=budget, clock=clock, observers=[tell("other")]) as other,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(one.get_kpis, kpis)
        await wait_until(lambda: clock.sleepers == 1)
        for _ in range(3):
            tasks.start_soon(other.get_kpis, kpis)
        await wait_until(lambda: clock.sleepers == 2)
        clock.advance(29.9)
        await anyio.wait_all_tasks_blocked()
        assert len(served.requests) == 1
        while len(served.requests) < 5:
            clock.advance(1.0)
            await anyio.sleep(0.001)
    assert told == [("one", SessionPaused(delay_seconds=30))]


async def test_a_pause_that_the_retries_do_not_wait_for_is_told_all_the_same(served: StandInServer) -> None:
    """A session that gives up at its first 429 still lets the others wait."""
    budget = CountingBudget()
    served.fail(status=429, headers={"Retry-After": "1000"})
    async with open_session(served, budget=budget, retry=RetryPolicy(attempts=1)) as session:
        with pytest.raises(RateLimitError):
            await session.get_kpis(served.test_execution_ids[0])
    assert budget.pauses == [120]


async def test_sessions_that_share_a_budget_send_no_more_together(served: StandInServer) -> None:
    """Of 20 a minute two may go at once, whoever sends them."""
    budget, clock = MinuteBudget(20, clock=FakeClock()), FakeClock(held=True)
    kpis = served.test_execution_ids[0]
    async with (
        open_session(served, budget=budget, clock=clock) as one,
        open_session(served, budget=budget, clock=clock) as other,
        anyio.create_task_group() as tasks,
    ):
        await one.get_kpis(kpis)
        await other.get_kpis(kpis)
        for session in (one, other):
            tasks.start_soon(session.get_kpis, kpis)
        await wait_until(lambda: clock.sleepers == 2)
        assert len(served.requests) == 2
        tasks.cancel_scope.cancel()


class Failing(CountingBudget):
    """A budget whose methods fail where a test says so."""

    def __init__(self, method: str, fail: Callable[[], Any]) -> None:
        super().__init__([Lease(3)])
        self._failing = method
        self._fail = fail

    async def lease(self, most: int) -> Lease:
        lease = await super().lease(most)
        return (await self._fail()) if self._failing == "lease" else lease

    async def give_back(self, unused: int) -> None:
        if self._failing == "give_back":
            await self._fail()
        await super().give_back(unused)

    async def pause(self, seconds: float) -> None:
        if self._failing == "pause":
            await self._fail()


async def break_down() -> Lease:
    """Raise as a lost actor does."""
    raise RuntimeError("the actor died")


async def hang() -> Lease:
    """Never answer."""
    await anyio.sleep_forever()
    raise AssertionError


async def grant_a_number() -> int:
    """Answer with what is no lease."""
    return 5


async def cancel_from_below() -> Lease:
    """Be cancelled by a library that nobody asked to."""
    raise asyncio.CancelledError


FAILURES = [
    (break_down, r"^The request budget failed \(RuntimeError: the actor died\)\. \(GET /simulate/"),
    (hang, r"^The request budget did not answer within 0\.05 s\. \("),
    (grant_a_number, r"^The request budget granted a int, not a Lease\. \("),
    (cancel_from_below, r"^The request budget was cancelled from below\. \("),
]


@pytest.mark.parametrize(("fail", "message"), FAILURES)
async def test_a_budget_that_fails_is_one_clear_error(
    served: StandInServer, fail: Callable[[], Any], message: str
) -> None:
    """The request is not sent, and not tried again."""
    events = list[Event]()
    options: dict[str, Any] = {"budget": Failing("lease", fail), "timeouts": Timeouts(attempt=0.05)}
    async with open_session(served, observers=[events.append], **options) as session:
        with pytest.raises(BudgetError, match=message) as caught:
            await session.get_kpis(served.test_execution_ids[0])
    assert (caught.value.attempts, caught.value.retryable) == (0, False)
    assert [type(event) for event in events] == [RequestFailed]
    assert not served.requests


async def test_a_budget_that_fails_ends_a_bulk_read_at_once(served: StandInServer) -> None:
    """No other request could be sent either, and no server is out: it does not wait."""
    clock = FakeClock()
    async with open_session(served, budget=Failing("lease", break_down), clock=clock) as session:
        with pytest.raises(BudgetError):
            await session.fetch_calls([RunTestCalls(served.add_run_test(10)) for _ in range(5)])
        outcomes = await session.fetch_call_executions([UNKNOWN_ID] * 30)
    assert {type(outcome.error) for outcome in outcomes} == {BudgetError}
    assert clock.slept == []


async def test_a_pause_that_can_not_be_shared_is_the_error(served: StandInServer) -> None:
    """The others would go on asking a server that wants to be left alone."""
    served.fail(status=429, headers={"Retry-After": "5"})
    async with open_session(served, budget=Failing("pause", break_down), clock=FakeClock()) as session:
        with pytest.raises(BudgetError, match="the actor died") as caught:
            await session.get_kpis(served.test_execution_ids[0])
    assert caught.value.attempts == 1


async def test_leftovers_that_are_not_taken_back_do_no_harm(served: StandInServer) -> None:
    """They lapse; nobody waits for them."""
    async with open_session(served, budget=Failing("give_back", break_down)) as session:
        await session.get_kpis(served.test_execution_ids[0])


async def test_a_budget_that_is_always_late_is_an_error(served: StandInServer) -> None:
    """What it grants has lapsed when it arrives; a session does not ask for ever."""
    clock = FakeClock()

    class Late(CountingBudget):
        async def lease(self, most: int) -> Lease:
            clock.now += LEASE_SECONDS
            return await super().lease(most)

    budget = Late()
    async with open_session(served, budget=budget, clock=clock) as session:
        with pytest.raises(BudgetError, match="longer than 2 s to answer"):
            await session.get_kpis(served.test_execution_ids[0])
    assert len(budget.asked) == 3
    assert budget.used == 0


async def test_an_answer_that_is_late_once_does_no_harm(served: StandInServer) -> None:
    """As the first one of an actor that has yet to start."""
    clock = FakeClock()

    class LateOnce(CountingBudget):
        async def lease(self, most: int) -> Lease:
            clock.now += 0 if self.asked else LEASE_SECONDS
            return await super().lease(most)

    budget = LateOnce()
    async with open_session(served, budget=budget, clock=clock) as session:
        await session.get_kpis(served.test_execution_ids[0])
    assert (len(budget.asked), budget.used) == (2, 1)


async def test_who_is_cancelled_while_waiting_leaves_the_turn_to_the_next(served: StandInServer) -> None:
    """Whoever asks the budget for all can go without keeping the others from it."""
    budget, clock = CountingBudget([Lease(0, 30.0)]), FakeClock(held=True)
    kpis, scope = served.test_execution_ids[0], anyio.CancelScope()

    async def give_up() -> None:
        with scope:
            await session.get_kpis(kpis)

    async with (
        open_session(served, budget=budget, clock=clock) as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(give_up)
        await wait_until(lambda: clock.sleepers == 1)
        tasks.start_soon(session.get_kpis, kpis)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
    assert len(served.requests) == 1


def test_the_local_budget_is_what_a_limit_makes(served: StandInServer) -> None:
    """A session tells its limit, if it is a known one."""
    assert make_session(served, max_requests_per_minute=7).max_requests_per_minute == 7
    assert make_session(served, budget=MinuteBudget(7)).max_requests_per_minute == 7
    assert make_session(served, budget=CountingBudget()).max_requests_per_minute is None
    assert isinstance(MinuteBudget(7), RequestBudget)
    assert repr(MinuteBudget(1700)) == "<MinuteBudget 1,700 requests a minute>"


def test_a_budget_and_a_limit_exclude_each_other(served: StandInServer) -> None:
    """Which of them should hold is not for the session to guess."""
    with pytest.raises(ValueError, match="budget and max_requests_per_minute exclude each other"):
        make_session(served, budget=MinuteBudget(5), max_requests_per_minute=5)


@pytest.mark.parametrize("value", [5, "600", object(), MinuteBudget, {"lease": 5}])
def test_what_is_no_budget_is_refused(served: StandInServer, value: object) -> None:
    """When the session is made."""
    with pytest.raises(TypeError, match="budget must have the methods lease, give_back and pause"):
        make_session(served, budget=value)


@pytest.mark.parametrize(
    ("method", "value", "kind"),
    [
        ("lease", 0, ValueError),
        ("lease", 1.5, TypeError),
        ("give_back", -1, ValueError),
        ("pause", -1, ValueError),
        ("pause", float("nan"), ValueError),
        ("pause", "5", TypeError),
    ],
)
async def test_wrong_arguments_of_the_local_budget(method: str, value: Any, kind: type[Exception]) -> None:
    """A server of one's own around it is told of what its clients sent."""
    with pytest.raises(kind):
        await getattr(MinuteBudget(60), method)(value)

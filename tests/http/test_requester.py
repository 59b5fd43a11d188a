"""Tries, pauses, slots and limits of a session, on a clock that never really waits."""

import asyncio
from contextlib import suppress
from email.utils import formatdate

import anyio
import pytest

from futureagi_async import (
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    DecodingError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RetryPolicy,
    RunTestCalls,
    Session,
    Timeouts,
)
from futureagi_async._http.requester import Slots
from futureagi_async.testing import StandInServer
from tests.support.sessions import FOREVER, FakeClock, open_session, wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock that every session of the test shares with the test."""
    return FakeClock()


async def get_kpis(session: Session, server: StandInServer) -> int:
    """Ask for something small."""
    return (await session.get_kpis(server.test_execution_ids[0])).total_calls or 0


async def test_pauses_double_and_are_a_random_share(
    futureagi_server: StandInServer, clock: FakeClock
) -> None:
    """Full jitter: here always half of 0.25 s, 0.5 s and 1 s; the fourth try succeeds."""
    futureagi_server.fail(times=3)
    async with open_session(futureagi_server, clock=clock) as session:
        assert await get_kpis(session, futureagi_server) == 230
    assert clock.slept == [0.125, 0.25, 0.5]
    assert [request.status for request in futureagi_server.requests] == [503, 503, 503, 200]


async def test_an_error_counts_tries_and_seconds(futureagi_server: StandInServer, clock: FakeClock) -> None:
    """When patience ends, the last answer is the error, with what it took."""
    futureagi_server.fail(times=FOREVER)
    async with open_session(futureagi_server, clock=clock) as session:
        with pytest.raises(InternalServerError) as caught:
            await get_kpis(session, futureagi_server)
    assert (caught.value.status, caught.value.attempts) == (503, 4)
    assert caught.value.elapsed == 0.875
    assert len(futureagi_server.requests) == 4


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [
        (400, BadRequestError, 1),
        (401, AuthenticationError, 1),
        (403, PermissionDeniedError, 1),
        (404, NotFoundError, 1),
        (418, APIStatusError, 1),
        (408, APIStatusError, 4),
        (429, RateLimitError, 4),
        (500, InternalServerError, 3),
        (502, InternalServerError, 4),
    ],
)
async def test_how_often_each_status_is_tried(
    futureagi_server: StandInServer, clock: FakeClock, status: int, kind: type[Exception], tries: int
) -> None:
    """Never where the request is at fault; three times where the server wraps any bug."""
    futureagi_server.fail(times=FOREVER, status=status)
    async with open_session(futureagi_server, clock=clock) as session:
        with pytest.raises(kind) as caught:
            await get_kpis(session, futureagi_server)
    assert type(caught.value) is kind
    assert len(futureagi_server.requests) == tries


async def test_an_answer_that_is_no_json_is_tried_twice(
    futureagi_server: StandInServer, clock: FakeClock
) -> None:
    """A proxy's page may be gone the next time, but not more often."""
    futureagi_server.respond(body=b"<html>Please log in</html>", content_type="text/html", times=FOREVER)
    async with open_session(futureagi_server, clock=clock) as session:
        with pytest.raises(DecodingError) as caught:
            await get_kpis(session, futureagi_server)
    assert (caught.value.attempts, len(futureagi_server.requests)) == (2, 2)
    assert caught.value.body == "<html>Please log in</html>"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("retry_after", ["30", "a date"])
async def test_a_server_that_asks_for_patience_gets_it_from_the_whole_session(
    futureagi_server: StandInServer, status: int, retry_after: str
) -> None:
    """No request is sent until the time has passed, whoever asks; then all of them are."""
    server, clock = futureagi_server, FakeClock(held=True)
    headers = {"Retry-After": retry_after}
    if retry_after == "a date":  # on the server's clock, which is far from ours
        headers = {"Retry-After": formatdate(1030, usegmt=True), "Date": formatdate(1000, usegmt=True)}
    server.fail(status=status, headers=headers)
    async with open_session(server, clock=clock) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(get_kpis, session, server)
        await wait_until(lambda: clock.sleepers == 1)
        for _ in range(5):
            tasks.start_soon(get_kpis, session, server)
        await wait_until(lambda: clock.sleepers > 1)
        clock.advance(29.9)
        await anyio.wait_all_tasks_blocked()
        assert clock.sleepers > 1
        assert len(server.requests) == 1
        clock.advance(1.1)
    assert [request.status for request in server.requests] == [status] + [200] * 6
    assert set(clock.slept) == {30.5}


async def test_patience_beyond_the_deadline_is_refused_at_once(
    futureagi_server: StandInServer, clock: FakeClock
) -> None:
    """The error says how long the server wanted; nobody waits for nothing, those that come after neither."""
    futureagi_server.fail(status=429, headers={"Retry-After": "90"})
    async with open_session(futureagi_server, clock=clock, timeouts=Timeouts(deadline=60)) as session:
        with pytest.raises(RateLimitError) as caught:
            await get_kpis(session, futureagi_server)
        with pytest.raises(RateLimitError, match="asked this session to wait") as unasked:
            await get_kpis(session, futureagi_server)
    assert (caught.value.retry_after, caught.value.attempts, clock.slept) == (90, 1, [])
    assert (unasked.value.retry_after, unasked.value.attempts, unasked.value.retryable) == (90, 0, True)
    assert len(futureagi_server.requests) == 1


async def test_a_dead_server_costs_a_bounded_number_of_retries(
    futureagi_server: StandInServer, clock: FakeClock
) -> None:
    """A hundred calls at once share one quota of 500 at 5 a retry, where each would have tried thrice."""
    futureagi_server.fail(times=FOREVER)
    async with open_session(futureagi_server, clock=clock) as session:
        ids = futureagi_server.call_execution_ids()[:100]
        outcomes = await session.fetch_call_executions(ids, max_outage=0)
    assert {type(outcome.error) for outcome in outcomes} == {InternalServerError}
    assert len(futureagi_server.requests) == 200


async def test_a_view_has_its_own_patience_on_the_same_pool(
    futureagi_server: StandInServer, clock: FakeClock
) -> None:
    """`with_options` changes what it is told and nothing else; the view closes with its session."""
    futureagi_server.fail(times=FOREVER)
    async with open_session(futureagi_server, clock=clock, max_in_flight=3) as session:
        once = session.with_options(retry=RetryPolicy(attempts=1))
        with pytest.raises(InternalServerError) as caught:
            await get_kpis(once, futureagi_server)
        assert caught.value.attempts == 1
        hasty = once.with_options(timeouts=Timeouts(attempt=0.05))
        futureagi_server.clear_faults()
        futureagi_server.stall()
        with pytest.raises(APITimeoutError, match=r"within 0.05 s") as late:
            await get_kpis(hasty, futureagi_server)
        assert late.value.attempts == 1
        assert repr(once) == repr(session)
        assert await get_kpis(session, futureagi_server) == 230


@pytest.mark.parametrize("limit", [1, 5])
async def test_no_more_requests_are_in_flight_than_allowed(
    futureagi_server: StandInServer, limit: int
) -> None:
    """All the slots are used, and never one more."""
    server = futureagi_server
    async with open_session(server, max_in_flight=limit) as session, anyio.create_task_group() as tasks:
        await get_kpis(session, server)
        server.stall(times=FOREVER)
        for _ in range(25):
            tasks.start_soon(get_kpis, session, server)
        await wait_until(lambda: server.in_flight == limit)
        await anyio.wait_all_tasks_blocked()
        assert server.peak_in_flight == limit
        tasks.cancel_scope.cancel()


async def test_a_throttled_session_sends_fewer_at_once(
    futureagi_server: StandInServer, clock: FakeClock
) -> None:
    """Of sixteen slots it uses four at first; fewer after a 429, until successes win some back."""
    server = futureagi_server
    for throttled, expected in ((False, 4), (True, 3)):
        async with open_session(server, clock=clock) as session, anyio.create_task_group() as tasks:
            if throttled:
                server.fail(status=429)
                await get_kpis(session, server)
            server.stall(times=FOREVER)
            for _ in range(10):
                tasks.start_soon(get_kpis, session, server)
            await wait_until(lambda expected=expected: server.in_flight == expected)
            await anyio.wait_all_tasks_blocked()
            assert server.in_flight == expected
            tasks.cancel_scope.cancel()
        server.clear_faults()
        await wait_until(lambda: server.in_flight == 0)


async def test_waiting_for_a_slot_counts_towards_no_timeout(futureagi_server: StandInServer) -> None:
    """Neither real seconds in the queue nor the clock's end a request that was not sent yet."""
    server, clock = futureagi_server, FakeClock()
    server.stall(seconds=0.3)
    server.fail()
    options = {"max_in_flight": 1, "clock": clock}
    async with open_session(server, **options) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(get_kpis, session, server)
        await wait_until(lambda: server.in_flight == 1)
        hasty = session.with_options(timeouts=Timeouts(attempt=0.2, deadline=0.2))
        tasks.start_soon(get_kpis, hasty, server)
        await anyio.wait_all_tasks_blocked()
        clock.advance(1000)
    assert [request.status for request in server.requests] == [200, 503, 200]


async def test_requests_beyond_the_minutes_allowance_wait(futureagi_server: StandInServer) -> None:
    """Of 30 a minute, three may go at once; the fourth is held although slots are free."""
    server, answered = futureagi_server, list[int]()

    async def ask(session: Session) -> None:
        answered.append(await get_kpis(session, server))

    async with open_session(server, max_requests_per_minute=30) as session:
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(ask, session)
            await wait_until(lambda: len(answered) == 3)
            await anyio.wait_all_tasks_blocked()
            assert (len(answered), len(server.requests), server.in_flight) == (3, 3, 0)
            tasks.cancel_scope.cancel()
        assert len(server.requests) == 3


async def test_an_allowance_is_not_saved_up_over_a_pause(futureagi_server: StandInServer) -> None:
    """Requests held back by a pause ask for theirs after it, or the minute after it would see too many."""
    server, clock = futureagi_server, FakeClock(held=True)
    server.fail(status=429, headers={"Retry-After": "100"})
    options = {"clock": clock, "max_requests_per_minute": 1}
    async with open_session(server, **options) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(get_kpis, session, server)
        await wait_until(lambda: clock.sleepers == 1)
        tasks.start_soon(get_kpis, session, server)
        await wait_until(lambda: clock.sleepers == 2)
        clock.advance(102)
        await wait_until(lambda: len(server.requests) == 2)
        await wait_until(lambda: clock.sleepers == 1)
        clock.advance(59.9)
        await anyio.wait_all_tasks_blocked()
        assert (clock.sleepers, len(server.requests), server.in_flight) == (1, 2, 0)
        tasks.cancel_scope.cancel()


async def test_the_next_request_is_sent_before_a_page_is_decoded(futureagi_server: StandInServer) -> None:
    """Who has waited for the slot sends while the answer that freed it still waits to be decoded."""
    server = futureagi_server
    told: list[str] = []
    async with (
        open_session(
            server, max_in_flight=1, observers=[lambda event: told.append(type(event).__name__)]
        ) as session,
        anyio.create_task_group() as tasks,
    ):

        async def read() -> None:
            await get_kpis(session, server)
            told.append("decoded")

        tasks.start_soon(read)
        tasks.start_soon(read)
    one, answered = "RequestSent", "ResponseReceived"
    assert told == [one, answered, one, "decoded", answered, "decoded"]


async def test_nobody_sends_past_an_answer_that_asks_for_patience(futureagi_server: StandInServer) -> None:
    """Who has waited for the slot sees the pause that came with the answer which freed it."""
    server, clock = futureagi_server, FakeClock(held=True)
    server.fail(status=429, headers={"Retry-After": "30"})
    async with (
        open_session(server, max_in_flight=1, clock=clock) as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(get_kpis, session, server)
        tasks.start_soon(get_kpis, session, server)
        await wait_until(lambda: clock.sleepers == 2)
        assert len(server.requests) == 1
        clock.advance(31)
    assert [request.status for request in server.requests] == [429, 200, 200]


class Users:
    """Tasks that take a slot each and keep it until told."""

    def __init__(self, slots: Slots, tasks: anyio.abc.TaskGroup) -> None:
        self.inside: list[str] = []
        self._slots = slots
        self._tasks = tasks
        self._leaving: dict[str, anyio.Event] = {}
        self._running: dict[str, asyncio.Task[None] | None] = {}

    async def come(self, name: str, *, urgent: bool = False) -> None:
        """Let one come and wait in line."""
        self._leaving[name] = anyio.Event()

        async def use() -> None:
            self._running[name] = asyncio.current_task()
            with suppress(asyncio.CancelledError):
                async with self._slots.acquire(urgent=urgent):
                    self.inside.append(name)
                    await self._leaving[name].wait()
                    self.inside.remove(name)

        self._tasks.start_soon(use)
        await anyio.wait_all_tasks_blocked()

    async def leave(self, name: str) -> None:
        """Let one give its slot back."""
        self._leaving[name].set()
        await anyio.wait_all_tasks_blocked()

    def give_up(self, name: str) -> None:
        """Cancel one, wherever it is."""
        task = self._running[name]
        assert task is not None
        task.cancel()


async def test_the_urgent_go_first_and_the_others_in_turn() -> None:
    """A free slot goes to whoever is urgent and waited longest, else to whoever waited longest."""
    slots = Slots(1)
    async with anyio.create_task_group() as tasks:
        users = Users(slots, tasks)
        for name in ("a", "b", "c"):
            await users.come(name)
        await users.come("urgent", urgent=True)
        await users.come("urgent too", urgent=True)
        for name in ("a", "urgent", "urgent too", "b", "c"):
            assert users.inside == [name]
            await users.leave(name)


async def test_the_number_changes() -> None:
    """More slots let waiters in at once; fewer are reached as they are given back."""
    slots = Slots(1)
    async with anyio.create_task_group() as tasks:
        users = Users(slots, tasks)
        for name in "abcd":
            await users.come(name)
        slots.set_limit(3)
        await anyio.wait_all_tasks_blocked()
        assert users.inside == ["a", "b", "c"]
        slots.set_limit(1)
        await users.leave("a")
        await users.leave("b")
        assert users.inside == ["c"]
        await users.leave("c")
        assert users.inside == ["d"]
        await users.leave("d")


@pytest.mark.parametrize("given", [False, True])
async def test_who_gives_up_takes_no_slot_along(given: bool) -> None:
    """Cancelled while waiting, or in the very moment the slot was given: the next one gets it."""
    slots = Slots(1)
    async with anyio.create_task_group() as tasks:
        users = Users(slots, tasks)
        for name in "abc":
            await users.come(name)
        if given:
            users._leaving["a"].set()
            slots.set_limit(2)  # gives b the slot; b has not run since
        users.give_up("b")
        await anyio.wait_all_tasks_blocked()
        await users.leave("a")
        assert users.inside == ["c"]
        slots.set_limit(1)
        await users.leave("c")
        await users.come("d")
        assert users.inside == ["d"]
        await users.leave("d")


async def test_an_interactive_request_overtakes_a_bulk_read(futureagi_server: StandInServer) -> None:
    """It waits behind at most the pages in flight, and behind those that are urgent, too."""
    server = futureagi_server
    source = RunTestCalls(server.add_run_test(3_000, slim=True))
    async with open_session(server, max_in_flight=4, clock=FakeClock()) as session:
        waited_behind: list[int] = []

        async def ask() -> None:
            before = len(server.requests)
            await session.get_kpis(server.test_execution_ids[0])
            arrived = [request.path.endswith("/kpis/") for request in server.requests]
            waited_behind.append(arrived.index(True, before) - before)

        async with session.stream_calls(source, page_size=20) as stream, anyio.create_task_group() as tasks:
            pages = stream.pages()
            for _ in range(20):
                await anext(pages)
            for _ in range(8):
                tasks.start_soon(ask)
            async for _ in pages:
                pass
    assert min(waited_behind) <= 4
    assert max(waited_behind) <= 4 + 8
    await wait_until(lambda: not server.in_flight)

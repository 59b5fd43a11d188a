"""How a bulk read ends: early, by an error, by cancellation, in time; and that nothing goes on behind it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pytest

from futureagi_async import (
    AgentVersionCalls,
    AuthenticationError,
    BadRequestError,
    CallSource,
    CallStream,
    InternalServerError,
    PermissionDeniedError,
    RunTestCalls,
    TestExecutionCalls,
)
from futureagi_async.testing import StandInServer
from tests.support.sessions import (
    FOREVER,
    UNKNOWN_ID,
    FakeClock,
    check_no_task_left,
    let_requests_arrive,
    open_session,
    rows_of,
    wait_until,
)

pytestmark = pytest.mark.anyio

PAGE_SIZE = 20


@pytest.fixture
def long_list(server: StandInServer) -> RunTestCalls:
    """Make a list of sixty pages."""
    return RunTestCalls(server.add_run_test(1200, slim=True))


def pages_asked_for(server: StandInServer) -> int:
    """Return how many requests for pages of run tests were served."""
    return sum("/run-tests/" in request.path for request in server.requests)


@asynccontextmanager
async def open_stream(
    server: StandInServer,
    *sources: CallSource,
    max_in_flight: int = 4,
    clock: FakeClock | None = None,
    **options: Any,
) -> AsyncIterator[CallStream]:
    """Open a stream; after its block no task of it is left, and it sends no request any more."""
    async with open_session(server, max_in_flight=max_in_flight, clock=clock or FakeClock()) as session:
        before = asyncio.all_tasks()
        try:
            async with session.stream_calls(sources, page_size=PAGE_SIZE, **options) as stream:
                yield stream
        finally:
            check_no_task_left(before)
            await let_requests_arrive(server)
            await wait_until(lambda: not server.in_flight)
            sent = pages_asked_for(server)
            await let_requests_arrive(server)
            assert pages_asked_for(server) == sent


async def test_a_consumer_that_stops_holds_the_readers_back(
    server: StandInServer, long_list: RunTestCalls
) -> None:
    """Each reader has one page at most, the consumer's included; they go on when the consumer does."""
    readers = 6  # for four requests at once
    async with open_stream(server, long_list) as stream:
        await anext(stream)
        await wait_until(lambda: pages_asked_for(server) == readers)
        await let_requests_arrive(server)
        assert (pages_asked_for(server), server.in_flight) == (readers, 0)
        rest = [call async for call in stream]
    assert len(rest) == 1199
    assert pages_asked_for(server) > 60


async def test_steps_that_are_not_done_with_are_among_those_in_flight(
    server: StandInServer, long_list: RunTestCalls
) -> None:
    """However long a consumer keeps a step: no more pages were asked for than it can lose."""
    kept = []
    async with open_stream(server, long_list) as stream:
        steps = stream.steps()
        for _ in range(9):
            kept.append(await anext(steps))
            await wait_until(lambda: pages_asked_for(server) == len(kept) - 1 + 4)
            await let_requests_arrive(server)
            assert pages_asked_for(server) == len(kept) - 1 + 4
        kept += [step async for step in steps]
    assert sum(len(step.page.calls) for step in kept) == 1200


async def take_one(stream: CallStream) -> object:
    """Leave by return, out of a loop."""
    async for call in stream:
        return call
    return None


async def take_none(_: CallStream) -> None:
    """Leave without having begun."""


async def break_off(stream: CallStream) -> None:
    """Leave by break, within the third page."""
    number = 0
    async for _ in stream:
        number += 1
        if number == 50:
            break


@pytest.mark.quick(3)
@pytest.mark.parametrize("leave", [take_none, take_one, break_off])
@pytest.mark.parametrize("ordered", [False, True])
async def test_leaving_early_ends_the_reading(
    server: StandInServer,
    long_list: RunTestCalls,
    leave: Callable[[CallStream], Awaitable[object]],
    ordered: bool,
) -> None:
    """By return or break, at once; the report is not complete, unless all was read to sort it."""
    async with open_stream(server, long_list, ordered=ordered) as stream:
        await leave(stream)
    all_read = ordered and leave is not take_none and server.dialect == "served"
    assert stream.report.complete == all_read
    if not ordered:
        assert pages_asked_for(server) < 20


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    "error",
    [
        KeyError("mine"),
        TimeoutError("mine"),
        StopAsyncIteration("mine"),
        ExceptionGroup("mine", [ValueError("inner")]),
        BadRequestError("mine"),
        asyncio.CancelledError("mine"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_the_consumers_own_error_arrives_as_it_is(
    server: StandInServer, long_list: RunTestCalls, error: BaseException
) -> None:
    """The very same object, not wrapped in a group, with pages still under way."""

    async def consume() -> None:
        async with open_stream(server, long_list) as stream:
            async for _ in stream:
                raise error

    with pytest.raises(type(error)) as caught:
        await consume()
    assert caught.value is error


async def test_a_timeout_around_a_read(server: StandInServer, long_list: RunTestCalls) -> None:
    """Cancellation from outside ends it with everything it had under way."""
    server.stall(times=FOREVER, after=5)

    async def read() -> None:
        async with open_stream(server, long_list) as stream:
            try:
                async for _ in stream:
                    pass
            finally:
                server.clear_faults()  # the fence after the block asks the server, too

    with pytest.raises(TimeoutError), anyio.fail_after(0.2):
        await read()


async def test_cancelling_a_task_that_reads(server: StandInServer, long_list: RunTestCalls) -> None:
    """Asyncio's own cancellation passes through with its message."""
    server.stall(times=FOREVER, after=5)
    async with open_session(server) as session:
        task = asyncio.create_task(session.fetch_calls([long_list], page_size=PAGE_SIZE))
        await wait_until(lambda: len(server.requests) == 5 and server.in_flight)
        task.cancel("mine")
        with pytest.raises(asyncio.CancelledError, match="mine"):
            await task
        await wait_until(lambda: not server.in_flight)
        server.clear_faults()
        assert (await session.get_page(long_list, limit=1)).count == 1200


@pytest.mark.parametrize("status", [400, 503])
async def test_the_first_error_is_raised(server: StandInServer, long_list: RunTestCalls, status: int) -> None:
    """Unwrapped, where the consumer waits; what was yielded before it stays with the consumer."""
    server.fail("page=9&", times=FOREVER, status=status)
    received: set[str] = set()

    async def consume() -> None:
        async with open_stream(server, long_list) as stream:
            async for call in stream:
                assert call.id not in received
                received.add(call.id)

    kind = BadRequestError if status == 400 else InternalServerError
    with pytest.raises(kind) as caught:
        await consume()
    assert type(caught.value) is kind
    assert caught.value.attempts == (1 if status == 400 else 4)
    assert 0 < len(received) < 1200


async def test_errors_are_collected(server: StandInServer) -> None:
    """Lists that can't be read do not keep the others from being read; each is told of in its place."""
    good = [RunTestCalls(run_test_id) for run_test_id in server.run_test_ids]
    bad = [
        RunTestCalls(UNKNOWN_ID),
        TestExecutionCalls(UNKNOWN_ID),
        AgentVersionCalls(UNKNOWN_ID, UNKNOWN_ID),
    ]
    sources = [source for pair in zip(good, bad, strict=True) for source in pair]
    async with open_session(server) as session:
        result = await session.fetch_calls(sources, on_error="collect")
    assert [report.source for report in result.report] == sources
    assert [report.verdict for report in result.report] == ["complete", "incomplete"] * 3
    assert [[type(error).__name__ for error in report.failures] for report in result.report] == [
        [],
        ["NotFoundError"],
    ] * 3
    assert all(report.received == 0 for report in list(result.report)[1::2])
    for source in good:
        assert {call.id for call in result.calls if call.source == source} == set(rows_of(server, source))


async def test_a_page_lost_on_the_way_is_made_up_for(
    futureagi_server: StandInServer,
) -> None:
    """One refused page of many is read around; the report tells of it and may still be complete."""
    server = futureagi_server
    source = RunTestCalls(server.add_run_test(1200, slim=True))
    server.fail("page=9&", status=400)
    async with open_session(server) as session:
        result = await session.fetch_calls([source], page_size=PAGE_SIZE, on_error="collect")
    (report,) = result.report
    assert [type(error) for error in report.failures] == [BadRequestError]
    assert (report.verdict, report.received) == ("complete", 1200)
    assert sorted(call.id for call in result.calls) == sorted(rows_of(server, source))


@pytest.mark.quick(2)
@pytest.mark.parametrize("on_error", ["raise", "collect"])
@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationError), (403, PermissionDeniedError)])
async def test_refused_keys_end_a_job_at_once(
    server: StandInServer,
    long_list: RunTestCalls,
    on_error: Literal["raise", "collect"],
    status: int,
    kind: type[Exception],
) -> None:
    """Whether errors are collected or not: every further request would be refused as well."""
    sources = [long_list, *map(RunTestCalls, server.run_test_ids)]
    server.fail(times=FOREVER, status=status, after=10)

    async def consume() -> None:
        async with open_stream(server, *sources, on_error=on_error) as stream:
            try:
                async for _ in stream:
                    pass
            finally:
                server.clear_faults()  # the fence after the block asks the server, too
                assert not stream.report.complete

    with pytest.raises(kind):
        await consume()
    assert 11 <= pages_asked_for(server) <= 10 + 2 * 4


@pytest.mark.quick(1)
@pytest.mark.parametrize("ordered", [False, True])
async def test_a_deadline_ends_the_reading_with_what_is_there(
    futureagi_server: StandInServer, ordered: bool
) -> None:
    """No error: the calls read by then, and a report that says why there are no more."""
    server = futureagi_server
    long, short = RunTestCalls(server.add_run_test(1200, slim=True)), RunTestCalls(server.run_test_ids[2])
    server.stall("page=9&", times=FOREVER)
    server.stall("page=12&", times=FOREVER)
    clock = FakeClock(held=True)
    calls = []

    async def consume(stream: CallStream) -> None:
        calls.extend([call async for call in stream])

    async with (
        open_stream(server, long, short, deadline=60, ordered=ordered, clock=clock) as stream,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(consume, stream)
        await wait_until(lambda: server.in_flight and list(stream.report)[1].verdict == "complete")
        before = None
        while before != (before := (pages_asked_for(server), stream.report.received)):
            await let_requests_arrive(server)  # until nothing moves but the clock
        clock.advance(60)
    reports = list(stream.report)
    assert (reports[0].verdict, reports[1].verdict) == ("incomplete", "complete")
    assert reports[0].reason == "The deadline of 60 s was reached."
    assert {call.id for call in calls if call.source == short} == set(rows_of(server, short))
    assert 0 < reports[0].received < 1200
    assert len(calls) == stream.report.received


async def test_a_stream_that_ended_stays_ended(server: StandInServer) -> None:
    """Asking again gives nothing, and an error again that error."""
    source = RunTestCalls(server.run_test_ids[2])
    async with open_stream(server, source) as stream:
        assert [call async for call in stream]
        assert [call async for call in stream] == []
        assert [page async for page in stream.pages()] == []
    server.fail(times=FOREVER, status=400)
    async with open_session(server) as session, session.stream_calls([source]) as stream:
        for _ in range(2):
            with pytest.raises(BadRequestError):
                await anext(stream)

"""Lists with deleted calls and with calls that break their pages, and short and busy ones."""

from collections.abc import AsyncIterator, Sequence
from math import ceil, log2

import pytest

from futureagi_async import (
    CallSource,
    FetchResult,
    InternalServerError,
    RunTestCalls,
    Session,
    TestExecutionCalls,
)
from futureagi_async.testing import Motion, StandInServer
from tests.long.proof import SharedClock
from tests.support.slow import slow

pytestmark = pytest.mark.anyio

EXECUTIONS = 8


@pytest.fixture
async def server() -> AsyncIterator[StandInServer]:
    """Run a stand-in whose clock each request moves on."""
    async with StandInServer(demo=False, request_seconds=0.05) as running:
        yield running


async def read(
    server: StandInServer, source: CallSource, *, on_error: str = "collect", max_in_flight: int = 16
) -> FetchResult:
    """Read a list in pages of 100."""
    async with Session(
        server.api_key,
        server.secret_key,
        server.base_url,
        clock=SharedClock(server.clock),
        max_in_flight=max_in_flight,
    ) as session:
        return await session.fetch_calls(source, page_size=100, on_error=on_error)


@pytest.mark.parametrize(
    "deleted",
    [*slow([0, 1], [3, 4]), [6, 7], [0, 2, 4, 6], *slow([1, 3, 5, 7], range(1, 8)), range(8)],
    ids=["oldest", "middle", "newest", "every other", "the others", "all but one", "all"],
)
async def test_deleted_executions_leave_a_list_that_reads_complete(
    server: StandInServer, deleted: Sequence[int]
) -> None:
    """Calls that are counted and not delivered cost at most twice the naive requests plus six."""
    run_test = server.add_run_test(1_600, executions=(200,) * EXECUTIONS, slim=True)
    executions = server.run_test_executions(run_test)
    for number in deleted:
        server.delete_execution(executions[number])
    result = await read(server, RunTestCalls(run_test))
    report = result.report.sources[0]
    assert report.verdict == "complete", report.reason
    assert {call.id for call in result.calls} == set(server.run_test_rows(run_test))
    assert len(result.calls) == 1_600 - 200 * len(deleted)
    assert report.requests <= 2 * 16 + 6


async def test_an_execution_that_is_deleted_while_its_run_test_is_read(server: StandInServer) -> None:
    """What was read already stays in the result; nothing else is missing."""
    run_test = server.add_run_test(1_600, executions=(200,) * EXECUTIONS, slim=True)
    server.delete_execution(server.run_test_executions(run_test)[3], after_seconds=0.5)
    result = await read(server, RunTestCalls(run_test))
    assert result.report.complete, result.report.sources[0].reason
    assert {call.id for call in result.calls} >= set(server.run_test_rows(run_test))
    assert result.report.sources[0].requests <= 2 * 16 + 6


@pytest.mark.quick(2)
@pytest.mark.parametrize("place", [0, 437, 1_199], ids=["first", "inside", "last"])
@pytest.mark.parametrize("kind", ["run test", "test execution"])
async def test_a_call_that_breaks_its_pages_is_left_out_alone(
    server: StandInServer, kind: str, place: int
) -> None:
    """Every other call arrives; the report is incomplete and names the place by a page of its own."""
    if kind == "run test":
        name = server.add_run_test(1_200, slim=True)
        source: CallSource = RunTestCalls(name)
    else:
        name = server.add_test_execution(1_200, slim=True)
        source = TestExecutionCalls(name)
    rows = server.run_test_rows(name)
    whole = (await read(server, source)).report.sources[0]
    server.poison(rows[place])
    result = await read(server, source)
    report = result.report.sources[0]
    assert {call.id for call in result.calls} == set(rows) - {rows[place]}
    assert report.verdict == "incomplete"
    assert report.reason == f"The server fails to deliver one row: page={place + 1}&limit=1."
    assert report.requests <= whole.requests + 2 * ceil(log2(100)) + 6


@pytest.mark.parametrize("max_in_flight", [1, 16])
async def test_a_call_that_breaks_two_windows_is_looked_for_once(
    server: StandInServer, max_in_flight: int
) -> None:
    """Where two windows overlap, the second takes what the first one's search found; all others arrive."""
    run_test = server.add_run_test(1_200, slim=True)
    rows = server.run_test_rows(run_test)
    whole = (await read(server, RunTestCalls(run_test))).report.sources[0]
    asked = len(server.requests)
    await read(server, RunTestCalls(run_test))
    windows = [(int(each.query["page"]), int(each.query["limit"])) for each in server.requests[asked:]]
    spans = [range((page - 1) * limit, page * limit) for page, limit in windows]
    inside = [place for place in range(100, 600) if sum(place in span for span in spans) == 2]
    assert inside
    for place in inside[::8]:
        server.clear_faults()
        server.poison(rows[place])
        result = await read(server, RunTestCalls(run_test), max_in_flight=max_in_flight)
        report = result.report.sources[0]
        assert {call.id for call in result.calls} == set(rows) - {rows[place]}, place
        assert report.reason == f"The server fails to deliver one row: page={place + 1}&limit=1."
        assert report.requests <= whole.requests + 2 * log2(100) + 2


async def test_a_call_that_breaks_its_pages_ends_a_read_that_is_to_raise(server: StandInServer) -> None:
    """Without ``on_error="collect"`` the server's error is raised."""
    run_test = server.add_run_test(400, slim=True)
    server.poison(server.run_test_rows(run_test)[200])
    with pytest.raises(InternalServerError):
        await read(server, RunTestCalls(run_test), on_error="raise")


@pytest.mark.parametrize(("calls", "requests"), [(0, 1), (1, 1), (80, 1), (90, 1), (91, 2), (100, 2)])
async def test_a_short_run_test_takes_one_request(server: StandInServer, calls: int, requests: int) -> None:
    """A page with ten places to spare that shows as many calls as were counted is the whole list."""
    run_test = server.add_run_test(calls, tie_size=4, slim=True)
    result = await read(server, RunTestCalls(run_test))
    assert result.report.complete
    assert len(result.calls) == calls
    assert result.report.sources[0].requests == requests


async def test_a_short_run_test_with_deleted_calls_is_read_again(server: StandInServer) -> None:
    """Where fewer calls are shown than were counted, the page has to reach farther past the end."""
    run_test = server.add_run_test(80, deleted=3, slim=True)
    result = await read(server, RunTestCalls(run_test))
    assert result.report.complete
    assert len(result.calls) == 77
    assert result.report.sources[0].requests == 2


@pytest.mark.slow
@pytest.mark.parametrize(("updates", "complete"), [(20.0, True), (400.0, False)])
async def test_a_busy_list_costs_at_most_six_times_its_rows(updates: float, complete: bool) -> None:
    """Complete or not, a list that changes all the time, in groups of fifty, too, is read to an end."""
    calls = 1_500
    async with StandInServer(demo=False, request_seconds=0.5, seed=3) as server:
        run_test = server.add_run_test(calls, slim=True)
        server.move(run_test, Motion(updates=updates, tie_updates=0.5, seed=3))
        server.clock.advance(10.0)
        result = await read(server, RunTestCalls(run_test))
        pages = [(int(each.query["page"]), int(each.query["limit"])) for each in server.requests]
        rows = sum(max(0, min(calls, page * limit) - (page - 1) * limit) for page, limit in pages)
    assert rows <= 6 * calls
    assert result.report.complete == complete
    assert complete or "changes faster than it can be read" in result.report.sources[0].reason

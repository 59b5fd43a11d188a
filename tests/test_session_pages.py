"""One page of each kind of list, the same in both dialects, against what the stand-in knows to be there."""

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from futureagi_async import (
    AgentVersionCalls,
    CallPage,
    CallSource,
    DecodingError,
    NotFoundError,
    RunTestCalls,
    TestExecutionCalls,
    TestExecutionPage,
    column,
)
from futureagi_async.testing import StandInServer
from tests.servers import UNKNOWN_ID, FakeClock, open_session, read_body, respond, rows_of

pytestmark = pytest.mark.anyio

LISTS: dict[str, Callable[[StandInServer], CallSource]] = {
    "run test": lambda server: RunTestCalls(server.add_run_test(45)),
    "version": lambda server: AgentVersionCalls(*server.add_agent_version(45)),
    "execution": lambda server: TestExecutionCalls(server.add_test_execution(45)),
}
UNKNOWN: dict[str, CallSource] = {
    "run test": RunTestCalls(UNKNOWN_ID),
    "version": AgentVersionCalls(UNKNOWN_ID, UNKNOWN_ID),
    "execution": TestExecutionCalls(UNKNOWN_ID),
}


@pytest.fixture(params=LISTS)
def source(server: StandInServer, request: pytest.FixtureRequest) -> CallSource:
    """Make a list of 45 calls, no two of which tie, once of each kind."""
    return LISTS[request.param](server)


@pytest.mark.parametrize(("page", "limit", "has_next"), [(1, 45, False), (1, 20, True), (3, 20, False)])
async def test_a_page_holds_its_rows(
    server: StandInServer, source: CallSource, page: int, limit: int, has_next: bool
) -> None:
    """The rows of this page in the list's order, each with its source; page and limit are always sent."""
    async with open_session(server) as session:
        got = await session.get_page(source, page=page, limit=limit)
    rows = rows_of(server, source)
    assert [call.id for call in got.calls] == rows[(page - 1) * limit : page * limit]
    assert (got.count, got.has_next, got.current_page) == (45, has_next, page)
    assert (got.total_pages, got.failures) == (-(-45 // limit), ())
    assert {call.source for call in got.calls} == {source}
    (request,) = server.requests
    assert request.query == {"page": str(page), "limit": str(limit)}


async def test_a_page_is_of_100_rows_unless_told_otherwise(server: StandInServer, source: CallSource) -> None:
    """Servers' defaults differ, ours does not."""
    async with open_session(server) as session:
        await session.get_page(source)
    assert server.requests[0].query == {"page": "1", "limit": "100"}


async def test_only_test_executions_give_their_page(server: StandInServer, source: CallSource) -> None:
    """The other lists know nothing of state and columns."""
    async with open_session(server) as session:
        page = await session.get_page(source, limit=1)
    assert type(page) is (TestExecutionPage if isinstance(source, TestExecutionCalls) else CallPage)


async def test_a_page_past_the_end(server: StandInServer, source: CallSource) -> None:
    """Empty, but for the served API's version lists, which say 404."""
    async with open_session(server) as session:
        asking = session.get_page(source, page=9, limit=20)
        if isinstance(source, AgentVersionCalls) and server.dialect == "served":
            with pytest.raises(NotFoundError, match="Invalid page"):
                await asking
        else:
            page = await asking
            assert (page.calls, page.has_next, page.current_page) == ((), False, 9)
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", UNKNOWN)
async def test_an_unknown_list_is_not_found(server: StandInServer, kind: str) -> None:
    """One request, whatever status the server says it with."""
    async with open_session(server) as session:
        with pytest.raises(NotFoundError):
            await session.get_page(UNKNOWN[kind])
    assert len(server.requests) == 1


async def test_a_page_tells_how_long_the_server_took(server: StandInServer) -> None:
    """By the session's clock; pages are equal without it."""
    server.latency_seconds = 0.05
    source = RunTestCalls(server.run_test_ids[2])
    async with open_session(server) as session:
        page = await session.get_page(source)
    assert page.elapsed is not None
    assert page.elapsed >= 0.05
    async with open_session(server, clock=FakeClock()) as session:
        again = await session.get_page(source)
    assert again.elapsed == 0.0
    assert attrs.evolve(page, elapsed=None) == page


async def test_an_empty_list_is_an_empty_page(server: StandInServer) -> None:
    """Nothing there is no error."""
    async with open_session(server) as session:
        page = await session.get_page(RunTestCalls(server.add_run_test(45), search="no such scenario"))
    assert (page.count, page.calls, page.has_next) == (0, (), False)


async def test_calls_of_a_run_test_by_status(server: StandInServer) -> None:
    """Only those in this state, and all of them."""
    run_test_id = server.add_run_test(60)
    async with open_session(server) as session:
        everything = await session.get_page(RunTestCalls(run_test_id))
        failed = await session.get_page(RunTestCalls(run_test_id, status="failed"))
    expected = [call.id for call in everything.calls if call.status == "failed"]
    assert [call.id for call in failed.calls] == expected
    assert 0 < failed.count == len(expected) < 60
    assert server.requests[-1].query["status"] == "failed"


@pytest.mark.parametrize("make", [RunTestCalls, TestExecutionCalls])
async def test_calls_by_search(server: StandInServer, make: Any) -> None:
    """A text with characters that mean something in an address arrives as it is."""
    ids = {RunTestCalls: server.run_test_ids[0], TestExecutionCalls: server.test_execution_ids[0]}
    async with open_session(server) as session:
        found = await session.get_page(make(ids[make], search="+41440000012"))
        nothing = await session.get_page(make(ids[make], search="a&b=c#d?é ☎"))
    assert found.calls
    assert found.count < 5
    assert nothing.count == 0
    searches = [request.query["search"] for request in server.requests]
    assert searches == ["+41440000012", "a&b=c#d?é ☎"]


async def test_calls_of_a_test_execution_by_filters(server: StandInServer) -> None:
    """All filters hold of every call, and no call of which they hold is missing."""
    execution_id = server.add_test_execution(60)
    filters = [column("overall_score").between(2, 6), column("status").equals("completed")]
    async with open_session(server) as session:
        everything = await session.get_page(TestExecutionCalls(execution_id))
        chosen = await session.get_page(TestExecutionCalls(execution_id, filters=filters))
        as_execution = await session.get_test_execution(execution_id, filters=filters, search="+4144")
    expected = [
        call.id
        for call in everything.calls
        if call.status == "completed" and call.overall_score is not None and 2 <= call.overall_score <= 6
    ]
    assert [call.id for call in chosen.calls] == [call.id for call in as_execution.calls] == expected
    assert 0 < len(expected) < 60


async def test_snapshots_stand_among_the_calls_of_a_run_test(server: StandInServer) -> None:
    """Their id is no call's; the call that they were taken of, which only one dialect tells, has a detail."""
    run_test_id = server.add_run_test(10, snapshots=3)
    async with open_session(server) as session:
        page = await session.get_page(RunTestCalls(run_test_id))
        snapshots = [call for call in page.calls if call.is_snapshot]
        details = await session.fetch_call_executions(call.call_execution_id for call in snapshots)
    assert (len(page.calls), len(snapshots)) == (13, 3)
    assert {call.id for call in snapshots}.isdisjoint(server.call_execution_ids())
    found = [outcome.value is not None for outcome in details]
    assert found == [server.dialect == "served"] * 3


@pytest.mark.parametrize(
    ("key", "value", "strict"), [("id", 10, False), ("id", 10, True), ("overall_score", "ten", True)]
)
async def test_a_record_that_does_not_decode_fails_alone(
    server: StandInServer, key: str, value: Any, strict: bool
) -> None:
    """The others are delivered; the failure says where it was, and keeps what was sent."""
    run_test_id = server.add_run_test(5)
    path = f"/simulate/run-tests/{run_test_id}/call-executions/"
    body = read_body(server, path)
    body["results"][2][key] = value
    respond(server, path, body)
    async with open_session(server, strict=strict) as session:
        page = await session.get_page(RunTestCalls(run_test_id))
    rows = server.run_test_rows(run_test_id)
    assert [call.id for call in page.calls] == rows[:2] + rows[3:]
    (failure,) = page.failures
    assert (failure.index, failure.id) == (2, None if key == "id" else rows[2])
    assert isinstance(failure.error, DecodingError)
    assert failure.error.json_path == f"$.results[2].{key}"
    assert json.dumps(value).encode() in failure.raw


async def test_an_envelope_of_the_wrong_shape_is_an_error(server: StandInServer) -> None:
    """A JSON object that is no list comes once; asking again would not help."""
    server.respond(body=b'{"count": 3, "results": null}')
    async with open_session(server) as session:
        with pytest.raises(DecodingError) as caught:
            await session.get_page(RunTestCalls(server.run_test_ids[0]))
    assert caught.value.json_path == "$.results"
    assert caught.value.endpoint == "/simulate/run-tests/{run_test_id}/call-executions/"
    assert len(server.requests) == 1

"""The five endpoints through a session, the same in both dialects; settings and observers."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import attrs
import pytest

from futureagi_async import (
    AgentVersionCalls,
    CallExecution,
    CallPage,
    CallSource,
    DecodingError,
    ExecutionKPIs,
    FilterIgnoredError,
    InternalServerError,
    NotFoundError,
    RunTestCalls,
    Session,
    SessionMisuseError,
    TestExecutionCalls,
    TestExecutionPage,
    column,
)
from futureagi_async.events import (
    Event,
    RequestFailed,
    RequestSent,
    ResponseReceived,
    RetryPlanned,
    SessionPaused,
)
from futureagi_async.testing import StandInServer
from tests.support.sessions import (
    UNKNOWN_ID,
    FakeClock,
    let_requests_arrive,
    open_session,
    read_body,
    respond,
    rows_of,
    wait_until,
)
from tests.support.slow import slow

pytestmark = pytest.mark.anyio

VARIABLES = ("FI_API_KEY", "FI_SECRET_KEY", "FI_BASE_URL")


async def test_a_call_in_full_detail(server: StandInServer) -> None:
    """The record asked for arrives with its transcript, from no list, and is asked for with both keys."""
    call_id = server.call_execution_ids()[0]
    async with open_session(server) as session:
        call = await session.get_call_execution(call_id)
    assert isinstance(call, CallExecution)
    assert (call.id, call.source, call.is_snapshot) == (call_id, None, False)
    assert call.transcript
    (request,) = server.requests
    assert (request.method, request.path) == ("GET", f"/simulate/call-executions/{call_id}/")
    assert request.headers["X-Api-Key"] == server.api_key
    assert request.headers["X-Secret-Key"] == server.secret_key
    assert request.headers["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize("spelling", [str.upper, UUID])
async def test_ids_may_be_uuids_or_upper_case(server: StandInServer, spelling: type) -> None:
    """Either is sent as the lower-case text that the server routes by."""
    call_id = server.call_execution_ids()[0]
    async with open_session(server) as session:
        assert (await session.get_call_execution(spelling(call_id))).id == call_id


async def test_key_figures(server: StandInServer) -> None:
    """Counts, typed averages and the evaluations' own averages."""
    async with open_session(server) as session:
        kpis = await session.get_kpis(server.test_execution_ids[0])
    assert isinstance(kpis, ExecutionKPIs)
    assert kpis.total_calls == 230
    assert kpis.agent_type == "voice"
    assert kpis.eval_averages


async def test_key_figures_that_an_evaluation_may_have_replaced(server: StandInServer) -> None:
    """With ``check``, one small page tells the evaluations' names; figures of no such name stay."""
    named, other = server.test_execution_ids[2], server.test_execution_ids[0]
    async with open_session(server) as session:
        plain = await session.get_kpis(named)
        server.clear_requests()
        checked = await session.get_kpis(named, check=True)
        assert [request.query for request in server.requests] == [{}, {"page": "1", "limit": "1"}]
        assert await session.get_kpis(other, check=True) == await session.get_kpis(other)
        outcomes = await session.fetch_kpis([named, UNKNOWN_ID], check=True)
        with pytest.raises(NotFoundError):
            await session.get_kpis(UNKNOWN_ID, check=True)
    assert plain.avg_score is not None
    assert "avg_score" not in plain.collisions
    assert checked.avg_score is None
    assert checked.collisions == {**plain.collisions, "avg_score": plain.avg_score}
    assert outcomes[0].value == checked
    assert isinstance(outcomes[1].error, NotFoundError)


async def test_a_test_execution(server: StandInServer) -> None:
    """Its state, its grid, and a page of its calls; the served API withholds their transcripts."""
    execution_id = server.test_execution_ids[2]
    async with open_session(server) as session:
        page = await session.get_test_execution(execution_id, limit=5)
    assert (page.status, page.provider, page.agent_type) == ("failed", "retell", "voice")
    assert {item.id for item in page.column_order} >= {"timestamp", "call_details"}
    assert len(page.calls) == 5
    assert any(call.transcript for call in page.calls) == (server.dialect == "documented")
    assert page.calls[0].source == TestExecutionCalls(execution_id)


async def test_grouping_by_a_basic_column(server: StandInServer) -> None:
    """As documented it gives groups; the served API always fails, which is said once, with a way out."""
    async with open_session(server) as session:
        grouping = session.get_groups(server.test_execution_ids[0], row_groups=["scenario"])
        if server.dialect == "documented":
            page = await grouping
            assert len(page.groups) == page.count > 1
            assert all(group["scenario"] for group in page.groups)
        else:
            with pytest.raises(InternalServerError, match=r"scenario_<scenario id>_dataset_<column id>"):
                await grouping
    assert len(server.requests) == 1


async def test_grouping_by_a_dataset_column() -> None:
    """The one kind of groups that the served API has, page by page."""
    with StandInServer() as server:
        execution_id = server.test_execution_ids[0]
        columns = read_body(server, f"/simulate/test-executions/{execution_id}/?limit=1")["column_order"]
        dataset = next(item for item in columns if item.get("type") == "scenario_dataset_column")
        group = f"scenario_{dataset['scenario_id']}_dataset_{dataset['dataset_column_ids'][0]}"
        async with open_session(server) as session:
            page = await session.get_groups(execution_id, row_groups=[group], page=2, limit=7)
        assert len(page.groups) == 7
        assert page.has_next
        assert (page.current_page, page.total_pages) == (2, -(-page.count // 7))
        assert all(group["count"] for group in page.groups)


async def test_drilling_down_into_a_group() -> None:
    """Group keys are sent as documented, next to search and filters."""
    with StandInServer(dialect="documented") as server:
        async with open_session(server) as session:
            await session.get_groups(
                server.test_execution_ids[0],
                row_groups=["status"],
                group_keys=["failed"],
                search="+4144",
                filters=[column("overall_score").between(0, 5)],
            )
        query = server.requests[0].query
        assert (query["row_groups"], query["group_keys"]) == ('["status"]', '["failed"]')
        assert query["search"] == "+4144"
        assert '"overall_score"' in query["filters"]


@pytest.mark.parametrize("method", ["get_call_execution", "get_kpis", "get_test_execution"])
async def test_an_unknown_id_is_not_found(server: StandInServer, method: str) -> None:
    """One request, also where the served API says 500 "No TestExecution matches"."""
    async with open_session(server) as session:
        with pytest.raises(NotFoundError) as caught:
            await getattr(session, method)(UNKNOWN_ID)
    (request,) = server.requests
    error = caught.value
    assert (error.method, error.path, error.attempts) == ("GET", request.path, 1)
    assert error.status == request.status
    assert error.request_id


async def test_many_calls_at_once(server: StandInServer) -> None:
    """One outcome an id in the order given; what is given twice is asked for once."""
    known = server.call_execution_ids()[:20]
    ids = [*known, UNKNOWN_ID, known[3].upper(), UUID(known[0])]
    async with open_session(server, max_in_flight=4) as session:
        outcomes = await session.fetch_call_executions(one for one in ids)
    assert [outcome.id for outcome in outcomes] == [*known, UNKNOWN_ID, known[3], known[0]]
    assert all(outcome.unwrap().id == outcome.id for outcome in outcomes if outcome.id != UNKNOWN_ID)
    assert isinstance(outcomes[20].error, NotFoundError)
    with pytest.raises(NotFoundError):
        outcomes[20].unwrap()
    assert len(server.requests) == 21
    assert server.peak_in_flight <= 4


def details_asked(server: StandInServer) -> int:
    """Count the requests for details."""
    return sum("/call-executions/" in request.path for request in server.requests)


async def test_many_calls_one_by_one(server: StandInServer) -> None:
    """One outcome for each different id as it comes; what is not done with counts as in flight."""
    known = server.call_execution_ids()[:20]
    async with open_session(server, max_in_flight=4) as session:
        async with session.stream_call_executions([*known, UNKNOWN_ID, known[3]]) as outcomes:
            first = await anext(outcomes)
            await wait_until(lambda: details_asked(server) == 4)
            await let_requests_arrive(server)
            assert details_asked(server) == 4
            rest = [outcome async for outcome in outcomes]
        with pytest.raises(SessionMisuseError, match="The stream is closed"):
            await anext(outcomes)
    assert sorted(outcome.id for outcome in (first, *rest)) == sorted([*known, UNKNOWN_ID])
    assert [type(each.error) for each in rest if each.error is not None] == [NotFoundError]
    assert details_asked(server) == 21


async def test_leaving_a_stream_of_details_ends_it(server: StandInServer) -> None:
    """What is raised inside leaves as it is, no task stays behind, and nothing more is asked for."""
    async with open_session(server, max_in_flight=2) as session:
        with pytest.raises(LookupError):
            await take_one_and_fail(session, server.call_execution_ids()[:50])
        await let_requests_arrive(server)
        assert details_asked(server) <= 3


async def take_one_and_fail(session: Session, ids: list[str]) -> None:
    """Begin to read details, and raise."""
    async with session.stream_call_executions(ids) as outcomes:
        async for _ in outcomes:
            raise LookupError


async def test_refused_keys_end_a_job_of_many_ids(server: StandInServer) -> None:
    """Ids not yet read end in the same error, unasked."""
    ids = server.call_execution_ids()[:50]
    server.fail(status=401, after=3)
    async with open_session(server, max_in_flight=1) as session:
        outcomes = await session.fetch_call_executions(ids)
    assert [outcome.value is not None for outcome in outcomes] == [True] * 3 + [False] * 47
    assert {type(outcome.error).__name__ for outcome in outcomes[3:]} == {"AuthenticationError"}
    assert len(server.requests) == 4


@pytest.mark.parametrize("steps", [1, 33, *slow(9, 17, 25, *range(41, 90, 8))])
async def test_closing_amid_many_ids_leaves_an_outcome_for_each(server: StandInServer, steps: int) -> None:
    """Whenever it happens: what was read is there, and the rest says why it is not."""
    ids = server.call_execution_ids()[:50]
    async with open_session(server) as session:
        task = asyncio.create_task(session.fetch_call_executions(ids))
        for _ in range(steps):
            await asyncio.sleep(0)
        await session.close()
        outcomes = await task
    await let_requests_arrive(server)
    assert [outcome.id for outcome in outcomes] == ids
    assert all(outcome.value or isinstance(outcome.error, SessionMisuseError) for outcome in outcomes)


async def test_key_figures_of_many_executions(server: StandInServer) -> None:
    """As with calls: order kept, failures in their place; no ids, no requests."""
    ids = list(server.test_execution_ids)
    async with open_session(server) as session:
        outcomes = await session.fetch_kpis([*ids, UNKNOWN_ID])
        assert await session.fetch_kpis([]) == []
    assert [outcome.value.total_calls for outcome in outcomes[:3] if outcome.value] == [230, 120, 16]
    assert isinstance(outcomes[3].error, NotFoundError)


@pytest.mark.parametrize("kind", ["page", "execution", "groups", "stream"])
async def test_an_ignored_filter_is_an_error(server: StandInServer, kind: str) -> None:
    """A 200 with ``error_messages`` holds unfiltered rows, which are never taken for filtered ones."""
    execution_id = server.test_execution_ids[0]
    path = f"/simulate/test-executions/{execution_id}/"
    body = read_body(server, path + "?limit=2") | {"error_messages": ["Invalid filter value."]}
    respond(server, path, body)
    filters = [column("status").equals("failed")]
    source = TestExecutionCalls(execution_id, filters=filters)
    async with open_session(server) as session:
        asking = {
            "page": lambda: session.get_page(source),
            "execution": lambda: session.get_test_execution(execution_id, filters=filters),
            "groups": lambda: session.get_groups(execution_id, row_groups=["status"], filters=filters),
            "stream": lambda: session.fetch_calls([source]),
        }
        with pytest.raises(FilterIgnoredError, match="Invalid filter value") as caught:
            await asking[kind]()
    assert caught.value.error_messages == ("Invalid filter value.",)
    assert (caught.value.status, caught.value.path) == (200, path)
    assert len(server.requests) == 1


async def test_complaints_about_no_filter_at_all_do_no_harm(server: StandInServer) -> None:
    """Where nothing was filtered, the rows are what was asked for."""
    execution_id = server.test_execution_ids[0]
    path = f"/simulate/test-executions/{execution_id}/"
    respond(server, path, read_body(server, path + "?limit=2") | {"error_messages": ["Some column is odd."]})
    async with open_session(server) as session:
        page = await session.get_test_execution(execution_id, limit=2)
    assert (len(page.calls), page.error_messages) == (2, ("Some column is odd.",))


async def test_settings_come_from_the_environment(
    server: StandInServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and base URL, a slash at its end included."""
    values = (server.api_key, server.secret_key, server.base_url + "/")
    for name, value in zip(VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    async with Session() as session:
        assert (await session.get_kpis(server.test_execution_ids[1])).total_calls == 120


async def test_arguments_win_over_the_environment(
    server: StandInServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is given is used, whatever the variables say."""
    for name, value in zip(VARIABLES, ("wrong", "wrong", "https://wrong.invalid"), strict=True):
        monkeypatch.setenv(name, value)
    async with Session(server.api_key, server.secret_key, server.base_url) as session:
        assert (await session.get_kpis(server.test_execution_ids[1])).total_calls == 120
    assert repr(session) == f"<Session {server.base_url}>"


async def test_observers_are_told_in_order(futureagi_server: StandInServer) -> None:
    """Sent, answered, paused, retry planned; sent, answered, failed: without query or keys."""
    events: list[Event] = []
    server = futureagi_server
    server.fail(status=429, headers={"Retry-After": "2", "X-Request-Id": "first"})
    server.fail(status=404, headers={"X-Request-Id": "second"})
    async with open_session(server, clock=FakeClock(), observers=[events.append]) as session:
        with pytest.raises(NotFoundError):
            await session.get_page(RunTestCalls(server.run_test_ids[0], search="private"))
    endpoint = "/simulate/run-tests/{run_test_id}/call-executions/"
    where = {"endpoint": endpoint, "path": endpoint.format(run_test_id=server.run_test_ids[0])}
    received = [event for event in events if isinstance(event, ResponseReceived)]
    assert events == [
        RequestSent(**where, attempt=1),
        received[0],
        SessionPaused(delay_seconds=2),
        RetryPlanned(**where, attempt=1, error="RateLimitError", delay_seconds=2.5),
        RequestSent(**where, attempt=2),
        received[1],
        RequestFailed(**where, attempts=2, error="NotFoundError", status=404, request_id="second"),
    ]
    assert [(event.status, event.request_id) for event in received] == [(429, "first"), (404, "second")]
    assert all(event.body_bytes > 0 for event in received)
    assert "private" not in repr(events)


async def test_an_observer_that_fails_does_no_harm(
    futureagi_server: StandInServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the request and the other observers go on."""
    events: list[Event] = []

    def fail(event: Event) -> None:
        raise KeyError(type(event).__name__)

    async with open_session(futureagi_server, observers=[fail, events.append]) as session:
        await session.get_kpis(futureagi_server.test_execution_ids[0])
    assert [type(event) for event in events] == [RequestSent, ResponseReceived]
    logged = [record for record in caplog.records if record.name == "futureagi_async"]
    assert [record.levelno for record in logged] == [logging.ERROR] * 2


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

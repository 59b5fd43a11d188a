"""What a session tells its observers and its log, and what it keeps to itself."""

import logging
from typing import Any

import anyio
import pytest

from futureagi_async import (
    DecodingError,
    FilterIgnoredError,
    FutureAGIError,
    InternalServerError,
    RunTestCalls,
    TestExecutionCalls,
    column,
)
from futureagi_async.events import (
    Event,
    PageArrived,
    RequestCancelled,
    RequestFailed,
    RequestSent,
    ResponseReceived,
    RetryPlanned,
    SessionPaused,
    VerdictReached,
)
from futureagi_async.testing import StandInServer
from tests.support.sessions import FOREVER, UNKNOWN_ID, FakeClock, open_session, respond, wait_until

pytestmark = pytest.mark.anyio

SEARCHED = "c4n4ry"


async def test_every_request_retry_pause_page_and_verdict(futureagi_server: StandInServer) -> None:
    """Each try has its beginning and its end, under the number of its request; bulk reads tell of pages."""
    server, told = futureagi_server, list[Event]()
    server.fail(status=429, headers={"Retry-After": "2"})
    server.disconnect(times=2)
    sources = [RunTestCalls(server.run_test_ids[2]), TestExecutionCalls(UNKNOWN_ID)]
    async with open_session(server, clock=FakeClock(), observers=[told.append]) as session:
        result = await session.fetch_calls(sources, on_error="collect")
    kinds = {type(event) for event in told}
    assert kinds == {
        RequestSent,
        ResponseReceived,
        RetryPlanned,
        SessionPaused,
        RequestFailed,
        PageArrived,
        VerdictReached,
    }
    tries = [(event.request_number, event.attempt) for event in told if isinstance(event, RequestSent)]
    assert len(tries) == len(set(tries))
    ends = [
        (event.request_number, event.attempt)
        for event in told
        if isinstance(event, ResponseReceived)
        or (isinstance(event, RetryPlanned) and event.error == "APIConnectionError")
    ]
    assert sorted(ends) == sorted(tries)
    verdicts = {event.source: event.verdict for event in told if isinstance(event, VerdictReached)}
    assert verdicts == {report.source: report.verdict for report in result.report}


async def test_a_cancelled_request_is_told_of(futureagi_server: StandInServer) -> None:
    """Also one that still waited for a slot; nothing else is told of it."""
    server, told = futureagi_server, list[Event]()
    server.stall(times=FOREVER)
    async with (
        open_session(server, max_in_flight=1, observers=[told.append]) as session,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(2):
            tasks.start_soon(session.get_kpis, UNKNOWN_ID)
        await wait_until(lambda: server.in_flight)
        tasks.cancel_scope.cancel()
    cancelled = [event.request_number for event in told if isinstance(event, RequestCancelled)]
    assert sorted(cancelled) == [1, 2]
    assert [type(event) for event in told] == [RequestSent, RequestCancelled, RequestCancelled]


async def test_the_log_is_silent_by_default(
    futureagi_server: StandInServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Retries, failures and verdicts are no news for anybody's INFO."""
    caplog.set_level(logging.INFO)
    futureagi_server.fail(times=2)
    async with open_session(futureagi_server, clock=FakeClock()) as session:
        await session.fetch_calls([RunTestCalls(futureagi_server.run_test_ids[2])])
        with pytest.raises(FutureAGIError):
            await session.get_kpis(UNKNOWN_ID)
    assert not [record for record in caplog.records if record.name.startswith("futureagi")]


async def test_the_log_tells_all_at_debug(
    futureagi_server: StandInServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A line an event: routes, ids, sizes; no keys, no words that were searched for, nothing of a body."""
    server = futureagi_server
    caplog.set_level(logging.DEBUG, logger="futureagi_async")
    server.fail(status=429, headers={"Retry-After": "2"})
    filters = [column("agent_definition").is_in(["completed", SEARCHED])]
    sources = [
        RunTestCalls(server.run_test_ids[2], search=SEARCHED),
        TestExecutionCalls(server.test_execution_ids[2], filters=filters),
    ]
    async with open_session(server, clock=FakeClock()) as session:
        await session.fetch_calls(sources, on_error="collect")
        call = await session.get_call_execution(server.call_execution_ids()[0])
        with pytest.raises(FutureAGIError):
            await session.get_kpis(UNKNOWN_ID)
    lines = [record.getMessage() for record in caplog.records if record.name == "futureagi_async"]
    path = f"GET /simulate/test-executions/{UNKNOWN_ID}/kpis/"
    (failed,) = [line for line in lines if line.startswith(f"{path} failed (")]
    assert failed.startswith(f"{path} failed (NotFoundError), attempts: 1, request id ")
    assert "Paused for 2.00 s, as the server asked" in lines
    assert any("attempt 1 failed (RateLimitError), next attempt in 2.50 s" in line for line in lines)
    assert any(line.startswith(f"Run test {sources[0].run_test_id} page 1 of") for line in lines)  # type: ignore[union-attr]
    assert any(line.startswith("Test execution") and "complete" in line for line in lines)
    assert call.call_summary
    for secret in (SEARCHED, server.api_key, server.secret_key, call.call_summary):
        assert not [line for line in lines if secret in line]


ASKING: dict[str, tuple[dict[str, Any], type[FutureAGIError]]] = {
    "status": ({"status": 500}, InternalServerError),
    "body": ({"body": b"<html>"}, DecodingError),
    "shape": ({"body": b"[]"}, DecodingError),
}


@pytest.mark.parametrize("trouble", ASKING)
async def test_errors_name_the_request(futureagi_server: StandInServer, trouble: str) -> None:
    """Whatever is wrong with an answer, its request id stands in the error, and in its text."""
    answer, kind = ASKING[trouble]
    given = {"body": b"{}", **answer, "headers": {"X-Request-Id": "request-7"}}
    futureagi_server.respond(times=FOREVER, **given)
    async with open_session(futureagi_server, clock=FakeClock()) as session:
        with pytest.raises(kind) as caught:
            await session.get_kpis(UNKNOWN_ID)
    assert caught.value.request_id == "request-7"
    assert "request id request-7" in str(caught.value)


async def test_errors_of_records_and_filters_name_the_request(futureagi_server: StandInServer) -> None:
    """Also where the answer as a whole was good."""
    server, headers = futureagi_server, {"X-Request-Id": "request-7"}
    respond(server, "run-tests", {"count": 1, "results": [{"id": 5}]}, headers=headers)
    ignored = {"count": 0, "results": [], "error_messages": ["Unknown column."]}
    respond(server, "test-executions", ignored, headers=headers)
    source = TestExecutionCalls(UNKNOWN_ID, filters=[column("status").equals("failed")])
    async with open_session(server, clock=FakeClock()) as session:
        page = await session.get_page(RunTestCalls(UNKNOWN_ID))
        with pytest.raises(FilterIgnoredError) as caught:
            await session.get_page(source)
    assert page.failures[0].error.request_id == "request-7"
    assert caught.value.request_id == "request-7"

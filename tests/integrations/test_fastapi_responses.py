"""Calls, pages and lists as responses, over real sockets."""

import asyncio
from typing import Any

import httpx2
import pytest
from fastapi import BackgroundTasks, FastAPI, Request, Response
from fastapi.testclient import TestClient
from starlette.middleware.base import RequestResponseEndpoint

from futureagi_async import (
    AgentVersionCalls,
    CallExecution,
    ExecutionKPIs,
    RunTestCalls,
    Session,
)
from futureagi_async.integrations.fastapi import (
    SessionDependency,
    json_response,
    ndjson_response,
    session_lifespan,
)
from futureagi_async.testing import StandInServer
from tests.support.services import ServedApp, lines_of, make_app, read_broken, serve
from tests.support.sessions import respond, wait_until


def test_a_call_is_sent_on_byte_for_byte(upstream: StandInServer) -> None:
    """What the service answers are the bytes that the API answered."""
    call_id = upstream.call_execution_ids()[0]
    body = b'{"id": "%b",\n "scores": [1.50, 1e2], "name": "\\u00e9"}' % call_id.encode()
    upstream.respond(call_id, body=body)
    with serve(make_app()) as client:
        response = client.get(f"/calls/{call_id}")
    assert response.content == body
    assert response.headers["content-type"] == "application/json"


def test_a_list_is_sent_on_one_record_a_line(upstream: StandInServer) -> None:
    """Each call of the list is one line, once, and the body ends properly."""
    run_id = upstream.run_test_ids[0]
    with serve(make_app()) as client:
        response = client.get(f"/runs/{run_id}", params={"size": 20})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-ndjson"
    assert sorted(line["id"] for line in lines_of(response)) == sorted(upstream.run_test_rows(run_id))


def test_the_report_is_the_last_line_on_request(upstream: StandInServer) -> None:
    """With report=True the last line holds every source with its verdict."""
    run_id = upstream.run_test_ids[2]
    with serve(make_app()) as client:
        *calls, last = lines_of(client.get(f"/runs/{run_id}", params={"report": True}))
    assert last["report"]["complete"] is True
    (source,) = last["report"]["sources"]
    assert source["source"] == f"run test {run_id}"
    assert (source["verdict"], source["received"]) == ("complete", len(calls))
    assert set(source) == {
        "source",
        "verdict",
        "reason",
        "expected",
        "received",
        "complete_as_of",
        "failures",
    }


def test_an_empty_list_is_an_empty_body(upstream: StandInServer) -> None:
    """A list without calls is answered 200, with nothing in it."""
    run_id = upstream.run_test_ids[0]
    empty = {"count": 0, "next": None, "previous": None, "results": []}
    respond(upstream, run_id, empty, times=4)
    with serve(make_app()) as client:
        response = client.get(f"/runs/{run_id}")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.quick(1)
@pytest.mark.parametrize("cause", ["reading each page once", "pages that fail"])
def test_an_incomplete_list_breaks_the_connection_off(upstream: StandInServer, cause: str) -> None:
    """Where the verdict is incomplete, the body does not end, unless the report was asked for."""
    app = make_app()
    source = RunTestCalls(upstream.run_test_ids[0])
    once = cause == "reading each page once"

    @app.get("/list")
    async def read_list(session: SessionDependency, report: bool = False) -> Response:
        consistency: Any = "fast" if once else "complete"
        stream = session.stream_calls(source, page_size=50, consistency=consistency, on_error="collect")
        return ndjson_response(stream, report=report)

    def script_faults() -> None:
        upstream.clear_faults()
        if not once:
            upstream.fail("call-executions", times=400, status=400, after=1)

    with serve(app) as client:
        script_faults()
        *calls, told = read_broken(client, "/list")
        script_faults()
        last = lines_of(client.get("/list", params={"report": True}))[-1]
    assert calls
    assert last["report"]["complete"] is told["report"]["complete"] is False
    assert last["report"]["sources"][0]["reason"]


@pytest.mark.quick(1)
@pytest.mark.parametrize("report", [False, True])
def test_an_error_after_the_first_page_breaks_the_connection_off(
    upstream: StandInServer, report: bool
) -> None:
    """A list that fails in its middle is not mistaken for one that ends there: the last line says so."""
    upstream.fail("call-executions", times=400, status=403, after=1)
    path = f"/runs/{upstream.run_test_ids[0]}?size=20&report={report}"
    with serve(make_app()) as client:
        *calls, told = read_broken(client, path)
    assert len(calls) == 20
    assert told["detail"] == "Future AGI could not be read."
    assert told["report"]["complete"] is False
    assert told["report"]["sources"][0]["verdict"] == "incomplete"


def test_middleware_does_not_hide_how_a_list_ends(upstream: StandInServer) -> None:
    """A middleware that ends properly what breaks off leaves the last line, and a client that leaves."""
    app = make_app()

    @app.middleware("http")
    async def pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    path = f"/runs/{upstream.run_test_ids[0]}?size=20"
    with ServedApp(app) as served:
        upstream.fail("call-executions", times=400, status=403, after=1)
        *calls, told = lines_of(httpx2.get(served.base_url + path))
        assert calls
        assert told["report"]["complete"] is False
        upstream.clear_faults()
        upstream.stall("call-executions", times=400, after=1)
        with httpx2.stream("GET", served.base_url + path) as response:
            assert response.status_code == 200
            asyncio.run(wait_until(lambda: upstream.in_flight))
        asyncio.run(wait_until(lambda: not upstream.in_flight and not served.connections))
        assert served.tasks == 0


def test_background_tasks_run_after_a_stream(upstream: StandInServer) -> None:
    """What a handler wants done afterwards is done once the lines are sent."""
    app, done = make_app(), []
    source = RunTestCalls(upstream.run_test_ids[2])

    @app.get("/list")
    async def read_list(session: SessionDependency, tasks: BackgroundTasks) -> Response:
        tasks.add_task(done.append, "after")
        return ndjson_response(session.stream_calls(source))

    with serve(app) as client:
        assert client.get("/list").content
    assert done == ["after"]


def test_pages_figures_and_results_are_json(upstream: StandInServer) -> None:
    """Pages and results are sent on as facts around the bytes of their calls; failures are named."""
    app = FastAPI(lifespan=session_lifespan())
    run_id, execution_id = upstream.run_test_ids[0], upstream.test_execution_ids[0]

    @app.get("/page")
    async def read_page(session: SessionDependency) -> Response:
        return json_response(await session.get_page(RunTestCalls(run_id), page=2, limit=5))

    @app.get("/execution")
    async def read_execution(session: SessionDependency) -> Response:
        return json_response(await session.get_test_execution(execution_id, limit=2))

    @app.get("/kpis")
    async def read_kpis(session: SessionDependency) -> Response:
        return json_response(await session.get_kpis(execution_id))

    @app.get("/groups")
    async def read_groups(session: SessionDependency) -> Response:
        return json_response(await session.get_groups(execution_id, row_groups=["anything"], limit=7))

    @app.get("/result")
    async def read_result(session: SessionDependency) -> Response:
        return json_response(await session.fetch_calls(RunTestCalls(upstream.run_test_ids[2])))

    with TestClient(app) as client:
        page, execution, kpis, result = (
            client.get(path).json() for path in ("/page", "/execution", "/kpis", "/result")
        )
        groups = {"count": 9, "next": "?page=2", "previous": None, "results": [{"scenario": {"n": 1.5}}]}
        respond(upstream, execution_id, groups)
        grouped = client.get("/groups").json()
        broken = {"count": 1, "next": None, "previous": None, "results": [{"id": 5}]}
        respond(upstream, run_id, broken)
        failed = client.get("/page").json()
    assert len(page["calls"]) == 5
    assert {call["id"] for call in page["calls"]} <= set(upstream.run_test_rows(run_id))
    assert {key: page[key] for key in ("current_page", "has_next", "failures")} == {
        "current_page": 2,
        "has_next": True,
        "failures": [],
    }
    assert (execution["status"], len(execution["calls"])) == ("completed", 2)
    assert kpis["total_calls"] == 230
    assert result["complete"] is True
    assert result["sources"][0]["received"] == len(result["calls"]) == 16
    assert grouped == {
        "count": 9,
        "has_next": True,
        "total_pages": 2,
        "current_page": 1,
        "groups": [{"scenario": {"n": 1.5}}],
    }
    assert failed["failures"][0]["json_path"] == "$.results[0].id"
    assert failed["calls"] == []


@pytest.mark.parametrize("asked_for", [False, True])
def test_provider_data_is_left_out_unless_asked_for(upstream: StandInServer, asked_for: bool) -> None:
    """Version rows carry what may hold others' keys; a service does not pass it on by accident."""
    app = FastAPI(lifespan=session_lifespan())
    source = AgentVersionCalls(*upstream.agent_versions[0])

    @app.get("/page")
    async def read_page(session: SessionDependency) -> Response:
        return json_response(await session.get_page(source, limit=3), include_provider_data=asked_for)

    @app.get("/lines")
    async def read_lines(session: SessionDependency) -> Response:
        return ndjson_response(session.stream_calls(source), include_provider_data=asked_for)

    with TestClient(app) as client:
        calls = client.get("/page").json()["calls"] + lines_of(client.get("/lines"))
    assert len(calls) > 50
    assert {"call_metadata" in call for call in calls} == {asked_for}
    assert {"provider_call_data" in call for call in calls} == {asked_for}


def test_wrong_values_are_refused() -> None:
    """What has no JSON of the server's, and streams that are not streams, are refused with a reason."""
    for wrong in ({"id": 1}, None, b"{}"):
        with pytest.raises(TypeError, match="json_response takes a call"):
            json_response(wrong)  # type: ignore[arg-type]
    for made in (CallExecution(id="1"), ExecutionKPIs()):
        with pytest.raises(ValueError, match="built by hand"):
            json_response(made)
    with pytest.raises(TypeError, match=r"session\.stream_calls\(\.\.\.\) itself, unopened, not list"):
        ndjson_response([])  # type: ignore[arg-type]


def test_a_send_that_fails_ends_the_reading_quietly(upstream: StandInServer) -> None:
    """Newer servers raise OSError where the client is gone: no error of the service's."""

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        raise OSError("gone")

    async def read() -> None:
        async with Session() as session:
            response = ndjson_response(session.stream_calls(RunTestCalls(upstream.run_test_ids[0])))
            await response({"type": "http"}, receive, send)

    asyncio.run(read())

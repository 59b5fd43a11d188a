"""The session of a FastAPI application: its lifespan, its dependencies, its errors, and a whole service."""

import asyncio
import gc
import importlib.util
import json
import socket
import threading
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI, Response, WebSocket
from fastapi.testclient import TestClient

from futureagi_async.integrations.fastapi import (
    SessionDependency,
    install_error_handlers,
    json_response,
    session_lifespan,
)
from futureagi_async.testing import StandInServer
from tests.support.services import ONCE, ServedApp, make_app, serve
from tests.support.sessions import UNKNOWN_ID, let_requests_arrive, wait_until


def test_missing_keys_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are looked for when the application starts, not when it is imported or first asked."""
    for name in ("FI_API_KEY", "FI_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    app = make_app()
    with pytest.raises(ValueError, match="FI_API_KEY"), TestClient(app):
        pass


def test_arguments_of_the_lifespan_go_to_the_session(futureagi_server: StandInServer) -> None:
    """Keys and options can be given instead of taken from the environment."""
    server = futureagi_server
    app = FastAPI(lifespan=session_lifespan(server.api_key, server.secret_key, base_url=server.base_url))

    @app.get("/")
    async def read(session: SessionDependency) -> bool:
        return (await session.get_kpis(server.test_execution_ids[0])).total_calls is not None

    with TestClient(app) as client:
        assert client.get("/").json() is True


def test_wrong_arguments_of_the_lifespan_stop_the_start(upstream: StandInServer) -> None:
    """An option that Session does not know is a TypeError that names it."""
    with (
        pytest.raises(TypeError, match="max_inflight"),
        TestClient(FastAPI(lifespan=session_lifespan(max_inflight=3))),  # type: ignore[call-arg]
    ):
        pass


def test_an_application_can_start_again(upstream: StandInServer) -> None:
    """Each start opens a session of its own, as tests of an application do."""
    app, sessions = make_app(), []

    @app.get("/session")
    async def keep(session: SessionDependency) -> None:
        sessions.append(session)

    for _ in range(2):
        with TestClient(app) as client:
            client.get("/session")
            client.get("/session")
    assert sessions[0] is sessions[1]
    assert sessions[2] is sessions[3] is not sessions[0]


def test_it_composes_with_a_lifespan_of_ones_own(upstream: StandInServer) -> None:
    """A lifespan that yields what ours gives beside its own serves both, also to mounted applications."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        async with session_lifespan()(app) as state:
            yield {**state, "greeting": "hello"}

    inner = make_app()
    app = FastAPI(lifespan=lifespan)
    app.mount("/inner", inner)
    call_id = upstream.call_execution_ids()[0]
    with TestClient(app) as client:
        assert client.get(f"/inner/calls/{call_id}").json()["id"] == call_id


def test_websockets_get_the_session_too(upstream: StandInServer) -> None:
    """The dependency serves websocket endpoints as it serves requests."""
    app = FastAPI(lifespan=session_lifespan())

    @app.websocket("/kpis")
    async def send_kpis(websocket: WebSocket, session: SessionDependency) -> None:
        await websocket.accept()
        await websocket.send_bytes((await session.get_kpis(upstream.test_execution_ids[0])).raw)
        await websocket.close()

    with TestClient(app) as client, client.websocket_connect("/kpis") as websocket:
        assert json.loads(websocket.receive_bytes())["total_calls"] == 230


def test_keys_given_to_the_lifespan_are_not_shown() -> None:
    """Neither its repr nor a traceback with variables of a failed start shows them."""
    lifespan = session_lifespan("canary-key", "canary-secret", base_url="http://elsewhere.example")
    try:
        with TestClient(FastAPI(lifespan=lifespan)):
            raise AssertionError
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "http://" in shown
    assert "canary" not in shown + repr(lifespan)


def test_an_error_before_the_first_page_is_an_http_error(upstream: StandInServer) -> None:
    """A stream whose list does not exist is a 404, as a single record would be."""
    with serve(make_app()) as client:
        response = client.get(f"/runs/{UNKNOWN_ID}")
    assert response.status_code == 404
    assert response.json() == {"detail": "Future AGI has nothing under this id."}


FAILURES = [
    pytest.param({"status": 401}, 502, "Future AGI could not be read.", id="refused keys"),
    pytest.param({"status": 403}, 502, "Future AGI could not be read.", id="forbidden"),
    pytest.param({"status": 404}, 404, "Future AGI has nothing under this id.", id="not found"),
    pytest.param({"status": 400}, 502, "Future AGI could not be read.", id="bad request"),
    pytest.param({"status": 500}, 502, "Future AGI could not be read.", id="broken"),
    pytest.param(
        {"status": 302, "headers": {"Location": "https://elsewhere.example/"}},
        502,
        "Future AGI could not be read.",
        id="redirect",
    ),
    pytest.param({"status": 200, "body": "no JSON"}, 502, "Future AGI could not be read.", id="garbage"),
]


@pytest.mark.quick(3)
@pytest.mark.parametrize(("failure", "status", "detail"), FAILURES)
def test_errors_have_fitting_statuses(
    upstream: StandInServer, failure: dict[str, Any], status: int, detail: str
) -> None:
    """What the API answers becomes a status that tells the service's users whose fault it is."""
    upstream.fail("call-executions", **failure)
    with serve(make_app()) as client:
        response = client.get(f"/calls/{UNKNOWN_ID}")
    assert (response.status_code, response.json()) == (status, {"detail": detail})


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        pytest.param({"status": 429, "headers": {"Retry-After": "7"}}, "7", id="429"),
        pytest.param({"status": 429}, "1", id="429 without a time"),
        pytest.param({"status": 503, "headers": {"Retry-After": "2.5"}}, "3", id="503"),
    ],
)
def test_throttling_is_passed_on(upstream: StandInServer, failure: dict[str, Any], seconds: str) -> None:
    """Throttling is a 503 with Retry-After in whole seconds, rounded up, and at least one."""
    upstream.fail("call-executions", **failure)
    with serve(make_app()) as client:
        response = client.get(f"/calls/{UNKNOWN_ID}")
    assert (response.status_code, response.headers["retry-after"]) == (503, seconds)


def test_a_handlers_deadline_reaches_the_upstream(upstream: StandInServer) -> None:
    """A session with a deadline gives up in time, the user gets a 504, and nothing goes on upstream."""
    upstream.stall("kpis")
    with serve(make_app()) as client:
        response = client.get(f"/quick/{upstream.test_execution_ids[0]}")
        assert (response.status_code, response.json()) == (
            504,
            {"detail": "Future AGI did not answer in time."},
        )
        asyncio.run(wait_until(lambda: not upstream.in_flight))


def test_an_answer_that_is_too_large_is_a_502(upstream: StandInServer) -> None:
    """An answer beyond max_response_bytes is told apart from one that could not be read."""
    with serve(make_app(max_response_bytes=1000)) as client:
        response = client.get(f"/calls/{upstream.call_execution_ids()[0]}")
    assert (response.status_code, response.json()["detail"]) == (
        502,
        "The answer of Future AGI is too large.",
    )


def test_no_connection_is_a_502(upstream: StandInServer) -> None:
    """An upstream that is not there is a 502 without its address."""
    upstream.disconnect("call-executions", times=10)
    with serve(make_app()) as client:
        response = client.get(f"/calls/{UNKNOWN_ID}")
    assert (response.status_code, response.json()["detail"]) == (502, "Future AGI could not be read.")


def test_answers_and_logs_hold_no_secrets(upstream: StandInServer, caplog: pytest.LogCaptureFixture) -> None:
    """Neither keys nor addresses nor the upstream's words are in an answer; the log has no keys."""
    words = f"canary {upstream.api_key} {upstream.secret_key}"
    for status in (400, 401, 403, 404, 429, 500, 502):
        upstream.fail("call-executions", status=status, body={"message": words, "detail": words})
    with serve(make_app()) as client:
        answers = [client.get(f"/calls/{UNKNOWN_ID}") for _ in range(7)]
    said = " ".join(f"{answer.status_code} {answer.headers} {answer.text}" for answer in answers)
    for secret in ("canary", upstream.api_key, upstream.secret_key, upstream.base_url, UNKNOWN_ID):
        assert secret not in said
    assert "Answered 502" in caplog.text
    assert upstream.api_key not in caplog.text
    assert upstream.secret_key not in caplog.text


def test_misuse_is_a_500_and_in_the_log(upstream: StandInServer, caplog: pytest.LogCaptureFixture) -> None:
    """An application without the lifespan answers 500; the log says what to do."""
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/")
    async def read(session: SessionDependency) -> None:
        raise AssertionError

    with serve(app) as client:
        response = client.get("/")
    assert (response.status_code, response.json()) == (500, {"detail": "Internal Server Error"})
    assert "session_lifespan" in caplog.text


def test_without_handlers_errors_are_what_the_framework_makes_of_them(upstream: StandInServer) -> None:
    """Only applications that install the handlers get them."""
    app = FastAPI(lifespan=session_lifespan(retry=ONCE))

    @app.get("/calls/{call_id}")
    async def read_call(call_id: UUID, session: SessionDependency) -> Response:
        return json_response(await session.get_call_execution(call_id))

    with serve(app) as client:
        assert client.get(f"/calls/{UNKNOWN_ID}").status_code == 500


EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "calls_service.py"
CLIENTS = 200
LONGEST_TURN_SECONDS = 0.15
"""Some three times what 200 requests that arrive at once cost the loop on a quiet machine."""


@pytest.fixture
def service(upstream: StandInServer) -> Iterator[ServedApp]:
    """Run the example on the stand-in, and check that its shutdown leaves no task and no request."""
    with ServedApp(load_example()) as served:
        yield served
    assert not served.tasks_left
    asyncio.run(wait_until(lambda: not upstream.in_flight))


def load_example() -> Any:
    """Import the example's file afresh."""
    spec = importlib.util.spec_from_file_location("calls_service", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


@pytest.fixture
def no_collections() -> Iterator[None]:
    """Keep the collector out: it would walk over the stand-in's data, which live in the same process."""
    gc.disable()
    yield
    gc.enable()


def test_every_route_answers(service: ServedApp, upstream: StandInServer) -> None:
    """Each route of the example answers 200 with what it says."""
    run_id, execution_id = upstream.run_test_ids[0], upstream.test_execution_ids[0]
    call_id = upstream.call_execution_ids()[0]
    with httpx2.Client(base_url=service.base_url) as client:
        assert client.get(f"/calls/{call_id}").json()["id"] == call_id
        assert client.get(f"/test-executions/{execution_id}/kpis").json()["total_calls"] == 230
        page = client.get(f"/test-executions/{execution_id}/calls", params={"page": 2}).json()
        assert (page["current_page"], len(page["calls"])) == (2, 50)
        completed = client.get(f"/run-tests/{run_id}/calls", params={"status": "completed"})
        assert {json.loads(line)["status"] for line in completed.content.splitlines()} == {"completed"}
        failing = client.get(f"/test-executions/{execution_id}/failing", params={"below": 3})
        *low, last = failing.content.splitlines()
        assert {json.loads(line)["overall_score"] <= 3 for line in low} == {True}
        assert json.loads(last)["report"]["complete"] is True
        statuses = client.get(f"/run-tests/{run_id}/statuses").json()
        assert (statuses["complete"], sum(statuses["statuses"].values())) == (True, 251)


def test_wrong_parameters_are_refused_before_any_request(service: ServedApp, upstream: StandInServer) -> None:
    """What is no id, status or page is 422, and costs the upstream nothing."""
    with httpx2.Client(base_url=service.base_url) as client:
        for path in (
            "/calls/1",
            f"/run-tests/{upstream.run_test_ids[0]}/calls?status=sleeping",
            f"/test-executions/{upstream.test_execution_ids[0]}/calls?page=0",
            f"/test-executions/{upstream.test_execution_ids[0]}/failing?below=inf",
        ):
            assert client.get(path).status_code == 422, path
    assert not upstream.requests


@pytest.mark.slow
@pytest.mark.usefixtures("no_collections")
def test_two_hundred_requests_at_once(service: ServedApp, upstream: StandInServer) -> None:
    """All are answered, one pool serves them, and the event loop stays responsive meanwhile."""
    paths = [
        f"/calls/{upstream.call_execution_ids()[0]}",
        f"/test-executions/{upstream.test_execution_ids[0]}/kpis",
        f"/run-tests/{upstream.run_test_ids[1]}/calls",
        f"/run-tests/{upstream.run_test_ids[2]}/statuses",
    ]

    async def ask_all() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=CLIENTS)
        async with httpx2.AsyncClient(base_url=service.base_url, limits=limits, timeout=50) as client:
            return await asyncio.gather(*(client.get(paths[n % len(paths)]) for n in range(CLIENTS)))

    with service.watched() as turn_seconds:
        answers = asyncio.run(ask_all())
    assert {answer.status_code for answer in answers} == {200}
    assert all(len(answer.content.splitlines()) == 120 for answer in answers[2::4])
    assert len(turn_seconds) > CLIENTS
    assert max(turn_seconds) < LONGEST_TURN_SECONDS
    assert upstream.peak_in_flight <= 32
    assert service.tasks == 0


def connect(service: ServedApp, path: str) -> socket.socket:
    """Send a request whose answer nobody has read yet."""
    client = socket.create_connection(("127.0.0.1", service.port), timeout=10)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: service\r\n\r\n".encode())
    return client


@pytest.mark.quick(1)
@pytest.mark.parametrize("pages_before", [0, 1], ids=["before the first page", "in the middle"])
def test_a_client_that_leaves_ends_the_reading(
    service: ServedApp, upstream: StandInServer, pages_before: int
) -> None:
    """Whenever the client goes, no task is left, upstream requests end, and no more are sent."""
    upstream.stall("call-executions", times=100, after=pages_before)
    with connect(service, f"/run-tests/{upstream.run_test_ids[0]}/calls") as client:
        if pages_before:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        asyncio.run(wait_until(lambda: upstream.in_flight))
    asyncio.run(wait_until(lambda: not upstream.in_flight and not service.connections))
    assert service.tasks == 0
    seen = len(upstream.requests)
    upstream.clear_faults()
    asyncio.run(let_requests_arrive(upstream))
    assert not [one for one in upstream.requests[seen:] if "call-executions" in one.path]


def test_a_client_that_leaves_a_waiting_handler_is_harmless(
    service: ServedApp, upstream: StandInServer
) -> None:
    """The session goes on serving others when a single read's client has gone."""
    upstream.stall("kpis", seconds=0.05)
    connect(service, f"/test-executions/{upstream.test_execution_ids[0]}/kpis").close()
    with httpx2.Client(base_url=service.base_url) as client:
        assert client.get(f"/test-executions/{upstream.test_execution_ids[0]}/kpis").status_code == 200
    asyncio.run(wait_until(lambda: not upstream.in_flight and not service.connections))


def test_shutdown_lets_work_in_flight_end(upstream: StandInServer) -> None:
    """A stream that has begun when the service is told to stop is sent to its end."""
    upstream.stall("call-executions", seconds=0.1, after=1)
    run_id = upstream.run_test_ids[1]
    with ServedApp(load_example()) as served, httpx2.Client(base_url=served.base_url) as client:
        with client.stream("GET", f"/run-tests/{run_id}/calls") as response:
            stopping = threading.Thread(target=served.stop)
            stopping.start()
            lines = response.read().splitlines()
        stopping.join()
    assert len(lines) == len(upstream.run_test_rows(run_id))
    assert not served.tasks_left


def test_shutdown_does_not_wait_for_ever(upstream: StandInServer) -> None:
    """Work that does not end in the server's time of grace is cancelled, down to the upstream's socket."""
    upstream.stall("call-executions", times=100)
    path = f"/run-tests/{upstream.run_test_ids[0]}/calls"
    with ServedApp(load_example(), graceful_seconds=0) as served, connect(served, path):
        asyncio.run(wait_until(lambda: upstream.in_flight))
        served.stop()
        assert not served.tasks_left
        asyncio.run(wait_until(lambda: not upstream.in_flight))

"""The example service of the docs, under a real uvicorn: load, clients that leave, shutdown."""

import asyncio
import gc
import importlib.util
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from futureagi_async.testing import StandInServer
from tests.integrations.serving import ServedApp
from tests.servers import let_requests_arrive, wait_until

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

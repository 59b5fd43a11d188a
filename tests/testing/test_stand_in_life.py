"""Starting, stopping, and what stays behind: nothing."""

from __future__ import annotations

import asyncio
import gc
import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from futureagi_async import testing
from futureagi_async.testing import ServedRequest, ServerCost, StandInServer
from futureagi_async.testing._standin.web.cost import Workers


@pytest.fixture
def more_threads() -> Callable[[], int]:
    """Tell how many serving threads there are beyond those before the test."""

    def count() -> int:
        return sum(thread.name == "stand-in-server" for thread in threading.enumerate())

    before = count()
    return lambda: count() - before


def test_a_server_ends_its_thread_and_its_port(more_threads: Callable[[], int]) -> None:
    """After the block no thread is left and nobody listens."""
    with StandInServer(demo=False) as server:
        address = server.base_url.removeprefix("http://")
        assert more_threads() == 1
    assert more_threads() == 0
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection(address, timeout=2).request("GET", "/")
    with pytest.raises(RuntimeError, match="no address"):
        _ = server.base_url


def test_stopping_is_prompt_with_idle_connections_and_slow_handlers() -> None:
    """Kept-alive connections and endless stalls do not hold it up; no resource is left open."""
    with StandInServer(demo=False) as server:
        address = server.base_url.removeprefix("http://")
        idle, stuck = (http.client.HTTPConnection(address, timeout=10) for _ in range(2))
        idle.request("GET", "/")
        idle.getresponse().read()
        server.stall()
        stuck.request("GET", "/")
        while not server.in_flight:
            time.sleep(0.002)
        begun = time.monotonic()
    assert time.monotonic() - begun < 0.2
    idle.close()
    stuck.close()
    gc.collect()


def test_a_server_can_be_started_again_but_not_twice() -> None:
    """The same data, another port."""
    server = StandInServer(demo=False)
    with server:
        first = server.base_url
        with pytest.raises(RuntimeError, match="running already"):
            server.__enter__()
        assert server.base_url == first
    with server:
        assert server.base_url.startswith("http://127.0.0.1:")


def test_a_taken_port_is_an_error_at_the_start(more_threads: Callable[[], int]) -> None:
    """The operating system's own error reaches the caller, and no thread stays."""
    with StandInServer(demo=False) as server:
        port = int(server.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match=r"(?i)address already in use"):
            StandInServer(demo=False, port=port).__enter__()
        assert more_threads() == 1


@pytest.mark.anyio
async def test_async_with_does_not_block_the_loop(more_threads: Callable[[], int]) -> None:
    """Other tasks run while the server starts and stops."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    async with StandInServer() as server:
        assert server.base_url
        seen = ticks
        assert seen > 0
    assert ticks > seen
    ticking.cancel()
    assert more_threads() == 0


@pytest.mark.anyio
async def test_a_cancelled_caller_leaves_no_thread(more_threads: Callable[[], int]) -> None:
    """Leaving the block by cancellation stops the server all the same."""
    entered = asyncio.Event()

    async def hold() -> None:
        async with StandInServer(demo=False):
            entered.set()
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    await entered.wait()
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert more_threads() == 0


def test_each_request_goes_to_the_worker_that_is_free_first() -> None:
    """A fixed time and one for each row; a third request waits for the first of two workers."""
    workers = Workers(ServerCost(seconds_per_request=1.0, seconds_per_row=0.5, workers=2))
    asked = [(100.0, 2), (100.0, 8), (100.5, 0), (103.5, 1), (200.0, 0)]
    assert [workers.reserve(now, rows) for now, rows in asked] == [2.0, 5.0, 2.5, 1.5, 1.0]
    with pytest.raises(ValueError, match="workers"):
        ServerCost(workers=0)
    with pytest.raises(ValueError, match="seconds_per_row"):
        ServerCost(seconds_per_row=-1.0)


@pytest.mark.parametrize("dialect", ["served", "documented"])
def test_rows_cost_time(start: Any, dialect: str) -> None:
    """Every list's, and a detail's: each read takes at least the time of its rows."""
    ask = start(dialect=dialect, cost=ServerCost(seconds_per_row=0.01))
    server = ask.server
    for rows, read in (
        (8, lambda: ask.run_test(server.run_test_ids[1], limit=8)),
        (8, lambda: ask.version(server.agent_versions[0], limit=8)),
        (8, lambda: ask.execution(server.test_execution_ids[0], limit=8)),
        (1, lambda: ask.detail(server.call_execution_ids()[0])),
    ):
        begun = time.monotonic()
        assert read().status == 200
        assert time.monotonic() - begun >= 0.01 * rows


def test_places_without_a_row_cost_nothing(start: Any) -> None:
    """Where a row takes minutes, empty pages, KPIs and refusals come at once; all take the fixed time."""
    ask = start(demo=False, cost=ServerCost(seconds_per_request=0.01, seconds_per_row=600.0, workers=1))
    run_test = ask.server.add_run_test(40, slim=True, deleted=30)
    (execution,) = ask.server.run_test_executions(run_test)
    begun = time.monotonic()
    replies = [ask.run_test(run_test, limit=30), ask.run_test(run_test, page=9)]
    assert [(reply.status, reply.json()["results"]) for reply in replies] == [(200, [])] * 2
    assert [ask.kpis(execution).status, ask.detail(execution).status] == [200, 404]
    assert time.monotonic() - begun >= 0.04


def test_requests_wait_for_a_worker_and_faults_for_none(start: Any) -> None:
    """Three at once on one worker take three times as long; an answer put in their place takes none."""
    ask = start(cost=ServerCost(seconds_per_request=0.05, workers=1))
    execution = ask.server.test_execution_ids[0]
    threads = [threading.Thread(target=ask.kpis, args=(execution,)) for _ in range(3)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begun >= 0.15
    slow = start(cost=ServerCost(seconds_per_request=600.0))
    slow.server.fail(status=504)
    assert slow.kpis(execution).status == 504


def test_requests_are_told_while_serving(ask: Any) -> None:
    """Frozen values with case-blind headers; the list is a copy."""
    before = ask.server.requests
    ask.run_test(ask.server.run_test_ids[0], limit=3, page=2)
    assert before == []
    (request,) = ask.server.requests
    assert isinstance(request, ServedRequest)
    assert (request.method, request.query, request.status) == ("GET", {"limit": "3", "page": "2"}, 200)
    assert request.path == f"/simulate/run-tests/{ask.server.run_test_ids[0]}/call-executions/"
    assert request.headers["x-api-key"] == request.headers["X-API-KEY"] == ask.server.api_key
    assert request.started <= request.ended
    assert ask.server.api_key not in repr(request)


def test_data_can_be_added_while_serving_from_other_threads(ask: Any) -> None:
    """Builders, oracles and requests do not disturb one another."""
    found: list[int] = []

    def build() -> None:
        run_test = ask.server.add_run_test(300, slim=True)
        found.append(len(ask.run_test(run_test, limit=300).json()["results"]))
        found.append(len(ask.server.run_test_rows(run_test)))

    threads = [threading.Thread(target=build) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [300] * 10


def test_wrong_arguments_are_refused() -> None:
    """Before anything is started."""
    with pytest.raises(ValueError, match="dialect"):
        StandInServer(dialect="third")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="request_seconds"):
        StandInServer(request_seconds=-1)
    server = StandInServer(demo=False)
    with pytest.raises(ValueError, match="deleted"):
        server.add_run_test(3, deleted=4)
    with pytest.raises(ValueError, match="no list"):
        server.run_test_rows("unknown")


def test_the_plugin_offers_a_running_server(futureagi_server: StandInServer) -> None:
    """The fixture is found without any import, served dialect, sample data."""
    assert futureagi_server.dialect == "served"
    assert len(futureagi_server.run_test_ids) == 3


def test_the_plugin_loads_nothing_heavy() -> None:
    """Every pytest run of everybody imports the plugin: the server must not come along."""
    code = (
        "import sys, futureagi_async.testing.plugin\n"
        "print(sorted(name for name in sys.modules if name.startswith('futureagi_async.testing')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['futureagi_async.testing', 'futureagi_async.testing.plugin']"


def test_public_names_are_found_and_others_are_not() -> None:
    """What is exported is there, although it is imported on first use only."""
    assert {getattr(testing, name).__name__ for name in testing.__all__} == set(testing.__all__)
    assert dir(testing) == testing.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = testing.nothing

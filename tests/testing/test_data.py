"""The sample data: the same for the same seed, consistent over the endpoints, and awkward on purpose."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from futureagi_async import testing
from futureagi_async.testing import Motion, ServedRequest, ServerCost, StandInServer, VirtualClock
from futureagi_async.testing._standin.web.cost import Workers

STATUSES = {"pending", "queued", "ongoing", "completed", "failed", "analyzing", "cancelled"}


def everything(ask: Any) -> list[bytes]:
    """Return the bodies of all five endpoints, without the port."""
    server = ask.server
    replies = [ask.run_test(id_, limit=40, page=2) for id_ in server.run_test_ids]
    replies += [ask.version(ids, limit=40) for ids in server.agent_versions]
    replies += [ask.execution(id_, limit=40) for id_ in server.test_execution_ids]
    replies += [ask.kpis(id_) for id_ in server.test_execution_ids]
    replies += [ask.detail(id_) for id_ in server.call_execution_ids()[::25]]
    return [reply.body.replace(server.base_url.encode(), b"") for reply in replies]


def test_equal_seeds_give_equal_bytes(start: Any) -> None:
    """Also for the second reading of the same page; another seed gives other data."""
    one, other, third = start(seed=7), start(seed=7), start(seed=8)
    assert everything(one) == everything(other)
    assert everything(one) == everything(other)
    assert one.server.run_test_ids != third.server.run_test_ids
    assert set(everything(one)).isdisjoint(everything(third))


def test_samples_are_several_hundred_calls(ask: Any) -> None:
    """Three run tests, three versions, three executions, all of them served."""
    server = ask.server
    assert (len(server.run_test_ids), len(server.agent_versions), len(server.test_execution_ids)) == (3, 3, 3)
    counts = [ask.run_test(id_).json()["count"] for id_ in server.run_test_ids]
    assert counts == [256, 120, 17]
    assert len(server.run_test_rows(server.run_test_ids[0])) == 251
    assert all(len(server.version_rows(*ids)) > 50 for ids in server.agent_versions)
    assert StandInServer(demo=False).run_test_ids == ()


def test_calls_are_the_same_on_every_endpoint(ask: Any) -> None:
    """A run test's call is in its execution, has a detail, and stands in its version's list if evaluated."""
    server = ask.server
    voice = ask.run_test(server.run_test_ids[0], limit=500).json()["results"]
    calls = [row for row in voice if not row["is_snapshot"]]
    assert {row["id"] for row in calls} == set(server.test_execution_rows(server.test_execution_ids[0]))
    assert {row["test_execution_id"] for row in calls} == {server.test_execution_ids[0]}
    evaluated = {row["id"] for row in calls if row["status"] == "completed" and row["eval_outputs"]}
    versions = [set(server.version_rows(*ids)) for ids in server.agent_versions[:2]]
    assert evaluated == versions[0] | versions[1]
    row = calls[5]
    detail = ask.detail(row["id"]).json()
    for key in ("timestamp", "status", "duration", "transcript", "overall_score", "scenario", "recordings"):
        assert detail[key] == row[key], key


def test_snapshots_point_at_calls(ask: Any) -> None:
    """Their id is their own; the execution's row nests the same snapshot."""
    server = ask.server
    rows = ask.run_test(server.run_test_ids[0], limit=500).json()["results"]
    calls = {row["id"] for row in rows if not row["is_snapshot"]}
    snapshots = {row["id"]: row for row in rows if row["is_snapshot"]}
    assert len(snapshots) == 26
    assert calls.isdisjoint(snapshots)
    pointed = {row["original_call_execution_id"] for row in snapshots.values()}
    executions = ask.execution(server.test_execution_ids[0], limit=500).json()["results"]
    nested = {s["id"]: row["id"] for row in executions for s in row["rerun_snapshots"]}
    assert nested.keys() <= snapshots.keys()
    assert all(snapshots[id_]["original_call_execution_id"] == call for id_, call in nested.items())
    assert pointed & calls


def test_awkward_values_are_there(ask: Any) -> None:
    """Every status, missing values, zero scores, scripts, formulas, and numbers beyond 64 bits."""
    server = ask.server
    rows = [row for id_ in server.run_test_ids for row in ask.run_test(id_, limit=500).json()["results"]]
    assert {row["status"] for row in rows} == STATUSES | {None}
    scores = {row["overall_score"] for row in rows}
    assert {0.0, None} < scores
    text = json.dumps(rows, ensure_ascii=False)
    for part in (
        "=1+1",
        "📦",
        "ש",
        "荷物",
        "طلبت",
        "\\u2028" if "\\u2028" in text else "\u2028",
        "\\n",
        '\\"',
    ):
        assert part in text, part
    details = [ask.detail(id_) for id_ in server.call_execution_ids()[:40]]
    assert any(b"18446744073709551617" in detail.body for detail in details)
    assert any("simulator_agent_name" not in row for row in rows if not row["is_snapshot"])
    assert any(isinstance(value, str) for row in rows for value in (row["eval_outputs"] or {}).values())


def test_a_call_of_which_nothing_is_known(ask: Any) -> None:
    """Completed, with nothing but its existence."""
    rows = ask.run_test(ask.server.run_test_ids[2], limit=50).json()["results"]
    bare = [row for row in rows if not row["is_snapshot"] and row["phone_number"] is None]
    assert bare
    nothing = ("overall_score", "response_time", "audio_url", "customer_name", "duration", "session_id")
    assert all(row[key] is None for row in bare for key in nothing)
    assert all(row["transcript"] == [] and row["scenario_columns"] == {} for row in bare)


def test_chats_speak_in_messages(ask: Any) -> None:
    """Detail turns have `messages` and a `content` list; version rows have no transcript at all."""
    server = ask.server
    rows = ask.version(server.agent_versions[2], limit=20).json()["results"]
    assert all(row["transcripts"] == [] for row in rows)
    turns = ask.detail(rows[0]["id"]).json()["transcript"]
    assert all(isinstance(turn["messages"], list) and isinstance(turn["content"], list) for turn in turns)
    tools = [
        turn for row in rows for turn in ask.detail(row["id"]).json()["transcript"] if turn["role"] == "tool"
    ]
    assert tools
    assert all(turn["messages"] == [] for turn in tools)


def test_kpis_agree_with_the_rows(ask: Any) -> None:
    """Counts and sums are those of the calls; colliding names overwrite fixed keys."""
    server = ask.server
    run_test = server.add_run_test(60)
    execution = ask.run_test(run_test).json()["results"][0]["test_execution_id"]
    rows = ask.execution(execution, limit=100).json()["results"]
    kpis = ask.kpis(execution).json()
    assert kpis["total_calls"] == len(rows) == 60
    assert kpis["failed_calls"] == sum(row["status"] == "failed" for row in rows)
    assert kpis["total_duration"] == sum(row["duration"] or 0 for row in rows)
    assert kpis["calls_attempted"] == sum(row["status"] != "pending" for row in rows)
    assert kpis["connected_calls"] == sum(bool(row["duration"]) for row in rows)
    small = ask.kpis(server.test_execution_ids[2]).json()
    assert isinstance(small["agent_type"], dict)
    assert small["avg_score"] > 10


def test_slim_rows_are_small(ask: Any) -> None:
    """Few fields, and the ones that matter for reading lists."""
    server = ask.server
    rows = ask.run_test(server.add_run_test(30, slim=True, snapshots=3), limit=50).json()["results"]
    assert len(rows) == 33
    assert max(len(json.dumps(row)) for row in rows) < 700
    assert all({"id", "timestamp", "status"} <= row.keys() for row in rows)
    version = ask.version(server.add_agent_version(30, slim=True), limit=50).json()["results"]
    assert all({"id", "updated_at", "eval_outputs"} <= row.keys() for row in version)
    assert len(version) == 30
    assert ask.detail(rows[0]["id"]).status == 200


@pytest.mark.parametrize("dialect", ["served", "documented"])
def test_altered_values_are_sent_wherever_the_call_is(start: Any, dialect: str) -> None:
    """On every list and in the detail, under keys that are there; altering again starts from what was."""
    ask = start(dialect=dialect)
    call_id = ask.server.version_rows(*ask.server.agent_versions[0])[3]
    before = rows_of_call(ask, call_id)
    altered = {"overall_score": "7.5", "session_id": 12345}
    ask.server.alter_call(call_id, altered)
    rows = rows_of_call(ask, call_id)
    assert rows == [was | {key: altered[key] for key in altered if key in was} for was in before]
    assert [row["overall_score"] for row in rows] == ["7.5"] * 4
    assert {row.get("session_id", 12345) for row in rows} == {12345}
    ask.server.alter_call(call_id, {"status": None})
    assert rows_of_call(ask, call_id) == [was | {"status": None} for was in before]
    ask.server.alter_call(call_id, {})
    assert rows_of_call(ask, call_id) == before


def rows_of_call(ask: Any, call_id: str) -> list[dict[str, Any]]:
    """Return what the detail and the three lists say of a call."""
    server = ask.server
    replies = (
        ask.run_test(server.run_test_ids[0], limit=500),
        ask.version(server.agent_versions[0], limit=500),
        ask.execution(server.test_execution_ids[0], limit=500),
    )
    rows = [row for reply in replies for row in reply.json()["results"] if row["id"] == call_id]
    return [ask.detail(call_id).json(), *rows]


@pytest.mark.parametrize("dialect", ["served", "documented"])
def test_altered_kpis_are_sent(start: Any, dialect: str) -> None:
    """Only those, and only of this execution."""
    ask = start(dialect=dialect)
    execution, other, _ = ask.server.test_execution_ids
    before, untouched = ask.kpis(execution).json(), ask.kpis(other).json()
    altered = {"total_calls": "many", "avg_score": None}
    ask.server.alter_kpis(execution, altered)
    assert ask.kpis(execution).json() == before | altered
    assert ask.kpis(other).json() == untouched


def test_an_altered_call_stays_so_when_it_changes(start: Any) -> None:
    """Its place is that of its real key; what is altered is a copy."""
    ask = start(demo=False, request_seconds=0.05)
    run_test = ask.server.add_run_test(1, slim=True)
    altered: dict[str, Any] = {"timestamp": 5, "call_summary": ["mine"]}
    ask.server.alter_call(*ask.server.run_test_rows(run_test), altered)
    altered["call_summary"].append("mine no more")
    ask.server.move(run_test, Motion(updates=10))
    ask.server.clock.advance(2)
    (row,) = ask.run_test(run_test).json()["results"]
    assert (row["timestamp"], row["call_summary"]) == (5, ["mine"])


def test_impossible_alterations_are_refused(start: Any) -> None:
    """Unknown things and keys, and values that are no JSON; nothing is altered then."""
    server = start().server
    call_id, execution = server.call_execution_ids()[0], server.test_execution_ids[0]
    for alter, thing in ((server.alter_call, call_id), (server.alter_kpis, execution)):
        with pytest.raises(ValueError, match="has the keys fast, slow"):
            alter(thing, {"slow": 1, "fast": 2})
        with pytest.raises(ValueError, match=r"no (call|test execution) 'unknown'"):
            alter("unknown", {})
        with pytest.raises(ValueError, match="JSON"):
            alter(thing, {"id": float("nan")})
        with pytest.raises(TypeError, match="JSON"):
            alter(thing, {"id": object()})


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
        with pytest.raises(RuntimeError, match="already running"):
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


@pytest.mark.quick(1)
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


def test_a_virtual_clock_stands_still() -> None:
    """It moves when told, exactly, and date and reading move together."""
    clock = VirtualClock(request_seconds=0.5)
    moment, date = clock.monotonic(), clock.now()
    time.sleep(0.002)
    assert (clock.monotonic(), clock.now()) == (moment, date)
    clock.advance(1.5)
    assert clock.monotonic() == moment + 1.5
    assert clock.now() == date + timedelta(seconds=1.5)
    assert date.tzinfo is UTC
    with pytest.raises(ValueError, match="must not be negative"):
        clock.advance(-1)


def test_a_real_clock_follows_the_machine_and_can_be_moved_on() -> None:
    """Without virtual time it is the machine's, plus what was advanced."""
    clock = VirtualClock()
    assert abs(clock.monotonic() - time.monotonic()) < 1
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=1)
    clock.advance(3600)
    assert clock.now() - datetime.now(UTC) > timedelta(seconds=3590)


def test_each_request_takes_its_virtual_time(start: Any) -> None:
    """Found and refused ones, failures and disconnections: the journal's moments touch each other."""
    ask = start(request_seconds=0.25)
    begun = ask.server.clock.monotonic()
    ask.run_test(ask.server.run_test_ids[0])
    ask.version(ask.server.agent_versions[0])
    ask.execution(ask.server.test_execution_ids[0], page=0)
    ask.kpis(ask.server.test_execution_ids[0])
    ask("/nowhere/")
    ask.server.fail()
    ask.kpis(ask.server.test_execution_ids[0])
    ask.server.disconnect()
    with pytest.raises(OSError, match=r"closed|reset"):
        ask.kpis(ask.server.test_execution_ids[0])
    moments = [(request.started - begun, request.ended - begun) for request in ask.server.requests]
    assert moments == [pytest.approx((0.25 * i, 0.25 * (i + 1))) for i in range(7)]


def test_the_date_header_shows_whole_virtual_seconds(start: Any) -> None:
    """The moment at which the answer was ready, rounded down."""
    ask = start(request_seconds=0.4)
    for _ in range(5):
        reply = ask.kpis(ask.server.test_execution_ids[0])
        shown = parsedate_to_datetime(reply.headers["Date"])
        assert shown == ask.server.clock.now().replace(microsecond=0)


def test_sample_data_is_older_than_the_clock(start: Any) -> None:
    """No key lies in the future of virtual time."""
    ask = start(request_seconds=0.1)
    row = ask.run_test(ask.server.run_test_ids[0], limit=1).json()["results"][0]
    assert datetime.fromisoformat(row["timestamp"]) < ask.server.clock.now() - timedelta(hours=1)

"""Scripted faults: each meets the next matching requests, and is used up."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import time
from typing import Any

import pytest

from futureagi_async.testing import Motion


def test_fail_is_used_up_and_then_things_are_as_before(ask: Any) -> None:
    """A proxy's page with headers of choice, `times` times."""
    ask.server.fail(times=2, headers={"Retry-After": "3"})
    replies = [ask.kpis(ask.server.test_execution_ids[0]) for _ in range(3)]
    assert [reply.status for reply in replies] == [503, 503, 200]
    assert replies[0].headers["Retry-After"] == "3"
    assert replies[0].headers["Content-Type"].startswith("text/html")
    assert [request.status for request in ask.server.requests] == [503, 503, 200]


def test_faults_wait_for_their_path_and_their_turn(ask: Any) -> None:
    """`path_contains` looks at the query too; `after` lets matching requests pass first."""
    ask.server.fail("page=2", status=500, after=1)
    run_test = ask.server.run_test_ids[0]
    assert [ask.run_test(run_test, page=page).status for page in (1, 2, 1, 2, 2)] == [200, 200, 200, 500, 200]


def test_due_faults_come_in_the_order_of_the_script(ask: Any) -> None:
    """The first that is due is used; others keep waiting."""
    ask.server.fail(status=502, after=1)
    ask.server.fail(status=504, times=2)
    statuses = [ask.kpis(ask.server.test_execution_ids[0]).status for _ in range(4)]
    assert statuses == [504, 502, 504, 200]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (500, None, lambda body: json.loads(body)["code"] == "server_error"),
        (429, None, lambda body: json.loads(body)["result"]["code"] == "RATE_LIMITED"),
        (418, "plain", lambda body: body == b"plain"),
        (503, b'{"a": 1}', lambda body: body == b'{"a": 1}'),
        (404, {"detail": "x"}, lambda body: json.loads(body) == {"detail": "x"}),
    ],
)
def test_failure_bodies(ask: Any, status: int, body: Any, expected: Any) -> None:
    """Bodies as given, or what the API, its limiter or a proxy would say."""
    ask.server.fail(status=status, body=body)
    reply = ask.kpis(ask.server.test_execution_ids[0])
    assert reply.status == status
    assert expected(reply.body)


def test_disconnects(ask: Any) -> None:
    """Before the answer, with a reset, and within the body."""
    path = ask.server.test_execution_ids[0]
    whole = len(ask.kpis(path).body)
    ask.server.clear_requests()
    ask.server.disconnect()
    with pytest.raises(http.client.RemoteDisconnected):
        ask.kpis(path)
    ask.server.disconnect(reset=True)
    with pytest.raises(ConnectionResetError):
        ask.kpis(path)
    ask.server.disconnect(after_bytes=10)
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask.kpis(path)
    assert (len(caught.value.partial), caught.value.expected) == (10, whole - 10)
    assert ask.kpis(path).status == 200
    assert [request.status for request in ask.server.requests] == [0, 0, 200, 200]


def test_respond_sends_exactly_these_bytes(ask: Any) -> None:
    """Content type and encoding are claims; nothing is encoded."""
    body = gzip.compress(b"{}")[:-4]
    ask.server.respond(body=body, content_type="text/plain", content_encoding="gzip", status=203)
    reply = ask.kpis(ask.server.test_execution_ids[0])
    assert (reply.status, reply.body, reply.headers["Content-Encoding"]) == (203, body, "gzip")
    assert reply.headers["Content-Type"] == "text/plain"


def test_stalls_end_or_do_not(ask: Any) -> None:
    """A stall of some seconds answers late; within the body it sends the rest late."""
    ask.server.stall(seconds=0.05)
    ask.server.stall(seconds=0.05, after_bytes=5)
    for _ in range(2):
        begun = time.monotonic()
        assert ask.kpis(ask.server.test_execution_ids[0]).json()["total_calls"] == 230
        assert time.monotonic() - begun >= 0.05


def test_a_client_that_gives_up_frees_the_stalled_handler(ask: Any) -> None:
    """An endless stall ends with its connection, and is noted as unanswered."""
    ask.server.stall()
    connection = http.client.HTTPConnection(ask.server.base_url.removeprefix("http://"), timeout=10)
    connection.request("GET", "/simulate/x/")
    wait_until(lambda: ask.server.in_flight == 1)
    connection.close()
    wait_until(lambda: ask.server.in_flight == 0)
    assert [request.status for request in ask.server.requests] == [0]


def test_latency_is_real_and_may_change(ask: Any) -> None:
    """Requests of one moment overlap; the peak tells how many."""
    ask.server.latency_seconds = 0.2
    threads = [threading.Thread(target=ask.kpis, args=ask.server.test_execution_ids[:1]) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: ask.server.in_flight == 6)
    ask.server.latency_seconds = 0.0
    for thread in threads:
        thread.join()
    assert ask.server.peak_in_flight == 6
    ask.server.clear_requests()
    assert (ask.server.peak_in_flight, ask.server.requests) == (0, [])


def test_faults_can_be_forgotten(ask: Any) -> None:
    """`clear_faults` leaves nothing scripted; impossible scripts are refused."""
    ask.server.fail(times=100)
    ask.server.clear_faults()
    assert ask.kpis(ask.server.test_execution_ids[0]).status == 200
    with pytest.raises(ValueError, match="at least once"):
        ask.server.fail(times=0)


@pytest.mark.parametrize("dialect", ["served", "documented"])
@pytest.mark.parametrize("name", ["run_test", "version", "execution"])
def test_a_poisoned_call_breaks_the_pages_that_hold_it(start: Any, dialect: str, name: str) -> None:
    """HTML and 500 for them and for its detail, also of rows that were read before; other pages are well."""
    ask = start(dialect=dialect, demo=False)
    add, read = {
        "run_test": (ask.server.add_run_test, ask.run_test),
        "version": (ask.server.add_agent_version, ask.version),
        "execution": (ask.server.add_test_execution, ask.execution),
    }[name]
    thing = add(30, slim=True)
    rows = [row for page in (1, 2, 3) for row in read(thing, limit=10, page=page).json()["results"]]
    ask.server.poison(rows[17]["id"])
    replies = [read(thing, limit=10, page=page) for page in (1, 2, 3)]
    assert [reply.status for reply in replies] == [200, 500, 200]
    assert replies[1].headers["Content-Type"].startswith("text/html")
    assert b"<h1>Server Error (500)</h1>" in replies[1].body
    assert [read(thing, limit=1, page=page).status for page in (17, 18, 19)] == [200, 500, 200]
    assert [ask.detail(rows[place]["id"]).status for place in (16, 17)] == [200, 500]
    ask.server.clear_faults()
    assert read(thing, limit=10, page=2).json()["results"] == rows[10:20]
    assert ask.detail(rows[17]["id"]).status == 200


def test_a_call_stays_poisoned_when_it_changes(start: Any) -> None:
    """It moves to the front, and breaks the front then."""
    ask = start(demo=False, request_seconds=0.05)
    run_test = ask.server.add_run_test(1, slim=True)
    (call_id,) = ask.server.run_test_rows(run_test)
    ask.server.poison(call_id)
    ask.server.move(run_test, Motion(updates=10, inserts=10))
    ask.server.clock.advance(2)
    place = ask.server.run_test_rows(run_test).index(call_id) + 1
    assert ask.run_test(run_test, limit=1, page=place).status == 500
    with pytest.raises(ValueError, match="no call 'unknown'"):
        ask.server.poison("unknown")


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)

"""What changes between the statements of one request do to its page, and the truth to judge readers by."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest

from futureagi_async.testing import Motion


@pytest.fixture
def moving(start: Any) -> Any:
    """Return the way to ask a server whose requests take long: one virtual second each."""
    return start(demo=False, request_seconds=1.0)


def rows_of(reply: Any) -> list[dict[str, Any]]:
    return list(reply.json()["results"])


def test_rows_of_run_tests_may_be_newer_than_their_places(moving: Any) -> None:
    """Places are chosen first, rows are read later: a page is not sorted by the keys it shows."""
    run_test = moving.server.add_run_test(200, slim=True)
    moving.server.move(run_test, Motion(updates=30, gap_share=0.9))
    unsorted = 0
    for _ in range(10):
        keys = [
            datetime.fromisoformat(row["timestamp"]) for row in rows_of(moving.run_test(run_test, limit=200))
        ]
        assert len(keys) == 200
        unsorted += keys != sorted(keys, reverse=True)
    assert unsorted >= 8


def test_rows_of_run_tests_may_vanish_from_their_places(moving: Any) -> None:
    """A call deleted after its place was chosen is missing, although the count, taken last, is lower too."""
    run_test = moving.server.add_run_test(600, slim=True)
    moving.server.move(run_test, Motion(deletes=30, gap_share=0.9))
    short = 0
    for page in range(1, 6):
        body = moving.run_test(run_test, limit=60, page=page).json()
        short += len(body["results"]) < 60
        assert body["next"]
    assert short >= 3


def test_the_count_of_run_tests_is_taken_last(moving: Any) -> None:
    """It may exceed what the page, chosen before, could have held."""
    run_test = moving.server.add_run_test(50, slim=True)
    moving.server.move(run_test, Motion(inserts=20, gap_share=0.9))
    body = moving.run_test(run_test, limit=1000).json()
    assert body["count"] > len(body["results"]) >= 50


@pytest.mark.parametrize("name", ["version", "execution"])
def test_the_count_of_the_other_lists_cuts_their_rows(moving: Any, name: str) -> None:
    """A call that enters between count and rows pushes the oldest off a page that claims to be the last."""
    server = moving.server
    add = server.add_agent_version if name == "version" else server.add_test_execution
    thing = add(100, slim=True)
    server.move(thing, Motion(inserts=15, gap_share=0.9))
    lied = 0
    for _ in range(5):
        body = getattr(moving, name)(thing, limit=10_000).json()
        (request,) = server.requests[-1:]
        assert (body["next"], len(body["results"])) == (None, body["count"])
        missing = server.alive_throughout(thing, request.started, request.ended)
        lied += not missing <= {row["id"] for row in body["results"]}
    assert lied >= 4


def test_with_no_gap_a_page_is_one_instant(moving: Any) -> None:
    """Then count and rows belong together, and a page of everything is exactly the list."""
    execution = moving.server.add_test_execution(100, slim=True)
    moving.server.move(execution, Motion(inserts=15, updates=30, deletes=5, gap_share=0.0))
    for _ in range(5):
        body = moving.execution(execution, limit=10_000).json()
        (request,) = moving.server.requests[-1:]
        found = {row["id"] for row in body["results"]}
        assert moving.server.alive_throughout(execution, request.started, request.ended) <= found
        assert found <= moving.server.alive_sometime(execution, request.started, request.ended)
        assert len(found) == body["count"]


def test_naive_parallel_walks_lose_rows_that_were_always_there(moving: Any) -> None:
    """The reason for all this: updates alone make a walk miss rows alive throughout it."""
    execution = moving.server.add_test_execution(300, slim=True)
    moving.server.move(execution, Motion(updates=3))
    found: set[str] = set()
    for page in range(1, 16):
        found |= {row["id"] for row in rows_of(moving.execution(execution, limit=20, page=page))}
    start, end = moving.server.requests[0].started, moving.server.requests[-1].ended
    assert moving.server.alive_throughout(execution, start, end) - found
    assert found <= moving.server.alive_sometime(execution, start, end)


EVERYTHING = Motion(
    updates=5,
    inserts=4,
    deletes=3,
    soft_deletes=3,
    old_key_entries=4,
    tie_updates=0.1,
    commit_delay_seconds=(0.0, 1.0),
    clock_skew_seconds=0.5,
)


@pytest.mark.parametrize("status", [None, "completed"])
@pytest.mark.parametrize("name", ["run_test", "version", "execution"])
def test_the_truth_is_what_a_constant_observer_sees(moving: Any, name: str, status: str | None) -> None:
    """Alive throughout is the intersection, alive sometime the union of what was there at every moment."""
    server = moving.server
    add, rows = {
        "run_test": (server.add_run_test, lambda: moving.run_test(thing, limit=9999, status=status or "")),
        "version": (server.add_agent_version, lambda: moving.version(thing, limit=9999)),
        "execution": (server.add_test_execution, lambda: moving.execution(thing, limit=9999)),
    }[name]
    thing = add(60, slim=True)
    server.move(thing, EVERYTHING)
    server.clock.advance(3)
    start = server.clock.monotonic()
    always, ever = observe(server, thing, status, moments=400)
    end = server.clock.monotonic()
    assert server.alive_throughout(thing, start, end, status=status) == always
    assert server.alive_sometime(thing, start, end, status=status) == ever
    assert always < ever
    assert rows().status == 200


def observe(server: Any, thing: Any, status: str | None, moments: int) -> tuple[set[str], set[str]]:
    """Look at the list very often: which ids were there always, and which ever."""
    always, ever = None, set()
    for moment in range(moments):
        if moment:
            server.clock.advance(0.01)
        now = server.clock.monotonic()
        seen = server.alive_throughout(thing, now, now, status=status)
        if status is None:
            rows = (
                server.version_rows(*thing) if isinstance(thing, tuple) else server.test_execution_rows(thing)
            )
            assert seen == set(rows)
        always = seen if always is None else always & seen
        ever |= seen
    assert always is not None
    return always, ever


def test_the_future_is_not_known(moving: Any) -> None:
    """Moments that have not come are refused."""
    run_test = moving.server.add_run_test(10, slim=True)
    now = moving.server.clock.monotonic()
    assert len(moving.server.alive_throughout(run_test, now, now)) == 10
    with pytest.raises(ValueError, match="not come yet"):
        moving.server.alive_throughout(run_test, now, now + 1)


def test_motion_stays_quick(start: Any) -> None:
    """3,000 rows and 100 changes a second: pages, and the truth, cost a few times those of a list at rest."""
    ask = start(demo=False, request_seconds=0.05)
    at_rest, moving = (ask.server.add_run_test(3000, slim=True, tie_size=3) for _ in range(2))
    ask.server.move(moving, Motion(updates=90, inserts=5, deletes=5))

    def cpu_seconds(run_test: str) -> float:
        before, begun = len(ask.server.requests), time.process_time()
        for page in range(1, 31):
            assert len(rows_of(ask.run_test(run_test, limit=100, page=page))) > 90
        requests = ask.server.requests[before:]
        assert ask.server.alive_throughout(run_test, requests[0].started, requests[-1].ended)
        return time.process_time() - begun

    ratio = cpu_seconds(moving) / cpu_seconds(at_rest)
    assert ratio < 4

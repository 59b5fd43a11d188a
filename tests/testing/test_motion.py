"""Lists in motion: what each kind of change does to rows, keys, counts and pages."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from futureagi_async.testing import Motion


@pytest.fixture
def moving(start: Any) -> Any:
    """Return the way to ask a server on virtual time, without sample data."""
    return start(demo=False, request_seconds=0.05)


def rows_of(reply: Any) -> list[dict[str, Any]]:
    return list(reply.json()["results"])


def key_of(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row.get("updated_at") or row["timestamp"])


def test_nothing_moves_without_virtual_time(start: Any) -> None:
    """A motion that wall time drove could not be repeated."""
    ask = start()
    with pytest.raises(ValueError, match="virtual clock"):
        ask.server.move(ask.server.run_test_ids[0], Motion(updates=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"updates": -1.0}, "updates"),
        ({"commit_delay_seconds": (2.0, 1.0)}, "least, most"),
        ({"gap_share": 1.5}, "gap_share"),
        ({"tie_size": 0}, "tie_size"),
    ],
)
def test_impossible_motions_are_refused(options: dict[str, Any], message: str) -> None:
    """When they are made, not when they are used."""
    with pytest.raises(ValueError, match=message):
        Motion(**options)


def test_equal_requests_meet_equal_data(start: Any) -> None:
    """Wall time plays no part: bodies are the same, request by request."""
    motion = Motion(updates=40, inserts=5, deletes=3, soft_deletes=3, tie_updates=0.5, seed=5)
    bodies = []
    for _ in range(2):
        ask = start(demo=False, request_seconds=0.05)
        run_test = ask.server.add_run_test(300, slim=True, snapshots=20)
        ask.server.move(run_test, motion)
        replies = [ask.run_test(run_test, limit=50, page=page) for page in (1, 2, 3, 4, 5, 6, 7, 1)]
        bodies.append([reply.body.replace(ask.server.base_url.encode(), b"") for reply in replies])
    assert bodies[0] == bodies[1]
    assert bodies[0][0] != bodies[0][7]


def test_the_script_does_not_depend_on_how_time_is_cut(start: Any) -> None:
    """One long wait or a thousand short ones: the same rows in the end."""
    found = []
    for steps in (1, 1000):
        ask = start(demo=False, request_seconds=0.05)
        version = ask.server.add_agent_version(200, slim=True)
        everything = Motion(
            updates=10, inserts=2, deletes=2, old_key_entries=2, tie_updates=0.2, commit_delay_seconds=(0, 2)
        )
        ask.server.move(version, everything)
        for _ in range(steps):
            ask.server.clock.advance(8 / steps)
            ask.server.version_rows(*version)
        found.append(ask.server.version_rows(*version))
    assert found[0] == found[1]
    assert len(found[0]) > 200


@pytest.mark.parametrize("name", ["run_test", "version", "execution"])
def test_updates_move_rows_to_the_front(moving: Any, name: str) -> None:
    """The newest keys are of this moment, the content tells its revision, and nobody is lost."""
    server = moving.server
    thing = {
        "run_test": server.add_run_test,
        "version": server.add_agent_version,
        "execution": server.add_test_execution,
    }[name](200, slim=True)
    read = getattr(moving, name)
    before = {row["id"] for row in rows_of(read(thing, limit=500))}
    server.move(thing, Motion(updates=20))
    server.clock.advance(2)
    rows = rows_of(read(thing, limit=500))
    assert {row["id"] for row in rows} == before
    changed = [row for row in rows if row["call_summary"] != "revision 0"]
    assert 20 < len(changed) < 60
    assert rows[: len(changed)] == changed
    now = server.clock.now()
    assert all(now - timedelta(seconds=2.1) <= key_of(row) <= now for row in changed)


def test_a_changed_call_changes_on_every_endpoint(moving: Any) -> None:
    """One call, one truth: run test, execution, version and detail agree."""
    server = moving.server
    run_test = server.add_run_test(50)
    moving.run_test(run_test, limit=50)
    server.move(run_test, Motion(updates=5))
    server.clock.advance(1)
    server.stop_motion()
    row = next(row for row in rows_of(moving.run_test(run_test)) if not row["is_snapshot"])
    detail = moving.detail(row["id"]).json()
    inside = {r["id"]: r for r in rows_of(moving.execution(row["test_execution_id"], limit=100))}[row["id"]]
    assert row["timestamp"] == detail["timestamp"] == inside["timestamp"]
    assert "revision" in detail["call_summary"]


def test_inserts_and_deletes_change_the_count(moving: Any) -> None:
    """New calls stand at the front and have a detail; deleted ones are gone with their snapshots."""
    server = moving.server
    run_test = server.add_run_test(100, slim=True, snapshots=40)
    server.move(run_test, Motion(deletes=10))
    server.clock.advance(3)
    server.stop_motion()
    left = rows_of(moving.run_test(run_test, limit=500))
    calls = {row["id"] for row in left if not row["is_snapshot"]}
    assert 50 < len(calls) < 90
    assert {r["original_call_execution_id"] for r in left if r["is_snapshot"]} <= calls
    server.move(run_test, Motion(inserts=10))
    server.clock.advance(3)
    rows = rows_of(moving.run_test(run_test, limit=500))
    new = [row for row in rows if row["id"] not in {row["id"] for row in left}]
    assert 10 < len(new) < 50
    assert rows[: len(new)] == new
    assert moving.detail(new[0]["id"]).status == 200


def test_soft_deleted_rows_gather_at_the_front_of_run_tests(moving: Any) -> None:
    """They are counted there, not delivered, and leave the other lists."""
    server = moving.server
    run_test = server.add_run_test(100, slim=True)
    server.move(run_test, Motion(soft_deletes=20))
    server.clock.advance(2)
    server.stop_motion()
    body = moving.run_test(run_test, limit=20).json()
    assert (body["count"], body["results"]) == (100, [])
    assert body["next"]
    delivered = server.run_test_rows(run_test)
    assert 40 < len(delivered) < 80
    assert set(server.call_execution_ids()) == set(delivered)


def test_soft_deleted_calls_leave_execution_lists(moving: Any) -> None:
    """There the count falls."""
    execution = moving.server.add_test_execution(100, slim=True)
    moving.server.move(execution, Motion(soft_deletes=20))
    moving.server.clock.advance(2)
    body = moving.execution(execution, limit=200).json()
    assert body["count"] == len(body["results"]) < 90


def test_tie_updates_give_one_key_to_many(moving: Any) -> None:
    """A job saves fifty calls at once, which then come in another order for each question."""
    execution = moving.server.add_test_execution(300, slim=True)
    moving.server.move(execution, Motion(tie_updates=1))
    moving.server.clock.advance(4)
    moving.server.stop_motion()
    rows = rows_of(moving.execution(execution, limit=300))
    newest = [row for row in rows if row["timestamp"] == rows[0]["timestamp"]]
    assert len(newest) == 50
    orders = [[r["id"] for r in rows_of(moving.execution(execution, limit=50))] for _ in range(2)]
    assert orders[0] != orders[1]
    assert set(orders[0]) == set(orders[1])


def test_calls_enter_version_lists_with_old_keys(moving: Any) -> None:
    """They come in between the others; their family's other lists gain nothing."""
    server = moving.server
    agent, version = server.add_agent_version(100, slim=True)
    before = rows_of(moving.version((agent, version), limit=500))
    server.move((agent, version), Motion(old_key_entries=10))
    server.clock.advance(3)
    rows = rows_of(moving.version((agent, version), limit=500))
    new = [row for row in rows if row["id"] not in {row["id"] for row in before}]
    assert 10 < len(new) < 60
    assert min(map(key_of, before)) <= min(map(key_of, new))
    assert max(map(key_of, new)) <= max(map(key_of, before))
    assert [key_of(row) for row in rows] == sorted(map(key_of, rows), reverse=True)
    others = {moving.detail(row["id"]).json()["id"] for row in new}
    assert others == {row["id"] for row in new}


def test_calls_enter_filtered_lists_with_old_keys(moving: Any) -> None:
    """A change of status that touches no key: the list itself stands still, its filtered form does not."""
    server = moving.server
    run_test = server.add_run_test(200, slim=True)
    order = server.run_test_rows(run_test)
    before = {row["id"] for row in rows_of(moving.run_test(run_test, limit=500, status="completed"))}
    started = server.clock.monotonic()
    server.move(run_test, Motion(old_key_entries=10))
    server.clock.advance(3)
    server.stop_motion()
    after = {row["id"] for row in rows_of(moving.run_test(run_test, limit=500, status="completed"))}
    assert before - after
    assert after - before
    assert server.run_test_rows(run_test) == order
    ended = server.clock.monotonic()
    assert server.alive_throughout(run_test, started, ended, status="completed") <= before & after
    assert server.alive_throughout(run_test, started, ended) == set(order)


def test_late_commits_show_keys_of_the_past(moving: Any) -> None:
    """A change carries the key of its moment, and is seen only later."""
    server = moving.server
    execution = server.add_test_execution(300, slim=True)
    server.move(execution, Motion(updates=30, commit_delay_seconds=(1.0, 3.0)))
    begun = server.clock.now()
    seen: set[str] = set()
    for _ in range(60):
        server.clock.advance(0.05)
        now = server.clock.now()
        rows = [row for row in rows_of(moving.execution(execution, limit=100)) if key_of(row) > begun]
        fresh = [row for row in rows if row["id"] + row["timestamp"] not in seen]
        seen |= {row["id"] + row["timestamp"] for row in rows}
        assert all(now - key_of(row) >= timedelta(seconds=0.9) for row in fresh)
    assert len(seen) > 30


def test_some_writers_clocks_are_off(moving: Any) -> None:
    """Keys lie up to the skew before or after the moment; some may be of the future."""
    server = moving.server
    execution = server.add_test_execution(300, slim=True)
    server.move(execution, Motion(updates=50, clock_skew_seconds=2.0))
    begun = server.clock.now()
    server.clock.advance(2)
    rows = rows_of(moving.execution(execution, limit=300))
    keys = [key_of(row) for row in rows if row["call_summary"] != "revision 0"]
    assert begun - timedelta(seconds=2) <= min(keys) < max(keys) <= server.clock.now() + timedelta(seconds=2)
    assert min(keys) < begun or max(keys) > server.clock.now()


def test_motions_follow_their_seed(start: Any) -> None:
    """Another seed, other changes."""
    found = []
    for seed in (1, 1, 2):
        ask = start(demo=False, request_seconds=0.05)
        run_test = ask.server.add_run_test(100, slim=True)
        ask.server.move(run_test, Motion(updates=10, seed=seed))
        ask.server.clock.advance(3)
        found.append(json.dumps(ask.server.run_test_rows(run_test)))
    assert found[0] == found[1] != found[2]


def test_a_deleted_execution_leaves_holes_in_its_run_test(moving: Any) -> None:
    """The places are counted where they were: a page in the middle is empty, and has a next one."""
    server = moving.server
    run_test = server.add_run_test(90, slim=True, executions=(30, 40, 20))
    executions = server.run_test_executions(run_test)
    before = [row["id"] for row in rows_of(moving.run_test(run_test, limit=90))]
    server.delete_execution(executions[1])
    pages = [moving.run_test(run_test, limit=20, page=page).json() for page in (1, 2, 3, 4, 5)]
    assert [len(page["results"]) for page in pages] == [20, 0, 0, 20, 10]
    assert [(page["count"], page["next"] is None) for page in pages] == [(90, False)] * 4 + [(90, True)]
    left = [row["id"] for page in pages for row in page["results"]]
    assert left == before[:20] + before[60:] == server.run_test_rows(run_test)
    assert server.run_test_executions(run_test) == [executions[0], executions[2]]


def test_a_deleted_execution_leaves_the_other_lists(moving: Any) -> None:
    """Its calls have no detail and no place in a version; its neighbours stay."""
    server = moving.server
    version = server.add_agent_version(60, slim=False, executions=(40, 20))
    newest, *_, oldest = server.version_rows(*version)
    kept, deleted = (moving.detail(id_).json()["test_execution_id"] for id_ in (oldest, newest))
    gone = set(server.test_execution_rows(deleted))
    assert len(gone) == 20
    server.delete_execution(deleted)
    assert {moving.detail(id_).status for id_ in gone} == {404}
    assert moving.version(version, limit=100).json()["count"] == 40
    assert moving.execution(kept, limit=100).json()["count"] == 40
    assert server.test_execution_rows(deleted) == []
    assert gone.isdisjoint(server.call_execution_ids())


def test_snapshots_of_a_deleted_execution_stay(moving: Any) -> None:
    """They have a mark of their own, which the statement does not set."""
    server = moving.server
    run_test = server.add_run_test(60, slim=True, snapshots=6)
    server.delete_execution(*server.run_test_executions(run_test))
    body = moving.run_test(run_test, limit=100).json()
    assert [row["is_snapshot"] for row in body["results"]] == [True] * 6
    assert body["count"] == 66


@pytest.mark.parametrize("dialect", ["served", "documented"])
def test_a_deleted_execution_is_not_found(start: Any, dialect: str) -> None:
    """The served dialect says so with a 500 for its calls; the KPIs, and the documents, with a 404."""
    ask = start(dialect=dialect)
    execution = ask.server.test_execution_ids[0]
    count = ask.run_test(ask.server.run_test_ids[0]).json()["count"]
    ask.server.delete_execution(execution)
    reply = ask.execution(execution)
    assert reply.status == (500 if dialect == "served" else 404)
    assert dialect == "documented" or "No TestExecution matches" in reply.json()["message"]
    assert ask.kpis(execution).status == 404
    left = ask.run_test(ask.server.run_test_ids[0]).json()["count"]
    assert left == (
        count if dialect == "served" else 26
    )  # documented lists hold what they deliver: snapshots
    assert ask.kpis(ask.server.test_execution_ids[1]).status == 200


def test_wrong_deletions_are_refused(start: Any) -> None:
    """Unknown and deleted executions, and moments that cannot come."""
    ask = start(demo=False)
    execution = ask.server.add_test_execution(5, slim=True)
    with pytest.raises(ValueError, match="virtual clock"):
        ask.server.delete_execution(execution, after_seconds=1)
    ask.server.delete_execution(execution)
    for unknown in (execution, "unknown"):
        with pytest.raises(ValueError, match="no test execution"):
            ask.server.delete_execution(unknown)
    with pytest.raises(ValueError, match="no run test"):
        ask.server.run_test_executions(execution)
    with pytest.raises(ValueError, match="add up to the 5 calls"):
        ask.server.add_run_test(5, executions=(2, 2))


def test_a_deletion_within_a_request_meets_its_statements(moving: Any) -> None:
    """The places were read before it, the rows after it: counted, and already gone."""
    server = moving.server
    run_test = server.add_run_test(50, slim=True, executions=(20, 30))
    newest = server.run_test_executions(run_test)[1]
    server.delete_execution(newest, after_seconds=0.022)  # statements at 0.02, 0.025 and 0.03 of 0.05 s
    body = moving.run_test(run_test, limit=40).json()
    assert (len(body["results"]), body["count"]) == (10, 50)
    (request,) = server.requests
    began = server.alive_throughout(run_test, request.started, request.started)
    throughout = server.alive_throughout(run_test, request.started, request.ended)
    assert (len(began), len(throughout)) == (50, 20)
    assert throughout == set(server.run_test_rows(run_test))
    assert server.alive_sometime(run_test, request.started, request.ended) == began
    assert server.alive_throughout(newest, request.started, request.ended) == set()
    assert len(server.alive_sometime(newest, request.started, request.ended)) == 30


def test_a_deletion_before_a_request_is_seen_by_it(moving: Any) -> None:
    """The request that comes next does not find the execution, although nobody looked meanwhile."""
    execution = moving.server.add_test_execution(5, slim=True)
    moving.server.delete_execution(execution, after_seconds=1)
    assert moving.execution(execution).json()["count"] == 5
    moving.server.clock.advance(1)
    assert moving.execution(execution).status == 500


def test_an_execution_is_deleted_while_its_calls_change(moving: Any) -> None:
    """No change under way brings a call back, and none enters the deleted execution."""
    server = moving.server
    run_test = server.add_run_test(120, slim=True, executions=(60, 60))
    kept, deleted = server.run_test_executions(run_test)
    before = {*server.test_execution_rows(kept), *server.test_execution_rows(deleted)}
    gone = set(server.test_execution_rows(deleted))
    everything = Motion(
        updates=30, inserts=10, old_key_entries=20, tie_updates=1, commit_delay_seconds=(1, 2)
    )
    server.move(run_test, everything)
    server.move(deleted, Motion(inserts=10))
    server.clock.advance(2)
    gone |= set(server.test_execution_rows(deleted))
    server.delete_execution(deleted)
    moment = server.clock.monotonic()
    for _ in range(10):
        server.clock.advance(1)
        assert gone.isdisjoint(server.run_test_rows(run_test))
    assert server.test_execution_rows(deleted) == []
    assert set(server.test_execution_rows(kept)) - before
    assert gone.isdisjoint(server.alive_sometime(run_test, moment + 0.001, server.clock.monotonic()))


@pytest.fixture
def statements_server(start: Any) -> Any:
    """Return the way to ask a server whose requests take long: one virtual second each."""
    return start(demo=False, request_seconds=1.0)


def test_rows_of_run_tests_may_be_newer_than_their_places(statements_server: Any) -> None:
    """Places are chosen first, rows are read later: a page is not sorted by the keys it shows."""
    run_test = statements_server.server.add_run_test(200, slim=True)
    statements_server.server.move(run_test, Motion(updates=30, gap_share=0.9))
    unsorted = 0
    for _ in range(10):
        keys = [
            datetime.fromisoformat(row["timestamp"])
            for row in rows_of(statements_server.run_test(run_test, limit=200))
        ]
        assert len(keys) == 200
        unsorted += keys != sorted(keys, reverse=True)
    assert unsorted >= 8


def test_rows_of_run_tests_may_vanish_from_their_places(statements_server: Any) -> None:
    """A call deleted after its place was chosen is missing, although the count, taken last, is lower too."""
    run_test = statements_server.server.add_run_test(600, slim=True)
    statements_server.server.move(run_test, Motion(deletes=30, gap_share=0.9))
    short = 0
    for page in range(1, 6):
        body = statements_server.run_test(run_test, limit=60, page=page).json()
        short += len(body["results"]) < 60
        assert body["next"]
    assert short >= 3


def test_the_count_of_run_tests_is_taken_last(statements_server: Any) -> None:
    """It may exceed what the page, chosen before, could have held."""
    run_test = statements_server.server.add_run_test(50, slim=True)
    statements_server.server.move(run_test, Motion(inserts=20, gap_share=0.9))
    body = statements_server.run_test(run_test, limit=1000).json()
    assert body["count"] > len(body["results"]) >= 50


@pytest.mark.parametrize("name", ["version", "execution"])
def test_the_count_of_the_other_lists_cuts_their_rows(statements_server: Any, name: str) -> None:
    """A call that enters between count and rows pushes the oldest off a page that claims to be the last."""
    server = statements_server.server
    add = server.add_agent_version if name == "version" else server.add_test_execution
    thing = add(100, slim=True)
    server.move(thing, Motion(inserts=15, gap_share=0.9))
    lied = 0
    for _ in range(5):
        body = getattr(statements_server, name)(thing, limit=10_000).json()
        (request,) = server.requests[-1:]
        assert (body["next"], len(body["results"])) == (None, body["count"])
        missing = server.alive_throughout(thing, request.started, request.ended)
        lied += not missing <= {row["id"] for row in body["results"]}
    assert lied >= 4


def test_with_no_gap_a_page_is_one_instant(statements_server: Any) -> None:
    """Then count and rows belong together, and a page of everything is exactly the list."""
    execution = statements_server.server.add_test_execution(100, slim=True)
    statements_server.server.move(execution, Motion(inserts=15, updates=30, deletes=5, gap_share=0.0))
    for _ in range(5):
        body = statements_server.execution(execution, limit=10_000).json()
        (request,) = statements_server.server.requests[-1:]
        found = {row["id"] for row in body["results"]}
        assert statements_server.server.alive_throughout(execution, request.started, request.ended) <= found
        assert found <= statements_server.server.alive_sometime(execution, request.started, request.ended)
        assert len(found) == body["count"]


def test_naive_parallel_walks_lose_rows_that_were_always_there(statements_server: Any) -> None:
    """The reason for all this: updates alone make a walk miss rows alive throughout it."""
    execution = statements_server.server.add_test_execution(300, slim=True)
    statements_server.server.move(execution, Motion(updates=3))
    found: set[str] = set()
    for page in range(1, 16):
        found |= {row["id"] for row in rows_of(statements_server.execution(execution, limit=20, page=page))}
    start, end = statements_server.server.requests[0].started, statements_server.server.requests[-1].ended
    assert statements_server.server.alive_throughout(execution, start, end) - found
    assert found <= statements_server.server.alive_sometime(execution, start, end)


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
def test_the_truth_is_what_a_constant_observer_sees(
    statements_server: Any, name: str, status: str | None
) -> None:
    """Alive throughout is the intersection, alive sometime the union of what was there at every moment."""
    server = statements_server.server
    add, rows = {
        "run_test": (
            server.add_run_test,
            lambda: statements_server.run_test(thing, limit=9999, status=status or ""),
        ),
        "version": (server.add_agent_version, lambda: statements_server.version(thing, limit=9999)),
        "execution": (server.add_test_execution, lambda: statements_server.execution(thing, limit=9999)),
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


def test_the_future_is_not_known(statements_server: Any) -> None:
    """Moments that have not come are refused."""
    run_test = statements_server.server.add_run_test(10, slim=True)
    now = statements_server.server.clock.monotonic()
    assert len(statements_server.server.alive_throughout(run_test, now, now)) == 10
    with pytest.raises(ValueError, match="in the future"):
        statements_server.server.alive_throughout(run_test, now, now + 1)


def test_motion_stays_quick(start: Any) -> None:
    """3,000 rows and 100 changes a second: pages, and the truth, cost a few times those of a list at rest."""
    ask = start(demo=False, request_seconds=0.05)
    at_rest, statements_server = (ask.server.add_run_test(3000, slim=True, tie_size=3) for _ in range(2))
    ask.server.move(statements_server, Motion(updates=90, inserts=5, deletes=5))

    def cpu_seconds(run_test: str) -> float:
        before, begun = len(ask.server.requests), time.process_time()
        for page in range(1, 31):
            assert len(rows_of(ask.run_test(run_test, limit=100, page=page))) > 90
        requests = ask.server.requests[before:]
        assert ask.server.alive_throughout(run_test, requests[0].started, requests[-1].ended)
        return time.process_time() - begun

    ratio = cpu_seconds(statements_server) / cpu_seconds(at_rest)
    assert ratio < 8

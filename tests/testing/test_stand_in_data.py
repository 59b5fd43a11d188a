"""The sample data: the same for the same seed, consistent over the endpoints, and awkward on purpose."""

from __future__ import annotations

import json
from typing import Any

import pytest

from futureagi_async.testing import Motion, StandInServer

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

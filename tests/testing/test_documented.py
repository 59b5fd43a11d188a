"""The documented dialect: what the published documents promise."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest


def words(text: str) -> set[str]:
    """Return the key names in a text."""
    return set(text.split())


DETAIL = words(
    """
    id service_provider_call_id session_id status duration start_time timestamp call_type transcript scenario
    scenario_id scenario_columns overall_score response_time eval_outputs eval_metrics audio_url recordings
    customer_name call_summary ended_reason simulatorAgentName simulatorAgentId agent_definition_used_name
    agent_definition_used_id tool_outputs rerun_snapshots avg_agent_latency user_interruption_count
    user_interruption_rate user_wpm bot_wpm talk_ratio ai_interruption_count ai_interruption_rate
    avg_stop_time_after_interruption total_tokens input_tokens output_tokens avg_latency_ms turn_count
    csat_score stt_cost llm_cost tts_cost storage_cost total_cost
    """
)

RUN_TEST = words(
    """
    id session_id status duration start_time transcript scenario overall_score eval_outputs eval_metrics
    customer_name call_summary ended_reason avg_agent_latency scenario_id is_snapshot rerun_type created_at
    """
)

VERSION = words(
    """
    id service_provider_call_id session_id status duration start_time transcript scenario overall_score
    eval_outputs eval_metrics scenario_columns customer_name call_summary ended_reason created_at
    """
)

EXECUTION = words(
    """
    id status duration transcript overall_score eval_outputs scenario created_at
    """
)

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def one_filter(column: str, kind: str, operator: str, value: Any) -> str:
    config = {"filter_type": kind, "filter_op": operator, "filter_value": value}
    return json.dumps([{"column_id": column, "filter_config": config}])


def test_key_sets_are_the_documented_ones(ask_documented: Any) -> None:
    """Exactly the documented names on all four kinds of rows."""
    ask, server = ask_documented, ask_documented.server
    for number in range(3):
        for row in ask.run_test(server.run_test_ids[number], limit=500).json()["results"]:
            assert row.keys() == RUN_TEST
        for row in ask.version(server.agent_versions[number], limit=500).json()["results"]:
            assert row.keys() == VERSION
        for row in ask.execution(server.test_execution_ids[number], limit=500).json()["results"]:
            assert row.keys() == EXECUTION
            assert MOMENT.fullmatch(row["created_at"])
    assert ask.detail(server.call_execution_ids()[0]).json().keys() == DETAIL


def test_envelopes_and_defaults(ask_documented: Any) -> None:
    """Only test executions have `total_pages`, and 30 rows a page by default."""
    ask, server = ask_documented, ask_documented.server
    for body in (ask.run_test(server.run_test_ids[0]).json(), ask.version(server.agent_versions[0]).json()):
        assert body.keys() == {"count", "next", "previous", "results"}
        assert len(body["results"]) == 10
    body = ask.execution(server.test_execution_ids[0]).json()
    assert len(body["results"]) == 30
    assert body.keys() == {
        *("count", "next", "previous", "results", "total_pages", "current_page"),
        *("column_order", "status", "error_messages", "provider", "agent_type"),
    }


def test_units_are_the_documented_ones(start: Any) -> None:
    """Seconds instead of milliseconds, a scenario object, a score of 100, shares of 1, dollars."""
    served, documented = start(seed=3), start(seed=3, dialect="documented")
    (call_id, *_) = served.version(served.server.agent_versions[0], limit=1).json()["results"]
    theirs = served.detail(call_id["id"]).json()
    ours = documented.detail(call_id["id"]).json()
    assert ours["avg_agent_latency"] == theirs["avg_agent_latency"] / 1000
    assert ours["total_cost"] == theirs["cost_cents"] / 100
    assert 0 <= (ours["talk_ratio"] or 0) <= 1
    assert {turn["role"] for turn in ours["transcript"]} <= {
        turn["speaker_role"] for turn in theirs["transcript"]
    }
    rows = documented.run_test(documented.server.run_test_ids[0], limit=500).json()["results"]
    (row,) = [row for row in rows if row["id"] == call_id["id"]]
    assert row["overall_score"] == round(theirs["overall_score"] * 10, 1)
    assert (
        row["scenario"] == {"id": theirs["scenario_id"], "name": theirs["scenario"]}
        or row["scenario"] is None
    )
    assert any(row["scenario"] is None for row in rows)


def test_nothing_soft_deleted_takes_a_place(ask_documented: Any) -> None:
    """The count is what is delivered."""
    server = ask_documented.server
    run_test = server.add_run_test(40, deleted=10)
    body = ask_documented.run_test(run_test, limit=100).json()
    assert body["count"] == len(body["results"]) == 30


@pytest.mark.parametrize("query", [{"page": 0}, {"limit": -1}, {"limit": "x"}, {"page": "1.5"}])
def test_bad_pages_are_a_bad_request(ask_documented: Any, query: dict[str, Any]) -> None:
    """400 with a JSON body on all three lists; past the end is empty."""
    ask, server = ask_documented, ask_documented.server
    replies = [
        ask.run_test(server.run_test_ids[0], **query),
        ask.version(server.agent_versions[0], **query),
        ask.execution(server.test_execution_ids[0], **query),
    ]
    assert [reply.status for reply in replies] == [400] * 3
    assert all(isinstance(reply.json()["detail"], str) for reply in replies)
    assert ask.run_test(server.run_test_ids[0], page=1000).json()["results"] == []


def test_unknown_things_are_404_with_json(ask_documented: Any) -> None:
    """Test executions too."""
    nobody = "00000000-0000-4000-8000-000000000000"
    ask = ask_documented
    replies = [ask.detail(nobody), ask.run_test(nobody), ask.version((nobody, nobody)), ask.execution(nobody)]
    replies.append(ask.kpis(nobody))
    assert [reply.status for reply in replies] == [404] * 5
    assert all("not found" in reply.json()["detail"] for reply in replies)
    assert ask(f"/simulate/call-executions/{nobody}/", keys=False).status == 401


def test_documented_filters_work(ask_documented: Any) -> None:
    """Every documented column and the documented spelling of operators; anything else is a 400."""
    ask, execution_id = ask_documented, ask_documented.server.test_execution_ids[0]
    rows = ask.execution(execution_id, limit=500).json()["results"]
    ids = [row["id"] for row in rows[:3]]

    def found(*condition: Any) -> list[dict[str, Any]]:
        body = ask.execution(execution_id, limit=500, filters=one_filter(*condition)).json()
        return list(body["results"])

    assert {row["status"] for row in found("status", "text", "equals", "completed")} == {"completed"}
    assert {row["id"] for row in found("call_execution_id", "list", "in", ids)} == set(ids)
    assert len(found("call_execution_id", "text", "equals", ids[0])) == 1
    inside = found("overall_score", "number", "between", [2, 5])
    assert inside
    assert len(found("overall_score", "number", "not_in_between", [2, 5])) == len(rows) - len(inside)
    assert 0 < len(found("response_time", "number", "between", [0.5, 0.9])) < len(rows)
    for bad in (
        ("nope", "text", "equals", "x"),
        ("status", "text", "starts_with", "x"),
        ("status", "x", "in", [1]),
    ):
        assert ask.execution(execution_id, filters=one_filter(*bad)).status == 400


def test_documented_groups_work(ask_documented: Any) -> None:
    """Groups by a column, and the calls of a group."""
    ask, execution_id = ask_documented, ask_documented.server.test_execution_ids[0]
    groups = ask.execution(execution_id, row_groups='["scenario"]').json()
    assert groups["count"] == len(groups["results"]) == 4
    assert sum(group["count"] for group in groups["results"]) == 225
    first = groups["results"][0]
    keys = json.dumps([first["scenario"]])
    inside = ask.execution(execution_id, row_groups='["scenario"]', group_keys=keys, limit=500).json()
    assert inside["count"] == first["count"]
    assert {row["scenario"] for row in inside["results"]} == {first["scenario"]}
    assert ask.execution(execution_id, row_groups='["nope"]').status == 400


def test_documented_kpis_are_those_of_the_agent_type(ask_documented: Any) -> None:
    """CamelCase where documented, and only the voice or only the text averages."""
    ask, server = ask_documented, ask_documented.server
    voice, text = (ask.kpis(id_).json() for id_ in server.test_execution_ids[:2])
    shared = {"callsAttempted", "connectedCalls", "callsConnectedPercentage", "scenarioGraphs", "total_calls"}
    assert shared <= voice.keys() & text.keys()
    assert "agentTalkPercentage" in voice.keys() - text.keys()
    assert "avg_total_tokens" in text.keys() - voice.keys()
    assert voice["avg_response"] < 10
    assert (text["is_inbound"], voice["avg_politeness"] > 1) == (None, True)


class Filtered:
    """Applies filters to the sample voice execution and holds its unfiltered rows."""

    def __init__(self, ask: Any) -> None:
        self.ask = ask
        self.execution_id = ask.server.test_execution_ids[0]
        self.rows = ask.execution(self.execution_id, limit=1000).json()["results"]

    def __call__(self, *condition: Any) -> list[dict[str, Any]]:
        filters = one_filter(*condition)
        body = self.ask.execution(self.execution_id, limit=1000, filters=filters).json()
        assert body["error_messages"] == []
        assert body["count"] == len(body["results"])
        return list(body["results"])


@pytest.fixture
def filtered(shared_ask: Any) -> Filtered:
    return Filtered(shared_ask)


def test_status_is_matched_without_case_and_by_alternatives(filtered: Filtered) -> None:
    """Words, lists and comma-joined strings."""
    completed = {row["id"] for row in filtered.rows if row["status"] == "completed"}
    assert {row["id"] for row in filtered("status", "text", "equals", "COMPLETED")} == completed
    either = sum(row["status"] in {"failed", "queued"} for row in filtered.rows)
    for operator, value in (
        ("equals", ["failed", "queued"]),
        ("equals", "failed,queued"),
        ("in", ["failed", "queued"]),
    ):
        assert len(filtered("status", "text", operator, value)) == either
    assert len(filtered("status", "text", "not_in", ["failed", "queued"])) == len(filtered.rows) - either


def test_numbers_compare_and_negations_keep_missing_ones(filtered: Filtered) -> None:
    """The raw score, seconds of response time, and SQL's idea of NULL."""
    scores = [row["overall_score"] for row in filtered.rows]
    between = sum(score is not None and 4 <= score <= 6 for score in scores)
    assert 0 < between < len(scores)
    assert len(filtered("overall_score", "number", "between", [4, 6])) == between
    assert len(filtered("overall_score", "number", "not_between", [4, 6])) == len(scores) - between
    zero = sum(score == 0 for score in scores)
    assert len(filtered("overall_score", "number", "equals", 0)) == zero > 0
    assert all(row["response_time"] > 0.9 for row in filtered("response_time", "number", "greater_than", 0.9))
    assert all(row["duration"] < 60 for row in filtered("duration", "number", "less_than", "60"))


def test_datetimes_filter_the_creation(filtered: Filtered) -> None:
    """`equals` is a whole UTC day of the creation time, which the row does not even show."""
    day = len(filtered("created_at", "datetime", "equals", "2026-01-10T12:00:00Z"))
    later = len(filtered("timestamp", "datetime", "greater_than_or_equal", "2026-01-11T00:00:00"))
    assert day + later == len(filtered.rows)
    window = ["2026-01-10T09:00:00Z", "2026-01-10T10:00:00Z"]
    inside = len(filtered("timestamp", "datetime", "between", window))
    assert 0 < inside < day
    assert len(filtered("timestamp", "datetime", "not_between", window)) == len(filtered.rows) - inside


def test_words_of_scenario_and_call_type(filtered: Filtered) -> None:
    """`scenario` equals with case, contains without; `call_type` looks at the provider's word."""
    assert filtered("scenario", "text", "equals", "lost parcel") == []
    assert {row["scenario"] for row in filtered("scenario", "text", "contains", "PARCEL")} == {"Lost parcel"}
    inbound = filtered("call_type", "text", "equals", "Inbound")
    shown = [row for row in filtered.rows if row["call_type"] == "Inbound"]
    assert 0 < len(inbound) < len(shown)
    assert filtered("call_type", "text", "equals", "bogus") == []


def test_ids_and_evaluations(filtered: Filtered) -> None:
    """Ids only as categorical `in`; scores of evaluations as 0 to 100."""
    some = [row["id"] for row in filtered.rows[3:9]]
    found = filtered(
        "call_execution_id", "categorical", "in", [*some, "00000000-0000-4000-8000-000000000000"]
    )
    assert {row["id"] for row in found} == set(some)
    columns = filtered.ask.execution(filtered.execution_id, limit=1).json()["column_order"]
    evals = {column["column_name"]: column["id"] for column in columns if column.get("type") == "evaluation"}
    high = filtered(evals["Politeness"], "number", "greater_than", 80)
    assert high
    assert all(row["eval_outputs"][evals["Politeness"]]["value"] > 0.8 for row in high)
    passed = filtered(evals["Goal Reached"], "text", "equals", "passed")
    assert {row["eval_outputs"][evals["Goal Reached"]]["value"] for row in passed} == {"Passed"}
    assert filtered(evals["Not Started"], "number", "greater_than", 0) == []


def test_dataset_columns_by_name_id_and_scenario_form(filtered: Filtered) -> None:
    """Three spellings of one column; a number filter on its text is a 500."""
    columns = filtered.ask.execution(filtered.execution_id, limit=1).json()["column_order"]
    (column,) = [column for column in columns if column["id"] == "Ideal Outcome"]
    column_id = column["dataset_column_ids"][0]
    spellings = ("Ideal Outcome", column_id, f"scenario_{column['scenario_id']}_dataset_{column_id}")
    sizes = {len(filtered(spelling, "text", "equals", "escalated")) for spelling in spellings}
    assert len(sizes) == 1
    assert 0 < sizes.pop() < len(filtered.rows)
    bad = one_filter("Ideal Outcome", "number", "greater_than", 1)
    reply = filtered.ask.execution(filtered.execution_id, filters=bad)
    assert (reply.status, "invalid input syntax" in reply.json()["message"]) == (500, True)
    reply = filtered.ask.execution(filtered.execution_id, filters=one_filter("status", "text", "equals", 5))
    assert reply.status == 500


def test_several_problems_are_told_at_once(ask: Any) -> None:
    """A 400 names every field that is wrong."""
    body = ask.execution(ask.server.test_execution_ids[0], page=0, limit="x", ordering="id").json()
    assert body["details"].keys() == {"page", "limit", "ordering"}
    assert body["attr"] == "page"


def test_run_test_search_knows_wildcards(ask: Any) -> None:
    """`%` and `_` match anything; letters match without case; the text is trimmed."""
    run_test = ask.server.run_test_ids[0]

    def count(text: str) -> int:
        return int(ask.run_test(run_test, search=text).json()["count"])

    total = count("")
    assert 0 < count(" lost PARCEL ") < total
    assert count("l_st%cel") == count("lost parcel")
    assert count("%") == total
    assert 0 < count("50\\% off\\_coupon (v2) [draft]") < total
    assert count("交換") > 0
    assert 0 < count("+41440000012") < total
    assert count("no such thing") == 0


def test_run_test_status_is_exact(ask: Any) -> None:
    """One value, with its case; snapshots have a status of their own; unknown ones find nothing."""
    run_test = ask.server.run_test_ids[0]
    rows = ask.run_test(run_test, status="completed", limit=500).json()["results"]
    assert {row["status"] for row in rows} == {"completed"}
    assert {row["is_snapshot"] for row in rows} == {True, False}
    assert ask.run_test(run_test, status="COMPLETED").json()["count"] == 0
    counts = [
        ask.run_test(run_test, status=s).json()["count"] for s in ("pending", "queued", "ongoing", "failed")
    ]
    assert all(counts)


def test_execution_search_reads_transcripts_and_cells(ask: Any) -> None:
    """What was said on the phone is found, what was written in a chat is not."""
    voice, text = ask.server.test_execution_ids[:2]
    assert ask.execution(voice, search="SERVICE DESK").json()["count"] > 0
    assert ask.execution(text, search="service desk").json()["count"] == 0
    assert ask.execution(voice, search="escal_ted").json()["count"] > 0
    assert ask.execution(voice, search="zzz nothing").json()["count"] == 0


def test_filters_and_search_are_both_needed(ask: Any) -> None:
    """They narrow each other."""
    voice = ask.server.test_execution_ids[0]
    completed = one_filter("status", "text", "equals", "completed")
    both = ask.execution(voice, search="lost parcel", filters=completed, limit=500).json()["results"]
    assert both
    assert {(row["status"], row["scenario"]) for row in both} == {("completed", "Lost parcel")}


def test_basic_groups_never_work(ask: Any) -> None:
    """Even the documented example is a 500, for an empty execution too."""
    for execution_id in (ask.server.test_execution_ids[0], ask.server.add_test_execution(0)):
        reply = ask.execution(execution_id, row_groups='["scenario"]')
        assert (reply.status, "has no attribute 'Cast'" in reply.json()["message"]) == (500, True)


def test_dataset_groups_are_those_of_all_executions(ask: Any) -> None:
    """Aggregates without ids, relative links, and the same rows for another execution."""
    server = ask.server
    columns = ask.execution(server.test_execution_ids[0]).json()["column_order"]
    (column,) = [column for column in columns if column["id"] == "priority"]
    group = json.dumps([f"scenario_{column['scenario_id']}_dataset_{column['dataset_column_ids'][0]}"])
    one = ask.execution(server.test_execution_ids[0], row_groups=group).json()
    other = ask.execution(server.test_execution_ids[1], row_groups=group).json()
    assert one["count"] == other["count"] > 30
    assert len(one["results"]) == 30
    assert one["next"] == "?page=2"
    rows = [row | {"column": None} for row in one["results"]]
    assert all("id" not in row and row["count"] > 0 for row in rows)
    assert not {"status", "provider", "agent_type"} & one.keys()

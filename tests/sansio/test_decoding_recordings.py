"""Contract: every recorded answer of the vendor's server decodes, or maps to the right error."""

import json
import math
from datetime import datetime
from typing import Any

import msgspec
import pytest

from futureagi_async import errors
from futureagi_async._sansio import decoding, requests
from futureagi_async._sansio.replies import Reply, check_reply, error_of
from futureagi_async.models import CallExecution, EvalOutput, TestExecutionPage
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls, TestExecutionCalls
from tests.support.samples import Recording, recordings

LISTS = {
    "run_test_call_executions": (requests.RUN_TEST_CALLS, RunTestCalls),
    "version_call_executions": (requests.VERSION_CALLS, AgentVersionCalls),
    "test_execution": (requests.TEST_EXECUTION, TestExecutionCalls),
}
SAME_NAME = (
    "id status session_id service_provider_call_id call_type duration overall_score customer_name "
    "call_summary ended_reason audio_url simulator_agent_name simulator_agent_id "
    "agent_definition_used_name agent_definition_used_id user_interruption_count "
    "user_interruption_rate user_wpm bot_wpm talk_ratio ai_interruption_count ai_interruption_rate "
    "total_tokens input_tokens output_tokens avg_latency_ms turn_count csat_score scenario_id "
    "rerun_type original_call_execution_id test_execution_id eval_metrics scenario_columns recordings "
    "tool_outputs is_snapshot simulation_call_type "
).split()
OTHER_NAME = {
    "scenario_name": "scenario",
    "started_at": "start_time",
    "updated_at": "timestamp",
    "duration_seconds": "duration",
    "customer_number": "customer_name",
    "recording_url": "audio_url",
    "response_time_seconds": "response_time",
}
TIMES = ("timestamp", "start_time", "created_at", "snapshot_timestamp")
SPECIAL = {
    "scenario",
    "response_time",
    "avg_agent_latency",
    "avg_stop_time_after_interruption",
    "transcript",
    "transcripts",
    "eval_outputs",
    "rerun_snapshots",
    *TIMES,
}


def _holds_body(recording: Recording) -> bool:
    return recording.status == 200 and recording.method == "GET"


def _holds_groups(recording: Recording) -> bool:
    return _holds_body(recording) and bool(json.loads(recording.query.get("row_groups", "[]")))


def _holds_calls(recording: Recording) -> bool:
    return _holds_body(recording) and not _holds_groups(recording)


def _list_source(recording: Recording) -> CallSource:
    ids = [part for part in recording.path.split("/") if len(part) == 36 and part.count("-") == 4]
    kind = LISTS[recording.endpoint][1]
    return kind(*ids)


def _decode_page(recording: Recording) -> Any:
    source, endpoint = _list_source(recording), LISTS[recording.endpoint][0]
    wire = decoding.decode_list(recording.body, endpoint)
    decoded = decoding.decode_records(wire.results, 0, source, endpoint)
    return decoding.build_page(wire, decoded, source, page=1, limit=10, endpoint=endpoint)


def _check_call(call: CallExecution, row: dict[str, Any]) -> None:
    """Compare one decoded call with the row it was sent as."""
    assert call.id == row["id"]
    for name in SAME_NAME:
        if name in row:
            assert getattr(call, name) == row[name], name
    for key, name in OTHER_NAME.items():
        if key in row and name not in row and name not in (*TIMES, "scenario"):
            assert getattr(call, name) == row[key], key
    for name in TIMES:
        sent = row.get(name, row.get({"timestamp": "updated_at", "start_time": "started_at"}.get(name, "")))
        assert getattr(call, name) == (datetime.fromisoformat(sent) if sent else None), name
    assert call.scenario is not None
    assert call.scenario.name == row.get("scenario", row.get("scenario_name"))
    _check_units(call, row)
    _check_turns(call, row)
    _check_evals(call.eval_outputs, row["eval_outputs"])
    known = {*SAME_NAME, *SPECIAL, *(key for key, name in OTHER_NAME.items() if name not in row)}
    assert call.extra == {key: value for key, value in row.items() if key not in known}
    assert msgspec.json.decode(call.raw) == row


def _check_units(call: CallExecution, row: dict[str, Any]) -> None:
    for name in ("avg_agent_latency", "avg_stop_time_after_interruption"):
        sent = row.get(name)
        assert getattr(call, name) == (None if sent is None else sent / 1000), name
    sent = row.get("response_time", row.get("response_time_seconds"))
    if row.get("is_snapshot") and sent is not None:
        sent /= 1000
    assert call.response_time == sent


def _check_turns(call: CallExecution, row: dict[str, Any]) -> None:
    sent = row.get("transcript", row.get("transcripts"))
    if call.transcript is None:
        assert sent == []
        withheld = isinstance(call.source, TestExecutionCalls) or row["simulation_call_type"] == "text"
        assert withheld
        return
    assert len(call.transcript) == len(sent)
    for turn, raw in zip(call.transcript, sent, strict=True):
        assert turn.role == raw.get("role", raw.get("speaker_role"))
        assert turn.content == ("\n".join(raw["messages"]) if "messages" in raw else raw["content"])
        if "start_time_ms" in raw:
            expected = raw.get("start_time_seconds", raw["start_time_ms"] / 1000)
            assert turn.start_seconds == expected
            end = raw.get("end_time_seconds", raw["end_time_ms"] / 1000 or None)
            assert turn.end_seconds == end
        assert all(turn.extra[key] == raw[key] for key in ("id", "created_at", "tool_calls") if key in raw)


def _check_evals(outputs: Any, sent: Any) -> None:
    if sent is None:
        assert outputs is None
        return
    assert list(outputs) == list(sent)
    for key, entry in sent.items():
        output: EvalOutput = outputs[key]
        assert output.id == key
        if not isinstance(entry, dict):
            assert output.value == entry
            continue
        assert output.value == entry.get("value", entry.get("output"))
        assert output.type == entry.get("type", entry.get("output_type"))
        assert (output.name, output.reason, output.status) == tuple(
            entry.get(name) for name in ("name", "reason", "status")
        )
        assert output.error == entry.get("error", False)
        assert output.pending == (set(entry) <= {"status"} and entry.get("status") in (None, "pending"))


@pytest.mark.parametrize("recording", recordings(*LISTS, that=_holds_calls))
def test_recorded_list_pages_decode(recording: Recording) -> None:
    """A recorded page gives every row with the values sent, in documented units."""
    page = _decode_page(recording)
    assert not page.failures
    assert page.count == recording.json["count"]
    assert page.has_next == (recording.json["next"] is not None)
    assert page.total_pages == recording.json["total_pages"]
    assert page.current_page == recording.json["current_page"]
    for call, row in zip(page.calls, recording.json["results"], strict=True):
        _check_call(call, row)
        for snapshot, sent in zip(call.rerun_snapshots or (), row.get("rerun_snapshots", ()), strict=True):
            assert snapshot.id == sent["id"]
            assert snapshot.is_snapshot
            assert snapshot.original_call_execution_id == call.id
            assert snapshot.audio_url == sent["recording_url"]
            _check_evals(snapshot.eval_outputs, sent["eval_outputs"])
    if isinstance(page, TestExecutionPage):
        assert page.status == recording.json["status"]
        assert page.error_messages == tuple(recording.json["error_messages"])
        assert [column.id for column in page.column_order] == [
            column["id"] for column in recording.json.get("column_order", ())
        ]


@pytest.mark.parametrize("recording", recordings("test_execution", that=_holds_groups))
def test_recorded_groups_decode(recording: Recording) -> None:
    """Recorded grouped rows come as mappings, as sent."""
    groups = decoding.decode_groups(recording.body, requests.TEST_EXECUTION, page=1, limit=30)
    assert list(groups.groups) == recording.json["results"]
    assert groups.has_next == (recording.json["next"] is not None)


@pytest.mark.parametrize("recording", recordings("call_execution", that=_holds_body))
def test_recorded_details_decode(recording: Recording) -> None:
    """A recorded detail gives the values sent, in documented units."""
    call = decoding.decode_call(recording.body, requests.CALL)
    assert call.source is None
    _check_call(call, recording.json)


@pytest.mark.parametrize("recording", recordings("kpis", that=_holds_body))
def test_recorded_kpis_decode(recording: Recording) -> None:
    """Recorded key figures come in documented units; collisions are flagged."""
    kpis = decoding.decode_kpis(recording.body, requests.KPIS)
    in_ms = {"avg_response", "avg_agent_latency", "avg_stop_time_after_interruption"}
    for name, sent in recording.json.items():
        if isinstance(sent, dict) and "choices" in sent:
            counts = {word: count for word, count in sent.items() if word != "choices"}
            assert kpis.choice_counts[name] == counts
            assert (name in kpis.collisions) == hasattr(kpis, name)
        elif hasattr(kpis, name):
            expected = sent / 1000 if name in in_ms else sent
            assert getattr(kpis, name) == expected, name
        else:
            assert math.isclose(kpis.eval_averages[name.removeprefix("avg_")], sent)
    assert not kpis.extra


EXPECTED_CLASSES = {
    301: errors.RedirectError,
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    405: errors.APIStatusError,
    406: errors.APIStatusError,
    414: errors.APIStatusError,
    500: errors.InternalServerError,
}


@pytest.mark.parametrize("recording", recordings())
def test_recorded_errors_map(recording: Recording) -> None:
    """A recorded error becomes the class of its status, with the server's message and request id."""
    reply = Reply(recording.status, recording.headers, recording.body)
    if recording.status == 200:
        check_reply(reply)
        return
    error = error_of(reply)
    not_found = any(part in str(recording.json) for part in ("No TestExecution matches", "Invalid page."))
    expected = errors.NotFoundError if not_found else EXPECTED_CLASSES[recording.status]
    assert type(error) is expected
    assert error.status == recording.status
    assert error.request_id == recording.headers.get("x-request-id")
    if isinstance(recording.json, dict) and not not_found:
        assert error.message.startswith(recording.json["message"])
    deterministic = isinstance(recording.json, dict) and recording.status == 500
    assert error.retryable == (recording.status == 500 and not deterministic)

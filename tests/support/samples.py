"""The vendor server's recorded answers, where they lie beside the checkout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from futureagi_async._sansio import decoding, requests
from futureagi_async._sansio.decoding import Checks
from futureagi_async.models import CallExecution, CallPage, RecordFailure
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls, TestExecutionCalls

FOLDER = Path(__file__).parents[3] / "shared" / "recordings"


class Recording:
    """One HTTP exchange."""

    def __init__(self, path: Path) -> None:
        data: dict[str, Any] = json.loads(path.read_text())
        self.endpoint = path.parent.name
        self.case = path.stem
        self.path: str = data["request"]["path"]
        self.query: dict[str, str] = dict(data["request"].get("query_params", ()))
        self.method: str = data["request"]["method"]
        self.status: int = data["status"]
        self.headers: dict[str, str] = {name.lower(): value for name, value in data["headers"]}
        self.json: Any = data["body"]
        body = data["body"]
        self.body = body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()

    def __repr__(self) -> str:
        return f"{self.endpoint}/{self.case}"


def recordings(*endpoints: str, that: Callable[[Recording], object] = lambda _: True) -> list[Any]:
    """Return the recordings as test parameters; one skipped parameter where there are none."""
    found = [
        recording
        for path in sorted(FOLDER.glob("*/*.json"))
        if not endpoints or path.parent.name in endpoints
        if that(recording := Recording(path))
    ]
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason="no recordings beside this checkout"))]
    return [pytest.param(recording, id=repr(recording)) for recording in found]


CALL_ID = "11111111-1111-4111-8111-111111111111"
SNAPSHOT_ID = "22222222-2222-4222-8222-222222222222"
SCENARIO_ID = "33333333-3333-4333-8333-333333333333"
EVAL_ID = "44444444-4444-4444-8444-444444444444"
RUN_TEST = RunTestCalls("55555555-5555-4555-8555-555555555555")
VERSION = AgentVersionCalls("66666666-6666-4666-8666-666666666666", "77777777-7777-4777-8777-777777777777")
EXECUTION = TestExecutionCalls("88888888-8888-4888-8888-888888888888")

Row = dict[str, Any]


def changed(row: Row, changes: Row) -> Row:
    """Return a row with other values; ``...`` removes a key."""
    return {key: value for key, value in (row | changes).items() if value is not ...}


def served_turn(**changes: Any) -> Row:
    """Build a voice turn as the served API sends it."""
    turn = {
        "id": "t1",
        "speaker_role": "assistant",
        "content": "Grüß Gott, what can I do?",
        "start_time_ms": 1200,
        "start_time_seconds": 1.7,
        "end_time_ms": 2500,
        "end_time_seconds": 3.0,
        "confidence_score": 0.9,
        "created_at": "2026-02-01T10:00:00Z",
    }
    return changed(turn, changes)


def chat_turn(**changes: Any) -> Row:
    """Build a chat message as the served API sends it."""
    turn = {
        "id": "t2",
        "role": "user",
        "messages": ["Hello.", "Anyone there?"],
        "content": [{"type": "text", "text": "Hello."}],
        "session_id": "s9",
        "tool_calls": [],
        "created_at": "2026-02-01T10:00:00Z",
    }
    return changed(turn, changes)


def served_row(**changes: Any) -> Row:
    """Build a voice call as the served detail and run-test list send it."""
    row = {
        "id": CALL_ID,
        "service_provider_call_id": "provider-1",
        "session_id": None,
        "timestamp": "2026-02-01T10:05:00.250000Z",
        "call_type": "Inbound",
        "status": "completed",
        "duration": 61,
        "duration_seconds": 61,
        "start_time": "2026-02-01T10:00:00Z",
        "transcript": [served_turn(), served_turn(id="t3", speaker_role="user", content="Nothing.")],
        "scenario": "Refund",
        "scenario_id": SCENARIO_ID,
        "overall_score": 7.5,
        "response_time": 1.25,
        "response_time_ms": 1250,
        "audio_url": "https://audio.example/a.wav",
        "customer_name": "+15550100",
        "eval_outputs": {EVAL_ID: served_eval()},
        "eval_metrics": {EVAL_ID: {"id": EVAL_ID, "name": "Tone", "visible": True}},
        "scenario_columns": {"persona": {"value": {"age": 40}, "visible": True}},
        "ended_reason": "customer-ended-call",
        "call_summary": "A refund was asked for.",
        "recordings": {"combined": "https://audio.example/c.wav", "customer": None},
        "test_execution_id": EXECUTION.test_execution_id,
        "avg_agent_latency": 900,
        "avg_agent_latency_ms": 900,
        "user_interruption_count": 2,
        "user_interruption_rate": 1.97,
        "user_wpm": 120.5,
        "bot_wpm": 140,
        "talk_ratio": 1.4,
        "ai_interruption_count": 0,
        "ai_interruption_rate": 0.0,
        "avg_stop_time_after_interruption": 350,
        "total_tokens": None,
        "csat_score": 8.5,
        "turn_count": 12,
        "rerun_snapshots": [],
        "is_snapshot": False,
        "snapshot_timestamp": None,
        "rerun_type": None,
        "original_call_execution_id": None,
        "tool_outputs": None,
        "cost_cents": 12,
        "simulation_call_type": "voice",
        "simulator_agent_name": "Simulator",
        "agent_definition_used_name": "Support",
        "provider": "vapi",
    }
    return changed(row, changes)


def served_chat_row(**changes: Any) -> Row:
    """Build a chat call as the served detail and run-test list send it."""
    chat = {
        "transcript": [chat_turn(), chat_turn(id="t4", role="assistant", messages=["Yes."])],
        "simulation_call_type": "text",
        "recordings": {},
        "audio_url": None,
        "duration": 33.25,
        "duration_seconds": None,
        "avg_agent_latency": None,
        "avg_agent_latency_ms": None,
        "avg_stop_time_after_interruption": None,
        "total_tokens": 300.5,
        "input_tokens": 200,
        "output_tokens": 100.5,
        "avg_latency_ms": 640,
    }
    return served_row(**(chat | changes))


def served_snapshot_row(**changes: Any) -> Row:
    """Build a rerun snapshot as the served run-test list mixes it in."""
    row = {
        "id": SNAPSHOT_ID,
        "timestamp": "2026-02-01T09:00:00Z",
        "call_type": "outboundPhoneCall",
        "status": None,
        "duration": 59,
        "transcript": [{"speaker_role": "user", "content": "Hi.", "start_time_ms": 500, "end_time_ms": 0}],
        "scenario": "Refund",
        "overall_score": None,
        "response_time": 1250,
        "audio_url": None,
        "customer_name": "+15550100",
        "eval_outputs": {EVAL_ID: raw_eval()},
        "eval_metrics": {},
        "scenario_columns": {},
        "recordings": {
            "mono": {
                "combined_url": "https://audio.example/m.wav",
                "customer_url": None,
                "assistant_url": "https://audio.example/b.wav",
            },
            "stereo_url": "https://audio.example/s.wav",
        },
        "scenario_id": SCENARIO_ID,
        "avg_agent_latency": 800,
        "avg_stop_time_after_interruption": 400,
        "is_snapshot": True,
        "snapshot_timestamp": "2026-02-01T09:00:00Z",
        "rerun_type": "call_and_eval",
        "original_call_execution_id": CALL_ID,
        "error_localizer_tasks": [],
    }
    return changed(row, changes)


def nested_snapshot(**changes: Any) -> Row:
    """Build a rerun snapshot as the served test execution puts it into a call."""
    row = {
        "id": SNAPSHOT_ID,
        "status": "completed",
        "started_at": "2026-02-01T08:00:00Z",
        "completed_at": "2026-02-01T08:01:00Z",
        "duration_seconds": 60,
        "recording_url": "https://audio.example/n.wav",
        "stereo_recording_url": "https://audio.example/n2.wav",
        "response_time_ms": 1500,
        "avg_agent_latency_ms": 700,
        "avg_stop_time_after_interruption_ms": 300,
        "customer_number": "+15550100",
        "snapshot_timestamp": "2026-02-01T09:00:00Z",
        "rerun_type": "call_and_eval",
        "transcripts": [served_turn()],
        "eval_outputs": {EVAL_ID: raw_eval()},
    }
    return changed(row, changes)


def served_version_row(**changes: Any) -> Row:
    """Build a row of the served version list, which names nearly everything differently."""
    row = {
        "id": CALL_ID,
        "status": "completed",
        "started_at": "2026-02-01T10:00:00Z",
        "completed_at": "2026-02-01T10:01:01Z",
        "created_at": "2026-02-01T09:59:00Z",
        "updated_at": "2026-02-01T10:05:00Z",
        "duration_seconds": 61,
        "recording_url": "https://audio.example/v.wav",
        "stereo_recording_url": "https://audio.example/v2.wav",
        "scenario_name": "Refund",
        "transcripts": [served_turn()],
        "response_time_ms": 1250,
        "response_time_seconds": 1.25,
        "customer_number": "+15550100",
        "call_type": None,
        "call_metadata": {"user_api_key": "provider-secret"},
        "provider_call_data": {"vapi": {}},
        "eval_outputs": {EVAL_ID: raw_eval()},
        "simulation_call_type": "voice",
        "agent_version": VERSION.version_id,
        "cost_cents": 12,
    }
    return changed(row, changes)


def documented_row(**changes: Any) -> Row:
    """Build a call as the documents describe the detail."""
    row = {
        "id": CALL_ID,
        "service_provider_call_id": "provider-1",
        "session_id": "session-1",
        "status": "completed",
        "duration": 61.5,
        "start_time": "2026-02-01T10:00:00+02:00",
        "timestamp": "2026-02-01T10:05:00",
        "call_type": "Outbound",
        "transcript": [{"role": "user", "content": "Hi."}, {"role": "tool_calls", "content": "refund()"}],
        "scenario": "Refund",
        "scenario_id": SCENARIO_ID,
        "scenario_columns": [{"column_name": "persona", "value": "Ada"}],
        "overall_score": 7.5,
        "response_time": 1.25,
        "eval_outputs": {"Tone": {"value": 0.5, "type": "score", "reason": "Friendly."}},
        "eval_metrics": {"Tone": 0.5},
        "audio_url": "https://audio.example/d.wav",
        "recordings": {"combined": "https://audio.example/d.wav"},
        "customer_name": "Ada",
        "simulatorAgentName": "Simulator",
        "simulatorAgentId": "sim-1",
        "tool_outputs": {"refund": {"value": "done"}},
        "rerun_snapshots": [],
        "avg_agent_latency": 0.9,
        "avg_stop_time_after_interruption": 0.35,
        "user_interruption_rate": 0.2,
        "stt_cost": 0.01,
        "llm_cost": 0.02,
        "tts_cost": 0.03,
        "storage_cost": 0,
        "total_cost": 0.06,
    }
    return changed(row, changes)


def documented_run_test_row(**changes: Any) -> Row:
    """Build a row of a run test's list as documented: the scenario is an object."""
    row = documented_row(
        scenario={"id": SCENARIO_ID, "name": "Refund"},
        is_snapshot=False,
        rerun_type=None,
        created_at="2026-02-01T09:59:00Z",
        timestamp=...,
    )
    return changed(row, changes)


def served_eval(**changes: Any) -> Row:
    """Build an evaluation's result as the served detail sends it."""
    sent = {
        "value": 85.5,
        "reason": "Friendly.",
        "type": "score",
        "name": "Tone",
        "error": False,
        "status": "Completed",
        "skipped": False,
    }
    return changed(sent, changes)


def raw_eval(**changes: Any) -> Row:
    """Build an evaluation's result as snapshots and version rows send it."""
    sent = {
        "output": "Passed",
        "reason": "Fine.",
        "output_type": "Pass/Fail",
        "name": "Safe",
        "status": "completed",
    }
    return changed(sent, changes)


LENIENT, STRICT = Checks(), Checks(strict=True)
ENDPOINTS = {
    RunTestCalls: requests.RUN_TEST_CALLS,
    AgentVersionCalls: requests.VERSION_CALLS,
    TestExecutionCalls: requests.TEST_EXECUTION,
}


def envelope(rows: list[Any], **changes: Any) -> bytes:
    """Build a list's body."""
    body = {
        "count": len(rows),
        "next": None,
        "previous": None,
        "results": rows,
        "total_pages": 1,
        "current_page": 1,
    }
    return json.dumps(changed(body, changes), ensure_ascii=False).encode()


def decode_page(
    body: bytes, source: CallSource = RUN_TEST, *, page: int = 1, limit: int = 10, checks: Checks = LENIENT
) -> CallPage:
    """Decode a whole page at once, as a session does in slices."""
    endpoint = ENDPOINTS[type(source)]
    found = decoding.decode_list(body, endpoint, checks)
    decoded: list[CallExecution | RecordFailure] = []
    for start in range(0, len(found.results), 2):
        decoded += decoding.decode_records(found.results[start : start + 2], start, source, endpoint, checks)
    return decoding.build_page(
        found, decoded, source, page=page, limit=limit, endpoint=endpoint, checks=checks
    )


def decode_row(row: Row, source: CallSource = RUN_TEST, checks: Checks = LENIENT) -> CallExecution:
    """Decode one row of a list."""
    page = decode_page(envelope([row]), source, checks=checks)
    assert not page.failures, page.failures
    return page.calls[0]


def decode_detail(row: Row, checks: Checks = LENIENT) -> CallExecution:
    """Decode a detail."""
    return decoding.decode_call(json.dumps(row, ensure_ascii=False).encode(), requests.CALL, checks)

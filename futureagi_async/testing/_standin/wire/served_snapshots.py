"""A rerun snapshot: the 34-key row of a run-test list and the 40-key object inside a test execution's row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.clock import iso_utc
from futureagi_async.testing._standin.data.scenarios import stored_evals
from futureagi_async.testing._standin.data.values import Turn, voice_turns
from futureagi_async.testing._standin.wire.transcripts import stored_transcript

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import Snapshot

Fields = dict[str, Any]

RERUN_TYPE = "call_and_eval"


def snapshot_row(snapshot: Snapshot) -> Fields:
    """Return the listed row: its own id, milliseconds for `response_time`, results in their stored shape."""
    return {
        **_head(snapshot),
        "eval_metrics": {},
        "scenario_columns": {},
        "error_localizer_tasks": [],
        "ended_reason": None,
        "agent_definition_used_name": snapshot.call.run_test.agent.name,
        "agent_definition_used_id": snapshot.call.run_test.agent.id,
        "call_summary": "before the rerun",
        "recordings": {
            "mono": {"combined_url": _audio_url(snapshot), "customer_url": None, "assistant_url": None},
            "stereo_url": None,
        },
        "scenario_id": snapshot.call.scenario.id,
        "avg_agent_latency": 540,
        **_speech("avg_stop_time_after_interruption"),
        "is_snapshot": True,
        "snapshot_timestamp": iso_utc(snapshot.key_us),
        "rerun_type": RERUN_TYPE,
        "original_call_execution_id": snapshot.call.id,
    }


def _head(snapshot: Snapshot) -> Fields:
    n = snapshot.call.number
    return {
        "id": snapshot.id,
        "timestamp": iso_utc(snapshot.key_us),
        "call_type": "outboundPhoneCall" if n % 3 else None,
        "status": snapshot.state.status,
        "duration": 41,
        "transcript": stored_transcript(snapshot_turns(snapshot)),
        "scenario": snapshot.call.scenario.name,
        "overall_score": round(n % 101 / 10, 1),
        "response_time": 1000 + n,
        "audio_url": _audio_url(snapshot),
        "customer_name": f"+4179{n:07d}" if n % 2 else None,
        "eval_outputs": _stored_results(snapshot),
    }


def _speech(stop_key: str) -> Fields:
    return {
        "user_interruption_count": None,
        "user_interruption_rate": 0.5,
        "user_wpm": None,
        "bot_wpm": None,
        "talk_ratio": None,
        "ai_interruption_count": None,
        "ai_interruption_rate": None,
        stop_key: None,
    }


def nested_snapshot(snapshot: Snapshot) -> Fields:
    """Return the object inside `rerun_snapshots`."""
    n = snapshot.call.number
    return {
        "id": snapshot.id,
        "snapshot_timestamp": iso_utc(snapshot.key_us),
        "rerun_type": RERUN_TYPE,
        "status": snapshot.state.status,
        "started_at": iso_utc(snapshot.call.created_us),
        "duration_seconds": 41,
        "recording_url": _audio_url(snapshot),
        "call_summary": "before the rerun",
        "overall_score": round(n % 101 / 10, 1),
        "response_time_ms": 1000 + n,
        "customer_number": f"+4179{n:07d}" if n % 2 else None,
        "call_type": "outboundPhoneCall" if n % 3 else None,
        "transcript_available": False,
        "recording_available": False,
        "eval_outputs": _stored_results(snapshot),
        "transcripts": stored_transcript(snapshot_turns(snapshot)),
        "provider_call_data": {"vapi": {"id": f"before-{n}"}},
        "avg_agent_latency_ms": 540,
        "conversation_metrics_data": {"message_count": 3},
        **_speech("avg_stop_time_after_interruption_ms"),
        **dict.fromkeys(_NEVER_KEPT),
    }


_NEVER_KEPT = (
    *("service_provider_call_id", "completed_at", "ended_at", "stereo_recording_url", "ended_reason"),
    *("cost_cents", "stt_cost_cents", "llm_cost_cents", "tts_cost_cents", "assistant_id"),
    *("message_count", "analysis_data", "evaluation_data"),
)
"""Keys of a nested snapshot that are there and always null."""


def _audio_url(snapshot: Snapshot) -> str:
    return f"https://recordings.example.com/{snapshot.id}.mp3"


def _stored_results(snapshot: Snapshot) -> dict[str, Any] | None:
    """As stored: `output` and `output_type`, pending marks, older releases' strings; null where none ran."""
    if not snapshot.state.evaluated:
        return None
    call = snapshot.call
    return stored_evals(call.run_test.evals, snapshot.id, call.number, slim=call.run_test.slim)


def snapshot_turns(snapshot: Snapshot) -> tuple[Turn, ...]:
    """Only the first turn was kept."""
    call = snapshot.call
    return voice_turns(call.id, call.number, call.created_us)[:1]

"""The 44-key row of an agent version's list: stored names, stored evaluation results, raw payloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.clock import SECOND_US, iso_utc
from futureagi_async.testing._standin.data.facts import facts_of, tool_eval_id
from futureagi_async.testing._standin.data.records import CallFacts
from futureagi_async.testing._standin.data.values import seconds
from futureagi_async.testing._standin.wire.nested import recording_offset_ms, voice_transcript
from futureagi_async.testing._standin.wire.served_calls import (
    cost_breakdown,
    latency_metrics,
    provider_payload,
)

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import Call

Fields = dict[str, Any]


def version_row(call: Call) -> Fields:
    facts = facts_of(call)
    return {
        **_times(call, facts),
        **_content(call, facts),
        **_costs(facts),
        **_raw(call, facts),
        "overall_score": facts.score,
        "response_time_ms": facts.response_ms,
        "response_time_seconds": seconds(facts.response_ms),
        "eval_outputs": facts.evals,
        "agent_version": call.version.id,
    }


def _times(call: Call, facts: CallFacts) -> Fields:
    ended = None
    if facts.started_us is not None and facts.duration_seconds is not None:
        ended = facts.started_us + facts.duration_seconds * SECOND_US
    return {
        "id": call.id,
        "status": call.status,
        "started_at": iso_utc(facts.started_us),
        "completed_at": iso_utc(ended),
        "ended_at": iso_utc(ended),
        "duration_seconds": facts.duration_seconds,
        "created_at": iso_utc(call.created_us),
        "updated_at": iso_utc(call.key_us),
    }


def _content(call: Call, facts: CallFacts) -> Fields:
    """`transcripts` is always empty for a chat: its messages are stored elsewhere."""
    spoken = call.kind == "voice"
    return {
        "phone_number": facts.phone,
        "service_provider_call_id": facts.customer_call_id,
        "customer_call_id": facts.customer_call_id,
        "customer_number": facts.customer_number,
        "recording_url": facts.audio_url,
        "stereo_recording_url": facts.stereo_url,
        "scenario_name": facts.scenario.name,
        "transcripts": voice_transcript(facts) if spoken else [],
        "ended_reason": facts.ended_reason,
        "call_summary": facts.summary,
        "call_type": raw_call_type(call, facts),
        "message_count": len(facts.turns) if spoken and facts.turns else None,
        "transcript_available": spoken and bool(facts.turns),
        "recording_available": facts.audio_url is not None,
        "simulation_call_type": call.kind,
        "processing_skipped": facts.skipped,
        "processing_skip_reason": "No conversation detected" if facts.skipped else None,
        "error_message": None,
        "assistant_id": None,
    }


def raw_call_type(call: Call, facts: CallFacts) -> str | None:
    """Return the provider's own word, or nothing: what filters on `call_type` look at."""
    if call.kind == "text" or call.number % 5 == 3:
        return None
    return f"{facts.direction}PhoneCall"


def _costs(facts: CallFacts) -> Fields:
    known = facts.costs.customer is not None
    return {
        "cost_cents": facts.costs.simulation,
        "customer_cost_cents": facts.costs.customer,
        "stt_cost_cents": facts.costs.speech_to_text,
        "llm_cost_cents": facts.costs.model,
        "tts_cost_cents": facts.costs.text_to_speech,
        "system_metrics": latency_metrics()["systemMetrics"] if known else None,
        "cost_breakdown": cost_breakdown() if known else None,
    }


def _raw(call: Call, facts: CallFacts) -> Fields:
    """Return what the vendor passes on unread; a customer's provider key may be among it, so one is."""
    metadata: Fields = {"call_direction": facts.direction}
    if recording_offset_ms(facts):
        metadata |= {"recording_offset_ms": recording_offset_ms(facts), "user_api_key": "customers-own-key"}
    column = {"id": tool_eval_id(call.run_test.id), "type": "tool_evaluation", "visible": True}
    spoken = call.kind == "voice" and call.number % 4 == 0
    return {
        "call_metadata": metadata,
        "provider_call_data": {"vapi": provider_payload(call)} if spoken else None,
        "analysis_data": {"successEvaluation": "true"} if call.number % 7 == 1 else None,
        "evaluation_data": {"tool_column_order": [column]} if facts.tool_outputs else None,
        "error_localizer_tasks": [{"eval_config_id": next(iter(facts.evals)), "status": "completed"}]
        if call.number % 10 == 8 and facts.evals
        else [],
    }

"""Calls and rerun snapshots as the served dialect writes them: details, listed and nested rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.clock import SECOND_US, iso_utc
from futureagi_async.testing._standin.data.facts import facts_of
from futureagi_async.testing._standin.data.records import CallFacts
from futureagi_async.testing._standin.data.scenarios import stored_evals
from futureagi_async.testing._standin.data.values import Turn, seconds, seeded_uuid, voice_turns
from futureagi_async.testing._standin.wire.nested import (
    eval_metrics,
    eval_outputs,
    served_transcript,
    stored_transcript,
)

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import Call, Snapshot

Fields = dict[str, Any]

SIMULATOR_NAME = "Simulated caller 🙂"
_BEYOND_DOUBLES = 2**64 + 1
"""A whole number no double and no 64-bit integer can hold."""


def detail(call: Call) -> Fields:
    """Return the detail; a provider's payload comes along for every fourth voice call."""
    row = _call(call, listed_in_run_test=False) | {"rerun_snapshots": []}
    if call.kind == "voice" and call.number % 4 == 0 and row["start_time"]:
        row["attributes"] = _attributes(call)
    return row


def run_test_row(call: Call) -> Fields:
    """Return the row of a run-test list: no session, no localizers, but results of removed evaluations."""
    return _call(call, listed_in_run_test=True) | {"session_id": None}


def execution_row(call: Call) -> Fields:
    """Return the row of a test execution: transcript and recordings withheld, rerun snapshots delivered."""
    newest_first = sorted(call.snapshots, key=lambda snapshot: snapshot.key_us, reverse=True)
    withheld: Fields = {"transcript": [], "recordings": {}}
    snapshots = [nested_snapshot(snapshot) for snapshot in newest_first]
    return _call(call, listed_in_run_test=False) | withheld | {"rerun_snapshots": snapshots}


def _call(call: Call, *, listed_in_run_test: bool) -> Fields:
    facts = facts_of(call)
    outputs = eval_outputs(facts.evals, call.run_test.evals, with_removed=listed_in_run_test)
    template = None if listed_in_run_test else "single"
    return {
        **_overview(call, facts),
        "eval_outputs": outputs,
        "eval_metrics": eval_metrics(
            outputs, template=template, localizer=not listed_in_run_test and call.number % 10 == 8
        ),
        "scenario_columns": scenario_columns(facts),
        "ended_reason": facts.ended_reason,
        **_agents(call, facts),
        "call_summary": facts.summary,
        "recordings": recordings(call, facts),
        "test_execution_id": call.execution.id,
        "scenario_id": facts.scenario.id,
        "scenario_graph": facts.scenario.graph,
        "scenario_graph_id": facts.scenario.graph_id,
        **_measures(facts),
        "processing_skipped": facts.skipped,
        "processing_skip_reason": "No conversation detected" if facts.skipped else None,
        **_no_snapshot(),
        "tool_outputs": facts.tool_outputs,
        **_costs(call, facts),
    }


def _overview(call: Call, facts: CallFacts) -> Fields:
    return {
        "id": call.id,
        "service_provider_call_id": facts.customer_call_id,
        "session_id": facts.session_id,
        "timestamp": iso_utc(call.key_us),
        "call_type": facts.direction.title() if call.kind == "voice" else "Inbound",
        "status": call.status,
        "duration": facts.duration_seconds if call.kind == "voice" else chat_seconds(facts),
        "duration_seconds": facts.duration_seconds,
        "start_time": iso_utc(_start_us(call, facts)),
        "transcript": served_transcript(call, facts),
        "scenario": facts.scenario.name,
        "overall_score": facts.score,
        "response_time": seconds(facts.response_ms),
        "response_time_ms": facts.response_ms,
        "audio_url": facts.audio_url,
        "customer_name": facts.customer_number,
    }


def _start_us(call: Call, facts: CallFacts) -> int | None:
    """Return when the call connected; a chat starts with its first message."""
    if call.kind == "voice":
        return facts.started_us
    return facts.turns[0].created_us if facts.turns else None


def chat_seconds(facts: CallFacts) -> float | None:
    """From the first message to the last."""
    if not facts.turns:
        return None
    return round((facts.turns[-1].created_us - facts.turns[0].created_us) / SECOND_US, 2)


def scenario_columns(facts: CallFacts) -> dict[str, Fields]:
    """Return the dataset row behind the call, by column name; `{}` without one."""
    dataset = facts.scenario.dataset
    if dataset is None or facts.cells is None:
        return {}
    return {
        column.name: {
            "value": facts.cells[column.name],
            "visible": True,
            "dataset_column_id": column.id,
            "dataset_id": dataset.id,
            "column_name": column.name,
            "data_type": column.data_type,
        }
        for column in dataset.columns
    }


def _agents(call: Call, facts: CallFacts) -> Fields:
    """Absent, not null, where there is no simulator, or a prompt instead of an agent."""
    simulator = {
        "simulator_agent_name": SIMULATOR_NAME,
        "simulator_agent_id": seeded_uuid(call.run_test.id, "simulator"),
    }
    used = {
        "agent_definition_used_name": call.run_test.agent.name,
        "agent_definition_used_id": call.run_test.agent.id,
    }
    return (simulator if facts.simulated else {}) | (used if call.run_test.agent_name else {})


def recordings(call: Call, facts: CallFacts) -> dict[str, str | None]:
    """Any of four addresses; the two sides may be null."""
    found: dict[str, str | None] = {}
    if facts.audio_url:
        found["combined"] = facts.audio_url
    if facts.stereo_url:
        found["stereo"] = facts.stereo_url
    if found and call.number % 3:
        base = "https://recordings.example.com/sides" if call.number % 2 else None
        found["assistant"] = f"{base}-a.wav" if base else None
        found["customer"] = f"{base}-c.wav" if base else None
    return found


def _measures(facts: CallFacts) -> Fields:
    speech, chat = facts.speech, facts.chat
    return {
        "avg_agent_latency": speech.agent_latency_ms,
        "avg_agent_latency_ms": speech.agent_latency_ms,
        "user_interruption_count": speech.user_interruptions,
        "user_interruption_rate": speech.user_interruption_rate,
        "user_wpm": speech.user_wpm,
        "bot_wpm": speech.bot_wpm,
        "talk_ratio": speech.talk_ratio,
        "ai_interruption_count": speech.ai_interruptions,
        "ai_interruption_rate": speech.ai_interruption_rate,
        "avg_stop_time_after_interruption": speech.stop_ms,
        "total_tokens": chat.total_tokens,
        "input_tokens": chat.input_tokens,
        "output_tokens": chat.output_tokens,
        "avg_latency_ms": chat.latency_ms,
        "turn_count": speech.turn_count if chat.turn_count is None else chat.turn_count,
        "agent_talk_percentage": speech.talk_percentage,
        "csat_score": chat.csat,
    }


def _no_snapshot() -> Fields:
    return {
        "is_snapshot": False,
        "snapshot_timestamp": None,
        "rerun_type": None,
        "original_call_execution_id": None,
    }


def _costs(call: Call, facts: CallFacts) -> Fields:
    spoken = facts.costs.customer is not None
    return {
        "cost_cents": facts.costs.simulation,
        "customer_cost_cents": facts.costs.customer,
        "customer_cost_breakdown": cost_breakdown() if spoken else None,
        "customer_latency_metrics": latency_metrics() if spoken else None,
        "customer_call_id": facts.customer_call_id,
        "simulation_call_type": call.kind,
        "provider": call.run_test.agent.provider,
        "phone_number": facts.phone,
    }


def cost_breakdown() -> Fields:
    return {"llm": 0.03, "stt": 0.01, "tts": 0.02, "total": 0.06}


def latency_metrics() -> Fields:
    return {"systemMetrics": {"turn": 870, "model": 493.5}, "turnLatencies": [{"turn": 1, "latency": 870}]}


def _attributes(call: Call) -> Fields:
    """Return the provider's own payload: big, untyped, and with a number beyond every fixed-width type."""
    return {
        "raw_log": provider_payload(call),
        "gen_ai.span.kind": "conversation",
        "conversation.transcript.0.message.role": "assistant",
        "conversation.transcript.0.duration": None,
        "call.total_turns": 2,
        "call.sequence": _BEYOND_DOUBLES,
        "user_interruption_rate": None,
    }


def provider_payload(call: Call) -> Fields:
    return {
        "id": f"prov-{call.number:06d}",
        "type": "outboundPhoneCall",
        "messages": [
            {"role": "bot", "message": "Grüezi", "secondsFromStart": 0.9},
            {"role": "user", "message": "=1+1 😀", "secondsFromStart": 2.75},
        ],
        "sequence": _BEYOND_DOUBLES,
        "costs": [],
    }


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

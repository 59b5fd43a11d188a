"""A call as the published documents describe it: seconds, dollars, `role`, creation times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.clock import iso_utc
from futureagi_async.testing._standin.data.facts import facts_of
from futureagi_async.testing._standin.data.records import CallFacts
from futureagi_async.testing._standin.data.values import dollars, seconds, seeded_uuid
from futureagi_async.testing._standin.wire.nested import documented_transcript, eval_outputs
from futureagi_async.testing._standin.wire.served_calls import (
    RERUN_TYPE,
    SIMULATOR_NAME,
    chat_seconds,
    recordings,
    scenario_columns,
    snapshot_turns,
)

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import Call, Snapshot

Fields = dict[str, Any]


def detail(call: Call) -> Fields:
    facts = facts_of(call)
    return {
        **_core(call, facts),
        "service_provider_call_id": facts.customer_call_id,
        "timestamp": iso_utc(call.created_us),
        "call_type": facts.direction.title() if call.kind == "voice" else None,
        "scenario": facts.scenario.name,
        "scenario_id": facts.scenario.id,
        "scenario_columns": list(scenario_columns(facts).values()),
        "response_time": seconds(facts.response_ms),
        "audio_url": facts.audio_url,
        "recordings": recordings(call, facts) or None,
        **_agents(call, facts),
        "tool_outputs": facts.tool_outputs,
        "rerun_snapshots": [_nested(snapshot) for snapshot in call.snapshots],
        **_speech(facts),
        **_chat(facts),
        **_costs(facts),
    }


def run_test_row(call: Call) -> Fields:
    """Return a row without any sort key: the documents promise none. The score is of 100 here."""
    facts = facts_of(call)
    return {
        **_core(call, facts),
        "scenario": _scenario_object(facts),
        "scenario_id": facts.scenario.id,
        "overall_score": None if facts.score is None else round(facts.score * 10, 1),
        "eval_outputs": _stored_by_name(facts) or None,
        "avg_agent_latency": seconds(facts.speech.agent_latency_ms),
        "is_snapshot": False,
        "rerun_type": None,
        "created_at": iso_utc(call.created_us),
    }


def snapshot_row(snapshot: Snapshot) -> Fields:
    """Return the same keys as `run_test_row`; the documents know no reference to the original call."""
    call, scenario = snapshot.call, snapshot.call.scenario
    blank = dict.fromkeys(("session_id", "start_time", "eval_outputs", "eval_metrics", "ended_reason"))
    return {
        "id": snapshot.id,
        **blank,
        "status": snapshot.state.status or "completed",
        "duration": 41,
        "transcript": documented_transcript(snapshot_turns(snapshot)),
        "scenario": {"id": scenario.id, "name": scenario.name},
        "scenario_id": scenario.id,
        "overall_score": float(call.number % 101),
        "customer_name": "Chloé",
        "call_summary": "before the rerun",
        "avg_agent_latency": 0.54,
        "is_snapshot": True,
        "rerun_type": RERUN_TYPE,
        "created_at": iso_utc(snapshot.key_us),
    }


def version_row(call: Call) -> Fields:
    facts = facts_of(call)
    return {
        **_core(call, facts),
        "service_provider_call_id": facts.customer_call_id,
        "scenario": facts.scenario.name,
        "scenario_columns": scenario_columns(facts),
        "created_at": iso_utc(call.created_us),
    }


def execution_row(call: Call) -> Fields:
    facts = facts_of(call)
    return {
        "id": call.id,
        "status": call.status,
        "duration": _duration(call, facts),
        "transcript": documented_transcript(facts.turns),
        "overall_score": facts.score,
        "eval_outputs": _outputs_by_name(call, facts),
        "scenario": facts.scenario.name,
        "created_at": iso_utc(call.created_us),
    }


def _core(call: Call, facts: CallFacts) -> Fields:
    """Return what detail, run-test and version rows share."""
    return {
        "id": call.id,
        "session_id": facts.session_id,
        "status": call.status,
        "duration": _duration(call, facts),
        "start_time": iso_utc(facts.started_us),
        "transcript": documented_transcript(facts.turns),
        "overall_score": facts.score,
        "eval_outputs": _outputs_by_name(call, facts) or None,
        "eval_metrics": _metrics_by_name(call, facts) or None,
        "customer_name": _persona_name(facts),
        "call_summary": facts.summary,
        "ended_reason": facts.ended_reason,
    }


def _duration(call: Call, facts: CallFacts) -> float | None:
    return facts.duration_seconds if call.kind == "voice" else chat_seconds(facts)


def _scenario_object(facts: CallFacts) -> Fields | None:
    """`null` where the scenario is deleted."""
    return None if facts.scenario.deleted else {"id": facts.scenario.id, "name": facts.scenario.name}


def _persona_name(facts: CallFacts) -> str | None:
    persona = facts.cells["persona"] if facts.cells else {}
    return persona.get("name")


def _outputs_by_name(call: Call, facts: CallFacts) -> Fields:
    outputs = eval_outputs(facts.evals, call.run_test.evals, with_removed=False)
    names = {config.id: config.name for config in call.run_test.evals}
    return {names[eval_id]: output for eval_id, output in outputs.items()}


def _stored_by_name(facts: CallFacts) -> Fields:
    entries = [entry for entry in facts.evals.values() if isinstance(entry, dict)]
    return {entry["name"]: entry for entry in entries if "name" in entry}


def _metrics_by_name(call: Call, facts: CallFacts) -> Fields:
    outputs = _outputs_by_name(call, facts)
    return {name: output["value"] for name, output in outputs.items() if output}


def _nested(snapshot: Snapshot) -> Fields:
    head = {"id": snapshot.id, "status": snapshot.state.status, "rerun_type": RERUN_TYPE}
    return head | {"snapshot_timestamp": iso_utc(snapshot.key_us)}


def _agents(call: Call, facts: CallFacts) -> Fields:
    simulator_id = seeded_uuid(call.run_test.id, "simulator")
    return {
        "simulatorAgentName": SIMULATOR_NAME if facts.simulated else None,
        "simulatorAgentId": simulator_id if facts.simulated else None,
        "agent_definition_used_name": call.run_test.agent_name,
        "agent_definition_used_id": call.run_test.agent.id if call.run_test.agent_name else None,
    }


def proportion(rate: float | None) -> float | None:
    """Interruptions a minute as the share of turns that the documents speak of."""
    return None if rate is None else round(min(rate / 10, 1.0), 4)


def talk_proportion(ratio: float | None) -> float | None:
    """Agent-to-caller ratio as the agent's share of 0 to 1."""
    return None if ratio is None else round(ratio / (1 + ratio), 4)


def _speech(facts: CallFacts) -> Fields:
    speech = facts.speech
    return {
        "avg_agent_latency": seconds(speech.agent_latency_ms),
        "user_interruption_count": speech.user_interruptions,
        "user_interruption_rate": proportion(speech.user_interruption_rate),
        "user_wpm": speech.user_wpm,
        "bot_wpm": speech.bot_wpm,
        "talk_ratio": talk_proportion(speech.talk_ratio),
        "ai_interruption_count": speech.ai_interruptions,
        "ai_interruption_rate": proportion(speech.ai_interruption_rate),
        "avg_stop_time_after_interruption": seconds(speech.stop_ms),
    }


def _chat(facts: CallFacts) -> Fields:
    chat = facts.chat
    return {
        "total_tokens": chat.total_tokens,
        "input_tokens": chat.input_tokens,
        "output_tokens": chat.output_tokens,
        "avg_latency_ms": chat.latency_ms,
        "turn_count": chat.turn_count,
        "csat_score": chat.csat,
    }


def _costs(facts: CallFacts) -> Fields:
    costs = facts.costs
    return {
        "stt_cost": dollars(costs.speech_to_text),
        "llm_cost": dollars(costs.model),
        "tts_cost": dollars(costs.text_to_speech),
        "storage_cost": 0.0 if costs.simulation is not None else None,
        "total_cost": dollars(costs.simulation),
    }

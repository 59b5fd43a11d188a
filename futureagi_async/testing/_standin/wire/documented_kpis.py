"""KPIs under their documented names: camelCase where documented, seconds, and only the agent type's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.wire.documented_calls import proportion, talk_proportion
from futureagi_async.testing._standin.wire.kpis import Measured, connected, eval_kpis, graphs, measure

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import TestExecution


def documented_kpis(execution: TestExecution) -> dict[str, Any]:
    measured = measure(execution)
    own = _voice(measured) if execution.run_test.kind == "voice" else _text(measured)
    averages = {name: value for name, value in eval_kpis(measured).items() if name.startswith("avg_")}
    return averages | _common(measured) | own


def _common(measured: Measured) -> dict[str, Any]:
    attempted, talked, share = connected(measured)
    voice = measured.execution.run_test.kind == "voice"
    return {
        "total_calls": len(measured.calls),
        "avg_score": measured.mean(lambda f: f.score, 1),
        "avg_response": round(measured.mean(lambda f: f.response_ms, 0) / 1000, 3),
        "callsAttempted": attempted,
        "connectedCalls": talked,
        "callsConnectedPercentage": share,
        "failed_calls": measured.with_status("failed"),
        "total_duration": sum(facts.duration_seconds or 0 for facts in measured.facts),
        "agent_type": measured.execution.run_test.kind,
        "is_inbound": measured.execution.is_inbound if voice else None,
        "scenarioGraphs": graphs(measured),
    }


def _voice(measured: Measured) -> dict[str, float]:
    talk = measured.mean(lambda f: f.speech.talk_percentage, 1)
    return {
        "avg_agent_latency": round(measured.mean(lambda f: f.speech.agent_latency_ms, 0) / 1000, 3),
        "avg_user_interruption_count": measured.mean(lambda f: f.speech.user_interruptions, 1),
        "avg_user_interruption_rate": measured.mean(lambda f: proportion(f.speech.user_interruption_rate), 3),
        "avg_user_wpm": measured.mean(lambda f: f.speech.user_wpm, 1),
        "avg_bot_wpm": measured.mean(lambda f: f.speech.bot_wpm, 1),
        "avg_talk_ratio": measured.mean(lambda f: talk_proportion(f.speech.talk_ratio), 3),
        "avg_ai_interruption_count": measured.mean(lambda f: f.speech.ai_interruptions, 1),
        "avg_ai_interruption_rate": measured.mean(lambda f: proportion(f.speech.ai_interruption_rate), 3),
        "avg_stop_time_after_interruption": round(measured.mean(lambda f: f.speech.stop_ms, 0) / 1000, 3),
        "agentTalkPercentage": talk,
        "customerTalkPercentage": round(100 - talk, 1) if talk else 0.0,
    }


def _text(measured: Measured) -> dict[str, float]:
    return {
        "avg_total_tokens": measured.mean(lambda f: f.chat.total_tokens, 1),
        "avg_input_tokens": measured.mean(lambda f: f.chat.input_tokens, 1),
        "avg_output_tokens": measured.mean(lambda f: f.chat.output_tokens, 1),
        "avg_chat_latency_ms": measured.mean(lambda f: f.chat.latency_ms, 1),
        "avg_turn_count": measured.mean(lambda f: f.chat.turn_count, 1),
        "avg_csat_score": measured.mean(lambda f: f.chat.csat, 1),
    }

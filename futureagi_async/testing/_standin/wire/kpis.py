"""The KPIs of a test execution, measured once and named by each dialect in its own way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from futureagi_async.testing._standin.data.facts import facts_of
from futureagi_async.testing._standin.data.records import Call, CallFacts, TestExecution
from futureagi_async.testing._standin.data.values import mean
from futureagi_async.testing._standin.wire.documented_calls import proportion, talk_proportion
from futureagi_async.testing._standin.wire.nested import chosen, is_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from futureagi_async.testing._standin.data.scenarios import EvalConfig


@frozen
class Measured:
    """The calls of an execution, soft-deleted ones included, and means over their facts."""

    execution: TestExecution
    calls: tuple[Call, ...]
    facts: tuple[CallFacts, ...]

    def mean(self, read: Callable[[CallFacts], float | None], digits: int) -> float:
        """Return the mean of what is there; 0.0 when nothing is."""
        return mean([value for value in map(read, self.facts) if value is not None], digits)

    def with_status(self, status: str) -> int:
        return sum(call.status == status for call in self.calls)


def measure(execution: TestExecution) -> Measured:
    members = [row for row in execution.listing.members if isinstance(row, Call) and row.state.exists]
    return Measured(execution, tuple(members), tuple(map(facts_of, members)))


def served_kpis(execution: TestExecution) -> dict[str, Any]:
    """All keys for voice and text alike, milliseconds, and evaluations' names that may overwrite keys."""
    measured = measure(execution)
    return {
        **_counts(measured),
        **_voice_means(measured),
        **_text_means(measured),
        **_ends(measured),
        **eval_kpis(measured),
    }


def connected(measured: Measured) -> tuple[int, int, float]:
    """Return calls attempted, calls connected, and the share: of the attempted (voice) or of all (text)."""
    attempted = len(measured.calls) - measured.with_status("pending")
    if measured.execution.run_test.kind == "voice":
        talked = sum(bool(facts.duration_seconds) for facts in measured.facts)
        return attempted, talked, _share(talked, attempted, 2)
    completed = measured.with_status("completed")
    return attempted, completed, _share(completed, len(measured.calls), 1)


def _share(part: int, whole: int, digits: int) -> float:
    return round(100 * part / whole, digits) if whole else 0.0


def graphs(measured: Measured) -> dict[str, Any]:
    return {facts.scenario.id: facts.scenario.graph for facts in measured.facts}


def _counts(measured: Measured) -> dict[str, Any]:
    attempted, talked, share = connected(measured)
    return {
        "total_calls": len(measured.calls),
        "avg_score": measured.mean(lambda f: f.score, 1),
        "avg_response": measured.mean(lambda f: f.response_ms, 0),
        "calls_attempted": attempted,
        "connected_calls": talked,
        "calls_connected_percentage": share,
        "scenario_graphs": graphs(measured),
        "agent_type": measured.execution.run_test.kind,
        "is_inbound": measured.execution.is_inbound,
    }


def _voice_means(measured: Measured) -> dict[str, float]:
    talk = measured.mean(lambda f: f.speech.talk_percentage, 1)
    return {
        "avg_agent_latency": measured.mean(lambda f: f.speech.agent_latency_ms, 0),
        "avg_user_interruption_count": measured.mean(lambda f: f.speech.user_interruptions, 1),
        "avg_user_interruption_rate": measured.mean(lambda f: f.speech.user_interruption_rate, 2),
        "avg_user_wpm": measured.mean(lambda f: f.speech.user_wpm, 1),
        "avg_bot_wpm": measured.mean(lambda f: f.speech.bot_wpm, 1),
        "avg_talk_ratio": measured.mean(lambda f: f.speech.talk_ratio, 2),
        "avg_ai_interruption_count": measured.mean(lambda f: f.speech.ai_interruptions, 1),
        "avg_ai_interruption_rate": measured.mean(lambda f: f.speech.ai_interruption_rate, 2),
        "avg_stop_time_after_interruption": measured.mean(lambda f: f.speech.stop_ms, 0),
        "agent_talk_percentage": talk,
        "customer_talk_percentage": round(100 - talk, 1) if talk else 0.0,
    }


def _text_means(measured: Measured) -> dict[str, float]:
    return {
        "avg_total_tokens": measured.mean(lambda f: f.chat.total_tokens, 1),
        "avg_input_tokens": measured.mean(lambda f: f.chat.input_tokens, 1),
        "avg_output_tokens": measured.mean(lambda f: f.chat.output_tokens, 1),
        "avg_chat_latency_ms": measured.mean(lambda f: f.chat.latency_ms, 1),
        "avg_turn_count": measured.mean(lambda f: f.chat.turn_count or f.speech.turn_count, 1),
        "avg_csat_score": measured.mean(lambda f: f.chat.csat, 1),
    }


def _ends(measured: Measured) -> dict[str, int]:
    durations = (facts.duration_seconds or 0 for facts in measured.facts)
    return {"failed_calls": measured.with_status("failed"), "total_duration": sum(durations)}


def eval_kpis(measured: Measured) -> dict[str, Any]:
    """Name one key for each evaluation with results: `avg_<name>`, 0 to 100, or `<name>` with choices."""
    found: dict[str, Any] = {}
    for config in measured.execution.run_test.evals:
        outputs = [] if config.removed else list(_outputs(measured, config))
        if not outputs:
            continue
        name = config.name.lower().replace(" ", "_")
        if config.output_type == "choices":
            found[name] = _choice_counts(config, outputs)
        else:
            found[f"avg_{name}"] = mean([100 * value for value in map(_as_share, outputs)], 1)
    return found


def _outputs(measured: Measured, config: EvalConfig) -> Iterable[Any]:
    for facts in measured.facts:
        entry = facts.evals.get(config.id)
        if isinstance(entry, dict) and not is_pending(entry) and entry["output"] is not None:
            yield entry["output"]


def _as_share(output: Any) -> float:
    if isinstance(output, str):
        return float(output == "Passed")
    return float(output["score"] if isinstance(output, dict) else output)


def _choice_counts(config: EvalConfig, outputs: list[Any]) -> dict[str, Any]:
    named = [choice for output in outputs for choice in chosen(output) or ()]
    return {choice: named.count(choice) for choice in config.choices} | {"choices": list(config.choices)}


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

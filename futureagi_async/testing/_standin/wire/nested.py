"""The nested parts of rows: transcripts, evaluation results, and the columns of the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.clock import iso_utc_text
from futureagi_async.testing._standin.data.facts import tool_eval_id

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import Call, CallFacts, RunTest
    from futureagi_async.testing._standin.data.scenarios import EvalConfig, StoredEvals
    from futureagi_async.testing._standin.data.values import Turn

_OUTBOUND_OFFSET_MS = 250


def voice_transcript(facts: CallFacts) -> list[dict[str, Any]]:
    """Return turns with `speaker_role`; seconds include the recording's offset, an unknown end has none."""
    offset = recording_offset_ms(facts)
    return [
        {
            "id": turn.id,
            "speaker_role": turn.role,
            "content": turn.text,
            "start_time_ms": turn.start_ms,
            "start_time_seconds": (turn.start_ms + offset) / 1000,
            "end_time_ms": turn.end_ms,
            "end_time_seconds": (turn.end_ms + offset) / 1000 if turn.end_ms else None,
            "confidence_score": turn.confidence,
            "created_at": iso_utc_text(turn.created_us),
        }
        for turn in facts.turns
    ]


def recording_offset_ms(facts: CallFacts) -> int:
    return _OUTBOUND_OFFSET_MS if facts.direction == "outbound" else 0


def _chat_transcript(call: Call, facts: CallFacts) -> list[dict[str, Any]]:
    """Messages with `role`; the text is in `messages`, `content` is a list of objects."""
    return [
        {
            "id": turn.id,
            "role": turn.role,
            "messages": [] if turn.role == "tool" else [turn.text],
            "content": [{"role": "user", "content": turn.text}],
            "session_id": f"chat-{call.number}",
            "tool_calls": _tool_calls(turn) if turn.role == "assistant" and call.number % 3 == 0 else [],
            "created_at": iso_utc_text(turn.created_us),
        }
        for turn in facts.turns
    ]


def served_transcript(call: Call, facts: CallFacts) -> list[dict[str, Any]]:
    return voice_transcript(facts) if call.kind == "voice" else _chat_transcript(call, facts)


def stored_transcript(turns: tuple[Turn, ...]) -> list[dict[str, Any]]:
    """Return what a rerun snapshot keeps of each turn."""
    return [
        {
            "content": turn.text,
            "end_time_ms": turn.end_ms,
            "speaker_role": turn.role,
            "start_time_ms": turn.start_ms,
            "confidence_score": turn.confidence,
        }
        for turn in turns
    ]


def documented_transcript(turns: tuple[Turn, ...]) -> list[dict[str, Any]]:
    return [{"role": turn.role, "content": turn.text} for turn in turns]


def _tool_calls(turn: Turn) -> list[dict[str, Any]]:
    function = {"name": "find_parcel", "arguments": '{"number": "ZH-17"}'}
    return [{"id": f"call_{turn.id[:8]}", "type": "function", "function": function}]


Result = dict[str, Any]


def is_pending(entry: Result) -> bool:
    return entry.get("status") == "pending"


def eval_outputs(
    stored: StoredEvals, configs: tuple[EvalConfig, ...], *, with_removed: bool
) -> dict[str, Result]:
    """Results by evaluation id; `{}` for a pending one, nothing for an entry that is no object."""
    shown = {config.id for config in configs if with_removed or not config.removed}
    return {
        eval_id: _normalised(entry)
        for eval_id, entry in stored.items()
        if eval_id in shown and isinstance(entry, dict)
    }


def _normalised(entry: Result) -> Result:
    """One stored entry under the names of the detail: `value` and `type` for `output` and `output_type`."""
    if is_pending(entry):
        return {}
    value = entry["output"]
    return {
        "value": chosen(value) if entry["output_type"] == "choices" else value,
        "reason": entry["reason"],
        "type": entry["output_type"],
        "name": entry["name"],
        "error": bool(entry.get("error")),
        "status": entry.get("status", "completed"),
        "skipped": bool(entry.get("skipped")),
    }


def chosen(output: Any) -> list[str] | None:
    """Return the choices of any stored shape: a word, a list, or an object with one or many."""
    if output is None:
        return None
    if isinstance(output, dict):
        return [output["choice"]] if "choice" in output else list(output["choices"])
    return [output] if isinstance(output, str) else list(output)


def eval_metrics(outputs: dict[str, Result], *, template: str | None, localizer: bool) -> dict[str, Result]:
    """Return the same results as the grid wants them; `localizer`: one of them has located its error."""
    metrics: dict[str, Result] = {}
    for place, (eval_id, output) in enumerate(outputs.items()):
        metrics[eval_id] = _metric(eval_id, output, template, localizer and place == 1) if output else {}
    return metrics


def _metric(eval_id: str, output: Result, template: str | None, localizer: bool) -> Result:
    metric = {
        "id": eval_id,
        "name": output["name"],
        "value": output["value"],
        "reason": output["reason"],
        "type": output["type"],
        "template_type": template,
        "visible": True,
        "error": output["error"],
        "status": output["status"],
        "skipped": output["skipped"],
        "error_localizer": localizer,
    }
    return metric | (_localized() if localizer else {})


def _localized() -> Result:
    return {
        "error_analysis": {"input": [{"chunk": "…noch einmal", "weight": 0.7}]},
        "error_localizer_status": "completed",
        "error_localizer_message": None,
        "selected_input_key": "conversation",
        "input_data": {"conversation": "…"},
        "input_types": {"conversation": "text"},
    }


Column = dict[str, Any]

_VOICE_COLUMNS = {
    "timestamp": "Timestamp",
    "call_details": "Call Details",
    "overall_score": "Overall Score",
    "ai_interruption_count": "Agent interruption",
    "user_interruption_count": "Simulator interruption",
    "turn_count": "Turn Count",
    "agent_talk_percentage": "Agent Talk (%)",
    "latency": "Latency",
    "service_provider_call_id": "Provider Call ID",
}
_TEXT_COLUMNS = {
    "call_details": "Chat Details",
    "overall_score": "Overall Score",
    "total_tokens": "Total Tokens",
    "input_tokens": "Input Tokens",
    "output_tokens": "Output Tokens",
    "avg_latency_ms": "Average Latency (ms)",
    "turn_count": "Turn Count",
}
_SHOWN = {"timestamp", "call_details", "turn_count", "agent_talk_percentage"}


def column_order(run_test: RunTest) -> list[Column]:
    """Built-in columns, then the dataset's, then evaluations, then tool evaluations."""
    built_in = _VOICE_COLUMNS if run_test.kind == "voice" else _TEXT_COLUMNS
    fixed = [{"id": id_, "visible": id_ in _SHOWN, "column_name": name} for id_, name in built_in.items()]
    return [*fixed, *_dataset_columns(run_test), *_eval_columns(run_test), *_tool_columns(run_test)]


def _dataset_columns(run_test: RunTest) -> list[Column]:
    return [
        {
            "id": column.name,
            "column_name": column.name,
            "visible": True,
            "data_type": column.data_type,
            "type": "scenario_dataset_column",
            "scenario_id": scenario.id,
            "dataset_id": scenario.dataset.id,
            "dataset_column_ids": [column.id],
        }
        for scenario in run_test.scenarios
        if scenario.dataset
        for column in scenario.dataset.columns
    ]


def _eval_columns(run_test: RunTest) -> list[Column]:
    return [
        {
            "id": config.id,
            "type": "evaluation",
            "visible": True,
            "column_name": config.name,
            "eval_config": {"output": config.output_type, "required_keys": ["conversation"]},
        }
        for config in run_test.evals
        if not config.removed
    ]


def _tool_columns(run_test: RunTest) -> list[Column]:
    if run_test.kind == "text":
        return []
    tool = {"id": tool_eval_id(run_test.id), "type": "tool_evaluation", "visible": True}
    return [tool | {"column_name": "find_parcel #1"}]

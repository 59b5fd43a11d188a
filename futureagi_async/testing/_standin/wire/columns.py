"""The columns of a test execution's grid, as both dialects list them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.data.facts import tool_eval_id

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import RunTest

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

"""Stored evaluation results as details and listings show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.scenarios import EvalConfig, Stored

Result = dict[str, Any]


def is_pending(entry: Result) -> bool:
    return entry.get("status") == "pending"


def eval_outputs(stored: Stored, configs: tuple[EvalConfig, ...], *, with_removed: bool) -> dict[str, Result]:
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

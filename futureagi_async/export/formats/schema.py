"""The columns that every table of calls has, whatever its format: read off the model once."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, TypeAlias

import attrs

from futureagi_async.models import CallExecution, Scenario

Kind: TypeAlias = Literal["text", "whole", "number", "flag", "time", "json", "turns"]
"""``whole`` is a count, ``number`` a double, ``json`` JSON text."""

_JSON: Final[Kind] = "json"

SOURCE: Final[Mapping[str, Kind]] = {
    "source_index": "whole",
    "source_kind": "text",
    "source_run_test_id": "text",
    "source_agent_id": "text",
    "source_version_id": "text",
    "source_test_execution_id": "text",
}
"""Where a call was read; `sources` fills them."""

JSON_PARTS: Final = (
    "eval_outputs",
    "eval_metrics",
    "scenario_columns",
    "recordings",
    "tool_outputs",
    "rerun_snapshots",
)
"""Nested parts that a table holds as JSON text."""

FACTS: Final = [field for field in attrs.fields(CallExecution) if field.eq]
"""The model's fields but those that are about the record: its bytes, and what is known of them."""

_KINDS: Final[dict[object, Kind]] = {
    str: "text",
    str | None: "text",
    float | None: "number",
    bool: "flag",
    datetime | None: "time",
    Scenario | None: "text",
}


def _scalars() -> dict[str, Kind]:
    fields = [field for field in FACTS if field.type in _KINDS]
    return {
        "scenario_name" if field.type == Scenario | None else field.name: _KINDS[field.type]
        for field in fields
    }


SCALARS: Final[Mapping[str, Kind]] = _scalars()
"""The model's plain fields under their own names, but for the scenario's name."""

PLAIN: Final[Mapping[str, Kind]] = {
    name: kind for name, kind in SCALARS.items() if name not in ("scenario_name", "scenario_id")
}
"""Those that a record sends as they are."""

CALLS: Final[Mapping[str, Kind]] = {
    "id": "text",
    **SOURCE,
    **SCALARS,
    "transcript": "turns",
    **dict.fromkeys((*JSON_PARTS, "extra", "misfits"), _JSON),
}
"""A table of calls."""

TURN: Final[Mapping[str, Kind]] = {
    "role": "text",
    "content": "text",
    "start_seconds": "number",
    "end_seconds": "number",
}
"""A turn of a transcript."""

EVALUATIONS: Final[Mapping[str, Kind]] = {
    "call_id": "text",
    **SOURCE,
    "evaluation_id": "text",
    "name": "text",
    "type": "text",
    "value": "json",
    "value_number": "number",
    "value_text": "text",
    "reason": "text",
    "status": "text",
    "error": "flag",
    "error_text": "text",
    "skipped": "flag",
    "pending": "flag",
}
"""The long table: one row for each evaluation of each call."""

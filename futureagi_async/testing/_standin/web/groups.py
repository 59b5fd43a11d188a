"""`row_groups`: the served aggregates over a dataset column, and the documented groups of any column."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.clock import iso_utc_text
from futureagi_async.testing._standin.data.facts import facts_of
from futureagi_async.testing._standin.data.records import CallFacts
from futureagi_async.testing._standin.wire.nested import column_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from futureagi_async.testing._standin.data.records import Call, RunTest

Fields = dict[str, Any]

_DATASET_GROUP = re.compile(r"scenario_([0-9a-f-]{36})_dataset_([0-9a-f-]{36})")
_ALIAS_LENGTH = 63


def is_dataset_group(column_id: str) -> bool:
    return _DATASET_GROUP.fullmatch(column_id) is not None


def dataset_groups(run_test: RunTest, group_id: str, calls: Iterable[Call]) -> list[Fields]:
    """Aggregate calls as the served API does: by day, score and every dataset column, whatever was asked.

    The callers hand in the calls of *all* executions, because the vendor's SQL looks at them all.
    """
    names = [column["id"] for column in column_order(run_test) if "dataset_id" in column]
    grouped_by = _DATASET_GROUP.fullmatch(group_id)
    names_by_id = {column.id: column.name for column in run_test.dataset_columns}
    wanted = names_by_id.get(grouped_by[2]) if grouped_by else None
    found: dict[tuple[Any, ...], list[CallFacts]] = {}
    keys: dict[tuple[Any, ...], Fields] = {}
    for call in calls:
        head = _head(call, names, group_id, wanted)
        place = tuple(map(str, head.values()))
        keys[place] = head
        found.setdefault(place, []).append(facts_of(call))
    return [keys[place] | _aggregates(found[place]) for place in sorted(found)]


def _head(call: Call, names: list[str], group_id: str, wanted: str | None) -> Fields:
    facts = facts_of(call)
    cells = facts.cells or {}
    head: Fields = {"created_at__date": iso_utc_text(call.created_us)[:10], "overall_score": facts.score}
    for name in names:
        cell = cells.get(name)
        head[_alias(name)] = str(cell) if isinstance(cell, dict) else cell
    head[_alias(group_id)] = cells.get(wanted) if wanted else None
    return head


def _alias(name: str) -> str:
    return re.sub(r"\W", "_", name)[:_ALIAS_LENGTH]


def _aggregates(facts: list[CallFacts]) -> Fields:
    return {
        "count": len(facts),
        "avg_overall_score": _average(f.score for f in facts),
        "avg_response_time": _average(f.response_ms for f in facts),
        "total_tokens": _average(f.chat.total_tokens for f in facts),
        "input_tokens": _average(f.chat.input_tokens for f in facts),
        "output_tokens": _average(f.chat.output_tokens for f in facts),
        "avg_latency_ms": _average(f.chat.latency_ms for f in facts),
        "turn_count": _average(f.speech.turn_count or f.chat.turn_count for f in facts),
        "csat_score": _average(f.chat.csat for f in facts),
    }


def _average(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None


DOCUMENTED_COLUMNS: dict[str, Callable[[Call], Any]] = {
    "scenario": lambda call: facts_of(call).scenario.name,
    "status": lambda call: call.status,
    "call_type": lambda call: facts_of(call).direction.title() if call.kind == "voice" else None,
    "overall_score": lambda call: facts_of(call).score,
    "response_time": lambda call: (facts_of(call).response_ms or 0) / 1000,
}


def documented_groups(columns: list[str], calls: Iterable[Call]) -> list[Fields]:
    """Group calls by the columns, as the documents promise; the largest group comes first."""
    found: dict[tuple[Any, ...], list[Call]] = {}
    for call in calls:
        found.setdefault(tuple(DOCUMENTED_COLUMNS[column](call) for column in columns), []).append(call)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), str(item[0])))
    return [_documented_group(columns, key, members) for key, members in ordered]


def _documented_group(columns: list[str], key: tuple[Any, ...], members: list[Call]) -> Fields:
    facts = [facts_of(call) for call in members]
    score, response_ms = _average(f.score for f in facts), _average(f.response_ms for f in facts)
    return dict(zip(columns, key, strict=True)) | {
        "count": len(members),
        "avg_overall_score": score,
        "avg_response_time": None if response_ms is None else round(response_ms / 1000, 3),
    }

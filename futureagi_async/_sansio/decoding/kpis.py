"""A KPI answer -> `ExecutionKPIs`: telling fixed figures from evaluations', by shape and by their names."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import msgspec

from futureagi_async._sansio.decoding.fragments import Fragment, structure_object
from futureagi_async.errors import DecodingError
from futureagi_async.models import Column, ExecutionKPIs, JsonValue, ReadOnlyDict

_CAMEL_CASE = {
    "calls_attempted": "callsAttempted",
    "connected_calls": "connectedCalls",
    "calls_connected_percentage": "callsConnectedPercentage",
    "scenario_graphs": "scenarioGraphs",
    "agent_talk_percentage": "agentTalkPercentage",
    "customer_talk_percentage": "customerTalkPercentage",
}
"""Where the documents spell a figure otherwise than the served API."""

_MILLISECONDS_WHERE_SERVED = ("avg_response", "avg_agent_latency", "avg_stop_time_after_interruption")
_COUNTS = frozenset({"total_calls", "calls_attempted", "connected_calls", "failed_calls"})
_NUMBERS = (
    "avg_score",
    "avg_response",
    "calls_connected_percentage",
    "total_duration",
    "avg_agent_latency",
    "avg_user_interruption_count",
    "avg_user_interruption_rate",
    "avg_user_wpm",
    "avg_bot_wpm",
    "avg_talk_ratio",
    "avg_ai_interruption_count",
    "avg_ai_interruption_rate",
    "avg_stop_time_after_interruption",
    "agent_talk_percentage",
    "customer_talk_percentage",
    "avg_total_tokens",
    "avg_input_tokens",
    "avg_output_tokens",
    "avg_chat_latency_ms",
    "avg_turn_count",
    "avg_csat_score",
)
_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(_COUNTS, (int,)),
    **dict.fromkeys(_NUMBERS, (int, float)),
    "agent_type": (str,),
    "is_inbound": (bool,),
    "scenario_graphs": (dict,),
}


def structure_kpis(fragment: Fragment) -> ExecutionKPIs:
    """Structure a test execution's key figures."""
    sent = dict(structure_object(fragment))
    served = not any(name in sent for name in _CAMEL_CASE.values()) and any(
        name in sent for name in _CAMEL_CASE
    )
    fixed: dict[str, Any] = {}
    collisions: dict[str, JsonValue] = {}
    choice_counts: dict[str, Mapping[str, int]] = {}
    for name in _KINDS:
        key = name if served else _CAMEL_CASE.get(name, name)
        value = sent.pop(key, None)
        counts = _choice_counts(value)
        if counts is not None:
            collisions[key], choice_counts[key] = value, counts
        elif value is not None:
            fixed[name] = _checked(value, name, key, fragment)
    if served:
        for name in _MILLISECONDS_WHERE_SERVED:
            if name in fixed:
                fixed[name] = _seconds(fixed[name], name, fragment)
    return ExecutionKPIs(**fixed, **_dynamic(sent, choice_counts, collisions), raw=fragment.raw)


def mark_collisions(kpis: ExecutionKPIs, columns: Iterable[Column]) -> ExecutionKPIs:
    """Return the key figures without those that an evaluation of the execution may have replaced.

    The server names an evaluation's average ``avg_`` and its name, in lower case with underscores for spaces.
    """
    names = [column.column_name for column in columns if column.type == "evaluation" and column.column_name]
    averages = {f"avg_{name.lower().replace(' ', '_')}" for name in names}
    taken = [name for name in _NUMBERS if name in averages and getattr(kpis, name) is not None]
    if not taken:
        return kpis
    sent = msgspec.json.decode(kpis.raw, type=dict[str, msgspec.Raw])
    doubtful = {name: msgspec.json.decode(sent[name]) for name in taken}
    withheld: dict[str, Any] = dict.fromkeys(taken)
    return attrs.evolve(kpis, **withheld, collisions=ReadOnlyDict({**kpis.collisions, **doubtful}))


def _seconds(milliseconds: float, key: str, fragment: Fragment) -> float:
    try:
        return milliseconds / 1000
    except OverflowError:
        raise DecodingError.at(
            "Integer value out of range", endpoint=fragment.endpoint, json_path=f"$.{key}"
        ) from None


def _dynamic(
    rest: dict[str, Any], choice_counts: dict[str, Mapping[str, int]], collisions: dict[str, JsonValue]
) -> dict[str, Any]:
    """Sort the keys that evaluations made, and what is left over."""
    averages: dict[str, float] = {}
    extra: dict[str, JsonValue] = {}
    for key, value in rest.items():
        counts = _choice_counts(value)
        if counts is not None:
            choice_counts[key] = counts
        elif key.startswith("avg_") and isinstance(value, int | float) and not isinstance(value, bool):
            averages[key.removeprefix("avg_")] = value
        else:
            extra[key] = value
    return {
        "eval_averages": ReadOnlyDict(averages),
        "choice_counts": ReadOnlyDict(choice_counts),
        "collisions": ReadOnlyDict(collisions),
        "extra": ReadOnlyDict(extra),
    }


def _choice_counts(value: object) -> Mapping[str, int] | None:
    """Return ``{choice: count}`` where a value is a choice evaluation's object, else ``None``.

    The server adds ``"choices": [names]`` to the counts; an empty object without it is a graph.
    """
    if not isinstance(value, dict) or not value:
        return None
    counts = {
        word: count for word, count in value.items() if not (word == "choices" and isinstance(count, list))
    }
    if any(isinstance(count, bool) or not isinstance(count, int) for count in counts.values()):
        return None
    return ReadOnlyDict(counts)


def _checked(value: object, name: str, key: str, fragment: Fragment) -> Any:
    kinds = _KINDS[name]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise DecodingError.at(
            f"Expected {expected}, got {type(value).__name__}",
            endpoint=fragment.endpoint,
            json_path=f"$.{key}",
        )
    return ReadOnlyDict(value) if isinstance(value, dict) else value

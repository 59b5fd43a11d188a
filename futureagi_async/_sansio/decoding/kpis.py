"""Decodes KPIs, and separates fixed figures from those of evaluations, by their shape and name."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import msgspec
from msgspec import Raw

from futureagi_async._sansio.decoding.fragments import (
    JSON_ERRORS,
    Fragment,
    at_place,
    decode_fields,
    structure_object,
)
from futureagi_async._sansio.decoding.misfits import value_of
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
"""Figures whose names differ between the documents and the served API."""

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
    """Decode the KPIs of a test execution."""
    sent = _decode(fragment)
    served = not any(name in sent for name in _CAMEL_CASE.values()) and any(
        name in sent for name in _CAMEL_CASE
    )
    fixed: dict[str, Any] = {}
    collisions: dict[str, JsonValue] = {}
    choice_counts: dict[str, Mapping[str, int]] = {}
    misfits: dict[str, JsonValue] = {}
    for name in _KINDS:
        key = name if served else _CAMEL_CASE.get(name, name)
        value = sent.pop(key, None)
        counts = _choice_counts(value)
        if counts is not None:
            collisions[key], choice_counts[key] = value, counts
        elif value is not None:
            try:
                fixed[name] = _figure(name, value, in_ms=served and name in _MILLISECONDS_WHERE_SERVED)
            except msgspec.ValidationError as error:
                if fragment.strict:
                    raise fragment.error(at_place(error, f".{key}")) from None
                misfits[name] = value_of(value) if isinstance(value, Raw) else value
    misfits |= {key: value_of(sent.pop(key)) for key, value in list(sent.items()) if isinstance(value, Raw)}
    return ExecutionKPIs(
        **fixed,
        **_dynamic(sent, choice_counts, collisions),
        misfits=ReadOnlyDict(misfits),
        raw=fragment.raw,
    )


def mark_collisions(kpis: ExecutionKPIs, columns: Iterable[Column]) -> ExecutionKPIs:
    """Return the KPIs without figures that an evaluation of the execution may have replaced.

    The server names the average of an evaluation ``avg_`` and its name, in lower case, with underscores for
    spaces.
    """
    names = [column.column_name for column in columns if column.type == "evaluation" and column.column_name]
    averages = {f"avg_{name.lower().replace(' ', '_')}" for name in names}
    taken = [name for name in _NUMBERS if name in averages and getattr(kpis, name) is not None]
    if not taken:
        return kpis
    sent = decode_fields(kpis.raw)
    doubtful = {name: msgspec.json.decode(sent[name]) for name in taken}
    withheld: dict[str, Any] = dict.fromkeys(taken)
    return attrs.evolve(kpis, **withheld, collisions=ReadOnlyDict({**kpis.collisions, **doubtful}))


def _decode(fragment: Fragment) -> dict[str, Any]:
    """Return the values of the response. Numbers that Python can't represent stay bytes."""
    try:
        return dict(structure_object(fragment))
    except DecodingError:
        if fragment.strict:
            raise
    try:
        return {key: _decoded(value) for key, value in decode_fields(fragment.raw).items()}
    except JSON_ERRORS as error:
        raise fragment.error(error) from None


def _decoded(sent: Raw) -> Any:
    try:
        return msgspec.json.decode(sent)
    except msgspec.ValidationError:
        return sent


def _figure(name: str, value: Any, *, in_ms: bool) -> Any:
    """Return a figure in its unit. Raises `msgspec.ValidationError` for a value of another type."""
    kinds = _KINDS[name]
    fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if not fits:
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise msgspec.ValidationError(f"Expected {expected}, got {type(value).__name__}")
    if in_ms:
        try:
            return value / 1000
        except OverflowError:
            raise msgspec.ValidationError("Integer value out of range") from None
    return ReadOnlyDict(value) if isinstance(value, dict) else value


def _dynamic(
    rest: dict[str, Any], choice_counts: dict[str, Mapping[str, int]], collisions: dict[str, JsonValue]
) -> dict[str, Any]:
    """Separate the keys of evaluations from all other keys."""
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
    """Return ``{choice: count}`` if a value is the object of a choice evaluation, else ``None``.

    The server adds ``"choices": [names]`` to the counts. An empty object without it is a graph.
    """
    if not isinstance(value, dict) or not value:
        return None
    counts = {
        word: count for word, count in value.items() if not (word == "choices" and isinstance(count, list))
    }
    if any(isinstance(count, bool) or not isinstance(count, int) for count in counts.values()):
        return None
    return ReadOnlyDict(counts)

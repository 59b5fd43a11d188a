"""The same page for the peers: one table of fields, as msgspec structs, attrs classes and pydantic models.

Each class holds every field of both dialects; what is absent is ``None``. Free objects stay dicts.
"""

from collections.abc import Callable
from datetime import datetime
from types import GenericAlias
from typing import Any, TypeAlias

import attrs
import cattrs
import msgspec
import orjson
import pydantic

Fields: TypeAlias = dict[str, Any]

Text: Any = str | None
Number: Any = float | None
Moment: Any = datetime | None
Flag: Any = bool | None
Free: Any = dict[str, Any] | None

TURN: Fields = {
    **dict.fromkeys(("id", "role", "speaker_role", "session_id"), Text),
    "content": Any,
    "messages": list[str] | None,
    "tool_calls": list[Any] | None,
    **dict.fromkeys(("start_time_ms", "start_time_seconds", "end_time_ms", "end_time_seconds"), Number),
    "confidence_score": Number,
    "created_at": Moment,
}
OUTPUT: Fields = {
    **dict.fromkeys(("name", "reason", "type", "status"), Text),
    "value": Any,
    **dict.fromkeys(("error", "skipped"), Flag),
}
CALL: Fields = {
    "id": str,
    **dict.fromkeys(("status", "session_id", "service_provider_call_id", "test_execution_id"), Text),
    **dict.fromkeys(("simulation_call_type", "call_type", "scenario_id", "customer_name"), Text),
    **dict.fromkeys(("call_summary", "ended_reason", "audio_url", "provider", "phone_number"), Text),
    **dict.fromkeys(("simulator_agent_name", "simulator_agent_id", "agent_definition_used_name"), Text),
    **dict.fromkeys(("agent_definition_used_id", "scenario_graph_id", "customer_call_id"), Text),
    **dict.fromkeys(("processing_skip_reason", "original_call_execution_id", "rerun_type"), Text),
    **dict.fromkeys(("timestamp", "created_at", "start_time", "snapshot_timestamp"), Moment),
    **dict.fromkeys(("duration", "duration_seconds", "overall_score"), Number),
    **dict.fromkeys(("response_time", "response_time_ms", "avg_agent_latency", "turn_count"), Number),
    **dict.fromkeys(("avg_agent_latency_ms", "avg_stop_time_after_interruption", "talk_ratio"), Number),
    **dict.fromkeys(("user_interruption_count", "user_interruption_rate", "user_wpm", "bot_wpm"), Number),
    **dict.fromkeys(("ai_interruption_count", "ai_interruption_rate", "agent_talk_percentage"), Number),
    **dict.fromkeys(("total_tokens", "input_tokens", "output_tokens", "avg_latency_ms"), Number),
    **dict.fromkeys(("csat_score", "cost_cents", "customer_cost_cents"), Number),
    **dict.fromkeys(("is_snapshot", "processing_skipped"), Flag),
    "scenario": Any,
    **dict.fromkeys(("eval_metrics", "scenario_columns", "recordings", "tool_outputs"), Free),
    **dict.fromkeys(("scenario_graph", "customer_cost_breakdown", "customer_latency_metrics"), Free),
}


ENVELOPE: Fields = {"count": int, "next": Text, "previous": Text, "total_pages": int, "current_page": int}
REQUIRED = {"call": ("id",), "page": ("count",)}


def _make_page(make: Callable[[str, Fields, Fields], Any]) -> Any:
    """Return a page's class with those it is made of; ``make`` takes required and optional fields."""

    def made(name: str, fields: Fields) -> Any:
        required = {key: fields[key] for key in REQUIRED.get(name, ())}
        return make(name, required, {key: kind for key, kind in fields.items() if key not in required})

    turn, output = made("turn", TURN), made("output", OUTPUT)
    turns, outputs = GenericAlias(list, (turn,)), GenericAlias(dict, (str, output))
    call = made("call", CALL | {"transcript": turns | None, "eval_outputs": outputs | None})
    return made("page", ENVELOPE | {"results": GenericAlias(list, (call,))})


def _make_struct(name: str, required: Fields, optional: Fields) -> Any:
    return msgspec.defstruct(
        name, [*required.items(), *((key, kind, None) for key, kind in optional.items())]
    )


def _make_attrs(name: str, required: Fields, optional: Fields) -> Any:
    fields = {key: attrs.field(type=kind) for key, kind in required.items()}
    fields |= {key: attrs.field(type=kind, default=None) for key, kind in optional.items()}
    return attrs.make_class(name, fields, slots=True)


def _make_model(name: str, required: Fields, optional: Fields) -> Any:
    fields: Fields = {key: (kind, ...) for key, kind in required.items()}
    fields |= {key: (kind, None) for key, kind in optional.items()}
    model: Any = pydantic.create_model(name, **fields)
    return model


MSGSPEC = msgspec.json.Decoder(_make_page(_make_struct))
PYDANTIC = _make_page(_make_model)

_ATTRS = _make_page(_make_attrs)
_CATTRS = cattrs.Converter()
_CATTRS.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))


def decode_orjson(body: bytes) -> Any:
    """Return dicts: what everything is measured against."""
    return orjson.loads(body)


def decode_msgspec(body: bytes) -> Any:
    """Return structs of structs, all of it checked."""
    return MSGSPEC.decode(body)


def decode_cattrs(body: bytes) -> Any:
    """Return attrs objects, structured by an untuned converter from dicts."""
    return _CATTRS.structure(orjson.loads(body), _ATTRS)


def decode_pydantic(body: bytes) -> Any:
    """Return models."""
    return PYDANTIC.model_validate_json(body)

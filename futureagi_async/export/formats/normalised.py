"""A call as JSON in our documented names and units, whichever list and dialect it came from."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import attrs
import msgspec
from msgspec import Raw

from futureagi_async.errors import DecodingError
from futureagi_async.export.formats.details import (
    Fields,
    evaluations_of,
    extra_of,
    fields_of,
    json_of,
    transcript_key,
    turns_of,
)
from futureagi_async.export.formats.origins import Origins
from futureagi_async.export.formats.schema import FACTS, JSON_PARTS
from futureagi_async.models import CallExecution, EvalOutput

Object: TypeAlias = dict[str, Any]

_SCALARS: Final = [
    field.name for field in FACTS if field.name not in CallExecution.lazy_fields | {"id", "source"}
]
_AS_SENT: Final = [name for name in JSON_PARTS if name not in ("eval_outputs", "rerun_snapshots")]
_EVALUATION: Final = [field.name for field in attrs.fields(EvalOutput)]


def normalise(call: CallExecution, origins: Origins) -> tuple[bytes, bool]:
    """Return the call as one JSON object, and whether parts of no known shape went to ``misfits``."""
    made = _object(call, origins)
    return msgspec.json.encode(made), made["misfits"] is not None


def _object(call: CallExecution, origins: Origins) -> Object:
    fields = fields_of(call)
    misfits: dict[str, Raw] = {}

    def read(name: str, part: Callable[[], Any]) -> Any:
        try:
            return part()
        except (DecodingError, RecursionError):
            misfits[name] = fields[transcript_key(fields) if name == "transcript" else name]
            return None

    made: Object = {"id": call.id, "source": origins.named(call.source)}
    made |= {name: plain(getattr(call, name)) for name in _SCALARS}
    made["transcript"] = read("transcript", lambda: _turns(call, fields))
    made["eval_outputs"] = read("eval_outputs", lambda: _evaluations(call, fields))
    made |= {name: _sent(fields, name) for name in _AS_SENT}
    made["rerun_snapshots"] = read("rerun_snapshots", lambda: _snapshots(call, fields, origins))
    made["extra"] = Raw(extra_of(fields))
    made["misfits"] = misfits or None
    return made


def plain(value: Any) -> Any:
    """Return a scalar as JSON knows it: times in UTC, a scenario as an object."""
    if isinstance(value, datetime):
        return in_utc(value)
    return attrs.asdict(value) if attrs.has(type(value)) else value


def in_utc(moment: datetime) -> datetime:
    """Return a time in UTC, or as it is where UTC has no such year."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return moment


def _sent(fields: Fields, name: str) -> Raw | None:
    sent = json_of(fields, name)
    return None if sent is None else Raw(sent)


def _turns(call: CallExecution, fields: Fields) -> list[Object] | None:
    turns = turns_of(call, fields)
    if turns is None:
        return None
    return [
        {
            "role": turn.role,
            "content": turn.content,
            "start_seconds": turn.start_seconds,
            "end_seconds": turn.end_seconds,
            "extra": turn.extra,
        }
        for turn in turns
    ]


def _evaluations(call: CallExecution, fields: Fields) -> dict[str, Object] | None:
    if json_of(fields, "eval_outputs") is None:
        return None
    return {
        key: {name: getattr(output, name) for name in _EVALUATION}
        for key, output in evaluations_of(call, fields).items()
    }


def _snapshots(call: CallExecution, fields: Fields, origins: Origins) -> list[Object] | None:
    if json_of(fields, "rerun_snapshots") in (None, b"[]"):
        return None if json_of(fields, "rerun_snapshots") is None else []
    return [_object(snapshot, origins) for snapshot in call.rerun_snapshots or ()]

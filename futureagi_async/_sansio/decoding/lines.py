"""Decodes lines of exports into `CallExecution`: records as sent, and normalised lines."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

import attrs
import msgspec
from msgspec import Raw, Struct

from futureagi_async._sansio.decoding.converter import decode_call, decode_record
from futureagi_async._sansio.decoding.fragments import JSON_ERRORS, decode_fields, decoding_error
from futureagi_async._sansio.decoding.misfits import as_aware
from futureagi_async.models import CallExecution, EvalOutput, ReadOnlyDict, Scenario, TranscriptTurn
from futureagi_async.models.call import PROVIDER_DATA
from futureagi_async.sources import CallSource, source_from_dict

PLACE: Final = "a line of JSON Lines"
"""The name of the source in error messages."""

_NORMALISED = frozenset(("source", "extra", "misfits"))
"""Keys that every normalised line has, and that no record of the server has."""

Free: TypeAlias = dict[str, object]


class TurnLine(Struct, gc=False):
    """A turn of a normalised line."""

    role: str | None = None
    content: str | None = None
    start_seconds: int | float | None = None
    end_seconds: int | float | None = None
    extra: Free = {}


class EvalLine(Struct, gc=False):
    """An evaluation of a normalised line."""

    id: str
    name: str | None = None
    value: object = None
    type: str | None = None
    reason: str | None = None
    status: str | None = None
    error: bool | str | None = None
    skipped: bool | None = None
    pending: bool = False


class ScenarioLine(Struct, gc=False):
    """A scenario of a normalised line."""

    id: str | None = None
    name: str | None = None


class CallParts(Struct):
    """The nested parts of a normalised line."""

    id: str
    source: Free | None = None
    scenario: ScenarioLine | None = None
    transcript: list[TurnLine] | None = None
    eval_outputs: dict[str, EvalLine] | None = None
    eval_metrics: object = None
    scenario_columns: object = None
    recordings: object = None
    tool_outputs: object = None
    rerun_snapshots: list[Raw] | None = None
    extra: Free = {}
    misfits: Free | None = None


_SCALAR_TYPES: Final[Mapping[object, object]] = {
    str | None: str | None,
    float | None: int | float | None,  # a whole number stays one
    bool | None: bool | None,
    datetime | None: datetime | None,
}
_SCALARS: Final = {
    field.name: _SCALAR_TYPES[field.type]
    for field in attrs.fields(CallExecution)
    if field.type in _SCALAR_TYPES and field.eq
}


_CallLine: Any = msgspec.defstruct(
    "CallLine", [(name, kind, None) for name, kind in _SCALARS.items()], bases=(CallParts,)
)


_LINE_KEYS: Final = frozenset(_CallLine.__struct_fields__)


class _Placed(Struct):
    source: Free | None = None


_decode_place = msgspec.json.Decoder(_Placed).decode
_decode_line = msgspec.json.Decoder(_CallLine).decode


def is_normalised(line: bytes) -> bool:
    """Whether a line is normalised. Raises one of `JSON_ERRORS` if it is not a JSON object."""
    return decode_fields(line).keys() >= _NORMALISED


def left_out_of(line: bytes) -> frozenset[str] | None:
    """Return the keys that a normalised line does not have, because its export left them out.

    Returns ``None`` for a record as sent, which has keys that normalised lines do not have. Raises one of
    `JSON_ERRORS` if the line is not a JSON object.
    """
    keys = decode_fields(line).keys()
    if "id" in keys and keys <= _LINE_KEYS:
        return _LINE_KEYS - keys
    return frozenset() if keys >= _NORMALISED else None


def source_of(line: bytes) -> tuple[int | None, CallSource | None]:
    """Return the source of a normalised line, and its position among the export's sources, if it has them."""
    found = _decode_place(line).source or {}
    place = found.get("index")
    return (place if isinstance(place, int) else None), _source(found or None)


def decode_line(line: bytes | str, source: CallSource | None = None) -> CallExecution:
    """Decode a line. ``source`` is the source of a record as sent; a normalised line contains its own."""
    if not isinstance(line, bytes | str):
        raise TypeError(f"A line is bytes or str, not {type(line).__name__}.")
    raw = line.encode() if isinstance(line, str) else line
    try:
        normalised = is_normalised(raw)
    except JSON_ERRORS as error:
        raise decoding_error(error, raw, PLACE, "$") from None
    if normalised:
        return decode_normalised(raw)
    return decode_call(raw, PLACE) if source is None else decode_record(raw, source, PLACE)


def decode_normalised(line: bytes) -> CallExecution:
    """Decode a line that is known to be normalised, even if keys were left out."""
    try:
        return _structure(line)
    except JSON_ERRORS as error:
        raise decoding_error(error, line, PLACE, "$") from None


def _structure(raw: bytes) -> CallExecution:
    """Make a call of a normalised line. Raises one of `JSON_ERRORS`."""
    line = _decode_line(raw)
    scalars = {name: getattr(line, name) for name in _SCALARS}
    for name, value in scalars.items():
        if isinstance(value, datetime):
            scalars[name] = as_aware(value)
    return CallExecution(
        id=line.id,
        **scalars,
        source=_source(line.source),
        scenario=None if line.scenario is None else Scenario(line.scenario.id, line.scenario.name),
        transcript=None if line.transcript is None else tuple(map(_turn, line.transcript)),
        eval_outputs=_evaluations(line.eval_outputs),
        eval_metrics=_free(line.eval_metrics),
        scenario_columns=_free(line.scenario_columns),
        recordings=_free(line.recordings),
        tool_outputs=_free(line.tool_outputs),
        rerun_snapshots=_snapshots(line.rerun_snapshots),
        extra=_free(line.extra),
        misfits=_free(line.misfits or {}),
        may_hold_provider_data=not line.extra.keys().isdisjoint(PROVIDER_DATA),
    )


def _source(fields: Free | None) -> CallSource | None:
    if fields is None or "kind" not in fields:  # what it was read from was left out
        return None
    try:
        return source_from_dict(fields)
    except (TypeError, ValueError) as error:
        raise msgspec.ValidationError(f"{error} - at `$.source`") from error


def _turn(line: TurnLine) -> TranscriptTurn:
    return TranscriptTurn(line.role, line.content, line.start_seconds, line.end_seconds, _free(line.extra))


def _evaluations(lines: Mapping[str, EvalLine] | None) -> Mapping[str, EvalOutput] | None:
    if lines is None:
        return None
    return ReadOnlyDict({key: EvalOutput(**msgspec.structs.asdict(line)) for key, line in lines.items()})


def _snapshots(lines: Sequence[Raw] | None) -> tuple[CallExecution, ...] | None:
    return None if lines is None else tuple(_structure(bytes(line)) for line in lines)


def _free(value: Any) -> Any:
    return ReadOnlyDict(value) if isinstance(value, dict) else value
